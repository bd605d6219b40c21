//! Package URLs: the names by which tools look packages up, <https://github.com/package-url/purl-spec>.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What the specification leaves as it is; a colon only where it separates nothing.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// A package URL: `pkg:deb/debian/bash@5.2.15-2?arch=amd64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purl<'a> {
    /// The kind of package: `deb`, `npm`.
    pub kind: &'a str,
    /// Whose it is, parts separated by slashes; empty for nobody's.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// The version; empty when it is not known.
    pub version: &'a str,
    /// What else sets it apart; empty values are left out.
    pub qualifiers: BTreeMap<&'a str, String>,
}

impl fmt::Display for Purl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}", self.kind)?;
        for part in self.namespace.split('/').filter(|part| !part.is_empty()) {
            write!(f, "/{}", utf8_percent_encode(part, ENCODED))?;
        }
        write!(f, "/{}", utf8_percent_encode(self.name, ENCODED))?;
        if !self.version.is_empty() {
            write!(f, "@{}", utf8_percent_encode(self.version, ENCODED))?;
        }
        let mut separator = '?';
        for (name, value) in self.qualifiers.iter().filter(|(_, value)| !value.is_empty()) {
            write!(f, "{separator}{name}={}", utf8_percent_encode(value, ENCODED))?;
            separator = '&';
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_encoded_and_separators_are_not() {
        let purl = Purl {
            kind: "npm",
            namespace: "@angular",
            name: "animation",
            version: "12.3.1",
            qualifiers: BTreeMap::new(),
        };
        assert_eq!(purl.to_string(), "pkg:npm/%40angular/animation@12.3.1");
        let purl = Purl {
            kind: "deb",
            namespace: "debian",
            name: "libstdc++6",
            version: "1:12.2.0-14+deb12u1",
            qualifiers: BTreeMap::from([
                ("upstream", "gcc-12@12.2.0".to_owned()),
                ("arch", "amd64".to_owned()),
                ("distro", String::new()),
            ]),
        };
        assert_eq!(
            purl.to_string(),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&upstream=gcc-12%4012.2.0"
        );
    }
}
