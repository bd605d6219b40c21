//! What BuildKit 0.32 lists of the same files, for one that has everything.

use super::*;
use crate::dockerfile::parse;
use crate::named::NamedContexts;
use crate::plan::Wanted;

const FILE: &str = "# syntax of the day
ARG G=glob
# U is unused
ARG U=unused
ARG D=${G}-d
ARG BASE=$D
# base is where it begins
FROM --platform=$BUILDPLATFORM scratch AS base
# A is an argument
ARG A=1
ARG B
ARG G
FROM base as Second
ARG C=x$A
RUN --mount=type=secret,id=tok,required --mount=type=ssh true
FROM scratch AS other
# OTHER is of another stage
ARG OTHER=o
RUN --mount=type=secret,id=othertok true
# last does all
FROM second AS last
ARG A=2
ARG LONGNAME=$D TARGETARCH
COPY --from=other / /
RUN --mount=type=ssh,id=key,required=true --mount=type=secret,target=/run/of-its-target true
FROM $BASE
";

fn outlined(target: Option<&str>) -> Outline {
    let file = parse(FILE.as_bytes(), "Dockerfile").expect("a file");
    let given = BTreeMap::from([("B".to_owned(), Some("given".to_owned()))]);
    let platform = Platform::new("linux", "amd64");
    let arguments = GlobalArguments::new(&file, &given, &platform, target).expect("arguments");
    let names = Names {
        file: &file,
        arguments: &arguments,
        contexts: &NamedContexts::new(),
        platform: &platform,
    };
    let plan = Plan::new(names, &target.map_or(Wanted::Last, Wanted::Named)).expect("a plan");
    outline(names, &plan, &BTreeMap::new()).expect("an outline")
}

fn arguments(outline: &Outline) -> Vec<String> {
    let line = |argument: &OutlinedArgument| {
        let description = argument.description.as_deref().unwrap_or_default();
        format!("{}={} {description}", argument.name, argument.value)
    };
    outline.arguments.iter().map(line).collect()
}

#[test]
fn an_outline_has_what_the_target_and_its_stages_take() {
    let found = outlined(Some("last"));
    assert_eq!(found.name.as_deref(), Some("last"));
    assert_eq!(found.description.as_deref(), Some("does all"));
    assert_eq!(
        arguments(&found),
        [
            "G=glob ",
            "B=given ",
            "C=x1 ",
            "OTHER=o is of another stage",
            "A=2 ",
            "LONGNAME= "
        ]
    );
    let mounts = |all: &[OutlinedMount]| {
        let mount = |mount: &OutlinedMount| (mount.id.clone(), mount.required, mount.lines.first);
        all.iter().map(mount).collect::<Vec<_>>()
    };
    assert_eq!(
        mounts(&found.secrets),
        [
            ("tok".to_owned(), true, 15),
            ("othertok".to_owned(), false, 19),
            ("of-its-target".to_owned(), false, 25)
        ]
    );
    assert_eq!(
        mounts(&found.ssh),
        [("default".to_owned(), false, 15), ("key".to_owned(), true, 25)]
    );
    assert_eq!(
        arguments(&outlined(Some("base"))),
        ["G=glob ", "A=1 is an argument", "B=given "]
    );
}

#[test]
fn an_argument_of_a_from_line_brings_those_of_its_default() {
    let found = outlined(None);
    assert_eq!(found.name, None);
    assert_eq!(arguments(&found), ["G=glob ", "D=glob-d ", "BASE=glob-d "]);
}

#[test]
fn targets_are_the_stages() {
    let file = parse(FILE.as_bytes(), "Dockerfile").expect("a file");
    let line = |target: &Target| {
        let name = target.name.as_deref().unwrap_or_default();
        let description = target.description.as_deref().unwrap_or_default();
        format!("{name} {} {description} {}", target.is_default, target.base)
    };
    assert_eq!(
        targets(&file).iter().map(line).collect::<Vec<_>>(),
        [
            "base false is where it begins scratch",
            "second false  base",
            "other false  scratch",
            "last false does all second",
            " true  $BASE",
        ]
    );
}
