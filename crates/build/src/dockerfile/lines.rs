//! Physical lines to logical ones: directives, comments, continuations and heredoc bodies.
//!
//! Each logical line remembers which physical place every piece of it came from, so that a later pass can point at
//! a column in the file although the text was joined.

use std::collections::BTreeSet;

use super::error::{DockerfileError, Position, SourceText};
use super::heredoc::Heredoc;
use super::json::{JsonForm, json_form};
use super::limits;
use super::split::leading_flags;

/// One instruction's text.
#[derive(Debug, Clone)]
pub(crate) struct LogicalLine {
    pub(crate) text: String,
    /// (offset in `text`, place in the file), ascending.
    pub(crate) origins: Vec<(usize, Position)>,
    pub(crate) heredocs: Vec<Heredoc>,
    pub(crate) comments: Vec<String>,
    /// The last physical line, that of a heredoc's terminator included.
    pub(crate) end_line: u32,
    /// Where the joined text ends, if an empty line stands inside of it.
    pub(crate) broken_at: Option<u32>,
}

impl LogicalLine {
    /// The place in the file of a byte offset of `text`.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let index = self
            .origins
            .partition_point(|&(from, _)| from <= offset)
            .saturating_sub(1);
        let Some(&(from, start)) = self.origins.get(index) else {
            return Position { line: 1, column: 1 };
        };
        let passed = self.text.get(from..offset).map_or(0, |text| text.chars().count());
        Position {
            line: start.line,
            column: start.column + u32::try_from(passed).unwrap_or(u32::MAX - start.column),
        }
    }
}

/// Parser directives at the top of the file.
#[derive(Debug, Clone)]
pub(crate) struct Directives {
    pub(crate) escape: char,
    pub(crate) syntax: Option<String>,
    /// The value of `check` up to its first space, and its line.
    pub(crate) check: Option<(String, u32)>,
}

/// Reads all logical lines.
pub(crate) fn read(source: &SourceText<'_>) -> Result<(Directives, Vec<LogicalLine>), DockerfileError> {
    let (directives, first) = read_directives(source)?;
    let mut reader = Reader {
        source,
        escape: directives.escape,
        next: first,
    };
    let mut lines = Vec::new();
    while let Some(line) = reader.logical_line()? {
        if lines.len() == limits::INSTRUCTIONS {
            let message = format!("more than {} instructions", limits::INSTRUCTIONS);
            return Err(source.error(line.position(0), message));
        }
        lines.push(line);
    }
    Ok((directives, lines))
}

fn read_directives(source: &SourceText<'_>) -> Result<(Directives, usize), DockerfileError> {
    let mut directives = Directives {
        escape: '\\',
        syntax: None,
        check: None,
    };
    let mut seen = BTreeSet::new();
    let mut shebang = false;
    // An escape may be indented, what clients look for may not.
    let mut indented = false;
    for (index, line) in source.lines.iter().enumerate() {
        if index == 0 && line.starts_with("#!") {
            shebang = true;
            continue;
        }
        let at = Position {
            line: line_number(index),
            column: 1,
        };
        let text = line.trim_start();
        indented |= text.len() != line.len();
        let Some((name, value)) = directive(text, "#") else {
            return Ok((directives, index));
        };
        let first_word = || value.split(' ').next().unwrap_or(value).to_owned();
        match name.as_str() {
            // Behind a `#!` line only what clients look for is a directive.
            "escape" if !shebang => {
                directives.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => {
                        return Err(source.error(at, format!("invalid escape `{value}`: it must be \\ or `")));
                    }
                };
            }
            "syntax" if !indented => directives.syntax = Some(first_word()),
            "check" if !indented => directives.check = Some((first_word(), at.line)),
            "escape" | "syntax" | "check" => {}
            _ => return Ok((directives, index)),
        }
        if !seen.insert(name.clone()) {
            return Err(source.error(at, format!("only one {name} directive can be used")));
        }
    }
    Ok((directives, source.lines.len()))
}

/// `# name = value` behind a comment mark; the name in lower case.
pub(crate) fn directive<'a>(line: &'a str, mark: &str) -> Option<(String, &'a str)> {
    let (name, value) = line.strip_prefix(mark)?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    (plain && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

fn line_number(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

struct Reader<'a> {
    source: &'a SourceText<'a>,
    escape: char,
    next: usize,
}

impl Reader<'_> {
    fn physical(&mut self) -> Option<(u32, &str)> {
        let line = self.source.lines.get(self.next)?;
        self.next += 1;
        Some((line_number(self.next - 1), line.trim_end_matches(['\r', '\n'])))
    }

    fn logical_line(&mut self) -> Result<Option<LogicalLine>, DockerfileError> {
        let escape = self.escape;
        let mut line = LogicalLine {
            text: String::new(),
            origins: Vec::new(),
            heredocs: Vec::new(),
            comments: Vec::new(),
            end_line: 0,
            broken_at: None,
        };
        let mut open = false;
        let mut has_empty_line = false;
        while let Some((number, physical)) = self.physical() {
            if is_comment(physical) {
                if !open {
                    remember_comment(&mut line.comments, physical);
                }
                continue;
            }
            let content = if open { physical } else { physical.trim_start() };
            if content.trim_start().is_empty() {
                // An empty line inside a continued instruction is passed over, as Docker does with a warning.
                has_empty_line |= open;
                continue;
            }
            let column = u32::try_from(physical.chars().count() - content.chars().count()).unwrap_or(0) + 1;
            line.origins
                .push((line.text.len(), Position { line: number, column }));
            match without_continuation(content, escape) {
                Some(part) => {
                    line.text.push_str(part);
                    open = true;
                }
                None => {
                    line.text.push_str(content);
                    break;
                }
            }
        }
        if line.text.trim().is_empty() {
            return Ok(None);
        }
        let end = line_number(self.next.saturating_sub(1));
        line.end_line = end;
        line.broken_at = has_empty_line.then_some(end);
        if opens_heredocs(&line.text, escape) {
            self.read_heredocs(&mut line)?;
        }
        Ok(Some(line))
    }

    fn read_heredocs(&mut self, line: &mut LogicalLine) -> Result<(), DockerfileError> {
        let mut heredocs = Heredoc::openers(&line.text);
        if heredocs.len() > limits::HEREDOCS {
            let message = format!("more than {} heredocs in one instruction", limits::HEREDOCS);
            return Err(self.source.error(line.position(0), message));
        }
        for heredoc in &mut heredocs {
            loop {
                let Some(raw) = self.source.lines.get(self.next) else {
                    let message = format!(
                        "heredoc <<{0} is not terminated: a line `{0}` is missing",
                        heredoc.name
                    );
                    return Err(self.source.error(line.position(0), message));
                };
                self.next += 1;
                if heredoc.is_terminator(raw.trim_end_matches(['\r', '\n'])) {
                    break;
                }
                heredoc.content.push_str(raw);
            }
        }
        line.heredocs = heredocs;
        line.end_line = line_number(self.next.saturating_sub(1));
        Ok(())
    }
}

fn remember_comment(comments: &mut Vec<String>, line: &str) {
    let comment = line.trim_start().trim_start_matches('#').trim();
    if comment.is_empty() {
        comments.clear();
    } else if comments.len() < limits::COMMENTS {
        comments.push(comment.to_owned());
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The line without its continuation mark; `None` when it has none. Two escapes at the end are text.
fn without_continuation(line: &str, escape: char) -> Option<&str> {
    let body = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!body.ends_with(escape)).then_some(body)
}

/// RUN, COPY and ADD take heredocs, also behind ONBUILD; a JSON form does not.
fn opens_heredocs(text: &str, escape: char) -> bool {
    if !text.contains("<<") {
        return false;
    }
    let first_word = |text: &str| {
        let text = text.trim_start();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        (text[..end].to_ascii_lowercase(), text[end..].to_owned())
    };
    let (mut keyword, mut rest) = first_word(text);
    if keyword == "onbuild" {
        (keyword, rest) = first_word(&rest);
    }
    let (_, arguments) = leading_flags(&rest, escape);
    matches!(keyword.as_str(), "run" | "copy" | "add")
        && matches!(json_form(&rest[arguments..]), JsonForm::Text)
}
