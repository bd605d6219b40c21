//! Names in archives: where an entry lies in the tree that it is unpacked into.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

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
    }
}
