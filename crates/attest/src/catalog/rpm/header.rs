//! A header of rpm: two counts, an index of entries, and the store of bytes that they point into. All numbers are big-endian.

use std::borrow::Cow;

pub(super) const NAME: u32 = 1000;
pub(super) const VERSION: u32 = 1001;
pub(super) const RELEASE: u32 = 1002;
pub(super) const EPOCH: u32 = 1003;
pub(super) const VENDOR: u32 = 1011;
pub(super) const LICENSE: u32 = 1014;
pub(super) const ARCHITECTURE: u32 = 1022;
pub(super) const SOURCE: u32 = 1044;

/// Tag, type, offset, count.
const ENTRY: usize = 16;
const INT32: u32 = 4;
const STRING: u32 = 6;
const I18N_STRING: u32 = 9;

/// A header whose index and store lie within its bytes.
pub(super) struct Header<'a> {
    index: &'a [u8],
    store: &'a [u8],
}

impl<'a> Header<'a> {
    /// None for bytes that are too few for what they announce.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let entries = usize::try_from(number(bytes, 0)?).ok()?.checked_mul(ENTRY)?;
        let length = usize::try_from(number(bytes, 4)?).ok()?;
        let rest = bytes.get(8..)?;
        let store = rest.get(entries..entries.checked_add(length)?)?;
        Some(Self {
            index: &rest[..entries],
            store,
        })
    }

    /// The text under a tag, the first where there are several languages.
    pub(super) fn text(&self, tag: u32) -> Option<String> {
        let bytes = self.find(tag, &[STRING, I18N_STRING])?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let text: Cow<'_, str> = String::from_utf8_lossy(&bytes[..end]);
        (!text.is_empty()).then(|| text.into_owned())
    }

    /// The number under a tag.
    pub(super) fn number(&self, tag: u32) -> Option<u32> {
        number(self.find(tag, &[INT32])?, 0)
    }

    /// The store from where a tag's value begins, if it is of one of the types.
    fn find(&self, tag: u32, types: &[u32]) -> Option<&'a [u8]> {
        let entry = self
            .index
            .chunks_exact(ENTRY)
            .find(|entry| number(entry, 0) == Some(tag))?;
        if !types.contains(&number(entry, 4)?) {
            return None;
        }
        self.store.get(usize::try_from(number(entry, 8)?).ok()?..)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes: &[u8; 4] = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}
