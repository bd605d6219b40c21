//! The query string of a request: repeated keys, Go's idea of a boolean, JSON inside a value.
//!
//! Apart because the rules are those of Docker's own form parsing, not of any URL library: `rm=1`, `rm=true` and
//! `rm=True` are true, everything else but `""`, `0`, `no`, `false` and `none` too. Total: any bytes give some query.

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
        let pairs = form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .take(MOST_PAIRS)
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

#[cfg(test)]
mod tests;
