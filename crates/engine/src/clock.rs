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

/// What an `until` filter means: a span back from now (`24h`, `10m30s`), or a point in time.
///
/// A date without a zone means nothing certain here, and what it would select is deleted: it is none.
pub(crate) fn parse_until(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    match parse_span(text) {
        Some(span) => now.checked_sub(span),
        None => parse_moment(text),
    }
}

/// A span as Go's `time.ParseDuration` reads it: `1h30m`, `1.5h`, `300ms`, `-5s`, `0`.
fn parse_span(text: &str) -> Option<time::Duration> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if text == "0" {
        return Some(time::Duration::ZERO);
    }
    let mut rest = Some(text).filter(|text| !text.is_empty())?;
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (number, after) =
            rest.split_at(rest.find(|letter: char| letter != '.' && !letter.is_ascii_digit())?);
        let (unit, after) = after.split_at(
            after
                .find(|letter: char| letter == '.' || letter.is_ascii_digit())
                .unwrap_or(after.len()),
        );
        let unit: i128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let valid = |digits: &str| digits.len() <= 18 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !valid(whole) || !valid(fraction) {
            return None;
        }
        let amount: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
        total = total.checked_add(amount.checked_mul(unit)? / scale)?;
        rest = after;
    }
    i64::try_from(sign * total).ok().map(time::Duration::nanoseconds)
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
mod tests;
