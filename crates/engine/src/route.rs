//! From a method and a path to what is asked: a pure function, written by hand.
//!
//! Apart from the handlers because image names contain slashes, which path patterns of web frameworks do not allow for:
//! `/images/a/b/c/json` is `json` of the image `a/b/c`. The version prefix is optional everywhere. Unknown paths, known
//! paths with another method and versions out of range are three different errors.

use http::Method;

use crate::query::{Plus, decode};
use crate::version::{ApiVersion, ApiVersionError};

/// Longer paths are no request of any client.
const LONGEST_PATH: usize = 4096;

/// One thing the API can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Ping,
    Version,
    Info,
    Auth,
    Events,
    DiskUsage,
    Build,
    BuildCancel,
    BuildPrune,
    Session,
    Commit,
    Distribution { image: String },
    Images(ImagesEndpoint),
    Image { image: String, verb: ImageVerb },
    Containers(ContainersEndpoint),
    Container { container: String, verb: ContainerVerb },
    Exec { exec: String, verb: ExecVerb },
    Networks(CollectionVerb),
    Network { network: String, verb: NetworkVerb },
    Volumes(CollectionVerb),
    Volume { volume: String, verb: VolumeVerb },
}

/// What is asked of all images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImagesEndpoint {
    List,
    Create,
    Load,
    Save,
    Search,
    Prune,
}

/// What is asked of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageVerb {
    Inspect,
    History,
    Push,
    Tag,
    Save,
    Remove,
}

/// What is asked of all containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainersEndpoint {
    List,
    Create,
    Prune,
}

/// What is asked of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerVerb {
    Inspect,
    Top,
    Logs,
    Changes,
    Stats,
    Attach,
    Wait,
    Start,
    Stop,
    Restart,
    Kill,
    Resize,
    Rename,
    Update,
    Pause,
    Unpause,
    CreateExec,
    Remove,
    Export,
    ArchiveStat,
    ArchiveGet,
    ArchivePut,
}

/// What is asked of one exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecVerb {
    Start,
    Resize,
    Inspect,
}

/// What is asked of all networks or all volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectionVerb {
    List,
    Create,
    Prune,
}

/// What is asked of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkVerb {
    Inspect,
    Connect,
    Disconnect,
    Remove,
}

/// What is asked of one volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeVerb {
    Inspect,
    Remove,
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("{0}")]
    Version(ApiVersionError),
    #[error("page not found: Shipway's Docker engine does not serve {method} {path}{hint}")]
    Unknown {
        method: String,
        path: String,
        hint: &'static str,
    },
    #[error("method {method} is not allowed for {path}")]
    Method { method: String, path: String },
}

/// The endpoint and the version the client speaks; unversioned paths speak the newest.
pub(crate) fn route(method: &Method, path: &str) -> Result<(ApiVersion, Endpoint), RouteError> {
    let shown = || path.chars().take(200).collect::<String>();
    let unknown = |hint| RouteError::Unknown {
        method: method.to_string(),
        path: shown(),
        hint,
    };
    if path.len() > LONGEST_PATH {
        return Err(unknown(""));
    }
    let mut segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| decode(segment, Plus::IsItself).into_owned())
        .collect();
    let version = match segments.first().and_then(|first| ApiVersion::from_segment(first)) {
        Some(version) => {
            segments.remove(0);
            version.map_err(RouteError::Version)?
        }
        None => ApiVersion::NEWEST,
    };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let Some(endpoint) = find(method.as_str(), &segments) {
        return Ok((version, endpoint));
    }
    let elsewhere = ["GET", "POST", "DELETE", "PUT", "HEAD"]
        .iter()
        .any(|other| find(other, &segments).is_some());
    if elsewhere {
        return Err(RouteError::Method {
            method: method.to_string(),
            path: shown(),
        });
    }
    Err(unknown(hint(&segments)))
}

fn find(method: &str, segments: &[&str]) -> Option<Endpoint> {
    let endpoint = match (method, segments) {
        ("GET" | "HEAD", ["_ping"]) => Endpoint::Ping,
        ("GET", ["version"]) => Endpoint::Version,
        ("GET", ["info"]) => Endpoint::Info,
        ("POST", ["auth"]) => Endpoint::Auth,
        ("GET", ["events"]) => Endpoint::Events,
        ("GET", ["system", "df"]) => Endpoint::DiskUsage,
        ("POST", ["build"]) => Endpoint::Build,
        ("POST", ["build", "cancel"]) => Endpoint::BuildCancel,
        ("POST", ["build", "prune"]) => Endpoint::BuildPrune,
        ("POST", ["session"]) => Endpoint::Session,
        ("POST", ["commit"]) => Endpoint::Commit,
        ("GET", ["distribution", image @ .., "json"]) if !image.is_empty() => Endpoint::Distribution {
            image: image.join("/"),
        },
        (_, ["images", rest @ ..]) => return images(method, rest),
        (_, ["containers", rest @ ..]) => return containers(method, rest),
        ("POST", ["exec", exec, "start"]) => Endpoint::Exec {
            exec: (*exec).to_owned(),
            verb: ExecVerb::Start,
        },
        ("POST", ["exec", exec, "resize"]) => Endpoint::Exec {
            exec: (*exec).to_owned(),
            verb: ExecVerb::Resize,
        },
        ("GET", ["exec", exec, "json"]) => Endpoint::Exec {
            exec: (*exec).to_owned(),
            verb: ExecVerb::Inspect,
        },
        ("GET", ["networks"]) => Endpoint::Networks(CollectionVerb::List),
        ("POST", ["networks", "create"]) => Endpoint::Networks(CollectionVerb::Create),
        ("POST", ["networks", "prune"]) => Endpoint::Networks(CollectionVerb::Prune),
        (_, ["networks", network, rest @ ..]) => {
            let verb = match (method, rest) {
                ("GET", []) => NetworkVerb::Inspect,
                ("DELETE", []) => NetworkVerb::Remove,
                ("POST", ["connect"]) => NetworkVerb::Connect,
                ("POST", ["disconnect"]) => NetworkVerb::Disconnect,
                _ => return None,
            };
            Endpoint::Network {
                network: (*network).to_owned(),
                verb,
            }
        }
        ("GET", ["volumes"]) => Endpoint::Volumes(CollectionVerb::List),
        ("POST", ["volumes", "create"]) => Endpoint::Volumes(CollectionVerb::Create),
        ("POST", ["volumes", "prune"]) => Endpoint::Volumes(CollectionVerb::Prune),
        ("GET", ["volumes", volume]) => Endpoint::Volume {
            volume: (*volume).to_owned(),
            verb: VolumeVerb::Inspect,
        },
        ("DELETE", ["volumes", volume]) => Endpoint::Volume {
            volume: (*volume).to_owned(),
            verb: VolumeVerb::Remove,
        },
        _ => return None,
    };
    Some(endpoint)
}

fn images(method: &str, rest: &[&str]) -> Option<Endpoint> {
    let endpoint = match (method, rest) {
        ("GET", ["json"]) => Endpoint::Images(ImagesEndpoint::List),
        ("GET", ["get"]) => Endpoint::Images(ImagesEndpoint::Save),
        ("GET", ["search"]) => Endpoint::Images(ImagesEndpoint::Search),
        ("POST", ["create"]) => Endpoint::Images(ImagesEndpoint::Create),
        ("POST", ["load"]) => Endpoint::Images(ImagesEndpoint::Load),
        ("POST", ["prune"]) => Endpoint::Images(ImagesEndpoint::Prune),
        ("GET" | "POST", [image @ .., verb]) if !image.is_empty() => {
            let verb = match (method, *verb) {
                ("GET", "json") => ImageVerb::Inspect,
                ("GET", "history") => ImageVerb::History,
                ("GET", "get") => ImageVerb::Save,
                ("POST", "push") => ImageVerb::Push,
                ("POST", "tag") => ImageVerb::Tag,
                _ => return None,
            };
            Endpoint::Image {
                image: image.join("/"),
                verb,
            }
        }
        ("DELETE", image) if !image.is_empty() => Endpoint::Image {
            image: image.join("/"),
            verb: ImageVerb::Remove,
        },
        _ => return None,
    };
    Some(endpoint)
}

fn containers(method: &str, rest: &[&str]) -> Option<Endpoint> {
    let (container, verb) = match (method, rest) {
        ("GET", ["json"]) => return Some(Endpoint::Containers(ContainersEndpoint::List)),
        ("POST", ["create"]) => return Some(Endpoint::Containers(ContainersEndpoint::Create)),
        ("POST", ["prune"]) => return Some(Endpoint::Containers(ContainersEndpoint::Prune)),
        ("DELETE", [container]) => (container, ContainerVerb::Remove),
        ("HEAD", [container, "archive"]) => (container, ContainerVerb::ArchiveStat),
        ("PUT", [container, "archive"]) => (container, ContainerVerb::ArchivePut),
        ("GET", [container, verb]) => {
            let verb = match *verb {
                "json" => ContainerVerb::Inspect,
                "top" => ContainerVerb::Top,
                "logs" => ContainerVerb::Logs,
                "changes" => ContainerVerb::Changes,
                "stats" => ContainerVerb::Stats,
                "export" => ContainerVerb::Export,
                "archive" => ContainerVerb::ArchiveGet,
                _ => return None,
            };
            (container, verb)
        }
        ("POST", [container, verb]) => {
            let verb = match *verb {
                "attach" => ContainerVerb::Attach,
                "wait" => ContainerVerb::Wait,
                "start" => ContainerVerb::Start,
                "stop" => ContainerVerb::Stop,
                "restart" => ContainerVerb::Restart,
                "kill" => ContainerVerb::Kill,
                "resize" => ContainerVerb::Resize,
                "rename" => ContainerVerb::Rename,
                "update" => ContainerVerb::Update,
                "pause" => ContainerVerb::Pause,
                "unpause" => ContainerVerb::Unpause,
                "exec" => ContainerVerb::CreateExec,
                _ => return None,
            };
            (container, verb)
        }
        _ => return None,
    };
    Some(Endpoint::Container {
        container: (*container).to_owned(),
        verb,
    })
}

fn hint(segments: &[&str]) -> &'static str {
    match segments.first().copied() {
        Some("grpc") => {
            " (the BuildKit API); set DOCKER_BUILDKIT=0, or build with `shipway build`, which knows the flags of `docker buildx build`"
        }
        Some("swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs") => " (there is no swarm here)",
        Some("plugins") => " (there are no plugins here)",
        Some("v2") => " (this is the engine, not the registry)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint(method: &str, path: &str) -> Endpoint {
        route(&method.parse().unwrap(), path)
            .map(|(_, endpoint)| endpoint)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn image(image: &str, verb: ImageVerb) -> Endpoint {
        Endpoint::Image {
            image: image.to_owned(),
            verb,
        }
    }

    #[test]
    fn image_names_may_contain_slashes_ports_and_verbs() {
        assert_eq!(
            endpoint("GET", "/v1.41/images/json"),
            Endpoint::Images(ImagesEndpoint::List)
        );
        assert_eq!(
            endpoint("GET", "/images/alpine/json"),
            image("alpine", ImageVerb::Inspect)
        );
        assert_eq!(
            endpoint("POST", "/v1.47/images/localhost:5000/a/b/push"),
            image("localhost:5000/a/b", ImageVerb::Push)
        );
        assert_eq!(
            endpoint("GET", "/images/get/json"),
            image("get", ImageVerb::Inspect)
        );
        assert_eq!(
            endpoint("GET", "/images/a%2Fb@sha256:00/get"),
            image("a/b@sha256:00", ImageVerb::Save)
        );
        assert_eq!(
            endpoint("DELETE", "/images/a/json"),
            image("a/json", ImageVerb::Remove)
        );
        assert_eq!(
            endpoint("GET", "/distribution/r.example/a/b:1/json"),
            Endpoint::Distribution {
                image: "r.example/a/b:1".to_owned()
            }
        );
    }

    #[test]
    fn the_version_is_taken_from_the_path_or_is_the_newest() {
        let version = |path| route(&Method::GET, path).unwrap().0;
        assert_eq!(version("/v1.30/info").to_string(), "1.30");
        assert_eq!(version("/info"), ApiVersion::NEWEST);
        assert!(matches!(
            route(&Method::GET, "/v1.99/info"),
            Err(RouteError::Version(_))
        ));
    }

    #[test]
    fn containers_and_execs() {
        let of = |verb| Endpoint::Container {
            container: "web".to_owned(),
            verb,
        };
        assert_eq!(
            endpoint("POST", "/v1.41/containers/web/attach"),
            of(ContainerVerb::Attach)
        );
        assert_eq!(
            endpoint("HEAD", "/containers/web/archive"),
            of(ContainerVerb::ArchiveStat)
        );
        assert_eq!(endpoint("DELETE", "/containers/web"), of(ContainerVerb::Remove));
        assert_eq!(
            endpoint("POST", "/exec/ab/start"),
            Endpoint::Exec {
                exec: "ab".to_owned(),
                verb: ExecVerb::Start
            }
        );
        assert_eq!(
            endpoint("POST", "/networks/n/connect"),
            Endpoint::Network {
                network: "n".to_owned(),
                verb: NetworkVerb::Connect
            }
        );
    }

    #[test]
    fn what_is_not_served_says_so_in_three_ways() {
        let grpc = route(&Method::POST, "/grpc").unwrap_err().to_string();
        assert!(
            grpc.contains("POST /grpc") && grpc.contains("DOCKER_BUILDKIT=0"),
            "{grpc}"
        );
        assert!(matches!(
            route(&Method::DELETE, "/info"),
            Err(RouteError::Method { .. })
        ));
        assert!(matches!(
            route(&Method::GET, "/"),
            Err(RouteError::Unknown { .. })
        ));
        assert!(matches!(
            route(&Method::GET, &"/a".repeat(5000)),
            Err(RouteError::Unknown { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_path_has_an_answer(path in "(/(v1\\.[0-9]{1,3}|images|containers|json|%[0-9a-z]{0,2}|\\PC{0,8})){0,6}/?") {
            for method in [Method::GET, Method::POST, Method::DELETE, Method::PATCH] {
                let _ = route(&method, &path);
            }
        }

        #[test]
        fn an_image_s_name_comes_out_as_it_went_in(name in "[a-z0-9]{1,8}(:[0-9]{1,5})?(/[a-z0-9._-]{1,12}){0,4}") {
            let path = format!("/v1.41/images/{name}/json");
            // "json" after "images" alone is the list.
            prop_assert_eq!(endpoint("GET", &path), image(&name, ImageVerb::Inspect));
        }
    }
}
