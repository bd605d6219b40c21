//! Which of image and caller decides about arguments, environment and directory.

use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| word.replace('∅', ""))
        .collect()
}

fn image(entrypoint: Option<&str>, cmd: Option<&str>) -> ExecutionConfig {
    ExecutionConfig {
        entrypoint: entrypoint.map(words),
        cmd: cmd.map(words),
        ..ExecutionConfig::default()
    }
}

#[test]
fn argv_follows_docker() {
    // image's entrypoint, image's command, caller's entrypoint, caller's command → argv
    type Case = (
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
        &'static str,
    );
    let cases: &[Case] = &[
        (Some("entry"), Some("cmd a"), None, None, "entry cmd a"),
        (Some("entry"), Some("cmd a"), None, Some("other"), "entry other"),
        (Some("entry"), Some("cmd a"), None, Some(""), "entry cmd a"),
        (Some("entry"), Some("cmd a"), Some("mine"), None, "mine"),
        (
            Some("entry"),
            Some("cmd a"),
            Some("mine x"),
            Some("y"),
            "mine x y",
        ),
        (Some("entry"), Some("cmd a"), Some("∅"), Some("sh"), "sh"),
        (Some("entry"), Some("cmd a"), Some("∅"), None, ""),
        (Some("entry"), Some("cmd a"), Some(""), None, "cmd a"),
        (Some("entry"), Some("cmd a"), Some(""), Some("sh"), "sh"),
        (None, Some("cmd"), None, None, "cmd"),
        (Some("∅"), Some("cmd"), None, None, "cmd"),
        (Some("entry"), None, None, None, "entry"),
        (None, None, None, Some("sh -c x"), "sh -c x"),
        (None, None, None, None, ""),
    ];
    for (entrypoint, cmd, own_entrypoint, own_command, expected) in cases {
        let (own_entrypoint, own_command) = (own_entrypoint.map(words), own_command.map(words));
        let result = argv(
            &image(*entrypoint, *cmd),
            own_entrypoint.as_deref(),
            own_command.as_deref(),
        );
        let expected = words(expected);
        let expected = if expected.is_empty() {
            Err(NoCommand)
        } else {
            Ok(expected)
        };
        assert_eq!(
            result, expected,
            "{entrypoint:?} {cmd:?} {own_entrypoint:?} {own_command:?}"
        );
    }
}

#[test]
fn the_caller_wins_and_order_stays() {
    let image = words("PATH=/bin A=1 B=2=2");
    assert_eq!(
        merge_environment(&image, &words("B=3 C= A=4 A=5 D")),
        words("PATH=/bin A=5 B=3 C=")
    );
    assert_eq!(merge_environment(&image, &words("PATH B")), words("A=1"));
}

#[test]
fn defaults_fill_what_nobody_named() {
    assert_eq!(
        environment(&[], &[], "box", true),
        [
            format!("PATH={DEFAULT_PATH}"),
            "HOSTNAME=box".into(),
            "TERM=xterm".into()
        ]
    );
    assert_eq!(
        environment(&words("PATH=/x"), &words("HOSTNAME TERM=dumb"), "box", true),
        words("PATH=/x TERM=dumb")
    );
}
