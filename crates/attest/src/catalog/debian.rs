//! dpkg's list of what is installed: `status`, or with distroless images one file for each package in `status.d`.

use crate::package::{Ecosystem, Package};

pub(super) fn read(text: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(stanza).collect()
}

fn stanza(text: &str) -> Option<Package> {
    // A field's further lines begin with a space, so that a description cannot pass for a field.
    let field = |wanted: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name == wanted).then(|| value.trim())
        })
    };
    // Wanted and flawless does not matter: only what is unpacked and configured is there. In `status.d` all is.
    if field("Status").is_some_and(|status| status.split_whitespace().next_back() != Some("installed")) {
        return None;
    }
    let mut package = Package::new(Ecosystem::Deb, field("Package")?, field("Version")?);
    package.qualify("arch", field("Architecture").unwrap_or_default());
    package.qualify("upstream", &field("Source").map(source).unwrap_or_default());
    package.supplier = field("Maintainer").map(str::to_owned);
    Some(package)
}

/// `gcc-12 (12.2.0-14)` is the source package and its version, where they are not the package's own.
fn source(text: &str) -> String {
    match text.split_once(" (") {
        Some((name, version)) => format!("{name}@{}", version.trim_end_matches(')')),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_listed() {
        let packages = read(
            "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b2\n\
             Source: bash (5.2.15-2)\nMaintainer: Matthias Klose <doko@debian.org>\nDescription: GNU\n Package: none\n\n\
             Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
             Package: tzdata\nVersion: 2024a\nArchitecture: all\n",
        );
        assert_eq!(packages.len(), 2);
        assert_eq!(
            packages[0].purl(None),
            "pkg:deb/bash@5.2.15-2%2Bb2?arch=amd64&upstream=bash%405.2.15-2"
        );
        assert_eq!(
            packages[0].supplier.as_deref(),
            Some("Matthias Klose <doko@debian.org>")
        );
        assert_eq!(packages[1].name, "tzdata");
    }
}
