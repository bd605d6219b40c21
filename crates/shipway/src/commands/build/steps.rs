//! How the steps of a build run, and for what.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::Args;
use shipway_build::{BuildRequest, RunNetwork};
use shipway_container::ByteSize;
use shipway_oci::Platform;
use shipway_sandbox::ResourceLimit;

use crate::failure::{Failure, FailureKind};
use crate::screen;

/// The arguments that steps see.
#[derive(Debug, Args)]
pub(super) struct StepArguments {
    /// The stage to build
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Set a build argument; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Ask for newer base images
    #[arg(long)]
    pull: bool,
    /// Take nothing from the cache
    #[arg(long)]
    no_cache: bool,
    /// The platforms to build for, with commas between them or one for each flag; several make one image
    #[arg(long, value_name = "OS/ARCHITECTURE", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// The network of RUN steps: `default`, `none` or `host`
    #[arg(long, value_name = "MODE", default_value = "default")]
    network: String,
    /// Take nothing from the cache for this stage; may be given several times
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Add a host to RUN steps' /etc/hosts: `NAME:ADDRESS` or `NAME=ADDRESS`; may be given several times
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = extra_host)]
    add_host: Vec<(String, IpAddr)>,
    /// Limit the processes of RUN steps, such as nofile=1024:2048; may be given several times
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<ResourceLimit>,
    /// The size of RUN steps' /dev/shm, such as 64m
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<ByteSize>,
}

impl StepArguments {
    pub(super) fn apply(&self, request: &mut BuildRequest) -> Result<(), Failure> {
        request.network = match self.network.as_str() {
            "default" => RunNetwork::Pod,
            "none" => RunNetwork::None,
            "host" => {
                screen::warning(
                    "--network=host: steps get the build's own network, which reaches what this machine reaches but not its loopback",
                );
                request.entitlements.network_host = true;
                RunNetwork::Pod
            }
            other => {
                return Err(
                    Failure::new(FailureKind::Use, format!("there is no network mode `{other}`"))
                        .hint("use `default`, `none` or `host`"),
                );
            }
        };
        request.target.clone_from(&self.target);
        request.build_args = build_args(&self.build_arg);
        request.pull = self.pull;
        request.no_cache = self.no_cache;
        request.no_cache_stages = self
            .no_cache_filter
            .iter()
            .map(|stage| stage.to_ascii_lowercase())
            .collect();
        request.extra_hosts.clone_from(&self.add_host);
        request.limits = limits(&self.ulimit);
        request.shm_size = self.shm_size.map(ByteSize::get);
        request.platforms.clone_from(&self.platform);
        let environment = std::env::var(SOURCE_DATE_EPOCH).ok();
        request.source_date_epoch = source_date_epoch(environment, &mut request.build_args)?;
        Ok(())
    }
}

/// The last limit of each resource. That a machine grants less is in no key.
fn limits(given: &[ResourceLimit]) -> Vec<ResourceLimit> {
    let mut limits: Vec<ResourceLimit> = Vec::new();
    for wanted in given {
        let granted = wanted.granted_here();
        if granted != *wanted {
            screen::warning(&format!(
                "--ulimit {wanted}: steps get {granted}, which is what this process may have"
            ));
        }
        limits.retain(|known| known.resource != wanted.resource);
        limits.push(*wanted);
    }
    limits.sort_by_key(ToString::to_string);
    limits
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

/// `NAME:ADDRESS` or `NAME=ADDRESS`, the address of either kind, in brackets or not.
fn extra_host(text: &str) -> Result<(String, IpAddr), String> {
    let wrong = || "write NAME:ADDRESS or NAME=ADDRESS, the address as numbers".to_owned();
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(wrong)?;
    let plain = address.trim_start_matches('[').trim_end_matches(']');
    match plain.parse() {
        Ok(address) if !name.is_empty() => Ok((name.to_owned(), address)),
        _ => Err(wrong()),
    }
}

/// How the time of an image is given, in seconds or as [`OF_THE_CONTEXT`].
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// The time of the context, as far as it has one: a repository has that of its commit.
const OF_THE_CONTEXT: &str = "context";

/// The time that is given, by a build argument or else by the environment, which then is as good as one.
fn source_date_epoch(
    environment: Option<String>,
    arguments: &mut BTreeMap<String, Option<String>>,
) -> Result<Option<i64>, Failure> {
    if let Some(text) = environment {
        let given = arguments.entry(SOURCE_DATE_EPOCH.to_owned());
        given.or_insert(Some(text));
    }
    match arguments.get(SOURCE_DATE_EPOCH).and_then(Option::as_deref) {
        None | Some("" | OF_THE_CONTEXT) => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error| {
            Failure::caused(
                FailureKind::Use,
                &format!("{SOURCE_DATE_EPOCH} is `{text}`, not seconds"),
                &error,
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_argument_keeps_everything_behind_its_first_equals_sign() {
        let arguments = build_args(&["A=b=c".to_owned(), "SURELY_NOT_IN_THE_ENVIRONMENT".to_owned()]);
        assert_eq!(arguments["A"].as_deref(), Some("b=c"));
        assert_eq!(arguments["SURELY_NOT_IN_THE_ENVIRONMENT"], None);
    }

    #[test]
    fn the_argument_goes_before_the_environment_which_is_one_too() {
        let epoch = |environment: Option<&str>, argument: Option<&str>| {
            let given = argument.map(|text| (SOURCE_DATE_EPOCH.to_owned(), Some(text.to_owned())));
            let mut arguments: BTreeMap<_, _> = given.into_iter().collect();
            let seconds = source_date_epoch(environment.map(str::to_owned), &mut arguments);
            let seconds = seconds.map_err(|failure| format!("{failure:?}"));
            (seconds, arguments.remove(SOURCE_DATE_EPOCH).flatten())
        };
        assert_eq!(epoch(None, None), (Ok(None), None));
        assert_eq!(epoch(Some("5"), None), (Ok(Some(5)), Some("5".to_owned())));
        assert_eq!(epoch(Some("5"), Some("7")), (Ok(Some(7)), Some("7".to_owned())));
        assert_eq!(epoch(Some("5"), Some("context")).0, Ok(None));
        assert!(epoch(None, Some("soon")).0.unwrap_err().contains("`soon`"));
    }

    #[test]
    fn a_host_has_a_name_and_an_address() {
        let host = |text: &str| extra_host(text).map(|(name, address)| format!("{name} {address}"));
        for (text, expected) in [
            ("db:10.0.0.1", "db 10.0.0.1"),
            ("db=10.0.0.1", "db 10.0.0.1"),
            ("db:::1", "db ::1"),
            ("db=[2001:db8::1]", "db 2001:db8::1"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["db", "db:host-gateway", ":10.0.0.1"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
