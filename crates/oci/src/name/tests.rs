//! The grammars of repositories, registries and tags at their edges.

use super::*;
use proptest::prelude::*;

#[test]
fn repositories() {
    for good in [
        "a",
        "a/b",
        "a__b",
        "a---b",
        "a.b_c",
        "0",
        "xn--n3h/x",
        &"a/".repeat(127).add_a(),
    ] {
        assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
    }
    for bad in [
        "", "/", "a/", "/a", "a//b", "a___b", "a..b", "a._b", "-a", "a-", ".a", "a b", "ä", "a:b", "a@b",
    ] {
        assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
    }
    assert!(matches!(
        "A/b".parse::<RepositoryName>(),
        Err(NameError::UpperCase { .. })
    ));
    assert!(matches!(
        "a".repeat(256).parse::<RepositoryName>(),
        Err(NameError::TooLong { length: 256, .. })
    ));
}

trait AddA {
    fn add_a(self) -> String;
}
impl AddA for String {
    fn add_a(self) -> String {
        self + "a"
    }
}

#[test]
fn within_is_by_component() {
    let name = |text: &str| text.parse::<RepositoryName>().unwrap();
    assert!(name("a/b").is_within(&name("a/b")));
    assert!(name("a/b/c").is_within(&name("a/b")));
    assert!(!name("a/bc").is_within(&name("a/b")));
    assert!(!name("a").is_within(&name("a/b")));
}

#[test]
fn registries() {
    let parse = |text: &str| text.parse::<RegistryName>();
    assert_eq!(parse("LocalHost:5000").unwrap().as_str(), "localhost:5000");
    assert_eq!(parse("index.docker.io").unwrap(), RegistryName::docker_hub());
    assert_eq!(
        (
            parse("[::1]:80").unwrap().host(),
            parse("[::1]:80").unwrap().port()
        ),
        ("[::1]", Some(80))
    );
    for loopback in [
        "localhost",
        "127.0.0.1:5000",
        "127.9.9.9",
        "[::1]:1",
        "[::ffff:127.0.0.1]",
    ] {
        assert!(parse(loopback).unwrap().is_loopback(), "{loopback}");
    }
    for other in ["localhost.example.com", "128.0.0.1", "[::2]"] {
        assert!(!parse(other).unwrap().is_loopback(), "{other}");
    }
    for bad in [
        "", ":80", "a:", "a:65536", "a:-1", "a:+1", "a..b", "-a", "a-", "[::1", "::1", "[x]", "a_b", "a:1:2",
        "a/b",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn tags() {
    for good in ["a", "_", "A.b-c_1", "9", &"x".repeat(128)] {
        assert!(good.parse::<Tag>().is_ok(), "{good}");
    }
    for bad in ["", ".a", "-a", "a b", "a/b", "ä", "a:b", &"x".repeat(129)] {
        assert!(bad.parse::<Tag>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn parsing_is_total_and_keeps_the_text(text in "[a-z0-9._/:\\-\\[\\]A-Z]{0,40}|\\PC*") {
        if let Ok(name) = text.parse::<RepositoryName>() {
            prop_assert_eq!(name.as_str(), &text);
        }
        if let Ok(tag) = text.parse::<Tag>() {
            prop_assert_eq!(tag.as_str(), &text);
        }
        if let Ok(registry) = text.parse::<RegistryName>() {
            prop_assert_eq!(registry.as_str().parse::<RegistryName>().unwrap(), registry);
        }
    }
}

/// Whatever is taken is itself again, short enough for a path, and leads out of none.
#[test]
fn foreign_names() {
    let seeds = [
        "registry.example.com:5000",
        "[2001:db8::1]:443",
        "localhost",
        "group/sub__project/image-name.x",
        "v1.2.3-rc.1_x",
    ];
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        if let Ok(name) = text.parse::<RegistryName>() {
            assert_eq!(name.as_str().parse().as_ref(), Ok(&name));
            assert!(!name.host().is_empty() && !name.as_str().contains('/'));
        }
        if let Ok(name) = text.parse::<RepositoryName>() {
            assert!(name.as_str() == text && text.len() <= 255);
            assert!(
                name.components()
                    .all(|part| !part.is_empty() && !part.starts_with('.'))
            );
        }
        if let Ok(tag) = text.parse::<Tag>() {
            assert!(tag.as_str() == text && text.len() <= 128 && !text.starts_with('.'));
        }
    });
}
