//! Points in time as the API writes them, and spans as `docker ps` reads them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339 with nanoseconds, as Go marshals a time; the year 1 stands for never.
pub(crate) fn rfc3339(moment: Option<OffsetDateTime>) -> String {
    moment
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned())
}

/// Seconds since 1970, with an optional fraction: what `since` and `until` hold.
pub(crate) fn parse_moment(text: &str) -> Option<OffsetDateTime> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(moment);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: i128 = digits.parse::<u32>().ok()?.into();
    let seconds: i64 = seconds.parse().ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(
        i128::from(seconds)
            .checked_mul(1_000_000_000)?
            .checked_add(nanoseconds)?,
    )
    .ok()
}

/// `5 minutes`, in the words of Docker's clients, which scripts compare with.
pub(crate) fn human(span: time::Duration) -> String {
    let seconds = span.whole_seconds();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
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
    fn moments_are_seconds_or_rfc_3339() {
        let moment = parse_moment("1700000000.5").unwrap();
        assert_eq!(moment.unix_timestamp_nanos(), 1_700_000_000_500_000_000);
        assert_eq!(parse_moment("2023-11-14T22:13:20.5Z"), Some(moment));
        assert_eq!(rfc3339(Some(moment)), "2023-11-14T22:13:20.5Z");
        assert!(parse_moment("soon").is_none() && parse_moment("99999999999999999999").is_none());
        assert_eq!(rfc3339(None), "0001-01-01T00:00:00Z");
    }
}
