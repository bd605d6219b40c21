//! Registries that answer for others, and how people write where they are.

use std::str::FromStr;

use shipway_oci::{NameError, RegistryName};

/// A registry that answers for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The registry whose images are asked for.
    pub of: RegistryName,
    /// The mirror.
    pub at: RegistryName,
}

/// Where a mirror is: `NAME`, `https://NAME` or `http://NAME`, as docker's `registry-mirrors` have it but for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorAddress {
    /// Its name.
    pub at: RegistryName,
    /// Whether it speaks plain HTTP, which makes it an insecure registry.
    pub plain: bool,
}

/// A text that is no [`MirrorAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMirror {
    /// A user name or a password is in it: a mirror is shown none. What may be one is not repeated.
    #[error("the mirror `{at}`: leave out what is before the `@`, mirrors are asked without a password")]
    Credentials {
        /// What follows them.
        at: String,
    },
    /// It begins with another scheme.
    #[error("the mirror `{text}`: use `https://NAME` or `http://NAME`")]
    Scheme {
        /// All of it.
        text: String,
    },
    /// What follows the scheme is no registry's name.
    #[error("the mirror `{text}` is not `https://NAME` or `http://NAME`")]
    Name {
        /// All of it.
        text: String,
        /// What is wrong with the name.
        source: NameError,
    },
}

impl FromStr for MirrorAddress {
    type Err = InvalidMirror;

    fn from_str(text: &str) -> Result<Self, InvalidMirror> {
        if let Some((_, at)) = text.rsplit_once('@') {
            return Err(InvalidMirror::Credentials { at: at.to_owned() });
        }
        let (plain, name) = match text.split_once("://") {
            Some(("http", name)) => (true, name),
            Some(("https", name)) => (false, name),
            None => (false, text),
            Some(_) => {
                return Err(InvalidMirror::Scheme {
                    text: text.to_owned(),
                });
            }
        };
        let at = name.trim_end_matches('/').parse();
        let at = at.map_err(|source| InvalidMirror::Name {
            text: text.to_owned(),
            source,
        })?;
        Ok(Self { at, plain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_name_and_perhaps_a_scheme() {
        for (text, at, plain) in [
            ("m.example", "m.example", false),
            ("https://m.example/", "m.example", false),
            ("http://n.example:5000", "n.example:5000", true),
        ] {
            let at = at.parse().unwrap();
            assert_eq!(text.parse(), Ok(MirrorAddress { at, plain }), "{text}");
        }
        for wrong in ["ftp://m.example", "https://m.example/path", ""] {
            assert!(wrong.parse::<MirrorAddress>().is_err(), "{wrong}");
        }
        let refused = "https://ada:pw@m.example".parse::<MirrorAddress>().unwrap_err();
        assert!(!refused.to_string().contains("pw"), "{refused}");
    }
}
