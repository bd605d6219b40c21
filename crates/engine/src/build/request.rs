//! The query of a build request, understood or refused: pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use shipway_build::{BuildRequest, Context, DockerfileSource, RunNetwork};
use shipway_oci::{Platform, Reference};

use crate::failure::{Failure, told};
use crate::query::Query;

/// Names of one image.
const MOST_TAGS: usize = 128;

/// What a client asks of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
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
        if let Some(remote) = query.get("remote") {
            return Err(Failure::bad_request(format!(
                "the context {remote} would be fetched by the engine, which is not possible here: fetch it in the job and build the directory"
            )));
        }
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
            ("extrahosts", "--add-host"),
            ("squash", "--squash"),
            ("memory", "--memory"),
            ("cpuquota", "--cpu-quota"),
            ("cpusetcpus", "--cpuset-cpus"),
            ("cpushares", "--cpu-shares"),
            ("shmsize", "--shm-size"),
            ("ulimits", "--ulimit"),
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
    pub(super) fn request(&self, context: Context) -> BuildRequest {
        BuildRequest {
            dockerfile: DockerfileSource::Path(self.dockerfile.clone()),
            target: self.target.clone(),
            build_args: self.arguments.clone(),
            labels: self.labels.clone(),
            tags: self.tags.clone(),
            pull: self.pull,
            no_cache: self.no_cache,
            platform: self.platform.clone(),
            network: self.network,
            ..BuildRequest::new(context)
        }
    }
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
    }

    #[test]
    fn what_cannot_be_done_is_refused_in_words() {
        for (query, words) in [
            ("version=2", "DOCKER_BUILDKIT=0"),
            ("remote=https%3A%2F%2Fexample.org%2Fa.git", "fetch it in the job"),
            ("t=A%20b", "--tag"),
            ("buildargs=%7B", "buildargs"),
            ("outputs=%5B%7B%7D%5D", "--output"),
        ] {
            let failure = Asked::new(&Query::parse(query)).unwrap_err();
            assert!(failure.message().contains(words), "{}", failure.message());
        }
        let ignored = Asked::new(&Query::parse(
            "ulimits=%5B%7B%7D%5D&shmsize=65536&securityopt=null",
        ))
        .unwrap();
        assert_eq!(
            ignored.warnings,
            ["ignored by Shipway's engine: --shm-size, --ulimit"]
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
