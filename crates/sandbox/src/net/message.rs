//! Netlink messages, both kinds that are needed: routing and netfilter.
//!
//! Written by hand because the few messages are smaller than a library's types for them, and because nftables has no
//! library that fits; the layout is the kernel's (`linux/netlink.h`): native byte order, everything padded to four.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType};

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 1 << 15;

pub(super) const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const NLM_F_APPEND: u16 = 0x800;

/// A message, or several in a row, being written.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// How many messages asked to be acknowledged.
    acknowledged: u32,
}

impl Writer {
    /// Adds a message: its kind, flags, fixed part, and what `body` adds.
    pub(super) fn message(&mut self, kind: u16, flags: u16, fixed: &[u8], body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        if flags & NLM_F_ACK != 0 {
            self.acknowledged += 1;
        }
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.acknowledged.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        self.pad();
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes
            .extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// A string with its terminating zero.
    pub(super) fn text(&mut self, kind: u16, text: &str) {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.attribute(kind, &value);
    }

    /// A number as netfilter wants it: most significant byte first.
    pub(super) fn network_number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_be_bytes());
    }

    /// An attribute made of others, perhaps after a fixed part.
    pub(super) fn nested(&mut self, kind: u16, fixed: &[u8], body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        self.bytes.extend_from_slice(fixed);
        self.pad();
        body(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A netlink socket. It stays in the network namespace that it was opened in.
pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn open(protocol: Option<Protocol>) -> Result<Self, Errno> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Sends what was written and waits for every acknowledgement; the first refusal is the answer.
    pub(super) fn send(&self, writer: &Writer) -> Result<(), Errno> {
        rustix::net::sendto(
            &self.0,
            &writer.bytes,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )?;
        let mut missing = writer.acknowledged;
        let mut buffer = [0_u8; 8192];
        while missing > 0 {
            let (length, _, from) = rustix::io::retry_on_intr(|| {
                rustix::net::recvfrom(&self.0, &mut buffer[..], RecvFlags::empty())
            })?;
            // Whoever may administer this network can write to this socket as the kernel does: a container that shares it.
            if from.is_some_and(is_kernel) {
                missing = missing.saturating_sub(acknowledged(buffer.get(..length).unwrap_or_default())?);
            }
        }
        Ok(())
    }
}

fn is_kernel(address: SocketAddrAny) -> bool {
    SocketAddrNetlink::try_from(address).is_ok_and(|address| address.pid() == 0)
}

/// How many messages these bytes acknowledge; the first refusal is the answer.
fn acknowledged(mut bytes: &[u8]) -> Result<u32, Errno> {
    let mut count = 0;
    while let Some((kind, body, after)) = split(bytes) {
        bytes = after;
        if kind != NLMSG_ERROR {
            continue;
        }
        match body.first_chunk::<4>().map(|code| i32::from_ne_bytes(*code)) {
            Some(0) => count += 1,
            // The range of the kernel's errors, negated.
            Some(code @ -4095..=-1) => return Err(Errno::from_raw_os_error(-code)),
            Some(_) | None => return Err(Errno::IO),
        }
    }
    Ok(count)
}

/// The first message: its kind, its body, and what follows.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk::<4>()?) as usize;
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let body = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as the kernel gives it: its header, the code, and the header of what is answered.
    fn answer(code: i32) -> Vec<u8> {
        let mut writer = Writer::default();
        let body = [&code.to_ne_bytes()[..], &[0; HEADER]].concat();
        writer.message(NLMSG_ERROR, 0, &body, |_| {});
        writer.bytes
    }

    #[test]
    fn answers_are_counted_up_to_the_first_refusal() {
        assert_eq!(acknowledged(&[answer(0), answer(0)].concat()), Ok(2));
        let refused = [answer(0), answer(-libc::EEXIST), answer(0)].concat();
        assert_eq!(acknowledged(&refused), Err(Errno::EXIST));
        for code in [i32::MIN, -4096, 1, i32::MAX] {
            assert_eq!(acknowledged(&answer(code)), Err(Errno::IO), "{code}");
        }
    }

    #[test]
    fn foreign_answers() {
        shipway_testkit::Foreign::near([[answer(0), answer(0)].concat(), answer(-1), answer(i32::MIN)])
            .check(|bytes| {
                if let Ok(count) = acknowledged(bytes) {
                    assert!(count as usize <= bytes.len() / (HEADER + 4));
                }
            });
    }

    #[test]
    fn only_the_kernel_is_believed() {
        let socket = Socket::open(None).unwrap();
        let own = SocketAddrNetlink::try_from(rustix::net::getsockname(&socket.0).unwrap()).unwrap();
        let stranger = Socket::open(None).unwrap();
        let told = rustix::net::sendto(&stranger.0, &answer(-libc::EBADMSG), SendFlags::empty(), &own);
        if told == Err(Errno::PERM) {
            // Who may not administer the network cannot write to the socket either.
            return;
        }
        told.unwrap();
        // Nothing of the loopback device changes.
        let mut writer = Writer::default();
        let mut loopback = [0; HEADER];
        loopback[4..8].copy_from_slice(&1_u32.to_ne_bytes());
        writer.message(16, NLM_F_ACK, &loopback, |_| {});
        assert_eq!(socket.send(&writer), Ok(()));
    }
}
