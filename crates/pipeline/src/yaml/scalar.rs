//! What a plain scalar means, as Psych's `ScalarScanner` decides it, test by test and in its order.
//!
//! The oddities are Psych's and kept: `1:30` is 5400 (the first part counts as hours), `1e3` is a string, `y` is a string,
//! `0o17` and `017` are octal, commas and underscores vanish from numbers, and an unquoted date is refused because GitLab
//! lets no `Date` through.

use std::sync::LazyLock;

use regex::Regex;

/// The meaning of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    /// Decimal digits with an optional minus sign: Ruby's integers have no upper bound.
    Integer(String),
    Float(f64),
    /// The scalar is its text.
    Text,
}

/// A scalar that GitLab does not load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    Date,
    Time,
}

struct Patterns {
    word: Regex,
    time: Regex,
    date: Regex,
    sexagesimal: Regex,
    sexagesimal_float: Regex,
    float: Regex,
    integer: Regex,
}

// A pattern that does not compile would make every scalar text; the tests below would fail, so it cannot be shipped.
static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    Some(Patterns {
        word: Regex::new(r"(?m)^[^\d.:\-]?[\p{Alphabetic}_\s!@#$%^&*(){}<>|/\\~;=]+").ok()?,
        time: Regex::new(
            r"(?m)^-?\d{4}-\d{1,2}-\d{1,2}(?:[Tt]|\s+)\d{1,2}:\d\d:\d\d(?:\.\d*)?(?:\s*(?:Z|[-+]\d{1,2}:?(\d\d)?))?$",
        )
        .ok()?,
        date: Regex::new(r"(?m)^[0-9]{4}-(?:1[012]|0[0-9]|[0-9])-(?:[12][0-9]|3[01]|0[0-9]|[0-9])$").ok()?,
        sexagesimal: Regex::new(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}$").ok()?,
        sexagesimal_float: Regex::new(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}\.[0-9_]*$").ok()?,
        float: Regex::new(r"^[-+]?(?:[0-9][0-9_,]*)?\.[0-9]*(?:[eE][+-][0-9]+)?$").ok()?,
        integer: Regex::new(
            r"^(?:[-+]?0[b][01_]+|[-+]?0[o]?[0-7_]+|[-+]?(?:0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)|[-+]?0[x][0-9a-fA-F_]+)$",
        )
        .ok()?,
    })
});

/// Resolves a plain scalar.
pub(crate) fn resolve(text: &str) -> Result<Resolved, Refused> {
    let Some(patterns) = PATTERNS.as_ref() else {
        return Ok(Resolved::Text);
    };
    if text.is_empty() {
        return Ok(Resolved::Null);
    }
    if text.contains('\n') || patterns.word.is_match(text) {
        return Ok(word(text));
    }
    if patterns.time.is_match(text) {
        return Err(Refused::Time);
    }
    if patterns.date.is_match(text) {
        return Err(Refused::Date);
    }
    match text.to_ascii_lowercase().as_str() {
        ".inf" | "+.inf" => return Ok(Resolved::Float(f64::INFINITY)),
        "-.inf" => return Ok(Resolved::Float(f64::NEG_INFINITY)),
        ".nan" => return Ok(Resolved::Float(f64::NAN)),
        _ => {}
    }
    if patterns.sexagesimal.is_match(text) {
        return Ok(sexagesimal(text));
    }
    if patterns.sexagesimal_float.is_match(text) {
        return Ok(Resolved::Float(
            text.split(':')
                .zip([3600.0, 60.0, 1.0])
                .map(|(part, unit)| number(part) * unit)
                .sum(),
        ));
    }
    if patterns.float.is_match(text) {
        return Ok(match text {
            "." | "+." | "-." => Resolved::Text,
            _ => Resolved::Float(number(text)),
        });
    }
    if patterns.integer.is_match(text) {
        return Ok(integer(text).map_or(Resolved::Text, Resolved::Integer));
    }
    Ok(Resolved::Text)
}

fn word(text: &str) -> Resolved {
    match text.to_ascii_lowercase().as_str() {
        "~" | "null" => Resolved::Null,
        "yes" | "true" | "on" => Resolved::Bool(true),
        "no" | "false" | "off" => Resolved::Bool(false),
        _ => Resolved::Text,
    }
}

fn number(text: &str) -> f64 {
    let clean: String = text
        .chars()
        .filter(|character| !matches!(character, ',' | '_'))
        .collect();
    clean.parse().unwrap_or(0.0)
}

fn sexagesimal(text: &str) -> Resolved {
    let total: Option<i128> = text
        .split(':')
        .zip([3600_i128, 60, 1])
        .map(|(part, unit)| part.replace('_', "").parse::<i128>().ok()?.checked_mul(unit))
        .try_fold(0_i128, |sum, part| sum.checked_add(part?));
    total.map_or(Resolved::Text, |total| Resolved::Integer(total.to_string()))
}

fn integer(text: &str) -> Option<String> {
    let clean: String = text
        .chars()
        .filter(|character| !matches!(character, ',' | '_'))
        .collect();
    let (negative, digits) = match clean.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, clean.strip_prefix('+').unwrap_or(&clean)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'b', ..] => (2, digits.get(2..)?),
        [b'0', b'o', ..] => (8, digits.get(2..)?),
        [b'0', b'x', ..] => (16, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    let magnitude = if radix == 10 {
        digits.to_owned()
    } else {
        u128::from_str_radix(digits, radix).ok()?.to_string()
    };
    Some(if negative && magnitude != "0" {
        format!("-{magnitude}")
    } else {
        magnitude
    })
}

/// A float as Ruby's `Float#to_s` prints it: shortest digits, positional from 1e-4 up to 1e16, always with a fraction.
pub(crate) fn ruby_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        let text = value.to_string();
        return if text.contains('.') {
            text
        } else {
            format!("{text}.0")
        };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let mantissa = if mantissa.contains('.') {
        mantissa.to_owned()
    } else {
        format!("{mantissa}.0")
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests;
