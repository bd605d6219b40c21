//! Unpacked layers are of one boot of the machine.
//!
//! They are a cache and are not synced: that would cost as much as unpacking them again. While the kernel lives nobody sees
//! the difference, whoever is killed. After a power cut a layer may be in its place and its files empty; so whatever an
//! earlier boot has unpacked is removed before the first pod of this one, and unpacked again from its verified blob.
//!
//! The record needs no sync either: whatever a power cut makes of it, it does not become the id of the next boot.

use std::io;
use std::path::{Path, PathBuf};

/// The kernel's name for its own run.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// In which boot the layers of a keepers' directory were unpacked.
pub(crate) struct Boot {
    record: PathBuf,
    /// Nothing where /proc is hidden: then layers are taken for what they were.
    current: Option<String>,
}

impl Boot {
    /// For the layers in this directory of the keepers'.
    pub(crate) fn of(keepers: &Path) -> Self {
        Self::between(keepers, std::fs::read_to_string(BOOT_ID).ok())
    }

    fn between(keepers: &Path, current: Option<String>) -> Self {
        // Beside the directory, which may belong to the mapped root.
        let mut record = keepers.as_os_str().to_owned();
        record.push(".boot");
        Self {
            record: PathBuf::from(record),
            current,
        }
    }

    /// Whether what is unpacked there was unpacked since the machine started.
    pub(crate) fn is_recorded(&self) -> bool {
        match &self.current {
            Some(current) => std::fs::read_to_string(&self.record).is_ok_and(|recorded| recorded == *current),
            None => true,
        }
    }

    /// From now on all layers there are of this boot.
    pub(crate) fn record(&self) -> io::Result<()> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        if let Some(directory) = self.record.parent() {
            std::fs::create_dir_all(directory)?;
        }
        // Never seen half: half of an id is another boot's, and layers of living pods would be taken for old. One draft is enough,
        // as one process at a time settles layers; what a killed one left of it is written over.
        let draft = self.record.with_added_extension("new");
        let written = std::fs::write(&draft, current).and_then(|()| std::fs::rename(&draft, &self.record));
        if written.is_err() {
            // A full disk keeps no draft; nothing else can be done about it here.
            let _ = std::fs::remove_file(&draft);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_for_one_boot() {
        let place = tempfile::tempdir().unwrap();
        let keepers = place.path().join("keeper/u0.100000.65536");
        let boot = |id: &str| Boot::between(&keepers, Some(id.to_owned()));
        assert!(!boot("one").is_recorded());
        boot("one").record().unwrap();
        assert!(boot("one").is_recorded() && !boot("two").is_recorded());
        std::fs::write(&boot("one").record, "").unwrap();
        assert!(!boot("one").is_recorded(), "what a power cut left of it");
        assert!(Boot::between(&keepers, None).is_recorded());
        assert_eq!(std::fs::read_dir(keepers.parent().unwrap()).unwrap().count(), 1);
    }
}
