//! The `config.toml` that sections are added to and taken from, with everything else in it left as it is, comments included.
//!
//! Opening it does all that can fail early: the file is read and parsed, and its successor is made beside it with the
//! owner and mode that the file has, so that a place where it cannot be replaced shows before anybody has a token to lose.
//! Then it is replaced in one step, behind a symbolic link where there is one. Two who change it at once take
//! turns, by a lock of the directory, which leaves nothing behind.

use super::section::NewRunner;
use crate::configuration::KnownRunner;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

/// What a new file begins with, as gitlab-runner's does.
const NEW: &str = "concurrent = 1\ncheck_interval = 0\n";
/// Links that lead to each other end here, as they do for the kernel.
const LINKS: usize = 40;

/// Why a section is not written. No part of the file is in it: it holds tokens.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// What is there is not TOML, and is left as it is.
    #[error("`{}` is not TOML and is left as it is: line {line}, column {column}: {message}", file.display())]
    Broken {
        /// Which file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// `runners` is something else.
    #[error("`runners` in `{}` is no list of sections; the file is left as it is", file.display())]
    NoList {
        /// Which file.
        file: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("reading or writing `{}`", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A file that can be changed. Dropped, it leaves the file as it is.
pub struct ConfigurationFile {
    /// Behind all links.
    path: PathBuf,
    directory: PathBuf,
    successor: NamedTempFile,
}

impl ConfigurationFile {
    /// Makes ready to change it; the directory is made if it is missing. Blocks.
    ///
    /// # Errors
    /// When the file is there and cannot be read as TOML, or cannot be replaced by one of the same owner and mode.
    pub fn open(file: &Path) -> Result<Self, WriteError> {
        let io = |source| WriteError::Io {
            file: file.to_owned(),
            source,
        };
        let path = behind_links(file);
        read(&path)?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(io)?;
        // Its owner's alone, until it is told otherwise.
        let successor = tempfile::Builder::new()
            .prefix(".config.toml.")
            .tempfile_in(&directory)
            .map_err(io)?;
        match fs::metadata(&path) {
            Ok(found) => be_like(successor.as_file(), &found).map_err(io)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        Ok(Self {
            path,
            directory,
            successor,
        })
    }

    /// Adds a section to what the file has by now. Blocks.
    ///
    /// # Errors
    /// As when it was opened; the file is as it was then.
    pub fn add_section(self, runner: &NewRunner) -> Result<(), WriteError> {
        self.change(|runners| runners.push(runner.table()))
    }

    /// Takes the sections of runners away from what the file has by now. Blocks.
    ///
    /// # Errors
    /// As when it was opened; the file is as it was then.
    pub fn remove_sections(self, gone: &[KnownRunner]) -> Result<(), WriteError> {
        self.change(|runners| {
            runners.retain(|section| !gone.iter().any(|gone| is_of(section, gone)));
        })
    }

    fn change(self, change: impl FnOnce(&mut ArrayOfTables)) -> Result<(), WriteError> {
        let Self {
            path,
            directory,
            mut successor,
        } = self;
        let io = |source| WriteError::Io {
            file: path.clone(),
            source,
        };
        let turn = File::open(&directory).map_err(io)?;
        turn.lock().map_err(io)?;
        let mut document = read(&path)?;
        if let Some(runners) = document["runners"].as_array_of_tables_mut() {
            change(runners);
        }
        successor.write_all(document.to_string().as_bytes()).map_err(io)?;
        successor.as_file().sync_all().map_err(io)?;
        successor.persist(&path).map_err(|failed| io(failed.error))?;
        turn.sync_all().map_err(io)
    }
}

/// Whether a section is about a runner: a token is one for each GitLab. Keys are compared as where runners are read.
fn is_of(section: &Table, runner: &KnownRunner) -> bool {
    let text = |wanted: &str| {
        let found = section.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted));
        found.and_then(|(_, item)| item.as_str()).unwrap_or_default()
    };
    text("url") == runner.url && text("token") == runner.token.expose()
}

/// The file at the end of all links, which need not be there.
fn behind_links(file: &Path) -> PathBuf {
    let mut path = file.to_owned();
    for _ in 0..LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

/// Gives a file another's owner and mode.
fn be_like(file: &File, other: &Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (other.uid(), other.gid()) {
        fchown(file, Some(other.uid()), Some(other.gid()))?;
    }
    file.set_permissions(other.permissions())
}

/// What is there, or what a new file begins with; `runners` is a list of sections in it.
fn read(file: &Path) -> Result<DocumentMut, WriteError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => NEW.to_owned(),
        Err(source) => {
            return Err(WriteError::Io {
                file: file.to_owned(),
                source,
            });
        }
    };
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        WriteError::Broken {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[begin..].chars().count() + 1,
            message: error.message().to_owned(),
        }
    })?;
    let runners = document
        .entry("runners")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    // Written inline, it is the same list.
    let sections = match std::mem::take(runners) {
        Item::Value(Value::Array(list)) if list.is_empty() => ArrayOfTables::new(),
        other => other.into_array_of_tables().map_err(|_| WriteError::NoList {
            file: file.to_owned(),
        })?,
    };
    *runners = Item::ArrayOfTables(sections);
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::{ConfigurationFile, WriteError};
    use crate::configuration::{Configuration, KnownRunners, VolumeSetting};
    use crate::registration::{DockerSection, NewExecutor, NewRunner};
    use shipway_oci::with_causes;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::Path;

    fn runner(name: &str) -> NewRunner {
        NewRunner {
            name: name.to_owned(),
            url: "https://gitlab.example.com".to_owned(),
            id: Some(7),
            token: "a-token".into(),
            ca_file: Some("/etc/ca.pem".into()),
            limit: 0,
            environment: Vec::new(),
            executor: NewExecutor::Docker(DockerSection {
                image: "docker:24.0.5".to_owned(),
                volumes: vec!["/var/run/docker.sock:/var/run/docker.sock".to_owned()],
                ..DockerSection::default()
            }),
        }
    }

    fn add(file: &Path, name: &str) -> Result<(), WriteError> {
        ConfigurationFile::open(file)?.add_section(&runner(name))
    }

    #[test]
    fn sections_are_added_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/config.toml");
        add(&file, "one").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("tls-ca-file = \"/etc/ca.pem\""), "{text}");
        fs::write(&file, format!("# ours\n{text}")).unwrap();
        add(&file, "two").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# ours\nconcurrent = 1\n"), "{text}");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = Configuration::load(&file).unwrap();
        assert!(read.findings.is_empty(), "{:?}", read.findings);
        for name in ["one", "two"] {
            let docker = &read.choose(Some(name)).unwrap().settings.docker;
            assert_eq!(docker.volumes[0], VolumeSetting::usual_socket());
        }
        let left = fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing half written stays");
    }

    #[test]
    fn a_broken_file_is_left_as_it_is_and_not_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        let table = [
            ("[[runners]]\n  token = \"glrt-secret\" oops\n", "line 2, column "),
            ("runners = 1\n", "no list of sections"),
            ("runners = [1]\n", "no list of sections"),
        ];
        for (broken, expected) in table {
            fs::write(&file, broken).unwrap();
            let error = ConfigurationFile::open(&file).err().unwrap();
            let said = format!("{} {error:?}", with_causes(&error));
            assert!(said.contains(expected) && !said.contains("glrt-secret"), "{said}");
            assert_eq!(fs::read_to_string(&file).unwrap(), broken);
        }
    }

    #[test]
    fn an_inline_list_is_a_list_of_sections() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        let inline = r#"runners = [{ name = "inline", url = "https://a.example", token = "t", executor = "docker", docker = { image = "alpine:3" } }]"#;
        for (begin, names) in [("runners = []", &["one"][..]), (inline, &["inline", "one"])] {
            fs::write(&file, format!("# ours\n{begin}\nconcurrent = 3 # jobs\n")).unwrap();
            add(&file, "one").unwrap();
            let text = fs::read_to_string(&file).unwrap();
            let read = Configuration::load(&file).unwrap();
            let found: Vec<_> = read.runners.iter().map(|runner| runner.name.as_str()).collect();
            assert_eq!((found.as_slice(), read.concurrent), (names, 3), "{text}");
            assert!(text.contains("concurrent = 3 # jobs"), "{text}");
            for name in names {
                let docker = &read.choose(Some(name)).unwrap().settings.docker;
                assert!(docker.image.is_some(), "{text}");
            }
        }
    }

    #[test]
    fn sections_are_taken_away_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        add(&file, "one").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let other = "\n# theirs\n[[runners]]\nname = \"other\"\nurl = \"https://other.example\"\ntoken = \"a-token\"\n";
        fs::write(&file, format!("# ours\n{text}{other}")).unwrap();
        let known = KnownRunners::load(&file).unwrap().runners;
        assert_eq!(
            (known[0].name.as_str(), known[0].executor.as_str()),
            ("one", "docker")
        );
        assert_eq!(known[0].ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
        ConfigurationFile::open(&file)
            .unwrap()
            .remove_sections(&known[..1])
            .unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("# ours\nconcurrent = 1\n") && text.contains("# theirs\n"),
            "{text}"
        );
        let left = KnownRunners::load(&file).unwrap().runners;
        assert_eq!(
            left.iter().map(|runner| runner.name.as_str()).collect::<Vec<_>>(),
            ["other"]
        );
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn link_owner_and_mode_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (link, file) = (directory.path().join("link"), directory.path().join("real.toml"));
        symlink("real.toml", &link).unwrap();
        fs::write(&file, "concurrent = 2\n").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(12), Some(34)).unwrap();
        }
        let before = fs::metadata(&file).unwrap();
        add(&link, "one").unwrap();
        let after = fs::metadata(&file).unwrap();
        assert!(link.is_symlink() && before.ino() != after.ino());
        let facts = |metadata: &fs::Metadata| (metadata.uid(), metadata.gid(), metadata.mode());
        assert_eq!(facts(&after), facts(&before));
    }

    #[test]
    fn two_at_once_both_stay() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        // Both are open before either writes.
        let (first, second) = (ConfigurationFile::open(&file), ConfigurationFile::open(&file));
        first.unwrap().add_section(&runner("one")).unwrap();
        second.unwrap().add_section(&runner("two")).unwrap();
        let read = Configuration::load(&file).unwrap();
        assert_eq!(read.runners.len(), 2);
    }
}
