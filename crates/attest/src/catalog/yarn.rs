//! `yarn.lock`, of the first yarn and of its successors: what an entry is called is in its first line, its version below.

use crate::package::{Ecosystem, Package};

pub(super) fn read(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut name = None;
    for line in text.lines() {
        if !line.starts_with([' ', '#']) && line.ends_with(':') {
            name = entry(line);
        } else if let Some(rest) = line.strip_prefix("  version") {
            let version = rest.trim_start_matches(':').trim().trim_matches('"');
            if let Some(name) = name.take().filter(|_| !version.is_empty()) {
                packages.push(Package::new(Ecosystem::Npm, name, version));
            }
        }
    }
    packages
}

/// `"@babel/core@^7.0.0", "@babel/core@^7.1.0":`, or with a protocol before the range; a workspace's own are no packages of others.
fn entry(line: &str) -> Option<&str> {
    let first = line.trim_end_matches(':').trim_matches('"').split(", ").next()?;
    let first = first.trim_matches('"');
    let at = first.get(1..)?.find('@')? + 1;
    let (name, range) = (&first[..at], &first[at + 1..]);
    let is_own = ["workspace:", "link:", "portal:", "file:"]
        .iter()
        .any(|own| range.starts_with(own));
    (!is_own).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_are_read() {
        let first = "# yarn lockfile v1\n\n\"@babel/core@^7.0.0\", \"@babel/core@^7.1.0\":\n  version \"7.1.2\"\n  resolved \"x\"\n\n\
            left-pad@^1.0.0:\n  version \"1.3.0\"\n  dependencies:\n    version \"^9\"\n";
        let later = "__metadata:\n  version: 8\n\n\"left-pad@npm:^1.0.0\":\n  version: 1.3.0\n  resolution: \"x\"\n\n\
            \"app@workspace:.\":\n  version: 0.0.0-use.local\n";
        let names = |text| {
            read(text)
                .iter()
                .map(|package| package.purl(None))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(first),
            ["pkg:npm/%40babel/core@7.1.2", "pkg:npm/left-pad@1.3.0"]
        );
        assert_eq!(names(later), ["pkg:npm/left-pad@1.3.0"]);
    }
}
