//! The text itself, and what real shells make of it.

use super::{Environment, ScriptSource};
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn commands(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn environment(directory: &str) -> Environment {
    Environment {
        directory: directory.to_owned(),
        file_directory: format!("{directory}.tmp"),
        ..Default::default()
    }
}

/// Every shell this machine has, so that the text is tried on more than one dialect.
fn shells() -> Vec<Vec<&'static str>> {
    [vec!["bash"], vec!["dash"], vec!["busybox", "sh"], vec!["sh"]]
        .into_iter()
        .filter(|argv| {
            Command::new(argv[0])
                .args(&argv[1..])
                .args(["-c", "true"])
                .output()
                .is_ok_and(|o| o.status.success())
        })
        .collect()
}

fn run(shell: &[&str], environment: &Environment, lines: &[&str]) -> Output {
    let text = ScriptSource {
        environment,
        commands: &commands(lines),
    }
    .text();
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn run_everywhere(lines: &[&str], check: impl Fn(&str, Output)) {
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("project");
        std::fs::create_dir(&path).unwrap();
        let mut environment = environment(path.to_str().unwrap());
        environment
            .variables
            .push(("GREETING".into(), "it's $HOME".into()));
        environment
            .files
            .push(("KEY_FILE".into(), "line 1\nline 2\n".into()));
        check(&shell.join(" "), run(&shell, &environment, lines));
    }
}

#[test]
fn the_text_of_a_small_script() {
    let mut environment = environment("/builds/group/project");
    environment
        .variables
        .push(("CI_COMMIT_TITLE".into(), "Don't panic".into()));
    environment
        .variables
        .push(("not a name".into(), "only in the container".into()));
    environment.files.push(("DEPLOY_KEY".into(), "secret\n".into()));
    let commands = commands(&["make", "if true; then\n  echo yes\nfi", ""]);
    insta::assert_snapshot!(
        ScriptSource {
            environment: &environment,
            commands: &commands
        }
        .text()
    );
}

#[test]
fn lines_share_one_shell_and_stdin_is_empty() {
    run_everywhere(
        &[
            "X=1",
            "cd /",
            "echo $X $(pwd)",
            "cat",
            "echo \"$GREETING\"",
            "cat \"$KEY_FILE\"",
        ],
        |shell, output| {
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("\n1 /\n"), "{shell}: {text}");
            assert!(text.contains("\nit's $HOME\n"), "{shell}: {text}");
            assert!(text.ends_with("line 1\nline 2\n"), "{shell}: {text}");
            assert_eq!(output.status.code(), Some(0), "{shell}");
        },
    );
}

#[test]
fn the_first_failing_line_ends_the_script_with_its_code() {
    run_everywhere(&["echo one", "(exit 42)", "echo never"], |shell, output| {
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("one\n") && !text.contains("\nnever"),
            "{shell}: {text}"
        );
        assert_eq!(output.status.code(), Some(42), "{shell}");
    });
}

#[test]
fn a_failure_inside_a_pipe_counts_where_the_shell_can_tell() {
    run_everywhere(&["false | cat", "echo after"], |shell, output| {
        let knows = Command::new("sh")
            .args(["-c", &format!("{shell} -c 'set -o pipefail' 2>/dev/null")])
            .status()
            .unwrap();
        assert_eq!(output.status.success(), !knows.success(), "{shell}");
    });
}

#[test]
fn a_syntax_error_fails_the_script() {
    run_everywhere(&["echo started", "if true; then echo inside"], |shell, output| {
        assert!(
            !String::from_utf8_lossy(&output.stdout).contains("\ninside"),
            "{shell}"
        );
        assert!(!output.status.success(), "{shell}");
    });
}

#[test]
fn what_a_script_leaves_in_gitlab_env_is_found_by_the_next() {
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("project");
        std::fs::create_dir(&path).unwrap();
        let environment = environment(path.to_str().unwrap());
        assert!(
            run(&shell, &environment, &["echo CARRIED=over >> $GITLAB_ENV"])
                .status
                .success()
        );
        let output = run(&shell, &environment, &["echo got $CARRIED"]);
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("\ngot over\n"),
            "{shell:?}"
        );
    }
}
