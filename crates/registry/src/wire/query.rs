//! The query of a URL and the body of a form: the same grammar.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// More pairs than any request of the protocol has; the rest is ignored.
const MOST_PAIRS: usize = 256;

/// Decoded pairs in the order in which they came; a key may come several times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads `a=b&c=d`. Total: what is no escape stands for itself.
    pub fn parse(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .take(MOST_PAIRS)
            .collect();
        Self { pairs }
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Appends a pair.
    pub fn push(&mut self, key: &str, value: &str) {
        self.pairs.push((key.to_owned(), value.to_owned()));
    }

    /// As it stands in a URL, without the question mark.
    pub fn encode(&self) -> String {
        let pairs: Vec<String> = self
            .pairs
            .iter()
            .map(|(key, value)| format!("{}={}", encode_component(key), encode_component(value)))
            .collect();
        pairs.join("&")
    }
}

/// What a query may hold as it is: the unreserved characters, and `:` and `/`, which digests, scopes and names are full of.
const PLAIN: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/');

/// Escapes all else.
pub fn encode_component(text: &str) -> String {
    utf8_percent_encode(text, &PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_is_total(text in "[a-c=&%+0-9]{0,40}|\\PC*") {
            let _ = Query::parse(&text);
        }

        #[test]
        fn pairs_are_read_back(pairs in prop::collection::vec(("\\PC{1,9}", "\\PC{0,9}"), 0..9)) {
            let mut query = Query::default();
            pairs.iter().for_each(|(key, value)| query.push(key, value));
            prop_assert_eq!(Query::parse(&query.encode()), query);
        }
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let mut query = Query::default();
        query.push("scope", "repository:a/b:pull,push");
        query.push("scope", "ä + ü = %&");
        query.push("empty", "");
        assert_eq!(Query::parse(&query.encode()), query);
        assert_eq!(query.all("scope").count(), 2);
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        let query = Query::parse("a=%&b=%2&c=%zz&d=1+2&=x&e&&%61=%C3");
        assert_eq!(query.get("a"), Some("%"));
        assert_eq!(query.get("b"), Some("%2"));
        assert_eq!(query.get("c"), Some("%zz"));
        assert_eq!(query.get("d"), Some("1 2"));
        assert_eq!(query.get("e"), Some(""));
        assert_eq!(Query::parse(&"a&".repeat(100_000)).pairs.len(), MOST_PAIRS);
    }

    /// What is read and encoded is read as the same again.
    #[test]
    fn foreign_queries() {
        let seeds = [
            "n=100&last=a%2Fb",
            "digest=sha256:ab&mount=x&from=y+z",
            "%zz=%&=&a",
        ];
        shipway_testkit::Foreign::near(seeds).check_text(|text| {
            let query = Query::parse(text);
            assert_eq!(Query::parse(&query.encode()).encode(), query.encode());
        });
    }
}
