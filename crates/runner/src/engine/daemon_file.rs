//! The `daemon.json` that a runner's configuration mounts into its Docker services.
//!
//! What it says of registries holds for the engine as the same words among the daemon's flags do. Whoever wrote it is the
//! administrator, who wants to know of a mistake in it: a file that is no `daemon.json` ends the job, as it ends a daemon.

use super::recognition::changes_nothing;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Daemons have no limit; nobody writes as much by hand.
const MOST_BYTES: u64 = 1024 * 1024;

/// What a daemon is configured by, as far as it means something to our engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DaemonFile {
    /// `registry-mirrors`
    pub(super) mirrors: Vec<String>,
    /// `insecure-registries`
    pub(super) insecure: Vec<String>,
    /// Settings without an effect here.
    pub(super) ignored: Vec<String>,
}

/// Why there is nothing to go by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidDaemonFile {
    #[error("cannot read {path}, which the runner mounts into its Docker services")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is larger than 1 MiB: that is no daemon.json")]
    TooLarge { path: PathBuf },
    #[error("{path}, which the runner mounts into its Docker services, is no daemon.json")]
    Syntax {
        path: PathBuf,
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    #[serde(default)]
    registry_mirrors: Vec<String>,
    #[serde(default)]
    insecure_registries: Vec<String>,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

impl DaemonFile {
    /// Reads it. Blocks.
    pub(crate) fn read(path: &Path) -> Result<Self, InvalidDaemonFile> {
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
        let path = path.to_owned();
        match read {
            Err(source) => Err(InvalidDaemonFile::Read { path, source }),
            Ok(_) if bytes.len() as u64 > MOST_BYTES => Err(InvalidDaemonFile::TooLarge { path }),
            Ok(_) => Self::parse(&bytes).map_err(|source| InvalidDaemonFile::Syntax { path, source }),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(bytes)?;
        let others = document.others.into_keys();
        Ok(Self {
            mirrors: document.registry_mirrors,
            insecure: document.insecure_registries,
            ignored: others
                .filter(|name| !changes_nothing(&format!("--{name}")))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{DaemonFile, InvalidDaemonFile};

    #[test]
    fn registries_are_read_and_the_rest_is_named() {
        let file = br#"{ "registry-mirrors": ["https://m.example"], "insecure-registries": ["r.local:5000"],
                         "storage-driver": "overlay2", "log-opts": { "max-size": "10m" } }"#;
        let expected = DaemonFile {
            mirrors: vec!["https://m.example".to_owned()],
            insecure: vec!["r.local:5000".to_owned()],
            ignored: vec!["log-opts".to_owned()],
        };
        assert_eq!(DaemonFile::parse(file).unwrap(), expected);
        assert_eq!(DaemonFile::parse(b"{}").unwrap(), DaemonFile::default());
    }

    #[test]
    fn another_file_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.json");
        assert!(matches!(
            DaemonFile::read(&path),
            Err(InvalidDaemonFile::Read { .. })
        ));
        for wrong in ["", "[]", "{\"registry-mirrors\": \"https://m.example\"}"] {
            std::fs::write(&path, wrong).unwrap();
            let refusal = DaemonFile::read(&path).unwrap_err();
            assert!(matches!(refusal, InvalidDaemonFile::Syntax { .. }), "{refusal:?}");
        }
        std::fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
        assert!(matches!(
            DaemonFile::read(&path),
            Err(InvalidDaemonFile::TooLarge { .. })
        ));
    }

    /// What is named is what there is.
    #[test]
    fn foreign_daemon_files() {
        let seeds = [
            r#"{"registry-mirrors":["https://m.example"],"insecure-registries":["r.local:5000"],"log-opts":{"max-size":"10m"}}"#,
        ];
        shipway_testkit::Foreign::near(seeds).check(|bytes| {
            if let Ok(read) = DaemonFile::parse(bytes) {
                let text = String::from_utf8_lossy(bytes);
                let plain = |name: &&String| name.bytes().all(|byte| byte.is_ascii_lowercase());
                let named = read.ignored.iter().chain(&read.mirrors);
                assert!(
                    named
                        .filter(plain)
                        .all(|name| text.contains(name.as_str()) || text.contains('\\'))
                );
            }
        });
    }
}
