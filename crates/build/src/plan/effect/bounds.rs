//! Dockerfiles that are small and would become large: each is refused before it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use shipway_oci::Platform;

use super::super::arguments::{Declarations, GlobalArguments};
use super::tests::applied;
use super::*;
use crate::dockerfile::parse;

/// Far above what these take, far below what they took without a bound.
const SOON: Duration = Duration::from_secs(60);

fn repeated(count: usize, write: impl Fn(&mut String, usize)) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        write(&mut text, number);
        text
    })
}

/// A variable `B` of 960 kB.
fn large(instruction: &str) -> String {
    let part = "a".repeat(60_000);
    format!("{instruction} A={part}\n{instruction} B={}\n", "$A".repeat(16))
}

fn refused(text: &str, wanted: &str) {
    let begin = Instant::now();
    let message = applied(text).expect_err("too much");
    assert!(message.contains(wanted), "{message}");
    assert!(begin.elapsed() < SOON, "{wanted}: {:?}", begin.elapsed());
}

#[test]
fn values_of_values_have_a_bound() {
    for (first, last) in [("ARG", "ARG"), ("ENV", "ENV"), ("ENV", "LABEL"), ("ARG", "LABEL")] {
        let many = repeated(500, |text, number| {
            let _ = write!(text, " x{number}=$B");
        });
        refused(
            &format!("{}{last}{many}\n", large(first)),
            "the image's configuration has more than 8388608 bytes",
        );
        let lines = repeated(50, |text, number| {
            let _ = writeln!(text, "{last} x{number}=$B");
        });
        refused(&format!("{}{lines}", large(first)), "configuration has more than");
    }
    let volumes = "$B ".repeat(500);
    refused(
        &format!("{}VOLUME {volumes}\n", large("ENV")),
        "configuration has more than",
    );
}

#[test]
fn ports_have_a_bound() {
    let (config, _) = applied("EXPOSE 0-65535").expect("all ports");
    assert_eq!(config.config.exposed_ports.len(), 65_536);
    refused(
        &format!("EXPOSE {}\n", "0-65535 ".repeat(500)),
        "configuration has more than",
    );
}

#[test]
fn variables_have_a_number() {
    for instruction in ["ENV", "ARG"] {
        let many = repeated(5_000, |text, number| {
            let _ = write!(text, " x{number}=a");
        });
        refused(
            &format!("{instruction}{many}\n"),
            "more than 4096 variables in one stage",
        );
    }
}

/// A COPY keeps nothing of its sources, and each of them may be a megabyte.
#[test]
fn all_expansions_together_have_a_bound() {
    let file = parse(format!("FROM a\n{}", large("ENV")).as_bytes(), "Dockerfile").expect("a file");
    let global = GlobalArguments::new(&file, &BTreeMap::new(), &Platform::host(), None).expect("expandable");
    let effects = |config| {
        let arguments = Arguments::new(&global, Declarations::default());
        Effects::new("Dockerfile", '\\', config, arguments)
    };
    let mut first = effects(ImageConfig::new(&Platform::host()));
    let steps = &file.stages[0].steps;
    steps
        .iter()
        .for_each(|step| drop(first.apply(step).expect("one large value")));
    let word = || first.word(&steps[0], "$B");
    global.charge(250 << 20).expect("so much is allowed");
    let words = (0..20).take_while(|_| word().is_ok()).count();
    assert!((1..20).contains(&words), "{words}");
    let message = word().expect_err("used up").message;
    assert!(
        message.contains("expand to more than 268435456 bytes in all"),
        "{message}"
    );
}

/// A thousand stages may begin with one image, whose configuration may have megabytes.
#[test]
fn what_stages_begin_with_has_a_bound() {
    let file = parse(b"FROM a", "Dockerfile").expect("a file");
    let global = GlobalArguments::new(&file, &BTreeMap::new(), &Platform::host(), None).expect("expandable");
    let begin = |config: &ImageConfig| {
        let arguments = Arguments::new(&global, Declarations::default());
        Effects::new("Dockerfile", '\\', config.clone(), arguments).begin()
    };
    let mut config = ImageConfig::new(&Platform::host());
    (0..1000).for_each(|_| begin(&config).expect("small"));
    config.config.on_build = vec!["USER a".to_owned(); limits::INSTRUCTIONS + 1];
    assert!(
        begin(&config)
            .expect_err("many")
            .contains("more than 10000 ONBUILD triggers")
    );
    config.config.on_build.clear();
    config.config.env = vec!["a=b".to_owned(); limits::VARIABLES + 1];
    assert!(
        begin(&config)
            .expect_err("many")
            .contains("more than 4096 variables")
    );
    config.config.env = vec![format!("a={}", "b".repeat(7 << 20))];
    global.charge(230 << 20).expect("so much is allowed");
    let begun = (0..10).take_while(|_| begin(&config).is_ok()).count();
    assert!((1..10).contains(&begun), "{begun}");
}

#[test]
fn a_long_shell_counts_in_each_history() {
    let shell = format!("SHELL [\"{}\"]\n", "s".repeat(1 << 20));
    refused(
        &format!("{shell}{}", "CMD x\n".repeat(1_000)),
        "configuration has more than",
    );
}
