//! The `filters` parameter of list and prune requests: which of a set of things the client wants to see.
//!
//! Two spellings are in use: `{"name":{"x":true}}` and `{"name":["x"]}`. A filter this engine does not know is refused by
//! name: ignoring one would make `docker rm $(docker ps -aqf …)` remove what the user did not mean. For the same reason a
//! value of a truth or of a time that is neither is refused, before anything is looked at.

use std::collections::BTreeMap;

use serde::Deserialize;
use time::OffsetDateTime;

use crate::clock::parse_until;
use crate::failure::Failure;
use crate::query::Query;

/// The filters whose only values are true and false.
const TRUTHS: &[&str] = &["all", "dangling", "is-task"];

/// The wanted values by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    wanted: BTreeMap<String, Vec<String>>,
    until: Option<OffsetDateTime>,
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
            let values: Vec<String> = match values {
                Values::Set(set) => set
                    .into_iter()
                    .filter(|(_, wanted)| *wanted)
                    .map(|(value, _)| value)
                    .collect(),
                Values::List(list) => list,
            };
            if TRUTHS.contains(&key.as_str())
                && let Some(value) = values.iter().find(|value| truth(value).is_none())
            {
                return Err(Failure::bad_request(format!(
                    "invalid filter '{key}={value}': it is true or false"
                )));
            }
            wanted.insert(key, values);
        }
        let until = match wanted.get("until").map(Vec::as_slice) {
            None | Some([]) => None,
            Some([text]) => Some(parse_until(text, OffsetDateTime::now_utc()).ok_or_else(|| {
                Failure::bad_request(format!(
                    "invalid filter 'until={text}': it is a span back from now (24h, 10m30s), seconds since 1970, or a \
                     time with its zone (2006-01-02T15:04:05Z)"
                ))
            })?),
            Some(_) => {
                return Err(Failure::bad_request("invalid filter 'until': give one, not several"));
            }
        };
        Ok(Filters { wanted, until })
    }

    /// `until`: what came later is not meant.
    pub(crate) fn admits_moment(&self, created: OffsetDateTime) -> bool {
        self.until.is_none_or(|until| created <= until)
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
        self.values(key).first().and_then(|value| truth(value))
    }
}

fn truth(value: &str) -> Option<bool> {
    match value {
        "true" | "True" | "TRUE" | "t" | "1" => Some(true),
        "false" | "False" | "FALSE" | "f" | "0" => Some(false),
        _ => None,
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
    fn a_value_that_means_nothing_is_refused() {
        let known = &["dangling", "until"];
        for text in [
            r#"{"dangling":["perhaps"]}"#,
            r#"{"until":["soon"]}"#,
            r#"{"until":["2023-11-14"]}"#,
            r#"{"until":["1h","2h"]}"#,
        ] {
            assert_eq!(filters(text, known).unwrap_err().status(), 400, "{text}");
        }
        let found = filters(r#"{"dangling":["0"]}"#, known).unwrap();
        assert_eq!(found.truth("dangling"), Some(false));
    }

    #[test]
    fn until_leaves_what_came_later() {
        let now = OffsetDateTime::now_utc();
        let found = filters(r#"{"until":["1h"]}"#, &["until"]).unwrap();
        assert!(found.admits_moment(now - time::Duration::hours(2)));
        assert!(!found.admits_moment(now));
        assert!(Filters::default().admits_moment(now));
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
