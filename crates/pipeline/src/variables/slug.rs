//! Names fit for a host name or an image tag.

use sha2::{Digest as _, Sha256};

/// Characters of a DNS label.
const LENGTH: usize = 63;

/// `CI_COMMIT_REF_SLUG` and its relatives: lower case, everything but letters and digits a dash, 63 characters, no dash at
/// either end. Runs of dashes stay, as in GitLab.
pub fn slug(text: &str) -> String {
    let dashed: String = text
        .chars()
        .flat_map(char::to_lowercase)
        .map(|character| {
            if character.is_ascii_lowercase() || character.is_ascii_digit() {
                character
            } else {
                '-'
            }
        })
        .take(LENGTH)
        .collect();
    dashed.trim_matches('-').to_owned()
}

/// Characters of an environment's slug, and of the part that stays when it gets a suffix.
const ENVIRONMENT_LENGTH: usize = 24;
const ENVIRONMENT_STEM: usize = 17;

/// `CI_ENVIRONMENT_SLUG`: begins with a letter, has no two dashes in a row; a name that is not its own slug gets a suffix
/// made of its digest, so that two names never share one.
pub fn environment_slug(name: &str) -> String {
    shortened(name, || digest_suffix(name))
}

fn shortened(name: &str, suffix: impl FnOnce() -> String) -> String {
    let mut slug = String::new();
    for character in name.to_lowercase().chars() {
        let character = if character.is_ascii_lowercase() || character.is_ascii_digit() {
            character
        } else {
            '-'
        };
        if character != '-' || !slug.ends_with('-') {
            slug.push(character);
        }
    }
    if !slug.starts_with(|first: char| first.is_ascii_lowercase()) {
        slug.insert_str(0, if slug.starts_with('-') { "env" } else { "env-" });
    }
    if slug.len() <= ENVIRONMENT_LENGTH && slug == name {
        return slug.strip_suffix('-').map(str::to_owned).unwrap_or(slug);
    }
    slug.truncate(ENVIRONMENT_STEM);
    if !slug.ends_with('-') {
        slug.push('-');
    }
    slug + &suffix()
}

/// The last six digits of the name's SHA-256 in base 36.
fn digest_suffix(name: &str) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    const SPACE: u64 = 36_u64.pow(6);
    let mut rest = Sha256::digest(name.as_bytes())
        .iter()
        .fold(0u64, |rest, byte| (rest * 256 + u64::from(*byte)) % SPACE);
    let mut suffix = ['0'; 6];
    for slot in suffix.iter_mut().rev() {
        *slot = DIGITS
            .get((rest % 36) as usize)
            .map_or('0', |digit| char::from(*digit));
        rest /= 36;
    }
    suffix.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{digest_suffix, shortened, slug};

    #[test]
    fn environment_slugs_are_gitlabs() {
        for (name, expected) in [
            ("staging-12345678901234567", "staging-123456789-SUFFIX"),
            ("9-staging-123456789012345", "env-9-staging-123-SUFFIX"),
            ("staging-1234567890123456", "staging-1234567890123456"),
            ("production", "production"),
            ("PRODUCTION", "production-SUFFIX"),
            ("review/1-foo", "review-1-foo-SUFFIX"),
            ("1/foo", "env-1-foo-SUFFIX"),
            ("foo-", "foo"),
            ("foo**bar", "foo-bar-SUFFIX"),
            ("*-foo", "env-foo-SUFFIX"),
            ("", "env-SUFFIX"),
        ] {
            assert_eq!(shortened(name, || "SUFFIX".to_owned()), expected, "{name}");
        }
        assert_eq!(digest_suffix("production"), "bw12t0");
        assert_eq!(digest_suffix("review/1-foo"), "9tdj0u");
    }

    #[test]
    fn slugs_are_gitlabs() {
        for (text, expected) in [
            ("feature/Foo__bar", "feature-foo--bar"),
            ("v1.2.3", "v1-2-3"),
            ("-x-", "x"),
            ("Ä", ""),
            ("", ""),
        ] {
            assert_eq!(slug(text), expected);
        }
        assert_eq!(slug(&"a".repeat(70)).len(), 63);
    }

    #[test]
    fn the_vectors_agree() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../shared/vectors/gitlab-slug.tsv"
        );
        let Ok(text) = std::fs::read_to_string(path) else {
            return;
        };
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (name, expected) = line.split_once('\t').unwrap();
            assert_eq!(slug(name), expected, "{name:?}");
        }
    }
}
