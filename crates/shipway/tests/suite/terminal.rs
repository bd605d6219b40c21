//! What terminals get: text, whoever says it, and a session that can be read again.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use shipway_testkit::{Account, git_repository};

use crate::harness::User;

fn shipway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shipway"))
        .args(arguments)
        .output()
        .unwrap()
}

/// A terminal of 80 columns: the end of whoever looks at it, and that of programs.
pub(crate) fn terminal() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    // Whatever another test starts meanwhile must not keep it open.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = open(name, flags, Mode::empty()).unwrap();
    (master, terminal)
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
    // Open to the end: a terminal is gone with its master.
    let (_master, terminal) = terminal();
    for arguments in [["--help"], ["doctor"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_shipway"))
            .args(arguments)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
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

/// A job that says some lines and fails, and one that was there before it.
const PIPELINE: &str = "\
good:
  stage: build
  script: [echo \"all is well\"]
bad:
  script: [\"for n in 1 2 3; do echo line $n; done\", exit 4]
";

/// All bytes that `shipway run` writes to its terminal.
fn session(environment: &[(&str, &str)]) -> String {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join(".gitlab-ci.yml"), PIPELINE).unwrap();
    let user = User::new(Account::Caller).unwrap();
    let repository = git_repository(&user.home, files.path(), "group/session", "main").unwrap();
    let (master, terminal) = terminal();
    let mut command = user.shipway(&["run", "--executor", "shell"]);
    command
        .envs(environment.iter().copied())
        .current_dir(&repository)
        .stdin(Stdio::null())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal);
    let mut process = command.spawn().unwrap();
    // The command has the terminal's other end open.
    drop(command);
    let mut bytes = Vec::new();
    // When nobody has it open any more, the end is an error.
    let _ = File::from(master).read_to_end(&mut bytes);
    let said = String::from_utf8(bytes).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(1), "{said}");
    said
}

#[test]
fn a_terminal_without_a_cursor_gets_the_lines_of_a_pipe() {
    for environment in [&[("TERM", "dumb")][..], &[]] {
        let said = session(environment);
        for line in ["good | all is well\r\n", "bad  | line 2\r\n", "bad  | failed: "] {
            assert!(said.contains(line), "{line}: {said}");
        }
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}

#[test]
fn what_stays_on_a_terminal_is_lines() {
    let said = session(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")]);
    let end = [
        "✗ bad failed: exit code 4 (",
        "s)\r\n  │ ",
        "\r\n  │ line 1\r\n  │ line 2\r\n  │ line 3\r\n",
        "\r\n  └ all of it: ",
        "bad.log\r\npipeline failed in ",
    ];
    let mut rest = said.as_str();
    for piece in end {
        rest = rest
            .split_once(piece)
            .map(|(_, rest)| rest)
            .unwrap_or_else(|| panic!("no {piece:?} in {rest:?}"));
    }
}
