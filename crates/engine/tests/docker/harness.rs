//! A runner for asynchronous tests, each once for every docker CLI, that speaks as much of the test harness's language as
//! `cargo test` and `cargo nextest` do: `--list`, `--exact`, filters.

use std::process::ExitCode;
use std::sync::Arc;

use futures::future::BoxFuture;
use shipway_testkit::Peer;
use tokio::sync::Semaphore;

/// A test and its name.
pub(crate) type Test = (&'static str, fn(Peer) -> BoxFuture<'static, ()>);

/// Names asynchronous functions as tests of a module.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::harness::Test] = &[$((
            concat!(module_path!(), "::", stringify!($name)),
            |docker| Box::pin($name(docker)),
        )),*];
    };
}
pub(crate) use tests;

/// What the CLIs are called, and under which name their tests are listed.
const RELEASES: &[(&str, &str)] = &[
    ("docker-20.10", "v20"),
    ("docker-26", "v26"),
    ("docker", "newest"),
];
/// Every test has a pod of its own.
const AT_ONCE: usize = 4;

pub(crate) fn run(groups: &[&[Test]]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let mut tests: Vec<(String, BoxFuture<'static, ()>)> = Vec::new();
    for (program, release) in RELEASES {
        if let Some(peer) = Peer::find(program) {
            for (name, test) in groups.concat() {
                tests.push((format!("{release}::{name}"), test(peer.clone())));
            }
        }
    }
    if has("--list") {
        // No test is ignored, and that is what nextest asks with --ignored.
        if !has("--ignored") {
            tests.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| {
                if has("--exact") {
                    name == filter.as_str()
                } else {
                    name.contains(filter.as_str())
                }
            })
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (passed, failed) = runtime.block_on(async {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let running: Vec<_> = tests
            .into_iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, test)| {
                let slots = Arc::clone(&slots);
                let running = tokio::spawn(async move {
                    let _slot = slots.acquire_owned().await;
                    test.await;
                });
                (name, running)
            })
            .collect();
        let (mut passed, mut failed) = (0, 0);
        for (name, test) in running {
            match test.await {
                Ok(()) => {
                    println!("test {name} ... ok");
                    passed += 1;
                }
                Err(_) => {
                    println!("test {name} ... FAILED");
                    failed += 1;
                }
            }
        }
        (passed, failed)
    });
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
