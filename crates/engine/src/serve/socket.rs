//! A Unix socket at a path: taken only when nobody answers there, and taken away at the end only if it is still ours.
//!
//! Apart from serving because a path is shared with strangers: between looking and binding another engine may come, which
//! a lock on the directory keeps out, and between binding and ending the path may have become somebody else's.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, openat, renameat, statat, unlinkat,
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixListener;

use super::ServeError;

/// The kernel's limit on the path of a socket.
pub(super) const LONGEST_SOCKET_PATH: usize = 107;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listener and the claim on its path.
pub(crate) struct BoundSocket {
    pub(super) listener: UnixListener,
    pub(super) claim: Claim,
}

/// Takes the socket away when dropped, unless it was replaced.
pub(crate) struct Claim {
    /// Held open: the path may lead elsewhere by then.
    directory: File,
    name: PathBuf,
    device: u64,
    inode: u64,
}

/// Binds a Unix socket with that mode, in place of a socket that nobody answers on.
pub(crate) fn bind_unix(path: &Path, mode: u32) -> Result<BoundSocket, ServeError> {
    let failed = |action| {
        let path = path.to_owned();
        move |source| ServeError::Socket { action, path, source }
    };
    if path.as_os_str().as_bytes().len() > LONGEST_SOCKET_PATH {
        return Err(ServeError::PathTooLong {
            path: path.to_owned(),
        });
    }
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => (Path::new("."), name),
        (Some(parent), Some(name)) => (parent, name),
        _ => return Err(failed("bind")(io::ErrorKind::InvalidInput.into())),
    };
    let directory = File::open(parent).map_err(failed("open the directory of"))?;
    // Not waited for: who holds it for longer than a moment may hold it forever.
    flock(&directory, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| failed("lock the directory of")(error.into()))?;
    match path.symlink_metadata() {
        Ok(metadata) if metadata.file_type().is_socket() => match UnixStream::connect(path) {
            Ok(_) => {
                return Err(ServeError::Answered {
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(failed("find out whether anybody answers on")(error)),
        },
        Ok(_) => {
            return Err(ServeError::InTheWay {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
    }
    let private = format!(".{}", &crate::name::identifier()[..16]);
    let bound = listen(&directory, &private, mode).and_then(|(listener, made)| {
        renameat(&directory, &private, &directory, name)?;
        Ok((UnixListener::from_std(listener)?, made))
    });
    let (listener, made) = bound.map_err(|error| {
        // It may not have come to be.
        let _ = unlinkat(&directory, &private, AtFlags::empty());
        failed("bind")(error)
    })?;
    flock(&directory, FlockOperation::Unlock)
        .map_err(|error| failed("unlock the directory of")(error.into()))?;
    let claim = Claim {
        directory,
        name: name.into(),
        device: made.st_dev,
        inode: made.st_ino,
    };
    Ok(BoundSocket { listener, claim })
}

/// Listens under a name of the directory that nobody else knows, with exactly that mode. No path is looked up but the
/// directory's own, and what is found under the name is changed only if it is a socket.
fn listen(directory: &File, name: &str, mode: u32) -> io::Result<(StdListener, Stat)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // A socket's file is made with the mode that its descriptor has: nobody gets in before the mode is set.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode))?;
    let descriptor = |fd: BorrowedFd<'_>| PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let address = SocketAddrUnix::new(descriptor(directory.as_fd()).join(name))?;
    bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty())?;
    let made = fstat(&file)?;
    if FileType::from_raw_mode(made.st_mode) != FileType::Socket {
        return Err(io::Error::other("somebody else put something in its place"));
    }
    // What the umask took.
    rustix::fs::chmod(descriptor(file.as_fd()), Mode::from_raw_mode(mode))?;
    Ok((StdListener::from(socket), made))
}

impl Drop for Claim {
    fn drop(&mut self) {
        let found = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let ours = found.is_ok_and(|found| {
            FileType::from_raw_mode(found.st_mode) == FileType::Socket
                && (found.st_dev, found.st_ino) == (self.device, self.inode)
        });
        // Gone already is as good; a socket that nobody answers is replaced by who comes next.
        if ours && let Err(error) = unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            tracing::debug!(%error, socket = %self.name.display(), "a socket stays behind");
        }
    }
}

#[cfg(test)]
mod tests;
