//! `shipway build`: a Dockerfile to an image, under the flags of `docker build` and `docker buildx build`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use rustix::fs::{Mode, OFlags};
use shipway_build::{
    BuildError, BuildRequest, Builder, Built, Context, CredentialSource, DockerfileSource, RunNetwork,
};
use shipway_oci::{Platform, Reference, RegistryName};
use shipway_registry::client::{ClientError, OpenPush, RegistryCredentials};
use tokio::task::JoinHandle;

use crate::credentials::DockerCredentials;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

pub(crate) mod progress;

/// Larger than any Dockerfile that people write by a factor of a hundred.
const LARGEST_DOCKERFILE: u64 = 4 << 20;

/// Build an image from a Dockerfile, without a daemon
#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// The build context: a directory
    context: PathBuf,
    /// Name the image; may be given several times
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    tag: Vec<String>,
    /// The Dockerfile [default: CONTEXT/Dockerfile; - for standard input]
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Push the image under its names
    #[arg(long)]
    push: bool,
    /// The stage to build
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Set a build argument; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Add a label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Ask for newer base images
    #[arg(long)]
    pull: bool,
    /// Take nothing from the cache
    #[arg(long)]
    no_cache: bool,
    /// The platform to build for
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<Platform>,
    /// The network of RUN steps: `default` or `none`
    #[arg(long, value_name = "MODE", default_value = "default")]
    network: String,
    /// Write the image's id into a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Print only the image's id
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) async fn execute(
    arguments: BuildArguments,
    installation: Installation,
) -> Result<ExitCode, Failure> {
    let tags = arguments
        .tag
        .iter()
        .map(|text| parse_reference(text))
        .collect::<Result<Vec<_>, _>>()?;
    if arguments.push && tags.is_empty() {
        return Err(
            Failure::new(FailureKind::Use, "there is nothing to push to").hint("name the image with --tag")
        );
    }
    let runtime = installation.runtime(installation.client.clone()).await?;
    let builder = Builder::new(runtime, installation.store.clone(), installation.client.clone());
    let request = request(&arguments, &installation, tags.clone())?;
    let progress = progress::Progress::new(arguments.quiet);
    let pushes: Vec<_> = tags
        .iter()
        .filter(|_| arguments.push)
        .map(|tag| (tag, begin_push(&installation, tag)))
        .collect();
    let built = builder.build(request, &progress).await.map_err(failure)?;
    for (tag, begun) in pushes {
        push(&installation, &built, tag, begun, arguments.quiet).await?;
    }
    if let Some(path) = &arguments.iidfile {
        std::fs::write(path, built.id.to_string()).map_err(|error| {
            Failure::caused(
                FailureKind::Place,
                &format!("writing `{}`", path.display()),
                &error,
            )
        })?;
    }
    screen::line(built.id.as_ref());
    Ok(ExitCode::SUCCESS)
}

/// A reference as the user wrote it, or what is wrong with it.
pub(crate) fn parse_reference(text: &str) -> Result<Reference, Failure> {
    Reference::parse(text)
        .map_err(|error| Failure::caused(FailureKind::Use, &format!("the image name `{text}`"), &error))
}

fn request(
    arguments: &BuildArguments,
    installation: &Installation,
    tags: Vec<Reference>,
) -> Result<BuildRequest, Failure> {
    let dockerfile = match &arguments.file {
        Some(path) if path.as_os_str() == "-" => DockerfileSource::Bytes {
            bytes: read_stdin()?,
            name: "Dockerfile".to_owned(),
            ignore: None,
        },
        Some(path) => named_dockerfile(&arguments.context, path)?,
        None => DockerfileSource::default(),
    };
    let network = match arguments.network.as_str() {
        "default" => RunNetwork::Pod,
        "none" => RunNetwork::None,
        other => {
            return Err(
                Failure::new(FailureKind::Use, format!("there is no network mode `{other}`"))
                    .hint("use `default` or `none`"),
            );
        }
    };
    if !arguments.context.is_dir() {
        let message = format!("the context `{}` is not a directory", arguments.context.display());
        return Err(Failure::new(FailureKind::Use, message));
    }
    let mut request = BuildRequest::new(Context::directory(&arguments.context));
    request.dockerfile = dockerfile;
    request.egress = Some(installation.egress.clone());
    request.tags = tags;
    request.target = arguments.target.clone();
    request.build_args = build_args(&arguments.build_arg);
    request.labels = labels(&arguments.label)?;
    request.pull = arguments.pull;
    request.no_cache = arguments.no_cache;
    request.platform = arguments.platform.clone();
    request.network = network;
    request.credentials = Arc::new(UserCredentials);
    request.source_date_epoch = source_date_epoch()?;
    Ok(request)
}

/// A Dockerfile of the context stays one, so that its own ignore file is found, and is a regular file; any other is read
/// now, and the ignore file beside it.
fn named_dockerfile(context: &Path, path: &Path) -> Result<DockerfileSource, Failure> {
    // What the shell puts in place of `<(…)` has no path of its own.
    if let (Ok(root), Ok(absolute)) = (context.canonicalize(), path.canonicalize())
        && let Ok(inside) = absolute.strip_prefix(&root)
    {
        return Ok(DockerfileSource::Path(inside.to_path_buf()));
    }
    let bytes = read_small_file(path).map_err(|error| {
        Failure::caused(
            FailureKind::Use,
            &format!("the Dockerfile `{}`", path.display()),
            &error,
        )
    })?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".dockerignore");
    let beside = PathBuf::from(beside);
    let ignore = match read_small_file(&beside) {
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

fn read_stdin() -> Result<Vec<u8>, Failure> {
    read_bounded(std::io::stdin().lock()).map_err(|error| {
        Failure::caused(
            FailureKind::Use,
            "reading the Dockerfile from standard input",
            &error,
        )
    })
}

/// A regular file, or a pipe, whose writer is waited for as the one of standard input is.
fn read_small_file(path: &Path) -> io::Result<Vec<u8>> {
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
    read_bounded(file)
}

fn read_bounded(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LARGEST_DOCKERFILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_DOCKERFILE {
        let message = format!("it is larger than {} MiB", LARGEST_DOCKERFILE >> 20);
        return Err(io::Error::other(message));
    }
    Ok(bytes)
}

/// Build arguments by name; one without a value takes it from the environment, or is left to the Dockerfile's default.
fn build_args(given: &[String]) -> BTreeMap<String, Option<String>> {
    given
        .iter()
        .map(|argument| match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument.clone(), std::env::var(argument).ok()),
        })
        .collect()
}

fn labels(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    given
        .iter()
        .map(|label| {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            if name.is_empty() {
                return Err(Failure::new(
                    FailureKind::Use,
                    format!("the label `{label}` has no name"),
                ));
            }
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

fn source_date_epoch() -> Result<Option<i64>, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|error| {
            Failure::caused(
                FailureKind::Use,
                &format!("SOURCE_DATE_EPOCH is `{text}`, not seconds"),
                &error,
            )
        }),
    }
}

/// A push that waits for its image.
type Begun = JoinHandle<Result<OpenPush, Failure>>;

/// Finds the registry and logs in while the image is being built: checking a password takes as long as a small build.
/// What goes wrong is told when there is something to push.
fn begin_push(installation: &Installation, tag: &Reference) -> Begun {
    let (client, installation, tag) = (installation.client.clone(), installation.clone(), tag.clone());
    tokio::spawn(async move {
        let named = tag.clone();
        let credentials = tokio::task::spawn_blocking(move || installation.credentials(&named))
            .await
            .map_err(|_| interrupted(&tag))?;
        let begun = client.begin_push(&tag, Some(&credentials)).await;
        begun.map_err(|error| not_pushed(&tag, &error))
    })
}

fn not_pushed(tag: &Reference, error: &ClientError) -> Failure {
    Failure::caused(FailureKind::Work, &format!("pushing {}", tag.familiar()), error)
}

fn interrupted(tag: &Reference) -> Failure {
    let message = format!("pushing {} was interrupted", tag.familiar());
    Failure::new(FailureKind::Internal, message)
}

async fn push(
    installation: &Installation,
    built: &Built,
    tag: &Reference,
    begun: Begun,
    quiet: bool,
) -> Result<(), Failure> {
    let begun = begun.await.map_err(|_| interrupted(tag))??;
    let watching = progress::Transfer::new(quiet);
    let digest = begun
        .finish(&installation.store, &built.manifest, &watching)
        .await
        .map_err(|error| not_pushed(tag, &error))?;
    if !quiet {
        screen::error_line(&format!("pushed {}@{digest}", tag.familiar()));
    }
    Ok(())
}

fn failure(error: BuildError) -> Failure {
    let kind = match &error {
        BuildError::Dockerfile(_) | BuildError::NoDockerfile { .. } | BuildError::Ignore { .. } => {
            FailureKind::Use
        }
        _ => FailureKind::Work,
    };
    Failure::caused(kind, "the build failed", &error)
}

/// The user's credentials, looked up for each registry that a build touches.
struct UserCredentials;

impl CredentialSource for UserCredentials {
    fn credentials(&self, registry: &RegistryName) -> Option<RegistryCredentials> {
        DockerCredentials::of_this_user().find(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_build_argument_keeps_everything_behind_its_first_equals_sign() {
        let arguments = build_args(&["A=b=c".to_owned(), "SURELY_NOT_IN_THE_ENVIRONMENT".to_owned()]);
        assert_eq!(arguments["A"].as_deref(), Some("b=c"));
        assert_eq!(arguments["SURELY_NOT_IN_THE_ENVIRONMENT"], None);
    }

    #[test]
    fn a_dockerfile_is_a_file_or_a_pipe_of_some_size() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("good"), "FROM scratch").unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        File::create(at("large")).unwrap().set_len(5 << 20).unwrap();
        assert_eq!(read_small_file(&at("good")).unwrap(), b"FROM scratch");
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), Mode::from_raw_mode(0o600)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(at("pipe"), "FROM scratch").unwrap());
            assert_eq!(read_small_file(&at("pipe")).unwrap(), b"FROM scratch");
            // Its writer ends with an error, because nobody reads on.
            scope.spawn(|| std::fs::write(at("pipe"), vec![b'#'; 5 << 20]).unwrap_err());
            let said = read_small_file(&at("pipe")).unwrap_err().to_string();
            assert!(said.contains("larger than 4 MiB"), "{said}");
        });
        for (name, expected) in [
            ("endless", "neither a file nor a pipe"),
            ("missing", "No such file"),
            ("large", "larger than 4 MiB"),
            (".", "is a directory"),
        ] {
            let said = read_small_file(&at(name)).unwrap_err().to_string();
            assert!(said.contains(expected), "{name}: {said}");
        }
        assert!(read_bounded(io::repeat(b'x')).is_err());
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

    #[test]
    fn a_label_needs_a_name() {
        assert!(labels(&["=value".to_owned()]).is_err());
        assert_eq!(labels(&["a=b".to_owned()]).unwrap()["a"], "b");
    }
}
