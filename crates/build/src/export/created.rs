//! When an image was made: a time that is the same for the same build.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// 1980-01-01: the time of everything when nobody gives one. Earlier ones are refused by zip.
pub(crate) const FIXED_EPOCH: i64 = 315_532_800;

/// Seconds since 1970 as an image's configuration writes them.
pub(crate) fn timestamp(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339)
        .unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(timestamp(FIXED_EPOCH), "1980-01-01T00:00:00Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(i64::MAX), "1970-01-01T00:00:00Z");
    }
}
