//! The `WWW-Authenticate` header: how a registry says where tokens come from.

use std::fmt;

/// A header longer than this is no challenge of a registry.
const LONGEST: usize = 8192;

/// One demand of a `WWW-Authenticate` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `Bearer`, `Basic`, … as written.
    pub scheme: String,
    /// What follows it, in order.
    pub parameters: Vec<ChallengeParameter>,
}

/// A parameter of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeParameter {
    /// Its name, in lower case.
    pub name: String,
    /// Its value, without quotes.
    pub value: String,
}

impl Challenge {
    /// A challenge without parameters.
    pub fn new(scheme: &str) -> Self {
        Self {
            scheme: scheme.to_owned(),
            parameters: Vec::new(),
        }
    }

    /// With one more parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parameters.push(ChallengeParameter {
            name: name.to_owned(),
            value: value.into(),
        });
        self
    }

    /// A parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|parameter| parameter.name == name)
            .map(|parameter| parameter.value.as_str())
    }

    /// Whether the scheme is this one; case does not count.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// All challenges of a header's value. Total: reading stops where the grammar does.
    pub fn parse_all(text: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        if text.len() > LONGEST {
            return challenges;
        }
        let mut rest = text.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let (word, after) = token(rest);
            if word.is_empty() {
                break;
            }
            let after = after.trim_start();
            if let (Some(value), Some(challenge)) = (after.strip_prefix('='), challenges.last_mut()) {
                let (value, after) = parameter_value(value.trim_start());
                challenge.parameters.push(ChallengeParameter {
                    name: word.to_ascii_lowercase(),
                    value,
                });
                rest = after;
            } else {
                challenges.push(Self::new(word));
                rest = after;
            }
            rest = rest.trim_start_matches([' ', '\t', ',']);
        }
        challenges
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        for (index, ChallengeParameter { name, value }) in self.parameters.iter().enumerate() {
            let separator = if index == 0 { ' ' } else { ',' };
            let value: String = value
                .chars()
                .filter(|c| !matches!(c, '"' | '\\') && !c.is_control())
                .collect();
            write!(f, "{separator}{name}=\"{value}\"")?;
        }
        Ok(())
    }
}

/// A token of HTTP's grammar and what follows it.
fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)));
    text.split_at(end.unwrap_or(text.len()))
}

/// A quoted string or a token. Registries exist that write a bare URL, so a bare value ends only at a comma or a space.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_is_total(text in "((Bearer|Basic)? ?[a-z]{0,5}=?\"?[^\"]{0,9}\"?,? ?){0,6}|\\PC*") {
            let _ = Challenge::parse_all(&text);
        }

        #[test]
        fn what_is_written_is_read_back(values in prop::collection::vec("[^\"\\\\\\p{Cc}]{0,30}", 1..5)) {
            let challenge = values.iter().fold(Challenge::new("Bearer"), |challenge, value| challenge.with("name", value));
            prop_assert_eq!(Challenge::parse_all(&challenge.to_string()), vec![challenge]);
        }
    }

    #[test]
    fn what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let [bearer] = &Challenge::parse_all(hub)[..] else {
            panic!("one challenge")
        };
        assert!(bearer.is("bearer"));
        assert_eq!(bearer.get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(bearer.to_string(), hub);

        let two = Challenge::parse_all(r#"Basic realm="a \"b\", c", Bearer realm=https://x/y , Service="s""#);
        assert_eq!(two.len(), 2);
        assert_eq!(two[0].get("realm"), Some(r#"a "b", c"#));
        assert_eq!(
            (two[1].get("realm"), two[1].get("service")),
            (Some("https://x/y"), Some("s"))
        );
        assert_eq!(Challenge::parse_all("Negotiate, Basic").len(), 2);
    }

    #[test]
    fn garbage_ends_quietly() {
        for text in [
            "",
            ",,,",
            "=",
            "\"",
            "Bearer realm=\"",
            "Bearer realm=\"\\",
            "é=é",
            "Bearer =x",
            "a=b",
        ] {
            let _ = Challenge::parse_all(text);
        }
        assert!(Challenge::parse_all(&"a ".repeat(10_000)).is_empty());
    }

    #[test]
    fn nothing_breaks_out_of_a_value() {
        let challenge = Challenge::new("Bearer").with("realm", "a\"b\r\nc");
        assert_eq!(challenge.to_string(), "Bearer realm=\"abc\"");
    }

    /// What was read and is written again is read as the same.
    #[test]
    fn foreign_challenges() {
        let seeds = [
            r#"Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:a/b:pull,push""#,
            r#"Basic realm="a, \"b\"", Bearer realm=x , error="invalid_token""#,
            "Negotiate abc==",
        ];
        shipway_testkit::Foreign::near(seeds).check_text(|text| {
            let challenges = Challenge::parse_all(text);
            assert!(text.len() <= LONGEST || challenges.is_empty());
            for challenge in challenges {
                let written = challenge.to_string();
                if written.len() <= LONGEST {
                    let read = Challenge::parse_all(&written);
                    assert_eq!(read.len(), 1, "{written}");
                    assert_eq!(read[0].to_string(), written);
                }
            }
        });
    }
}
