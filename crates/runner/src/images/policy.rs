//! What a runner lets its jobs choose about images: which, and when a registry is asked for them again.
//!
//! Pure. A job that chooses what is not allowed fails before anything is pulled, with what is.

use super::windows::sibling;
use crate::ImageFreshness;
use crate::configuration::DockerSettings;
use crate::outcome::JobError;
use crate::selection::Pattern;
use shipway_container::PullPolicy;

/// The policies to try, in order.
pub(super) fn policies(
    asked: &[String],
    freshness: ImageFreshness,
    docker: &DockerSettings,
) -> Result<Vec<PullPolicy>, JobError> {
    if asked.is_empty() {
        if !docker.pull_policies.is_empty() {
            return Ok(docker.pull_policies.clone());
        }
        return Ok(vec![match freshness {
            ImageFreshness::Always => PullPolicy::Always,
            ImageFreshness::IfNotPresent => PullPolicy::IfMissing,
        }]);
    }
    let asked: Vec<PullPolicy> = asked
        .iter()
        .map(|word| {
            policy(word).ok_or_else(|| JobError::Configuration {
                message: format!("pull_policy {word} is not known: use always, if-not-present or never"),
            })
        })
        .collect::<Result<_, _>>()?;
    let allowed = &docker.allowed_pull_policies;
    let fitting: Vec<PullPolicy> = asked
        .iter()
        .copied()
        .filter(|policy| allowed.is_empty() || allowed.contains(policy))
        .collect();
    if !fitting.is_empty() {
        return Ok(fitting);
    }
    let words = |policies: &[PullPolicy]| {
        let words: Vec<&str> = policies.iter().map(|policy| word(*policy)).collect();
        words.join(", ")
    };
    Err(JobError::Configuration {
        message: format!(
            "pull_policy {} is none of this runner's allowed_pull_policies ({})",
            words(&asked),
            words(allowed)
        ),
    })
}

/// Whether an image, and the one that is pulled in its place, are among those that `allowed_images` or `allowed_services`
/// name; an empty list names all.
pub(crate) fn check_allowed(image: &str, patterns: &[String], setting: &str) -> Result<(), JobError> {
    let allowed = |image: &str| {
        let fits =
            |pattern: &String| Pattern::parse(pattern, "").is_some_and(|pattern| pattern.matches(image));
        patterns.is_empty() || patterns.iter().any(fits)
    };
    let sibling = sibling(image);
    let refused = match sibling.as_deref() {
        _ if !allowed(image) => image.to_owned(),
        Some(sibling) if !allowed(sibling) => format!("{sibling}, which would be used for {image},"),
        _ => return Ok(()),
    };
    Err(JobError::Configuration {
        message: format!(
            "the image {refused} is not one of this runner's {setting}: {}",
            patterns.join(", ")
        ),
    })
}

/// A policy by the word for it.
pub(crate) fn policy(word: &str) -> Option<PullPolicy> {
    match word {
        "always" => Some(PullPolicy::Always),
        "if-not-present" => Some(PullPolicy::IfMissing),
        "never" => Some(PullPolicy::Never),
        _ => None,
    }
}

/// The word for a policy.
pub(crate) fn word(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "always",
        PullPolicy::IfMissing => "if-not-present",
        PullPolicy::Never => "never",
    }
}

/// A policy as the trace has it.
pub(super) fn describe(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "always",
        PullPolicy::IfMissing => "if not present",
        PullPolicy::Never => "never: only what is here",
    }
}

#[cfg(test)]
mod tests {
    use super::{DockerSettings, ImageFreshness, check_allowed, policies};
    use shipway_container::PullPolicy;

    #[test]
    fn the_job_decides_before_the_runner() {
        let asked = ["always".to_owned(), "if-not-present".to_owned()];
        let expected = [PullPolicy::Always, PullPolicy::IfMissing];
        let unset = DockerSettings::default();
        let freshness = ImageFreshness::IfNotPresent;
        assert_eq!(policies(&asked, freshness, &unset).unwrap(), expected);
        assert_eq!(policies(&[], freshness, &unset).unwrap(), [PullPolicy::IfMissing]);
        assert!(policies(&["sometimes".to_owned()], freshness, &unset).is_err());
    }

    #[test]
    fn a_job_may_choose_what_the_runner_allows() {
        let freshness = ImageFreshness::IfNotPresent;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let docker = DockerSettings {
            pull_policies: vec![PullPolicy::Never],
            allowed_pull_policies: vec![PullPolicy::Always],
            ..DockerSettings::default()
        };
        // What the file itself says needs no leave.
        assert_eq!(policies(&[], freshness, &docker).unwrap(), [PullPolicy::Never]);
        let refused = policies(&words(&["never", "if-not-present"]), freshness, &docker).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("never, if-not-present is none of this runner's"),
            "{refused}"
        );
        let fitting = policies(&words(&["if-not-present", "always"]), freshness, &docker).unwrap();
        assert_eq!(fitting, [PullPolicy::Always]);
    }

    #[test]
    fn images_are_allowed_by_patterns() {
        let patterns = ["docker:*".to_owned(), "registry.example.com/**/*:*".to_owned()];
        for fine in ["docker:24.0.5", "registry.example.com/a/b/c:1"] {
            check_allowed(fine, &patterns, "allowed_images").unwrap();
        }
        for wrong in ["alpine:3", "evil.example.com/docker:24", "docker"] {
            assert!(
                check_allowed(wrong, &patterns, "allowed_images").is_err(),
                "{wrong}"
            );
        }
        check_allowed("anything", &[], "allowed_images").unwrap();
        let windows = "docker:25-windowsservercore-ltsc2022";
        let both = [windows.to_owned(), "docker:25-cli".to_owned()];
        check_allowed(windows, &both, "allowed_images").unwrap();
        for one in both {
            let refused = check_allowed(windows, std::slice::from_ref(&one), "allowed_images");
            assert!(refused.is_err(), "only {one} is allowed");
        }
    }
}
