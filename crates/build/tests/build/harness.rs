//! A runner for asynchronous tests that speaks as much of the test harness's language as `cargo test` and
//! `cargo nextest` do: `--list`, `--exact`, filters.

use std::process::ExitCode;

use futures::future::BoxFuture;

/// A test and its name.
pub(crate) type Test = (&'static str, fn() -> BoxFuture<'static, ()>);

/// Names asynchronous functions as tests of a module.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::harness::Test] = &[$((
            concat!(module_path!(), "::", stringify!($name)),
            || Box::pin($name()),
        )),*];
    };
}
pub(crate) use tests;

pub(crate) fn run(groups: &[&[Test]]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let tests: Vec<Test> = groups.concat();
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
        let running: Vec<_> = tests
            .into_iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, test)| (name, tokio::spawn(test())))
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
