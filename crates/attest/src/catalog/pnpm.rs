//! `pnpm-lock.yaml`: the keys of its `packages`, which pnpm writes one to a line, two spaces deep.

use crate::package::{Ecosystem, Package};

pub(super) fn read(text: &str) -> Vec<Package> {
    let mut within = false;
    let mut packages = Vec::new();
    for line in text.lines() {
        if !line.starts_with(' ') && !line.is_empty() {
            within = line == "packages:";
        } else if let Some(key) = line.strip_prefix("  ").filter(|_| within)
            && !key.starts_with(' ')
            && let Some(key) = key.strip_suffix(':').or_else(|| key.strip_suffix(": {}"))
        {
            packages.extend(package(key.trim_matches(['\'', '"'])));
        }
    }
    packages
}

/// `/name/1.0.0_peer` (5), `/name@1.0.0(peer@2)` (6), `name@1.0.0` (9).
fn package(key: &str) -> Option<Package> {
    let key = key.split('(').next()?;
    let bare = key.strip_prefix('/').unwrap_or(key);
    let slashes = usize::from(bare.starts_with('@'));
    let (name, version) = if bare.matches('/').count() == slashes {
        let at = bare.get(1..)?.find('@')? + 1;
        (&bare[..at], &bare[at + 1..])
    } else {
        let (name, version) = bare.rsplit_once('/')?;
        (name, version.split('_').next()?)
    };
    // What is fetched by its address has that for its version.
    let is_package =
        version.starts_with(|first: char| first.is_ascii_digit()) && name.matches('/').count() == slashes;
    is_package.then(|| Package::new(Ecosystem::Npm, name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_versions_are_read() {
        let text = "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n\npackages:\n\n  '@babel/core@7.1.2':\n    resolution: {}\n\n\
            \x20 left-pad@1.3.0:\n    resolution: {}\n\n  /old/1.0.0_peer@2.0.0:\n    dev: true\n  /@s/old/1.0.0:\n    dev: true\n\
            \x20 /six@1.0.0(peer@2.0.0):\n    dev: true\n  from@https://x/y.tgz:\n    dev: true\n\nsnapshots:\n\n  none@1.0.0: {}\n";
        let names: Vec<String> = read(text).iter().map(|package| package.purl(None)).collect();
        assert_eq!(
            names,
            [
                "pkg:npm/%40babel/core@7.1.2",
                "pkg:npm/left-pad@1.3.0",
                "pkg:npm/old@1.0.0",
                "pkg:npm/%40s/old@1.0.0",
                "pkg:npm/six@1.0.0"
            ]
        );
    }
}
