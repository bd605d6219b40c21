//! The command line: what every verb takes. The text here is the manual; `--help` prints it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use shipway_oci::RegistryName;

use crate::commands;
use crate::settings::{self, MirrorFlag};

/// Builds container images in CI jobs and ships them to a registry: no daemon, no root, no privileged mode.
///
/// Exit codes: 0 done, 1 the work failed (a job, a step), 2 wrong use or a wrong file, 3 the place or the
/// configuration cannot do it (see `shipway doctor`), 4 internal.
#[derive(Debug, Parser)]
#[command(name = "shipway", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Over the options that every verb has, in each help.
const EVERYWHERE: &str = "Options of every command";

/// What every verb takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GlobalArguments {
    /// Where everything is kept [default: $XDG_DATA_HOME/shipway; as root /var/lib/shipway]
    #[arg(long, value_name = "DIRECTORY", env = "SHIPWAY_DATA", global = true, help_heading = EVERYWHERE)]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file [default: $XDG_CONFIG_HOME/shipway/shipway.toml; as root /etc/shipway/shipway.toml]
    #[arg(long, value_name = "FILE", env = "SHIPWAY_CONFIG", global = true, help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,
    /// A mirror to ask before a registry, Docker Hub unless one is named; may be given several times
    #[arg(long, value_name = "[REGISTRY=]MIRROR", global = true, help_heading = EVERYWHERE)]
    pub(crate) registry_mirror: Vec<MirrorFlag>,
    /// A registry that may speak plain HTTP or show any certificate; may be given several times
    #[arg(long, value_name = "REGISTRY", global = true, help_heading = EVERYWHERE, value_parser = settings::registry)]
    pub(crate) insecure_registry: Vec<RegistryName>,
    /// The isolation tier to build with, `A`, `B` or `C`, in place of the strongest that this place gives
    #[arg(long, value_name = "TIER", env = "SHIPWAY_TIER", global = true, hide = true)]
    pub(crate) tier: Option<settings::TierChoice>,
}

/// A span of time as GitLab's documents write it; a bare number is seconds.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    shipway_pipeline::parse_duration(text)
        .map_err(|error| format!("{error}: write a number and a unit, such as `45s`, `90m` or `2h 30m`"))
}

/// Where to listen. No name is looked up but `localhost`; an empty one is every address, as Docker and Go take it.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let named = text.rsplit_once(':').and_then(|(host, port)| {
        let host = match host {
            "localhost" => Ipv4Addr::LOCALHOST,
            "" => Ipv4Addr::UNSPECIFIED,
            _ => return None,
        };
        Some(SocketAddr::new(IpAddr::V4(host), port.parse().ok()?))
    });
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        "write an IP address and a port, such as 127.0.0.1:5000, [::]:5000 or localhost:5000".to_owned()
    })
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(commands::run::RunArguments),
    #[command(subcommand)]
    Runner(commands::runner::RunnerCommand),
    Lint(commands::lint::LintArguments),
    Serve(commands::serve::ServeArguments),
    Build(Box<commands::build::BuildArguments>),
    #[command(subcommand)]
    Cache(commands::cache::CacheCommand),
    Engine(commands::engine::EngineArguments),
    #[command(subcommand)]
    Image(commands::image::ImageCommand),
    Login(commands::login::LoginArguments),
    Logout(commands::login::LogoutArguments),
    #[command(subcommand)]
    User(commands::user::UserCommand),
    Doctor(commands::doctor::DoctorArguments),
    Prune(commands::prune::PruneArguments),
    Gc(commands::upkeep::GcArguments),
    Fsck(commands::upkeep::FsckArguments),
}

#[cfg(test)]
mod tests;
