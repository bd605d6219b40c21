//! The API version a client asks for in its path, and the range this engine serves.
//!
//! Apart from the router because answers depend on it too (stream content types, field names). A version outside
//! the range is an error of its own kind: the CLI prints our sentence and the user learns which side is old.

use std::fmt;

/// A version of the Docker Engine API; always within [`ApiVersion::OLDEST`] and [`ApiVersion::NEWEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ApiVersion {
    minor: u16,
}

/// Why a path's version prefix is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiVersionError {
    /// The client speaks a protocol from after ours.
    #[error(
        "client version {asked} is too new. Maximum supported API version is {}",
        ApiVersion::NEWEST
    )]
    TooNew {
        /// What the path said, without the `v`.
        asked: String,
    },
    /// The client speaks a protocol from before ours.
    #[error(
        "client version {asked} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
        ApiVersion::OLDEST
    )]
    TooOld {
        /// What the path said, without the `v`.
        asked: String,
    },
}

impl ApiVersion {
    /// What clients of 2016 speak.
    pub(crate) const OLDEST: ApiVersion = ApiVersion { minor: 24 };
    /// At least 1.44, which the newest clients demand; below 1.48, which asks for several platforms in one answer.
    pub(crate) const NEWEST: ApiVersion = ApiVersion { minor: 47 };
    /// From here on a hijacked stream says in its content type whether it is framed.
    pub(crate) const NAMES_STREAM_FORMAT: ApiVersion = ApiVersion { minor: 42 };
    /// From here on an image without a name has empty lists of them.
    pub(crate) const EMPTY_NAME_LISTS: ApiVersion = ApiVersion { minor: 43 };
    /// From here on `VirtualSize` is gone.
    pub(crate) const WITHOUT_VIRTUAL_SIZE: ApiVersion = ApiVersion { minor: 44 };

    /// Reads a path segment such as `v1.41`; `None` when the segment is no version at all.
    pub(crate) fn from_segment(segment: &str) -> Option<Result<ApiVersion, ApiVersionError>> {
        let asked = segment.strip_prefix('v')?;
        let (major, minor) = asked.split_once('.')?;
        let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !numeric(major) || !numeric(minor) {
            return None;
        }
        let too_new = || ApiVersionError::TooNew {
            asked: asked.chars().take(16).collect(),
        };
        let too_old = || ApiVersionError::TooOld {
            asked: asked.chars().take(16).collect(),
        };
        Some(match (major.parse::<u16>(), minor.parse::<u16>()) {
            (Ok(1), Ok(minor)) if minor < Self::OLDEST.minor => Err(too_old()),
            (Ok(1), Ok(minor)) if minor <= Self::NEWEST.minor => Ok(ApiVersion { minor }),
            (Ok(0), _) => Err(too_old()),
            _ => Err(too_new()),
        })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "1.{}", self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_served_range_is_accepted_and_its_neighbours_are_named() {
        assert_eq!(ApiVersion::from_segment("v1.24"), Some(Ok(ApiVersion::OLDEST)));
        assert_eq!(ApiVersion::from_segment("v1.47"), Some(Ok(ApiVersion::NEWEST)));
        let new = ApiVersion::from_segment("v1.48")
            .and_then(Result::err)
            .map(|error| error.to_string());
        assert_eq!(
            new.as_deref(),
            Some("client version 1.48 is too new. Maximum supported API version is 1.47")
        );
        assert!(matches!(
            ApiVersion::from_segment("v1.9"),
            Some(Err(ApiVersionError::TooOld { .. }))
        ));
        assert!(matches!(
            ApiVersion::from_segment("v2.0"),
            Some(Err(ApiVersionError::TooNew { .. }))
        ));
        assert!(matches!(
            ApiVersion::from_segment("v1.99999999999"),
            Some(Err(ApiVersionError::TooNew { .. }))
        ));
    }

    #[test]
    fn other_segments_are_no_version() {
        for segment in ["containers", "v", "v1", "v1.", "v1.x", "vendor.1", "v-1.2"] {
            assert_eq!(ApiVersion::from_segment(segment), None, "{segment}");
        }
    }
}
