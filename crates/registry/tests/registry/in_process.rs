//! The way without a network is the same registry: the same refusals, the same effects.

use std::sync::{Arc, Mutex};

use shipway_access::IdentityChallenge;
use shipway_oci::{Platform, RegistryName};
use shipway_registry::{
    BlobProgress, Client, ClientError, ClientOptions, Push, PushObserver, RegistryCredentials,
};
use shipway_store::Scope;

use crate::fixture::{
    Ask, Image, Journal, Place, Registry, client, impatient, reference, respond, secret, serve_as,
};

fn direct(registry: &Registry) -> (Client, RegistryName) {
    let name: RegistryName = "registry.shipway.internal".parse().unwrap();
    let authorities = vec![(name.clone(), registry.authority.clone())];
    (
        Client::new(ClientOptions {
            authorities,
            ..impatient()
        })
        .unwrap(),
        name,
    )
}

/// What a caller sees of an error, but for the registry's name.
fn shape(
    error: &ClientError,
) -> (
    std::mem::Discriminant<ClientError>,
    String,
    u16,
    String,
    Option<String>,
) {
    let inner = error.registry_error().unwrap_or_else(|| panic!("{error}"));
    (
        std::mem::discriminant(error),
        inner.code.name().to_owned(),
        inner.status.as_u16(),
        inner.message.clone(),
        inner.detail.as_ref().map(ToString::to_string),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_the_same_on_both_ways() {
    let (registry, from, into) = (Registry::new(), Place::new(), Place::new());
    let (direct, inside) = direct(&registry);
    let (over_http, outside) = (client(), registry.name().await);
    let image = Image::random(registry.store(), 1, &[10], false);
    let elsewhere = Image::random(&from.store, 1, &[10], false);
    let job = registry.job("mine");
    let ended = registry.job("mine");
    registry
        .authority
        .access()
        .revoke_job_token(&ended.password)
        .unwrap();
    let mut identity = job.clone();
    identity.identity_token = Some(secret("refresh"));
    let logins = [
        ("none", None),
        ("job", Some(job.clone())),
        ("ended job", Some(ended)),
        (
            "wrong password",
            Some(RegistryCredentials::new("ada", secret("wrong"))),
        ),
        ("identity token", Some(identity)),
    ];
    let mut seen = 0;
    for (who, credentials) in &logins {
        let credentials = credentials.as_ref();
        for path in ["mine/app:v1", "theirs/app:v1"] {
            let (near, far) = (reference(&inside, path), reference(&outside, path));
            let mut outcomes = Vec::new();
            for (client, reference) in [(&direct, &near), (&over_http, &far)] {
                let resolve = client.resolve(reference, credentials).await.err();
                let pull = client
                    .pull(reference, &Platform::host(), credentials, &into.store, &())
                    .await
                    .err();
                let shared = client
                    .push(registry.store(), &image.digest, reference, credentials, &())
                    .await
                    .err();
                let foreign = client
                    .push(&from.store, &elsewhere.digest, reference, credentials, &())
                    .await
                    .err();
                // What the first way has pushed, the second must not find.
                let tag = reference.tag.clone().unwrap();
                registry.store().delete_tag(&reference.repository, &tag).unwrap();
                outcomes.push([resolve, pull, shared, foreign].map(|error| error.as_ref().map(shape)));
            }
            assert_eq!(outcomes[0], outcomes[1], "{who} at {path}");
            seen += outcomes[0].iter().flatten().count();
        }
        if let Some(credentials) = credentials {
            let near = direct.login(&inside, credentials).await.err().as_ref().map(shape);
            let far = over_http
                .login(&outside, credentials)
                .await
                .err()
                .as_ref()
                .map(shape);
            assert_eq!(near, far, "{who}");
        }
    }
    // The job may push to its own project (4 successes out of 40 tries, of which 2 pushes); all else is refused.
    assert_eq!(seen, 5 * 2 * 4 - 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_in_directly_comes_out_over_http() {
    let registry = Registry::new();
    let (direct, inside) = direct(&registry);
    let outside = registry.name().await;
    let job = registry.job("a");
    let image = Image::random(registry.store(), 3, &[100_000, 5], true);
    let before = registry.store().usage().unwrap().blob_bytes;
    let journal = Journal::default();
    let near = reference(&inside, "a/app:v1");
    direct
        .push(registry.store(), &image.digest, &near, Some(&job), &journal)
        .await
        .unwrap();
    assert_eq!(journal.count(BlobProgress::Present), 3, "no byte moves");
    assert_eq!(registry.store().usage().unwrap().blob_bytes, before);

    let into = Place::new();
    let far = reference(&outside, "a/app:v1");
    client()
        .pull(&far, &Platform::host(), Some(&job), &into.store, &())
        .await
        .unwrap();
    image.assert_in(&into.store);

    // And back: pushed over HTTP, pulled without, into the same store and into another.
    let image = Image::random(&into.store, 4, &[70_000], false);
    let far = reference(&outside, "a/app:v2");
    client()
        .push(&into.store, &image.digest, &far, Some(&job), &())
        .await
        .unwrap();
    let near = reference(&inside, "a/app:v2");
    let other = Place::new();
    for store in [registry.store(), &other.store] {
        let pulled = direct
            .pull(&near, &Platform::host(), Some(&job), store, &())
            .await
            .unwrap();
        assert_eq!(pulled.manifest.digest, image.digest);
        image.assert_in(store);
        store.put_image(&Scope::user(), &near, &pulled.manifest).unwrap();
    }
    // From another store, bytes do move, and are committed as any upload's.
    let image = Image::random(&other.store, 5, &[70_000], false);
    let near = reference(&inside, "a/app:v3");
    direct
        .push(&other.store, &image.digest, &near, Some(&job), &())
        .await
        .unwrap();
    image.assert_in(registry.store());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_registry_is_known_under_an_address_of_this_machine() {
    let registry = Registry::new();
    let (direct, _) = direct(&registry);
    let address = registry.name().await;
    let job = registry.job("a");
    let image = Image::random(registry.store(), 3, &[100], false);
    let journal = Journal::default();
    let near = reference(&address, "a/app:v1");
    direct
        .push(registry.store(), &image.digest, &near, Some(&job), &journal)
        .await
        .unwrap();
    // Over HTTP a blob that was never in the repository would have been sent.
    assert_eq!(
        (
            journal.count(BlobProgress::Present),
            journal.count(BlobProgress::Done)
        ),
        (2, 0)
    );
    assert!(direct.is_own(&address).await);

    // Another installation's registry is not taken for ours.
    let stranger = Registry::new();
    let far = reference(&stranger.name().await, "a/app:v1");
    assert!(!direct.is_own(&far.registry).await);
    let journal = Journal::default();
    let login = stranger.job("a");
    direct
        .push(registry.store(), &image.digest, &far, Some(&login), &journal)
        .await
        .unwrap();
    assert_eq!(journal.count(BlobProgress::Done), 2);
}

/// Whoever listens where ours is expected may know all that is public of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_prove_to_be_ours_is_not_and_never_sees_our_own_login() {
    let registry = Registry::new();
    let (direct, _) = direct(&registry);
    let id = registry.authority.id().to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let (asked, stale) = (IdentityChallenge::fresh(), registry.authority.access().clone());
    let address = serve_as(move |request| {
        let login = request.headers().get("authorization").cloned();
        noted
            .lock()
            .unwrap()
            .push((request.uri().path().to_owned(), login));
        let realm = format!(
            "Bearer realm=\"http://{}/token\"",
            request.headers()["host"].to_str().unwrap()
        );
        let proof = stale.prove(&asked).to_string();
        let headers = [
            ("www-authenticate", realm.as_str()),
            ("shipway-store", id.as_str()),
            ("shipway-proof", proof.as_str()),
        ];
        match request.uri().path() {
            "/token" => respond(200, &[], r#"{"token":"x"}"#),
            _ => respond(401, &headers, "{}"),
        }
    })
    .await;
    let image = Image::random(registry.store(), 3, &[100], false);
    let there = reference(&address.to_string().parse().unwrap(), "a/app:v1");
    let own = RegistryCredentials::of_the_owner();
    let pushed = direct
        .push(registry.store(), &image.digest, &there, Some(&own), &())
        .await;
    assert!(pushed.is_err());
    assert!(!registry.store().job_has_token("a/app", 0).unwrap());
    let seen = seen.lock().unwrap();
    let is_login = |header: &http::HeaderValue| header.to_str().is_ok_and(|text| text.starts_with("Basic"));
    assert!(seen.iter().any(|(path, _)| path == "/token"), "{seen:?}");
    assert!(
        seen.iter()
            .all(|(_, login)| !login.as_ref().is_some_and(is_login)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_owner_of_a_store_needs_no_login_and_leaves_none() {
    let registry = Registry::new();
    let (direct, name) = direct(&registry);
    let image = Image::random(registry.store(), 3, &[100], false);
    let there = reference(&name, "a/app:v1");
    let nobody = direct
        .push(registry.store(), &image.digest, &there, None, &())
        .await;
    assert!(nobody.is_err());
    let has_token = || registry.store().job_has_token("a/app", 0).unwrap();
    let own = RegistryCredentials::of_the_owner();
    let begun = direct.begin_push(&there, Some(&own)).await.unwrap();
    assert!(has_token());
    begun.finish(registry.store(), &image.digest, &()).await.unwrap();
    assert!(!has_token(), "it outlives the push");
    direct.resolve(&there, Some(&own)).await.unwrap();
    assert!(!has_token());
    // Without a repository there is nothing that it could be for.
    assert!(direct.login(&there.registry, &own).await.is_err() || !has_token());
}

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl PushObserver for Seen {
    fn pushed(&self, push: &Push) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{}:{} {}", push.repository, push.tag, push.media_type));
    }
}

#[tokio::test]
async fn observers_hear_of_each_tag_after_it_was_set() {
    let seen = Arc::new(Seen::default());
    let registry = Registry::new();
    let authority = registry
        .authority
        .clone()
        .with_observer(Arc::clone(&seen) as Arc<dyn PushObserver>);
    let name: RegistryName = "registry.shipway.internal".parse().unwrap();
    let authorities = vec![(name.clone(), authority)];
    let client = Client::new(ClientOptions {
        authorities,
        ..impatient()
    })
    .unwrap();
    let image = Image::random(registry.store(), 3, &[100], false);
    let job = registry.job("a");
    for path in ["a/app:v1", "a/app:v2", "b/app:v1"] {
        let _ = client
            .push(
                registry.store(),
                &image.digest,
                &reference(&name, path),
                Some(&job),
                &(),
            )
            .await;
    }
    let kind = "application/vnd.oci.image.manifest.v1+json";
    assert_eq!(
        *seen.0.lock().unwrap(),
        [format!("a/app:v1 {kind}"), format!("a/app:v2 {kind}")]
    );
    assert_eq!(
        registry
            .ask(&job, Ask::get("/v2/a/app/manifests/v2"))
            .await
            .status,
        200
    );
}
