//! Which commit the context is of, and where it is kept: for the provenance, as buildx tells it.
//!
//! The files of `.git` are read and git is not run: the binary may be in an image without it, and a repository can make git run
//! what it likes. It is told as what it is, a hint: nobody looked whether the files are the commit's.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use shipway_build::{SourceRevision, without_credentials};

/// Files of a repository that are read are much smaller, but for packed references.
const MOST_BYTES: u64 = 16 << 20;
/// `HEAD` names a branch, which names a commit; nothing else is followed.
const MOST_STEPS: usize = 5;

/// What the repository says that a directory is in; nothing for one in none.
pub(super) fn of(directory: &Path) -> SourceRevision {
    let Some(repository) = directory.canonicalize().ok().and_then(|directory| {
        directory
            .ancestors()
            .find_map(|path| repository(&path.join(".git")))
    }) else {
        return SourceRevision::default();
    };
    let common = read(&repository.join("commondir"))
        .map_or_else(|| repository.clone(), |common| repository.join(common.trim()));
    SourceRevision {
        source: read(&common.join("config")).and_then(|config| origin(&config)),
        revision: resolve(&repository, &common, "HEAD"),
    }
}

/// The repository at `.git`, which is a directory, or in a work tree or a submodule a file that says where it is.
fn repository(path: &Path) -> Option<PathBuf> {
    let status = path.metadata().ok()?;
    if status.is_dir() {
        return Some(path.to_owned());
    }
    let text = read(path)?;
    Some(path.parent()?.join(text.strip_prefix("gitdir:")?.trim()))
}

/// The commit that a reference leads to.
fn resolve(repository: &Path, common: &Path, name: &str) -> Option<String> {
    let mut name = name.to_owned();
    for _ in 0..MOST_STEPS {
        let own = [repository, common]
            .iter()
            .find_map(|place| read(&place.join(&name)));
        let Some(text) = own else {
            let packed = read(&common.join("packed-refs"))?;
            let commit = packed
                .lines()
                .find_map(|line| line.strip_suffix(&name)?.strip_suffix(' '))?;
            return is_commit(commit).then(|| commit.to_owned());
        };
        match text.trim().strip_prefix("ref: ") {
            // A name that leads out of the repository is none of git's.
            Some(next) if next.starts_with("refs/") && !next.contains("..") => name = next.to_owned(),
            Some(_) => return None,
            None => return Some(text.trim().to_owned()).filter(|text| is_commit(text)),
        }
    }
    None
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The address of `origin`, without what logs in there.
fn origin(config: &str) -> Option<String> {
    let mut within = false;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            within = line == "[remote \"origin\"]";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| within)
            && name.trim() == "url"
        {
            return Some(without_credentials(value.trim()));
        }
    }
    None
}

fn read(path: &Path) -> Option<String> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    #[test]
    fn a_commit_is_found_loose_packed_or_detached() {
        let config = "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = https://ci:token@host/a.git\n\tfetch = x\n[branch \"main\"]\n";
        let packed = format!(
            "# pack-refs\n{} refs/heads/other-main\n{COMMIT} refs/heads/main\n^x\n",
            "f".repeat(40)
        );
        let on = |files: &[(&str, &str)]| {
            let tree = tree(files);
            std::fs::create_dir_all(tree.path().join("deep/er")).unwrap();
            of(&tree.path().join("deep/er"))
        };
        let loose = on(&[
            (".git/HEAD", "ref: refs/heads/main\n"),
            (".git/refs/heads/main", COMMIT),
            (".git/config", config),
        ]);
        assert_eq!(loose.revision.as_deref(), Some(COMMIT));
        assert_eq!(loose.source.as_deref(), Some("https://host/a.git"));
        let from_pack = on(&[
            (".git/HEAD", "ref: refs/heads/main\n"),
            (".git/packed-refs", &packed),
        ]);
        assert_eq!(from_pack.revision.as_deref(), Some(COMMIT));
        assert_eq!(from_pack.source, None);
        assert_eq!(on(&[(".git/HEAD", COMMIT)]).revision.as_deref(), Some(COMMIT));
    }

    #[test]
    fn a_work_tree_and_its_repository_are_one() {
        let tree = tree(&[
            ("tree/.git", "gitdir: ../main/.git/worktrees/tree\n"),
            ("main/.git/worktrees/tree/HEAD", "ref: refs/heads/side\n"),
            ("main/.git/worktrees/tree/commondir", "../..\n"),
            ("main/.git/refs/heads/side", COMMIT),
            ("main/.git/config", "[remote \"origin\"]\nurl = git@host:a.git\n"),
        ]);
        let found = of(&tree.path().join("tree"));
        assert_eq!(found.revision.as_deref(), Some(COMMIT));
        assert_eq!(found.source.as_deref(), Some("git@host:a.git"));
    }

    #[test]
    fn what_is_no_commit_is_not_told() {
        for head in [
            "ref: ../../secret\n",
            "ref: refs/../../secret\n",
            "ref: HEAD\n",
            "secret\n",
            "",
        ] {
            let tree = tree(&[(".git/HEAD", head), ("secret", COMMIT), (".git/secret", COMMIT)]);
            assert_eq!(of(tree.path()).revision, None, "{head}");
        }
        let circle = tree(&[(".git/HEAD", "ref: refs/a\n"), (".git/refs/a", "ref: refs/a\n")]);
        assert_eq!(of(circle.path()), SourceRevision::default());
    }
}
