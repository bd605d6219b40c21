//! Paths read and written back, names that hold words of the protocol, and what is no path of it.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn reading_is_total(path in "(/v2)?(/[a-zA-Z0-9.:%_-]{0,12}|/blobs|/uploads|/manifests|/tags/list){0,8}/?|\\PC*") {
        let _ = Route::parse(&path);
    }

    #[test]
    fn a_manifests_path_is_read_back(name in "[a-z0-9]{1,9}(/(blobs|manifests|uploads|tags|list|[a-z0-9]{1,9})){0,5}", tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}") {
        let expected = Route::Manifest(name.parse().unwrap(), ManifestReference::Tag(tag.parse().unwrap()));
        prop_assert_eq!(Route::parse(&format!("/v2/{name}/manifests/{tag}")).unwrap(), expected);
    }
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

#[test]
fn names_may_hold_the_words_of_the_protocol() {
    let digest = Digest::sha256(b"");
    let tag = || ManifestReference::Tag("latest".parse().unwrap());
    for (path, expected) in [
        ("/".to_owned(), Route::Front),
        ("/v2".to_owned(), Route::Ping),
        ("/v2/".to_owned(), Route::Ping),
        ("/v2/token".to_owned(), Route::Token),
        ("/v2/_catalog".to_owned(), Route::Catalog),
        ("/v2/a/tags/list".to_owned(), Route::Tags(name("a"))),
        (
            "/v2/tags/list/tags/list".to_owned(),
            Route::Tags(name("tags/list")),
        ),
        (
            "/v2/a/b/c/manifests/latest".to_owned(),
            Route::Manifest(name("a/b/c"), tag()),
        ),
        (
            "/v2/a/blobs/uploads/manifests/latest".to_owned(),
            Route::Manifest(name("a/blobs/uploads"), tag()),
        ),
        (
            "/v2/manifests/manifests/latest".to_owned(),
            Route::Manifest(name("manifests"), tag()),
        ),
        (
            format!("/v2/blobs/blobs/{digest}"),
            Route::Blob(name("blobs"), digest.clone()),
        ),
        (
            format!("/v2/a/blobs/{}", digest.to_string().replace(':', "%3A")),
            Route::Blob(name("a"), digest.clone()),
        ),
        ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(name("a"))),
        ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(name("a"))),
        (
            format!("/v2/a/referrers/{digest}"),
            Route::Referrers(name("a"), digest),
        ),
    ] {
        assert_eq!(Route::parse(&path).unwrap(), expected, "{path}");
    }
}

#[test]
fn what_is_no_route_says_why() {
    let code = |path: &str, writing| {
        let error = Route::parse(path).unwrap_err().answer(writing);
        (error.code, error.status.as_u16())
    };
    assert_eq!(code("/index.html", false), (ErrorCode::Unsupported, 404));
    assert_eq!(code("/v2/a", false), (ErrorCode::Unsupported, 404));
    assert_eq!(code("/v2/a/b/c/d", false), (ErrorCode::Unsupported, 404));
    assert_eq!(
        code("/v2/A/manifests/latest", false),
        (ErrorCode::NameInvalid, 400)
    );
    assert_eq!(
        code("/v2//manifests/latest", false),
        (ErrorCode::NameInvalid, 400)
    );
    assert_eq!(
        code("/v2/../manifests/latest", false),
        (ErrorCode::NameInvalid, 400)
    );
    assert_eq!(
        code("/v2/a%2f..%2fb/manifests/latest", false),
        (ErrorCode::NameInvalid, 400)
    );
    assert_eq!(
        code("/v2/a/manifests/.BAD", false),
        (ErrorCode::ManifestUnknown, 404)
    );
    assert_eq!(code("/v2/a/manifests/.BAD", true), (ErrorCode::TagInvalid, 400));
    assert_eq!(
        code("/v2/a/manifests/sha256:12", false),
        (ErrorCode::DigestInvalid, 400)
    );
    assert_eq!(code("/v2/a/blobs/x", false), (ErrorCode::DigestInvalid, 400));
    assert_eq!(code("/v2/a/blobs/uploads/../x", false).1, 404);
    assert_eq!(
        code(&format!("/v2/{}/tags/list", "a/".repeat(5000)), false),
        (ErrorCode::Unsupported, 404)
    );
}

/// A path that leads somewhere names a repository by the grammar, so a name from a route can be a path again.
#[test]
fn foreign_paths() {
    let seeds = [
        "/v2/",
        "/v2/group/project/manifests/v1.0",
        "/v2/a/blobs/sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "/v2/a/blobs/uploads/6f1c0b0e-0000-4000-8000-000000000000",
        "/v2/a%2Fb/tags/list",
        "/v2/_catalog",
    ];
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        if let Ok(Route::Manifest(name, reference)) = Route::parse(text) {
            let again = format!("/v2/{name}/manifests/{reference}");
            assert_eq!(Route::parse(&again).ok(), Some(Route::Manifest(name, reference)));
        }
    });
}
