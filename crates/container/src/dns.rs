//! The name server of a pod, on the gateway's port 53 over UDP and TCP.
//!
//! Names of the pod are answered from its table; everything else is asked of the host's resolvers, so that a job sees
//! the names that the machine sees. A pod speaks IPv4 only (the relay takes IPv4), therefore every AAAA question is
//! answered "there is such a name, but not with that type" at once: clients that ask both never wait for one.
//!
//! The bytes come from a job: a datagram that is no query is dropped, a strange query gets an error answer, and the
//! number of questions in flight is bounded.

mod answer;
mod serve;
mod upstream;

pub(crate) use serve::DnsServer;
pub(crate) use upstream::Upstream;
