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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_decoded_and_repeated_keys_kept_in_order() {
        let query = Query::parse("t=a%2Fb%3A1&t=c&q=1&nocache=0&rm=&x=a+b&y=%zz%4");
        assert_eq!(query.all("t").collect::<Vec<_>>(), ["a/b:1", "c"]);
        assert!(query.flag("q"));
        assert!(!query.flag("nocache"));
        assert!(!query.flag("rm"));
        assert_eq!(query.get("x"), Some("a b"));
        assert_eq!(query.get("y"), Some("%zz%4"));
        assert_eq!(query.get("absent"), None);
    }

    #[test]
    fn build_arguments_may_be_null() {
        let query = Query::parse("buildargs=%7B%22A%22%3A%221%22%2C%22B%22%3Anull%7D");
        let arguments: std::collections::BTreeMap<String, Option<String>> =
            query.json("buildargs").unwrap().unwrap();
        assert_eq!(arguments["A"], Some("1".to_owned()));
        assert_eq!(arguments["B"], None);
        assert!(
            Query::parse("buildargs=%7B")
                .json::<serde_json::Value>("buildargs")
                .is_err()
        );
    }

    #[test]
    fn numbers_of_the_wrong_size_are_refused_by_name() {
        let error = Query::parse("h=70000").number::<u16>("h").unwrap_err();
        assert!(error.message().contains("h=\"70000\""));
        assert_eq!(Query::parse("h=24").number::<u16>("h").unwrap(), Some(24));
    }

    #[test]
    fn a_plus_in_a_path_is_itself() {
        assert_eq!(decode("a+b%20c", Plus::IsItself), "a+b c");
    }

    proptest! {
        #[test]
        fn any_text_is_some_query(text in "\\PC{0,200}") {
            let query = Query::parse(&text);
            let _ = (query.get("a"), query.flag("a"), query.number::<u16>("a").is_ok());
        }

        #[test]
        fn what_was_escaped_comes_back(value in "\\PC{0,40}") {
            let escaped: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let query = Query::parse(&format!("key={escaped}"));
            prop_assert_eq!(query.all("key").next(), Some(value.as_str()));
        }
    }
}
