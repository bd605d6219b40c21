//! `80`, `80/udp`, `8000-8010`, `127.0.0.1:8080:80`: what EXPOSE takes.
//!
//! Only the container's side ends up in an image. The host's is accepted because files have it, and checked because it
//! is written in earnest; a rule of the checks tells its author.

use std::net::IpAddr;

/// A port or a range of ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortSpec {
    first: u16,
    last: u16,
    /// `tcp`, `udp` or `sctp`, in the letters of the file.
    pub(crate) protocol: String,
    /// Whether an address or a port of the host stands in front.
    pub(crate) names_the_host: bool,
}

impl PortSpec {
    /// Reads one word; the error is the message.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (host, container) = text.rsplit_once(':').unwrap_or(("", text));
        let (address, published) = host.rsplit_once(':').unwrap_or(("", host));
        let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
        let protocol = if protocol.is_empty() { "tcp" } else { protocol };
        if !matches!(&*protocol.to_ascii_lowercase(), "tcp" | "udp" | "sctp") {
            return Err(format!(
                "invalid port `{text}`: the protocol `{protocol}` is not tcp, udp or sctp"
            ));
        }
        let (first, last) = ports(range)
            .ok_or_else(|| format!("invalid port `{text}`: write 80, 80/udp or 8000-8010/tcp"))?;
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if !address.is_empty() && bare.unwrap_or(address).parse::<IpAddr>().is_err() {
            return Err(format!("invalid port `{text}`: `{address}` is no address"));
        }
        if !published.is_empty() {
            let (from, to) = ports(published)
                .ok_or_else(|| format!("invalid port `{text}`: `{published}` is no port of the host"))?;
            if first != last && last - first != to - from {
                return Err(format!(
                    "invalid port `{text}`: the ranges of host and container differ in length"
                ));
            }
        }
        Ok(Self {
            first,
            last,
            protocol: protocol.to_owned(),
            names_the_host: !(address.is_empty() && published.is_empty()),
        })
    }

    /// The container's side as EXPOSE should name it.
    pub(crate) fn container(&self) -> String {
        let protocol = self.protocol.to_ascii_lowercase();
        match self.first == self.last {
            true => format!("{}/{protocol}", self.first),
            false => format!("{}-{}/{protocol}", self.first, self.last),
        }
    }

    /// Each port as the configuration lists it.
    pub(crate) fn each(&self) -> impl Iterator<Item = String> + use<'_> {
        let protocol = self.protocol.to_ascii_lowercase();
        (self.first..=self.last).map(move |port| format!("{port}/{protocol}"))
    }
}

fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges() {
        let each = |text: &str| PortSpec::parse(text).map(|spec| spec.each().collect::<Vec<_>>());
        assert_eq!(each("80").unwrap(), ["80/tcp"]);
        assert_eq!(each("80/").unwrap(), ["80/tcp"]);
        assert_eq!(each("8000-8001/UDP").unwrap(), ["8000/udp", "8001/udp"]);
        assert_eq!(each("127.0.0.1:1-9:53/sctp").unwrap(), ["53/sctp"]);
        assert_eq!(each("[::1]:8080:80").unwrap(), ["80/tcp"]);
        assert_eq!(each("::1:8080:80").unwrap(), ["80/tcp"]);
        assert_eq!(each("0-65535").unwrap().len(), 65_536);
        for wrong in [
            "", "/tcp", "x", "80-", "9-8", "65536", "80/x", "x:1:80", "x:80", "1-2:3-5", ":::",
        ] {
            assert!(each(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_host_is_noticed() {
        let spec = |text: &str| PortSpec::parse(text).unwrap();
        assert!(spec("5000:5000").names_the_host && !spec("8000").names_the_host);
        assert_eq!(spec("1-2:3-4/TcP").container(), "3-4/tcp");
    }
}
