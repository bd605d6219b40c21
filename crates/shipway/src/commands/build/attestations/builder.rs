//! Who builds: a URI that a verifier can hold against what it trusts.

use crate::failure::{Failure, FailureKind};

/// What nobody vouches for.
const UNNAMED: &str = "urn:shipway:builder:unnamed";
const LONGEST: usize = 2048;

/// The id that was given, else the address of the GitLab job that this is, else one that says that there is none.
pub(super) fn id(given: Option<String>) -> Result<String, Failure> {
    match given {
        Some(id) if is_uri(&id) => Ok(id),
        Some(id) => Err(
            Failure::new(FailureKind::Use, format!("the builder's id `{id}` is no URI"))
                .hint("write one with its scheme, such as https://ci.example.com/runner"),
        ),
        None => {
            let job = std::env::var("CI_JOB_URL").ok();
            Ok(job
                .filter(|job| is_uri(job))
                .unwrap_or_else(|| UNNAMED.to_owned()))
        }
    }
}

fn is_uri(text: &str) -> bool {
    let scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    text.len() <= LONGEST
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text
            .split_once(':')
            .is_some_and(|(start, rest)| scheme(start) && !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uri() {
        assert_eq!(
            id(Some("https://ci.example.com/1".into())).unwrap(),
            "https://ci.example.com/1"
        );
        for text in ["ci", ":x", "1a:b", "a b:c", "https:"] {
            assert!(id(Some(text.into())).is_err(), "{text}");
        }
        assert!(is_uri(UNNAMED));
    }
}
