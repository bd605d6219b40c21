//! Flags of an instruction: known names, one value each, the place of a wrong one.

use super::error::{DockerfileError, Position, SourceText};
use super::suggest::did_you_mean;
use super::syntax::Node;

/// The flags of one instruction, taken out one after the other; [`Flags::done`] refuses what is left.
pub(crate) struct Flags<'a> {
    source: &'a SourceText<'a>,
    at: Position,
    keyword: &'static str,
    left: Vec<(String, Option<String>)>,
    known: Vec<&'static str>,
}

impl<'a> Flags<'a> {
    pub(crate) fn of(source: &'a SourceText<'a>, node: &Node) -> Self {
        let left = node
            .flags
            .iter()
            .map(|flag| {
                let text = flag.text.trim_start_matches("--");
                match text.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (text.to_owned(), None),
                }
            })
            .collect();
        // Flags stand right behind the keyword; its end is close enough for an arrow.
        let at = match node.flags.first() {
            Some(_) => Position {
                line: node.position.line,
                column: node.position.column + u32::try_from(node.keyword.name().len()).unwrap_or(0) + 1,
            },
            None => node.position,
        };
        Self {
            source,
            at,
            keyword: node.keyword.name(),
            left,
            known: Vec::new(),
        }
    }

    fn error(&self, message: impl Into<String>) -> DockerfileError {
        self.source.error(self.at, message)
    }

    /// All values of a flag that may be repeated.
    pub(crate) fn repeated(&mut self, name: &'static str) -> Result<Vec<String>, DockerfileError> {
        self.known.push(name);
        let (mine, others) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(found, _)| found == name);
        self.left = others;
        let mine: Vec<(String, Option<String>)> = mine;
        mine.into_iter()
            .map(|(_, value)| value.ok_or_else(|| self.error(format!("--{name} needs a value: --{name}=…"))))
            .collect()
    }

    /// The value of a flag; an empty one is as if it were not there.
    pub(crate) fn value(&mut self, name: &'static str) -> Result<Option<String>, DockerfileError> {
        let mut values = self.repeated(name)?;
        match values.len() {
            0 | 1 => Ok(values.pop().filter(|value| !value.is_empty())),
            _ => Err(self.error(format!("--{name} is given more than once"))),
        }
    }

    /// A switch: `--link`, `--link=false`.
    pub(crate) fn switch(&mut self, name: &'static str) -> Result<Option<bool>, DockerfileError> {
        self.known.push(name);
        let Some(index) = self.left.iter().position(|(found, _)| found == name) else {
            return Ok(None);
        };
        let value = self.left.remove(index).1;
        match value.map(|value| value.to_ascii_lowercase()).as_deref() {
            None | Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(self.error(format!("--{name}={other} is neither true nor false"))),
        }
    }

    /// Refuses flags that nobody asked for.
    pub(crate) fn done(self) -> Result<(), DockerfileError> {
        let Some((name, _)) = self.left.first() else {
            return Ok(());
        };
        let known = match self.known.as_slice() {
            [] => format!("{} takes no flags", self.keyword),
            names => format!("{} knows --{}", self.keyword, names.join(", --")),
        };
        let hint = did_you_mean(name, self.known.iter().copied());
        Err(self.error(format!("unknown flag --{name}{hint}: {known}")))
    }
}
