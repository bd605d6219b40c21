//! The command line as its users meet it: the help of every verb, and every command that a document shows.

use clap::CommandFactory as _;

use super::*;

/// As wide as the narrowest terminal that people have.
const WIDTH: usize = 80;

/// A verb's own help, and those of the verbs below it.
fn helps(command: &mut clap::Command, path: &str, found: &mut Vec<(String, String)>) {
    found.push((path.to_owned(), command.render_long_help().to_string()));
    for verb in command
        .get_subcommands_mut()
        .filter(|verb| verb.get_name() != "help")
    {
        let path = format!("{path}-{}", verb.get_name());
        helps(verb, &path, found);
    }
}

/// All of them, without what the environment of the test says.
fn all_helps() -> Vec<(String, String)> {
    fn plain(command: clap::Command) -> clap::Command {
        command
            .term_width(WIDTH)
            .mut_args(|argument| argument.hide_env_values(true))
            .mut_subcommands(plain)
    }
    let mut command = plain(Arguments::command());
    command.build();
    let mut found = Vec::new();
    helps(&mut command, "shipway", &mut found);
    found
}

#[test]
fn the_help_of_each_verb_is_as_it_was_read() {
    for (verb, help) in all_helps() {
        // What every verb has is read once.
        let help = match help.split_once(EVERYWHERE) {
            Some((own, _)) if verb != "shipway" => own.to_owned(),
            _ => help,
        };
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(verb, help);
        });
    }
}

#[test]
fn help_fits_a_narrow_terminal() {
    let helps = all_helps();
    assert!(helps.len() > 20, "{} verbs", helps.len());
    for (verb, help) in helps {
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= WIDTH, "{verb} is {widest} wide");
    }
}

/// The documents that show commands.
const DOCUMENTS: &[(&str, &str)] = &[
    ("README.md", include_str!("../../../../README.md")),
    (
        "compatibility.md",
        include_str!("../../../../docs/compatibility.md"),
    ),
];

/// The lines of the blocks of code that call this program, without what a shell makes of them.
fn commands(document: &str) -> Vec<String> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in document.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            for command in line.split(" && ") {
                let command = command.trim().trim_start_matches("$ ");
                if command.starts_with("shipway ") || command.starts_with("gitlab-runner ") {
                    found.push(command.to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn every_command_of_the_documents_is_one() {
    let mut count = 0;
    for (name, text) in DOCUMENTS {
        for command in commands(text) {
            count += 1;
            // A comment ends what shlex reads.
            let words = shlex::split(&command).unwrap_or_else(|| panic!("{name}: {command}"));
            let words = crate::words(words.into_iter().map(Into::into).collect());
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{name}: {command}: {}", parsed.unwrap_err());
        }
    }
    assert!(count >= 15, "{count} commands were found");
}

#[test]
fn a_command_that_is_none_is_found() {
    let block = "text\n```\nshipway run --no-such-flag   # a comment\n$ shipway gc && shipway fsck\nls\n```\nshipway not code\n";
    assert_eq!(
        commands(block),
        [
            "shipway run --no-such-flag   # a comment",
            "shipway gc",
            "shipway fsck"
        ]
    );
    assert!(Arguments::try_parse_from(shlex::split(&commands(block)[0]).unwrap()).is_err());
}

#[test]
fn listens_where_people_say() {
    for (text, expected) in [
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("[::1]:0", "[::1]:0"),
        ("localhost:5000", "127.0.0.1:5000"),
        (":5000", "0.0.0.0:5000"),
    ] {
        assert_eq!(listen_address(text).unwrap().to_string(), expected);
    }
    for text in [
        "",
        "5000",
        "localhost",
        "example.com:5000",
        "localhost:70000",
        "127.0.0.1",
    ] {
        assert!(listen_address(text).is_err(), "{text}");
    }
}

#[test]
fn spans_have_units() {
    assert_eq!(span("90"), Ok(Duration::from_secs(90)));
    assert_eq!(span("1h 30m"), Ok(Duration::from_secs(5400)));
    assert!(span("soon").unwrap_err().contains("`2h 30m`"));
}
