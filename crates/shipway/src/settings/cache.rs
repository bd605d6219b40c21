//! `[cache]` of `shipway.toml`.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use shipway_container::ByteSize;

use super::size;
use crate::arguments::span;

/// As long as caches of jobs are kept.
const USUALLY_UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `[cache]`: how much of the build cache is kept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CacheSettings {
    /// The bytes of all layers that it keeps; any amount without. What was used longest ago goes first.
    #[serde(deserialize_with = "size")]
    pub(crate) max_used_space: Option<ByteSize>,
    /// For how long a result is kept that no build uses; 30 days without, `0` for ever.
    #[serde(deserialize_with = "time")]
    max_unused: Option<Duration>,
}

impl CacheSettings {
    /// For how long; zero is for ever.
    pub(crate) fn max_unused(&self) -> Duration {
        self.max_unused.unwrap_or(USUALLY_UNUSED)
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    span(&text).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_a_size_and_a_time() {
        let settings: CacheSettings =
            toml::from_str("max_used_space = \"10GB\"\nmax_unused = \"12h\"").unwrap();
        assert_eq!(settings.max_used_space.unwrap().get(), 10 << 30);
        assert_eq!(settings.max_unused(), Duration::from_secs(12 * 3600));
        assert_eq!(CacheSettings::default().max_unused(), USUALLY_UNUSED);
        assert!(toml::from_str::<CacheSettings>("max_unused = \"soon\"").is_err());
        assert!(toml::from_str::<CacheSettings>("keep = \"1GB\"").is_err());
    }
}
