//! The parser against Docker's own vectors, and against the golden folders under `tests/`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::error::SourceText;
use super::lines;
use super::syntax::{self, Arguments, Node};
use super::{ExpandError, Expander, parse};

fn vectors(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/vectors")
        .join(folder);
    path.is_dir().then_some(path)
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    found.sort();
    found
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{b}' => quoted.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                write!(quoted, "\\x{:02x}", c as u32).expect("a string");
            }
            c if c.is_control() || (c.is_whitespace() && c != ' ') || c == '\u{feff}' => {
                write!(quoted, "\\u{:04x}", c as u32).expect("a string");
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

fn dump(node: &Node) -> String {
    let mut text = format!("({}", node.keyword.name().to_ascii_lowercase());
    if !node.flags.is_empty() {
        let flags: Vec<_> = node.flags.iter().map(|flag| quote(&flag.text)).collect();
        write!(text, " [{}]", flags.join(" ")).expect("a string");
    }
    match &node.arguments {
        Arguments::Text(argument) if argument.is_empty() => {}
        Arguments::Text(argument) => write!(text, " {}", quote(argument)).expect("a string"),
        Arguments::Json(words) | Arguments::Words(words) => {
            words
                .iter()
                .for_each(|word| write!(text, " {}", quote(word)).expect("a string"));
        }
        Arguments::Pairs(pairs) => {
            for pair in pairs {
                let separator = if pair.equals { "=" } else { "" };
                write!(
                    text,
                    " {} {} {}",
                    quote(&pair.name),
                    quote(&pair.value),
                    quote(separator)
                )
                .expect("a string");
            }
        }
        Arguments::Health { kind, command } => {
            let command = match command.as_ref() {
                Arguments::Json(words) => words.clone(),
                Arguments::Text(command) => vec![command.clone()],
                other => panic!("{other:?}"),
            };
            let words = std::iter::once(kind)
                .chain(&command)
                .filter(|word| !word.is_empty());
            words.for_each(|word| write!(text, " {}", quote(word)).expect("a string"));
        }
        Arguments::Nested(inner) => write!(text, " {}", dump(&inner.0)).expect("a string"),
    }
    text + ")"
}

#[test]
fn syntax_trees_match_dockers() {
    let Some(folder) = vectors("dockerfile-parser") else {
        return;
    };
    let mut ran = 0;
    for case in cases(&folder) {
        let text = std::fs::read_to_string(case.join("Dockerfile")).expect("a Dockerfile");
        let wanted = std::fs::read_to_string(case.join("result")).expect("a result");
        let source = SourceText {
            name: "Dockerfile",
            lines: text.split_inclusive('\n').collect(),
        };
        let (directives, found) =
            lines::read(&source).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
        let dumped = found
            .iter()
            .map(|line| match syntax::node(&source, line, directives.escape) {
                Ok(node) => dump(&node),
                Err(error) => panic!("{}: {error}", case.display()),
            });
        let dumped: Vec<_> = dumped.collect();
        assert_eq!(dumped.join("\n"), wanted.trim_end(), "{}", case.display());
        ran += 1;
    }
    assert!(ran > 0, "no vectors");
}

#[test]
fn malformed_files_are_refused() {
    let Some(folder) = vectors("dockerfile-parser-negative") else {
        return;
    };
    for case in cases(&folder) {
        let bytes = std::fs::read(case.join("Dockerfile")).expect("a Dockerfile");
        let parsed = parse(&bytes, "Dockerfile");
        assert!(parsed.is_err(), "{} was accepted: {parsed:?}", case.display());
    }
}

#[test]
fn words_expand_as_dockers() {
    let Some(folder) = vectors("dockerfile-shell") else {
        return;
    };
    let variables = |name: &str| match name {
        "PWD" => Some("/home".to_owned()),
        "SHELL" => Some("bash".to_owned()),
        "KOREAN" => Some("한국어".to_owned()),
        "NULL" => Some(String::new()),
        _ => None,
    };
    let expander = Expander::new('\\', &variables);
    let text = std::fs::read_to_string(folder.join("envVarTest")).expect("the vectors");
    let mut failures = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [platform, word, wanted] = columns[..] else {
            panic!("three columns: {line}")
        };
        if platform == "W" {
            continue;
        }
        let got = expander.word(word);
        let right = if wanted == "error" {
            got.is_err()
        } else {
            got.as_deref() == Ok(wanted)
        };
        if !right {
            failures.push(format!("{line}: {got:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn words_split_as_dockers() {
    let Some(folder) = vectors("dockerfile-shell") else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("wordsTest")).expect("the vectors");
    let mut variables = std::collections::BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        if let Some(assignment) = line.strip_prefix("ENV ") {
            let (name, value) = assignment.trim_start().split_once('=').expect("name=value");
            variables.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let (word, wanted) = line.split_once('|').expect("two columns");
        let lookup = |name: &str| variables.get(name).cloned();
        let got = Expander::new('\\', &lookup).words(word.trim());
        let wanted = wanted.trim_start();
        if wanted == "error" {
            assert!(got.is_err(), "{line}: {got:?}");
        } else {
            assert_eq!(got.expect(line).join(","), wanted, "{line}");
        }
    }
}

#[test]
fn patterns_and_replacements() {
    let variables = |name: &str| {
        let value = match name {
            "v" => "foobarbaz",
            "path" => "/usr/lib/x.tar.gz",
            "odd" => "()[]{}^$.*?|\\x",
            "stars" => "a**b*",
            "lines" => "a b\nc d",
            "slash" => "/",
            "empty" => "",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let expander = Expander::new('\\', &variables);
    let table = [
        ("${v#foo}", "barbaz"),
        ("${v#f*b}", "arbaz"),
        ("${v##f*b}", "az"),
        ("${v%ba*}", "foobar"),
        ("${v%%ba*}", "foo"),
        ("${v%x}", "foobarbaz"),
        ("${v/ba?/X}", "fooXbaz"),
        ("${v//ba?/X}", "fooXX"),
        ("${v//o/}", "fbarbaz"),
        ("${w#x}", ""),
        ("${path##*/}", "x.tar.gz"),
        ("${path%%.*}", "/usr/lib/x"),
        ("${path#*$slash}", "usr/lib/x.tar.gz"),
        ("${v#}${v##}${v%}${v%%}", "foobarbazfoobarbazfoobarbazfoobarbaz"),
        ("${v#*}", "foobarbaz"),
        ("${v##*}", ""),
        (r"${odd#()[]{\}^$.\*\?|\\}", "x"),
        (r"${stars%%\*\**}", "a"),
        (r"${stars%\*}", "a**b"),
        ("${stars#\"a*\"}", "**b*"),
        ("${stars#'a\\*'}", "*b*"),
        ("${lines#*}|${lines##*}|${lines%?*}", "a b\nc d|\nc d|a b\nc "),
        (r"${path/\//:}", ":usr/lib/x.tar.gz"),
        (r"${path//\//\/}", r"\/usr\/lib\/x.tar.gz"),
        ("${path//$slash/$v}", "foobarbazusrfoobarbazlibfoobarbazx.tar.gz"),
        ("${v/$empty/>}", ">foobarbaz"),
        ("${empty//$empty/>}", ">"),
        ("${empty/*/x}${w//*/x}", "xx"),
        ("${v//*/x}", "x"),
        ("${v//$empty/-}", "-f-o-o-b-a-r-b-a-z-"),
        ("${w/a/b}${w:+${v}}", ""),
        ("a<<  b < c", "a<<  b < c"),
    ];
    for (word, wanted) in table {
        assert_eq!(expander.word(word).as_deref(), Ok(wanted), "{word}");
    }
    for wrong in [
        "${v/ba",
        "${v//ba}",
        "${v//}",
        r"${v#\a}",
        r"${v%a\\\}",
        r"${v/\x/y}",
        "${v:#f}",
        "${v:/a/b}",
        "${v=a}",
        "${v:=a}",
        "${v^}",
        "${v@Q}",
        "${#v}",
        "${v[0]}",
    ] {
        assert!(expander.word(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn patterns_are_escaped_with_a_backslash_whatever_the_file_s_escape_is() {
    let variables = |name: &str| (name == "v").then(|| "a*b`c".to_owned());
    let expander = Expander::new('`', &variables);
    assert_eq!(expander.word("${v#a\\*}").as_deref(), Ok("b`c"));
    assert_eq!(expander.word("${v%`c}").as_deref(), Ok("a*b"));
    assert_eq!(expander.word("`$v \\$v").as_deref(), Ok("$v \\a*b`c"));
}

#[test]
fn words_keep_what_heredocs_need() {
    let none = |_: &str| None;
    let words = |text: &str| Expander::new('\\', &none).words(text).expect(text);
    assert_eq!(words("cat <<  EOF  > x"), ["cat", "<<  EOF", ">", "x"]);
    assert_eq!(words("a < b <c"), ["a", "<", "b", "<c"]);
}

#[test]
fn bodies_of_heredocs() {
    let variables = |name: &str| (name == "v").then(|| "value".to_owned());
    let body = |text: &str| Expander::for_heredocs(&variables).body(text).expect(text);
    assert_eq!(body("\"$v\" '${v}'\n"), "\"value\" 'value'\n");
    assert_eq!(body("\\\n\\\\\n\\$v \\n\n"), "\n\\\n$v n\n");
    assert_eq!(body("${w:-\"x\"}"), "\"x\"");
}

#[test]
fn directives() {
    let parsed = |text: &str| parse(text.as_bytes(), "Dockerfile").expect(text);
    let told = |text: &str| {
        let file = parsed(text);
        let check = file.check.map(|check| (check.text, check.location.line));
        (file.escape, file.syntax, check)
    };
    let (syntax, check) = (Some("a/b:c".to_owned()), |line| {
        Some(("skip=all".to_owned(), line))
    });
    assert_eq!(
        told("#EScape=`\n# syntax = a/b:c // why\n#\tcheck\t= skip=all // why\nFROM a\n"),
        ('`', syntax.clone(), check(3))
    );
    assert_eq!(told("\u{feff}# check=skip=all\nFROM a\n"), ('\\', None, check(1)));
    assert_eq!(
        told("#!/bin/sh\n# syntax=a/b:c\n# check=skip=all\nFROM a\n"),
        ('\\', syntax, check(3))
    );
    for none in [
        "# a comment\n# escape=`\nFROM a\n",
        "\n# syntax=a\nFROM a\n",
        "# other=x\n# check=skip=all\nFROM a\n",
        "#!/bin/sh\n# escape=`\nFROM a\n",
        "#!/bin/sh\n\n# check=skip=all\nFROM a\n",
        "FROM a\n# syntax=a\n",
        "# check\nFROM a\n",
    ] {
        assert_eq!(told(none), ('\\', None, None), "{none}");
    }
    for (wrong, message) in [
        ("# escape=x\nFROM a\n", "invalid escape `x`"),
        ("# escape=`\n# escape=`\nFROM a\n", "only one escape"),
        ("# syntax=a\n# syntax=b\nFROM a\n", "only one syntax"),
        ("//syntax=foo\n//a=b\n", "the frontend `foo`"),
        ("#!/bin/x\n// syntax = foo // why\n", "the frontend `foo`"),
        ("{\"syntax\": \"foo\", \"bar\": [1]}", "the frontend `foo`"),
        ("{\"syntax\": \"foo\"", "unknown instruction"),
        ("//check=skip=all\n", "unknown instruction"),
    ] {
        let error = parse(wrong.as_bytes(), "Dockerfile").expect_err(wrong);
        assert!(error.message.contains(message), "{wrong}: {error}");
    }
}

#[test]
fn lines_and_comments_of_instructions() {
    let text =
        "# one\n\n# two\nFROM a \\\n  AS b\n#\n# three\n  # four\nRUN x \\\n# no\n\n  y <<E\nz\nE\nRUN z\n";
    let file = parse(text.as_bytes(), "Dockerfile").expect("a file");
    let stage = &file.stages[0];
    assert_eq!((stage.location.line, stage.location.end_line), (4, 5));
    assert_eq!(stage.written.comments, ["one", "two"]);
    let lines = |step: &super::Step| (step.location.line, step.location.end_line);
    assert_eq!(
        stage.steps.iter().map(lines).collect::<Vec<_>>(),
        [(9, 14), (15, 15)]
    );
    assert_eq!(stage.steps[0].written.comments, ["three", "four"]);
    assert_eq!(stage.steps[1].written.comments, [""; 0]);
    assert_eq!(file.empty_continuations[0].line, 12);
}

#[test]
fn json_or_text() {
    use super::{CommandLine, Instruction};
    let run = |text: &str| {
        let file = parse(format!("FROM a\nRUN {text}\n").as_bytes(), "Dockerfile")?;
        match &file.stages[0].steps[0].instruction {
            Instruction::Run(run) => Ok::<_, super::DockerfileError>(run.command.clone()),
            other => panic!("{other:?}"),
        }
    };
    let exec = |words: &[&str]| CommandLine::Exec(words.iter().map(|&word| word.to_owned()).collect());
    assert_eq!(run("[\"a\",\"b\"]"), Ok(exec(&["a", "b"])));
    assert_eq!(run("[\t\"a\",\t\"b\"\t]\t"), Ok(exec(&["a", "b"])));
    assert_eq!(run(r#"["♥ \" \\ \/ \n \u0041"]"#), Ok(exec(&["♥ \" \\ / \n A"])));
    for text in [
        "[ -f x ] && y",
        "['a']",
        "[\"a\",]",
        "[\"a\" \"b\"]",
        "[\"a\"",
        "[\"a\"] x",
        "{\"a\": 1}",
    ] {
        assert_eq!(run(text), Ok(CommandLine::Shell(text.to_owned())), "{text}");
    }
    for text in [
        "[\"a\", 42]",
        "[\"a\", {}]",
        "[[\"a\"]]",
        "[\"a\", true]",
        "[null]",
        "[1.5]",
    ] {
        assert!(run(text).is_err(), "{text}");
    }
}

#[test]
fn expansion_is_bounded() {
    let variables = |_: &str| Some("x".repeat(1 << 19));
    let expander = Expander::new('\\', &variables);
    assert!(expander.word("$a$a$a$a").is_err());
    let deep = "${b:-".repeat(40) + &"}".repeat(40);
    assert!(Expander::new('\\', &|_: &str| None).word(&deep).is_err());
}

/// Each step is cheap; text × pattern, and for a replacement text × text × pattern, is not.
#[test]
fn matching_is_bounded() {
    for (value, word) in [
        ("a".repeat(1 << 19), "${a##*${a}b}"),
        ("a".repeat(1 << 19), "${a%%${a}*}"),
        ("a".repeat(16 << 10), "${a//*${a}b/x}"),
        ("a".repeat(16 << 10), "${a//*b/x}"),
    ] {
        let variables = |_: &str| Some(value.clone());
        let expander = Expander::new('\\', &variables);
        assert_eq!(expander.word(word), Err(ExpandError::TooLarge), "{word}");
        assert!(expander.cost() > 100_000, "{}", expander.cost());
    }
    let variables = |_: &str| Some("some/path/of/a/file.tar.gz".repeat(10));
    let expander = Expander::new('\\', &variables);
    assert!(expander.word("${a##*/} ${a%.*} ${a//\\//-}").is_ok());
}

#[test]
fn a_file_is_bounded() {
    use super::limits;
    let refused = |text: String| {
        parse(text.as_bytes(), "Dockerfile")
            .expect_err("too much")
            .message
    };
    let steps = format!("FROM a\n{}", "RUN x\n".repeat(limits::INSTRUCTIONS));
    assert!(refused(steps).contains("instructions"));
    assert!(refused("FROM a\n".repeat(limits::STAGES + 1)).contains("stages"));
    assert!(refused(format!("FROM a\nRUN {}\n", "<<A ".repeat(limits::HEREDOCS + 1))).contains("heredocs"));
    assert!(refused(format!("FROM {}\n", "a".repeat(limits::FILE_BYTES))).contains("bytes"));
}

/// One directory, one case: `Dockerfile` with `expected`, which is the debug form or the error.
#[test]
fn golden_folders() {
    for case in cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfile")) {
        let bytes = std::fs::read(case.join("Dockerfile")).expect("a Dockerfile");
        let got = match parse(&bytes, "Dockerfile") {
            Ok(file) => describe(&file),
            Err(error) => format!("error: {error}\n"),
        };
        let expected = case.join("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &got).expect("a writable golden file");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(got, wanted, "{} (UPDATE_GOLDEN=1 rewrites it)", case.display());
    }
}

fn describe(file: &super::Dockerfile) -> String {
    let mut text = String::new();
    for (argument, location) in file.global_arguments() {
        writeln!(text, "{}: {argument:?}", location.line).expect("a string");
    }
    for stage in &file.stages {
        writeln!(
            text,
            "{}: stage {:?} from {:?} platform {:?}",
            stage.location.line, stage.name, stage.base, stage.platform
        )
        .expect("a string");
        for step in &stage.steps {
            writeln!(
                text,
                "{}:{}: {:?}",
                step.location.line, step.location.column, step.instruction
            )
            .expect("a string");
        }
    }
    text
}

proptest::proptest! {
    #[test]
    fn any_bytes_parse_or_fail(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = parse(&bytes, "Dockerfile");
    }

    #[test]
    fn any_text_parses_or_fails(text in "(FROM|RUN|COPY|ENV|ONBUILD|HEALTHCHECK)[ -~\n]{0,80}(<<EOF|\\[|--from=|\\\\\n)[ -~\n]{0,80}") {
        let _ = parse(format!("FROM a\n{text}").as_bytes(), "Dockerfile");
    }

    #[test]
    fn any_word_expands_or_fails(word in "[$:{}?+#%/'\"a\\\\ *-]{0,40}") {
        let _ = Expander::new('\\', &|name: &str| (name == "a").then(|| "value".to_owned())).words(&word);
    }
}

/// Whatever is accepted obeys its limits, and every word of it expands or is refused.
#[test]
fn foreign_dockerfiles() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfile");
    let words = &[
        "FROM a AS b\n",
        "RUN ",
        "COPY --from=b ",
        "ADD --chown=1:1 ",
        "ENV A=b C=${A:-d}\n",
        "ARG A\n",
        "ONBUILD ",
        "# escape=`\n",
        "# syntax=a\n",
        "<<EOF\n",
        "<<-'EOF'\n",
        "EOF\n",
        "\\\n",
        "HEALTHCHECK --interval=1s CMD ",
        "[\"a\", \"b\"]",
        "--mount=type=cache,target=/a,sharing=locked",
        "--mount=type=bind,from=b",
        "SHELL [\"a\"]\n",
        "${A%%*b}",
        "${A/b/c}",
        "${A:+$B}",
        "EXPOSE 80/tcp\n",
        "LABEL a=b\n",
        "USER a:b\n",
        "STOPSIGNAL 9\n",
        "VOLUME [\"/a\"]\n",
        "WORKDIR /a\n",
        "MAINTAINER a\n",
    ];
    shipway_testkit::Foreign::near([""])
        .and_files(Some(&ours))
        .and_files(vectors("dockerfile-parser").as_deref())
        .and_files(vectors("dockerfile-parser-negative").as_deref())
        .and_files(vectors("dockerfile-build").as_deref())
        .with_words(words)
        .check(|bytes| match parse(bytes, "Dockerfile") {
            Ok(file) => assert!(!describe(&file).is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        });
}

/// What expands stays within its limit.
#[test]
fn foreign_words() {
    let words = &[
        "${A:-", "${A:+", "${A#", "${A%%", "${A/", "$A", "${", "}", "\\", "'", "\"", "*", "?", "[", "]",
    ];
    shipway_testkit::Foreign::near(["a ${A:-b ${C#*x}} \"$D\" 'e'", "${A/x*/y}${B%%?}", "$1 ${1} $$ $"])
        .and_files(vectors("dockerfile-shell").as_deref())
        .with_words(words)
        .up_to(4096)
        .check_text(|text| {
            let variables = |name: &str| (name != "C").then(|| "xxabc/".repeat(name.len()));
            let expander = Expander::new('\\', &variables);
            if let Ok(word) = expander.word(text) {
                assert!(word.len() <= super::limits::EXPANDED_BYTES);
            }
            if let Ok(words) = expander.words(text) {
                assert!(words.iter().map(String::len).sum::<usize>() <= super::limits::EXPANDED_BYTES);
            }
        });
}
