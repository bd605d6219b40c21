//! Who listens where this installation's registry is expected: nobody, the registry, or somebody else.
//!
//! A registry of ours proves to read our store. Every command asks before it does anything, so the whole question has one
//! short deadline, and who is too slow for it, or answers anything else, is somebody else.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use shipway_access::{Access, IdentityChallenge, IdentityProof};
use shipway_registry::wire::{SHIPWAY_CHALLENGE, SHIPWAY_PROOF};

/// How long connecting, asking and the answer may take together.
const PATIENCE: Duration = Duration::from_millis(300);
/// The head of an answer is a few hundred bytes.
const LONGEST_ANSWER: u64 = 16 << 10;

/// Whether the address is this installation's registry: nobody listens there, or whoever does proves to be it. Blocks.
pub(super) fn is_ours(listen: SocketAddr, access: &Access) -> bool {
    let deadline = Instant::now() + PATIENCE;
    match TcpStream::connect_timeout(&listen, PATIENCE) {
        Err(_) => true,
        Ok(stream) => {
            let challenge = IdentityChallenge::fresh();
            let stream = Until { stream, deadline };
            answer_to(&challenge, stream, listen).is_some_and(|proof| access.is_proof(&challenge, &proof))
        }
    }
}

/// What the registry at the other end answers to a challenge, which stands in the answer's head.
fn answer_to(challenge: &IdentityChallenge, mut stream: Until, host: SocketAddr) -> Option<IdentityProof> {
    let question = format!("GET /v2/ HTTP/1.0\r\nHost: {host}\r\n{SHIPWAY_CHALLENGE}: {challenge}\r\n\r\n");
    stream.write_all(question.as_bytes()).ok()?;
    let lines = BufReader::new(stream.take(LONGEST_ANSWER)).split(b'\n');
    let mut head = lines
        .map_while(Result::ok)
        .take_while(|line| !line.trim_ascii().is_empty());
    head.find_map(|line| {
        let (name, value) = std::str::from_utf8(&line).ok()?.split_once(':')?;
        let is_proof = SHIPWAY_PROOF.as_str().eq_ignore_ascii_case(name);
        is_proof.then(|| value.trim().parse().ok())?
    })
}

/// A stream that is good until some time, however slowly it moves.
struct Until {
    stream: TcpStream,
    deadline: Instant,
}

impl Until {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }
}

impl io::Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl io::Write for Until {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_store::Store;
    use std::net::TcpListener;
    use std::sync::mpsc;

    /// Longer than any test waits, unless it fails.
    const FOREVER: Duration = Duration::from_secs(60);

    #[test]
    fn a_byte_now_and_then_does_not_hold_the_question_whose_registry_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (given_up, hears) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // Each byte comes well within the patience; as many as are read at most would take minutes.
                let mut bytes = (0..2000).take_while(|_| hears.recv_timeout(PATIENCE / 10).is_err());
                assert!(!bytes.all(|_| stream.write_all(b"x").is_ok()), "it read on");
            });
            let stream = TcpStream::connect(address).unwrap();
            let deadline = Instant::now() + PATIENCE;
            let stream = Until { stream, deadline };
            assert!(answer_to(&IdentityChallenge::fresh(), stream, address).is_none());
            drop(given_up);
        });
    }

    #[test]
    fn a_proof_counts_before_the_connection_ends_and_only_in_the_head() {
        let directory = tempfile::tempdir().unwrap();
        let access = Access::new(Store::open(&directory.path().join("store")).unwrap()).unwrap();
        let challenge = IdentityChallenge::fresh();
        let proof = access.prove(&challenge);
        let header = format!("{SHIPWAY_PROOF}: {proof}\r\n");
        for (answer, proves) in [
            (format!("HTTP/1.1 401 Unauthorized\r\n{header}"), true),
            (format!("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n{header}"), false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (decided, hears) = mpsc::channel::<()>();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.write_all(answer.as_bytes()).unwrap();
                    let _ = hears.recv_timeout(FOREVER);
                });
                let stream = TcpStream::connect(address).unwrap();
                let deadline = Instant::now() + FOREVER;
                let found = answer_to(&challenge, Until { stream, deadline }, address);
                assert_eq!(
                    found.is_some_and(|found| access.is_proof(&challenge, &found)),
                    proves
                );
                assert!(Instant::now() < deadline, "it waited for the connection to end");
                drop(decided);
            });
        }
    }
}
