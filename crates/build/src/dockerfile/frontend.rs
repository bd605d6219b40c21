//! Files for another frontend than Dockerfile's, told from their first lines.
//!
//! BuildKit lets a file name its frontend in three ways: `# syntax=…`, `// syntax=…`, and the member `syntax` of a JSON
//! document. A Dockerfile has the first, and is read as one whatever it names; the other two are no Dockerfiles at all,
//! and deserve a better answer than an unknown instruction.

use super::error::{DockerfileError, Position, SourceText};
use super::lines::directive;

/// The error for a file that is no Dockerfile and says so.
pub(super) fn foreign(source: &SourceText<'_>) -> Option<DockerfileError> {
    let shebang = source.lines.first().is_some_and(|line| line.starts_with("#!"));
    let first = usize::from(shebang);
    let frontend =
        in_comments(source.lines.get(first..)?).or_else(|| in_json(&source.lines.get(first..)?.concat()))?;
    let at = Position {
        line: u32::try_from(first + 1).ok()?,
        column: 1,
    };
    let message =
        format!("this file is for the frontend `{frontend}` and no Dockerfile: no other language is built");
    Some(source.error(at, message))
}

fn in_comments(lines: &[&str]) -> Option<String> {
    let directives = lines.iter().map_while(|line| directive(line, "//"));
    let (_, value) = directives.into_iter().find(|(name, _)| name == "syntax")?;
    Some(value.split(' ').next().unwrap_or(value).to_owned())
}

fn in_json(text: &str) -> Option<String> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let document: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    Some(document.get("syntax")?.as_str()?.to_owned())
}
