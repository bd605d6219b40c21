//! Whose a directory is: the content of its lock's file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// A record has no more bytes: an id is a line of a Dockerfile at most.
const MOST_BYTES: u64 = 1 << 20;

/// What is known of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The scope of the builds that use it.
    pub(crate) scope: String,
    /// What the Dockerfile calls it.
    pub(crate) id: String,
}

impl Record {
    /// Reads it; nothing where there is none, as in files of earlier versions.
    pub(crate) fn read(file: &File) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut file = file;
        file.seek(SeekFrom::Start(0)).ok()?;
        file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes it down, as used now. Others who have the directory at the same time write the same.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        if Self::read(file).as_ref() != Some(self) {
            let mut writing = file;
            file.set_len(0)?;
            writing.seek(SeekFrom::Start(0))?;
            writing.write_all(&serde_json::to_vec(self)?)?;
        }
        file.set_modified(SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_an_empty_file_has_none() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Record::read(&file), None);
        for id in ["/var/cache/apt", "x"] {
            let record = Record {
                scope: "user".to_owned(),
                id: id.to_owned(),
            };
            record.write(&file).unwrap();
            record.write(&file).unwrap();
            assert_eq!(Record::read(&file), Some(record));
        }
    }
}
