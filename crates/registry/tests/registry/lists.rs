//! Tags, repositories, referrers.

use serde_json::json;
use shipway_access::{Secret, UserName};
use shipway_oci::{Digest, media_type};
use shipway_registry::RegistryCredentials;

use crate::fixture::{Ask, Registry};

#[tokio::test]
async fn tags_come_sorted_and_in_pages() {
    let registry = Registry::new();
    let job = registry.job("a");
    let bytes = registry.put_image_blobs(&job, "a", &[]).await;
    let digest = Digest::sha256(&bytes);
    let ask = Ask::put(format!("/v2/a/manifests/{digest}?tag=c&tag=a&tag=B&tag=b"));
    registry
        .ask(&job, ask.manifest(media_type::OCI_MANIFEST, &bytes))
        .await;
    let list = async |query: &str| {
        registry
            .ask(&job, Ask::get(format!("/v2/a/tags/list{query}")))
            .await
    };
    assert_eq!(
        list("").await.json(),
        json!({ "name": "a", "tags": ["B", "a", "b", "c"] })
    );
    let page = list("?n=2").await;
    assert_eq!(page.json()["tags"], json!(["B", "a"]));
    assert_eq!(page.header("link"), r#"</v2/a/tags/list?n=2&last=a>; rel="next""#);
    let page = list("?n=2&last=a").await;
    assert_eq!(
        (page.json()["tags"].clone(), page.header("link")),
        (json!(["b", "c"]), "")
    );
    assert_eq!(list("?n=0").await.json()["tags"], json!([]));
    assert_eq!(list("?last=zzz").await.json()["tags"], json!([]));
    assert_eq!(list("?n=x").await.code(), "PAGINATION_NUMBER_INVALID");
    assert_eq!(
        registry.ask(&job, Ask::get("/v2/a/none/tags/list")).await.code(),
        "NAME_UNKNOWN"
    );
}

#[tokio::test]
async fn the_catalog_is_for_those_who_may_see_all() {
    let registry = Registry::new();
    let password = Secret::from("correct horse".to_owned());
    let name: UserName = "ada".parse().unwrap();
    registry
        .authority
        .access()
        .add_user(&name, &password, true)
        .unwrap();
    let ada = RegistryCredentials::new("ada", password);
    for repository in ["x/one", "x/two", "y"] {
        let bytes = registry.put_image_blobs(&ada, repository, &[]).await;
        let put =
            Ask::put(format!("/v2/{repository}/manifests/t")).manifest(media_type::OCI_MANIFEST, &bytes);
        assert_eq!(registry.ask(&ada, put).await.status, 201);
    }
    let page = registry.ask(&ada, Ask::get("/v2/_catalog?n=2")).await;
    assert_eq!(page.json(), json!({ "repositories": ["x/one", "x/two"] }));
    assert_eq!(
        page.header("link"),
        r#"</v2/_catalog?n=2&last=x/two>; rel="next""#
    );
    let page = registry.ask(&ada, Ask::get("/v2/_catalog?n=2&last=x/two")).await;
    assert_eq!(page.json(), json!({ "repositories": ["y"] }));
    assert_eq!(
        registry
            .ask(&registry.job("x"), Ask::get("/v2/_catalog"))
            .await
            .status,
        403
    );
    assert_eq!(registry.ask_with("", Ask::get("/v2/_catalog")).await.status, 401);
}

#[tokio::test]
async fn referrers_of_what_is_there_and_of_what_is_not() {
    let registry = Registry::new();
    let job = registry.job("a");
    registry.put_image_blobs(&job, "a", &[]).await;
    let subject = Digest::sha256(b"not pushed yet");
    for kind in ["application/x.one", "application/x.two"] {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "artifactType": kind,
            "config": { "mediaType": media_type::OCI_EMPTY, "digest": Digest::sha256(b"{}"), "size": 2 },
            "layers": [],
            "subject": { "mediaType": media_type::OCI_MANIFEST, "digest": subject, "size": 7 },
            "annotations": { "kind": kind },
        });
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let path = format!("/v2/a/manifests/{}", Digest::sha256(&bytes));
        let put = registry
            .ask(&job, Ask::put(path).manifest(media_type::OCI_MANIFEST, &bytes))
            .await;
        assert_eq!(
            (put.status, put.header("oci-subject")),
            (201, subject.as_str()),
            "{put:?}"
        );
    }
    let all = registry
        .ask(&job, Ask::get(format!("/v2/a/referrers/{subject}")))
        .await;
    assert_eq!(
        (all.status, all.header("content-type")),
        (200, media_type::OCI_INDEX)
    );
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(
        all.json()["manifests"][0]["annotations"]["kind"],
        "application/x.one"
    );
    let some = Ask::get(format!(
        "/v2/a/referrers/{subject}?artifactType=application/x.two"
    ));
    let some = registry.ask(&job, some).await;
    assert_eq!(some.header("oci-filters-applied"), "artifactType");
    assert_eq!(some.json()["manifests"][0]["artifactType"], "application/x.two");
    assert_eq!(some.json()["manifests"].as_array().unwrap().len(), 1);
    let none = registry
        .ask(
            &job,
            Ask::get(format!("/v2/a/referrers/{}", Digest::sha256(b"?"))),
        )
        .await;
    assert_eq!((none.status, none.json()["manifests"].clone()), (200, json!([])));
}
