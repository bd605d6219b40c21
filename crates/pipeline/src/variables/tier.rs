//! The tier of an environment that names none: GitLab guesses it from the environment's name (`Environment#guess_tier`).

/// Parts of names, by tier; the first tier with a part in the name is the one, so `pre-prod` is staging.
const PARTS: [(&str, &[&str]); 4] = [
    ("development", &["dev", "review", "trunk"]),
    (
        "testing",
        &[
            "test", "tst", "int", "accept", "acpt", "qa", "qc", "control", "quality",
        ],
    ),
    ("staging", &["stag", "stg", "model", "modl", "pre", "demo", "non"]),
    ("production", &["prod", "prd", "live"]),
];

/// `CI_ENVIRONMENT_TIER` of an environment of that name.
pub(crate) fn environment_tier(name: &str) -> &'static str {
    let name = name.to_lowercase();
    PARTS
        .iter()
        .find(|(_, parts)| parts.iter().any(|part| name.contains(part)))
        .map_or("other", |(tier, _)| tier)
}

#[cfg(test)]
mod tests {
    use super::environment_tier;

    #[test]
    fn the_first_tier_with_a_part_of_the_name_is_it() {
        for (name, tier) in [
            ("review/main", "development"),
            ("QA", "testing"),
            ("pre-prod", "staging"),
            ("Production/eu", "production"),
            ("customer", "other"),
            ("", "other"),
        ] {
            assert_eq!(environment_tier(name), tier, "{name}");
        }
    }
}
