//! Requests that the keeper answers by itself, because they are a few system calls.

use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::net;
use crate::owner;
use crate::owners::{Owners, Ownership};
use crate::protocol::{Answer, Request};
use crate::tree;
use crate::wire;

/// What became of a request.
pub(super) enum Outcome {
    Answered(Answer, Vec<OwnedFd>),
    /// A worker's.
    Long(Request, Vec<OwnedFd>),
}

/// Answers `request` if it is quick.
pub(super) fn answer(
    directory: &OwnedFd,
    ownership: Ownership,
    request: Request,
    fds: Vec<OwnedFd>,
) -> Result<Outcome> {
    let owners = Owners::outside_layers(ownership);
    let given = match request {
        Request::Ping => Vec::new(),
        Request::AddAddress(address) => {
            net::add_address(address)?;
            Vec::new()
        }
        Request::ListenTcp(address) => vec![listen(address)?],
        Request::BindUdp(address) => vec![bind(address, SocketType::DGRAM)?],
        Request::ListenUnix { path, mode, owner } => {
            vec![listen_unix(directory, &owners, &path, mode, owner)?]
        }
        Request::Pipe => {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).doing(|| "make a pipe".into())?;
            vec![read, write]
        }
        Request::MakeDirectory { path, mode, owner } => {
            make_directory(directory, &owners, &path, mode, owner)?;
            Vec::new()
        }
        Request::RemoveEmpty { tree, paths } => {
            for path in paths {
                tree::remove_empty(directory, &tree.join(path.strip_prefix("/").unwrap_or(&path)))?;
            }
            Vec::new()
        }
        Request::Rename { from, to } => {
            rename(directory, &from, &to)?;
            Vec::new()
        }
        Request::WriteFile { path, mode, owner } => {
            let memory = fds.into_iter().next().ok_or_else(|| KeeperError::Message {
                reason: "a file to be written without its contents".into(),
            })?;
            write_file(
                directory,
                &owners,
                &path,
                &wire::read_memory(memory)?,
                mode,
                owner,
            )?;
            Vec::new()
        }
        other => return Ok(Outcome::Long(other, fds)),
    };
    Ok(Outcome::Answered(Answer::Done, given))
}

fn bind(address: SocketAddrV4, kind: SocketType) -> Result<OwnedFd> {
    let action = || format!("bind {address} in the pod's network");
    let socket =
        rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None).doing(action)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).doing(action)?;
    rustix::net::bind(&socket, &address).doing(action)?;
    Ok(socket)
}

fn listen(address: SocketAddrV4) -> Result<OwnedFd> {
    let socket = bind(address, SocketType::STREAM)?;
    rustix::net::listen(&socket, 1024).doing(|| format!("listen on {address} in the pod's network"))?;
    Ok(socket)
}

/// Connections that may wait to be accepted; whoever listens is this process's owner, who accepts at once.
const WAITING: i32 = 64;

fn listen_unix(
    directory: &OwnedFd,
    owners: &Owners,
    path: &Path,
    mode: u32,
    owner: (u32, u32),
) -> Result<OwnedFd> {
    let action = || format!("listen on {}", path.display());
    let (uid, gid) = owner::ids(&path.to_string_lossy(), owner)?;
    let (parent, name) = beneath::parent(directory, path)?;
    let address = SocketAddrUnix::new(name.as_os_str()).doing(action)?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .doing(action)?;
    // An address has room for 108 bytes, so that it is bound by its name alone. This process has one thread.
    rustix::process::fchdir(&parent).doing(action)?;
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::fchdir(directory).doing(|| "return to the keepers' directory".into())?;
    bound.doing(action)?;
    owners.own_named(&parent, &name, uid, gid).doing(action)?;
    rustix::fs::chmodat(&parent, &name, Mode::from_raw_mode(mode), AtFlags::empty()).doing(action)?;
    rustix::net::listen(&socket, WAITING).doing(action)?;
    Ok(socket)
}

fn make_directory(
    directory: &OwnedFd,
    owners: &Owners,
    path: &Path,
    mode: u32,
    owner: (u32, u32),
) -> Result<()> {
    let action = || format!("make the directory {}", path.display());
    let owner = owner::ids(&path.to_string_lossy(), owner)?;
    let (parent, name) = beneath::parent(directory, path)?;
    rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o700)).doing(action)?;
    let made = rustix::fs::openat(
        &parent,
        &name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .doing(action)?;
    own(&made, owners, mode, owner).doing(action)
}

fn rename(directory: &OwnedFd, from: &Path, to: &Path) -> Result<()> {
    let (from_parent, from_name) = beneath::parent(directory, from)?;
    let (to_parent, to_name) = beneath::parent(directory, to)?;
    rustix::fs::renameat(&from_parent, &from_name, &to_parent, &to_name)
        .doing(|| format!("rename {} to {}", from.display(), to.display()))
}

fn write_file(
    directory: &OwnedFd,
    owners: &Owners,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: (u32, u32),
) -> Result<()> {
    let action = || format!("write {}", path.display());
    let owner = owner::ids(&path.to_string_lossy(), owner)?;
    let (parent, name) = beneath::parent(directory, path)?;
    match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno).doing(action),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o600)).doing(action)?;
    own(&made, owners, mode, owner).doing(action)?;
    std::io::Write::write_all(&mut std::fs::File::from(made), bytes).doing(action)
}

/// Owner first: changing it clears the set-id bits.
fn own(
    file: impl AsFd,
    owners: &Owners,
    mode: u32,
    (uid, gid): (Uid, Gid),
) -> std::result::Result<(), rustix::io::Errno> {
    owners.own(&file, uid, gid)?;
    owners.set_mode(file, mode)
}
