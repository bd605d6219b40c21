//! A hostile job, with the real docker CLI: what it tries against the machine, and what it gets instead.
//!
//! Every attack writes a line `NAME: kept in` or `NAME: ESCAPED`, so that an attack that was not made at all fails the
//! test as well. None would do harm if it worked: what is written is what was there.
//!
//! Seen to fail: with an egress policy that permits everything `loopback` and `add-loopback` get out, without the engine's
//! refusals `pid-host`, `network-host` and `device`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, git_repository};

use crate::harness::{SUITES, User, assert_nothing_left, finish, text};

/// `verdict NAME COMMAND…` runs an attack, which succeeds if it got out.
const ATTACKS: &str = r#"
verdict() {
  name=$1; shift
  if "$@" >/tmp/said 2>&1; then echo "$name: ESCAPED"; cat /tmp/said; else echo "$name: kept in"; fi
}
# Writes to a setting of the machine what it already says.
rewrite() { value=$(cat "$1") && echo "$value" > "$1"; }
verdict core-pattern rewrite /proc/sys/kernel/core_pattern
verdict sysctl rewrite /proc/sys/vm/swappiness
verdict privileged docker run --rm --privileged busybox:1.36 sh -c \
  'v=$(cat /proc/sys/kernel/core_pattern) && echo "$v" > /proc/sys/kernel/core_pattern'
verdict privileged-device docker run --rm --privileged busybox:1.36 mknod /tmp/null c 1 3
verdict root-by-bind docker run --rm -v /:/h busybox:1.36 cat "/h$MARKER"
verdict directory-by-bind docker run --rm -v "$(dirname "$MARKER"):/h" busybox:1.36 cat "/h/$(basename "$MARKER")"
verdict pid-host docker run --rm --pid=host busybox:1.36 true
verdict network-host docker run --rm --network=host busybox:1.36 true
verdict device docker run --rm --device /dev/kmsg busybox:1.36 true
# What the kernel lets a process see of its parent's parents must not hold the runner's environment.
verdict environment sh -c 'cat /proc/*/environ 2>/dev/null | grep -q runner-only-word'
heard() { for address in 127.0.0.1 localhost "$HOST"; do nc -w 3 "$address" "$PORT" </dev/null | grep . && return; done; return 1; }
verdict loopback heard
verdict metadata sh -c 'echo | nc -w 3 169.254.169.254 80 | grep .'
printf 'FROM scratch\nADD http://127.0.0.1:%s/file /file\n' "$PORT" | verdict add-loopback docker build -
printf 'FROM scratch\nADD http://%s:%s/file /file\n' "$HOST" "$PORT" | verdict add-host docker build -
printf 'FROM scratch\nADD http://169.254.169.254/file /file\n' | verdict add-metadata docker build -
verdict pull-loopback docker pull "127.0.0.1:$PORT/a/b:1"
verdict pull-host docker pull "$HOST:$PORT/a/b:1"
verdict remote-context docker build "http://127.0.0.1:$PORT/context.tar"
# The socket's directory is the job's to exchange; a mode that the engine gives by path would follow.
socket=$(ls /var/run/docker.sock /run/docker.sock 2>/dev/null | head -n 1)
verdict socket-exchange sh -c "rm -f $socket && ln -s $MARKER $socket"
echo "all was tried"
"#;

/// The attacks, by the names that the script gives them.
const NAMES: [&str; 19] = [
    "core-pattern",
    "sysctl",
    "privileged",
    "privileged-device",
    "root-by-bind",
    "directory-by-bind",
    "pid-host",
    "network-host",
    "device",
    "environment",
    "loopback",
    "metadata",
    "add-loopback",
    "add-host",
    "add-metadata",
    "pull-loopback",
    "pull-host",
    "remote-context",
    "socket-exchange",
];

const PIPELINE: &str = "\
attack:
  image: docker:24.0.5-cli
  script:
    - sh attacks
";

/// A server on all addresses of the machine that answers everybody, and tells who came. It goes with the test's process.
fn victim() -> Result<(u16, Receiver<SocketAddr>)> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    let (tell, callers) = channel();
    std::thread::spawn(move || {
        while let Ok((mut connection, caller)) = listener.accept() {
            // Read first: closing over unread words resets the connection. Whoever says or hears nothing has come all the same.
            let _ = connection.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nheard\n");
            if tell.send(caller).is_err() {
                break;
            }
        }
    });
    Ok((port, callers))
}

#[test]
fn a_hostile_job_reaches_nothing_of_the_machine() -> Result<()> {
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let marker = user.home.path().join("marker");
        std::fs::write(&marker, "of the machine")?;
        std::fs::set_permissions(&marker, std::fs::Permissions::from_mode(0o644))?;
        let (port, callers) = victim()?;
        let host = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            // Sends nothing: it asks for the address that would be sent from.
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        let host = host.map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string());

        let files = tempfile::tempdir()?;
        std::fs::write(files.path().join(".gitlab-ci.yml"), PIPELINE)?;
        let settings = format!("MARKER={}\nPORT={}\nHOST={host}\n", marker.display(), port);
        std::fs::write(files.path().join("attacks"), settings + ATTACKS)?;
        std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755))?;
        let repository = git_repository(&user.home, files.path(), "group/hostile", "main")?;
        let mut run = user.shipway(&["run"]);
        run.env("ONLY_THE_RUNNER_HAS", "runner-only-word");
        let trace = text(&finish(run.current_dir(&repository))?);

        ensure!(trace.contains("all was tried"), "as {}:\n{trace}", account.name());
        for name in NAMES {
            ensure!(
                trace.contains(&format!("{name}: kept in")),
                "as {}: {name} got out:\n{trace}",
                account.name()
            );
        }
        let callers: Vec<SocketAddr> = callers.try_iter().collect();
        ensure!(
            callers.is_empty(),
            "as {}: the machine was reached by {callers:?}",
            account.name()
        );
        let mode = std::fs::metadata(&marker)
            .context("the marker")?
            .permissions()
            .mode();
        ensure!(
            mode & 0o7777 == 0o644,
            "as {}: the marker has mode {mode:o}",
            account.name()
        );
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}

const BOMB: &str = "i=0; while [ $i -lt 1000 ]; do sleep 1000 & i=$((i+1)); done; echo every one started";

/// One job fills its pod with processes while another one, and afterwards a build, go on in theirs.
#[test]
fn a_fork_bomb_ends_its_job_alone() -> Result<()> {
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let settings = user.home.path().join("shipway.toml");
        std::fs::write(&settings, "[limits]\nprocesses = 600\n")?;
        std::fs::set_permissions(&settings, std::fs::Permissions::from_mode(0o644))?;
        let settings = settings.to_string_lossy();
        let files = tempfile::tempdir()?;
        let pipeline = format!(
            "bomb:\n  image: busybox:1.36\n  script:\n    - '{BOMB}'\nbeside:\n  image: busybox:1.36\n  script:\n    - 'echo \"still $((6 * 7))\"'\n"
        );
        std::fs::write(files.path().join(".gitlab-ci.yml"), pipeline)?;
        std::fs::write(
            files.path().join("Dockerfile"),
            format!("FROM busybox:1.36\nRUN {BOMB}\n"),
        )?;
        std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755))?;
        let repository = git_repository(&user.home, files.path(), "group/bomb", "main")?;
        let mut runs = Vec::new();
        for arguments in [&["run"][..], &["build", "--no-cache", "."]] {
            let mut command = user.shipway(&["--config", &settings]);
            let output = finish(command.args(arguments).current_dir(&repository))?;
            let said = text(&output);
            ensure!(
                output.status.code() == Some(1) && said.contains("can't fork"),
                "as {}: {arguments:?} ended with {}:\n{said}",
                account.name(),
                output.status
            );
            ensure!(
                !said.contains("\nevery one started"),
                "as {}:\n{said}",
                account.name()
            );
            runs.push(said);
        }
        ensure!(
            runs[0].contains("still 42"),
            "as {}:\n{}",
            account.name(),
            runs[0]
        );
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}
