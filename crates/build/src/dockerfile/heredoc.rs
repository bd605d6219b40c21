//! Heredocs: `<<EOF`, `<<-EOF`, `3<<"EOF"` in a RUN, COPY or ADD line.
//!
//! Apart from line joining because recognising one needs shell quoting rules: `"<<EOF"` in quotes is text.

use super::split::raw_words;

/// A heredoc and, once read, its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator, which is also the file name in `COPY <<name /dir/`.
    pub name: String,
    /// The body, each line with its newline.
    pub content: String,
    /// Whether variables in the body are expanded (the terminator was not quoted).
    pub expand: bool,
    /// `<<-`: leading tabs are dropped.
    pub chomp: bool,
    /// The file descriptor before `<<`, 0 when there is none.
    pub descriptor: u32,
}

impl Heredoc {
    /// Reads one raw shell word; `None` when it is not a heredoc opener.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let digits = word.find(|c: char| !c.is_ascii_digit())?;
        let rest = word[digits..].strip_prefix("<<")?;
        let (chomp, quoted) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let written = quoted.trim_start();
        if written.contains('<') {
            return None;
        }
        let (name, is_quoted) = unquote(written)?;
        if name.is_empty() || name.contains('\0') {
            return None;
        }
        Some(Self {
            expand: !is_quoted,
            name,
            content: String::new(),
            chomp,
            descriptor: word[..digits].parse().unwrap_or(0),
        })
    }

    /// The openers of a logical line, in order.
    pub(crate) fn openers(line: &str) -> Vec<Self> {
        raw_words(line).into_iter().filter_map(Self::parse).collect()
    }

    /// Whether `line` (without its newline) ends this heredoc.
    pub(crate) fn is_terminator(&self, line: &str) -> bool {
        let line = if self.chomp {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line == self.name
    }

    /// The body as a file gets it: leading tabs dropped when `<<-` asked for it.
    pub fn body(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }
}

/// One word without its quotes, and whether it had any; `None` for several words or an open quote.
fn unquote(word: &str) -> Option<(String, bool)> {
    let mut name = String::new();
    let mut is_quoted = false;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                is_quoted = true;
                loop {
                    match chars.next()? {
                        end if end == c => break,
                        '\\' if c == '"' => match chars.next()? {
                            escaped @ ('"' | '$' | '\\') => name.push(escaped),
                            other => name.extend(['\\', other]),
                        },
                        inner => name.push(inner),
                    }
                }
            }
            '\\' => name.push(chars.next()?),
            c if c.is_whitespace() => return None,
            other => name.push(other),
        }
    }
    Some((name, is_quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openers_are_found_outside_quotes_only() {
        let names: Vec<_> = Heredoc::openers(r#"RUN cat <<A 3<<-"B" "<<C" && echo a<<D <<<E"#)
            .into_iter()
            .map(|heredoc| (heredoc.name, heredoc.expand, heredoc.chomp, heredoc.descriptor))
            .collect();
        assert_eq!(
            names,
            [("A".to_owned(), true, false, 0), ("B".to_owned(), false, true, 3)]
        );
    }

    #[test]
    fn names_may_be_quoted_and_stand_apart() {
        let parsed = |word: &str| Heredoc::parse(word).map(|heredoc| (heredoc.name, heredoc.expand));
        let is = |name: &str, expand: bool| Some((name.to_owned(), expand));
        for (word, wanted) in [
            ("<<EOF", is("EOF", true)),
            ("<<-EOF", is("EOF", true)),
            ("<< EOF", is("EOF", true)),
            ("<<- EOF", is("EOF", true)),
            ("<< -EOF", is("-EOF", true)),
            ("<<EO\"F\"", is("EOF", false)),
            (r"<<eo\'f", is("eo'f", true)),
            (r"<<'e'o\'f", is("eo'f", false)),
            ("<<'one two'", is("one two", false)),
            ("<<$EOF", is("$EOF", true)),
            (r#"<<"a\"b\c""#, is(r#"a"b\c"#, false)),
            ("<<", None),
            ("<<-", None),
            ("<EOF", None),
            ("<<<EOF", None),
            ("<<EOF sh", None),
            ("<<'EOF", None),
            ("<<EOF\"", None),
            ("<<''", None),
        ] {
            assert_eq!(parsed(word), wanted, "{word}");
        }
        let names = |line: &str| {
            Heredoc::openers(line)
                .into_iter()
                .map(|heredoc| heredoc.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("RUN <<  EOF  > foo << 'a b'"), ["EOF", "a b"]);
        assert_eq!(names("RUN '<<EOF' \"<<EOF\" a<b"), [""; 0]);
    }

    #[test]
    fn chomp_drops_leading_tabs_of_each_line() {
        let mut heredoc = Heredoc::parse("<<-EOF").expect("an opener");
        heredoc.content = "\ta\n\t\tb\nc\n".to_owned();
        assert_eq!(heredoc.body(), "a\nb\nc\n");
        assert!(heredoc.is_terminator("\tEOF"));
        assert!(!heredoc.is_terminator(" EOF"));
    }
}
