//! The query string of a request: repeated keys, Go's idea of a boolean, JSON inside a value.
//!
//! Apart because the rules are those of Docker's own form parsing, not of any URL library: `rm=1`, `rm=true` and
//! `rm=True` are true, everything else but `""`, `0`, `no`, `false` and `none` too. Total: any bytes give some query.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// More pairs than any client sends; what follows is ignored.
const MOST_PAIRS: usize = 4096;

/// The decoded pairs, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(MOST_PAIRS)
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (
                    decode(key, Plus::IsSpace).into_owned(),
                    decode(value, Plus::IsSpace).into_owned(),
                )
            })
            .collect();
        Query { pairs }
    }

    /// The first value; an absent key and an empty value are the same to Docker.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(is_true)
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Failure> {
        self.get(key)
            .map(|value| {
                value.parse().map_err(|_| {
                    Failure::bad_request(format!(
                        "the query parameter {key}={value:?} is not a number of the right size"
                    ))
                })
            })
            .transpose()
    }

    /// A value that is JSON text, such as `buildargs` or `filters`.
    pub(crate) fn json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        self.get(key)
            .map(|value| {
                serde_json::from_str(value).map_err(|error| {
                    Failure::bad_request(format!(
                        "the query parameter {key} is not the JSON it should be: {error}"
                    ))
                })
            })
            .transpose()
    }
}

fn is_true(value: &str) -> bool {
    !matches!(
        value.trim().to_ascii_lowercase().as_str(),
        "" | "0" | "no" | "false" | "none"
    )
}

/// Whether `+` stands for a space: in a query it does, in a path it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plus {
    IsSpace,
    IsItself,
}

/// Percent-decodes; a broken escape stays as it is, bytes that are no UTF-8 become U+FFFD.
pub(crate) fn decode(text: &str, plus: Plus) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let hex = |offset: usize| {
            bytes
                .get(at + offset)
                .and_then(|digit| (*digit as char).to_digit(16))
        };
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                at += 2;
            }
            (b'+', _, _) if plus == Plus::IsSpace => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests;
