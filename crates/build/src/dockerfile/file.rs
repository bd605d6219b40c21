//! The whole file: global arguments, stages and their steps.

use super::convert;
use super::error::{DockerfileError, Location, Position, SourceText};
use super::flags::Flags;
use super::instruction::{ArgDeclaration, Instruction, Step};
use super::syntax::{self, Arguments, Keyword, Node};
use super::{limits, lines};

/// The steps of a stage, or the triggers of a base image.
pub type Instructions = Vec<Step>;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The name it was read under, for messages.
    pub name: String,
    /// The escape character.
    pub escape: char,
    /// `# syntax=…`, kept for display; the syntax is always the built-in one.
    pub syntax: Option<String>,
    /// ARG lines in front of the first FROM.
    pub arguments: Vec<(ArgDeclaration, Location)>,
    /// Stages in order; never empty.
    pub stages: Vec<Stage>,
}

/// From one FROM to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `AS name`, lower case.
    pub name: Option<String>,
    /// The base, unexpanded.
    pub base: String,
    /// `--platform`, unexpanded.
    pub platform: Option<String>,
    /// The FROM line as written.
    pub text: String,
    /// Where FROM stands.
    pub location: Location,
    /// The instructions below it.
    pub steps: Instructions,
}

/// Parses a Dockerfile; `name` is only for messages.
pub fn parse(bytes: &[u8], name: &str) -> Result<Dockerfile, DockerfileError> {
    let nodes;
    let directives;
    let text = decode(bytes, name)?;
    let source = SourceText {
        name,
        lines: text.split_inclusive('\n').collect(),
    };
    (directives, nodes) = read_nodes(&source)?;
    let mut file = Dockerfile {
        name: name.to_owned(),
        escape: directives.escape,
        syntax: directives.syntax,
        arguments: Vec::new(),
        stages: Vec::new(),
    };
    for node in &nodes {
        if node.keyword == Keyword::From {
            if file.stages.len() == limits::STAGES {
                return Err(source.error(node.position, format!("more than {} stages", limits::STAGES)));
            }
            let stage = stage(&source, node)?;
            file.stages.push(stage);
            continue;
        }
        let step = convert::step(&source, node)?;
        match (file.stages.last_mut(), step) {
            (Some(stage), step) => stage.steps.push(step),
            (
                None,
                Step {
                    instruction: Instruction::Arg(declared),
                    location,
                    ..
                },
            ) => {
                file.arguments
                    .extend(declared.into_iter().map(|argument| (argument, location.clone())));
            }
            (None, _) => {
                let message = format!(
                    "no build stage in current context: {} stands before FROM",
                    node.keyword.name()
                );
                return Err(source.error(node.position, message));
            }
        }
    }
    if file.stages.is_empty() {
        let at = Position {
            line: u32::try_from(source.lines.len()).unwrap_or(0).max(1),
            column: 1,
        };
        return Err(source.error(at, "no build stage: a FROM line is missing"));
    }
    Ok(file)
}

/// Parses one ONBUILD trigger of a base image; `name` says whose it is.
pub fn parse_trigger(text: &str, name: &str) -> Result<Step, DockerfileError> {
    let source = SourceText {
        name,
        lines: text.split_inclusive('\n').collect(),
    };
    let (directives, found) = lines::read(&source)?;
    let at = Position { line: 1, column: 1 };
    let [line] = found.as_slice() else {
        return Err(source.error(at, "an ONBUILD trigger must be exactly one instruction"));
    };
    let node = syntax::node(&source, line, directives.escape)?;
    if matches!(
        node.keyword,
        Keyword::OnBuild | Keyword::From | Keyword::Maintainer
    ) {
        return Err(source.error(
            at,
            format!("{} isn't allowed as an ONBUILD trigger", node.keyword.name()),
        ));
    }
    convert::step(&source, &node)
}

fn decode<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, DockerfileError> {
    let error = |line, column, message: String| DockerfileError {
        file: name.to_owned(),
        line,
        column,
        message,
        source_line: String::new(),
    };
    if bytes.len() > limits::FILE_BYTES {
        return Err(error(
            1,
            1,
            format!("the Dockerfile has more than {} bytes", limits::FILE_BYTES),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|cause| {
        let before = &bytes[..cause.valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let start = before
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        error(
            count(line),
            count(column),
            "the Dockerfile is not UTF-8".to_owned(),
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Every line as syntax; an empty file is an error.
pub(crate) fn read_nodes(source: &SourceText<'_>) -> Result<(lines::Directives, Vec<Node>), DockerfileError> {
    let (directives, found) = lines::read(source)?;
    if found.is_empty() {
        return Err(source.error(
            Position { line: 1, column: 1 },
            "the Dockerfile has no instructions",
        ));
    }
    let nodes = found
        .iter()
        .map(|line| syntax::node(source, line, directives.escape))
        .collect::<Result<_, _>>()?;
    Ok((directives, nodes))
}

fn stage(source: &SourceText<'_>, node: &Node) -> Result<Stage, DockerfileError> {
    let error = |message: String| source.error(node.arguments_at, message);
    let mut flags = Flags::of(source, node);
    let platform = flags.value("platform")?;
    flags.done()?;
    let Arguments::Words(words) = &node.arguments else {
        return Err(error("FROM requires a base image".to_owned()));
    };
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
            (base, Some(name.to_ascii_lowercase()))
        }
        _ => {
            return Err(error(
                "FROM requires either one or three arguments: FROM image [AS name]".to_owned(),
            ));
        }
    };
    if let Some(name) = &name {
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
        let plain = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
        if !starts || !plain {
            return Err(error(format!(
                "invalid name for build stage: `{name}`, it can't start with a number or contain symbols"
            )));
        }
    }
    Ok(Stage {
        name,
        base: base.clone(),
        platform,
        text: node.text.clone(),
        location: source.location(node.position),
        steps: Vec::new(),
    })
}
