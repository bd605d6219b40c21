//! Python: what an installed distribution says of itself, and the lock files of pip, Poetry, uv, PDM and Pipenv.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::CatalogError;
use crate::package::{Ecosystem, Package};

/// `METADATA` of a wheel, `PKG-INFO` of an egg: headers as of a mail, up to the first empty line.
pub(super) fn read_metadata(text: &str) -> Vec<Package> {
    let field = |wanted: &str| {
        text.lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let (Some(name), Some(version)) = (field("Name"), field("Version")) else {
        return Vec::new();
    };
    let mut package = Package::new(Ecosystem::Pypi, name, version);
    // Some put the whole text of their licence there; then nothing is known in few words.
    let license =
        field("License-Expression").or_else(|| field("License").filter(|license| license.len() <= 100));
    package.license = license
        .filter(|license| !license.is_empty() && *license != "UNKNOWN")
        .map(str::to_owned);
    vec![package]
}

/// `requirements.txt`: only what is pinned says which version there is.
pub(super) fn read_requirements(text: &str) -> Vec<Package> {
    let requirement = |line: &str| {
        let line = line.split(" #").next()?.split(';').next()?;
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next()?.trim();
        let version = version.trim_start_matches('=').split_whitespace().next()?;
        let version = version.split(',').next()?;
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        (is_name && !version.contains('*')).then(|| Package::new(Ecosystem::Pypi, name, version))
    };
    text.lines().filter_map(requirement).collect()
}

/// `poetry.lock`, `uv.lock`, `pdm.lock`: tables called `package`.
pub(super) fn read_lock(text: &str) -> Result<Vec<Package>, CatalogError> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        version: Option<String>,
    }
    let lock: Lock = toml::from_str(text)?;
    let packages = lock.package.iter();
    // A project of one's own may have none in uv's.
    Ok(packages
        .filter_map(|entry| {
            Some(Package::new(
                Ecosystem::Pypi,
                &entry.name,
                entry.version.as_deref()?,
            ))
        })
        .collect())
}

/// `Pipfile.lock`: by name, the version with its equals signs.
pub(super) fn read_pipfile(bytes: &[u8]) -> Result<Vec<Package>, CatalogError> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        default: BTreeMap<String, Entry>,
        #[serde(default)]
        develop: BTreeMap<String, Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        version: Option<String>,
    }
    let lock: Lock = serde_json::from_slice(bytes)?;
    let entries = lock.default.iter().chain(&lock.develop);
    Ok(entries
        .filter_map(|(name, entry)| {
            let version = entry.version.as_deref()?.strip_prefix("==")?;
            Some(Package::new(Ecosystem::Pypi, name, version))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(packages: &[Package]) -> Vec<String> {
        packages.iter().map(|package| package.purl(None)).collect()
    }

    #[test]
    fn an_installed_distribution_is_listed() {
        let packages = read_metadata(
            "Metadata-Version: 2.1\nName: Flask\nVersion: 3.0.0\nLicense: BSD-3-Clause\n\nVersion: 9\n",
        );
        assert_eq!(names(&packages), ["pkg:pypi/flask@3.0.0"]);
        assert_eq!(packages[0].license.as_deref(), Some("BSD-3-Clause"));
        assert!(read_metadata("Name: Flask\n\nVersion: 9\n").is_empty());
    }

    #[test]
    fn only_what_is_pinned_is_a_version() {
        let text = "# none==1\nflask==3.0.0 \\\n    --hash=sha256:00\nuvicorn[standard]==0.1 ; python_version > '3'\nloose>=1\n\
            star==1.*\n-r other.txt\nexact===1.0 # note\nhttps://x/?a==b\n";
        let expected = [
            "pkg:pypi/flask@3.0.0",
            "pkg:pypi/uvicorn@0.1",
            "pkg:pypi/exact@1.0",
        ];
        assert_eq!(names(&read_requirements(text)), expected);
    }

    #[test]
    fn lock_files_are_read() {
        let toml = "[[package]]\nname = \"a\"\nversion = \"1\"\n\n[[package]]\nname = \"own\"\nsource = { virtual = \".\" }\n";
        assert_eq!(names(&read_lock(toml).unwrap()), ["pkg:pypi/a@1"]);
        let json =
            br#"{"default":{"a":{"version":"==1"}},"develop":{"b":{"version":"==2"},"c":{"git":"x"}}}"#;
        assert_eq!(
            names(&read_pipfile(json).unwrap()),
            ["pkg:pypi/a@1", "pkg:pypi/b@2"]
        );
    }
}
