//! The parser against Docker's own vectors, and against the golden folders under `tests/`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::error::SourceText;
use super::file::read_nodes;
use super::syntax::{Arguments, Node};
use super::{Expander, parse};

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
            c if (c as u32) < 0x20 => write!(quoted, "\\x{:02x}", c as u32).expect("a string"),
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
        Arguments::Health { kind, .. } => write!(text, " {}", quote(kind)).expect("a string"),
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
        let (_, nodes) = read_nodes(&source).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
        let dumped: Vec<_> = nodes.iter().map(dump).collect();
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
    let variables = |name: &str| (name == "v").then(|| "foobarbaz".to_owned());
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
    ];
    for (word, wanted) in table {
        assert_eq!(expander.word(word).as_deref(), Ok(wanted), "{word}");
    }
    assert!(expander.word("${v/ba").is_err());
}

#[test]
fn expansion_is_bounded() {
    let variables = |_: &str| Some("x".repeat(1 << 19));
    let expander = Expander::new('\\', &variables);
    assert!(expander.word("$a$a$a$a").is_err());
    let deep = "${b:-".repeat(40) + &"}".repeat(40);
    assert!(Expander::new('\\', &|_: &str| None).word(&deep).is_err());
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
    for (argument, location) in &file.arguments {
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
