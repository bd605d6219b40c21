//! How a layer is compressed.

use std::fmt;

use shipway_oci::media_type;

/// A compression with its level. Each gives the same bytes for the same tar on any machine; a change of what one gives is a change of
/// every digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// None: the tar itself.
    Uncompressed,
    /// One gzip member, level 0 to 9.
    Gzip(u32),
    /// zstd frames, level 1 to 22.
    Zstd(i32),
    /// gzip with a table of contents, level 0 to 9.
    Estargz(u32),
}

/// What is no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// Nobody knows its name.
    #[error("there is no compression `{name}`: use gzip, estargz, zstd or uncompressed")]
    Name {
        /// As written.
        name: String,
    },
    /// It has no such level.
    #[error("{name} has no level {level}: use {least} to {most}")]
    Level {
        /// The compression.
        name: &'static str,
        /// As written.
        level: i32,
        /// The lowest one.
        least: i32,
        /// The highest one.
        most: i32,
    },
}

/// Every layer of a year of builds has it: see `docs/decisions/0007-gzip-level.md`.
const GZIP_LEVEL: u32 = 5;
const ZSTD_LEVEL: i32 = 3;

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip(GZIP_LEVEL)
    }
}

impl Compression {
    /// By its name and its level, if one is wanted.
    ///
    /// # Errors
    /// When there is no such one.
    pub fn new(name: &str, level: Option<i32>) -> Result<Self, CompressionError> {
        let within = |name, least: i32, most: i32| match level {
            Some(level) if !(least..=most).contains(&level) => Err(CompressionError::Level {
                name,
                level,
                least,
                most,
            }),
            level => Ok(level),
        };
        match name {
            // A level of nothing is passed over, as BuildKit does.
            "uncompressed" => Ok(Self::Uncompressed),
            "gzip" => {
                let level = within("gzip", 0, 9)?.and_then(|level| u32::try_from(level).ok());
                Ok(Self::Gzip(level.unwrap_or(GZIP_LEVEL)))
            }
            "estargz" => {
                let level = within("estargz", 0, 9)?.and_then(|level| u32::try_from(level).ok());
                Ok(Self::Estargz(level.unwrap_or(GZIP_LEVEL)))
            }
            "zstd" => match within("zstd", 0, 22)? {
                // zstd's own word for its default.
                None | Some(0) => Ok(Self::Zstd(ZSTD_LEVEL)),
                Some(level) => Ok(Self::Zstd(level)),
            },
            other => Err(CompressionError::Name {
                name: other.to_owned(),
            }),
        }
    }

    /// Its level, if it has one.
    pub fn level(self) -> Option<i32> {
        match self {
            Self::Uncompressed => None,
            Self::Gzip(level) | Self::Estargz(level) => i32::try_from(level).ok(),
            Self::Zstd(level) => Some(level),
        }
    }

    /// The type of a layer that is compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Uncompressed => media_type::OCI_LAYER_TAR,
            Self::Gzip(_) | Self::Estargz(_) => media_type::OCI_LAYER_GZIP,
            Self::Zstd(_) => media_type::OCI_LAYER_ZSTD,
        }
    }

    /// How the steps of a build write their layers, whose diffIDs the next steps stand on: eStargz has another one, and is made of what
    /// they wrote.
    pub(crate) fn of_steps(self) -> Self {
        match self {
            Self::Estargz(level) => Self::Gzip(level),
            other => other,
        }
    }

    /// Whether what runs images of Docker's media types cannot be expected to know it.
    pub(crate) fn needs_oci(self) -> bool {
        matches!(self, Self::Zstd(_) | Self::Estargz(_))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uncompressed => "uncompressed",
            Self::Gzip(_) => "gzip",
            Self::Zstd(_) => "zstd",
            Self::Estargz(_) => "estargz",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels_are_those_of_buildkit() {
        assert_eq!(Compression::new("gzip", None).unwrap(), Compression::default());
        assert_eq!(Compression::new("gzip", Some(9)).unwrap(), Compression::Gzip(9));
        assert_eq!(
            Compression::new("estargz", Some(1)).unwrap(),
            Compression::Estargz(1)
        );
        assert_eq!(Compression::new("zstd", Some(0)).unwrap(), Compression::Zstd(3));
        assert_eq!(Compression::new("zstd", Some(22)).unwrap(), Compression::Zstd(22));
        assert_eq!(
            Compression::new("uncompressed", Some(4)).unwrap(),
            Compression::Uncompressed
        );
        for (name, level, part) in [
            ("gzip", 10, "0 to 9"),
            ("zstd", 23, "0 to 22"),
            ("zstd", -1, "0 to 22"),
            ("brotli", 1, "no compression `brotli`"),
        ] {
            let said = Compression::new(name, Some(level)).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}
