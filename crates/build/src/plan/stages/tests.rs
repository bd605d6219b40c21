//! Which stages are built, in which order, and what names stand for.

use std::collections::BTreeMap;

use shipway_oci::Platform;

use super::super::arguments::GlobalArguments;
use super::*;
use crate::dockerfile::parse;
use crate::named::NamedContexts;

fn plan(text: &str, target: Option<&str>) -> Result<Vec<(usize, Base)>, String> {
    plan_with(text, target, &[])
}

/// With `NAME=VALUE` as named contexts.
fn plan_with(
    text: &str,
    target: Option<&str>,
    contexts: &[(&str, &str)],
) -> Result<Vec<(usize, Base)>, String> {
    let file = parse(text.as_bytes(), "Dockerfile").expect("a file");
    let platform = Platform::new("linux", "amd64");
    let arguments = GlobalArguments::new(&file, &BTreeMap::new(), &platform, None).expect("expandable");
    let wanted = target.map_or(Wanted::Last, Wanted::Named);
    let contexts: NamedContexts = contexts
        .iter()
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a context")))
        .collect();
    let names = Names {
        file: &file,
        arguments: &arguments,
        contexts: &contexts,
        platform: &platform,
    };
    let plan = Plan::new(names, &wanted).map_err(|error| error.message)?;
    Ok(plan
        .stages
        .into_iter()
        .map(|stage| (stage.index, stage.base))
        .collect())
}

#[test]
fn only_needed_stages_in_order() {
    let text = "ARG V=3\nFROM a:$V AS one\nFROM b AS unused\nFROM scratch AS three\nCOPY --from=later /x /y\n\
                FROM ONE AS later\nFROM three\nRUN --mount=from=0,target=/m true\nCOPY --from=0 /a /b\n\
                COPY --from=nginx /c /d";
    let image = |name: &str| Base::Image(name.to_owned());
    assert_eq!(
        plan(text, None).expect("a plan"),
        [
            (0, image("a:3")),
            (3, Base::Stage(0)),
            (2, Base::Scratch),
            (4, Base::Stage(2))
        ]
    );
    assert_eq!(plan(text, Some("Unused")).expect("a plan"), [(1, image("b"))]);
    assert_eq!(plan(text, Some("0")).expect("a plan"), [(0, image("a:3"))]);
    assert!(
        plan(text, Some("nope"))
            .expect_err("unknown")
            .contains("one, unused, three, later")
    );
}

#[test]
fn of_stages_with_one_name_a_base_is_the_one_before_and_a_source_the_last() {
    let text = "FROM a AS x\nFROM x AS x\nFROM scratch\nCOPY --from=x /a /a";
    let stages = plan(text, None).expect("a plan");
    assert_eq!(
        stages,
        [
            (0, Base::Image("a".to_owned())),
            (1, Base::Stage(0)),
            (2, Base::Scratch)
        ]
    );
}

#[test]
fn circles_and_blank_bases_are_refused() {
    let circle = "FROM a AS x\nCOPY --from=y /a /a\nFROM b AS y\nCOPY --from=x /a /a\n";
    assert!(plan(circle, None).expect_err("a circle").contains("needs itself"));
    assert!(
        plan("FROM a\nCOPY --from=0 /a /a", None)
            .expect_err("itself")
            .contains("invalid from value")
    );
    assert!(
        plan("ARG V=b\nFROM b AS b\nFROM a\nARG V\nCOPY --from=$V /a /a", None)
            .expect_err("a variable")
            .contains("define a stage")
    );
    assert!(plan("ARG V\nFROM $V", None).expect_err("blank").contains("blank"));
}

#[test]
fn contexts_stand_for_images_stages_and_sources() {
    let text = "FROM alpine AS one\nFROM one AS two\nCOPY --from=tools /a /a\nCOPY --from=unused /b /b\n\
                FROM debian AS unused\nRUN true\nFROM --platform=linux/arm64 alpine AS last\nCOPY --from=two / /";
    let context = |name: &str| Base::Context(name.parse().expect("a name"));
    let instead = |name: &str| Base::Instead(name.parse().expect("a name"));
    let given = [("alpine", "a"), ("tools", "t"), ("unused", "u")];
    assert_eq!(
        plan_with(text, Some("two"), &given).expect("a plan"),
        [(0, context("alpine")), (1, Base::Stage(0))]
    );
    assert_eq!(
        plan_with(text, Some("two"), &[("one", "o"), ("tools", "t")]).expect("a plan"),
        [(2, Base::Image("debian".to_owned())), (1, context("one"))]
    );
    assert_eq!(
        plan_with(text, None, &[("alpine::linux/arm64", "a"), ("two", "t")]).expect("a plan"),
        [(3, context("alpine::linux/arm64"))]
    );
    assert_eq!(
        plan_with(text, Some("one"), &[("one", "o")]).expect("a plan"),
        [(0, instead("one"))]
    );
    assert_eq!(
        plan_with(
            text,
            Some("two"),
            &[("one", "target:unused"), ("tools", "t"), ("unused", "u")]
        )
        .expect("a plan"),
        [(2, instead("unused")), (1, Base::Stage(2))]
    );
    let circle = plan_with(text, None, &[("alpine", "target:last")]).expect_err("a circle");
    assert!(circle.contains("needs itself"), "{circle}");
    let missing = plan_with(text, None, &[("alpine", "target:none")]).expect_err("no stage");
    assert!(missing.contains("no stage has that name"), "{missing}");
}

#[test]
fn a_plan_grows_by_what_triggers_need() {
    let text = "FROM a AS first\nFROM b AS helper\nCOPY --from=first / /\nFROM c AS second\nFROM d AS back\n\
                COPY --from=last / /\nFROM e AS last\n";
    let file = parse(text.as_bytes(), "Dockerfile").expect("a file");
    let platform = Platform::new("linux", "amd64");
    let arguments = GlobalArguments::new(&file, &BTreeMap::new(), &platform, None).expect("expandable");
    let contexts = NamedContexts::new();
    let names = Names {
        file: &file,
        arguments: &arguments,
        contexts: &contexts,
        platform: &platform,
    };
    let mut plan = Plan::new(names, &Wanted::Last).expect("a plan");
    assert_eq!((plan.stages.len(), plan.total), (1, 1));
    let new = plan.grow(names, 4, &BTreeSet::from([1])).expect("growth");
    assert_eq!(new.iter().map(|stage| stage.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((plan.stages.len(), plan.total), (3, 4));
    assert!(
        plan.grow(names, 4, &BTreeSet::from([1, 2]))
            .expect("growth")
            .len()
            == 1
    );
    let circle = plan.grow(names, 4, &BTreeSet::from([3])).expect_err("a circle");
    assert!(circle.message.contains("needs this one"), "{}", circle.message);
}
