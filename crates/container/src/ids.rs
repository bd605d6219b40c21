//! Names of pods and containers: random, so that processes that share a data directory need not agree on them.

use std::fmt;
use std::str::FromStr;

/// A text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}: expected {length} lower-case hexadecimal digits")]
pub struct IdError {
    text: String,
    kind: &'static str,
    length: usize,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $length:literal, $uuids:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            pub(crate) fn random() -> Self {
                let text: String =
                    (0..$uuids).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
                Self(text.into())
            }

            /// All its digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if digits && text.len() == $length {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError { text: text.chars().take(80).collect(), kind: $kind, length: $length })
                }
            }
        }
    };
}

identifier!(
    /// A pod. Its lock and its directory carry this name.
    PodId, "pod id", 32, 1
);
identifier!(
    /// A container, by the kind of name that docker gives: 64 digits.
    ContainerId, "container id", 64, 2
);

impl ContainerId {
    /// The first twelve digits: what people read, and the container's default host name.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_and_nothing_else_is() {
        let id = ContainerId::random();
        assert_eq!(id.to_string().parse::<ContainerId>().unwrap(), id);
        assert_eq!(id.short().len(), 12);
        assert_ne!(id, ContainerId::random());
        assert_eq!(PodId::random().as_str().len(), 32);
        for text in [
            "",
            "../../etc",
            "ABCDEF0123456789ABCDEF0123456789",
            &"a".repeat(31),
            &"a".repeat(33),
        ] {
            assert!(text.parse::<PodId>().is_err(), "{text}");
        }
    }
}
