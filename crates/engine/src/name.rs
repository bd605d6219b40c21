//! What containers, volumes and networks may be called, and what they are called when nobody says.
//!
//! Docker's own rule (`[a-zA-Z0-9][a-zA-Z0-9_.-]+`): such a name is safe as a path component, as a DNS label and in a
//! message. Identifiers are 64 hexadecimal digits, as clients expect to shorten them to 12.

use std::fmt;
use std::str::FromStr;

const LONGEST: usize = 128;

/// A name of a container, volume or network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ResourceName(String);

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid name ({name:?}): a name has 2 to {LONGEST} characters, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
)]
pub(crate) struct NameError {
    name: String,
}

impl ResourceName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// `adjective_noun`, or the same with a number once the plain ones are taken.
    pub(crate) fn generate(taken: impl Fn(&ResourceName) -> bool) -> ResourceName {
        let pick = |words: &[&'static str]| {
            words
                .get(rand::random_range(0..words.len()))
                .copied()
                .unwrap_or("plain")
        };
        for attempt in 0..64 {
            let mut name = format!("{}_{}", pick(ADJECTIVES), pick(NOUNS));
            if attempt > 4 {
                name.push_str(&rand::random_range(0..100_000u32).to_string());
            }
            let name = ResourceName(name);
            if !taken(&name) {
                return name;
            }
        }
        ResourceName(identifier())
    }
}

impl FromStr for ResourceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ResourceName, NameError> {
        let error = || NameError {
            name: text.chars().take(LONGEST).collect(),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let (first, rest) = text.as_bytes().split_first().ok_or_else(error)?;
        if !first.is_ascii_alphanumeric()
            || rest.is_empty()
            || text.len() > LONGEST
            || !rest.iter().copied().all(allowed)
        {
            return Err(error());
        }
        Ok(ResourceName(text.to_owned()))
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A new random identifier of 64 hexadecimal digits.
pub(crate) fn identifier() -> String {
    rand::random::<[u8; 32]>()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
            text
        })
}

/// The 12 digits people see.
pub(crate) fn short(identifier: &str) -> &str {
    identifier.get(..12).unwrap_or(identifier)
}

const ADJECTIVES: &[&str] = &[
    "able", "brave", "bright", "brisk", "calm", "candid", "clever", "cosy", "eager", "early", "fair", "fond",
    "gentle", "glad", "grand", "happy", "honest", "humble", "jolly", "keen", "kind", "lively", "lucid",
    "merry", "mild", "modest", "neat", "nimble", "noble", "patient", "plucky", "polite", "proud", "quick",
    "quiet", "ready", "sharp", "silent", "sincere", "sleek", "snug", "steady", "sunny", "swift", "tidy",
    "trusty", "vivid", "warm", "wise", "witty",
];

const NOUNS: &[&str] = &[
    "anchor", "barge", "beacon", "berth", "bollard", "bow", "brig", "buoy", "cargo", "clipper", "compass",
    "convoy", "crane", "crew", "cutter", "davit", "deck", "dinghy", "dock", "ferry", "fleet", "frigate",
    "galley", "gangway", "harbour", "hatch", "hawser", "helm", "hull", "jetty", "keel", "ketch", "lantern",
    "lighter", "lugger", "mast", "mooring", "oar", "pier", "pilot", "quay", "rigging", "rudder", "sail",
    "schooner", "sextant", "sloop", "tender", "tiller", "trawler", "tug", "wharf", "winch", "yawl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_rule_is_kept() {
        for good in ["ab", "a.b", "A-1_x", "web1"] {
            assert_eq!(good.parse::<ResourceName>().unwrap().as_str(), good);
        }
        for bad in ["", "a", "-a", ".a", "..", "a/b", "a b", "ä1", &"x".repeat(129)] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn generated_names_are_names_and_avoid_those_taken() {
        let name = ResourceName::generate(|_| false);
        assert_eq!(name.as_str().parse::<ResourceName>().unwrap(), name);
        let other =
            ResourceName::generate(|name| !name.as_str().ends_with(|last: char| last.is_ascii_digit()));
        assert!(other.as_str().ends_with(|last: char| last.is_ascii_digit()));
        assert_eq!(ResourceName::generate(|_| true).as_str().len(), 64);
    }

    #[test]
    fn identifiers_are_hexadecimal_and_differ() {
        let (one, two) = (identifier(), identifier());
        assert!(one != two && one.len() == 64 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(short(&one).len(), 12);
    }

    /// Whatever is taken for a name is safe as a file's.
    #[test]
    fn foreign_names() {
        shipway_testkit::Foreign::near(["web", "my_cache.v1-2", "..", "a/b"]).check_text(|text| {
            if let Ok(name) = text.parse::<ResourceName>() {
                assert_eq!(name.as_str(), text);
                let mut parts = std::path::Path::new(text).components();
                assert!(matches!(parts.next(), Some(std::path::Component::Normal(part)) if part == text));
            }
        });
    }
}
