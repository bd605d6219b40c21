//! What a build is made from: its Dockerfile, and the context without what is ignored.

use std::path::{Path, PathBuf};

use crate::context::{ContextError, View};
use crate::dockerfile::{Dockerfile, limits, parse};
use crate::error::BuildError;
use crate::ignore::IgnoreList;
use crate::lint::Options;
use crate::request::{BuildRequest, DockerfileSource};

/// A Dockerfile's bytes and the ignore file that goes with it.
pub(super) struct Source {
    pub(super) bytes: Vec<u8>,
    pub(super) name: String,
    pub(super) ignore: IgnoreList,
}

impl Source {
    /// Blocks.
    pub(super) fn read(request: &BuildRequest) -> Result<Self, BuildError> {
        let most = limits::FILE_BYTES as u64;
        let (bytes, name, beside) = match &request.dockerfile {
            DockerfileSource::Bytes { bytes, name, .. } => (bytes.clone(), name.clone(), None),
            DockerfileSource::Path(path) => {
                let bytes = request.context.here().read(path, most);
                let bytes = bytes.map_err(|source| BuildError::Context { source })?;
                let bytes = bytes.ok_or_else(|| BuildError::NoDockerfile { path: path.clone() })?;
                (bytes, path.display().to_string(), Some(path.clone()))
            }
        };
        let ignore = ignore_list(request, beside.as_deref())?;
        Ok(Self { bytes, name, ignore })
    }
}

/// The Dockerfile, what it was read from, and the context without what its ignore file names; `memory` is a directory that remembers
/// the contents of contexts. Blocks.
pub(super) fn read(request: &BuildRequest, memory: &Path) -> Result<(Dockerfile, Source, View), BuildError> {
    let source = Source::read(request)?;
    let file = parse(&source.bytes, &source.name)?;
    // What is malformed fails before anything is built.
    Options::of(&file, &request.build_args)?;
    let view = request.context.here().view(&source.ignore, request.modes);
    let view = view.map_err(|source| BuildError::Context { source })?;
    Ok((file, source, view.with_memory(memory)))
}

/// `X.dockerignore` beside the Dockerfile X goes before `.dockerignore`.
fn ignore_list(request: &BuildRequest, dockerfile: Option<&Path>) -> Result<IgnoreList, BuildError> {
    const MOST: u64 = 1 << 20;
    if let DockerfileSource::Bytes {
        name,
        ignore: Some(bytes),
        ..
    } = &request.dockerfile
    {
        return IgnoreList::parse(bytes, &format!("{name}.dockerignore"))
            .map_err(|source| BuildError::Ignore { source });
    }
    let own = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in own.into_iter().chain([PathBuf::from(".dockerignore")]) {
        let found = request
            .context
            .here()
            .read(&path, MOST)
            .map_err(|source: ContextError| BuildError::Context { source })?;
        if let Some(bytes) = found {
            return IgnoreList::parse(&bytes, &path.display().to_string())
                .map_err(|source| BuildError::Ignore { source });
        }
    }
    Ok(IgnoreList::default())
}
