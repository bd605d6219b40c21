//! `-p`, `-P` and `EXPOSE`: which ports of the engine's address, or of the machine's, lead into the container.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::failure::Failure;
use crate::model::create::CreateBody;

/// More ports than a range of any sane image; each is a listener.
const MOST_PORTS: usize = 512;

/// A port of a container, `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Exposed {
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

/// What is spoken at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// One published port; without a number the engine chooses a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortPlan {
    pub(crate) container: u16,
    /// Where on the machine; inside a job there is only the engine's address.
    pub(crate) address: Option<IpAddr>,
    pub(crate) published: Option<u16>,
}

impl FromStr for Exposed {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Exposed, Failure> {
        let bad = || Failure::bad_request(format!("invalid port {text:?}: it is NUMBER or NUMBER/tcp"));
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return Err(bad()),
        };
        match port.parse() {
            Ok(0) | Err(_) => Err(bad()),
            Ok(port) => Ok(Exposed { port, protocol }),
        }
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(formatter, "{}/{protocol}", self.port)
    }
}

pub(super) fn plan(body: &CreateBody, image: &[Exposed]) -> Result<Vec<PortPlan>, Failure> {
    let host = &body.host_config;
    let mut ports = Vec::new();
    for (container, bindings) in &host.port_bindings {
        let container: Exposed = container.parse()?;
        if container.protocol != Protocol::Tcp {
            return Err(Failure::bad_request(format!(
                "cannot publish {container}: only TCP ports can be published here; the container is reachable by its name without -p"
            )));
        }
        let bindings = bindings.as_deref().unwrap_or_default();
        if bindings.is_empty() {
            ports.push(PortPlan {
                container: container.port,
                address: None,
                published: None,
            });
        }
        for binding in bindings {
            // A range of host ports for one container port means: any of them; the first is as good.
            let text = binding.host_port.split('-').next().unwrap_or_default();
            let published = match text {
                "" | "0" => None,
                text => Some(text.parse().map_err(|_| {
                    Failure::bad_request(format!(
                        "invalid host port {:?} for {container}",
                        binding.host_port
                    ))
                })?),
            };
            let address = match binding.host_ip.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| {
                    Failure::bad_request(format!(
                        "invalid host address {text:?} for {container}: it is a number, not a name"
                    ))
                })?),
            };
            ports.push(PortPlan {
                container: container.port,
                address,
                published,
            });
        }
    }
    if host.publish_all_ports {
        let asked = body
            .exposed_ports
            .keys()
            .map(|text| text.parse())
            .collect::<Result<Vec<Exposed>, _>>()?;
        for exposed in asked.iter().chain(image) {
            let known = ports.iter().any(|port| port.container == exposed.port);
            if exposed.protocol == Protocol::Tcp && !known {
                ports.push(PortPlan {
                    container: exposed.port,
                    address: None,
                    published: None,
                });
            }
        }
    }
    if ports.len() > MOST_PORTS {
        return Err(Failure::bad_request(format!(
            "{} published ports are too many: at most {MOST_PORTS}",
            ports.len()
        )));
    }
    Ok(ports)
}
