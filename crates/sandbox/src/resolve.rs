//! Where a path leads in a root that is nobody's `/`: links followed by looking, as the kernel would in a process with that root.
//!
//! The kernel does this itself for who only opens (`openat2`); what needs the path that comes out asks here: a walk that begins
//! there, directories that are to be made behind a link to nowhere, a call of a process whose root the kernel does not know.
//! Nothing is held open, so an answer is worth something only as long as nobody changes the root.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

/// As many links are followed as the kernel follows.
const MOST_LINKS: usize = 40;
/// As long as the kernel takes a path.
const LONGEST: usize = 4096;

/// What becomes of a link that the path itself names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// It is followed.
    Follow,
    /// It is meant itself.
    Keep,
}

/// What becomes of names that nothing has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Only the last one may be missing, as where a file is to be made.
    LastOnly,
    /// All may be, as where directories are to be made.
    Allowed,
}

/// Where `path` leads in `root`: a relative path of plain names, none of them a link but the last one with [`Last::Keep`], or `.` for
/// the root itself. A relative path begins at the root, and `..` does not lead out of it.
///
/// # Errors
/// `NOENT` and `NOTDIR` as the kernel, `LOOP` after 40 links, `NAMETOOLONG` beyond 4096 bytes.
pub(crate) fn resolve(
    root: impl AsFd,
    path: &Path,
    last: Last,
    missing: Missing,
) -> std::result::Result<PathBuf, Errno> {
    resolve_from(root, Path::new("."), path, last, missing)
}

/// The same for a path that begins at `base`, itself what [`resolve`] gives, unless it is absolute.
pub(crate) fn resolve_from(
    root: impl AsFd,
    base: &Path,
    path: &Path,
    last: Last,
    missing: Missing,
) -> std::result::Result<PathBuf, Errno> {
    let mut walk = Walk {
        found: Vec::new(),
        ahead: VecDeque::new(),
        links: 0,
    };
    walk.lie_ahead(base.as_os_str().as_bytes())?;
    let names = walk.ahead.drain(..).filter(|name| name != b".");
    walk.found.extend(names);
    walk.lie_ahead(path.as_os_str().as_bytes())?;
    // A slash at the end asks for a directory, and so for what a link leads to.
    let wants_directory = path.as_os_str().as_bytes().ends_with(b"/");
    let mut is_missing = false;
    while let Some(name) = walk.ahead.pop_front() {
        match name.as_slice() {
            b"." => {
                if !is_missing {
                    walk.check_directory(&root)?;
                }
                continue;
            }
            b".." => {
                if is_missing {
                    return Err(Errno::NOENT);
                }
                walk.check_directory(&root)?;
                walk.found.pop();
                continue;
            }
            _ => {}
        }
        walk.found.push(name);
        if is_missing {
            continue;
        }
        let is_last = walk.ahead.is_empty();
        match rustix::fs::readlinkat(&root, walk.path(), Vec::new()) {
            Ok(_) if is_last && last == Last::Keep && !wants_directory => {}
            Ok(target) => {
                walk.links += 1;
                if walk.links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                walk.found.pop();
                walk.lie_ahead(target.as_bytes())?;
            }
            // No link.
            Err(Errno::INVAL) => {}
            Err(Errno::NOENT) if is_last || missing == Missing::Allowed => is_missing = true,
            Err(errno) => return Err(errno),
        }
    }
    if wants_directory && !is_missing {
        walk.check_directory(&root)?;
    }
    Ok(walk.path())
}

struct Walk {
    found: Vec<Vec<u8>>,
    ahead: VecDeque<Vec<u8>>,
    links: usize,
}

impl Walk {
    /// Puts the names of a path before what is ahead; an absolute one begins at the root.
    fn lie_ahead(&mut self, path: &[u8]) -> std::result::Result<(), Errno> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let length: usize = self.ahead.iter().map(|name| name.len() + 1).sum();
        if length + path.len() > LONGEST {
            return Err(Errno::NAMETOOLONG);
        }
        if path.starts_with(b"/") {
            self.found.clear();
        }
        for name in path
            .split(|byte| *byte == b'/')
            .rev()
            .filter(|name| !name.is_empty())
        {
            self.ahead.push_front(name.to_vec());
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        let joined = self.found.join(b"/".as_slice());
        let plain = if joined.is_empty() {
            b"."
        } else {
            joined.as_slice()
        };
        PathBuf::from(OsStr::from_bytes(plain))
    }

    fn check_directory(&self, root: impl AsFd) -> std::result::Result<(), Errno> {
        if self.found.is_empty() {
            return Ok(());
        }
        let status = rustix::fs::statat(root, self.path(), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            Ok(())
        } else {
            Err(Errno::NOTDIR)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        std::fs::create_dir_all(at("usr/bin")).unwrap();
        std::fs::write(at("usr/bin/sh"), "").unwrap();
        for (target, link) in [
            ("usr/bin", "bin"),
            ("/usr", "absolute"),
            ("../../../../usr", "usr/up"),
            ("/etc/passwd", "out"),
            ("/new/file", "nowhere"),
            ("loop", "loop"),
            ("two", "one"),
            ("one", "two"),
            ("sh", "usr/bin/dash"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        home
    }

    fn found(path: &str, last: Last, missing: Missing) -> Result<String, Errno> {
        let home = root();
        let root = crate::launcher::open_directory(home.path()).unwrap();
        resolve(&root, Path::new(path), last, missing).map(|path| path.display().to_string())
    }

    #[test]
    fn links_are_followed_inside() {
        for (path, expected) in [
            ("/", "."),
            ("/bin/sh", "usr/bin/sh"),
            ("bin/dash", "usr/bin/sh"),
            ("/absolute/bin/../bin/./sh", "usr/bin/sh"),
            ("/usr/up/bin", "usr/bin"),
            ("/../../bin", "usr/bin"),
            ("/bin/new", "usr/bin/new"),
            ("/bin/", "usr/bin"),
        ] {
            assert_eq!(
                found(path, Last::Follow, Missing::LastOnly).as_deref(),
                Ok(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn a_link_out_of_the_root_leads_into_it() {
        // What the link names is in no directory of the root, whatever the machine has.
        assert_eq!(found("/out", Last::Follow, Missing::LastOnly), Err(Errno::NOENT));
        assert_eq!(
            found("/out", Last::Follow, Missing::Allowed).as_deref(),
            Ok("etc/passwd")
        );
        assert_eq!(found("/out", Last::Keep, Missing::LastOnly).as_deref(), Ok("out"));
    }

    #[test]
    fn the_last_link_is_kept_unless_a_directory_is_meant() {
        assert_eq!(found("/bin", Last::Keep, Missing::LastOnly).as_deref(), Ok("bin"));
        assert_eq!(
            found("/bin/", Last::Keep, Missing::LastOnly).as_deref(),
            Ok("usr/bin")
        );
    }

    #[test]
    fn what_is_missing_is_said_or_allowed() {
        assert_eq!(
            found("/no/such", Last::Follow, Missing::LastOnly),
            Err(Errno::NOENT)
        );
        assert_eq!(
            found("/no/such", Last::Follow, Missing::Allowed).as_deref(),
            Ok("no/such")
        );
        assert_eq!(
            found("/nowhere/x", Last::Follow, Missing::Allowed).as_deref(),
            Ok("new/file/x")
        );
        assert_eq!(
            found("/no/../x", Last::Follow, Missing::Allowed),
            Err(Errno::NOENT)
        );
        assert_eq!(found("", Last::Follow, Missing::Allowed), Err(Errno::NOENT));
        for path in ["/bin/sh/x", "/bin/sh/..", "/bin/sh/.", "/bin/sh/"] {
            assert_eq!(
                found(path, Last::Follow, Missing::LastOnly),
                Err(Errno::NOTDIR),
                "{path}"
            );
        }
    }

    #[test]
    fn loops_and_lengths_are_bounded() {
        for path in ["/loop", "/one/x"] {
            assert_eq!(
                found(path, Last::Follow, Missing::Allowed),
                Err(Errno::LOOP),
                "{path}"
            );
        }
        assert_eq!(
            found(&"/usr/..".repeat(1000), Last::Follow, Missing::LastOnly),
            Err(Errno::NAMETOOLONG)
        );
        assert_eq!(
            found("/loop", Last::Keep, Missing::LastOnly).as_deref(),
            Ok("loop")
        );
    }

    #[test]
    fn a_relative_path_begins_at_its_base() {
        let home = root();
        let root = crate::launcher::open_directory(home.path()).unwrap();
        let from = |base: &str, path: &str| {
            resolve_from(
                &root,
                Path::new(base),
                Path::new(path),
                Last::Follow,
                Missing::LastOnly,
            )
        };
        assert_eq!(from("usr/bin", "dash"), Ok("usr/bin/sh".into()));
        assert_eq!(from("usr/bin", "../../.."), Ok(".".into()));
        assert_eq!(from("usr/bin", "/bin"), Ok("usr/bin".into()));
    }
}
