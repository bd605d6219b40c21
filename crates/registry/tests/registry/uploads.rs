//! Bytes coming in, in all the shapes that clients send, and going out in ranges.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use shipway_access::Credentials;
use shipway_oci::{Algorithm, Digest};
use shipway_registry::wire::{ErrorCode, ManifestReference};
use shipway_registry::{PutManifestRequest, RegistryCredentials, Server, ServerOptions};

use crate::fixture::{Ask, Registry, basic};
use shipway_testkit::eventually;

#[tokio::test]
async fn in_one_piece_by_post_and_by_put() {
    let registry = Registry::new();
    let job = registry.job("a");
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = Digest::of(algorithm, b"hello");
        let put = registry
            .ask(
                &job,
                Ask::post(format!("/v2/a/blobs/uploads/?digest={digest}")).body("hello"),
            )
            .await;
        assert_eq!(put.status, 201, "{put:?}");
        assert_eq!(put.header("location"), format!("/v2/a/blobs/{digest}"));
        assert_eq!(put.header("docker-content-digest"), digest.as_str());
    }
    let digest = Digest::sha256(b"");
    let begun = registry.ask(&job, Ask::post("/v2/a/blobs/uploads/")).await;
    assert_eq!((begun.status, begun.header("range")), (202, "0-0"));
    let put = registry
        .ask(
            &job,
            Ask::put(format!("{}?digest={digest}", begun.header("location"))),
        )
        .await;
    assert_eq!(put.status, 201, "{put:?}");
    let got = registry
        .ask(&job, Ask::get(format!("/v2/a/blobs/{digest}")))
        .await;
    assert_eq!((got.status, got.header("content-length")), (200, "0"));
}

#[tokio::test]
async fn chunks_in_and_out_of_order() {
    let registry = Registry::new();
    let job = registry.job("a");
    let begun = registry.ask(&job, Ask::post("/v2/a/blobs/uploads/")).await;
    let place = begun.header("location").to_owned();
    let chunk =
        |range: &str, body: &'static str| Ask::patch(&place).header("content-range", range).body(body);

    let first = registry.ask(&job, chunk("0-2", "abc")).await;
    assert_eq!(
        (first.status, first.header("range"), first.header("location")),
        (202, "0-2", place.as_str())
    );
    for out_of_order in ["0-2", "2-4", "6-8"] {
        let refused = registry.ask(&job, chunk(out_of_order, "xyz")).await;
        assert_eq!(
            (refused.status, refused.header("range")),
            (416, "0-2"),
            "{out_of_order}"
        );
    }
    let digest = Digest::sha256(b"abcdefg");
    let last = Ask::put(format!("{place}?digest={digest}"))
        .header("content-range", "9-9")
        .body("g");
    assert_eq!(registry.ask(&job, last).await.status, 416);
    let lying = registry.ask(&job, chunk("3-9", "def")).await;
    assert_eq!((lying.status, lying.code().as_str()), (400, "SIZE_INVALID"));

    assert_eq!(registry.ask(&job, chunk("3-5", "def")).await.status, 202);
    let status = registry.ask(&job, Ask::get(&place)).await;
    assert_eq!((status.status, status.header("range")), (204, "0-5"));
    let last = Ask::put(format!("{place}?digest={digest}"))
        .header("content-range", "6-6")
        .body("g");
    assert_eq!(registry.ask(&job, last).await.status, 201);
    assert_eq!(
        registry
            .ask(&job, Ask::get(format!("/v2/a/blobs/{digest}")))
            .await
            .body,
        "abcdefg"
    );
    assert_eq!(registry.ask(&job, Ask::get(&place)).await.status, 404);
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let registry = Registry::new();
    let job = registry.job("a");
    let digest = Digest::sha256(b"right");
    for ask in [
        Ask::post(format!("/v2/a/blobs/uploads/?digest={digest}")).body("wrong"),
        Ask::post("/v2/a/blobs/uploads/?digest=sha256:12").body("right"),
        Ask::post("/v2/a/blobs/uploads/?mount=md5:12"),
    ] {
        let refused = registry.ask(&job, ask).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "DIGEST_INVALID"));
    }
    let place = registry
        .ask(&job, Ask::post("/v2/a/blobs/uploads/"))
        .await
        .header("location")
        .to_owned();
    let refused = registry.ask(&job, Ask::put(&place).body("right")).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "DIGEST_INVALID"));
    let refused = registry
        .ask(&job, Ask::put(format!("{place}?digest={digest}")).body("wrong"))
        .await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "DIGEST_INVALID"));
    let missing = registry
        .ask(&job, Ask::head(format!("/v2/a/blobs/{digest}")))
        .await;
    assert_eq!(missing.status, 404);
    assert_eq!(registry.store().usage().unwrap().blobs, 0);
}

#[tokio::test]
async fn uploads_are_cancelled_and_belong_to_their_repository() {
    let registry = Registry::new();
    let (job, other) = (registry.job("a"), registry.job("b"));
    let place = registry
        .ask(&job, Ask::post("/v2/a/blobs/uploads/"))
        .await
        .header("location")
        .to_owned();
    let elsewhere = place.replace("/v2/a/", "/v2/b/");
    assert_eq!(
        registry
            .ask(&other, Ask::patch(&elsewhere).body("x"))
            .await
            .status,
        404
    );
    assert_eq!(
        registry.ask(&other, Ask::patch(&place).body("x")).await.status,
        403
    );
    assert_eq!(registry.ask(&job, Ask::delete(&place)).await.status, 204);
    for gone in [
        Ask::get(&place),
        Ask::patch(&place).body("x"),
        Ask::delete(&place),
    ] {
        let answer = registry.ask(&job, gone).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "BLOB_UPLOAD_UNKNOWN")
        );
    }
    assert_eq!(
        registry
            .ask(&job, Ask::get("/v2/a/blobs/uploads/nonsense"))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn ranges_of_blobs() {
    let registry = Registry::new();
    let job = registry.job("a");
    let data: Vec<u8> = (0..400_000u32).map(|at| (at % 253) as u8).collect();
    let path = format!("/v2/a/blobs/{}", registry.put_blob(&job, "a", &data).await);
    let whole = registry.ask(&job, Ask::get(&path)).await;
    assert!(whole.status == 200 && whole.body == data);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=1000-300000", 1000, 300_000),
        ("bytes=399999-", 399_999, 399_999),
        ("bytes=-10", 399_990, 399_999),
        ("bytes=5-9999999", 5, 399_999),
    ] {
        let part = registry.ask(&job, Ask::get(&path).header("range", range)).await;
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(
            part.header("content-range"),
            format!("bytes {first}-{last}/400000")
        );
        assert!(part.body == data[first..=last], "{range}");
    }
    for range in ["bytes=500-0", "bytes=400000-", "bytes=500000-1000000"] {
        let refused = registry.ask(&job, Ask::get(&path).header("range", range)).await;
        assert_eq!(
            (refused.status, refused.header("content-range")),
            (416, "bytes */400000"),
            "{range}"
        );
    }
    let head = registry.ask(&job, Ask::head(&path)).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, "400000", 0)
    );
    assert_eq!(registry.ask(&job, Ask::delete(&path)).await.status, 202);
    assert_eq!(registry.ask(&job, Ask::get(&path)).await.code(), "BLOB_UNKNOWN");
    assert_eq!(registry.ask(&job, Ask::delete(&path)).await.status, 404);
}

#[tokio::test]
async fn a_push_ends_with_whoever_began_it() {
    let registry = Registry::new();
    let job = registry.job("a");
    let who = registry.authority.authenticate(Some(&Credentials {
        username: job.username.clone(),
        password: job.password.clone(),
    }));
    let (who, name) = (who.unwrap(), "a".parse().unwrap());
    let authority = &registry.authority;
    let begin = || authority.begin_upload(&who, &name, Algorithm::Sha256);
    let (idle, open) = (begin().unwrap(), begin().unwrap());
    let mut writer = authority.open_upload(&who, &name, &open).unwrap();
    writer.write_all(b"late").unwrap();
    let manifest = registry.put_image_blobs(&job, "a", &[]).await;
    let blobs = registry.store().usage().unwrap().blobs;

    assert!(authority.access().revoke_job_token(&job.password).unwrap());

    let digest = Digest::sha256(b"late");
    let refused = [
        authority.finish_upload(&who, &name, writer, &digest).map(drop),
        authority.open_upload(&who, &name, &idle).map(drop),
        authority.upload_offset(&who, &name, &idle).map(drop),
        authority.cancel_upload(&who, &name, &idle),
        begin().map(drop),
        authority
            .put_manifest(
                &who,
                &name,
                PutManifestRequest {
                    bytes: manifest.into(),
                    media_type: None,
                    reference: ManifestReference::Tag("late".parse().unwrap()),
                    tags: Vec::new(),
                },
            )
            .map(drop),
    ];
    for outcome in refused {
        assert_eq!(outcome.unwrap_err().code, ErrorCode::Unauthorized);
    }
    assert_eq!(registry.store().usage().unwrap().blobs, blobs);
}

/// Large uploads that never end: their client has sent something and says no more.
#[tokio::test]
async fn one_client_does_not_take_all_places() {
    let options = ServerOptions {
        max_streams: 3,
        max_streams_each: 2,
        stream_patience: Duration::from_millis(50),
        ..ServerOptions::default()
    };
    let registry = Registry::new();
    let server = Server::new(registry.authority.clone(), options);
    let (greedy, other) = (registry.job("a"), registry.job("b"));
    let put = |who: &RegistryCredentials, repository: &str, body| {
        let digest = Digest::sha256(&LARGE);
        let request = Request::post(format!("/v2/{repository}/blobs/uploads/?digest={digest}"))
            .header("host", "registry.test")
            .header("authorization", basic(who))
            .body(body)
            .unwrap();
        let server = server.clone();
        async move { server.handle(request).await }
    };
    let mut ends = Vec::new();
    for _ in 0..2 {
        let (end, body) = Unfinished::new();
        ends.push(end);
        tokio::spawn(put(&greedy, "a", body));
    }
    let store = registry.store();
    eventually("two uploads are under way", async || {
        store.usage().unwrap().uploads == 2
    })
    .await;

    let (end, body) = Unfinished::new();
    drop(end);
    let refused = put(&greedy, "a", body).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let (end, body) = Unfinished::new();
    drop(end);
    assert_eq!(put(&other, "b", body).await.status(), 201);
}

static LARGE: [u8; 512 * 1024] = [7; 512 * 1024];

/// A body of [`LARGE`] whose end comes when the other half is dropped.
struct Unfinished {
    sent: bool,
    end: tokio::sync::oneshot::Receiver<()>,
}

impl Unfinished {
    fn new() -> (tokio::sync::oneshot::Sender<()>, Self) {
        let (sender, end) = tokio::sync::oneshot::channel();
        (sender, Self { sent: false, end })
    }
}

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if !std::mem::replace(&mut self.sent, true) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&LARGE)))));
        }
        Pin::new(&mut self.end).poll(context).map(|_| None)
    }
}
