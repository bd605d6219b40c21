//! Durations as GitLab reads them (the `chronic_duration` gem): `3 mins 4 sec`, `2h20min`, `1:30`, `47 yrs 6 mos and 4d`, `60`.

use std::time::Duration;

/// Text that is no duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DurationError {
    /// A word that is no unit.
    #[error("`{word}` is no unit of time")]
    Unit {
        /// The word.
        word: String,
    },
    /// No number where one is expected.
    #[error("`{text}` is no duration")]
    Shape {
        /// The text.
        text: String,
    },
    /// More seconds than there will ever be.
    #[error("the duration is too long")]
    TooLong,
}

/// Parses a duration; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let shape = || DurationError::Shape {
        text: text.chars().take(40).collect(),
    };
    let lower = text.trim().to_lowercase();
    if lower.is_empty() || lower.len() > 200 {
        return Err(shape());
    }
    if lower.contains(':') {
        return clock(&lower).ok_or_else(shape);
    }
    let mut total = 0.0_f64;
    let mut rest = lower.as_str();
    let mut any = false;
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        rest = rest.strip_prefix("and ").unwrap_or(rest).trim_start();
        if rest.is_empty() {
            break;
        }
        let digits = rest
            .find(|character: char| !(character.is_ascii_digit() || character == '.'))
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after
            .find(|character: char| !character.is_alphabetic())
            .unwrap_or(after.len());
        let (word, after) = after.split_at(letters);
        let amount: f64 = number.parse().map_err(|_| match word {
            "" => shape(),
            word => DurationError::Unit {
                word: word.to_owned(),
            },
        })?;
        total += amount * unit(word)?;
        any = true;
        rest = after;
        if number.is_empty() {
            return Err(shape());
        }
    }
    if !any {
        return Err(shape());
    }
    Duration::try_from_secs_f64(total).map_err(|_| DurationError::TooLong)
}

fn unit(word: &str) -> Result<f64, DurationError> {
    Ok(match word {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        "mo" | "mos" | "month" | "months" => 2_592_000.0,
        "y" | "yr" | "yrs" | "year" | "years" => 31_557_600.0,
        word => {
            return Err(DurationError::Unit {
                word: word.to_owned(),
            });
        }
    })
}

fn clock(text: &str) -> Option<Duration> {
    let parts: Vec<u64> = text
        .split(':')
        .map(|part| part.trim().parse().ok())
        .collect::<Option<_>>()?;
    let seconds = parts
        .iter()
        .try_fold(0u64, |sum, part| sum.checked_mul(60)?.checked_add(*part))?;
    (parts.len() <= 3).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_gitlab_reads_them() {
        for (text, seconds) in [
            ("3 mins 4 sec", 184),
            ("2h20min", 8400),
            ("2 hrs 20 min", 8400),
            ("1h", 3600),
            ("6 mos 1 day", 15_638_400),
            ("47 yrs 6 mos and 4d", 1_499_104_800),
            ("3 weeks and 2 days", 1_987_200),
            ("1:30", 90),
            ("60", 60),
            ("1.5 hours", 5400),
            ("1 day, 2 hours", 93_600),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "soon",
            "1 fortnight",
            "-1 h",
            "1:2:3:4",
            "99999999999999999999999 years",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
