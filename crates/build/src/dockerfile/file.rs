//! The whole file: global arguments, stages and their steps.

use super::convert;
use super::error::{DockerfileError, Location, Position, SourceText};
use super::flags::Flags;
use super::instruction::{ArgDeclaration, Instruction, Step, Written};
use super::syntax::{self, Arguments, Keyword, Node};
use super::{frontend, limits, lines};

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
    /// `# check=…`: what the author wants checked.
    pub check: Option<CheckDirective>,
    /// ARG lines in front of the first FROM.
    pub arguments: Vec<GlobalArg>,
    /// Stages in order; never empty.
    pub stages: Vec<Stage>,
    /// The last lines of instructions that have an empty line inside.
    pub empty_continuations: Vec<Location>,
}

/// The value of `# check=`, up to its first space, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckDirective {
    /// Such as `skip=all;error=true`.
    pub text: String,
    /// Where it stands.
    pub location: Location,
}

/// An ARG line in front of the first FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalArg {
    /// What it declares, in order.
    pub declared: Vec<ArgDeclaration>,
    /// Its letters and its comments.
    pub written: Written,
    /// Where it begins.
    pub location: Location,
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
    /// Its letters and its comments.
    pub written: Written,
    /// The name in its own letters.
    pub written_name: Option<StageName>,
    /// Where FROM stands.
    pub location: Location,
    /// The instructions below it.
    pub steps: Instructions,
}

/// `AS name` in its own letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageName {
    /// `AS`, `as` or `As`.
    pub keyword: String,
    /// The name.
    pub name: String,
}

impl Dockerfile {
    /// Every global argument with its place, in order.
    pub fn global_arguments(&self) -> impl Iterator<Item = (&ArgDeclaration, &Location)> {
        self.arguments
            .iter()
            .flat_map(|line| line.declared.iter().map(|declared| (declared, &line.location)))
    }
}

/// Parses a Dockerfile; `name` is only for messages.
pub fn parse(bytes: &[u8], name: &str) -> Result<Dockerfile, DockerfileError> {
    match parse_as_far_as_possible(bytes, name) {
        (file, None) => Ok(file),
        (_, Some(error)) => Err(error),
    }
}

/// The same, with what stands in front of the first mistake: a file that has one may have no stage.
pub(crate) fn parse_as_far_as_possible(bytes: &[u8], name: &str) -> (Dockerfile, Option<DockerfileError>) {
    let mut file = Dockerfile {
        name: name.to_owned(),
        escape: '\\',
        syntax: None,
        check: None,
        arguments: Vec::new(),
        stages: Vec::new(),
        empty_continuations: Vec::new(),
    };
    let read = decode(bytes, name).and_then(|text| {
        let source = SourceText {
            name,
            lines: text.split_inclusive('\n').collect(),
        };
        file.read(&source)
    });
    (file, read.err())
}

impl Dockerfile {
    fn read(&mut self, source: &SourceText<'_>) -> Result<(), DockerfileError> {
        if let Some(error) = frontend::foreign(source) {
            return Err(error);
        }
        let (directives, found) = lines::read(source)?;
        self.escape = directives.escape;
        self.syntax = directives.syntax;
        self.check = directives.check.map(|(text, line)| CheckDirective {
            text,
            location: source.location(Position { line, column: 1 }),
        });
        if found.is_empty() {
            return Err(no_instructions(source));
        }
        let broken = found.iter().filter_map(|line| line.broken_at);
        self.empty_continuations = broken
            .map(|line| source.location(Position { line, column: 1 }))
            .collect();
        for line in &found {
            self.add(source, &syntax::node(source, line, self.escape)?)?;
        }
        if self.stages.is_empty() {
            let at = Position {
                line: u32::try_from(source.lines.len()).unwrap_or(0).max(1),
                column: 1,
            };
            return Err(source.error(at, "no build stage: a FROM line is missing"));
        }
        Ok(())
    }

    fn add(&mut self, source: &SourceText<'_>, node: &Node) -> Result<(), DockerfileError> {
        if node.keyword == Keyword::From {
            if self.stages.len() == limits::STAGES {
                return Err(source.error(node.position, format!("more than {} stages", limits::STAGES)));
            }
            self.stages.push(stage(source, node)?);
            return Ok(());
        }
        let step = convert::step(source, node)?;
        match (self.stages.last_mut(), step.instruction) {
            (Some(stage), instruction) => stage.steps.push(Step { instruction, ..step }),
            (None, Instruction::Arg(declared)) => self.arguments.push(GlobalArg {
                declared,
                written: step.written,
                location: step.location,
            }),
            (None, _) => {
                let message = format!(
                    "no build stage in current context: {} stands before FROM",
                    node.keyword.name()
                );
                return Err(source.error(node.position, message));
            }
        }
        Ok(())
    }
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

fn no_instructions(source: &SourceText<'_>) -> DockerfileError {
    source.error(
        Position { line: 1, column: 1 },
        "the Dockerfile has no instructions",
    )
}

fn stage(source: &SourceText<'_>, node: &Node) -> Result<Stage, DockerfileError> {
    let error = |message: String| source.error(node.arguments_at, message);
    let mut flags = Flags::of(source, node);
    let platform = flags.value("platform")?;
    flags.done()?;
    let Arguments::Words(words) = &node.arguments else {
        return Err(error("FROM requires a base image".to_owned()));
    };
    let (base, written_name) = match words.as_slice() {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
            let (keyword, name) = (keyword.clone(), name.clone());
            (base, Some(StageName { keyword, name }))
        }
        _ => {
            return Err(error(
                "FROM requires either one or three arguments: FROM image [AS name]".to_owned(),
            ));
        }
    };
    let name = written_name
        .as_ref()
        .map(|written| written.name.to_ascii_lowercase());
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
        written: node.written.clone(),
        written_name,
        location: convert::location(source, node),
        steps: Vec::new(),
    })
}
