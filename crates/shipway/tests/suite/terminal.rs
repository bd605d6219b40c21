//! What was typed comes back as text, whoever says it.

use std::process::{Command, Output};

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
