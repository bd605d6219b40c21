//! Ranges: what a client asks of a blob (`Range`), and where a chunk of an upload belongs (`Content-Range`).
//!
//! The protocol writes the second as `0-99`, HTTP as `bytes 0-99/*`; both are read.

/// Inclusive bounds that lie inside some content; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes it spans.
    pub fn length(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// What a `Range` header asks of content of a known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequest {
    /// Everything: no header, one that is not about bytes, or several ranges, which we answer in full as HTTP permits.
    Whole,
    /// This part.
    Part(ByteRange),
    /// Nothing that the content has: to be answered with 416.
    Unsatisfiable,
}

impl RangeRequest {
    /// Reads a `Range` header against the size of the content.
    pub fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(spec) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else {
            return Self::Whole;
        };
        if spec.contains(',') {
            return Self::Whole;
        }
        let Some((first, last)) = spec.split_once('-') else {
            return Self::Unsatisfiable;
        };
        let range = match (first.trim(), last.trim()) {
            ("", suffix) => number(suffix)
                .filter(|suffix| *suffix > 0 && size > 0)
                .map(|suffix| ByteRange {
                    first: size.saturating_sub(suffix),
                    last: size - 1,
                }),
            (first, "") => number(first)
                .filter(|first| *first < size)
                .map(|first| ByteRange {
                    first,
                    last: size - 1,
                }),
            (first, last) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last && first < size => Some(ByteRange {
                    first,
                    last: last.min(size - 1),
                }),
                _ => None,
            },
        };
        range.map_or(Self::Unsatisfiable, Self::Part)
    }
}

/// Where a chunk belongs, or which part of a blob an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
}

impl ContentRange {
    /// Reads `0-99`, `bytes 0-99/*` and `bytes=0-99/200`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text
            .strip_prefix("bytes")
            .map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
        let bounds = text.split('/').next()?;
        let (first, last) = bounds.split_once('-')?;
        let (first, last) = (number(first.trim())?, number(last.trim())?);
        (first <= last).then_some(Self { first, last })
    }

    /// How many bytes the chunk must have.
    pub fn length(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Digits only: `u64::from_str` would take a plus sign.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests;
