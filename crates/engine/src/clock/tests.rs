//! Spans and moments in docker's spellings.

use super::*;

#[test]
fn spans_read_as_docker_writes_them() {
    for (seconds, text) in [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (125, "2 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (86400 * 3, "3 days"),
        (86400 * 21, "3 weeks"),
        (86400 * 365 * 3, "3 years"),
    ] {
        assert_eq!(human(time::Duration::seconds(seconds)), text);
    }
}

#[test]
fn until_is_a_span_back_or_a_moment() {
    let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    for (text, back) in [
        ("24h", 86_400.0),
        ("10m30s", 630.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("300ms", 0.3),
        ("-5s", -5.0),
        ("0", 0.0),
        ("1699999000", 1000.0),
        ("2023-11-14T22:13:19Z", 1.0),
        ("2023-11-14T22:13:19+01:00", 3601.0),
    ] {
        let expected = now - time::Duration::seconds_f64(back);
        assert_eq!(parse_until(text, now), Some(expected), "{text}");
    }
    for text in [
        "",
        "-",
        "h",
        ".h",
        "24x",
        "1h 2m",
        "1.2.3s",
        "yesterday",
        "2023-11-14",
        "2023-11-14T22:13:19",
        "99999999999999999h",
        "999999999999999999999999999999h",
    ] {
        assert_eq!(parse_until(text, now), None, "{text}");
    }
}

#[test]
fn moments_are_seconds_or_rfc_3339() {
    let moment = parse_moment("1700000000.5").unwrap();
    assert_eq!(moment.unix_timestamp_nanos(), 1_700_000_000_500_000_000);
    assert_eq!(parse_moment("2023-11-14T22:13:20.5Z"), Some(moment));
    assert_eq!(rfc3339(Some(moment)), "2023-11-14T22:13:20.5Z");
    assert!(parse_moment("soon").is_none() && parse_moment("99999999999999999999").is_none());
    assert_eq!(rfc3339(None), "0001-01-01T00:00:00Z");
}

/// What is read as a moment is that moment when it is written; no span overflows.
#[test]
fn foreign_moments() {
    let seeds = [
        "1700000000",
        "1700000000.123456789",
        "2024-01-02T03:04:05.678Z",
        "2024-01-02T03:04:05+14:00",
        "1h30m1.5s",
        "-300ms",
        "24h",
    ];
    let now = OffsetDateTime::UNIX_EPOCH;
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        if let Some(moment) = parse_moment(text)
            && moment.to_offset(time::UtcOffset::UTC).year() > 0
        {
            assert_eq!(parse_moment(&rfc3339(Some(moment))), Some(moment), "{text}");
        }
        let _ = parse_until(text, now);
    });
}
