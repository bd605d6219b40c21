//! Names of jobs and stages: never bare strings, never longer than GitLab allows.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name, in characters.
const LIMIT: usize = 255;

/// A name that GitLab would refuse.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("the name is empty")]
    Empty,
    /// Too long to be stored.
    #[error("the name has {length} characters, the limit is {LIMIT}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It would change the terminal, the log or the page that shows it.
    #[error("the name has a control character (U+{code:04X}) in it")]
    Control {
        /// Which one.
        code: u32,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let length = text.chars().count();
                if text.trim().is_empty() {
                    Err(NameError::Empty)
                } else if length > LIMIT {
                    Err(NameError::TooLong { length })
                } else if let Some(control) = text.chars().find(|letter| letter.is_control()) {
                    Err(NameError::Control { code: control.into() })
                } else {
                    Ok(Self(text.into()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a job, as the pipeline shows it: with its position or matrix values when it is one of several.
    JobName
}
name! {
    /// The name of a stage.
    StageName
}
