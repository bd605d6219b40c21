//! `-v`, `--mount`, `--tmpfs` and `VOLUME`: what is mounted where.
//!
//! A path on the left of `-v` is a path of the engine's view (the job's container), never of the machine; that it is one
//! is decided here, what it shows by the container crate. The first mount at a target wins over an image's `VOLUME`; two
//! wishes of the user for one target are an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shipway_container::ByteSize;
use shipway_sandbox::rooted;

use crate::failure::Failure;
use crate::model::create::{CreateBody, MountRequest};
use crate::name::ResourceName;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPlan {
    pub(crate) target: PathBuf,
    pub(crate) source: MountSourcePlan,
    pub(crate) read_only: bool,
}

/// What is seen at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountSourcePlan {
    /// A path as the engine's view sees it; `-v` makes a missing directory, `--mount` does not.
    View {
        path: PathBuf,
        create: bool,
    },
    /// A named volume; a new one takes over what the image has at the target, unless told not to.
    Volume {
        name: ResourceName,
        copy: bool,
    },
    /// A volume that goes with the container.
    Anonymous {
        copy: bool,
    },
    Temporary {
        size: Option<u64>,
        mode: u32,
    },
}

pub(super) fn plan(body: &CreateBody, image_volumes: &[String]) -> Result<Vec<MountPlan>, Failure> {
    let host = &body.host_config;
    let mut by_target: BTreeMap<PathBuf, MountPlan> = BTreeMap::new();
    let mut add = |mount: MountPlan| match by_target.insert(mount.target.clone(), mount) {
        Some(twice) => Err(Failure::bad_request(format!(
            "Duplicate mount point: {}",
            twice.target.display()
        ))),
        None => Ok(()),
    };
    for text in &host.binds {
        add(bind(text)?)?;
    }
    for request in &host.mounts {
        add(mount(request)?)?;
    }
    for (target, options) in &host.tmpfs {
        add(tmpfs(target, options)?)?;
    }
    if host.shm_size > 0 {
        let size = u64::try_from(host.shm_size).ok();
        by_target
            .entry(PathBuf::from("/dev/shm"))
            .or_insert_with(|| MountPlan {
                target: PathBuf::from("/dev/shm"),
                source: MountSourcePlan::Temporary { size, mode: 0o1777 },
                read_only: false,
            });
    }
    for target in body.volumes.keys().chain(image_volumes) {
        let target = clean_target(target)?;
        by_target.entry(target.clone()).or_insert(MountPlan {
            target,
            source: MountSourcePlan::Anonymous { copy: true },
            read_only: false,
        });
    }
    // Parents come before what lies in them: the order of the map is the order of mounting.
    Ok(by_target.into_values().collect())
}

fn bind(text: &str) -> Result<MountPlan, Failure> {
    let bad = |why: &str| Failure::bad_request(format!("invalid volume specification: '{text}': {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(bad("it is SOURCE:TARGET or SOURCE:TARGET:OPTIONS")),
    };
    let (mut read_only, mut copy) = (false, true);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "nocopy" => copy = false,
            "rw" | "z" | "Z" | "copy" | "cached" | "delegated" | "consistent" | "default" => {}
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {}
            _ => return Err(bad(&format!("unknown option {option:?}"))),
        }
    }
    let source = if source.is_empty() && parts.len() == 1 {
        MountSourcePlan::Anonymous { copy }
    } else if source.starts_with('/') {
        MountSourcePlan::View {
            path: PathBuf::from(source),
            create: true,
        }
    } else {
        let name = source.parse().map_err(|_| {
            bad("a source is an absolute path or the name of a volume ([a-zA-Z0-9][a-zA-Z0-9_.-]+)")
        })?;
        MountSourcePlan::Volume { name, copy }
    };
    Ok(MountPlan {
        target: clean_target(target)?,
        source,
        read_only,
    })
}

fn mount(request: &MountRequest) -> Result<MountPlan, Failure> {
    let bad =
        |why: &str| Failure::bad_request(format!("invalid mount config for type {:?}: {why}", request.kind));
    let copy = !request.volume_options.no_copy;
    let source = match request.kind.as_str() {
        "bind" if request.source.starts_with('/') => MountSourcePlan::View {
            path: PathBuf::from(&request.source),
            create: request.bind_options.create_mountpoint,
        },
        "bind" => return Err(bad("the source of a bind is an absolute path")),
        "volume" | "" if !request.volume_options.subpath.is_empty() => {
            return Err(bad("volume-subpath is not supported"));
        }
        "volume" | "" if request.source.is_empty() => MountSourcePlan::Anonymous { copy },
        "volume" | "" => MountSourcePlan::Volume {
            name: request
                .source
                .parse()
                .map_err(|_| bad("the source is no name of a volume"))?,
            copy,
        },
        "tmpfs" => MountSourcePlan::Temporary {
            size: Some(request.tmpfs_options.size_bytes).filter(|size| *size > 0),
            mode: request.tmpfs_options.mode.unwrap_or(0o1777) & 0o7777,
        },
        _ => return Err(bad("it is bind, volume or tmpfs")),
    };
    Ok(MountPlan {
        target: clean_target(&request.target)?,
        source,
        read_only: request.read_only,
    })
}

fn tmpfs(target: &str, options: &str) -> Result<MountPlan, Failure> {
    let bad = |option: &str| Failure::bad_request(format!("invalid tmpfs option {option:?} for {target}"));
    let (mut size, mut mode, mut read_only) = (None, 0o1777, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", text)) => size = Some(text.parse::<ByteSize>().map_err(|_| bad(option))?.get()),
            Some(("mode", text)) => mode = u32::from_str_radix(text, 8).map_err(|_| bad(option))? & 0o7777,
            None if option == "ro" => read_only = true,
            // exec, nosuid, uid=… and their like change nothing that a job could tell.
            _ => {}
        }
    }
    Ok(MountPlan {
        target: clean_target(target)?,
        source: MountSourcePlan::Temporary { size, mode },
        read_only,
    })
}

/// An absolute path below the root, without `.` and `..`.
fn clean_target(target: &str) -> Result<PathBuf, Failure> {
    let bad = |why: &str| Failure::bad_request(format!("invalid mount target {target:?}: {why}"));
    if !target.starts_with('/') {
        return Err(bad("it must be an absolute path"));
    }
    if target.contains('\0') || target.len() > 4095 {
        return Err(bad("it is no path"));
    }
    let clean = rooted(target);
    if clean == Path::new("/") {
        return Err(bad("nothing can be mounted over the root directory"));
    }
    Ok(clean)
}
