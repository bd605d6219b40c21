//! Layers seen as one directory, without a mount.
//!
//! What overlayfs shows of a stack of layers can be read off the layers themselves: the topmost that mentions a name decides. That is
//! needed where there are no mounts, and where a step's changes are compared with what was there before it.
//!
//! Directories are opened one level at a time and links are never followed, so that no layer leads out of itself.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::archive::whiteout;
use crate::beneath;
use crate::error::Result;
use crate::owners::Owners;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// One directory of the whole: that of each layer that has a part in it, topmost first.
pub(crate) struct Stack {
    parts: Vec<OwnedFd>,
    owners: Owners,
}

/// What the whole shows under a name.
pub(crate) struct Shown<'s> {
    pub(crate) status: Stat,
    /// The directory of the layer that has it.
    pub(crate) parent: &'s OwnedFd,
}

impl Stack {
    /// The root of layers, given bottom first.
    pub(crate) fn open(directory: &OwnedFd, layers: &[PathBuf]) -> Result<Self> {
        let mut parts = Vec::with_capacity(layers.len());
        for layer in layers.iter().rev() {
            let part = beneath::open_with(directory, layer, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let hides = whiteout::is_opaque(&part);
            parts.push(part);
            if hides {
                break;
            }
        }
        Ok(Self {
            parts,
            owners: Owners::default(),
        })
    }

    /// The same, whose files are as their records say.
    pub(crate) fn owned(self, owners: Owners) -> Self {
        Self { owners, ..self }
    }

    /// What must stay open for it.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.parts.iter()
    }

    /// The directory that the whole looks like; none of no layers.
    pub(crate) fn top(&self) -> Option<&OwnedFd> {
        self.parts.first()
    }

    /// How a directory of the whole looks.
    pub(crate) fn status(&self, directory: &OwnedFd) -> std::result::Result<Stat, Errno> {
        self.owners
            .corrected_open(directory, rustix::fs::fstat(directory)?)
    }

    /// What is shown under a name.
    pub(crate) fn look(&self, name: &OsStr) -> std::result::Result<Option<Shown<'_>>, Errno> {
        for parent in &self.parts {
            match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(status) if whiteout::is_one(parent, name, &status) => return Ok(None),
                Ok(status) => {
                    let status = self.owners.corrected(parent, name, status)?;
                    return Ok(Some(Shown { status, parent }));
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(None)
    }

    /// The directory of that name; none if something else or nothing is shown there.
    pub(crate) fn down(&self, name: &OsStr) -> std::result::Result<Option<Self>, Errno> {
        let mut parts = Vec::new();
        for parent in &self.parts {
            match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
                Ok(part) => {
                    let hides = whiteout::is_opaque(&part);
                    parts.push(part);
                    if hides {
                        break;
                    }
                }
                Err(Errno::NOENT) => {}
                // A file, or a mark that the name is gone.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => break,
                Err(errno) => return Err(errno),
            }
        }
        let owners = self.owners.clone();
        Ok((!parts.is_empty()).then_some(Self { parts, owners }))
    }

    /// The names that are shown, sorted by their bytes.
    pub(crate) fn names(&self) -> std::result::Result<Vec<OsString>, Errno> {
        let mut shown: BTreeMap<OsString, bool> = BTreeMap::new();
        for part in &self.parts {
            for (name, may_be_mark) in entries(part)? {
                if shown.contains_key(&name) {
                    continue;
                }
                let is_gone = may_be_mark
                    && rustix::fs::statat(part, &name, AtFlags::SYMLINK_NOFOLLOW)
                        .is_ok_and(|status| whiteout::is_one(part, &name, &status));
                shown.insert(name, !is_gone);
            }
        }
        Ok(shown
            .into_iter()
            .filter_map(|(name, is_there)| is_there.then_some(name))
            .collect())
    }
}

/// The names in an open directory, in no order, each with whether it could be the mark of one that is gone.
fn entries(directory: &OwnedFd) -> std::result::Result<Vec<(OsString, bool)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let may_be_mark = !matches!(entry.file_type(), FileType::Directory | FileType::Symlink);
        names.push((OsString::from_vec(name.to_bytes().to_vec()), may_be_mark));
    }
    Ok(names)
}

/// The names in an open directory, sorted by their bytes.
pub(crate) fn sorted_names(directory: &OwnedFd) -> std::result::Result<Vec<OsString>, Errno> {
    let mut names: Vec<_> = entries(directory)?.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    Ok(names)
}

/// A name as the kernel takes it.
pub(crate) fn c_name(name: &OsStr) -> std::result::Result<CString, Errno> {
    CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(place: &Path, path: &str, text: &str) {
        let path = place.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(stack: &Stack, name: &str) -> Option<String> {
        let shown = stack.look(OsStr::new(name)).unwrap()?;
        let file = rustix::fs::openat(shown.parent, name, OFlags::RDONLY, Mode::empty()).unwrap();
        Some(std::io::read_to_string(std::fs::File::from(file)).unwrap())
    }

    #[test]
    fn the_topmost_layer_that_mentions_a_name_decides() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path();
        write(place, "low/kept", "low");
        write(place, "low/changed", "low");
        write(place, "low/gone", "low");
        write(place, "low/folder/below", "low");
        write(place, "low/replaced/below", "low");
        write(place, "low/file", "low");
        write(place, "high/changed", "high");
        write(place, "high/folder/above", "high");
        write(place, "high/replaced/above", "high");
        write(place, "high/file/now a directory", "high");
        let directory = crate::launcher::open_directory(place).unwrap();
        let high = beneath::open_with(&directory, Path::new("high"), OFlags::RDONLY).unwrap();
        whiteout::make(&high, OsStr::new("gone")).unwrap();
        let replaced = beneath::open_with(&directory, Path::new("high/replaced"), OFlags::RDONLY).unwrap();
        whiteout::make_opaque(&replaced).unwrap();

        let stack = Stack::open(&directory, &["low".into(), "high".into()]).unwrap();
        assert_eq!(
            stack.names().unwrap(),
            ["changed", "file", "folder", "kept", "replaced"]
        );
        assert_eq!(read(&stack, "kept").as_deref(), Some("low"));
        assert_eq!(read(&stack, "changed").as_deref(), Some("high"));
        assert_eq!(read(&stack, "gone"), None);
        let names = |name: &str| {
            stack
                .down(OsStr::new(name))
                .unwrap()
                .map(|down| down.names().unwrap())
        };
        assert_eq!(names("folder").unwrap(), ["above", "below"]);
        assert_eq!(names("replaced").unwrap(), ["above"]);
        assert_eq!(names("file").unwrap(), ["now a directory"]);
        assert!(names("kept").is_none() && names("gone").is_none() && names("never").is_none());
    }

    #[test]
    fn a_mark_by_attribute_is_one_too() {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), "low/gone", "low");
        write(home.path(), "high/other", "");
        let directory = crate::launcher::open_directory(home.path()).unwrap();
        let high = beneath::open_with(&directory, Path::new("high"), OFlags::RDONLY).unwrap();
        whiteout::make_by_attribute(&high, OsStr::new("gone")).unwrap();
        let stack = Stack::open(&directory, &["low".into(), "high".into()]).unwrap();
        assert_eq!(stack.names().unwrap(), ["other"]);
        assert_eq!(read(&stack, "gone"), None);
    }
}
