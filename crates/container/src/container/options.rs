//! What a container is made from.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use shipway_sandbox::{GeneratedFile, Mount, ResourceLimit};

use crate::image::Image;
use crate::layers::LayerPath;

/// What a container's root file system is.
#[derive(Debug, Clone)]
pub enum Root {
    /// An image: its layers, and its configuration for whatever the options leave open.
    Image(Box<Image>),
    /// Unpacked layers, bottom first; none at all is an empty root. Nothing is taken from any configuration.
    Layers(Vec<LayerPath>),
    /// Unpacked layers with changes that are there already: a directory, relative to the keepers' directory, that
    /// holds `fs` and `work` as an earlier container left them. It is the caller's and outlives the container.
    Resume {
        /// Bottom first.
        layers: Vec<LayerPath>,
        /// Where the changes are.
        upper: PathBuf,
    },
}

impl From<Image> for Root {
    fn from(image: Image) -> Self {
        Self::Image(Box::new(image))
    }
}

/// What a container can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// An address of its own in the pod: the pod's names, and through the relay whatever the egress policy permits.
    #[default]
    Pod,
    /// Its own loopback and nothing else.
    None,
}

/// A volume of the pod in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount {
    /// The volume's name. The first container to name it fills it with what its image has at the target.
    pub name: String,
    /// Where the container sees it.
    pub target: PathBuf,
    /// Whether it may not write to it.
    pub read_only: bool,
}

/// How a container is made. Start from [`ContainerOptions::new`].
#[derive(Debug, Clone)]
pub struct ContainerOptions {
    /// Its root file system.
    pub root: Root,
    /// In place of the image's entrypoint; see [`crate::argv`].
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command.
    pub command: Option<Vec<String>>,
    /// `NAME=value` over the image's environment; `NAME` alone takes a variable away.
    pub env: Vec<String>,
    /// In place of the image's working directory.
    pub cwd: Option<PathBuf>,
    /// In place of the image's user.
    pub user: Option<String>,
    /// Mounts beside those of volumes.
    pub mounts: Vec<Mount>,
    /// Files that only it sees, such as secrets, in place of what is there.
    pub files: Vec<GeneratedFile>,
    /// Volumes of the pod.
    pub volumes: Vec<VolumeMount>,
    /// Its host name; the short id without.
    pub hostname: Option<String>,
    /// Names by which the pod finds it, beside its host name.
    pub names: Vec<String>,
    /// Lines of its `/etc/hosts`.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// What it can reach.
    pub network: Network,
    /// An address from [`crate::Pod::reserve_address`]; a fresh one without. It is given back with the container.
    pub address: Option<Ipv4Addr>,
    /// Whether it reads what who attaches to it writes.
    pub stdin_open: bool,
    /// Whether its input goes on when the first one who attached is done.
    pub stdin_stays_open: bool,
    /// Whether it runs on a terminal.
    pub terminal: bool,
    /// Limits of its processes, granted as far as this process has as much.
    pub limits: Vec<ResourceLimit>,
}

impl ContainerOptions {
    /// A container that does what its image says.
    pub fn new(root: impl Into<Root>) -> Self {
        Self {
            root: root.into(),
            entrypoint: None,
            command: None,
            env: Vec::new(),
            cwd: None,
            user: None,
            mounts: Vec::new(),
            files: Vec::new(),
            volumes: Vec::new(),
            hostname: None,
            names: Vec::new(),
            extra_hosts: Vec::new(),
            network: Network::Pod,
            address: None,
            stdin_open: false,
            stdin_stays_open: false,
            terminal: false,
            limits: Vec::new(),
        }
    }
}
