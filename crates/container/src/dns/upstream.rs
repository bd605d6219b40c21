//! The host's resolvers, asked on behalf of pods.

use std::sync::Arc;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::Name;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::{DnsError, NetError};

use super::answer::Answer;

/// Where questions go that the pod cannot answer. Clones share one cache; one is enough for all pods of a process.
#[derive(Clone)]
pub(crate) struct Upstream {
    resolver: Option<Arc<TokioResolver>>,
    search: Vec<String>,
}

impl Upstream {
    /// The resolvers in the host's `resolv.conf`. A host without any (an offline one) makes an upstream that fails
    /// every question, which is what its own programs see.
    pub(crate) fn from_host() -> Self {
        match hickory_resolver::system_conf::read_system_conf() {
            Ok((config, options)) => Self::of(config, options),
            Err(error) => {
                tracing::info!(%error, "this host has no name servers; containers resolve the names of their pod only");
                Self::none()
            }
        }
    }

    fn of(config: ResolverConfig, mut options: ResolverOpts) -> Self {
        // The client follows aliases by what it sees in the answer, so the chain must be there.
        options.preserve_intermediates = true;
        let search = config.search.iter().map(Name::to_ascii).collect();
        let mut builder = TokioResolver::builder_with_config(config, Default::default());
        *builder.options_mut() = options;
        match builder.build() {
            Ok(resolver) => Self {
                resolver: Some(Arc::new(resolver)),
                search,
            },
            Err(error) => {
                tracing::warn!(%error, "cannot use this host's name servers; containers resolve the names of their pod only");
                Self::none()
            }
        }
    }

    /// Nobody to ask.
    pub(crate) fn none() -> Self {
        Self {
            resolver: None,
            search: Vec::new(),
        }
    }

    /// The search domains of the host, for the containers' `resolv.conf`.
    pub(crate) fn search(&self) -> &[String] {
        &self.search
    }

    pub(super) async fn ask(&self, question: &Query) -> Answer {
        let Some(resolver) = &self.resolver else {
            return Answer::Failed(ResponseCode::ServFail);
        };
        // Asked as it stands: search domains are the client's business, and it has them.
        let mut name = question.name().clone();
        name.set_fqdn(true);
        match resolver.lookup(name, question.query_type()).await {
            Ok(lookup) => Answer::Forwarded(lookup.answers().to_vec()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NoError => Answer::Forwarded(Vec::new()),
                code => Answer::Failed(code),
            },
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Answer::Failed(code),
            Err(error) => {
                tracing::debug!(%error, name = %question.name(), "the host's name servers gave no answer");
                Answer::Failed(ResponseCode::ServFail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use hickory_proto::rr::{RData, RecordType};
    use hickory_resolver::config::NameServerConfig;
    use tokio::net::{TcpListener, UdpSocket};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::dns::DnsServer;
    use crate::names::NameTable;

    /// A name server in the place of the host's: ours, with a table of its own and nobody behind it.
    async fn server(closing: &CancellationToken) -> SocketAddr {
        let names = NameTable::default();
        assert!(names.add("mirror.example", Ipv4Addr::new(10, 0, 0, 5)));
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        DnsServer {
            names,
            upstream: Upstream::none(),
        }
        .spawn(udp, tcp, closing);
        address
    }

    fn upstream(server: SocketAddr) -> Upstream {
        let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut name_server.connections {
            connection.port = server.port();
        }
        Upstream::of(
            ResolverConfig::from_parts(None, vec![], vec![name_server]),
            ResolverOpts::default(),
        )
    }

    async fn ask(upstream: &Upstream, name: &str, kind: RecordType) -> Answer {
        upstream
            .ask(&Query::query(Name::from_ascii(name).unwrap(), kind))
            .await
    }

    #[tokio::test]
    async fn what_the_pod_does_not_know_is_asked_of_the_host() {
        let closing = CancellationToken::new();
        let upstream = upstream(server(&closing).await);
        let Answer::Forwarded(records) = ask(&upstream, "mirror.example.", RecordType::A).await else {
            panic!("no answer");
        };
        assert_eq!(records[0].data, RData::A(Ipv4Addr::new(10, 0, 0, 5).into()));
        let empty = ask(&upstream, "mirror.example.", RecordType::MX).await;
        assert!(
            matches!(empty, Answer::Forwarded(records) if records.is_empty()),
            "the name exists"
        );
        let failed = ask(&upstream, "elsewhere.example.", RecordType::A).await;
        assert!(matches!(failed, Answer::Failed(ResponseCode::ServFail)));
    }
}
