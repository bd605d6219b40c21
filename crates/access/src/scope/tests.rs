//! The grammar of scopes, and that no text at all makes reading panic.

use super::*;
use Action::{Delete, Pull, Push};
use proptest::prelude::*;

#[test]
fn the_grammar() {
    let cases: [(&str, &str, &[Action]); 8] = [
        ("repository:a/b:pull", "a/b", &[Pull]),
        ("repository:a/b:pull,push", "a/b", &[Pull, Push]),
        ("repository:a/b:push,pull,push", "a/b", &[Pull, Push]),
        ("repository:a/b:*", "a/b", &[Pull, Push, Delete]),
        ("repository:a/b:fly,delete", "a/b", &[Delete]),
        ("repository:a/b:", "a/b", &[]),
        ("repository(plugin):a/b:pull", "a/b", &[Pull]),
        ("repository:registry.example.com:5000/a/b:pull", "a/b", &[Pull]),
    ];
    for (text, repository, actions) in cases {
        let expected = AccessScope::new(repository.parse().unwrap(), actions.iter().copied());
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    for bad in [
        "",
        "repository",
        "repository:a/b",
        "registry:catalog:pull",
        "registry:other:*",
        "x:a/b:pull",
        "repository:A/b:pull",
        "repository:a:b:pull",
    ] {
        assert_eq!(bad.parse::<AccessScope>(), Err(AccessScopeError), "{bad}");
    }
}

#[test]
fn lists() {
    let list =
        AccessScope::parse_list("repository:a:pull  registry:catalog:* registry:x:* repository:b:push");
    assert_eq!(
        list.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["repository:a:pull", "registry:catalog:*", "repository:b:push"]
    );
    assert_eq!(
        AccessScope::parse_list(&"repository:a:pull ".repeat(1000)).len(),
        MOST_SCOPES
    );
}

proptest! {
    #[test]
    fn parsing_is_total(text in "(repository|registry)?:?[a-z0-9:/.,*]{0,40}|\\PC*") {
        if let Ok(scope) = text.parse::<AccessScope>() {
            prop_assert_eq!(scope.to_string().parse::<AccessScope>(), Ok(scope));
        }
    }
}
