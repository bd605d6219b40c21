//! Under which address a client reached us: the realm of tokens follows it, so that one registry may have many names.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::request::Parts;

/// The scheme of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How a request came in; an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Whether over TLS.
    pub scheme: Scheme,
    /// From where; one address has its share of what there is for all. `None` where that is not known.
    pub peer: Option<IpAddr>,
}

/// The longest host name with a port.
const LONGEST_HOST: usize = 255 + ":65535".len();

/// `host[:port]` as the client wrote it; `localhost` if it wrote none, or nonsense.
pub(super) fn host(head: &Parts) -> &str {
    let written = match head.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => head.headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    written
        .filter(|host| !host.is_empty() && host.len() <= LONGEST_HOST && host.bytes().all(allowed))
        .unwrap_or("localhost")
}

/// The base URL as the client sees it.
pub(super) fn base(head: &Parts) -> String {
    let forwarded = head
        .headers
        .get("x-forwarded-proto")
        .and_then(|scheme| scheme.to_str().ok());
    let scheme = match forwarded {
        Some("https") => Scheme::Https,
        Some("http") => Scheme::Http,
        _ => head
            .extensions
            .get::<Origin>()
            .map_or(Scheme::Http, |origin| origin.scheme),
    };
    format!("{}://{}", scheme.as_str(), host(head))
}

/// From where a request came, where that is known.
pub(super) fn peer(head: &Parts) -> Option<IpAddr> {
    head.extensions.get::<Origin>()?.peer
}

/// Whether a web page of another site has its reader's browser send this. Programs say no `Origin`.
pub(super) fn is_foreign(head: &Parts) -> bool {
    head.headers.get_all(ORIGIN).iter().any(|origin| {
        let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        site.is_none_or(|(_, site)| !site.eq_ignore_ascii_case(host(head)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_the_clients_or_none() {
        let base_of = |host: &str, proto: Option<&str>| {
            let mut request = http::Request::get("/v2/").header(HOST, host);
            if let Some(proto) = proto {
                request = request.header("x-forwarded-proto", proto);
            }
            base(&request.body(()).unwrap().into_parts().0)
        };
        assert_eq!(base_of("127.0.0.1:5000", None), "http://127.0.0.1:5000");
        assert_eq!(
            base_of("registry.example", Some("https")),
            "https://registry.example"
        );
        assert_eq!(base_of("a\" b", Some("gopher")), "http://localhost");
        assert_eq!(base_of(&"a".repeat(5000), None), "http://localhost");
    }

    #[test]
    fn a_page_of_another_site_is_foreign() {
        let foreign = |origins: &[&str]| {
            let request = http::Request::post("/v2/token").header(HOST, "registry.test:5000");
            let request = origins
                .iter()
                .fold(request, |request, origin| request.header(ORIGIN, *origin));
            is_foreign(&request.body(()).unwrap().into_parts().0)
        };
        assert!(!foreign(&[]) && !foreign(&["https://Registry.test:5000"]));
        for page in [
            "http://registry.test",
            "https://evil.test",
            "null",
            "",
            "http://registry.test:5000.evil.test",
        ] {
            assert!(foreign(&[page]), "{page}");
        }
        assert!(foreign(&["http://registry.test:5000", "https://evil.test"]));
    }
}
