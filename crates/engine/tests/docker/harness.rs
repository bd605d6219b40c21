//! Asynchronous tests, each once for every release of the docker CLI that is there.

use std::process::ExitCode;

use futures::future::BoxFuture;
use shipway_testkit::{Peer, harness};

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

pub(crate) fn run(groups: &[&[Test]]) -> ExitCode {
    let mut tests: Vec<(String, BoxFuture<'static, ()>)> = Vec::new();
    for (program, release) in RELEASES {
        if let Some(peer) = Peer::find(program) {
            for (name, test) in groups.concat() {
                tests.push((format!("{release}::{name}"), test(peer.clone())));
            }
        }
    }
    harness::run_futures(tests)
}
