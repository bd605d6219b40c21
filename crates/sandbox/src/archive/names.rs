//! Names in archives.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// An absolute path without `.` and `..`, as seen from a root; `..` at the root stays there, as in the kernel.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// The relative path that an entry's name means: without leading slash, `.` and `..`. None if it leads outside.
pub(super) fn inside(name: &[u8]) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if !path.pop() {
                    return None;
                }
            }
            component => path.push(OsStr::from_bytes(component)),
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        assert_eq!(inside(b"./a//b/../c/"), Some("a/c".into()));
        assert_eq!(inside(b"/etc/passwd"), Some("etc/passwd".into()));
        assert_eq!(inside(b"./"), Some(PathBuf::new()));
        assert_eq!(inside(b"../x"), None);
        assert_eq!(inside(b"a/../../x"), None);
        assert_eq!(clean(Path::new("a/./../../b")), Path::new("/b"));
    }
}
