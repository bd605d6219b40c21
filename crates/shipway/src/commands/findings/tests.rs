//! Findings as text and as a document, and the code that a command ends with.

use std::collections::BTreeMap;

use shipway_build::NamedContexts;
use shipway_build::ignore::IgnoreList;
use shipway_build::lint::{Facts, check};
use shipway_oci::Platform;

use super::*;

fn report(text: &str) -> Report {
    let facts = Facts {
        arguments: &BTreeMap::new(),
        platform: &Platform::new("linux", "amd64"),
        target: None,
        unneeded_stages: true,
        contexts: &NamedContexts::new(),
        ignore: &IgnoreList::default(),
        bases: &BTreeMap::new(),
    };
    check(text.as_bytes(), "Dockerfile", &facts)
}

fn file<'a>(text: &'a str, report: &'a Report) -> CheckedFile<'a> {
    CheckedFile {
        name: "app/Dockerfile",
        bytes: text.as_bytes(),
        report,
    }
}

#[test]
fn text_shows_the_lines_and_what_is_around_them() {
    let text = "# one\n# two\n# three\nFROM scratch AS A\nCOPY <<X /\n\x1b[1m\nX\n";
    let report = report(text);
    assert_eq!(
        file(text, &report).text(),
        "Check complete, 1 warning has been found!\n\n\
         WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n\
         the stage's name `A` should be in lower case\n\
         app/Dockerfile:4\n\
         --------------------\n   \
         2 |     # two\n   \
         3 |     # three\n   \
         4 | >>> FROM scratch AS A\n   \
         5 |     COPY <<X /\n   \
         6 |     \n\
         --------------------\n"
    );
    assert_eq!(
        summary(&report.findings),
        format!(
            "{}\n - StageNameCasing: the stage's name `A` should be in lower case (line 4)",
            screen::yellow("1 warning found:")
        )
    );
    let clean = "FROM scratch\n";
    assert_eq!(
        file(clean, &super::tests::report(clean)).text(),
        "Check complete, no warnings found.\n"
    );
}

#[test]
fn the_document_is_that_of_buildkit() {
    let text = "from scratch\ncmd x \\\n  y\nCOPPY\n";
    let report = report(text);
    let document = file(text, &report).document();
    assert_eq!(
        document["buildError"]["location"]["ranges"][0]["start"]["line"],
        4
    );
    assert_eq!(document["sources"][0]["filename"], "app/Dockerfile");
    let data = document["sources"][0]["data"].as_str().unwrap();
    assert_eq!(STANDARD.decode(data).unwrap(), text.as_bytes());
    assert_eq!(document["warnings"], json!([]));
    let text = "from scratch\ncmd x \\\n  y\n";
    let report = super::tests::report(text);
    let document = file(text, &report).document();
    let warning = &document["warnings"][0];
    assert_eq!(warning["ruleName"], "JSONArgsRecommended");
    assert_eq!(
        warning["url"],
        "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
    );
    assert_eq!(
        warning["location"],
        json!({ "ranges": [
            { "start": { "line": 2 }, "end": { "line": 2 } },
            { "start": { "line": 3 }, "end": { "line": 3 } },
        ]})
    );
    assert!(document.get("buildError").is_none());
}

#[test]
fn findings_end_with_a_code() {
    for (text, wanted) in [
        ("FROM scratch\n", Some(ExitCode::SUCCESS)),
        ("FROM scratch AS A\n", Some(ExitCode::from(1))),
        ("FORM scratch\n", None),
    ] {
        let report = report(text);
        let ended = file(text, &report).tell(Form::Json).ok();
        assert_eq!(format!("{ended:?}"), format!("{wanted:?}"), "{text}");
    }
}
