//! What git knows about the work tree: the facts that a server would take from the push.
//!
//! Asked of the `git` program, because the answers depend on configuration only git reads as the user sees it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use shipway_pipeline::{CommitFacts, RefKind, UserFacts};

use super::origin::Origin;
use crate::failure::{Failure, FailureKind};

/// A work tree and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct WorkTreeFacts {
    /// Its top directory.
    pub(super) root: PathBuf,
    /// The commit.
    pub(super) commit: CommitFacts,
    /// The branch or tag.
    pub(super) ref_name: String,
    /// Which of the two.
    pub(super) ref_kind: RefKind,
    /// The message of an annotated tag.
    pub(super) tag_message: String,
    /// The branch that counts.
    pub(super) default_branch: String,
    /// The branch that is protected: the default branch, unless that is a guess.
    pub(super) protected_branch: Option<String>,
    /// The project's path: that of the remote, else the directory's name.
    pub(super) project_path: String,
    /// Where that path comes from.
    pub(super) origin: Origin,
    /// Where the remote is, for people: `https://host`.
    pub(super) server_url: String,
    /// The remote's address without credentials.
    pub(super) remote_url: String,
    /// Who runs this.
    pub(super) user: UserFacts,
}

impl WorkTreeFacts {
    /// Reads the facts of the work tree that a directory is in.
    pub(crate) fn read(directory: &Path) -> Result<Self, Failure> {
        let root = top(directory)?;
        let commit = commit(&root).ok_or_else(|| {
            Failure::new(FailureKind::Use, "the repository has no commit yet").hint("commit something first")
        })?;
        let (ref_name, ref_kind) = reference(&root);
        let tag_message = match ref_kind {
            RefKind::Branch => String::new(),
            RefKind::Tag => git(
                &root,
                &[
                    "for-each-ref",
                    "--format=%(contents)",
                    &format!("refs/tags/{ref_name}"),
                ],
            )
            .unwrap_or_default(),
        };
        let remote = git(&root, &["remote", "get-url", "origin"]).unwrap_or_default();
        let (origin, (server_url, project_path)) = match remote_parts(&remote) {
            Some(parts) => (Origin::of_server(&parts.0), parts),
            None => {
                let name = root.file_name().unwrap_or_default().to_string_lossy();
                let url = "https://shipway.internal".to_owned();
                (Origin::Directory(root.clone()), (url, path_from_name(&name)))
            }
        };
        let (default_branch, protected_branch) = match remote_default(&root) {
            Some(known) => (known.clone(), Some(known)),
            None => {
                let guess = likely_default(&root, &ref_name, ref_kind);
                // Where nobody else has a branch, the guess is about the user's own.
                let protected = (remote.is_empty() && has_no_remote(&root)).then(|| guess.clone());
                (guess, protected)
            }
        };
        Ok(Self {
            commit,
            default_branch,
            protected_branch,
            ref_name,
            ref_kind,
            tag_message,
            remote_url: format!("{server_url}/{project_path}.git"),
            server_url,
            project_path,
            origin,
            user: user(&root),
            root,
        })
    }
}

impl WorkTreeFacts {
    /// Whether the branch is the default one by all that git knows, which is not enough to count as protected.
    pub(super) fn has_doubt(&self) -> bool {
        self.protected_branch.is_none()
            && self.ref_kind == RefKind::Branch
            && self.ref_name == self.default_branch
    }

    /// The same work tree if its branch counted as protected.
    pub(super) fn if_protected(&self) -> Self {
        Self {
            protected_branch: Some(self.ref_name.clone()),
            ..self.clone()
        }
    }
}

/// The top of the work tree that a directory is in.
fn top(directory: &Path) -> Result<PathBuf, Failure> {
    let output = run(directory, &["rev-parse", "--show-toplevel"]).map_err(|error| {
        Failure::caused(FailureKind::Place, "starting git", &error)
            .hint("install git: pipelines are those of repositories")
    })?;
    let top = String::from_utf8_lossy(&output.stdout);
    match top.trim_end() {
        top if output.status.success() && !top.is_empty() => Ok(PathBuf::from(top)),
        _ => Err(no_work_tree(directory, &String::from_utf8_lossy(&output.stderr))),
    }
}

/// Why git knows no work tree there. What it refuses it has its own reason for, and often the command that allows it.
fn no_work_tree(directory: &Path, said: &str) -> Failure {
    let place = directory.display();
    let reason = said.lines().find_map(|line| line.strip_prefix("fatal: "));
    match reason.filter(|reason| !reason.starts_with("not a git repository")) {
        None => Failure::new(FailureKind::Use, format!("`{place}` is in no git work tree"))
            .hint("run it inside a repository, or make one with `git init`"),
        Some(reason) => {
            let failure = Failure::new(
                FailureKind::Use,
                format!("git does not work in `{place}`: {reason}"),
            );
            let command = said.lines().map(str::trim).find(|line| line.starts_with("git "));
            match command {
                Some(command) => failure.hint(format!("`{command}` allows it")),
                None => failure,
            }
        }
    }
}

/// The commit that is checked out. Asked for in one go, as every start of git delays the first job.
fn commit(root: &Path) -> Option<CommitFacts> {
    let told = git(
        root,
        &[
            "log",
            "-1",
            "--no-show-signature",
            "--format=%H%n%P%n%an <%ae>%n%cI%n%B",
        ],
    )?;
    let mut lines = told.splitn(5, '\n').map(str::to_owned);
    let mut next = || lines.next().unwrap_or_default();
    Some(CommitFacts {
        sha: next(),
        before_sha: next().split(' ').next().unwrap_or_default().to_owned(),
        author: next(),
        timestamp: next(),
        message: next(),
    })
}

/// Who runs this, as git knows them: the last value of each counts.
fn user(root: &Path) -> UserFacts {
    let told = git(
        root,
        &["config", "--null", "--get-regexp", r"^user\.(name|email)$"],
    )
    .unwrap_or_default();
    let value = |wanted: &str| {
        let mut values = told.split('\0').filter_map(|entry| entry.split_once('\n'));
        let last = values.rfind(|(name, _)| *name == wanted);
        last.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    UserFacts {
        id: 1,
        login: std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
        name: value("user.name"),
        email: value("user.email"),
    }
}

/// The branch that is checked out; detached at a tag, that tag; detached elsewhere, a branch that contains the commit.
fn reference(root: &Path) -> (String, RefKind) {
    if let Some(branch) = leads_to(root, "HEAD", "refs/heads/") {
        return (branch, RefKind::Branch);
    }
    if let Some(tag) = git(root, &["describe", "--tags", "--exact-match", "HEAD"]) {
        return (tag, RefKind::Tag);
    }
    let containing = git(
        root,
        &[
            "for-each-ref",
            "--contains=HEAD",
            "--count=1",
            "--format=%(refname:lstrip=2)",
            "refs/heads",
        ],
    );
    (containing.unwrap_or_else(|| "HEAD".to_owned()), RefKind::Branch)
}

/// The default branch of the remote, as it was told when it was cloned. A clone of one branch was told nothing.
fn remote_default(root: &Path) -> Option<String> {
    leads_to(root, "refs/remotes/origin/HEAD", "refs/remotes/origin/")
}

/// The name below `place` that a symbolic reference leads to. Git's own short names are longer where a tag has the same.
fn leads_to(root: &Path, symbolic: &str, place: &str) -> Option<String> {
    let target = git(root, &["symbolic-ref", "--quiet", symbolic])?;
    target.strip_prefix(place).map(str::to_owned)
}

/// Whether git says that there is no remote. That it cannot say is no such answer.
fn has_no_remote(root: &Path) -> bool {
    run(root, &["remote"]).is_ok_and(|output| output.status.success() && output.stdout.is_empty())
}

/// `main` or `master` if there is one, else the branch that is checked out.
fn likely_default(root: &Path, ref_name: &str, ref_kind: RefKind) -> String {
    let usual = [
        "for-each-ref",
        "--format=%(refname:lstrip=2)",
        "refs/heads/main",
        "refs/heads/master",
    ];
    let there = git(root, &usual).unwrap_or_default();
    // They come in the order of their names, which is the order in which they count; `main/part` comes as well.
    match there.lines().find(|branch| matches!(*branch, "main" | "master")) {
        Some(branch) => branch.to_owned(),
        None if ref_kind == RefKind::Branch => ref_name.to_owned(),
        None => "main".to_owned(),
    }
}

/// `https://user:token@host/group/project.git`, `git@host:group/project.git`, `ssh://git@host:22/group/project` →
/// (`https://host`, `group/project`).
fn remote_parts(remote: &str) -> Option<(String, String)> {
    let (host, path) = match remote.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?,
        None => remote.split_once(':').filter(|(host, _)| !host.contains('/'))?,
    };
    let host = host.rsplit('@').next().unwrap_or(host);
    // An address of version 6 stands in brackets and has colons of its own.
    let host = match host.find(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or(host),
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let whole =
        !host.is_empty() && !path.is_empty() && !path.split('/').any(|part| matches!(part, "" | "." | ".."));
    whole.then(|| (format!("https://{host}"), path.to_owned()))
}

/// A directory's name as a project's path: what no path may have becomes a dash.
fn path_from_name(name: &str) -> String {
    let kept = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let path: String = name
        .chars()
        .map(|character| if kept(character) { character } else { '-' })
        .collect();
    let path = path.trim_matches(['-', '_', '.']);
    if path.is_empty() {
        "project".to_owned()
    } else {
        path.to_owned()
    }
}

/// What git answers, without the last newline; nothing when it refuses or is not there.
pub(super) fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = run(directory, arguments).ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The names that git lists with `-z`. That it cannot is an error and no empty list.
pub(super) fn listing(directory: &Path, arguments: &[&str]) -> io::Result<Vec<String>> {
    let output = run(directory, arguments)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!(
            "`git {}` fails: {}",
            arguments.join(" "),
            said.lines().next().unwrap_or("it does not say why")
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.split('\0').filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

fn run(directory: &Path, arguments: &[&str]) -> io::Result<Output> {
    Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .output()
}

#[cfg(test)]
mod tests;
