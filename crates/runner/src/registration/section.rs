//! A new `[[runners]]` section in a `config.toml`, with everything else in it left as it is, comments included.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, TomlError, value};

/// A section to be written. Empty texts and lists are left out.
#[derive(Clone, Debug, Default)]
pub struct NewRunner {
    /// Its name.
    pub name: String,
    /// The GitLab.
    pub url: String,
    /// GitLab's number for it.
    pub id: u64,
    /// Its token.
    pub token: String,
    /// `docker`, `shell`, …
    pub executor: String,
    /// How many of its jobs run at once; 0 says nothing.
    pub limit: u64,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// The image of jobs that name none.
    pub image: String,
    /// As there.
    pub privileged: bool,
    /// As there; `/cache` where empty, as gitlab-runner writes it.
    pub volumes: Vec<String>,
    /// As there.
    pub pull_policies: Vec<String>,
}

/// Why a section is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// What is there is not TOML, and is left as it is.
    #[error("`{}` is not TOML and is left as it is", file.display())]
    Broken {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        source: TomlError,
    },
    /// `runners` is something else.
    #[error("`runners` in `{}` is no list of sections; the file is left as it is", file.display())]
    NoList {
        /// Which file.
        file: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("writing `{}`", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Adds a section. The file is replaced in one step and can be read by its owner only: it holds tokens.
///
/// # Errors
/// When the file is there and cannot be read as TOML, or cannot be written; it is as it was then.
pub fn add_section(file: &Path, runner: &NewRunner) -> Result<(), WriteError> {
    let io = |source| WriteError::Io {
        file: file.to_owned(),
        source,
    };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "concurrent = 1\ncheck_interval = 0\n".to_owned()
        }
        Err(error) => return Err(io(error)),
    };
    let mut document: DocumentMut = text.parse().map_err(|source| WriteError::Broken {
        file: file.to_owned(),
        source,
    })?;
    document
        .entry("runners")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .ok_or_else(|| WriteError::NoList {
            file: file.to_owned(),
        })?
        .push(section(runner));
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io)?;
    let partial = directory.join(format!(".config.toml.{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut opened| {
            opened.write_all(document.to_string().as_bytes())?;
            opened.sync_all()
        })
        .and_then(|()| std::fs::rename(&partial, file));
    if written.is_err() {
        // What is half written holds a token.
        let _ = std::fs::remove_file(&partial);
    }
    written.map_err(io)
}

fn section(runner: &NewRunner) -> Table {
    let list = |items: &[String]| value(items.iter().collect::<Array>());
    let mut table = Table::new();
    table["name"] = value(&runner.name);
    table["url"] = value(&runner.url);
    table["id"] = value(i64::try_from(runner.id).unwrap_or_default());
    table["token"] = value(&runner.token);
    table["executor"] = value(&runner.executor);
    if runner.limit > 0 {
        table["limit"] = value(i64::try_from(runner.limit).unwrap_or(i64::MAX));
    }
    if !runner.environment.is_empty() {
        table["environment"] = list(&runner.environment);
    }
    if runner.executor == "docker" {
        let mut docker = Table::new();
        docker["image"] = value(&runner.image);
        docker["privileged"] = value(runner.privileged);
        let mut volumes = runner.volumes.clone();
        if !volumes.iter().any(|volume| volume == "/cache") {
            volumes.push("/cache".to_owned());
        }
        docker["volumes"] = list(&volumes);
        if !runner.pull_policies.is_empty() {
            docker["pull_policy"] = list(&runner.pull_policies);
        }
        table["docker"] = Item::Table(docker);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{NewRunner, WriteError, add_section};
    use crate::configuration::{Configuration, VolumeSetting};
    use std::os::unix::fs::PermissionsExt as _;

    fn runner(name: &str) -> NewRunner {
        NewRunner {
            name: name.to_owned(),
            executor: "docker".to_owned(),
            image: "docker:24.0.5".to_owned(),
            volumes: vec!["/var/run/docker.sock:/var/run/docker.sock".to_owned()],
            ..NewRunner::default()
        }
    }

    #[test]
    fn sections_are_added_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/config.toml");
        add_section(&file, &runner("one")).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("# ours\n{text}")).unwrap();
        add_section(&file, &runner("two")).unwrap();
        assert!(
            std::fs::read_to_string(&file)
                .unwrap()
                .starts_with("# ours\nconcurrent = 1\n")
        );
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = Configuration::load(&file).unwrap();
        assert!(read.findings.is_empty(), "{:?}", read.findings);
        for name in ["one", "two"] {
            let docker = &read.choose(Some(name)).unwrap().settings.docker;
            assert_eq!(docker.volumes[0], VolumeSetting::usual_socket());
        }
        let left = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing half written stays");
    }

    #[test]
    fn a_broken_file_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        for broken in ["[[runners]\n", "runners = 1\n"] {
            std::fs::write(&file, broken).unwrap();
            let error = add_section(&file, &runner("one")).unwrap_err();
            assert!(matches!(
                error,
                WriteError::Broken { .. } | WriteError::NoList { .. }
            ));
            assert_eq!(std::fs::read_to_string(&file).unwrap(), broken);
        }
    }
}
