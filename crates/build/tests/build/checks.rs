//! The checks beside a build, and instead of one.

use shipway_build::{BuildError, BuildRequest, Context};

use crate::house::{House, Witness, request};

shipway_testkit::tests!(
    a_build_tells_its_findings_once,
    a_failed_build_tells_them_too,
    an_author_may_want_them_to_fail_the_build,
    a_check_builds_nothing,
    a_check_says_which_base_is_not_to_be_had,
    another_syntax_is_noted,
);

fn of(text: &str) -> BuildRequest {
    request(Context::Empty, text)
}

fn findings(witness: &Witness) -> Vec<String> {
    let log = witness.log().into_iter();
    log.filter(|line| line.starts_with("findings")).collect()
}

async fn a_build_tells_its_findings_once() {
    let house = House::new().await;
    // What the base defines is defined; what nobody needs is not looked at.
    let text =
        "FROM busybox AS Base\nENV A=$FROM_IMAGE B=$FROM_IMAGES\nFROM busybox\nENV c d\nFROM base\nCMD x\n";
    let (_, witness) = house.built(of(text)).await;
    assert_eq!(
        findings(&witness),
        ["findings in Dockerfile: 1:StageNameCasing 2:UndefinedVar 6:JSONArgsRecommended"]
    );
    let (_, witness) = house.built(of("FROM busybox\nLABEL a=b\n")).await;
    assert_eq!(findings(&witness), [""; 0]);
}

async fn a_failed_build_tells_them_too() {
    let house = House::new().await;
    let (built, witness) = house
        .build(of("FROM busybox\nCOPY $nothing/none /x\nENV a b\n"))
        .await;
    assert!(built.is_err());
    assert_eq!(
        findings(&witness),
        ["findings in Dockerfile: 2:UndefinedVar 3:LegacyKeyValueFormat"]
    );
}

async fn an_author_may_want_them_to_fail_the_build() {
    let house = House::new().await;
    let text = "# check=error=true\nFROM busybox\nENV A=$FROM_IMAGES\nLABEL a=b\n";
    let (built, witness) = house.build(of(text)).await;
    let error = built.unwrap_err();
    assert!(
        matches!(&error, BuildError::Checks { rules } if rules.len() == 1),
        "{error:?}"
    );
    assert!(error.to_string().ends_with(": UndefinedVar"), "{error}");
    assert_eq!(witness.log(), ["findings in Dockerfile: 3:UndefinedVar"]);
    let mut skipping = of(text);
    let skips = Some("skip=UndefinedVar;error=true".to_owned());
    skipping
        .build_args
        .insert("BUILDKIT_DOCKERFILE_CHECK".to_owned(), skips);
    let (_, witness) = house.built(skipping).await;
    assert_eq!(findings(&witness), [""; 0]);
    let (malformed, _) = house.build(of("# check=skip\nFROM busybox\n")).await;
    assert!(matches!(malformed.unwrap_err(), BuildError::Dockerfile(error) if error.line == 1));
}

async fn a_check_builds_nothing() {
    let house = House::new().await.without_keepers().await;
    let text =
        "FROM busybox AS base\nRUN exit 1\nENV A=$FROM_IMAGE B=$FROM_IMAGES\nFROM base\nMAINTAINER x\n";
    let checked = house.builder.check(of(text)).await.unwrap();
    let rules: Vec<_> = checked
        .report
        .findings
        .iter()
        .map(|finding| finding.rule.name())
        .collect();
    assert_eq!(rules, ["UndefinedVar", "MaintainerDeprecated"]);
    assert_eq!(checked.report.error, None);
    assert_eq!(checked.bytes, text.as_bytes());
}

async fn a_check_says_which_base_is_not_to_be_had() {
    let house = House::new().await;
    let text = "FROM busybox\nFROM 127.0.0.1:1/none AS None\nENV A=$perhaps\n";
    let checked = house.builder.check(of(text)).await.unwrap();
    let error = checked.report.error.unwrap();
    assert!(
        error.line == 2 && error.message.contains("127.0.0.1:1/none"),
        "{error}"
    );
    assert_eq!(checked.report.findings.len(), 1);
}

async fn another_syntax_is_noted() {
    let house = House::new().await;
    let mut wanted = of("# syntax=docker/dockerfile:1.4\nFROM scratch AS A\nLABEL a=b\n");
    // Once, however many images are made.
    wanted.platforms = ["linux/amd64", "linux/arm64"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    let (_, witness) = house.built(wanted).await;
    let log = witness.log();
    let notes: Vec<_> = log.iter().filter(|line| line.starts_with("note")).collect();
    assert!(
        matches!(notes[..], [note] if note.contains("docker/dockerfile:1.4")),
        "{log:?}"
    );
    assert_eq!(findings(&witness), ["findings in Dockerfile: 2:StageNameCasing"]);
}
