//! `.gitmodules`: which repositories belong into which folders.

use std::path::PathBuf;

use super::address::{GitScheme, plain};
use super::error::GitError;

/// The largest `.gitmodules` that is read.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// A repository inside another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Its folder.
    pub(super) path: String,
    /// Its address as written.
    url: String,
    /// What `git submodule update` does with it.
    update: String,
}

impl Submodule {
    /// Whether it is left out.
    pub(super) fn is_left_out(&self) -> bool {
        self.update == "none"
    }

    /// Where it is reached; `parent` is the address of the repository that it belongs to. Files of this machine and commands are
    /// no address.
    pub(super) fn remote(&self, parent: &str) -> Result<(GitScheme, String), GitError> {
        let wrong = |reason: &str| GitError::SubmoduleAddress {
            path: PathBuf::from(&self.path),
            reason: reason.to_owned(),
        };
        if self.url.is_empty() {
            return Err(wrong("`.gitmodules` gives it no url"));
        }
        let whole = match self.url.starts_with("./") || self.url.starts_with("../") {
            true => relative(parent, &self.url).ok_or_else(|| wrong("its url leads out of the server"))?,
            false => self.url.clone(),
        };
        plain(&whole)
            .ok_or_else(|| wrong("its url is no address of a git server: only https, http, git and ssh are"))
    }
}

/// `../other.git` seen from a repository's address.
fn relative(parent: &str, url: &str) -> Option<String> {
    let mut base = parent.trim_end_matches('/').to_owned();
    let least = base.find("://").map_or(0, |at| at + 3);
    let mut rest = url;
    loop {
        if let Some(next) = rest.strip_prefix("./") {
            rest = next;
        } else if let Some(next) = rest.strip_prefix("../") {
            let cut = base.rfind(['/', ':']).filter(|cut| *cut > least)?;
            let separator = if base.as_bytes()[cut] == b':' { ":" } else { "" };
            base.truncate(cut);
            base.push_str(separator);
            rest = next;
        } else {
            break;
        }
    }
    let separator = if base.ends_with(':') { "" } else { "/" };
    Some(format!("{base}{separator}{}", rest.trim_end_matches('/')))
}

/// The submodules of a `.gitmodules`, in git's own syntax for configurations. Of what stands there twice the last one counts.
pub(super) fn parse(text: &str) -> Vec<Submodule> {
    let mut found: Vec<(String, Submodule)> = Vec::new();
    let mut current = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim().to_owned();
        while line.ends_with('\\') && !line.ends_with("\\\\") {
            line.pop();
            line.push_str(lines.next().unwrap_or_default().trim_start());
        }
        if let Some(section) = line.strip_prefix('[') {
            current = section_name(section).map(|name| {
                let known = found.iter().position(|(known, _)| *known == name);
                known.unwrap_or_else(|| {
                    found.push((name, Submodule::default()));
                    found.len() - 1
                })
            });
            continue;
        }
        let (Some(index), Some((key, value))) = (current, line.split_once('=')) else {
            continue;
        };
        let submodule = &mut found[index].1;
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => submodule.path = unquoted(value).trim_end_matches('/').to_owned(),
            "url" => submodule.url = unquoted(value),
            "update" => submodule.update = unquoted(value),
            _ => {}
        }
    }
    found.into_iter().map(|(_, submodule)| submodule).collect()
}

/// The name in `submodule "name"]`.
fn section_name(section: &str) -> Option<String> {
    let (kind, rest) = section.split_once('"')?;
    let (name, _) = rest.rsplit_once('"')?;
    kind.trim()
        .eq_ignore_ascii_case("submodule")
        .then(|| name.to_owned())
}

/// A value without quotes, escapes and a comment.
fn unquoted(text: &str) -> String {
    let mut value = String::new();
    let (mut quoted, mut kept) = (false, 0);
    let mut chars = text.trim_start().chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => quoted = !quoted,
            '#' | ';' if !quoted => break,
            '\\' => value.extend(chars.next().map(|escaped| match escaped {
                'n' => '\n',
                't' => '\t',
                other => other,
            })),
            other => value.push(other),
        }
        // Blanks at the end count only between quotes.
        if quoted || !value.ends_with(char::is_whitespace) {
            kept = value.len();
        }
    }
    value.truncate(kept);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_values_are_read_as_git_reads_them() {
        let text = "# first\n[submodule \"a b\"]\n\tpath = lib/a/\n\turl = \"https://git.test/a;b.git\" ; why\n\
                    [core]\n\turl = x\n[Submodule \"c\"]\nPath=c\nURL = ../c.git\nupdate = none\n[submodule \"a b\"]\n\
                    url = https://git.test/\\\n  long.git\n";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&*found[0].path, &*found[0].url),
            ("lib/a", "https://git.test/long.git")
        );
        assert!(!found[0].is_left_out() && found[1].is_left_out());
        assert_eq!(
            unquoted(" \"https://git.test/a;b.git\" ; why"),
            "https://git.test/a;b.git"
        );
    }

    #[test]
    fn addresses_are_those_of_servers_only() {
        let remote = |url: &str, parent: &str| {
            let submodule = Submodule {
                path: "sub".to_owned(),
                url: url.to_owned(),
                update: String::new(),
            };
            submodule
                .remote(parent)
                .map(|(_, remote)| remote)
                .map_err(|error| error.to_string())
        };
        let parent = "https://me:secret@git.test/group/app.git";
        for (url, wanted) in [
            ("../lib.git", "https://me:secret@git.test/group/lib.git"),
            ("./lib.git", "https://me:secret@git.test/group/app.git/lib.git"),
            ("../../other/lib", "https://me:secret@git.test/other/lib"),
            ("http://git.test/x", "http://git.test/x"),
            ("git@git.test:x/y", "git@git.test:x/y"),
        ] {
            assert_eq!(remote(url, parent).as_deref(), Ok(wanted), "{url}");
        }
        assert_eq!(
            remote("../lib", "git@git.test:group/app").as_deref(),
            Ok("git@git.test:group/lib")
        );
        for url in [
            "file:///etc",
            "/srv/git",
            "ext::sh -c true",
            "--upload-pack=x",
            "../../../../etc",
            "ssh://-oProxyCommand=x/y",
            "",
        ] {
            let said = remote(url, parent).expect_err(url);
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn foreign_files() {
        let seeds = ["[submodule \"a\"]\n\tpath = a\n\turl = ../a.git # b\n\tupdate = \"none\"\n"];
        shipway_testkit::Foreign::near(seeds).check_text(|text| {
            for submodule in parse(text) {
                let _ = submodule.remote("https://git.test/group/app.git");
            }
        });
    }
}
