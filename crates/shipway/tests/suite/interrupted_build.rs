//! Ctrl-C and `kill -9` of `shipway build` in the middle of a RUN, of a layer that is written, and of a push: no process, no scratch
//! directory and no half image stays behind, and the next build works.
//!
//! Where the build has come to is seen, not guessed: by what the step says, by a blob that has begun, by a proxy that lets a part of
//! a push through and no more.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use shipway_testkit::{Account, Peer, wait_for};

use crate::harness::{
    CREDENTIALS, User, after_collection, assert_nothing_left, leftovers, names, succeed, succeed_fed, text,
    works,
};

/// Enough that a layer of it is seen while it is written.
const LARGE: usize = 96 << 20;
/// Of the requests of a push this much gets through.
const PASSED: u64 = 600_000;
/// What a finished or a given up build leaves among the keepers' directories.
const LASTING: &[&str] = &["layers", "caches", ".keeper", "pods", "kept"];

/// How a build is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// As a terminal's Ctrl-C: everybody in the process group gets it.
    ControlC,
    /// As the kernel ends a process, which does nothing any more.
    Kill,
}

/// Where a build runs: as whom, and in which tier if that is to be chosen.
#[derive(Debug, Clone, Copy)]
struct Place {
    account: Account,
    tier: Option<&'static str>,
}

impl Place {
    /// Tier A for everybody, tier C for root.
    fn all() -> Vec<Self> {
        let mut places: Vec<Self> = Account::all()
            .into_iter()
            .map(|account| Self { account, tier: None })
            .collect();
        if rustix::process::geteuid().is_root() {
            places.push(Self {
                account: Account::Caller,
                tier: Some("C"),
            });
        }
        places
    }

    /// A command of the user's, with a directory for temporary files that is watched.
    fn shipway(self, user: &User, arguments: &[&str]) -> Result<Command> {
        let temporary = user.home.path().join("tmp");
        if !temporary.is_dir() {
            std::fs::create_dir(&temporary)?;
            self.account.own(&temporary)?;
        }
        let mut command = user.shipway(arguments);
        command.env("TMPDIR", &temporary);
        if let Some(tier) = self.tier {
            command.env("SHIPWAY_TIER", tier);
        }
        Ok(command)
    }
}

/// A build under way, the leader of a process group.
struct Started {
    process: Child,
    said: mpsc::Receiver<String>,
    reader: JoinHandle<()>,
}

impl Started {
    fn new(mut command: Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let lines = BufReader::new(process.stderr.take().context("standard error")?).lines();
        let (tell, said) = mpsc::channel();
        // Whoever reads no further must not stop the build: it is drained to its end.
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Ok(Self {
            process,
            said,
            reader,
        })
    }

    /// Waits for a line that ends so.
    fn says(&self, end: &str) -> Result<()> {
        loop {
            let line = self.said.recv_timeout(Duration::from_secs(60));
            if line
                .with_context(|| format!("the build never said `{end}`"))?
                .ends_with(end)
            {
                return Ok(());
            }
        }
    }

    /// Ends it, and insists that it has not ended by itself.
    fn ends_by(mut self, blow: Blow) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.process.id())?).context("a process id")?;
        match blow {
            Blow::ControlC => kill_process_group(pid, Signal::INT)?,
            Blow::Kill => kill_process(pid, Signal::KILL)?,
        }
        let status: ExitStatus = wait_for(Duration::from_secs(30), || match self.process.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("the build goes on".to_owned()),
            Err(error) => Err(error.to_string()),
        })?;
        let is_right = match blow {
            Blow::ControlC => status.code() == Some(130),
            Blow::Kill => status.signal() == Some(Signal::KILL.as_raw()),
        };
        let _ = self.reader.join();
        let said: Vec<String> = self.said.try_iter().collect();
        ensure!(is_right, "{blow:?}: {status}\n{}", said.join("\n"));
        Ok(())
    }
}

/// A build context with these steps behind a busybox, and a file that makes a large layer.
fn context(user: &User, steps: &str) -> Result<PathBuf> {
    let context = user.busybox_context("interrupted")?;
    let begin = "FROM scratch\nCOPY busybox /bin/\nSHELL [\"/bin/busybox\", \"sh\", \"-ec\"]\n";
    std::fs::write(context.join("Dockerfile"), format!("{begin}{steps}"))?;
    Ok(context)
}

/// Bytes that no compression makes smaller, without a source of chance: a Weyl sequence, mixed.
fn incompressible(length: usize) -> Vec<u8> {
    let mut state = 0_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 27)).to_le_bytes());
    }
    bytes
}

/// The blobs of a store that are being written.
fn incoming(user: &User) -> PathBuf {
    user.home.data().join("store/incoming")
}

/// Insists that what was ended has left nothing, and that the next build finds all as it should be.
fn nothing_stays(place: Place, user: &User, blow: Blow) -> Result<()> {
    assert_nothing_left(&user.home)?;
    if blow == Blow::ControlC {
        let left = leftovers(&user.home.data());
        ensure!(left.is_empty(), "given up and still there: {left:?}");
        let half = names(&incoming(user));
        ensure!(half.is_empty(), "half written blobs: {half:?}");
    }
    // The sweep of what is left does not wait for anybody, nor anybody for it.
    wait_for(Duration::from_secs(30), || {
        age(&incoming(user)).map_err(|error| format!("{error:#}"))?;
        next(place, user).map_err(|error| format!("{error:#}"))?;
        let mut left = leftovers(&user.home.data());
        left.extend(names(&incoming(user)));
        left.extend(names(&user.home.path().join("tmp")));
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("left behind: {left:?}")),
        }
    })?;
    for class in names(&user.home.data().join("keeper")) {
        let class = user.home.data().join("keeper").join(class);
        let strange: Vec<String> = names(&class)
            .into_iter()
            .filter(|name| !LASTING.contains(&name.as_str()))
            .collect();
        ensure!(
            !class.is_dir() || strange.is_empty(),
            "in {}: {strange:?}",
            class.display()
        );
    }
    succeed(&mut place.shipway(user, &["fsck"])?)?;
    let listed = text(&succeed(&mut place.shipway(user, &["image", "ls", "--all"])?)?);
    ensure!(!listed.contains("interrupted"), "half an image:\n{listed}");
    assert_nothing_left(&user.home)
}

/// A file without a lock is swept when it is old enough not to be somebody's beginning.
fn age(directory: &Path) -> Result<()> {
    let mut command = Command::new("find");
    command
        .arg(directory)
        .args(["-type", "f", "-exec", "touch", "--date=yesterday", "{}", "+"]);
    succeed(&mut command).map(drop)
}

/// A whole build, with steps that start programs.
fn next(place: Place, user: &User) -> Result<()> {
    let context = user.busybox_context("afterwards")?;
    let mut build = place.shipway(user, &["build", "--quiet", "--no-cache", "--tag", "local/next"])?;
    succeed(build.arg(&context)).context("the next build").map(drop)
}

/// Ends a build in each way at one point, in each place.
fn interrupt(
    steps: &str,
    prepare: impl Fn(&Path) -> Result<()>,
    reached: impl Fn(&User, &Started) -> Result<()>,
) -> Result<()> {
    for place in Place::all() {
        for blow in [Blow::ControlC, Blow::Kill] {
            let one = || -> Result<()> {
                let user = User::new(place.account)?;
                let context = context(&user, steps)?;
                prepare(&context)?;
                next(place, &user)?;
                let mut build = place.shipway(
                    &user,
                    &["build", "--progress=plain", "--tag", "local/interrupted:1"],
                )?;
                build.arg(&context);
                let started = Started::new(build)?;
                reached(&user, &started)?;
                started.ends_by(blow)?;
                nothing_stays(place, &user, blow)
            };
            one().with_context(|| format!("{place:?}, {blow:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_run_that_is_ended_leaves_nothing() -> Result<()> {
    let steps = "RUN --mount=type=cache,target=/c trap '' TERM INT; (busybox sleep 1000 &); echo the step r''uns; \
                 while true; do busybox sleep 1000; done\n";
    interrupt(steps, |_| Ok(()), |_, started| started.says("the step runs"))
}

#[test]
fn a_layer_that_is_not_whole_leaves_nothing() -> Result<()> {
    interrupt(
        // However fast the layer is whole, the build is not over before it is ended.
        "COPY large /large\nRUN busybox sleep 1000\n",
        |context| Ok(std::fs::write(context.join("large"), incompressible(LARGE))?),
        |user, _| {
            wait_for(Duration::from_secs(60), || {
                let mut longest = 0;
                for name in names(&incoming(user)) {
                    let found = std::fs::metadata(incoming(user).join(name));
                    longest = longest.max(found.map_or(0, |blob| blob.len()));
                }
                // More than any layer of this build but the large one has.
                match longest {
                    4_000_000.. => Ok(()),
                    bytes => Err(format!("the largest blob under way has {bytes} bytes")),
                }
            })
        },
    )
}

#[test]
fn a_push_that_is_ended_leaves_nothing() -> Result<()> {
    let Some(skopeo) = Peer::find("skopeo") else {
        return Ok(());
    };
    for place in Place::all() {
        for blow in [Blow::ControlC, Blow::Kill] {
            let other = User::new(Account::Caller)?;
            let registry = other.serve()?;
            let stalling = Stalling::before(registry.address.parse()?, PASSED)?;
            let user = User::new(place.account)?;
            let context = context(&user, "COPY large /large\n")?;
            std::fs::write(context.join("large"), incompressible(4 << 20))?;
            login(&user, &stalling.address.to_string())?;
            let through = |address: &str| format!("{address}/group/pushed:1");
            let build = |address: &str| -> Result<Command> {
                let name = through(address);
                let mut build =
                    place.shipway(&user, &["build", "--progress=plain", "--push", "--tag", &name])?;
                build.arg(&context);
                Ok(build)
            };
            let started = Started::new(build(&stalling.address.to_string())?)?;
            stalling.is_reached()?;
            started.ends_by(blow)?;
            nothing_stays(place, &user, blow)?;
            let listed = succeed(&mut other.shipway(&["image", "ls", "--registry"]))?;
            ensure!(
                !text(&listed).contains("group/pushed"),
                "{place:?}, {blow:?}: the registry names half an image:\n{}",
                text(&listed)
            );
            // Past the proxy, from what the first one built.
            login(&user, &registry.address)?;
            succeed(&mut build(&registry.address)?)?;
            let pulled = registry.pull(&other.home, "group/pushed:1")?;
            ensure!(pulled.is_some(), "{} pulls", skopeo.path().display());
            ensure!(registry.end()?.success(), "the registry");
            after_collection(&other)?;
            works(&other)?;
        }
    }
    Ok(())
}

#[test]
fn what_is_made_around_an_interruption_is_nobody_elses_to_write() -> Result<()> {
    // The second of two builds that are compared runs under another umask.
    let steps = "RUN --mount=type=cache,target=/c echo a >> /c/f; busybox cat /c/f; \
                 test $(busybox wc -l < /c/f) = 1 || { echo the second r''uns; busybox sleep 1000; }\n";
    let user = User::new(Account::Caller)?;
    let context = context(&user, steps)?;
    let place = Place {
        account: Account::Caller,
        tier: None,
    };
    let mut build = place.shipway(&user, &["build", "--progress=plain", "--verify-reproducible"])?;
    build.arg(&context);
    let started = Started::new(build)?;
    started.says("the second runs")?;
    started.ends_by(Blow::ControlC)?;
    nothing_stays(place, &user, Blow::ControlC)?;
    let mut waiting = vec![user.home.data()];
    while let Some(directory) = waiting.pop() {
        // What is below is the steps' own.
        if directory.ends_with("keeper") {
            continue;
        }
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let status = entry.metadata()?;
            let mode = status.permissions().mode() & 0o7777;
            ensure!(mode & 0o022 == 0, "{mode:o} {}", entry.path().display());
            if status.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(())
}

fn login(user: &User, registry: &str) -> Result<()> {
    let (name, password) = CREDENTIALS.split_once(':').context("a name and a password")?;
    let file = user.home.work().join("password");
    std::fs::write(&file, password)?;
    let mut login = user.shipway(&["login", "--username", name, "--password-stdin", registry]);
    succeed_fed(&mut login, std::fs::File::open(&file)?).map(drop)
}

/// A proxy that lets so many bytes of requests through and swallows what comes then, until the client has gone.
struct Stalling {
    address: SocketAddr,
    reached: mpsc::Receiver<()>,
}

impl Stalling {
    fn before(registry: SocketAddr, limit: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (tell, reached) = mpsc::channel();
        let passed = Arc::new(AtomicU64::new(0));
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (tell, passed) = (tell.clone(), Arc::clone(&passed));
                std::thread::spawn(move || pass(client, registry, &passed, limit, &tell));
            }
        });
        Ok(Self { address, reached })
    }

    fn is_reached(&self) -> Result<()> {
        match self.reached.recv_timeout(Duration::from_secs(60)) {
            Ok(()) => Ok(()),
            Err(error) => bail!("the push never sent {PASSED} bytes: {error}"),
        }
    }
}

/// Passes one connection on. An error of either side is its end.
fn pass(
    mut client: TcpStream,
    registry: SocketAddr,
    passed: &AtomicU64,
    limit: u64,
    tell: &mpsc::Sender<()>,
) -> Option<()> {
    let mut server = TcpStream::connect(registry).ok()?;
    let (mut answers, mut to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let answering = std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut piece = [0; 16 << 10];
    while let Some(length) = client.read(&mut piece).ok().filter(|length| *length > 0) {
        if passed.fetch_add(length as u64, Ordering::Relaxed) > limit {
            let _ = tell.send(());
        } else {
            server.write_all(&piece[..length]).ok()?;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = answering.join();
    Some(())
}
