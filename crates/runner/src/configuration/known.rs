//! The runners of a `config.toml` as GitLab knows them: names, addresses and tokens.
//!
//! Apart from [`Configuration`](super::Configuration), which says how jobs are run and holds no token. What can be read of a
//! file is the same for both.

use super::document::Section;
use super::finding::Finding;
use super::{ConfigurationError, document, text};
use crate::address::shown_text;
use shipway_access::Secret;
use std::path::{Path, PathBuf};

/// What is shown of a token, as gitlab-runner does it in its log.
const SHOWN: usize = 8;

/// The runners of a file, as far as GitLab is concerned.
#[derive(Clone)]
pub struct KnownRunners {
    /// In the order of the file.
    pub runners: Vec<KnownRunner>,
    /// What the reader of the file should know of its form, in its order.
    pub findings: Vec<Finding>,
}

/// A section, as far as GitLab is concerned. What is missing in it is empty.
#[derive(Clone)]
pub struct KnownRunner {
    /// Its name.
    pub name: String,
    /// How it runs jobs.
    pub executor: String,
    /// The GitLab, as the file has it: it may hold a password.
    pub url: String,
    /// Its token.
    pub token: Secret,
    /// Certificates to trust besides this machine's when GitLab is asked.
    pub ca_file: Option<PathBuf>,
}

impl KnownRunners {
    /// Reads a file. Blocks.
    ///
    /// # Errors
    /// When it cannot be read or is wrong; see [`ConfigurationError`].
    pub fn load(file: &Path) -> Result<Self, ConfigurationError> {
        Self::read(file, &text(file)?)
    }

    pub(super) fn read(file: &Path, text: &str) -> Result<Self, ConfigurationError> {
        let ((), runners, findings) = document(file, text, |root, _| root.know_all(), KnownRunner::read)?;
        Ok(Self { runners, findings })
    }
}

impl KnownRunner {
    fn read(mut section: Section<'_>) -> Self {
        let mut text = |key: &str| section.text(key).unwrap_or_default();
        Self {
            name: text("name"),
            executor: text("executor"),
            url: text("url"),
            token: text("token").into(),
            ca_file: section.text("tls-ca-file").map(PathBuf::from),
        }
    }

    /// Its GitLab for people: the one that would be asked, without the user, the password and the query that the address may hold,
    /// whatever form it has.
    pub fn address(&self) -> String {
        shown_text(&self.url)
    }

    /// The beginning of the token, by which people tell runners apart and nobody gets in.
    pub fn short_token(&self) -> String {
        let token = self.token.expose();
        let begin = token.rsplit('-').next().unwrap_or(token);
        // Of a short one there would be too little left.
        let shown = begin.chars().count().min(SHOWN * 2) / 2;
        begin.chars().take(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{KnownRunner, KnownRunners};
    use crate::configuration::Configuration;
    use std::path::Path;

    fn only(section: &str) -> KnownRunner {
        let text = format!("[[runners]]\n{section}");
        let read = KnownRunners::read(Path::new("config.toml"), &text).unwrap();
        read.runners.into_iter().next().unwrap()
    }

    #[test]
    fn half_of_a_token_at_most_is_shown() {
        for (token, shown) in [
            ("glrt-abcdefghijklmnopqrst", "abcdefgh"),
            ("abcdef", "abc"),
            ("", ""),
        ] {
            assert_eq!(only(&format!("token = \"{token}\"")).short_token(), shown);
        }
    }

    #[test]
    fn no_address_shows_a_password() {
        for (url, shown) in [
            ("https://gitlab.example.com/", "https://gitlab.example.com/"),
            (
                "https://me:word@gitlab.example.com/",
                "https://gitlab.example.com/",
            ),
            (
                "https://me:wo/rd@gitlab.example.com/sub",
                "https://gitlab.example.com/sub",
            ),
            (
                "https://me:wo@rd@gitlab.example.com",
                "https://gitlab.example.com/",
            ),
            // Shown is who would be asked, and of a path nothing that may be the rest of a password.
            ("https://asked.example/ok/@gitlab.com", "https://asked.example/"),
            (
                "https://asked.example/sub#frag@gitlab.com",
                "https://asked.example/sub",
            ),
            ("https://asked.example?a=b@gitlab.com", "https://asked.example/"),
            ("https://asked.example\\\\@gitlab.com", "https://asked.example/"),
            (
                "https://gitlab.example.com/sub?private_token=word",
                "https://gitlab.example.com/sub",
            ),
            ("gitlab.example.com/?private_token=word", "gitlab.example.com/"),
            ("gitlab.example.com#word", "gitlab.example.com"),
            ("me:word@gitlab.example.com", "gitlab.example.com"),
            ("//me:word@gitlab.example.com", "gitlab.example.com"),
            ("gitlab.example.com:8080", "gitlab.example.com:8080"),
        ] {
            assert_eq!(only(&format!("url = \"{url}\"")).address(), shown, "{url}");
        }
    }

    #[test]
    fn what_can_be_read_of_a_file_is_what_a_run_can_read_of_it() {
        let placeholder = "concurrent = 2\n[[runners]]\nname = \"a\"\ntoken = TOKEN\nexecutor = \"docker\"\nmemory = 1\n...\n";
        let values = "runners:\n  config: |\n    [[runners]]\n      name = \"a\"\n";
        for (file, text, readable) in [
            ("config.toml", placeholder, true),
            ("config.toml", "runners = [{ name = \"a\" }]", true),
            ("values.yaml", values, true),
            ("config.toml", "[[runners]]\nname = \"a\" oops\n", false),
            ("config.toml", "runners = 1\n", false),
        ] {
            let known = KnownRunners::read(Path::new(file), text);
            let run = Configuration::read(Path::new(file), text);
            assert_eq!((known.is_ok(), run.is_ok()), (readable, readable), "{text}");
            let (Ok(known), Ok(run)) = (known, run) else {
                continue;
            };
            assert_eq!(known.runners[0].name, run.runners[0].name);
            let about_form = known
                .findings
                .iter()
                .all(|finding| run.findings.contains(finding));
            assert!(about_form, "{:?}", known.findings);
        }
        let known = KnownRunners::read(Path::new("config.toml"), placeholder).unwrap();
        let said: Vec<_> = known.findings.iter().map(ToString::to_string).collect();
        assert_eq!(known.runners[0].token.expose(), "TOKEN");
        assert!(
            matches!(&said[..], [token, dots] if token.starts_with("config.toml:4:9: ") && dots.starts_with("config.toml:7:1: ")),
            "{said:?}"
        );
    }
}
