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
mod tests;
