//! The three files that every container gets made for it: `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname`.
//!
//! Only the container's own name and what the caller adds is in `hosts`; the names of others come from the pod's name
//! server, since containers that start later could not be written into a file that is already mounted.

use std::fmt::Write;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use shipway_sandbox::GeneratedFile;

use crate::subnet::Subnet;

/// What the files of one container are made of.
#[derive(Debug)]
pub(crate) struct EtcFiles<'a> {
    pub(crate) hostname: &'a str,
    /// Its address, if it has a network.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) extra_hosts: &'a [(String, IpAddr)],
    pub(crate) search: &'a [String],
}

impl EtcFiles<'_> {
    pub(crate) fn render(&self) -> Vec<GeneratedFile> {
        let mut files = vec![
            GeneratedFile::public("/etc/hosts", self.hosts()),
            GeneratedFile::public("/etc/hostname", format!("{}\n", self.hostname)),
        ];
        if self.address.is_some() {
            files.push(GeneratedFile::public("/etc/resolv.conf", self.resolv_conf()));
        }
        files
    }

    fn hosts(&self) -> String {
        let mut hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
        for (name, address) in self.extra_hosts {
            let _ = writeln!(hosts, "{address}\t{name}");
        }
        match self.address {
            Some(address) => {
                let _ = writeln!(hosts, "{address}\t{}", self.hostname);
            }
            None => {
                let _ = writeln!(hosts, "127.0.0.1\t{}", self.hostname);
            }
        }
        hosts
    }

    fn resolv_conf(&self) -> String {
        let mut text = format!("nameserver {}\n", Subnet::GATEWAY);
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        // A name of the pod has no dots; with the default, resolvers would try the search domains first.
        text.push_str("options ndots:0\n");
        text
    }
}

/// More than any file of the kind has.
const LARGEST: u64 = 1024 * 1024;

/// Gives a container that shares the network of this place its way to look up names: its `/etc/resolv.conf`, and its `/etc/hosts`
/// before what is in the container's own.
pub(crate) fn share_name_service(files: &mut Vec<GeneratedFile>) {
    let resolver = of_this_place("/etc/resolv.conf");
    files.extend(resolver.map(|bytes| GeneratedFile::public("/etc/resolv.conf", bytes)));
    let hosts = files.iter_mut().find(|file| file.path == Path::new("/etc/hosts"));
    if let (Some(own), Some(mut bytes)) = (hosts, of_this_place("/etc/hosts")) {
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        bytes.append(&mut own.bytes);
        own.bytes = bytes;
    }
}

/// A file of this place, if it can be read.
fn of_this_place(path: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_container_with_a_network_finds_itself_and_the_name_server() {
        let files = EtcFiles {
            hostname: "box",
            address: Some(Ipv4Addr::new(198, 18, 0, 2)),
            extra_hosts: &[("db".into(), "10.0.0.1".parse().unwrap())],
            search: &["example.com".into()],
        }
        .render();
        let text = |name: &str| {
            let file = files.iter().find(|file| file.path == Path::new(name)).unwrap();
            String::from_utf8(file.bytes.clone()).unwrap()
        };
        assert_eq!(
            text("/etc/hosts"),
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.1\tdb\n198.18.0.2\tbox\n"
        );
        assert_eq!(
            text("/etc/resolv.conf"),
            "nameserver 198.18.0.1\nsearch example.com\noptions ndots:0\n"
        );
        assert_eq!(text("/etc/hostname"), "box\n");
    }

    #[test]
    fn without_a_network_there_is_no_name_server() {
        let files = EtcFiles {
            hostname: "box",
            address: None,
            extra_hosts: &[],
            search: &[],
        }
        .render();
        assert_eq!(files.len(), 2);
        assert!(String::from_utf8_lossy(&files[0].bytes).ends_with("127.0.0.1\tbox\n"));
    }
}
