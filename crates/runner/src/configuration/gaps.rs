//! Lines that only documentation has: `...` for settings that are left out, and the name of a section again in the middle
//! of it. No TOML reader takes them, and people paste them.

use super::finding::{Findings, Severity};
use std::borrow::Cow;

/// The text with every byte in its place and such lines as comments; each is a warning.
pub(super) fn without_gaps<'t>(text: &'t str, findings: &Findings) -> Cow<'t, str> {
    let (mut filled, mut at) = (String::new(), 0);
    let mut section = "";
    for line in text.split_inclusive('\n') {
        let begin = at + line.len() - line.trim_start().len();
        at += line.len();
        let content = line.trim();
        let header = header(content);
        let problem = if content == "..." {
            "`...` stands for settings that are not here".to_owned()
        } else if header.is_some_and(|name| name == section) {
            format!("[{section}] is there already, which gitlab-runner refuses; what follows belongs to it")
        } else {
            section = header
                .or(content.starts_with('[').then_some(""))
                .unwrap_or(section);
            continue;
        };
        filled.push_str(text.get(filled.len()..begin).unwrap_or_default());
        filled.push('#');
        filled.push_str(text.get(begin + 1..at).unwrap_or_default());
        findings.add(Severity::Warning, &(begin..begin + 3), problem);
    }
    if filled.is_empty() {
        return Cow::Borrowed(text);
    }
    filled.push_str(text.get(filled.len()..).unwrap_or_default());
    Cow::Owned(filled)
}

/// The name in `[name]`; that of a list, `[[name]]`, begins something new each time.
fn header(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    let ends = rest.trim_start();
    // A script inside a text may have lines that begin with a bracket too.
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (name.bytes().all(bare) && (ends.is_empty() || ends.starts_with('#'))).then_some(name)
}
