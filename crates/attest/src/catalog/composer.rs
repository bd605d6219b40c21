//! Composer: the lock file, and the list of what is installed, which has been an array of its packages and is an object now.

use serde::Deserialize;

use super::CatalogError;
use crate::package::{Ecosystem, Package};

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Object {
        #[serde(default)]
        packages: Vec<Entry>,
        #[serde(default, rename = "packages-dev")]
        development: Vec<Entry>,
    },
    Array(Vec<Entry>),
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    version: String,
    #[serde(default)]
    license: Licenses,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Licenses {
    Several(Vec<String>),
    One(String),
    Other(serde::de::IgnoredAny),
    #[default]
    None,
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Package>, CatalogError> {
    let entries = match serde_json::from_slice(bytes)? {
        File::Object {
            mut packages,
            development,
        } => {
            packages.extend(development);
            packages
        }
        File::Array(entries) => entries,
    };
    Ok(entries.into_iter().map(package).collect())
}

fn package(entry: Entry) -> Package {
    let mut package = Package::new(Ecosystem::Composer, &entry.name, &entry.version);
    package.license = match entry.license {
        // Its user may choose among them.
        Licenses::Several(names) if !names.is_empty() => Some(names.join(" OR ")),
        Licenses::One(name) => Some(name),
        _ => None,
    };
    package
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_read() {
        let lock = br#"{"packages":[{"name":"a/b","version":"v1.0.0","license":["MIT","Apache-2.0"]}],"packages-dev":[{"name":"c/d","version":"2"}]}"#;
        let packages = read(lock).unwrap();
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(
            read(br#"[{"name":"a/b","version":"1"}]"#).unwrap()[0].purl(None),
            "pkg:composer/a/b@1"
        );
        assert!(read(b"{\"packages\":{}}").is_err());
    }
}
