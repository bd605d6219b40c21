//! The query of a build request, understood or refused: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use shipway_build::{
    BuildRequest, CacheImport, ContextSource, DockerfileSource, RemoteContext, RunNetwork,
    without_credentials,
};
use shipway_oci::{Platform, Reference};
use shipway_sandbox::ResourceLimit;

use super::surroundings;
use crate::failure::{Failure, told};
use crate::query::Query;

/// Names of one image.
const MOST_TAGS: usize = 128;

/// What a client asks of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The address of the context, when it is not in the request's body.
    pub(super) remote: Option<RemoteContext>,
    cache_from: Vec<CacheImport>,
    extra_hosts: Vec<(String, IpAddr)>,
    shm_size: Option<u64>,
    limits: Vec<ResourceLimit>,
    dockerfile: PathBuf,
    target: Option<String>,
    arguments: BTreeMap<String, Option<String>>,
    labels: BTreeMap<String, String>,
    tags: Vec<Reference>,
    pull: bool,
    no_cache: bool,
    platform: Option<Platform>,
    network: RunNetwork,
    pub(super) quiet: bool,
    pub(super) warnings: Vec<String>,
}

impl Asked {
    pub(super) fn new(query: &Query) -> Result<Asked, Failure> {
        if query.get("version") == Some("2") || query.get("session").is_some() {
            return Err(Failure::not_implemented(
                "BuildKit's protocol is not spoken here: set DOCKER_BUILDKIT=0, or build with `shipway build`, which knows the flags of `docker buildx build`",
            ));
        }
        let remote = query.get("remote").filter(|remote| !remote.is_empty());
        let remote = remote.map(remote_context).transpose()?;
        if query
            .get("outputs")
            .is_some_and(|outputs| outputs != "[]" && outputs != "null")
        {
            return Err(Failure::bad_request(
                "--output needs BuildKit's protocol, which is not spoken here",
            ));
        }
        let mut warnings = Vec::new();
        let network = match query.get("networkmode") {
            None | Some("default" | "bridge") => RunNetwork::Pod,
            Some("none") => RunNetwork::None,
            Some(other) => {
                warnings.push(format!(
                    "--network={other}: steps run in the engine's own network"
                ));
                RunNetwork::Pod
            }
        };
        let ignored: Vec<&str> = [
            ("squash", "--squash"),
            ("memory", "--memory"),
            ("cpuquota", "--cpu-quota"),
            ("cpusetcpus", "--cpuset-cpus"),
            ("cpushares", "--cpu-shares"),
            ("securityopt", "--security-opt"),
        ]
        .into_iter()
        .filter(|(key, _)| {
            query
                .get(key)
                .is_some_and(|value| !matches!(value, "0" | "null" | "[]"))
        })
        .map(|(_, flag)| flag)
        .collect();
        if !ignored.is_empty() {
            warnings.push(format!("ignored by Shipway's engine: {}", ignored.join(", ")));
        }
        let dockerfile = query.get("dockerfile").unwrap_or("Dockerfile");
        Ok(Asked {
            remote,
            cache_from: cache_from(query)?,
            extra_hosts: surroundings::extra_hosts(query)?,
            shm_size: surroundings::shm_size(query)?,
            limits: surroundings::limits(query)?,
            dockerfile: PathBuf::from(dockerfile.trim_start_matches('/')),
            target: query.get("target").map(str::to_owned),
            arguments: query
                .json::<Option<_>>("buildargs")?
                .flatten()
                .unwrap_or_default(),
            labels: query.json::<Option<_>>("labels")?.flatten().unwrap_or_default(),
            tags: tags(query)?,
            pull: query.flag("pull"),
            no_cache: query.flag("nocache"),
            platform: query
                .get("platform")
                .map(|text| text.parse().map_err(|error| Failure::bad_request(told(&error))))
                .transpose()?,
            network,
            quiet: query.flag("q"),
            warnings,
        })
    }

    /// The request as far as the client decides over it.
    pub(super) fn request(&self, context: impl Into<ContextSource>) -> BuildRequest {
        BuildRequest {
            cache_from: self.cache_from.clone(),
            extra_hosts: self.extra_hosts.clone(),
            shm_size: self.shm_size,
            limits: self.limits.clone(),
            dockerfile: DockerfileSource::Path(self.dockerfile.clone()),
            target: self.target.clone(),
            build_args: self.arguments.clone(),
            labels: self.labels.clone(),
            tags: self.tags.clone(),
            pull: self.pull,
            no_cache: self.no_cache,
            platforms: self.platform.iter().cloned().collect(),
            network: self.network,
            ..BuildRequest::new(context)
        }
    }
}

fn remote_context(text: &str) -> Result<RemoteContext, Failure> {
    match RemoteContext::parse(text) {
        Some(Ok(remote)) => Ok(remote),
        Some(Err(error)) => Err(Failure::bad_request(told(&error))),
        None => Err(Failure::bad_request(format!(
            "the context {} is no address of a repository, a tar or a Dockerfile",
            without_credentials(text)
        ))),
    }
}

/// `--cache-from`: names of images that carry their cache.
fn cache_from(query: &Query) -> Result<Vec<CacheImport>, Failure> {
    let names: Vec<String> = query
        .json::<Option<_>>("cachefrom")?
        .flatten()
        .unwrap_or_default();
    surroundings::bounded("cachefrom", names.len())?;
    let import = |name: &String| {
        let reference = Reference::parse(name);
        reference.map(CacheImport::Registry).map_err(|error| {
            Failure::bad_request(format!(
                "invalid argument {name:?} for --cache-from: {}",
                told(&error)
            ))
        })
    };
    names.iter().map(import).collect()
}

fn tags(query: &Query) -> Result<Vec<Reference>, Failure> {
    let mut tags: Vec<Reference> = Vec::new();
    for text in query.all("t").filter(|text| !text.is_empty()) {
        let reference = Reference::parse(text).map_err(|error| {
            Failure::bad_request(format!("invalid argument {text:?} for --tag: {}", told(&error)))
        })?;
        if reference.digest.is_some() {
            return Err(Failure::bad_request(format!(
                "invalid argument {text:?} for --tag: a tag has no digest"
            )));
        }
        if !tags.contains(&reference) {
            tags.push(reference);
        }
    }
    if tags.len() > MOST_TAGS {
        return Err(Failure::bad_request(format!(
            "{} tags are too many: at most {MOST_TAGS}",
            tags.len()
        )));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_docker_cli_sends_is_understood() {
        let asked = Asked::new(&Query::parse(
            "buildargs=%7B%22A%22%3A%221%22%2C%22B%22%3Anull%7D&cachefrom=%5B%5D&cgroupparent=&cpuperiod=0&cpuquota=0\
             &dockerfile=sub%2FDockerfile&labels=%7B%22l%22%3A%22v%22%7D&memory=0&memswap=0&networkmode=default&rm=1&shmsize=0\
             &t=app&t=r.example%2Fapp%3A1&t=app%3Alatest&target=prod&ulimits=null&version=1&nocache=1&q=1",
        ))
        .unwrap();
        assert_eq!(asked.dockerfile, PathBuf::from("sub/Dockerfile"));
        assert_eq!(
            asked.tags.iter().map(Reference::familiar).collect::<Vec<_>>(),
            ["app:latest", "r.example/app:1"]
        );
        assert_eq!(asked.arguments["A"].as_deref(), Some("1"));
        assert_eq!(asked.arguments["B"], None);
        assert_eq!(asked.labels["l"], "v");
        assert!(asked.no_cache && asked.quiet && !asked.pull && asked.warnings.is_empty());
        assert_eq!(asked.target.as_deref(), Some("prod"));
        let asked = Asked::new(&Query::parse(
            "remote=https%3A%2F%2Fexample.org%2Fa.git%23main&cachefrom=%5B%22r.example%2Fapp%3A1%22%5D&extrahosts=db%3A10.0.0.1\
             &extrahosts=six%3A%3A%3A1&shmsize=65536&ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Hard%22%3A20%2C%22Soft%22%3A10%7D%5D",
        ))
        .unwrap();
        assert!(
            matches!(asked.remote, Some(RemoteContext::Git(_))),
            "{:?}",
            asked.remote
        );
        assert!(
            matches!(&asked.cache_from[..], [CacheImport::Registry(name)] if name.familiar() == "r.example/app:1")
        );
        let hosts: Vec<String> = asked
            .extra_hosts
            .iter()
            .map(|(name, address)| format!("{name} {address}"))
            .collect();
        assert_eq!(hosts, ["db 10.0.0.1", "six ::1"]);
        assert_eq!(
            (asked.shm_size, asked.limits[0].to_string()),
            (Some(65536), "nofile=10:20".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_in_words() {
        for (query, words) in [
            ("version=2", "DOCKER_BUILDKIT=0"),
            ("remote=client-session", "no address of a repository"),
            ("extrahosts=a%3Ahost-gateway", "--add-host"),
            ("shmsize=64m", "--shm-size"),
            ("cachefrom=%5B%22A%20b%22%5D", "--cache-from"),
            (
                "ulimits=%5B%7B%22Name%22%3A%22files%22%2C%22Hard%22%3A1%2C%22Soft%22%3A1%7D%5D",
                "--ulimit",
            ),
            ("t=A%20b", "--tag"),
            ("buildargs=%7B", "buildargs"),
            ("outputs=%5B%7B%7D%5D", "--output"),
        ] {
            let failure = Asked::new(&Query::parse(query)).unwrap_err();
            assert!(failure.message().contains(words), "{}", failure.message());
        }
        let ignored = Asked::new(&Query::parse("cpushares=2&memory=1&securityopt=null")).unwrap();
        assert_eq!(
            ignored.warnings,
            ["ignored by Shipway's engine: --memory, --cpu-shares"]
        );
        let host = Asked::new(&Query::parse("networkmode=host&buildargs=null")).unwrap();
        assert_eq!((host.network, host.warnings.len()), (RunNetwork::Pod, 1));
    }

    /// What is taken keeps its bounds, and no name has a digest.
    #[test]
    fn foreign_requests() {
        let seeds = [
            "buildargs=%7B%22A%22%3A%221%22%7D&dockerfile=sub%2FDockerfile&labels=%7B%22l%22%3A%22v%22%7D&t=app&t=r.example%2Fapp%3A1",
            "version=1&networkmode=host&platform=linux%2Farm64&ulimits=null&shmsize=1&q=1&nocache=1",
        ];
        shipway_testkit::Foreign::near(seeds).check_text(|text| {
            if let Ok(asked) = Asked::new(&Query::parse(text)) {
                assert!(asked.tags.len() <= MOST_TAGS);
                assert!(asked.tags.iter().all(|tag| tag.digest.is_none()));
                assert!(!asked.dockerfile.is_absolute());
            }
        });
    }
}
