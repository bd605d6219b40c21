//! The JSON of the API: what clients send and what they read, with Docker's field names.
//!
//! Apart from the handlers so that the wire's oddities stay here: `null` for an absent list, a string where a list may
//! stand, ports as keys. What comes in is read leniently and bounded by the body limit; what goes out is always whole.

pub(crate) mod create;

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default, as Go's decoder does.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A list of words that old clients send as one string.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Words {
    One(String),
    Many(Vec<String>),
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Vec<String> {
        match words {
            Words::One(word) => vec![word],
            Words::Many(words) => words,
        }
    }
}
