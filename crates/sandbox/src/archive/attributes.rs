//! The extended attributes that belong into an image.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;

use crate::owners::Owners;
use crate::owners::record::ATTRIBUTE;

/// Name and value of an extended attribute.
pub(crate) type Attribute = (Vec<u8>, Vec<u8>);

/// Beginning of the names of overlayfs's own attributes: they never come from an archive nor go into one.
const OVERLAY: &[u8] = b"user.overlay.";
/// Beginning of the names of what is recorded of files where they cannot be it: never of an image either.
const RECORDED: &[u8] = b"user.shipway.";
/// Enough for almost every list and value; what is longer is asked for again.
const USUAL: usize = 1024;
/// The kernel's own bound for both.
const MOST: usize = 64 * 1024;

/// Whether an attribute of this name is kept with a file.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    (name == b"security.capability" || name.starts_with(b"user."))
        && !name.starts_with(OVERLAY)
        && !name.starts_with(RECORDED)
}

/// Those of what a path names, sorted by name; a link is not followed.
pub(crate) fn of_path(path: &Path, owners: &Owners) -> Result<Vec<Attribute>, Errno> {
    let recorded = owners.capability(|buffer| rustix::fs::lgetxattr(path, ATTRIBUTE, buffer))?;
    collect(
        recorded,
        |buffer| rustix::fs::llistxattr(path, buffer),
        |name, buffer| rustix::fs::lgetxattr(path, name, buffer),
    )
}

/// Those of an open file or directory, sorted by name.
pub(crate) fn of_open(file: impl AsFd, owners: &Owners) -> Result<Vec<Attribute>, Errno> {
    let recorded = owners.capability(|buffer| rustix::fs::fgetxattr(&file, ATTRIBUTE, buffer))?;
    collect(
        recorded,
        |buffer| rustix::fs::flistxattr(&file, buffer),
        |name, buffer| rustix::fs::fgetxattr(&file, name, buffer),
    )
}

fn collect(
    recorded: Option<Attribute>,
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> Result<Vec<Attribute>, Errno> {
    let names = match filled(list) {
        // A file system without any.
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut attributes: Vec<_> = recorded.into_iter().collect();
    for name in names.split(|byte| *byte == 0).filter(|name| is_kept(name)) {
        attributes.push((name.to_vec(), filled(|buffer| get(name, buffer))?));
    }
    attributes.sort();
    Ok(attributes)
}

fn filled(ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut usual = [0; USUAL];
    match ask(&mut usual) {
        Ok(length) => Ok(usual[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut most = vec![0; MOST];
            let length = ask(&mut most)?;
            most.truncate(length);
            Ok(most)
        }
        Err(errno) => Err(errno),
    }
}
