//! What a crash may do: nothing that was acknowledged is lost, nothing stays behind, and work goes on.
//!
//! The roles of a process and where each is ended by `kill -9`:
//!
//! | Role | Points | File |
//! |---|---|---|
//! | `serve` | upload, push, tag, delete | `registry` |
//! | `engine`, with the relay and the names of its pod | build, tag, push, delete, unpack | `engine` |
//! | `run`, with the engine and the relay of its job | build, tag, push, delete, unpack | `pipeline` |
//! | `build`, `gc` and `prune` | build and push in one process; collection; removal of unpacked layers | `commands` |
//! | keeper (process 1 of a pod), its workers, and its supervisor, the launcher that waits for it | build, unpack | `keeper` |
//!
//! The relay is a task of the process that owns the pod and has no process of its own: it ends with `engine` and `run`.
//! A power cut, which takes the kernel along, is in [`power`].
//! [`killer`] says how the moment is chosen, [`Ledger`](crate::harness::Ledger) what is looked for afterwards.
//!
//! `SHIPWAY_TEST_CRASHES` is how often each role is ended at each kind of call at each of its points, once if it is not set; every
//! other time as an ordinary user. Each test prints how often that was, by account and call, which nextest shows with
//! `--success-output final`.

mod commands;
mod engine;
mod held;
mod http;
mod keeper;
mod killer;
mod pipeline;
mod power;
mod registry;
mod rounds;

use shipway_testkit::{Account, Peer};

use killer::Strace;

/// How often each role is ended at each kind of call at each point.
fn kills() -> usize {
    std::env::var("SHIPWAY_TEST_CRASHES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

/// The accounts, and what ends their processes. Nothing for callers who may not trace other users' processes.
fn accounts() -> Option<(Vec<Account>, Strace)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    Peer::find("strace").map(|strace| (Account::all(), Strace::new(&strace)))
}
