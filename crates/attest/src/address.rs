//! Addresses as they may be told: without what logs in there.

/// The address without a user and a password, and without its query and fragment, which may be as good as one. What is no address, such as
/// `git@host:path`, stays.
pub fn without_credentials(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logs_in_is_left_out() {
        for (address, told) in [
            (
                "https://gitlab-ci-token:abc@gitlab.com/a/b.git",
                "https://gitlab.com/a/b.git",
            ),
            ("https://a:b@c@host:8443", "https://host:8443"),
            ("https://host/a@b?X-Amz-Signature=1#x", "https://host/a@b"),
            ("git@host:a/b.git", "git@host:a/b.git"),
            ("ssh://git@host/a", "ssh://host/a"),
        ] {
            assert_eq!(without_credentials(address), told);
        }
    }
}
