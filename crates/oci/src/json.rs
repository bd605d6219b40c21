//! How JSON that others wrote is read: `null` where Go writes it for "nothing", sets as objects with empty values.

use std::collections::BTreeSet;

use serde::de::IgnoredAny;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value could not be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the {what} as JSON")]
pub struct EncodeError {
    /// What was to be written.
    pub what: &'static str,
    /// The encoder's own words.
    #[source]
    pub source: serde_json::Error,
}

pub(crate) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, EncodeError> {
    serde_json::to_vec(value).map_err(|source| EncodeError { what, source })
}

/// `null` and a missing field are the default: Go writes `null` for an empty list.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `{"80/tcp": {}}` is the set of its keys.
pub(crate) mod key_set {
    use super::{BTreeSet, Deserialize, Deserializer, IgnoredAny, SerializeMap, Serializer};

    pub(crate) fn serialize<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(set.len()))?;
        for key in set {
            map.serialize_entry(key, &serde_json::Map::new())?;
        }
        map.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        let map = Option::<std::collections::BTreeMap<String, IgnoredAny>>::deserialize(deserializer)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}
