//! What a build is made from: the text on the command line, told apart as docker tells it.
//!
//! A directory that is there is one, whatever it is called. What comes by standard input is read whole before anything is
//! built; what lies behind an address is fetched by the build itself, no further than its steps may reach.

use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use shipway_build::{
    Context, ContextName, ContextSource, DockerfileSource, NamedContext, NamedContexts, RemoteContext,
    begins_archive,
};
use shipway_store::Meter;

use super::files::{LARGEST_DOCKERFILE, named_dockerfile, read_bounded, read_stdin};
use crate::failure::{Failure, FailureKind};

/// Where the files of a build are.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// `-`
    StandardInput,
    /// A directory.
    Here(PathBuf),
    /// Behind an address.
    Remote(RemoteContext),
}

impl Place {
    fn of(text: &Path) -> Result<Self, Failure> {
        if text.as_os_str() == "-" {
            return Ok(Self::StandardInput);
        }
        if text.is_dir() {
            return Ok(Self::Here(text.to_owned()));
        }
        let doing = format!("the context `{}`", text.display());
        match text.to_str().and_then(RemoteContext::parse) {
            Some(Ok(remote)) => Ok(Self::Remote(remote)),
            Some(Err(error)) => Err(Failure::caused(FailureKind::Use, &doing, &error)),
            None => {
                let message = format!("{doing} is neither a directory nor an address");
                let hint = "name a directory, `-`, or the address of a repository, a tar or a Dockerfile";
                Err(Failure::new(FailureKind::Use, message).hint(hint))
            }
        }
    }
}

/// The files and the Dockerfile of a build; `file` is `--file`. What comes by standard input waits in `spool`.
pub(super) fn read(
    context: &Path,
    file: Option<&Path>,
    spool: &Path,
) -> Result<(ContextSource, DockerfileSource), Failure> {
    let from_stdin = file.is_some_and(|file| file.as_os_str() == "-");
    let place = Place::of(context)?;
    let dockerfile = match (&place, file) {
        (Place::StandardInput, _) if from_stdin => {
            let message = "standard input cannot be both the context and the Dockerfile";
            return Err(Failure::new(FailureKind::Use, message));
        }
        (_, Some(_)) if from_stdin => DockerfileSource::Bytes {
            bytes: read_stdin()?,
            name: "Dockerfile".to_owned(),
            ignore: None,
        },
        (_, None) => DockerfileSource::default(),
        (Place::Here(context), Some(file)) => named_dockerfile(context, file)?,
        (Place::Remote(_), Some(file)) if file.is_absolute() => {
            named_dockerfile(Path::new("/nonexistent"), file)?
        }
        (_, Some(file)) => DockerfileSource::Path(file.to_owned()),
    };
    match place {
        Place::Here(path) => Ok((Context::directory(path).into(), dockerfile)),
        Place::Remote(remote) => Ok((remote.into(), dockerfile)),
        Place::StandardInput => {
            let (context, own) = piped(io::stdin().lock(), spool)?;
            match (own, file) {
                (None, _) => Ok((context.into(), dockerfile)),
                (Some(own), None) => Ok((context.into(), own)),
                (Some(_), Some(_)) => {
                    let message =
                        "there are two Dockerfiles: standard input is one, and --file names another";
                    Err(Failure::new(FailureKind::Use, message))
                }
            }
        }
    }
}

/// A tar, plain or compressed, or a Dockerfile without files: what a stream is, told by how it begins.
fn piped(mut stream: impl Read, spool: &Path) -> Result<(Context, Option<DockerfileSource>), Failure> {
    const HEAD: u64 = 512;
    let doing = "the context from standard input";
    let failed = |error: io::Error| Failure::caused(FailureKind::Use, doing, &error);
    let mut head = Vec::new();
    stream
        .by_ref()
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(failed)?;
    if head.is_empty() {
        let message = format!("{doing} is empty: pipe a tar or a Dockerfile into it");
        return Err(Failure::new(FailureKind::Use, message));
    }
    let is_archive = begins_archive(&head);
    let whole = Cursor::new(head).chain(stream);
    if is_archive {
        let context = Context::tar(whole, spool, &Meter::default());
        let context = context.map_err(|error| Failure::caused(FailureKind::Use, doing, &error))?;
        return Ok((context, None));
    }
    let dockerfile = DockerfileSource::Bytes {
        bytes: read_bounded(whole, LARGEST_DOCKERFILE).map_err(failed)?,
        name: "Dockerfile".to_owned(),
        ignore: None,
    };
    Ok((Context::Empty, Some(dockerfile)))
}

/// What `--build-context` says, each `NAME=VALUE`.
pub(super) fn named(given: &[String]) -> Result<NamedContexts, Failure> {
    let mut contexts = NamedContexts::new();
    for text in given {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            let message = format!("`--build-context {text}` gives no value: write NAME=VALUE");
            Failure::new(FailureKind::Use, message)
        })?;
        let doing = format!("`--build-context {name}`");
        let name = name
            .parse::<ContextName>()
            .map_err(|error| Failure::caused(FailureKind::Use, &doing, &error))?;
        // What is there as a directory is one, as for the context itself.
        let value = match Path::new(value).is_dir() {
            true => NamedContext::Directory(value.into()),
            false => value
                .parse::<NamedContext>()
                .map_err(|error| Failure::caused(FailureKind::Use, &doing, &error))?,
        };
        let directory = match &value {
            NamedContext::Directory(path) => Some(path),
            NamedContext::OciLayout(address) => Some(&address.directory),
            _ => None,
        };
        if let Some(path) = directory
            && !path.is_dir()
        {
            let message = format!("the context `{name}`: `{}` is not a directory", path.display());
            return Err(Failure::new(FailureKind::Use, message));
        }
        contexts.insert(name, value);
    }
    Ok(contexts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_what_docker_takes_it_for() {
        let here = tempfile::tempdir().unwrap();
        assert_eq!(
            Place::of(here.path()).unwrap(),
            Place::Here(here.path().to_owned())
        );
        assert_eq!(Place::of(Path::new("-")).unwrap(), Place::StandardInput);
        for text in [
            "https://git.test/app.git#main:sub",
            "git@git.test:app.git",
            "github.com/moby/moby",
        ] {
            let place = Place::of(Path::new(text)).unwrap();
            assert!(matches!(place, Place::Remote(RemoteContext::Git(_))), "{text}");
        }
        let tar = Place::of(Path::new("http://files.test/context.tar.gz")).unwrap();
        assert!(matches!(tar, Place::Remote(RemoteContext::Url(_))));
        for text in [
            "/nonexistent",
            "https://git.test/app.git?nonsense=1",
            "file:///etc",
        ] {
            assert!(Place::of(Path::new(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_stream_is_a_tar_or_a_dockerfile() {
        let spool = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(12);
        header.set_mode(0o644);
        tar.append_data(&mut header, "Dockerfile", &b"FROM scratch"[..])
            .unwrap();
        let tar = tar.into_inner().unwrap();
        let (context, dockerfile) = piped(&tar[..], spool.path()).unwrap();
        assert!(dockerfile.is_none());
        let read = context.read(Path::new("Dockerfile"), 100).unwrap();
        assert_eq!(read.as_deref(), Some(&b"FROM scratch"[..]));
        let (context, dockerfile) = piped(&b"FROM scratch\n"[..], spool.path()).unwrap();
        assert!(matches!(context, Context::Empty));
        assert!(
            matches!(dockerfile, Some(DockerfileSource::Bytes { bytes, .. }) if bytes == b"FROM scratch\n")
        );
        assert!(piped(io::empty(), spool.path()).is_err());
        assert!(piped(io::repeat(b'x'), spool.path()).is_err());
    }

    #[test]
    fn names_need_a_value_and_directories_are_there() {
        let here = tempfile::tempdir().unwrap();
        let given = |text: &str| named(&[text.to_owned()]);
        assert_eq!(given(&format!("lib={}", here.path().display())).unwrap().len(), 1);
        assert_eq!(given("lib=docker-image://busybox").unwrap().len(), 1);
        for text in [
            "lib",
            "lib=/nonexistent",
            "lib=oci-layout:///nonexistent",
            "scratch=.",
            "lib=",
            "lib=https://git.test/a.git?b=c",
        ] {
            assert!(given(text).is_err(), "{text}");
        }
    }
}
