//! The arguments that name files, and the Dockerfile.
//!
//! Everything that is named on the command line is looked at before a store is touched by it: what is neither a file nor
//! a pipe, or larger than a Dockerfile can be, is refused by name.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{Mode, OFlags};
use shipway_build::{ContextSource, DockerfileSource, NamedContexts};

use super::contexts;
use crate::failure::{Failure, FailureKind};

/// Larger than any Dockerfile that people write by a factor of a hundred.
pub(crate) const LARGEST_DOCKERFILE: u64 = 4 << 20;

/// The arguments that name files.
#[derive(Debug, Args)]
pub(super) struct FileArguments {
    /// The build context: a directory, `-` for standard input, or an address
    ///
    /// By standard input comes a tar, plain or compressed, or a Dockerfile without files. An address is that of a git
    /// repository (`https://example.com/app.git#main:folder`), a tar or a Dockerfile.
    context: PathBuf,
    /// The Dockerfile [default: CONTEXT/Dockerfile; - for standard input]
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Give a name of the Dockerfile another meaning; may be given several times
    ///
    /// The name is an image's, a stage's, or one that only `--from` uses. The value is a directory, an address as of
    /// the context, `docker-image://NAME`, `oci-layout://DIRECTORY[:TAG][@DIGEST]` or `target:STAGE`.
    #[arg(long, value_name = "NAME=VALUE")]
    build_context: Vec<String>,
}

impl FileArguments {
    /// The files and the Dockerfile; what comes by standard input waits in `spool`.
    pub(super) fn read(&self, spool: &Path) -> Result<(ContextSource, DockerfileSource), Failure> {
        contexts::read(&self.context, self.file.as_deref(), spool)
    }

    pub(super) fn named_contexts(&self) -> Result<NamedContexts, Failure> {
        contexts::named(&self.build_context)
    }

    /// The directory of the context, if it is one of this machine.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.context.is_dir().then_some(self.context.as_path())
    }
}

/// A Dockerfile of the context stays one, so that its own ignore file is found, and is a regular file; any other is read
/// now, and the ignore file beside it.
pub(super) fn named_dockerfile(context: &Path, path: &Path) -> Result<DockerfileSource, Failure> {
    // What the shell puts in place of `<(…)` has no path of its own.
    if let (Ok(root), Ok(absolute)) = (context.canonicalize(), path.canonicalize())
        && let Ok(inside) = absolute.strip_prefix(&root)
    {
        return Ok(DockerfileSource::Path(inside.to_path_buf()));
    }
    let bytes = read_small_file(path, LARGEST_DOCKERFILE).map_err(|error| {
        Failure::caused(
            FailureKind::Use,
            &format!("the Dockerfile `{}`", path.display()),
            &error,
        )
    })?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".dockerignore");
    let beside = PathBuf::from(beside);
    let ignore = match read_small_file(&beside, LARGEST_DOCKERFILE) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let what = format!("the ignore file `{}`", beside.display());
            return Err(Failure::caused(FailureKind::Use, &what, &error));
        }
    };
    Ok(DockerfileSource::Bytes {
        bytes,
        name: path.display().to_string(),
        ignore,
    })
}

pub(crate) fn read_stdin() -> Result<Vec<u8>, Failure> {
    read_bounded(std::io::stdin().lock(), LARGEST_DOCKERFILE).map_err(|error| {
        Failure::caused(
            FailureKind::Use,
            "reading the Dockerfile from standard input",
            &error,
        )
    })
}

/// A regular file, or a pipe, whose writer is waited for as the one of standard input is. A file of more than `most` bytes is
/// an error.
pub(crate) fn read_small_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    // Nobody may ever be at the other end of anything else.
    if !path.metadata()?.file_type().is_fifo() {
        flags |= OFlags::NONBLOCK;
    }
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() && !kind.is_fifo() {
        return Err(io::Error::other(
            "it is a socket or a device, and neither a file nor a pipe",
        ));
    }
    read_bounded(file, most)
}

pub(super) fn read_bounded(from: impl io::Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let size = match most >> 20 {
            0 => format!("{} KiB", most >> 10),
            size => format!("{size} MiB"),
        };
        return Err(io::Error::other(format!("it is larger than {size}")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_dockerfile_is_a_file_or_a_pipe_of_some_size() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("good"), "FROM scratch").unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        File::create(at("large")).unwrap().set_len(5 << 20).unwrap();
        assert_eq!(
            read_small_file(&at("good"), LARGEST_DOCKERFILE).unwrap(),
            b"FROM scratch"
        );
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), Mode::from_raw_mode(0o600)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(at("pipe"), "FROM scratch").unwrap());
            assert_eq!(
                read_small_file(&at("pipe"), LARGEST_DOCKERFILE).unwrap(),
                b"FROM scratch"
            );
            // Its writer ends with an error, because nobody reads on.
            scope.spawn(|| std::fs::write(at("pipe"), vec![b'#'; 5 << 20]).unwrap_err());
            let said = read_small_file(&at("pipe"), LARGEST_DOCKERFILE)
                .unwrap_err()
                .to_string();
            assert!(said.contains("larger than 4 MiB"), "{said}");
        });
        for (name, expected) in [
            ("endless", "neither a file nor a pipe"),
            ("missing", "No such file"),
            ("large", "larger than 4 MiB"),
            (".", "is a directory"),
        ] {
            let said = read_small_file(&at(name), LARGEST_DOCKERFILE)
                .unwrap_err()
                .to_string();
            assert!(said.contains(expected), "{name}: {said}");
        }
        assert!(read_bounded(io::repeat(b'x'), LARGEST_DOCKERFILE).is_err());
    }

    #[test]
    fn what_a_shell_substitutes_for_a_process_is_a_dockerfile() {
        let context = tempfile::tempdir().unwrap();
        let (reads, mut writes) = io::pipe().unwrap();
        writes.write_all(b"FROM scratch").unwrap();
        drop(writes);
        let path = format!("/dev/fd/{}", reads.as_raw_fd());
        match named_dockerfile(context.path(), Path::new(&path)).unwrap() {
            DockerfileSource::Bytes { bytes, name, ignore } => {
                assert_eq!((&*bytes, name, ignore), (&b"FROM scratch"[..], path, None));
            }
            other => panic!("{other:?}"),
        }
        std::fs::write(context.path().join("Dockerfile"), "FROM scratch").unwrap();
        let inside = named_dockerfile(context.path(), &context.path().join("Dockerfile")).unwrap();
        assert!(matches!(inside, DockerfileSource::Path(path) if path == Path::new("Dockerfile")));
        let outside = tempfile::tempdir().unwrap();
        let path = outside.path().join("Other");
        std::fs::write(&path, "FROM scratch").unwrap();
        std::fs::write(outside.path().join("Other.dockerignore"), "secret").unwrap();
        let named = named_dockerfile(context.path(), &path).unwrap();
        assert!(matches!(named, DockerfileSource::Bytes { ignore: Some(ignore), .. } if ignore == b"secret"));
    }
}
