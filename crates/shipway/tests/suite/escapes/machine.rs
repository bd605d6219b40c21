//! The machine that a hostile job is to stay away from: addresses with listeners on them that remember who came, and a name
//! server whose answers change.
//!
//! As root it is a network namespace of the test's own, in which addresses of the world outside, of metadata services and of
//! other pods lead to those listeners: whatever leaves a pod arrives somewhere, so that an attack which nothing holds is seen,
//! and one that must succeed shows that the others could have. As an ordinary user it is the machine as it is.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};

use crate::harness::succeed;

/// An address that any job may reach.
pub(super) const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// Where clouds keep the credentials of their machines.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// In the range that pods have; no pod of a test has it.
const OF_A_POD: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 77);
/// The machine's own.
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// Names whose answers change, and what they change to.
const REBOUND: [(&str, Ipv4Addr); 2] = [
    ("rebind-loopback", Ipv4Addr::LOCALHOST),
    ("rebind-metadata", METADATA),
];

/// Which attack reached which address of the machine.
type Callers = Arc<Mutex<Vec<(&'static str, IpAddr)>>>;

/// The machine, for the thread that made it and the programs that this starts.
pub(super) struct Machine {
    own: bool,
    callers: Callers,
    ports: BTreeMap<&'static str, u16>,
    turns: Arc<[AtomicUsize; 2]>,
}

/// Runs `test` on a machine of its own, with a listener for each of `attacks`.
pub(super) fn on_a_machine(
    attacks: &[&'static str],
    test: impl FnOnce(&Machine) -> Result<()> + Send,
) -> Result<()> {
    std::thread::scope(|scope| {
        let tested = scope.spawn(|| test(&Machine::new(attacks)?)).join();
        tested.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Machine {
    fn new(attacks: &[&'static str]) -> Result<Self> {
        let own = rustix::process::geteuid().is_root();
        let turns = Arc::default();
        if own {
            furnish(&turns)?;
        }
        let callers = Callers::default();
        let listen = |attack: &&'static str| Ok((*attack, listener(attack, &callers)?));
        Ok(Self {
            own,
            ports: attacks.iter().map(listen).collect::<Result<_>>()?,
            callers,
            turns,
        })
    }

    /// Whether the addresses of the world outside are there.
    pub(super) fn has_a_world(&self) -> bool {
        self.own
    }

    /// What a script of attacks needs to know, as assignments of a shell.
    pub(super) fn settings(&self) -> String {
        let own = if self.own {
            OWN.into()
        } else {
            address_of_this_machine()
        };
        format!("export HOST={own} PUBLIC={PUBLIC} METADATA={METADATA} OF_A_POD={OF_A_POD}\n")
    }

    /// The port of an attack's listener; each has its own, so that a caller names the attack.
    pub(super) fn port(&self, attack: &str) -> u16 {
        self.ports.get(attack).copied().unwrap_or_default()
    }

    /// Which addresses an attack reached since this was asked the last time.
    pub(super) fn take_callers(&self) -> BTreeMap<&'static str, Vec<IpAddr>> {
        let callers = std::mem::take(&mut *self.callers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut reached: BTreeMap<_, Vec<IpAddr>> = BTreeMap::new();
        for (attack, address) in callers {
            reached.entry(attack).or_default().push(address);
        }
        reached
    }

    /// How often each of the names that change was asked for.
    pub(super) fn asked_again(&self) -> [usize; 2] {
        std::array::from_fn(|at| self.turns[at].load(Ordering::Relaxed))
    }
}

/// Puts this thread, and what it will start, on a machine of its own.
fn furnish(turns: &Arc<[AtomicUsize; 2]>) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("a machine of the test's own")?;
    let ip = |arguments: &str| succeed(Command::new("ip").args(arguments.split(' '))).map(drop);
    ip("link set lo up")?;
    ip(&format!("address add {OWN}/32 dev lo"))?;
    for address in [PUBLIC, METADATA, OF_A_POD] {
        // Reached, but no address of an interface: the policy must know it by itself.
        ip(&format!("route add local {address}/32 dev lo"))?;
    }
    let socket = UdpSocket::bind("127.0.0.1:53")?;
    let turns = Arc::clone(turns);
    std::thread::spawn(move || answer_names(&socket, &turns));
    let servers = tempfile::NamedTempFile::new()?;
    std::fs::write(servers.path(), "nameserver 127.0.0.1\n")?;
    succeed(Command::new("chmod").arg("a+r").arg(servers.path()))?;
    succeed(Command::new("mount").args(["--make-rprivate", "/"]))?;
    succeed(
        Command::new("mount")
            .arg("--bind")
            .arg(servers.path())
            .arg("/etc/resolv.conf"),
    )?;
    Ok(())
}

fn address_of_this_machine() -> IpAddr {
    let asked = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        // Sends nothing: it asks for the address that would be sent from.
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    asked.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

/// A server on all addresses that answers everybody and remembers where it was reached. It goes with the test's process.
fn listener(attack: &'static str, callers: &Callers) -> Result<u16> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    let callers = Arc::clone(callers);
    std::thread::spawn(move || {
        while let Ok((connection, _)) = listener.accept() {
            if let Ok(address) = connection.local_addr() {
                callers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((attack, address.ip()));
            }
            // Whoever says or hears nothing has come all the same.
            let _ = answer(connection);
        }
    });
    Ok(port)
}

/// Answers a request; one for `/to/HOST:PORT` is sent on to there.
fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    // Read first: closing over unread words resets the connection.
    let mut request = [0; 4096];
    let read = connection.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..read]);
    match request
        .split_whitespace()
        .nth(1)
        .and_then(|path| path.strip_prefix("/to/"))
    {
        Some(place) => write!(
            connection,
            "HTTP/1.0 302 Found\r\nLocation: http://{place}/file\r\nContent-Length: 0\r\n\r\n"
        ),
        None => connection.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nheard\n"),
    }
}

/// Answers for the names that change: the address of the world first and what it hides at every second question, with no time
/// to be remembered. Other names do not exist.
fn answer_names(socket: &UdpSocket, turns: &[AtomicUsize; 2]) {
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query) {
        if let Some(reply) = name_reply(&query[..length], turns) {
            // A client that is gone asks no more.
            let _ = socket.send_to(&reply, client);
        }
    }
}

/// The reply to one question (RFC 1035, section 4.1).
fn name_reply(query: &[u8], turns: &[AtomicUsize; 2]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const TYPE_A: [u8; 2] = [0, 1];
    let labels = query.get(HEADER..)?;
    let first = labels.get(1..=usize::from(*labels.first()?))?;
    let end = HEADER + labels.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(HEADER..end + 4)?;
    let rebound = REBOUND
        .iter()
        .position(|(name, _)| name.as_bytes().eq_ignore_ascii_case(first));
    let address = rebound.filter(|_| query[end..end + 2] == TYPE_A).map(|at| {
        match turns[at].fetch_add(1, Ordering::Relaxed) % 2 {
            0 => PUBLIC,
            _ => REBOUND[at].1,
        }
    });
    // A response, recursion desired and available; "no such name" for the rest.
    let code = if rebound.is_some() { 0x80 } else { 0x83 };
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    reply.extend(question);
    if let Some(address) = address {
        // The name of the question, an address of the internet, for no time, in four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}
