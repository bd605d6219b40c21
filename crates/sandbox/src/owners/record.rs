//! What is written of one file.

/// The extended attribute of a regular file or directory that has a record. Overlayfs copies it up with the file.
pub(crate) const ATTRIBUTE: &str = "user.shipway.owner";
/// More than any record has: two ids, a mode, a device and a capability of the latest form.
const LONGEST: usize = 256;

/// What a file is to be in an image, where the file itself cannot be it. Without a record it is root's, and as it looks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    /// User, as the image numbers them.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Permission bits with the set-id bits, where the file's own are others.
    pub(crate) mode: Option<u32>,
    /// The value of `security.capability`, where the file cannot have it.
    pub(crate) capability: Option<Vec<u8>>,
}

impl Record {
    /// Of who owns it alone.
    pub(crate) fn owned(uid: u32, gid: u32) -> Self {
        Self {
            uid,
            gid,
            ..Self::default()
        }
    }

    /// Whether it says what no record says as well.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// `UID:GID`, then `:m` and the mode in octal digits, then `:c` and the capability in hexadecimal ones, each if there is one.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}:{}", self.uid, self.gid);
        if let Some(mode) = self.mode {
            text.push_str(&format!(":m{mode:o}"));
        }
        if let Some(capability) = &self.capability {
            text.push_str(":c");
            for byte in capability {
                text.push_str(&format!("{byte:02x}"));
            }
        }
        text
    }

    /// None for what no record looks like: a step may write the attribute itself, and then says nothing.
    pub(crate) fn from_text(text: &[u8]) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut fields = std::str::from_utf8(text).ok()?.split(':');
        let mut id = || fields.next()?.parse().ok().filter(|id| *id != u32::MAX);
        let mut record = Self::owned(id()?, id()?);
        for field in fields {
            if let Some(mode) = field.strip_prefix('m') {
                record.mode = Some(u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777)?);
            } else {
                record.capability = Some(from_hexadecimal(field.strip_prefix('c')?)?);
            }
        }
        Some(record)
    }
}

fn from_hexadecimal(digits: &str) -> Option<Vec<u8>> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        for record in [
            Record::default(),
            Record::owned(0, 42),
            Record {
                mode: Some(0o4755),
                capability: Some(vec![1, 0, 0, 2, 255]),
                ..Record::owned(4_000_000_000, 1)
            },
        ] {
            assert_eq!(Record::from_text(record.to_text().as_bytes()), Some(record));
        }
        assert!(Record::owned(0, 0).is_plain() && !Record::owned(0, 1).is_plain());
    }

    #[test]
    fn what_is_no_record_says_nothing() {
        let long = format!("1:1:c{}", "00".repeat(200));
        for text in [
            "",
            "1",
            "1:",
            "a:b",
            "-1:0",
            "4294967295:0",
            "1:1:m17777",
            "1:1:x",
            "1:1:c0g",
            long.as_str(),
        ] {
            assert_eq!(Record::from_text(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Record::from_text(&[0xff, 0xfe]), None);
    }
}
