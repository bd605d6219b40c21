//! `shipway image`: the images of this machine, and their way in and out.

mod list;
mod remove;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// List, inspect, pull, push, tag, remove, import, load and save images
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// List the images of this machine
    Ls {
        /// Also list images without a name
        #[arg(short, long)]
        all: bool,
        /// List only images without a name: a newer one took their last, or they never had one
        #[arg(long, conflicts_with = "all")]
        dangling: bool,
        /// List what the registry holds instead
        #[arg(long, conflicts_with_all = ["all", "dangling"])]
        registry: bool,
        /// Print a line of JSON for each image, one for each project that has it
        #[arg(long)]
        json: bool,
    },
    /// Print an image's configuration as JSON
    Inspect {
        /// A name, or the beginning of an id
        image: String,
    },
    /// Pull an image from a registry
    Pull {
        /// What to pull
        reference: String,
        /// Print nothing but errors
        #[arg(short, long)]
        quiet: bool,
        /// The platform to pull
        #[arg(long, value_name = "OS/ARCHITECTURE")]
        platform: Option<shipway_oci::Platform>,
    },
    /// Push an image under its name
    Push {
        /// What to push
        reference: String,
        /// Print nothing but errors
        #[arg(short, long)]
        quiet: bool,
    },
    /// Give an image another name
    Tag {
        /// A name, or the beginning of an id
        image: String,
        /// The other name
        reference: String,
    },
    /// Remove a name, and the image when it was its last
    Rm {
        /// Names, or the beginnings of ids or digests of images with one name or none
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Make an image from the tar of a root file system; it stands in for its registry when that cannot be reached
    Import {
        /// The image's name
        reference: String,
        /// The tar, plain or compressed [- for standard input]
        tar: PathBuf,
        /// A change of the configuration, such as `CMD ["sh"]`; may be given several times
        #[arg(short, long, value_name = "INSTRUCTION")]
        change: Vec<shipway_container::Change>,
        /// Print nothing but errors
        #[arg(short, long)]
        quiet: bool,
    },
    /// Load images from a tar that `docker save` or `shipway image save` wrote
    Load {
        /// The tar, plain or compressed [- for standard input]
        #[arg(default_value = "-")]
        tar: PathBuf,
        /// The same, as `docker load` takes it
        #[arg(short, long, value_name = "TAR", conflicts_with = "tar")]
        input: Option<PathBuf>,
    },
    /// Save images into a tar that docker, podman and skopeo load
    Save {
        /// The tar [- for standard output]
        #[arg(short, long, default_value = "-")]
        output: PathBuf,
        /// Names
        #[arg(required = true)]
        references: Vec<String>,
    },
}

impl ImageCommand {
    /// Whether it may write more than a removal does.
    pub(crate) fn fills_the_store(&self) -> bool {
        match self {
            Self::Ls { .. } | Self::Inspect { .. } | Self::Rm { .. } | Self::Save { .. } => false,
            Self::Pull { .. }
            | Self::Push { .. }
            | Self::Tag { .. }
            | Self::Import { .. }
            | Self::Load { .. } => true,
        }
    }
}

pub(crate) async fn execute(command: ImageCommand, installation: Installation) -> Result<ExitCode, Failure> {
    match command {
        ImageCommand::Ls {
            registry: true, json, ..
        } => list::registry(&installation, json)?,
        ImageCommand::Ls {
            all, dangling, json, ..
        } => list::local(&installation, Which::of(all, dangling), json).await?,
        ImageCommand::Inspect { image } => list::inspect(&installation, &image).await?,
        ImageCommand::Pull {
            reference,
            quiet,
            platform,
        } => {
            transfer::pull(&installation, &reference, platform, quiet).await?;
        }
        ImageCommand::Push { reference, quiet } => transfer::push(&installation, &reference, quiet).await?,
        ImageCommand::Tag { image, reference } => list::tag(&installation, &image, &reference).await?,
        ImageCommand::Rm { images } => remove::remove(&installation, &images).await?,
        ImageCommand::Import {
            reference,
            tar,
            change,
            quiet,
        } => {
            let id = transfer::import(&installation, &reference, tar, change).await?;
            if !quiet {
                screen::line(id.as_ref());
            }
        }
        ImageCommand::Load { tar, input } => transfer::load(&installation, input.unwrap_or(tar)).await?,
        ImageCommand::Save { output, references } => {
            transfer::save(&installation, output, &references).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Which of the local images are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those with a name.
    Named,
    /// Those without.
    Nameless,
    /// All.
    Both,
}

impl Which {
    fn of(all: bool, dangling: bool) -> Self {
        match (all, dangling) {
            (true, _) => Self::Both,
            (false, true) => Self::Nameless,
            (false, false) => Self::Named,
        }
    }
}

/// An error of looking images up: the store is broken or the question is ambiguous.
fn lookup_failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::caused(FailureKind::Work, "looking up images", error)
}

fn no_such_image(name: &str) -> Failure {
    Failure::new(
        FailureKind::Use,
        format!("there is no image `{name}` on this machine"),
    )
    .hint("`shipway image ls` lists them; `shipway image pull` brings one")
}
