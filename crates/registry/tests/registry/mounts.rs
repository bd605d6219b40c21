//! Knowing a digest is not enough.

use shipway_oci::{Digest, media_type};

use crate::fixture::{Ask, Registry};

#[tokio::test]
async fn a_mount_needs_the_right_to_read_the_source() {
    let registry = Registry::new();
    let (mine, theirs) = (registry.job("mine"), registry.job("theirs"));
    let digest = registry.put_blob(&theirs, "theirs", b"secret").await;
    for from in ["&from=theirs", "", "&from=mine/other", "&from=NONSENSE"] {
        let ask = Ask::post(format!("/v2/mine/blobs/uploads/?mount={digest}{from}"));
        let answer = registry.ask(&mine, ask).await;
        assert_eq!(answer.status, 202, "{from}: {answer:?}");
        assert!(answer.header("location").starts_with("/v2/mine/blobs/uploads/"));
    }
    assert_eq!(
        registry
            .ask(&mine, Ask::get(format!("/v2/mine/blobs/{digest}")))
            .await
            .status,
        404
    );
    assert_eq!(
        registry
            .ask(&mine, Ask::get(format!("/v2/theirs/blobs/{digest}")))
            .await
            .status,
        403
    );

    // A blob that is nowhere gets the same answer as one that is not ours.
    let nowhere = Digest::sha256(b"nowhere");
    let ask = Ask::post(format!("/v2/mine/blobs/uploads/?mount={nowhere}&from=mine/a"));
    assert_eq!(registry.ask(&mine, ask).await.status, 202);
}

#[tokio::test]
async fn a_manifest_cannot_name_a_strangers_blob() {
    let registry = Registry::new();
    let (mine, theirs) = (registry.job("mine"), registry.job("theirs"));
    let manifest = registry.put_image_blobs(&theirs, "theirs", &[b"secret"]).await;
    registry.put_blob(&mine, "mine", b"{}").await;
    let put = Ask::put("/v2/mine/manifests/stolen").manifest(media_type::OCI_MANIFEST, &manifest);
    let refused = registry.ask(&mine, put).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (400, "MANIFEST_BLOB_UNKNOWN")
    );
    assert_eq!(
        refused.json()["errors"][0]["detail"]["digest"],
        Digest::sha256(b"secret").as_str()
    );
}

#[tokio::test]
async fn what_one_may_read_is_mounted_named_or_not() {
    let registry = Registry::new();
    let job = registry.job("team");
    let digest = registry.put_blob(&job, "team/one", b"layer").await;
    for (to, from) in [
        ("team/two", "&from=team/one"),
        ("team/three", ""),
        ("team/one", ""),
    ] {
        let ask = Ask::post(format!("/v2/{to}/blobs/uploads/?mount={digest}{from}"));
        let answer = registry.ask(&job, ask).await;
        assert_eq!(answer.status, 201, "{to}");
        assert_eq!(answer.header("location"), format!("/v2/{to}/blobs/{digest}"));
        assert_eq!(
            registry
                .ask(&job, Ask::head(format!("/v2/{to}/blobs/{digest}")))
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn a_token_reaches_no_further_than_it_says() {
    let registry = Registry::new();
    let job = registry.job("team");
    let digest = registry.put_blob(&job, "team/one", b"layer").await;
    let ask = Ask::get("/v2/token?scope=repository:team/two:pull,push");
    let token = registry.ask(&job, ask).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let bearer = format!("Bearer {token}");
    for from in ["&from=team/one", ""] {
        let ask = Ask::post(format!("/v2/team/two/blobs/uploads/?mount={digest}{from}"));
        assert_eq!(registry.ask_with(&bearer, ask).await.status, 202, "{from}");
    }
    let ask = Ask::get("/v2/token?scope=repository:team/two:pull,push+repository:team/one:pull");
    let token = registry.ask(&job, ask).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = Ask::post(format!(
        "/v2/team/two/blobs/uploads/?mount={digest}&from=team/one"
    ));
    assert_eq!(
        registry.ask_with(&format!("Bearer {token}"), ask).await.status,
        201
    );
}
