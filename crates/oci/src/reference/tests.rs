//! The rules of image names as docker has them, and properties that hold for every name.

use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Written form, canonical form, familiar form; the cases of `distribution/reference`'s own tests among them.
const GOOD: &[(&str, &str, &str)] = &[
    ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
    ("alpine:3", "docker.io/library/alpine:3", "alpine:3"),
    ("docker.io/alpine:3", "docker.io/library/alpine:3", "alpine:3"),
    (
        "index.docker.io/library/alpine:3",
        "docker.io/library/alpine:3",
        "alpine:3",
    ),
    (
        "library/alpine",
        "docker.io/library/alpine:latest",
        "alpine:latest",
    ),
    ("a/b", "docker.io/a/b:latest", "a/b:latest"),
    ("a/b/c", "docker.io/a/b/c:latest", "a/b/c:latest"),
    (
        "library/a/b",
        "docker.io/library/a/b:latest",
        "library/a/b:latest",
    ),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    (
        "localhost:5000/x",
        "localhost:5000/x:latest",
        "localhost:5000/x:latest",
    ),
    (
        "127.0.0.1:5000/g/p:1",
        "127.0.0.1:5000/g/p:1",
        "127.0.0.1:5000/g/p:1",
    ),
    ("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1"),
    (
        "[2001:db8::1]/x",
        "[2001:db8::1]/x:latest",
        "[2001:db8::1]/x:latest",
    ),
    ("Example/x", "Example/x:latest", "Example/x:latest"),
    (
        "registry.example.com/a/b/c:1.0-x_Y",
        "registry.example.com/a/b/c:1.0-x_Y",
        "registry.example.com/a/b/c:1.0-x_Y",
    ),
    (
        "docker.io/localhost/x",
        "docker.io/localhost/x:latest",
        "docker.io/localhost/x:latest",
    ),
    (
        "docker.io/a.b/x",
        "docker.io/a.b/x:latest",
        "docker.io/a.b/x:latest",
    ),
    (
        "localhost",
        "docker.io/library/localhost:latest",
        "localhost:latest",
    ),
    ("a.b:1", "docker.io/library/a.b:1", "a.b:1"),
];

#[test]
fn docker_s_rules() {
    for (written, canonical, familiar) in GOOD {
        let reference = Reference::parse(written).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(&reference.to_string(), canonical, "{written}");
        assert_eq!(&reference.familiar(), familiar, "{written}");
        assert_eq!(Reference::parse(canonical).as_ref(), Ok(&reference), "{written}");
        assert_eq!(Reference::parse(familiar).as_ref(), Ok(&reference), "{written}");
    }
}

#[test]
fn digests() {
    let only = Reference::parse(&format!("alpine@{DIGEST}")).unwrap();
    assert_eq!(
        (only.tag.clone(), only.to_string()),
        (None, format!("docker.io/library/alpine@{DIGEST}"))
    );
    let both = Reference::parse(&format!("localhost:1/a:3@{DIGEST}")).unwrap();
    assert_eq!(both.to_string(), format!("localhost:1/a:3@{DIGEST}"));
    assert_eq!(both.with_tag(Tag::latest()).to_string(), "localhost:1/a:latest");
    assert_eq!(
        both.with_digest(Digest::sha256(b"")).to_string(),
        format!("localhost:1/a@{DIGEST}")
    );
}

#[test]
fn refusals() {
    for bad in [
        "",
        ":",
        "/",
        "@",
        ":latest",
        "a:",
        "a@",
        "a@sha256:00",
        "a/",
        "/a",
        "a//b",
        "a:b:c",
        "a:b/c:d/e",
        "Alpine",
        "a/B",
        "https://example.com/a",
        "a b",
        "-a",
        "a:.b",
        "docker.io/",
        "localhost:99999/a",
        "[::1/a",
        "a@sha256:e3b0@sha256:e3b0",
        "ä",
    ] {
        assert!(Reference::parse(bad).is_err(), "{bad:?} was taken");
    }
    assert!(matches!(
        Reference::parse(&"a".repeat(64)),
        Err(ReferenceError::Identifier { .. })
    ));
    assert!(matches!(
        Reference::parse(&"a".repeat(2000)),
        Err(ReferenceError::TooLong { length: 2000 })
    ));
    assert!(Reference::parse(&format!("x/{}", "a".repeat(256))).is_err());
    assert!(Reference::parse(&format!("x:{}", "a".repeat(129))).is_err());
}

fn component() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}"
}

proptest! {
    #[test]
    fn canonical_and_familiar_forms_mean_the_same(
        registry in prop::option::of("(docker\\.io|localhost(:[1-9][0-9]{1,3})?|[A-Z][a-z]{1,4}|[a-z]{1,5}\\.[a-z]{2}|10\\.0\\.0\\.1:5000|\\[::1\\]:80)"),
        path in prop::collection::vec(prop_oneof![component(), Just("library".to_owned()), Just("localhost".to_owned())], 1..4),
        tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        pinned: bool,
    ) {
        let mut text = registry.map(|registry| registry + "/").unwrap_or_default() + &path.join("/");
        if let Some(tag) = tag { text = text + ":" + &tag }
        if pinned { text = text + "@" + DIGEST }
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
            prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
            let json = serde_json::to_string(&reference).unwrap();
            prop_assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
        }
    }

    #[test]
    fn parsing_is_total(text in "[a-zA-Z0-9:/@._\\[\\]-]{0,60}|\\PC*") {
        let _ = Reference::parse(&text);
    }
}

/// What is read is one value in each of its forms, and no longer than it may be.
#[test]
fn foreign_references() {
    let seeds = [
        "alpine",
        "library/alpine:3.20",
        "docker.io/library/alpine@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "registry.example.com:5000/group/sub/project/image:v1.2.3-rc.1_x",
        "[2001:db8::1]:5000/a/b",
        "localhost/a:latest",
    ];
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        let Ok(reference) = Reference::parse(text) else {
            return;
        };
        assert!(text.len() <= 1024);
        assert_eq!(Reference::parse(&reference.to_string()).as_ref(), Ok(&reference));
        assert_eq!(Reference::parse(&reference.familiar()).as_ref(), Ok(&reference));
    });
}
