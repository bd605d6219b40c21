//! What a pod may use of the machine, and the word that it used more.
//!
//! Looked at by `pod::watch`, not enforced by the kernel: a pod that uses more is ended, whole, a moment later.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use shipway_sandbox::ProcessLimit;
use tokio::sync::watch;

/// What each pod of a runtime may use.
#[derive(Debug, Clone, Default)]
pub struct PodLimits {
    /// Processes and threads.
    pub processes: ProcessLimit,
    /// Memory of all its processes together; any amount without.
    pub memory: Option<ByteSize>,
    /// What the disk below the data directory must have left.
    pub disk_reserve: DiskReserve,
}

/// An amount of bytes: `4GiB`, `512m`, `1000`. All units are powers of two, as in Docker's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// A text that is no amount of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no amount of bytes such as 512m or 4GiB")]
pub struct ByteSizeError {
    text: String,
}

impl ByteSize {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let wrong = || ByteSizeError {
            text: text.to_owned(),
        };
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        match UNITS.iter().find(|(_, shift)| self.0 >> shift > 0) {
            None => write!(f, "{} bytes", self.0),
            Some((unit, shift)) if self.0.trailing_zeros() >= *shift => {
                write!(f, "{} {unit}", self.0 >> shift)
            }
            Some((unit, shift)) => write!(f, "{:.1} {unit}", self.0 as f64 / (1_u64 << shift) as f64),
        }
    }
}

/// What a disk must have left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DiskReserve {
    /// One GiB, but of a small file system no more than its twentieth part.
    #[default]
    Usual,
    /// So much; nothing for zero.
    Of(ByteSize),
}

impl DiskReserve {
    /// For a file system of that many bytes.
    pub fn of(self, whole: u64) -> ByteSize {
        match self {
            Self::Usual => ByteSize((1 << 30).min(whole / 20)),
            Self::Of(size) => size,
        }
    }

    /// The files that a file system of so many must have room for: the twentieth part, at most 65536; none where no bytes are kept
    /// free either.
    pub fn files_of(self, whole: u64) -> u64 {
        match self {
            Self::Of(ByteSize(0)) => 0,
            Self::Usual | Self::Of(_) => (whole / 20).min(1 << 16),
        }
    }
}

/// What a pod used too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Memory.
    #[error("it used {used} of memory, with its services and containers; `limits.memory` is {limit}")]
    Memory {
        /// By all its processes.
        used: ByteSize,
        /// What it may use.
        limit: ByteSize,
    },
    /// Disk.
    #[error(
        "its files and output take {held} and grew while the disk had only {free} left; `limits.disk_reserve` is {reserve}"
    )]
    Disk {
        /// By all its files and what its processes printed.
        held: ByteSize,
        /// What was left.
        free: ByteSize,
        /// What must be left.
        reserve: ByteSize,
    },
    /// Files, of which the disk holds only so many.
    #[error(
        "it has {held} files and directories and made more while the disk had room for only {free}; {reserve} are kept free"
    )]
    Files {
        /// Files and directories of all its containers and volumes.
        held: u64,
        /// How many more there could be.
        free: u64,
        /// How many more there must be room for.
        reserve: u64,
    },
}

/// Tells whoever started a pod that it was ended for what it used. Clones tell the same.
#[derive(Debug, Clone)]
pub struct ExcessSignal(Arc<watch::Sender<Option<Excess>>>);

impl Default for ExcessSignal {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl ExcessSignal {
    pub(crate) fn tell(&self, excess: Excess) {
        self.0.send_replace(Some(excess));
    }

    /// What was told so far.
    pub fn get(&self) -> Option<Excess> {
        *self.0.borrow()
    }

    /// Returns when it is told, which may be never.
    pub async fn told(&self) -> Excess {
        let mut told = self.0.subscribe();
        loop {
            let excess = *told.borrow_and_update();
            if let Some(excess) = excess {
                return excess;
            }
            // The sender is held by this very value.
            if told.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("4GiB", 4 << 30, "4 GiB"),
            ("512m", 512 << 20, "512 MiB"),
            ("1536 MB", 1536 << 20, "1.5 GiB"),
            ("1000", 1000, "1000 bytes"),
            ("0", 0, "0 bytes"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.get(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
        for wrong in [
            "",
            "m",
            "-1",
            "1.5g",
            "4 parsecs",
            "99999999999999999999",
            "99999999t",
        ] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_small_disk_keeps_a_small_reserve() {
        let usual = |whole| DiskReserve::Usual.of(whole).get();
        assert_eq!(usual(1 << 40), 1 << 30);
        assert_eq!(usual(20 << 20), 1 << 20);
        assert_eq!(DiskReserve::Of(ByteSize(7)).of(1), ByteSize(7));
        assert_eq!(DiskReserve::Usual.files_of(1 << 30), 1 << 16);
        assert_eq!(DiskReserve::Of(ByteSize(7)).files_of(2000), 100);
        assert_eq!(DiskReserve::Of(ByteSize(0)).files_of(2000), 0);
        assert_eq!(
            DiskReserve::Usual.files_of(0),
            0,
            "a file system that does not count them"
        );
    }

    #[tokio::test]
    async fn who_asks_later_is_told_as_well() {
        let signal = ExcessSignal::default();
        assert_eq!(signal.get(), None);
        let excess = Excess::Memory {
            used: ByteSize(2),
            limit: ByteSize(1),
        };
        signal.clone().tell(excess);
        assert_eq!(signal.told().await, excess);
    }
}
