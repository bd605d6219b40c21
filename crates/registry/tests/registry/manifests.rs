//! Manifests: kept byte for byte, named, removed.

use shipway_oci::{Algorithm, Digest, media_type};

use crate::fixture::{Ask, Registry};

#[tokio::test]
async fn bytes_and_type_stay_what_they_were() {
    let registry = Registry::new();
    let job = registry.job("a");
    registry.put_blob(&job, "a", b"{}").await;
    let config = Digest::sha256(b"{}");
    for (kind, config_type) in [
        (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
        (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
    ] {
        let bytes = format!(
            "{{ \"schemaVersion\":2,\t\"mediaType\":\"{kind}\", \"config\":{{\"mediaType\":\"{config_type}\",\
             \"digest\":\"{config}\",\"size\":2, \"x\":[1]}}, \"layers\":[], \"newField\": {{\"a\":1}} }}\n"
        );
        let put = registry
            .ask(
                &job,
                Ask::put("/v2/a/manifests/t").manifest(kind, bytes.as_bytes()),
            )
            .await;
        assert_eq!(put.status, 201, "{put:?}");
        let digest = Digest::sha256(bytes.as_bytes());
        assert_eq!(put.header("location"), format!("/v2/a/manifests/{digest}"));
        for reference in ["t", digest.as_str()] {
            let got = registry
                .ask(&job, Ask::get(format!("/v2/a/manifests/{reference}")))
                .await;
            assert_eq!((got.status, got.header("content-type")), (200, kind));
            assert_eq!(
                (got.header("docker-content-digest"), &got.body[..]),
                (digest.as_str(), bytes.as_bytes())
            );
            let head = registry
                .ask(&job, Ask::head(format!("/v2/a/manifests/{reference}")))
                .await;
            assert_eq!(head.header("content-length"), bytes.len().to_string());
        }
    }
}

#[tokio::test]
async fn large_ones_are_taken_up_to_the_limit() {
    let registry = Registry::new();
    let job = registry.job("a");
    let small = registry.put_image_blobs(&job, "a", &[]).await;
    let mut manifest: serde_json::Value = serde_json::from_slice(&small).unwrap();
    for at in 0..390 {
        manifest["annotations"][format!("key-{at}")] = "x".repeat(10_000).into();
    }
    let large = serde_json::to_vec(&manifest).unwrap();
    assert!(large.len() > 3_900_000);
    let put = Ask::put("/v2/a/manifests/large").manifest(media_type::OCI_MANIFEST, &large);
    assert_eq!(registry.ask(&job, put).await.status, 201);
    assert!(registry.ask(&job, Ask::get("/v2/a/manifests/large")).await.body == large);

    manifest["annotations"]["more"] = "x".repeat(400_000).into();
    let too_large = serde_json::to_vec(&manifest).unwrap();
    let put = Ask::put("/v2/a/manifests/large").manifest(media_type::OCI_MANIFEST, &too_large);
    let refused = registry.ask(&job, put).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (413, "MANIFEST_INVALID")
    );
}

#[tokio::test]
async fn many_tags_with_one_request() {
    let registry = Registry::new();
    let job = registry.job("a");
    let bytes = registry.put_image_blobs(&job, "a", &[b"l"]).await;
    let tags: Vec<String> = (0..12).map(|at| format!("tag=t{at}")).collect();
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let ask = Ask::put(format!("/v2/a/manifests/{digest}?{}", tags.join("&")));
    let put = registry
        .ask(&job, ask.manifest(media_type::OCI_MANIFEST, &bytes))
        .await;
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(put.headers.get_all("oci-tag").iter().count(), 12);
    let got = registry.ask(&job, Ask::get("/v2/a/manifests/t11")).await;
    assert_eq!(got.header("docker-content-digest"), digest.as_str());

    // Deleting one tag takes nothing else along; deleting the manifest takes all.
    assert_eq!(
        registry.ask(&job, Ask::delete("/v2/a/manifests/t3")).await.status,
        202
    );
    assert_eq!(
        registry.ask(&job, Ask::get("/v2/a/manifests/t3")).await.code(),
        "MANIFEST_UNKNOWN"
    );
    assert_eq!(
        registry.ask(&job, Ask::get("/v2/a/manifests/t4")).await.status,
        200
    );
    assert_eq!(
        registry
            .ask(&job, Ask::delete(format!("/v2/a/manifests/{digest}")))
            .await
            .status,
        202
    );
    assert_eq!(
        registry.ask(&job, Ask::get("/v2/a/manifests/t4")).await.status,
        404
    );
    assert_eq!(
        registry.ask(&job, Ask::delete("/v2/a/manifests/t4")).await.status,
        404
    );
}

#[tokio::test]
async fn what_is_refused() {
    let registry = Registry::new();
    let job = registry.job("a");
    let good = registry.put_image_blobs(&job, "a", &[b"l"]).await;
    let other = Digest::sha256(b"other");
    for (path, kind, bytes, status, code) in [
        ("t", media_type::OCI_MANIFEST, &b"{"[..], 400, "MANIFEST_INVALID"),
        ("t", media_type::OCI_MANIFEST, b"", 400, "MANIFEST_INVALID"),
        ("t", "text/html", &good, 400, "MANIFEST_INVALID"),
        ("t", media_type::OCI_INDEX, &good, 400, "MANIFEST_INVALID"),
        ("-bad", media_type::OCI_MANIFEST, &good, 400, "TAG_INVALID"),
        ("t?tag=-bad", media_type::OCI_MANIFEST, &good, 400, "TAG_INVALID"),
        (
            other.as_str(),
            media_type::OCI_MANIFEST,
            &good,
            400,
            "DIGEST_INVALID",
        ),
    ] {
        let refused = registry
            .ask(
                &job,
                Ask::put(format!("/v2/a/manifests/{path}")).manifest(kind, bytes),
            )
            .await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (status, code),
            "{path} {kind}"
        );
    }
    assert_eq!(
        registry.ask(&job, Ask::get("/v2/a/tags/list")).await.json()["tags"],
        serde_json::json!([])
    );
    assert_eq!(
        registry.ask(&job, Ask::post("/v2/a/manifests/t")).await.status,
        405
    );
    assert_eq!(registry.ask(&job, Ask::get("/v2/a/nothing/t")).await.status, 404);
    assert_eq!(
        registry
            .ask(&job, Ask::get("/v2/a/manifests/.INVALID"))
            .await
            .status,
        404
    );
}
