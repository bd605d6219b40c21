//! Names fit for a host name or an image tag.

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

#[cfg(test)]
mod tests {
    use super::slug;

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
