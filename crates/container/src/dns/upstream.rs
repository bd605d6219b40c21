//! The host's resolvers, asked on behalf of pods.

use std::sync::Arc;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::Name;
use hickory_resolver::TokioResolver;
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
        let (config, mut options) = match hickory_resolver::system_conf::read_system_conf() {
            Ok(found) => found,
            Err(error) => {
                tracing::info!(%error, "this host has no name servers; containers resolve the names of their pod only");
                return Self::none();
            }
        };
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
