//! What `cache:key:files` stands for: a digest of the named files as they are in the work tree.
//!
//! Not the text that GitLab would compute (that is a SHA-1 over object ids): a key only has to change when the files do.

use std::path::Path;

use shipway_oci::Digest;
use shipway_pipeline::job::FileDigests;
use shipway_pipeline::{CacheKey, Pipeline};

use super::git::git;

/// As long as GitLab's.
const LENGTH: usize = 40;

/// The digests that the caches of a pipeline need. Files that git does not know leave no digest: the key is then
/// `default`, as GitLab has it.
pub(super) fn digests(root: &Path, pipeline: &Pipeline) -> FileDigests {
    let caches = pipeline.jobs.iter().flat_map(|job| &job.cache);
    let keys = caches.filter_map(|cache| match &cache.key {
        CacheKey::Files { files, by_commit, .. } => Some((files, *by_commit)),
        CacheKey::Text(_) => None,
    });
    keys.filter_map(|(files, by_commit)| Some((files.clone(), digest(root, files, by_commit)?)))
        .collect()
}

fn digest(root: &Path, files: &[String], by_commit: bool) -> Option<String> {
    let mut facts: Vec<String> = Vec::new();
    for file in files {
        let pattern = format!(":(glob){file}");
        if by_commit {
            facts.extend(git(root, &["log", "-1", "--format=%H", "--", &pattern]));
            continue;
        }
        for path in git(root, &["ls-files", "-z", "--", &pattern])
            .unwrap_or_default()
            .split('\0')
        {
            if !path.is_empty() {
                facts.extend(git(root, &["hash-object", "--", path]));
            }
        }
    }
    facts.sort();
    facts.dedup();
    if facts.is_empty() {
        return None;
    }
    let digest = Digest::sha256(facts.join("-").as_bytes());
    Some(digest.hex().chars().take(LENGTH).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::git::git;
    use super::digest;

    #[test]
    fn a_key_changes_with_its_files_only() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let run = |arguments: &[&str]| git(root, arguments);
        run(&["init", "-q"]);
        let write = |root: &Path, name: &str, text: &str| {
            std::fs::write(root.join(name), text).unwrap();
            run(&["add", "--", name]);
        };
        write(root, "a.lock", "1");
        write(root, "other", "1");
        let of = |file: &str| digest(root, &[file.to_owned()], false);
        let before = of("*.lock");
        assert_eq!(before.as_ref().map(String::len), Some(40));
        write(root, "other", "2");
        assert_eq!(of("a.lock"), before);
        write(root, "a.lock", "2");
        assert_ne!(of("a.lock"), before);
        assert_eq!(of("missing"), None);
    }
}
