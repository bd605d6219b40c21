//! `[registry.limits]`: what `shipway serve` has for all its clients together, and what of it one of them may take.
//!
//! What is left out has a good value; the part of one client is a part of what was set for all, so that nobody takes everything
//! by being the first.

use std::num::NonZeroU32;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use shipway_registry::ServerOptions;

/// Large uploads hold a thread each, of which the runtime has 512; what does not upload needs some as well.
const MOST_UPLOADS: u32 = 448;

/// Places of `shipway serve`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServeLimits {
    /// Connections that may be open; without it [`ServerOptions::max_connections`].
    pub(crate) connections: Option<NonZeroU32>,
    /// How many of these one address may have, or one /64 of IPv6; without it half of them.
    connections_per_address: Option<NonZeroU32>,
    /// Large uploads at the same time; without it [`ServerOptions::max_streams`].
    #[serde(deserialize_with = "uploads")]
    uploads: Option<NonZeroU32>,
    /// How many of these one user or job may have; without it an eighth of them.
    uploads_per_user: Option<NonZeroU32>,
}

impl ServeLimits {
    /// How the server behaves under these limits.
    pub(crate) fn server(&self) -> ServerOptions {
        let usual = ServerOptions::default();
        let places = |set: Option<NonZeroU32>, usual: usize| set.map_or(usual, count);
        let connections = places(self.connections, usual.max_connections);
        let uploads = places(self.uploads, usual.max_streams);
        ServerOptions {
            max_connections: connections,
            max_connections_each: places(self.connections_per_address, (connections / 2).max(1)),
            max_streams: uploads,
            max_streams_each: places(self.uploads_per_user, (uploads / 8).max(1)),
            ..usual
        }
    }
}

fn count(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}

fn uploads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NonZeroU32>, D::Error> {
    let uploads = NonZeroU32::deserialize(deserializer)?;
    if uploads.get() > MOST_UPLOADS {
        return Err(D::Error::custom(format!(
            "{uploads} large uploads at once are more than there are threads for: choose between 1 and {MOST_UPLOADS}"
        )));
    }
    Ok(Some(uploads))
}
