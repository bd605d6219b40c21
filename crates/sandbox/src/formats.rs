//! Programs of other processors: interpreters that the kernel starts for them, in this pod's user namespace alone.
//!
//! Since Linux 6.7 each user namespace may have a list of its own (`binfmt_misc`). The list lives as long as its mount, so the keeper
//! holds that open. An interpreter is opened when it is registered and needs to be in no container's root.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

use crate::error::{Doing as _, KeeperError, Result};
use crate::start;

/// The longest line that the kernel takes.
const LONGEST: usize = 1920;

/// A program that runs programs of another processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its name in the list: letters, digits and dashes.
    pub name: String,
    /// How the programs begin.
    pub magic: Vec<u8>,
    /// Which bits of that count; as long.
    pub mask: Vec<u8>,
    /// Where it is on this machine. Statically linked, since it runs where its libraries are not.
    pub path: PathBuf,
}

impl Interpreter {
    /// As the kernel reads it. `F`: opened now, and not by its path when it is needed.
    fn line(&self) -> Result<Vec<u8>> {
        let refuse = |reason: &str| KeeperError::Path {
            path: self.path.clone(),
            reason: reason.into(),
        };
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if self.name.is_empty() || !self.name.bytes().all(|byte| plain(&byte)) {
            return Err(refuse("is of an interpreter whose name is no word"));
        }
        let path = self.path.as_os_str().as_bytes();
        if !path.starts_with(b"/") || path.iter().any(|byte| matches!(byte, b':' | b'\n' | 0)) {
            return Err(refuse("cannot be written into the kernel's list of interpreters"));
        }
        let hexadecimal =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect() };
        let mut line = format!(
            ":{}:M::{}:{}:",
            self.name,
            hexadecimal(&self.magic),
            hexadecimal(&self.mask)
        )
        .into_bytes();
        line.extend_from_slice(path);
        line.extend_from_slice(b":F");
        if line.len() > LONGEST || self.magic.len() != self.mask.len() {
            return Err(refuse("makes a line that the kernel does not take"));
        }
        Ok(line)
    }
}

/// The list of this process's user namespace.
pub(crate) struct Formats {
    mount: OwnedFd,
}

impl Formats {
    /// Opens the list; the kernel refuses when it has none for a user namespace.
    pub(crate) fn open() -> Result<Self> {
        let action =
            || "open the list of interpreters, which Linux has for each user namespace since 6.7".to_owned();
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = start::file_system("binfmt_misc", &[], attributes).doing(action)?;
        Ok(Self { mount })
    }

    /// Adds an interpreter; one of that name that is there stays.
    pub(crate) fn register(&self, interpreter: &Interpreter) -> Result<()> {
        let line = interpreter.line()?;
        let action = || format!("register the interpreter {}", interpreter.path.display());
        let register = rustix::fs::openat(
            &self.mount,
            "register",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .doing(action)?;
        match rustix::io::write(&register, &line) {
            Ok(_) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno).doing(action),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_the_kernel_reads_and_nothing_else_fits_in() {
        let good = Interpreter {
            name: "qemu-aarch64".to_owned(),
            magic: b"\x7fELF".to_vec(),
            mask: vec![0xff; 4],
            path: "/usr/bin/qemu-aarch64-static".into(),
        };
        assert_eq!(
            String::from_utf8(good.line().unwrap()).unwrap(),
            ":qemu-aarch64:M::\\x7f\\x45\\x4c\\x46:\\xff\\xff\\xff\\xff:/usr/bin/qemu-aarch64-static:F"
        );
        let with = |change: &dyn Fn(&mut Interpreter)| {
            let mut other = good.clone();
            change(&mut other);
            other.line()
        };
        assert!(with(&|other| other.path = "/a:F\n:x:M".into()).is_err());
        assert!(with(&|other| other.path = "relative".into()).is_err());
        assert!(with(&|other| other.name = "a:b".to_owned()).is_err());
        assert!(with(&|other| other.mask.clear()).is_err());
        assert!(with(&|other| other.path = format!("/{}", "x".repeat(LONGEST)).into()).is_err());
    }
}
