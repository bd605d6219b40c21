//! A tar that comes in pieces, as it passes by on its way elsewhere.
//!
//! The reader of the `tar` crate asks for bytes and would need a thread and a copy of the stream; here the bytes are pushed. Contents
//! that nobody wants are counted and not touched, so that looking costs a few nanoseconds for each megabyte.
//!
//! Read is what layers are made of: ustar, PAX records, GNU's long names and sparse files. What is no tar ends the reading and is no
//! error: whoever unpacks the layer judges it.

/// The unit of a tar.
const BLOCK: usize = 512;
/// Headers beyond this are nobody's: names and links have 4096 bytes at most, attributes 64 KiB.
const MOST_EXTENDED: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    SymbolicLink,
    Directory,
    Other,
}

/// An entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As written, in UTF-8 as far as it is.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Where a link leads.
    pub(crate) link: String,
    pub(crate) size: u64,
}

/// Hears of entries in their order.
pub(crate) trait Visitor {
    /// An entry begins; its content is told when this gives true.
    fn begin(&mut self, entry: Entry) -> bool;
    /// A piece of the content that was asked for.
    fn content(&mut self, bytes: &[u8]);
    /// All of it was told.
    fn end(&mut self);
}

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// A header.
    ///
    /// ## Header => Content, Sparse, Ended, Broken
    Header,
    /// More of GNU's map of a sparse file, of which `then` is the content.
    ///
    /// ## Sparse => Sparse, Content
    Sparse { then: u64 },
    /// Content and its padding.
    ///
    /// ## Content => Header
    Content { left: u64, padding: u64, of: Content },
    /// Nothing: the end mark was there.
    Ended,
    /// Nothing: it was no tar.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// What nobody wants.
    Unwanted,
    /// The visitor's.
    Wanted,
    /// PAX records of the next entry.
    Records,
    /// The name of the next entry.
    LongName,
    /// The link of the next entry.
    LongLink,
}

/// A tar being read.
#[derive(Debug)]
pub(crate) struct Reader {
    expected: Expected,
    block: Vec<u8>,
    extended: Vec<u8>,
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            expected: Expected::Header,
            block: Vec::with_capacity(BLOCK),
            extended: Vec::new(),
            name: None,
            link: None,
            size: None,
        }
    }

    /// Whether it was a tar up to its end mark.
    pub(crate) fn is_whole(&self) -> bool {
        self.expected == Expected::Ended
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, mut bytes: &[u8], visitor: &mut dyn Visitor) {
        while !bytes.is_empty() {
            bytes = match self.expected {
                Expected::Ended | Expected::Broken => return,
                Expected::Header => self.collect(bytes, |reader, block| reader.header(block, visitor)),
                Expected::Sparse { then } => self.collect(bytes, |reader, block| {
                    if block[504] == 0 {
                        reader.expect_content(then, Content::Unwanted, visitor);
                    }
                }),
                Expected::Content { left, padding, of } => self.content(bytes, left, padding, of, visitor),
            };
        }
    }

    /// Collects a block, hands it over, and gives what is left.
    fn collect<'b>(&mut self, bytes: &'b [u8], whole: impl FnOnce(&mut Self, &[u8])) -> &'b [u8] {
        let missing = BLOCK - self.block.len();
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        if taken.len() == BLOCK {
            whole(self, taken);
        } else {
            self.block.extend_from_slice(taken);
            if self.block.len() == BLOCK {
                let block = std::mem::take(&mut self.block);
                whole(self, &block);
            }
        }
        rest
    }

    fn content<'b>(
        &mut self,
        bytes: &'b [u8],
        left: u64,
        padding: u64,
        of: Content,
        visitor: &mut dyn Visitor,
    ) -> &'b [u8] {
        if left > 0 {
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (taken, rest) = bytes.split_at(taken);
            match of {
                Content::Unwanted => {}
                Content::Wanted => visitor.content(taken),
                Content::Records | Content::LongName | Content::LongLink => {
                    self.extended.extend_from_slice(taken);
                }
            }
            self.advance(left - taken.len() as u64, padding, of, visitor);
            return rest;
        }
        let taken = usize::try_from(padding).unwrap_or(usize::MAX).min(bytes.len());
        self.advance(0, padding - taken as u64, of, visitor);
        &bytes[taken..]
    }

    fn advance(&mut self, left: u64, padding: u64, of: Content, visitor: &mut dyn Visitor) {
        if left > 0 || padding > 0 {
            self.expected = Expected::Content { left, padding, of };
            return;
        }
        self.expected = Expected::Header;
        let extended = std::mem::take(&mut self.extended);
        match of {
            Content::Unwanted => {}
            Content::Wanted => visitor.end(),
            Content::Records => self.records(&extended),
            Content::LongName => self.name = Some(text(&extended)),
            Content::LongLink => self.link = Some(text(&extended)),
        }
    }

    fn expect_content(&mut self, size: u64, of: Content, visitor: &mut dyn Visitor) {
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        self.advance(size, padding, of, visitor);
    }

    fn header(&mut self, block: &[u8], visitor: &mut dyn Visitor) {
        if block.iter().all(|byte| *byte == 0) {
            self.expected = Expected::Ended;
            return;
        }
        let Some(size) = number(&block[124..136]).filter(|_| sum_is_right(block)) else {
            self.expected = Expected::Broken;
            return;
        };
        let letter = block[156];
        let extended = match letter {
            b'x' => Some(Content::Records),
            b'L' => Some(Content::LongName),
            b'K' => Some(Content::LongLink),
            // Records for all entries that follow: nobody makes layers with them.
            b'g' => Some(Content::Unwanted),
            _ => None,
        };
        if let Some(content) = extended {
            let content = if size > MOST_EXTENDED {
                Content::Unwanted
            } else {
                content
            };
            return self.expect_content(size, content, visitor);
        }
        let size = self.size.take().unwrap_or(size);
        let kind = match letter {
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'5' => Kind::Directory,
            _ => Kind::Other,
        };
        let entry = Entry {
            name: self.name.take().unwrap_or_else(|| name(block)),
            kind,
            link: self.link.take().unwrap_or_else(|| text(&block[157..257])),
            size,
        };
        if letter == b'S' {
            // Its content is not what lies here, and what lists packages has no holes.
            if block[482] != 0 {
                self.expected = Expected::Sparse { then: size };
            } else {
                self.expect_content(size, Content::Unwanted, visitor);
            }
            return;
        }
        // Links have no content, whatever some writers say of their size; so have directories and devices.
        let size = if kind == Kind::File { size } else { 0 };
        let content = if visitor.begin(entry) {
            Content::Wanted
        } else {
            Content::Unwanted
        };
        self.expect_content(size, content, visitor);
    }

    /// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
    fn records(&mut self, mut bytes: &[u8]) {
        while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
            let length = std::str::from_utf8(&bytes[..space])
                .ok()
                .and_then(|digits| digits.parse().ok());
            let Some(length) = length.filter(|length: &usize| *length > space + 1 && *length <= bytes.len())
            else {
                return;
            };
            let record = &bytes[space + 1..length - 1];
            if let Some(equals) = record.iter().position(|byte| *byte == b'=') {
                let value = &record[equals + 1..];
                match &record[..equals] {
                    b"path" => self.name = Some(text(value)),
                    b"linkpath" => self.link = Some(text(value)),
                    b"size" => {
                        self.size = std::str::from_utf8(value)
                            .ok()
                            .and_then(|value| value.parse().ok());
                    }
                    _ => {}
                }
            }
            bytes = &bytes[length..];
        }
    }
}

/// Bytes up to the first zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The name as ustar splits it; in GNU's own format other things are where the prefix would be.
fn name(block: &[u8]) -> String {
    let own = text(&block[..100]);
    let prefix = if &block[257..263] == b"ustar\0" {
        text(&block[345..500])
    } else {
        String::new()
    };
    if prefix.is_empty() {
        own
    } else {
        format!("{prefix}/{own}")
    }
}

/// A number in octal digits, or in binary when its first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (first, rest) = field.split_first()?;
        let start = u64::from(first & 0x7f);
        return rest.iter().try_fold(start, |sum, byte| {
            sum.checked_mul(256)?.checked_add(u64::from(*byte))
        });
    }
    let digits: Vec<u8> = field
        .iter()
        .copied()
        .skip_while(|byte| *byte == b' ')
        .take_while(|byte| !matches!(byte, 0 | b' '))
        .collect();
    if digits.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()
}

fn sum_is_right(block: &[u8]) -> bool {
    let sum = |byte: fn(u8) -> i64| -> i64 {
        let counted = block.iter().enumerate();
        counted
            .map(|(at, value)| {
                if (148..156).contains(&at) {
                    32
                } else {
                    byte(*value)
                }
            })
            .sum()
    };
    let written = number(&block[148..156]).and_then(|written| i64::try_from(written).ok());
    // Old writers added signed bytes.
    written == Some(sum(i64::from)) || written == Some(sum(|byte| i64::from(byte.cast_signed())))
}

#[cfg(test)]
mod tests;
