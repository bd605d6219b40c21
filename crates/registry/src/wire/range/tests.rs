//! Parts and chunks: what lies inside, what does not, what is no range.

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

/// A part lies inside whatever it is of.
#[test]
fn foreign_ranges() {
    let seeds = [
        "bytes=0-99",
        "bytes=5-",
        "bytes=-3",
        "0-99",
        "bytes 0-99/*",
        "bytes=0-99/200",
    ];
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        for size in [0, 1, 100, u64::MAX] {
            if let RangeRequest::Part(range) = RangeRequest::parse(Some(text), size) {
                assert!(range.first <= range.last && range.last < size && range.length() <= size);
            }
        }
        if let Some(range) = ContentRange::parse(text) {
            assert!(range.first <= range.last && range.length() > 0);
        }
    });
}
