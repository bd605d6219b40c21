//! No input makes the crate panic, run for ever or contradict itself: arbitrary text, text made of the language's own
//! pieces, and damaged cases, each followed to the payloads and through a schedule.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use proptest::{prelude::*, sample::Index, test_runner::FileFailurePersistence};
use shipway_pipeline::{
    FileSource, Options, Pipeline, Severity, Situation, compile,
    expression::{Effort, Expression, Scope},
    job::PayloadFacts,
    parse_duration,
    schedule::{JobResult, Schedule, Status},
    variables::{Variable, expand, expand_for_runner, slug, sort_and_expand_all},
};

static CASES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| fs::read_to_string(path.join(".gitlab-ci.yml")).ok())
        .collect()
});

/// Words whose combinations reach further than random letters do.
const PIECES: &[&str] = &[
    "one: {script: x}\n",
    "two: {script: y, needs: [one]}\n",
    "three:\n  script: z\n",
    ".b: {variables: {A: $B}}\n",
    "four: {script: x, extends: .b}\n",
    "job:\n",
    "  script: x\n",
    "  script:\n    - a\n",
    "  extends: .a\n",
    "  extends: [.a, job]\n",
    ".a:\n",
    "  needs: [job]\n",
    "  rules:\n",
    "    - if: $CI\n",
    "    - if: '$A =~ /a[/'\n",
    "      when: delayed\n",
    "      start_in: 1 day\n",
    "  parallel: 3\n",
    "  parallel: {matrix: [{A: [1, 2], B: x}]}\n",
    "stages: [a]\n",
    "  stage: a\n",
    "variables:\n",
    "  A: $B\n",
    "  B: ${A}$$\n",
    "  <<: *x\n",
    "&x ",
    "*x",
    "!reference [.a, script]",
    "include: .gitlab-ci.yml\n",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "  ",
    "\t",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "? ",
    "1:30",
    "010",
    "~",
    "!!str ",
    "  cache: {key: {files: [a]}, paths: [b]}\n",
    "  services: [a]\n",
    "default:\n",
    "  image: a\n",
    "workflow:\n",
    "\u{feff}",
    "\u{0}",
    "é",
    "\u{2028}",
    "\r",
    "%YAML 1.1\n",
    "#",
    "  when: manual\n",
    "  allow_failure: {exit_codes: 1}\n",
];

fn follow(text: &str, options: Options) {
    let files = BTreeMap::from([(".gitlab-ci.yml".to_owned(), text.as_bytes().to_vec())]);
    let situation: Situation = serde_json::from_value(super::usual()).unwrap();
    match compile(&files as &dyn FileSource, ".gitlab-ci.yml", &situation, options) {
        Ok(compiled) => {
            assert!(
                compiled
                    .warnings
                    .iter()
                    .all(|warning| warning.severity == Severity::Warning)
            );
            run(&compiled.pipeline);
        }
        Err(diagnostics) => {
            assert!(diagnostics.iter().any(|found| found.severity == Severity::Error));
            assert!(diagnostics.iter().all(|found| !found.to_string().is_empty()));
        }
    }
}

/// Whatever compiles also runs to an end.
fn run(pipeline: &Pipeline) {
    assert!(!pipeline.jobs.is_empty());
    for job in pipeline.jobs.iter().take(20) {
        assert!(pipeline.stages.contains(&job.stage));
        // A circle of variables is an answer too.
        if let Ok(payload) = pipeline.payload(&job.name, &PayloadFacts::default()) {
            assert_eq!(payload.job_info.name, job.name.as_str());
        }
    }
    let mut schedule = Schedule::new(pipeline);
    if pipeline.jobs.len() > 500 {
        return;
    }
    for _ in 0..=pipeline.jobs.len() * 4 {
        if let Some((name, _)) = schedule.delayed().first() {
            schedule.due(name).unwrap();
        } else if let Some(name) = schedule.startable().first() {
            schedule.started(name).unwrap();
            schedule.finished(name, JobResult::Success).unwrap();
        } else if let Some(name) = schedule.manual().first() {
            schedule.play(name).unwrap();
        } else {
            break;
        }
    }
    assert!(schedule.is_settled(), "{:?}", schedule.startable());
    assert!(
        matches!(schedule.status(), Status::Success | Status::Skipped),
        "{}",
        schedule.status()
    );
}

fn options() -> impl Strategy<Value = Options> {
    any::<bool>().prop_map(|allow_unsupported| Options { allow_unsupported })
}

/// A case with characters taken out, doubled, or replaced by pieces.
fn damaged() -> impl Strategy<Value = String> {
    let damage = (any::<Index>(), 0..3u8, prop::sample::select(PIECES), 1..12usize);
    (any::<Index>(), prop::collection::vec(damage, 1..6)).prop_map(|(case, damages)| {
        let mut text: Vec<char> = case.get(&CASES).chars().collect();
        for (place, kind, piece, length) in damages {
            let start = place.index(text.len() + 1);
            let end = (start + length).min(text.len());
            match kind {
                0 => drop(text.drain(start..end)),
                1 => {
                    let copy = text[start..end].to_vec();
                    text.splice(start..start, copy);
                }
                _ => drop(text.splice(start..end, piece.chars())),
            }
        }
        text.into_iter().collect()
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/golden/robust.regressions",
        ))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn arbitrary_text_is_answered(text in "\\PC{0,200}", options in options()) {
        follow(&text, options);
    }

    #[test]
    fn pieces_of_the_language_are_answered(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12),
        options in options(),
    ) {
        follow(&pieces.concat(), options);
    }

    #[test]
    fn damaged_cases_are_answered(text in damaged(), options in options()) {
        follow(&text, options);
    }

    #[test]
    fn small_languages_are_answered(text in "[$\\{\\}a-b%/\\\\=~!&|()\"' \\[\\]i0-9:.]{0,40}") {
        let variables: Vec<Variable> = vec![Variable::public("a", text.as_str()), Variable::public("b", "$a%a%${b}")];
        let values = variables.iter().map(|variable| (variable.key.clone(), variable.value.clone())).collect();
        if let Ok(expression) = Expression::parse(&text) {
            expression.is_true(Scope {
                variables: &values,
                inputs: &BTreeMap::new(),
                effort: &Effort::default(),
            });
        }
        expand(&text, &variables);
        expand_for_runner(&text, &variables, "/tmp");
        prop_assert!(slug(&text).len() <= 63);
        let _ = sort_and_expand_all(&variables);
        let _ = parse_duration(&text);
    }
}

#[test]
fn files_made_to_hurt_are_answered() {
    let many_jobs: String = (0..2_000)
        .map(|number| format!("j{number}: {{script: x}}\n"))
        .collect();
    let many_extends: String = (0..1_000)
        .map(|number| format!("j{number}: {{extends: .a}}\n"))
        .collect();
    let wide: String = (0..2_000).map(|number| format!("  k{number}: 1\n")).collect();
    let references = format!("j: {{script: [{}]}}\n", "!reference [.a, script], ".repeat(150));
    let nested: String = (0..9)
        .map(|level| {
            format!(
                ".{}: {{s: [{}]}}\n",
                level + 1,
                format!("!reference [.{level}, s], ").repeat(20)
            )
        })
        .collect();
    let many_copies: String = (0..200)
        .map(|number| format!("j{number}: {{script: x, parallel: 200, rules: [{{when: never}}]}}\n"))
        .collect();
    let long_copies: String = (0..50)
        .map(|number| format!("j{number}: {{extends: .long, parallel: 200}}\n"))
        .collect();
    let deep: String = (0..30)
        .map(|level| format!(".e{level}: {{extends: .e{}}}\n", level + 1))
        .collect();
    for text in [
        many_jobs,
        many_copies,
        format!(".long: {{script: {}}}\n{long_copies}", "x".repeat(500_000)),
        format!(
            ".a:\n  script: x\n  variables:\n  {}\n{many_extends}",
            wide.replace("\n  ", "\n    ")
        ),
        format!(".a: {{script: [{}]}}\n{references}", "x, ".repeat(15_000)),
        format!(".0: {{s: [x]}}\n{nested}j: {{script: !reference [.9, s]}}"),
        format!("{deep}.e30: {{script: x}}\nj: {{extends: .e0}}"),
        format!(
            "j: {{script: x, rules: [{}]}}",
            "{if: '$A =~ /(a{500}){500}/'}, ".repeat(50)
        ),
        format!("variables: {{A: {}}}\nj: {{script: x}}", "$A".repeat(20_000)),
        "{".repeat(200_000),
        "a: &a\n".repeat(10_000),
    ] {
        follow(
            &text,
            Options {
                allow_unsupported: true,
            },
        );
    }
}

#[test]
fn conditions_that_take_too_long_are_one_error_that_says_what_to_do() {
    // Each of these keeps all of its parts busy at every letter, so that no shortcut helps.
    let rule = |number: usize| format!("    - if: '$TEXT =~ /([ab]?[bc]?){{200}}d{number}/'\n");
    let rules: String = (0..2_000).map(rule).collect();
    let files = BTreeMap::from([(
        "ci.yml".to_owned(),
        format!("job:\n  script: x\n  rules:\n{rules}").into_bytes(),
    )]);
    let situation = Situation {
        pipeline_variables: vec![Variable::public("TEXT", "abcabx".repeat(15_000))],
        ..Situation::default()
    };
    let said = compile(&files, "ci.yml", &situation, Options::default()).unwrap_err();
    let too_long = |message: &str| message.contains("take too long");
    assert_eq!(
        said.iter().filter(|one| too_long(&one.message)).count(),
        1,
        "{said:?}"
    );
    let found = said.iter().find(|one| too_long(&one.message)).unwrap();
    assert!(
        found.line > 4 && found.help.as_ref().is_some_and(|help| help.contains("shorten")),
        "{found}"
    );
}
