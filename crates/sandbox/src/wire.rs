//! Messages between the calling process and its keeper.
//!
//! A message is one packet of a `SOCK_SEQPACKET` socket: JSON, or, when it is larger than a packet may be, the
//! letter `M` and the JSON in a memory file. Descriptors travel beside it. Packets are atomic, so a forked worker
//! answers on the keeper's socket by itself, and any thread of the caller may ask.
//!
//! Failure: end of file means that the other side is gone; anything unreadable is an error of this connection,
//! since both ends are the same binary.

use std::io::{IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Doing as _, KeeperError, Result};

/// Larger messages go through a memory file; well under the smallest socket buffer.
const INLINE: usize = 32 * 1024;
/// As many descriptors as the kernel passes at once.
const DESCRIPTORS: usize = 253;
/// A message is never larger: it is made by this binary from requests of that order.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Two connected ends.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .doing(|| "make a control socket".into())
}

/// Sends one message.
pub(crate) fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let bytes = serde_json::to_vec(message).map_err(unreadable)?;
    if bytes.len() <= INLINE {
        return send_packet(socket, &bytes, fds);
    }
    let memory = memory_file(&bytes)?;
    let mut all = vec![memory.as_fd()];
    all.extend_from_slice(fds);
    send_packet(socket, b"M", &all)
}

/// A memory file that holds `bytes`, to be read from its beginning. What is longer than whoever reads it takes is an error
/// here, where it is one request's.
pub(crate) fn memory_file(bytes: &[u8]) -> Result<OwnedFd> {
    if bytes.len() as u64 > LARGEST {
        return Err(KeeperError::Message {
            reason: format!(
                "{} bytes at once are too many, {LARGEST} are allowed",
                bytes.len()
            ),
        });
    }
    let memory = rustix::fs::memfd_create("shipway", rustix::fs::MemfdFlags::CLOEXEC)
        .doing(|| "make a memory file".into())?;
    let mut file = std::fs::File::from(memory);
    file.write_all(bytes).doing(|| "fill a memory file".into())?;
    Ok(file.into())
}

/// Reads a memory file from its beginning.
pub(crate) fn read_memory(memory: OwnedFd) -> Result<Vec<u8>> {
    let mut file = std::fs::File::from(memory);
    file.seek(SeekFrom::Start(0))
        .doing(|| "read a memory file".into())?;
    let mut bytes = Vec::new();
    file.take(LARGEST)
        .read_to_end(&mut bytes)
        .doing(|| "read a memory file".into())?;
    Ok(bytes)
}

fn send_packet(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(KeeperError::Message {
            reason: format!("{} descriptors are too many", fds.len()),
        });
    }
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    });
    match sent {
        Ok(_) => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(KeeperError::Gone),
        Err(errno) => Err(errno).doing(|| "send on the control socket".into()),
    }
}

/// Receives one message and its descriptors; `None` at the end.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; INLINE + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut receive = || {
        rustix::io::retry_on_intr(|| {
            recvmsg(
                &socket,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
    };
    let received = match receive() {
        // Told once, when the other side ended with something unread, and before what it had sent: its last word.
        Err(Errno::CONNRESET) => receive(),
        other => other,
    };
    let length = match received {
        Ok(message) => message.bytes,
        Err(Errno::CONNRESET) => 0,
        Err(errno) => return Err(errno).doing(|| "receive on the control socket".into()),
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if length == 0 {
        return Ok(None);
    }
    let message = if &buffer[..length] == b"M" {
        if fds.is_empty() {
            return Err(KeeperError::Message {
                reason: "a large message without its memory file".into(),
            });
        }
        serde_json::from_slice(&read_memory(fds.remove(0))?)
    } else {
        serde_json::from_slice(&buffer[..length])
    };
    Ok(Some((message.map_err(unreadable)?, fds)))
}

fn unreadable(error: serde_json::Error) -> KeeperError {
    KeeperError::Message {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_and_descriptors_arrive() {
        let (near, far) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let large = "x".repeat(INLINE * 10);
        send(&near, &large, &[write.as_fd()]).unwrap();
        send(&near, &"small", &[]).unwrap();
        drop(write);

        let (text, fds): (String, _) = receive(&far).unwrap().unwrap();
        assert_eq!(text, large);
        rustix::io::write(&fds[0], b"!").unwrap();
        drop(fds);
        let mut back = String::new();
        std::fs::File::from(read).read_to_string(&mut back).unwrap();
        assert_eq!(back, "!");

        let (text, fds): (String, _) = receive(&far).unwrap().unwrap();
        assert_eq!((text.as_str(), fds.len()), ("small", 0));
        drop(near);
        assert!(receive::<String>(&far).unwrap().is_none());
    }

    #[test]
    fn the_last_word_of_one_that_did_not_listen_is_heard() {
        let (near, far) = pair().unwrap();
        send(&near, &"unread", &[]).unwrap();
        send(&far, &"why it ended", &[]).unwrap();
        drop(far);
        let (text, _): (String, _) = receive(&near).unwrap().unwrap();
        assert_eq!(text, "why it ended");
        assert!(receive::<String>(&near).unwrap().is_none());
    }

    #[test]
    fn what_would_be_cut_is_not_sent() {
        let zeroes = vec![0; usize::try_from(LARGEST).unwrap() + 1];
        let refused = memory_file(&zeroes).unwrap_err().to_string();
        assert!(refused.contains("too many"), "{refused}");
    }

    /// A keeper is less trusted than root that started it: its answers are read with care, and those that can be read say the
    /// same again.
    #[test]
    fn foreign_answers() {
        use crate::ids::{ContainerId, ProcessId};
        use crate::protocol::{Answer, Reply};
        use crate::spec::ExitStatus;
        let reply = |body| serde_json::to_vec(&Reply { id: 7, body }).unwrap();
        let started = Answer::Started {
            container: ContainerId(1),
            process: ProcessId(2),
            made: vec!["/proc".into(), "/etc/hosts".into()],
        };
        let seeds = [
            reply(Ok(Answer::Done)),
            reply(Ok(started)),
            reply(Ok(Answer::Exited(ExitStatus::Signal(9)))),
            reply(Ok(Answer::Usage(crate::usage::DiskUsage::BEYOND))),
            reply(Err(KeeperError::Gone)),
            reply(Err(Errno::NOENT).doing(|| "open x".into())),
            b"M".to_vec(),
        ];
        let (near, far) = pair().unwrap();
        shipway_testkit::Foreign::near(seeds)
            .with_words(&["Ok", "Err", "System", "cause", "[[[[", "{\"id\":"])
            .check(|bytes| {
                let bytes = &bytes[..bytes.len().min(INLINE)];
                send_packet(&near, bytes, &[]).unwrap();
                if let Ok(Some((reply, fds))) = receive::<Reply>(&far) {
                    assert_eq!(fds.len(), 0);
                    if let Err(error) = &reply.body {
                        assert!(!error.to_string().is_empty());
                    }
                    let again = serde_json::to_value(&reply).unwrap();
                    let read: Reply = serde_json::from_value(again.clone()).unwrap();
                    assert_eq!(serde_json::to_value(&read).unwrap(), again);
                }
            });
    }

    #[test]
    fn a_message_to_nobody_says_so() {
        let (near, far) = pair().unwrap();
        drop(far);
        assert_eq!(send(&near, &1, &[]), Err(KeeperError::Gone));
    }
}
