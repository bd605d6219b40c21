//! What a path means in a root, by its text alone.

use std::path::{Component, Path, PathBuf};

/// An absolute path without `.`, `..` and doubled slashes, as seen from a root: a relative path begins there, and `..` at
/// the root stays there, as in the kernel.
///
/// No file is looked at: where a name on the way is a link, `..` after it means something else to the kernel.
pub fn rooted(path: impl AsRef<Path>) -> PathBuf {
    let mut rooted = PathBuf::from("/");
    for component in path.as_ref().components() {
        match component {
            Component::Normal(name) => rooted.push(name),
            Component::ParentDir => {
                rooted.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    rooted
}

/// A path as seen from a root, as a process names it that stands in that root, whether or not the root is also its `/`.
pub(crate) fn from_here(path: &Path) -> &Path {
    match path.strip_prefix("/") {
        Ok(below) if !below.as_os_str().is_empty() => below,
        Ok(_) => Path::new("."),
        Err(_) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_by_what_they_mean() {
        for (path, expected) in [
            ("/a//b/./c/", "/a/b/c"),
            ("/a/../b", "/b"),
            ("a/./../../b", "/b"),
            ("/../..", "/"),
            ("rel", "/rel"),
            ("", "/"),
        ] {
            assert_eq!(rooted(path), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn a_path_is_named_from_where_one_stands() {
        for (path, expected) in [("/", "."), ("/a/b", "a/b"), ("a", "a"), (".", ".")] {
            assert_eq!(from_here(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
