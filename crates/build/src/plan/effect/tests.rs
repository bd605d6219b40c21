//! What each instruction makes of an image's configuration.

use std::collections::BTreeMap;

use shipway_oci::Platform;

use super::super::arguments::{Declarations, GlobalArguments};
use super::*;
use crate::dockerfile::parse;

pub(super) fn applied(text: &str) -> Result<(ImageConfig, Vec<String>), String> {
    let file = parse(format!("FROM a\n{text}").as_bytes(), "Dockerfile").map_err(|error| error.message)?;
    let platform = Platform::new("linux", "amd64");
    let global = GlobalArguments::new(&file, &BTreeMap::new(), &platform, None).expect("expandable");
    let mut config = ImageConfig::new(&platform);
    config.config.env = vec!["PATH=/bin".to_owned(), "B=base".to_owned()];
    config.config.cmd = Some(vec!["base".to_owned()]);
    let mut effects = Effects::new(
        "Dockerfile",
        '\\',
        config,
        Arguments::new(&global, Declarations::default()),
    );
    let mut history = Vec::new();
    for step in &file.stages[0].steps {
        history.extend(effects.apply(step).map_err(|error| error.message)?);
    }
    Ok((effects.config, history))
}

#[test]
fn env_and_args() {
    let (config, history) =
        applied("ARG A=x\nENV B=$A C=\"a b\" D=${B}\nENV A=env\nENV E=$A PATH=$PATH:/x").expect("valid");
    assert_eq!(
        config.config.env,
        ["PATH=/bin:/x", "B=x", "C=a b", "D=base", "A=env", "E=env"]
    );
    assert_eq!(history[0], "ARG A=x");
}

#[test]
fn of_an_env_and_an_arg_the_later_counts() {
    let (config, _) = applied("ARG B=arg\nENV C=$B\nENV B=env\nENV D=$B\nARG B\nENV E=$B").expect("valid");
    assert_eq!(
        config.config.env,
        ["PATH=/bin", "B=env", "C=arg", "D=env", "E=env"],
        "an ARG without a value says nothing"
    );
}

#[test]
fn entrypoint_drops_the_bases_cmd_only() {
    let (config, _) = applied("ENTRYPOINT [\"e\"]").expect("valid");
    assert_eq!(
        (config.config.entrypoint, config.config.cmd),
        (Some(vec!["e".to_owned()]), None)
    );
    let (config, _) = applied("CMD own\nENTRYPOINT e").expect("valid");
    assert_eq!(
        config.config.cmd,
        Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), "own".to_owned()])
    );
}

#[test]
fn the_rest() {
    let (config, history) = applied(
        "WORKDIR a\nWORKDIR ../b/./c\nUSER u:g\nEXPOSE 80 90-92/UDP\nVOLUME /v\nSTOPSIGNAL 9\n\
         SHELL [\"/bin/ash\", \"-c\"]\nCMD x\nLABEL k=\"v w\"\nONBUILD RUN y\nMAINTAINER me\nHEALTHCHECK NONE",
    )
    .expect("valid");
    let execution = config.config;
    assert_eq!(execution.working_dir, "/b/c");
    assert_eq!(execution.user, "u:g");
    assert_eq!(
        execution.exposed_ports.iter().cloned().collect::<Vec<_>>(),
        ["80/tcp", "90/udp", "91/udp", "92/udp"]
    );
    assert_eq!(execution.cmd.expect("set"), ["/bin/ash", "-c", "x"]);
    assert_eq!(execution.labels["k"], "v w");
    assert_eq!(execution.on_build, ["RUN y"]);
    assert_eq!(config.author.as_deref(), Some("me"));
    assert_eq!(execution.healthcheck.expect("set").test, ["NONE"]);
    assert_eq!(history[1], "WORKDIR /b/c");
    for bad in [
        "EXPOSE x",
        "EXPOSE 90-80",
        "STOPSIGNAL 99",
        "VOLUME $none",
        "ENV $none=x",
    ] {
        assert!(applied(bad).is_err(), "{bad}");
    }
}
