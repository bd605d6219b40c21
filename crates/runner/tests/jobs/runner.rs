//! As much of the test harness as `cargo test` and `cargo nextest` use: `--list`, `--exact`, filters.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// A test and its name.
pub(crate) type Test = (&'static str, fn());

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
    let is_meant = |name: &str| {
        let meant = |filter: &&String| {
            if has("--exact") {
                name == filter.as_str()
            } else {
                name.contains(filter.as_str())
            }
        };
        filters.is_empty() || filters.iter().any(meant)
    };
    let mut failed = 0;
    for (name, test) in tests.into_iter().filter(|(name, _)| is_meant(name)) {
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
