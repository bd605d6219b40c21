//! What is text on a terminal: what was typed, whoever says it, and what goes elsewhere.

use std::process::{Command, Output};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

fn shipway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shipway"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn wrong_arguments_are_repeated_without_escape_sequences() {
    for arguments in [
        &["ru\u{1b}]0;title\u{7}n"][..],
        &["gc", "--grace", "so\u{1b}[2Jon"],
        &["run", "--e\u{9b}2Jxecutor"],
    ] {
        let output = shipway(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said:?}");
        assert!(said.contains("error:") && said.contains("--help"), "{said:?}");
        assert!(
            !said.chars().any(|letter| letter.is_control() && letter != '\n'),
            "{said:?}"
        );
    }
    let help = shipway(&["--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("Usage: shipway"));
}

#[test]
fn colours_stay_out_of_a_pipe_while_errors_go_to_a_terminal() {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    for arguments in [["--help"], ["doctor"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_shipway"))
            .args(arguments)
            .env_remove("NO_COLOR")
            .stderr(terminal.try_clone().unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            !said.is_empty() && !said.contains('\u{1b}'),
            "{arguments:?}: {said:?}"
        );
    }
}
