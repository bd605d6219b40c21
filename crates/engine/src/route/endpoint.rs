//! What the API can be asked, without the paths that ask it.

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
