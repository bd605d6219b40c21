//! The runners of a `config.toml` as GitLab knows them: names, addresses and tokens.
//!
//! Apart from [`Configuration`](crate::configuration::Configuration), which says how jobs are run and holds no token.

use shipway_access::Secret;
use std::path::PathBuf;
use toml_edit::TableLike;

/// What is shown of a token, as gitlab-runner does it in its log.
const SHOWN: usize = 8;

/// A section, as far as GitLab is concerned. What is missing in it is empty.
#[derive(Clone)]
pub struct KnownRunner {
    /// Its name.
    pub name: String,
    /// How it runs jobs.
    pub executor: String,
    /// The GitLab.
    pub url: String,
    /// Its token.
    pub token: Secret,
    /// Certificates to trust besides this machine's when GitLab is asked.
    pub ca_file: Option<PathBuf>,
}

impl KnownRunner {
    /// Reads a section, whatever else is in it.
    pub(super) fn read(section: &dyn TableLike) -> Self {
        let text = |key: &str| {
            section
                .get(key)
                .and_then(|item| item.as_str())
                .unwrap_or_default()
        };
        let ca_file = text("tls-ca-file");
        Self {
            name: text("name").to_owned(),
            executor: text("executor").to_owned(),
            url: text("url").to_owned(),
            token: text("token").into(),
            ca_file: (!ca_file.is_empty()).then(|| ca_file.into()),
        }
    }

    /// Whether a section is about the same runner: a token is one for each GitLab.
    pub fn is_same(&self, other: &Self) -> bool {
        self.url == other.url && self.token.expose() == other.token.expose()
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
    use super::KnownRunner;
    use toml_edit::DocumentMut;

    #[test]
    fn half_of_a_token_at_most_is_shown() {
        for (token, shown) in [
            ("glrt-abcdefghijklmnopqrst", "abcdefgh"),
            ("abcdef", "abc"),
            ("", ""),
        ] {
            let section: DocumentMut = format!("token = \"{token}\"").parse().unwrap();
            assert_eq!(KnownRunner::read(section.as_table()).short_token(), shown);
        }
    }
}
