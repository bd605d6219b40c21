//! Splitting text into words that keep their quotes.
//!
//! `ENV`, `LABEL` and `ARG` store values as written and expand them later, so quotes must survive the split; the
//! rules below are those of Docker's parser, odd corners included, because existing files rely on them.

/// Splits on white space outside quotes, keeping quotes and escapes.
pub(crate) fn words(text: &str, escape: char) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut started = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if started {
                    found.push(std::mem::take(&mut word));
                    started = false;
                }
            }
            None => {
                started = true;
                if c == '\'' || c == '"' {
                    quote = Some(c);
                }
                if c == escape {
                    // An escape at the very end of the line is dropped.
                    if let Some(next) = chars.next() {
                        word.push(c);
                        word.push(next);
                    }
                    continue;
                }
                word.push(c);
            }
            Some(open) => {
                if c == open {
                    quote = None;
                }
                if c == escape && open != '\'' {
                    match chars.next() {
                        Some(next) => {
                            word.push(c);
                            word.push(next);
                        }
                        None => quote = None,
                    }
                    continue;
                }
                word.push(c);
            }
        }
    }
    if started && !word.is_empty() {
        found.push(word);
    }
    found
}

/// Splits on white space outside quotes without copying; an unclosed quote runs to the end, and white space behind `<<`
/// splits nothing.
pub(crate) fn raw_words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            found.extend(start.take().map(|from| &text[from..at]));
            continue;
        }
        start.get_or_insert(at);
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => {
                chars.next();
            }
            (None, '<') if chars.next_if(|(_, next)| *next == '<').is_some() => {
                while chars
                    .next_if(|(_, next)| matches!(next, ' ' | '\t' | '\r'))
                    .is_some()
                {}
            }
            _ => {}
        }
    }
    found.extend(start.map(|from| &text[from..]));
    found
}

/// A `--flag` in front of the arguments, with the offset at which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawFlag {
    pub(crate) text: String,
    pub(crate) offset: usize,
}

/// Takes the leading `--…` words off; gives them and the offset where the arguments begin.
pub(crate) fn leading_flags(text: &str, escape: char) -> (Vec<RawFlag>, usize) {
    let mut flags = Vec::new();
    let mut chars = text.char_indices().peekable();
    loop {
        while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        let Some(&(offset, _)) = chars.peek() else {
            return (flags, text.len());
        };
        if !text[offset..].starts_with("--") {
            return (flags, offset);
        }
        let mut word = String::new();
        let mut quote: Option<char> = None;
        let mut quoted = false;
        while let Some(&(_, c)) = chars.peek() {
            if quote.is_none() && c.is_whitespace() {
                break;
            }
            chars.next();
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(c);
                    quoted = true;
                }
                (_, c) if c == escape => word.extend(chars.next().map(|(_, next)| next)),
                (_, c) => word.push(c),
            }
        }
        if word == "--" && !quoted {
            let rest = chars.peek().map_or(text.len(), |&(at, _)| at);
            return (flags, rest);
        }
        flags.push(RawFlag { text: word, offset });
    }
}
