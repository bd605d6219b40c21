//! Where the client may connect to.

use std::net::SocketAddr;

/// Decides about each address before a connection to it is opened: those that a name resolved to, those written into a
/// URL, and those that a redirect leads to.
pub trait EgressPolicy: Send + Sync {
    /// Whether a connection may be opened.
    fn permits(&self, addr: SocketAddr) -> bool;
}

/// Permits everything: for people at their own machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl EgressPolicy for AllowAll {
    fn permits(&self, _: SocketAddr) -> bool {
        true
    }
}
