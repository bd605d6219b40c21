//! Numbers for pipelines and jobs: unique within an installation, also between processes that run at once.
//!
//! A job's number names its image scope and its token's right, so two jobs must never share one. The file holds the
//! next free number; a lock on it makes taking some atomic. If the process dies in between, numbers are skipped. They are
//! on the disk before they are given out, so that no power cut makes the same ones be given out again.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use crate::failure::{Failure, FailureKind};

/// Takes `count` numbers in a row and returns the first.
///
/// # Errors
/// When the file cannot be read or written, and when it holds something else than a number: to begin anew would give out
/// numbers a second time.
pub(super) fn take(data: &Path, count: u64) -> Result<u64, Failure> {
    let path = data.join("next-number");
    let failed = |error: std::io::Error| {
        Failure::caused(
            FailureKind::Place,
            &format!("taking a number from `{}`", path.display()),
            &error,
        )
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // A link there was put by somebody who wants another file written.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(failed)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| failed(error.into()))?;
    let mut text = String::new();
    (&mut file).take(32).read_to_string(&mut text).map_err(failed)?;
    let first: Option<u64> = if text.is_empty() {
        Some(1)
    } else {
        text.trim().parse().ok()
    };
    let (first, next) = first
        .and_then(|first| Some((first, first.checked_add(count)?)))
        .ok_or_else(|| {
            Failure::new(
                FailureKind::Place,
                format!("`{}` does not hold the next free number", path.display()),
            )
            .hint("write a number into it that is higher than those of all pipelines and jobs so far: `traces` has them")
        })?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    // Longer than any number before it, so that nothing has to be cut first.
    file.write_all(format!("{next:<20}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    if text.is_empty() {
        // The file is new: its name, too, must outlive a power cut.
        std::fs::File::open(data)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)?;
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::take;

    #[test]
    fn a_link_is_not_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "1").unwrap();
        std::os::unix::fs::symlink(&victim, directory.path().join("next-number")).unwrap();
        assert!(take(directory.path(), 1).is_err());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "1");
    }

    #[test]
    fn what_is_no_number_is_not_taken_for_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("next-number");
        for damaged in ["\0\0\0\0", "12x", " ", "18446744073709551615"] {
            std::fs::write(&file, damaged).unwrap();
            let said = format!("{:?}", take(directory.path(), 1).unwrap_err());
            assert!(said.contains("next-number") && said.contains("higher"), "{said}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), damaged);
        }
    }

    #[test]
    fn numbers_are_taken_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut taken: Vec<u64> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| take(directory.path(), 3).unwrap()))
                .collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).collect()
        });
        taken.sort_unstable();
        assert_eq!(taken, [1, 4, 7, 10, 13, 16, 19, 22]);
    }
}
