//! Contexts that are fetched: repositories, and tars or Dockerfiles behind an address.

use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use shipway_attest::without_credentials;
use shipway_container::Egress;
use shipway_registry::{Client, EgressPolicy};

use super::builder::Builder;
use super::fetch::fetch;
use super::local_archive::is_tar_header;
use super::site::{Site, blocking};
use crate::attest::{RemoteSource, commit_algorithm};
use crate::context::{Compression, Context};
use crate::dockerfile::limits;
use crate::error::{BuildError, StepError};
use crate::git::{Fetcher, GitAddress, Repository};
use crate::request::{BuildRequest, DockerfileSource, SOURCE_DATE_EPOCH, TIME_OF_THE_CONTEXT};
use crate::source::{ContextSource, RemoteContext};

/// What was fetched in the place of a build context.
pub(super) struct Fetched {
    pub(super) context: Context,
    /// The Dockerfile, when the address was that of one.
    pub(super) dockerfile: Option<DockerfileSource>,
    /// When the files were made, as far as that is known.
    pub(super) time: Option<i64>,
    /// What they are, for who asks afterwards.
    pub(super) source: RemoteSource,
}

/// The way to what a build names: no further than a RUN would come.
pub(super) fn way(client: &Client, site: &Site) -> Result<Client, StepError> {
    let policy = Both(Arc::clone(client.egress()), site.egress()?);
    Ok(client.with_egress(Arc::new(policy)))
}

/// The way to repositories.
pub(super) fn git(
    client: &Client,
    site: &Site,
    spool: &Path,
    request: &BuildRequest,
) -> Result<Fetcher, StepError> {
    let client = way(client, site)?;
    Ok(Fetcher::new(client, spool, site.written(), &request.secrets))
}

/// A repository as a context.
pub(super) async fn repository(
    fetcher: &Fetcher,
    address: &GitAddress,
) -> Result<(Repository, String), StepError> {
    let failed = |source| StepError::Git {
        url: address.to_string(),
        source: Box::new(source),
    };
    let commit = fetcher.resolve(address).await.map_err(failed)?;
    let keep = address.keep_git_dir == Some(true);
    let id = commit.id.clone();
    let fetched = fetcher.fetch(address, commit, keep).await.map_err(failed)?;
    Ok((fetched, id))
}

/// Fetches the context of a build.
pub(super) async fn context(
    client: &Client,
    site: &Site,
    spool: &Path,
    request: &BuildRequest,
    remote: &RemoteContext,
) -> Result<Fetched, StepError> {
    match remote {
        RemoteContext::Git(address) => {
            let mut address = address.clone();
            // How clients of BuildKit ask for it.
            let asked = request.argument("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
            if matches!(asked, Some("1" | "true")) {
                address.keep_git_dir = Some(true);
            }
            let (fetched, commit) = repository(&git(client, site, spool, request)?, &address).await?;
            Ok(Fetched {
                source: RemoteSource {
                    uri: address.to_string(),
                    algorithm: commit_algorithm(&commit).to_owned(),
                    digest: commit,
                },
                context: fetched.context,
                dockerfile: None,
                time: Some(fetched.time),
            })
        }
        RemoteContext::Url(url) => {
            let fetched = fetch(&way(client, site)?, url, None, spool, site.written()).await?;
            let source = RemoteSource {
                uri: without_credentials(url),
                algorithm: "sha256".to_owned(),
                digest: fetched.digest.hex().to_owned(),
            };
            let (spool, written, url) = (spool.to_owned(), site.written().clone(), url.clone());
            let files = blocking(move || {
                let mut file = fetched.file.file();
                let mut head = Vec::new();
                file.seek(SeekFrom::Start(0))?;
                file.take(512).read_to_end(&mut head)?;
                file.seek(SeekFrom::Start(0))?;
                if begins_archive(&head) {
                    let context = Context::tar(file, &spool, &written);
                    let context = context.map_err(|source| StepError::Context { source })?;
                    return Ok((context, None));
                }
                let most = limits::FILE_BYTES as u64;
                if fetched.size > most {
                    return Err(StepError::NoContext { url, most });
                }
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                let dockerfile = DockerfileSource::Bytes {
                    bytes,
                    name: url,
                    ignore: None,
                };
                Ok((Context::Empty, Some(dockerfile)))
            });
            let (context, dockerfile) = files.await?;
            Ok(Fetched {
                context,
                dockerfile,
                time: None,
                source,
            })
        }
    }
}

impl Builder {
    /// The request with its context here. The time of a repository's commit is the image's where nothing else is said.
    pub(super) async fn fetched(&self, mut request: BuildRequest) -> Result<BuildRequest, BuildError> {
        let ContextSource::Remote(wanted) = request.context.clone() else {
            return Ok(request);
        };
        let site = Site::new(self.runtime.clone(), request.pod.clone(), request.egress.clone());
        let fetched = context(&self.client, &site, self.runtime.data(), &request, &wanted).await;
        let fetched = fetched.map_err(|source| BuildError::Fetch {
            source: Box::new(source),
        })?;
        request.context = fetched.context.into();
        if let Some(provenance) = &mut request.provenance {
            provenance.source.get_or_insert(fetched.source);
        }
        // A Dockerfile that was named beside the address goes before the one behind it.
        if let (Some(dockerfile), DockerfileSource::Path(_)) = (fetched.dockerfile, &request.dockerfile) {
            request.dockerfile = dockerfile;
        }
        if request.argument(SOURCE_DATE_EPOCH) == Some(TIME_OF_THE_CONTEXT) {
            request.source_date_epoch = fetched.time.or(request.source_date_epoch);
        }
        request.created = request.created.or(fetched.time);
        Ok(request)
    }
}

/// Whether bytes are the beginning of a tar, plain or compressed; 512 of them are enough to tell.
pub fn begins_archive(head: &[u8]) -> bool {
    Compression::of(head) != Compression::None || is_tar_header(head)
}

/// What the builder's own client may reach, of what steps may.
struct Both(Arc<dyn EgressPolicy>, Egress);

impl EgressPolicy for Both {
    fn permits(&self, address: SocketAddr) -> bool {
        self.0.permits(address) && self.1.permits(address)
    }
}
