//! Requests that the keeper answers by itself, because they are a few system calls.

use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::net;
use crate::owner;
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
pub(super) fn answer(directory: &OwnedFd, request: Request, fds: Vec<OwnedFd>) -> Result<Outcome> {
    let given = match request {
        Request::Ping => Vec::new(),
        Request::AddAddress(address) => {
            net::add_address(address)?;
            Vec::new()
        }
        Request::ListenTcp(address) => vec![listen(address)?],
        Request::BindUdp(address) => vec![bind(address, SocketType::DGRAM)?],
        Request::Pipe => {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).doing(|| "make a pipe".into())?;
            vec![read, write]
        }
        Request::MakeDirectory { path, mode, owner } => {
            make_directory(directory, &path, mode, owner)?;
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
            write_file(directory, &path, &wire::read_memory(memory)?, mode, owner)?;
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

fn make_directory(directory: &OwnedFd, path: &Path, mode: u32, owner: (u32, u32)) -> Result<()> {
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
    own(&made, mode, owner).doing(action)
}

fn rename(directory: &OwnedFd, from: &Path, to: &Path) -> Result<()> {
    let (from_parent, from_name) = beneath::parent(directory, from)?;
    let (to_parent, to_name) = beneath::parent(directory, to)?;
    rustix::fs::renameat(&from_parent, &from_name, &to_parent, &to_name)
        .doing(|| format!("rename {} to {}", from.display(), to.display()))
}

fn write_file(directory: &OwnedFd, path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> Result<()> {
    let action = || format!("write {}", path.display());
    let owner = owner::ids(&path.to_string_lossy(), owner)?;
    let (parent, name) = beneath::parent(directory, path)?;
    match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno).doing(action),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o600)).doing(action)?;
    own(&made, mode, owner).doing(action)?;
    std::io::Write::write_all(&mut std::fs::File::from(made), bytes).doing(action)
}

/// Owner first: changing it clears the set-id bits.
fn own(file: impl AsFd, mode: u32, (uid, gid): (Uid, Gid)) -> std::result::Result<(), rustix::io::Errno> {
    rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
}
