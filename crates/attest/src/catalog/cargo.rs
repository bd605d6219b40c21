//! `Cargo.lock`: the crates of a workspace, its own included.

use serde::Deserialize;

use super::CatalogError;
use crate::package::{Ecosystem, Package};

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    version: String,
}

pub(super) fn read(text: &str) -> Result<Vec<Package>, CatalogError> {
    let lock: Lock = toml::from_str(text)?;
    let packages = lock.package.iter();
    Ok(packages
        .map(|entry| Package::new(Ecosystem::Cargo, &entry.name, &entry.version))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_a_crate() {
        let packages =
            read("version = 4\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"r\"\n")
                .unwrap();
        assert_eq!(packages, [Package::new(Ecosystem::Cargo, "serde", "1.0.0")]);
        assert!(read("version = [").is_err());
    }
}
