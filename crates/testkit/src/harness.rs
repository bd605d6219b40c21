//! A harness for test binaries with a main of their own, which speaks as much of the standard one's language as `cargo
//! test` and `cargo nextest` use: `--list`, `--ignored`, `--exact`, filters.
//!
//! The keeper of every pod is the test binary itself, re-executed. Its main must ask for that before anything else, so the
//! standard harness, whose main is its own, cannot be used.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

/// Every asynchronous test has a pod of its own; more of them at once only wait for each other.
const AT_ONCE: usize = 4;

/// A test that runs alone in its process, and its name.
pub type BlockingTest = (&'static str, fn());

/// An asynchronous test and its name; [`tests!`](crate::tests) writes them.
pub type Test = (&'static str, fn() -> BoxFuture<'static, ()>);

/// Names asynchronous functions as tests of a module: `tests![first, second]` defines `TESTS`.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::harness::Test] = &[$((
            concat!(module_path!(), "::", stringify!($name)),
            || Box::pin($name()),
        )),*];
    };
}

/// Runs the tests that the arguments ask for, one after the other on this thread.
#[must_use]
pub fn run_blocking(groups: &[&[BlockingTest]]) -> ExitCode {
    let arguments = Arguments::of_process();
    let tests = groups.concat();
    if arguments.list {
        return arguments.print_list(tests.iter().map(|(name, _)| *name));
    }
    let mut tally = Tally::default();
    for (name, test) in tests {
        if arguments.want(name) {
            tally.count(name, catch_unwind(AssertUnwindSafe(test)).is_ok());
        }
    }
    tally.exit_code()
}

/// Runs the tests that the arguments ask for, a few at a time.
///
/// # Panics
/// When there is no thread to run them on.
#[must_use]
pub fn run(groups: &[&[Test]]) -> ExitCode {
    let tests = groups.concat();
    run_futures(
        tests
            .into_iter()
            .map(|(name, test)| (name.to_owned(), test()))
            .collect(),
    )
}

/// As [`run`], for tests that are made as the binary starts: the same one for several peers, say.
///
/// # Panics
/// When there is no thread to run them on.
#[must_use]
pub fn run_futures(tests: Vec<(String, BoxFuture<'static, ()>)>) -> ExitCode {
    let arguments = Arguments::of_process();
    if arguments.list {
        return arguments.print_list(tests.iter().map(|(name, _)| name.as_str()));
    }
    #[expect(clippy::expect_used, reason = "a test binary without threads has failed")]
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads for the tests");
    let mut tally = Tally::default();
    runtime.block_on(async {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let running: Vec<_> = tests
            .into_iter()
            .filter(|(name, _)| arguments.want(name))
            .map(|(name, test)| {
                let slots = Arc::clone(&slots);
                let running = tokio::spawn(async move {
                    let _slot = slots.acquire_owned().await;
                    test.await;
                });
                (name, running)
            })
            .collect();
        for (name, test) in running {
            tally.count(&name, test.await.is_ok());
        }
    });
    tally.exit_code()
}

/// What the caller asks of a test binary.
struct Arguments {
    list: bool,
    ignored: bool,
    exact: bool,
    filters: Vec<String>,
}

impl Arguments {
    fn of_process() -> Self {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let (flags, filters): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument.starts_with('-'));
        let has = |flag: &str| flags.iter().any(|given| given == flag);
        Self {
            list: has("--list"),
            ignored: has("--ignored"),
            exact: has("--exact"),
            filters,
        }
    }

    fn want(&self, name: &str) -> bool {
        let meant = |filter: &String| {
            if self.exact {
                name == filter
            } else {
                name.contains(filter)
            }
        };
        self.filters.is_empty() || self.filters.iter().any(meant)
    }

    /// No test is ignored, and that is what nextest asks with `--ignored`.
    #[expect(clippy::print_stdout, reason = "the list is what the caller reads")]
    fn print_list<'a>(&self, names: impl Iterator<Item = &'a str>) -> ExitCode {
        if !self.ignored {
            names.for_each(|name| println!("{name}: test"));
        }
        ExitCode::SUCCESS
    }
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

#[expect(clippy::print_stdout, reason = "the verdicts are what the caller reads")]
impl Tally {
    fn count(&mut self, name: &str, passed: bool) {
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        self.passed += usize::from(passed);
        self.failed += usize::from(!passed);
    }

    fn exit_code(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::parse(words.iter().map(ToString::to_string))
    }

    #[test]
    fn filters_choose_by_part_or_exactly() {
        assert!(arguments(&[]).want("run::first"));
        assert!(arguments(&["first"]).want("run::first"));
        assert!(!arguments(&["second"]).want("run::first"));
        assert!(!arguments(&["--exact", "first"]).want("run::first"));
        assert!(arguments(&["--exact", "run::first"]).want("run::first"));
    }

    #[test]
    fn a_panic_is_a_failure_and_the_exit_code_says_so() {
        let mut tally = Tally::default();
        tally.count("good", true);
        assert_eq!(tally.exit_code(), ExitCode::SUCCESS);
        tally.count("bad", false);
        assert_eq!(tally.exit_code(), ExitCode::FAILURE);
    }
}
