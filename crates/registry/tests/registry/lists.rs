//! Tags, repositories, referrers.

use serde_json::json;
use shipway_access::{Secret, UserName};
use shipway_oci::{Digest, MAX_MANIFEST_BYTES, media_type};
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
    let stranger = registry.ask_with("", Ask::get("/v2/_catalog")).await;
    assert_eq!(stranger.status, 401);
    let challenge = stranger.header("www-authenticate");
    assert!(
        challenge.ends_with(r#"scope="registry:catalog:*""#),
        "{challenge}"
    );
    // A token that was given for less shows no names, whoever its owner is.
    for (scope, status) in [("repository:y:pull", 401), ("registry:catalog:*", 200)] {
        let token = registry
            .ask(&ada, Ask::get(format!("/v2/token?scope={scope}")))
            .await
            .json();
        let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
        let listed = registry.ask_with(&bearer, Ask::get("/v2/_catalog")).await;
        assert_eq!(listed.status, status, "{scope}");
    }
}

/// Puts a manifest that says something about another one.
async fn refer(
    registry: &Registry,
    job: &RegistryCredentials,
    subject: &Digest,
    kind: &str,
    note: &str,
) -> Digest {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": kind,
        "config": { "mediaType": media_type::OCI_EMPTY, "digest": Digest::sha256(b"{}"), "size": 2 },
        "layers": [],
        "subject": { "mediaType": media_type::OCI_MANIFEST, "digest": subject, "size": 7 },
        "annotations": { "note": note },
    });
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::sha256(&bytes);
    let put = Ask::put(format!("/v2/a/manifests/{digest}")).manifest(media_type::OCI_MANIFEST, &bytes);
    let put = registry.ask(job, put).await;
    assert_eq!(
        (put.status, put.header("oci-subject")),
        (201, subject.as_str()),
        "{put:?}"
    );
    digest
}

/// Annotations may be megabytes, and there may be any number of referrers.
#[tokio::test]
async fn referrers_come_in_pages_that_clients_take() {
    let registry = Registry::new();
    let job = registry.job("a");
    registry.put_image_blobs(&job, "a", &[]).await;
    let subject = Digest::sha256(b"subject");
    let mut put = Vec::new();
    for (number, kind) in ["x.one", "x.two", "x.one", "x.two", "x.one"]
        .into_iter()
        .enumerate()
    {
        let note = number.to_string().repeat(1_900_000);
        let digest = refer(&registry, &job, &subject, kind, &note).await;
        put.push((digest.to_string(), kind));
    }
    let (all, some) = (
        format!("/v2/a/referrers/{subject}"),
        format!("/v2/a/referrers/{subject}?artifactType=x.two&n=1"),
    );
    // What is read is removed before the next page is asked for: nothing is missed by that.
    for (first, wanted, removes) in [(&some, &["x.two"][..], false), (&all, &["x.one", "x.two"], true)] {
        let mut expected: Vec<&str> = put
            .iter()
            .filter(|(_, kind)| wanted.contains(kind))
            .map(|(digest, _)| digest.as_str())
            .collect();
        expected.sort_unstable();
        let (mut found, mut pages, mut next) = (Vec::new(), 0, first.clone());
        while !next.is_empty() {
            let page = registry.ask(&job, Ask::get(&next)).await;
            assert_eq!(page.status, 200, "{next}");
            assert!(page.body.len() <= MAX_MANIFEST_BYTES, "{} bytes", page.body.len());
            for referrer in page.json()["manifests"].as_array().unwrap() {
                found.push(referrer["digest"].as_str().unwrap().to_owned());
                if removes {
                    let gone = Ask::delete(format!("/v2/a/manifests/{}", found.last().unwrap()));
                    assert_eq!(registry.ask(&job, gone).await.status, 202);
                }
            }
            pages += 1;
            next = page
                .header("link")
                .trim_start_matches('<')
                .trim_end_matches(">; rel=\"next\"")
                .to_owned();
        }
        assert_eq!(found, expected, "{first}");
        assert_eq!(
            pages,
            expected.len().div_ceil(2) + usize::from(!removes),
            "{first}"
        );
    }
    let wrong = Ask::get(format!("{all}?last=nonsense"));
    assert_eq!(registry.ask(&job, wrong).await.code(), "DIGEST_INVALID");
}

#[tokio::test]
async fn referrers_of_what_is_there_and_of_what_is_not() {
    let registry = Registry::new();
    let job = registry.job("a");
    registry.put_image_blobs(&job, "a", &[]).await;
    let subject = Digest::sha256(b"not pushed yet");
    for kind in ["application/x.one", "application/x.two"] {
        refer(&registry, &job, &subject, kind, kind).await;
    }
    let all = registry
        .ask(&job, Ask::get(format!("/v2/a/referrers/{subject}")))
        .await;
    assert_eq!(
        (all.status, all.header("content-type")),
        (200, media_type::OCI_INDEX)
    );
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 2);
    for referrer in all.json()["manifests"].as_array().unwrap() {
        assert_eq!(referrer["annotations"]["note"], referrer["artifactType"]);
    }
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
