//! Until when a job's artifacts are kept, in a file beside their archive: `17.expires` beside `17.tar`.
//!
//! A file of its own and not a record of the pipeline: jobs of one pipeline end at once. One that is torn or missing counts as a job that
//! did not say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shipway_pipeline::parse_duration;

const NEVER: &str = "never";

/// When an archive goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Its job does not say: when archives do.
    Unsaid,
    /// `expire_in: never`.
    Never,
    /// At that moment, to a second.
    At(SystemTime),
}

impl Expiry {
    /// What `expire_in` means for an archive that is kept at a moment. The text was checked where the pipeline was read.
    pub(crate) fn after(expire_in: &str, now: SystemTime) -> Self {
        if expire_in == NEVER {
            return Self::Never;
        }
        let end = parse_duration(expire_in).ok().filter(|span| !span.is_zero());
        end.and_then(|span| now.checked_add(span))
            .map_or(Self::Unsaid, Self::At)
    }

    /// Of an archive that is there.
    pub(crate) fn of(archive: &Path) -> Self {
        let Ok(text) = fs::read_to_string(beside(archive)) else {
            return Self::Unsaid;
        };
        if text.trim() == NEVER {
            return Self::Never;
        }
        let seconds = text.trim().parse().ok().map(Duration::from_secs);
        seconds
            .and_then(|seconds| UNIX_EPOCH.checked_add(seconds))
            .map_or(Self::Unsaid, Self::At)
    }

    /// Says so of an archive that is about to be there.
    pub(super) fn write(self, archive: &Path) -> io::Result<()> {
        let text = match self {
            Self::Unsaid => return Self::forget(archive),
            Self::Never => format!("{NEVER}\n"),
            Self::At(end) => {
                let since = end.duration_since(UNIX_EPOCH).unwrap_or_default();
                format!("{}\n", since.as_secs())
            }
        };
        fs::write(beside(archive), text)
    }

    /// Says nothing any more.
    pub(super) fn forget(archive: &Path) -> io::Result<()> {
        match fs::remove_file(beside(archive)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn beside(archive: &Path) -> PathBuf {
    archive.with_extension("expires")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("7.tar");
        assert_eq!(Expiry::of(&archive), Expiry::Unsaid);
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (text, expected) in [
            ("1 week", Expiry::At(now + Duration::from_secs(7 * 86400))),
            ("never", Expiry::Never),
            ("", Expiry::Unsaid),
            ("0", Expiry::Unsaid),
            ("90", Expiry::At(now + Duration::from_secs(90))),
        ] {
            let expiry = Expiry::after(text, now);
            assert_eq!(expiry, expected, "{text}");
            expiry.write(&archive).unwrap();
            assert_eq!(Expiry::of(&archive), expected, "{text}");
        }
        fs::write(beside(&archive), "torn").unwrap();
        assert_eq!(Expiry::of(&archive), Expiry::Unsaid);
    }
}
