//! The `filters` parameter of list and prune requests: which of a set of things the client wants to see.
//!
//! Two spellings are in use: `{"name":{"x":true}}` and `{"name":["x"]}`. A filter this engine does not know is refused by
//! name: ignoring one would make `docker rm $(docker ps -aqf …)` remove what the user did not mean.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::failure::Failure;
use crate::query::Query;

/// The wanted values by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    wanted: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Set(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl Filters {
    /// Reads the parameter and refuses keys that are not in `known`.
    pub(crate) fn from_query(query: &Query, known: &[&str]) -> Result<Filters, Failure> {
        let Some(text) = query.json::<BTreeMap<String, Values>>("filters")? else {
            return Ok(Filters::default());
        };
        let mut wanted = BTreeMap::new();
        for (key, values) in text {
            if !known.contains(&key.as_str()) {
                return Err(Failure::bad_request(format!(
                    "invalid filter '{key}': this engine filters by {}",
                    if known.is_empty() {
                        "nothing here".to_owned()
                    } else {
                        known.join(", ")
                    }
                )));
            }
            let values = match values {
                Values::Set(set) => set
                    .into_iter()
                    .filter(|(_, wanted)| *wanted)
                    .map(|(value, _)| value)
                    .collect(),
                Values::List(list) => list,
            };
            wanted.insert(key, values);
        }
        Ok(Filters { wanted })
    }

    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.wanted.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether any wanted value satisfies `test`; a key that is not there lets everything through.
    pub(crate) fn admits(&self, key: &str, test: impl FnMut(&String) -> bool) -> bool {
        self.wanted
            .get(key)
            .is_none_or(|values| values.is_empty() || values.iter().any(test))
    }

    /// Labels are joined by and: `label=a` wants the key, `label=a=b` the pair.
    pub(crate) fn admits_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|actual| actual == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").iter().all(has) && !self.values("label!").iter().any(has)
    }

    /// `dangling=true` and its like: the wanted truth, if one was given.
    pub(crate) fn truth(&self, key: &str) -> Option<bool> {
        self.values(key)
            .first()
            .map(|value| matches!(value.as_str(), "true" | "1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(text: &str, known: &[&str]) -> Result<Filters, Failure> {
        let mut escaped = String::from("filters=");
        for byte in text.bytes() {
            escaped.push_str(&format!("%{byte:02x}"));
        }
        Filters::from_query(&Query::parse(&escaped), known)
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let set = filters(r#"{"name":{"web":true,"db":false}}"#, &["name"]).unwrap();
        let list = filters(r#"{"name":["web"]}"#, &["name"]).unwrap();
        assert_eq!(set, list);
        assert!(set.admits("name", |wanted| wanted == "web"));
        assert!(!set.admits("name", |wanted| wanted == "db"));
        assert!(set.admits("status", |_| false));
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = filters(r#"{"color":["red"]}"#, &["name", "id"]).unwrap_err();
        assert_eq!(
            error.message(),
            "invalid filter 'color': this engine filters by name, id"
        );
        assert!(filters("{", &[]).is_err());
        assert!(filters(r#"{"name":3}"#, &["name"]).is_err());
    }

    #[test]
    fn labels_are_joined_by_and() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        assert!(
            filters(r#"{"label":["a=1","b"]}"#, &["label"])
                .unwrap()
                .admits_labels(&labels)
        );
        assert!(
            !filters(r#"{"label":["a=2"]}"#, &["label"])
                .unwrap()
                .admits_labels(&labels)
        );
        assert!(
            !filters(r#"{"label!":["b"]}"#, &["label!"])
                .unwrap()
                .admits_labels(&labels)
        );
    }
}
