//! Our client against our server, with images of random bytes, both ways.

use shipway_oci::{Digest, ImageIndex, Manifest, Platform, media_type};
use shipway_registry::Client;
use shipway_registry::{BlobProgress, ClientError, ClientOptions, RegistryCredentials};

use crate::fixture::{Ask, Image, Journal, Place, Registry, client, hold, impatient, reference, secret};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_of_all_shapes_travel_both_ways() {
    let (registry, client) = (Registry::new(), client());
    let (name, job) = (registry.name().await, registry.job("a"));
    let shapes: [&[usize]; 5] = [
        &[],
        &[1],
        &[300_000, 0, 70_000],
        &[5_000_000],
        &[10, 10, 10, 10, 10, 10, 2_000_000],
    ];
    for (seed, sizes) in shapes.into_iter().enumerate() {
        for docker in [false, true] {
            let (from, into) = (Place::new(), Place::new());
            let image = Image::random(&from.store, seed as u64, sizes, docker);
            let reference = reference(&name, &format!("a/image:{seed}-{docker}"));
            let pushed = client
                .push(&from.store, &image.digest, &reference, Some(&job), &())
                .await
                .unwrap();
            assert_eq!(pushed, image.digest);
            let pulled = client
                .pull(&reference, &Platform::host(), Some(&job), &into.store, &())
                .await
                .unwrap();
            assert_eq!(
                (&pulled.resolved, &pulled.manifest.digest),
                (&image.digest, &image.digest)
            );
            assert_eq!(pulled.image, image.manifest);
            image.assert_in(&into.store);
            // What was pulled can be held, and so pushed again.
            let scope = shipway_store::Scope::user();
            into.store
                .put_image(&scope, &reference, &pulled.manifest)
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_gives_each_platform_its_own() {
    let (registry, client, from) = (Registry::new(), client(), Place::new());
    let (name, job) = (registry.name().await, registry.job("a"));
    let platforms = ["linux/amd64", "linux/arm64"].map(|text| text.parse::<Platform>().unwrap());
    let images = [1, 2].map(|seed| Image::random(&from.store, seed, &[1000], false));
    let entries = platforms.iter().zip(&images).map(|(platform, image)| {
        let bytes = from.store.image_manifest(&image.digest).unwrap().unwrap().bytes;
        let mut entry = shipway_oci::Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        entry.platform = Some(platform.clone());
        entry
    });
    let index = Manifest::Index(ImageIndex::new(entries.collect()))
        .to_json()
        .unwrap();
    let digest = hold(&from.store, index, media_type::OCI_INDEX);
    let tagged = reference(&name, "a/multi:latest");
    assert_eq!(
        client
            .push(&from.store, &digest, &tagged, Some(&job), &())
            .await
            .unwrap(),
        digest
    );
    let by_digest = reference(&name, &format!("a/multi@{digest}"));
    for reference in [tagged, by_digest] {
        for (platform, image) in platforms.iter().zip(&images) {
            let into = Place::new();
            let pulled = client
                .pull(&reference, platform, Some(&job), &into.store, &())
                .await
                .unwrap();
            assert_eq!(
                (&pulled.resolved, &pulled.manifest.digest),
                (&digest, &image.digest)
            );
            image.assert_in(&into.store);
        }
        let into = Place::new();
        let other = "linux/riscv64".parse().unwrap();
        let error = client
            .pull(&reference, &other, Some(&job), &into.store, &())
            .await
            .unwrap_err();
        let ClientError::NoPlatform { offered, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(offered, ["linux/amd64", "linux/arm64"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_does_not_move_again() {
    let (registry, client, from, into) = (Registry::new(), client(), Place::new(), Place::new());
    let (name, job) = (registry.name().await, registry.job("team"));
    let image = Image::random(&from.store, 5, &[100_000, 200], false);
    let reference_one = reference(&name, "team/one");
    let journal = Journal::default();
    client
        .push(&from.store, &image.digest, &reference_one, Some(&job), &journal)
        .await
        .unwrap();
    assert_eq!(
        (
            journal.count(BlobProgress::Done),
            journal.count(BlobProgress::Present)
        ),
        (3, 0)
    );
    let journal = Journal::default();
    client
        .push(&from.store, &image.digest, &reference_one, Some(&job), &journal)
        .await
        .unwrap();
    assert_eq!(
        (
            journal.count(BlobProgress::Done),
            journal.count(BlobProgress::Present)
        ),
        (0, 3)
    );

    for expected in [(3, 0), (0, 3)] {
        let journal = Journal::default();
        client
            .pull(
                &reference_one,
                &Platform::host(),
                Some(&job),
                &into.store,
                &journal,
            )
            .await
            .unwrap();
        assert_eq!(
            (
                journal.count(BlobProgress::Done),
                journal.count(BlobProgress::Present)
            ),
            expected
        );
    }
    // Into another repository of the same registry, blobs are mounted from where they came from.
    let pulled_and_held = hold(
        &into.store,
        from.store.image_manifest(&image.digest).unwrap().unwrap().bytes,
        media_type::OCI_MANIFEST,
    );
    let journal = Journal::default();
    let reference_two = reference(&name, "team/two");
    client
        .push(
            &into.store,
            &pulled_and_held,
            &reference_two,
            Some(&job),
            &journal,
        )
        .await
        .unwrap();
    assert_eq!(
        (
            journal.count(BlobProgress::Done),
            journal.count(BlobProgress::Present)
        ),
        (0, 3)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_sorted_by_what_to_do() {
    let (registry, client, from) = (Registry::new(), client(), Place::new());
    let (name, job) = (registry.name().await, registry.job("a"));
    let image = Image::random(&from.store, 5, &[100], false);

    let missing = reference(&name, "a/nothing:here");
    let error = client.resolve(&missing, Some(&job)).await.unwrap_err();
    assert!(matches!(error, ClientError::NotFound { .. }), "{error}");
    let error = client.resolve(&missing, None).await.unwrap_err();
    assert!(matches!(error, ClientError::Denied { .. }), "{error}");
    let elsewhere = reference(&name, "b/x");
    let error = client
        .push(&from.store, &image.digest, &elsewhere, Some(&job), &())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ClientError::Denied { error, .. } if error.status == 403),
        "{error}"
    );
    let error = client
        .push(&from.store, &Digest::sha256(b"?"), &missing, Some(&job), &())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Missing { .. }), "{error}");

    client.login(&name, &job).await.unwrap();
    let wrong = RegistryCredentials::new("gitlab-ci-token", secret("wrong"));
    let error = client.login(&name, &wrong).await.unwrap_err();
    assert!(matches!(error, ClientError::Denied { .. }), "{error}");

    // Nobody listens on a port that was given back.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    let error = client
        .resolve(&reference(&nobody, "a/b"), None)
        .await
        .unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_may_push_many_images_at_once() {
    let (registry, from) = (Registry::new(), Place::new());
    let client = Client::new(ClientOptions {
        parallel_blobs: 8,
        ..impatient()
    })
    .unwrap();
    let (name, job) = (registry.name().await, registry.job("a"));
    let shared = Image::random(&from.store, 1, &[50_000], false);
    let pushes = (0..12).map(|at| {
        let (client, store, job) = (client.clone(), from.store.clone(), job.clone());
        let reference = reference(&name, &format!("a/{}:t{at}", at % 3));
        // Half of them the same image: two uploads of one digest into one repository at the same time.
        let digest = if at % 2 == 0 {
            shared.digest.clone()
        } else {
            Image::random(&from.store, 100 + at, &[20_000, 40_000], false).digest
        };
        tokio::spawn(async move {
            client
                .push(&store, &digest, &reference, Some(&job), &())
                .await
                .unwrap();
        })
    });
    for push in pushes.collect::<Vec<_>>() {
        push.await.unwrap();
    }
    let tags = registry.ask(&job, Ask::get("/v2/a/0/tags/list")).await;
    assert_eq!(tags.json()["tags"].as_array().unwrap().len(), 4);
}
