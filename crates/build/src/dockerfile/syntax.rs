//! A logical line to keyword, flags and arguments, in the shape the keyword asks for.
//!
//! This is Docker's syntax tree: the test vectors of its parser are compared with it. Meaning comes later.

use super::error::{DockerfileError, Position, SourceText};
use super::heredoc::Heredoc;
use super::instruction::Written;
use super::json::{JsonForm, json_form};
use super::lines::LogicalLine;
use super::split::{RawFlag, leading_flags, words};
use super::suggest::did_you_mean;

/// An instruction as syntax.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) keyword: Keyword,
    pub(crate) flags: Vec<RawFlag>,
    pub(crate) arguments: Arguments,
    pub(crate) heredocs: Vec<Heredoc>,
    /// The logical line from the keyword on, trimmed.
    pub(crate) text: String,
    pub(crate) written: Written,
    pub(crate) position: Position,
    /// The last physical line, that of a heredoc's terminator included.
    pub(crate) end_line: u32,
    pub(crate) arguments_at: Position,
}

/// The arguments of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arguments {
    Text(String),
    Json(Vec<String>),
    Words(Vec<String>),
    Pairs(Vec<Pair>),
    Health { kind: String, command: Box<Arguments> },
    Nested(Box<NestedNode>),
}

/// The instruction behind ONBUILD, with the text it is stored as.
#[derive(Debug, Clone)]
pub(crate) struct NestedNode(pub(crate) Node);

impl PartialEq for NestedNode {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}
impl Eq for NestedNode {}

/// `name=value` or the old `name value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) equals: bool,
}

macro_rules! keywords {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// Every instruction keyword.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Keyword { $($variant),* }

        impl Keyword {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

keywords! {
    Add "ADD", Arg "ARG", Cmd "CMD", Copy "COPY", Entrypoint "ENTRYPOINT", Env "ENV", Expose "EXPOSE", From "FROM",
    Healthcheck "HEALTHCHECK", Label "LABEL", Maintainer "MAINTAINER", OnBuild "ONBUILD", Run "RUN", Shell "SHELL",
    StopSignal "STOPSIGNAL", User "USER", Volume "VOLUME", Workdir "WORKDIR",
}

impl Keyword {
    fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|keyword| keyword.name().eq_ignore_ascii_case(word))
    }
}

/// Reads one logical line.
pub(crate) fn node(
    source: &SourceText<'_>,
    line: &LogicalLine,
    escape: char,
) -> Result<Node, DockerfileError> {
    let parsing = Parsing { source, line, escape };
    let start = line.text.len() - line.text.trim_start().len();
    let mut node = parsing.node(start, false)?;
    node.heredocs.clone_from(&line.heredocs);
    if let Arguments::Nested(inner) = &mut node.arguments {
        inner.0.heredocs.clone_from(&line.heredocs);
    }
    Ok(node)
}

struct Parsing<'a> {
    source: &'a SourceText<'a>,
    line: &'a LogicalLine,
    escape: char,
}

impl Parsing<'_> {
    fn error(&self, offset: usize, message: impl Into<String>) -> DockerfileError {
        self.source.error(self.line.position(offset), message)
    }

    fn node(&self, start: usize, nested: bool) -> Result<Node, DockerfileError> {
        let text = self.line.text[start..].trim_end();
        let word_end = text.find(char::is_whitespace).unwrap_or(text.len());
        let word = &text[..word_end];
        let keyword = Keyword::parse(word).ok_or_else(|| {
            let names = Keyword::ALL.iter().map(|keyword| keyword.name());
            let hint = did_you_mean(&word.to_ascii_uppercase(), names);
            self.error(start, format!("unknown instruction: {word}{hint}"))
        })?;
        if nested && matches!(keyword, Keyword::OnBuild | Keyword::From | Keyword::Maintainer) {
            return Err(self.error(
                start,
                format!("{} isn't allowed as an ONBUILD trigger", keyword.name()),
            ));
        }
        let (mut flags, rest) = leading_flags(&text[word_end..], self.escape);
        for flag in &mut flags {
            flag.offset += start + word_end;
        }
        let rest_at = start + word_end + rest;
        let arguments_start =
            rest_at + (text[word_end + rest..].len() - text[word_end + rest..].trim_start().len());
        let arguments = self.arguments(keyword, text[word_end + rest..].trim(), arguments_start)?;
        Ok(Node {
            keyword,
            flags,
            arguments,
            heredocs: Vec::new(),
            text: text.to_owned(),
            written: Written {
                keyword: word.to_owned(),
                comments: self.line.comments.clone(),
            },
            position: self.line.position(start),
            end_line: self.line.end_line,
            arguments_at: self.line.position(arguments_start),
        })
    }

    fn arguments(&self, keyword: Keyword, rest: &str, at: usize) -> Result<Arguments, DockerfileError> {
        Ok(match keyword {
            Keyword::Add | Keyword::Copy | Keyword::Volume => match self.maybe_json(rest, at)? {
                Arguments::Text(text) => {
                    Arguments::Words(text.split_whitespace().map(str::to_owned).collect())
                }
                json => json,
            },
            Keyword::Cmd | Keyword::Entrypoint | Keyword::Run | Keyword::Shell => {
                self.maybe_json(rest, at)?
            }
            Keyword::Expose | Keyword::From => {
                Arguments::Words(rest.split_whitespace().map(str::to_owned).collect())
            }
            Keyword::Arg => Arguments::Words(words(rest, self.escape)),
            Keyword::Env | Keyword::Label => Arguments::Pairs(self.pairs(keyword, rest, at)?),
            Keyword::Maintainer | Keyword::StopSignal | Keyword::User | Keyword::Workdir => {
                Arguments::Text(rest.to_owned())
            }
            Keyword::OnBuild if rest.is_empty() => {
                return Err(self.error(at, "ONBUILD requires an instruction"));
            }
            Keyword::OnBuild => Arguments::Nested(Box::new(NestedNode(self.node(at, true)?))),
            Keyword::Healthcheck => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let command = self.maybe_json(rest[end..].trim(), at + end)?;
                Arguments::Health {
                    kind: rest[..end].to_owned(),
                    command: Box::new(command),
                }
            }
        })
    }

    fn maybe_json(&self, rest: &str, at: usize) -> Result<Arguments, DockerfileError> {
        match json_form(rest) {
            JsonForm::Strings(strings) => Ok(Arguments::Json(strings)),
            JsonForm::Text => Ok(Arguments::Text(rest.to_owned())),
            JsonForm::NotStrings => Err(self.error(
                at,
                "when the JSON form is used, every element must be a string in double quotes",
            )),
        }
    }

    fn pairs(&self, keyword: Keyword, rest: &str, at: usize) -> Result<Vec<Pair>, DockerfileError> {
        let found = words(rest, self.escape);
        let Some(first) = found.first() else {
            return Ok(Vec::new());
        };
        if !first.contains('=') {
            let Some((name, value)) = rest.split_once(char::is_whitespace) else {
                return Err(self.error(
                    at,
                    format!("{} must have two arguments: name=value", keyword.name()),
                ));
            };
            let value = value.trim_start().to_owned();
            return Ok(vec![Pair {
                name: name.to_owned(),
                value,
                equals: false,
            }]);
        }
        found
            .iter()
            .map(|word| match word.split_once('=') {
                Some((name, value)) => Ok(Pair {
                    name: name.to_owned(),
                    value: value.to_owned(),
                    equals: true,
                }),
                None => Err(self.error(
                    at,
                    format!("can't find = in `{word}`: it must be of the form name=value"),
                )),
            })
            .collect()
    }
}
