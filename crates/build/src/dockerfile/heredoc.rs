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
        if quoted.is_empty() || quoted.contains('<') {
            return None;
        }
        let name = unquote(quoted)?;
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains('\0') {
            return None;
        }
        Some(Self {
            expand: name == quoted,
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

fn unquote(word: &str) -> Option<String> {
    let mut name = String::new();
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => loop {
                let inner = chars.next()?;
                if inner == c {
                    break;
                }
                name.push(inner);
            },
            '\\' => name.push(chars.next()?),
            other => name.push(other),
        }
    }
    Some(name)
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
    fn chomp_drops_leading_tabs_of_each_line() {
        let mut heredoc = Heredoc::parse("<<-EOF").expect("an opener");
        heredoc.content = "\ta\n\t\tb\nc\n".to_owned();
        assert_eq!(heredoc.body(), "a\nb\nc\n");
        assert!(heredoc.is_terminator("\tEOF"));
        assert!(!heredoc.is_terminator(" EOF"));
    }
}
