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
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_part_lies_inside(header in "bytes=[0-9]{0,21}-[0-9]{0,21}|\\PC*", size: u64) {
            if let RangeRequest::Part(range) = RangeRequest::parse(Some(&header), size) {
                prop_assert!(range.first <= range.last && range.last < size);
            }
            let _ = ContentRange::parse(&header).map(|range| range.length());
        }
    }

    #[test]
    fn ranges_of_ten_bytes() {
        let part = |first, last| RangeRequest::Part(ByteRange { first, last });
        for (header, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-5", part(2, 5)),
            ("bytes=2-", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=5-500", part(5, 9)),
            ("bytes=10-", RangeRequest::Unsatisfiable),
            ("bytes=10-12", RangeRequest::Unsatisfiable),
            ("bytes=500-0", RangeRequest::Unsatisfiable),
            ("bytes=-0", RangeRequest::Unsatisfiable),
            ("bytes=a-b", RangeRequest::Unsatisfiable),
            ("bytes=+1-2", RangeRequest::Unsatisfiable),
            ("bytes=", RangeRequest::Unsatisfiable),
            ("bytes=0-1,4-5", RangeRequest::Whole),
            ("lines=0-1", RangeRequest::Whole),
            ("bytes=0-99999999999999999999", RangeRequest::Unsatisfiable),
        ] {
            assert_eq!(RangeRequest::parse(Some(header), 10), expected, "{header}");
        }
        assert_eq!(
            RangeRequest::parse(Some("bytes=0-0"), 0),
            RangeRequest::Unsatisfiable
        );
        assert_eq!(
            RangeRequest::parse(Some("bytes=-1"), 0),
            RangeRequest::Unsatisfiable
        );
        assert_eq!(RangeRequest::parse(None, 0), RangeRequest::Whole);
    }

    #[test]
    fn chunks() {
        let expected = Some(ContentRange { first: 5, last: 9 });
        for text in ["5-9", "bytes 5-9/*", "bytes=5-9/10", " 5-9 "] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
        for text in ["", "5", "9-5", "-5", "5-", "a-b", "bytes */10"] {
            assert_eq!(ContentRange::parse(text), None, "{text}");
        }
        assert_eq!(
            ContentRange {
                first: 0,
                last: u64::MAX
            }
            .length(),
            u64::MAX
        );
    }
}
