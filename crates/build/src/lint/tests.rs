//! The rules against the golden folders under `tests/lint`, and against foreign bytes.
//!
//! One directory, one case: `Dockerfile` with `expected`. Beside them may lie `.dockerignore`, `arguments` with a build
//! argument a line, `target` with a stage's name, `base.json` with the configuration of every base image, or
//! `unknown-bases`, when nothing is known of any.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use shipway_oci::{Digest, ImageConfig, Platform};

use super::{Facts, Report, Rule, check};
use crate::dockerfile::parse_as_far_as_possible;
use crate::ignore::IgnoreList;
use crate::named::NamedContexts;

fn usual_base() -> ImageConfig {
    let mut config = ImageConfig::new(&Platform::new("linux", "amd64"));
    config.config.env = vec!["PATH=/usr/bin:/bin".to_owned(), "HOME=/root".to_owned()];
    config.rootfs.diff_ids = vec![Digest::sha256(b"a layer")];
    config
}

struct Case {
    dockerfile: Vec<u8>,
    ignore: Vec<u8>,
    arguments: BTreeMap<String, Option<String>>,
    target: Option<String>,
    base: Option<ImageConfig>,
}

impl Case {
    fn of_text(text: &str) -> Self {
        Self {
            dockerfile: text.as_bytes().to_vec(),
            ignore: Vec::new(),
            arguments: BTreeMap::new(),
            target: None,
            base: Some(usual_base()),
        }
    }

    fn read(folder: &Path) -> Self {
        let file = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let arguments = file("arguments").unwrap_or_default();
        let pairs = arguments
            .lines()
            .map(|line| line.split_once('=').expect("NAME=VALUE"));
        let base = file("base.json").map(|text| serde_json::from_str(&text).expect("a configuration"));
        Self {
            dockerfile: std::fs::read(folder.join("Dockerfile")).expect("a Dockerfile"),
            ignore: file(".dockerignore").unwrap_or_default().into_bytes(),
            arguments: pairs
                .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
                .collect(),
            target: file("target").map(|text| text.trim().to_owned()),
            base: base.or_else(|| (!folder.join("unknown-bases").exists()).then(usual_base)),
        }
    }

    fn report(&self) -> Report {
        let (file, _) = parse_as_far_as_possible(&self.dockerfile, "Dockerfile");
        let bases = (0..file.stages.len()).filter_map(|index| Some((index, self.base.clone()?)));
        let facts = Facts {
            arguments: &self.arguments,
            platform: &Platform::new("linux", "amd64"),
            target: self.target.as_deref(),
            unneeded_stages: true,
            contexts: &NamedContexts::new(),
            ignore: &IgnoreList::parse(&self.ignore, ".dockerignore").expect("patterns"),
            bases: &bases.collect(),
        };
        check(&self.dockerfile, "Dockerfile", &facts)
    }
}

fn describe(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (first, last) = (finding.lines.first, finding.lines.last);
        let lines = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        writeln!(text, "{lines} {}: {}", finding.rule, finding.detail).expect("a string");
    }
    let violations: Vec<_> = report.violations().iter().map(|rule| rule.name()).collect();
    if !violations.is_empty() {
        writeln!(text, "fails the build: {}", violations.join(", ")).expect("a string");
    }
    if let Some(error) = &report.error {
        writeln!(text, "error: {error}").expect("a string");
    }
    text
}

#[test]
fn golden_folders() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let mut ran = 0;
    for entry in std::fs::read_dir(folder).expect("a folder of cases") {
        let case = entry.expect("an entry").path();
        let got = describe(&Case::read(&case).report());
        let expected = case.join("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &got).expect("a writable golden file");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(got, wanted, "{} (UPDATE_GOLDEN=1 rewrites it)", case.display());
        ran += 1;
    }
    assert!(ran > 20, "only {ran} cases");
}

/// Every rule speaks in some golden folder, or nobody would notice that it has fallen silent.
#[test]
fn every_rule_is_seen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder of cases") {
        let expected = entry.expect("an entry").path().join("expected");
        all += &std::fs::read_to_string(expected).expect("what is expected");
    }
    for rule in Rule::ALL {
        assert!(all.contains(&format!(" {rule}: ")), "{rule}");
    }
}

#[test]
fn a_rule_has_a_page_where_buildkit_has_one() {
    let without: Vec<_> = Rule::ALL.iter().filter(|rule| rule.url().is_none()).collect();
    assert_eq!(without, [&Rule::InvalidBaseImagePlatform]);
    assert_eq!(
        Rule::JSONArgsRecommended.url().as_deref(),
        Some("https://docs.docker.com/go/dockerfile/rule/json-args-recommended/")
    );
}

/// Whatever the bytes: findings lie within the file, and there are not more of them than it has words.
#[test]
fn foreign_dockerfiles() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let words = &[
        "FROM a as B\n",
        "from --platform=$X a AS c\n",
        "# check=skip=all;error=true\n",
        "# check=experimental=all\n",
        "#\n",
        "CMD x\n",
        "EXPOSE 1:2:3/TCP\n",
        "ENV a b\n",
        "ENV KEY=$A${B:-$C}\n",
        "ARG TOKEN=$D E=$TOKEN\n",
        "ONBUILD CMD $x\n",
        "COPY <<E $y\n$z\nE\n",
        "RUN --mount=target=$t x\n",
        "WORKDIR x\n",
        "MAINTAINER x\n",
        "\\\n\n",
    ];
    shipway_testkit::Foreign::near([""])
        .and_files(Some(&ours))
        .with_words(words)
        .check(|bytes| {
            let case = Case {
                dockerfile: bytes.to_vec(),
                ignore: b"x\n*.md\n".to_vec(),
                ..Case::of_text("")
            };
            let report = case.report();
            let lines =
                u32::try_from(bytes.split_inclusive(|&byte| byte == b'\n').count()).expect("a small file");
            for finding in &report.findings {
                let (first, last) = (finding.lines.first, finding.lines.last);
                assert!(1 <= first && first <= last && last <= lines, "{finding:?}");
            }
        });
}
