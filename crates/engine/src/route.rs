//! From a method and a path to what is asked: a pure function, written by hand.
//!
//! Apart from the handlers because image names contain slashes, which path patterns of web frameworks do not allow for:
//! `/images/a/b/c/json` is `json` of the image `a/b/c`. The version prefix is optional everywhere. Unknown paths, known
//! paths with another method and versions out of range are three different errors.

mod endpoint;

use http::Method;
use percent_encoding::percent_decode_str;

pub(crate) use self::endpoint::{
    CollectionVerb, ContainerVerb, ContainersEndpoint, Endpoint, ExecVerb, ImageVerb, ImagesEndpoint,
    NetworkVerb, VolumeVerb,
};
use crate::version::{ApiVersion, ApiVersionError};

/// Longer paths are no request of any client.
const LONGEST_PATH: usize = 4096;

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
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
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
mod tests;
