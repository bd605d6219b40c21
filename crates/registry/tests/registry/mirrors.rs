//! Mirrors come first, and the registry itself when they fail.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use shipway_oci::{Platform, RegistryName};
use shipway_registry::{Client, ClientOptions, Mirror};

use crate::fixture::{Place, Registry, client, impatient, reference, respond, serve_as};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_answers_without_the_password_and_may_fail() {
    let origin = Registry::new();
    let (name, job) = (origin.name().await, origin.job("a"));
    let wanted = reference(&name, "a/app");
    let (from, image) = origin.pushed(&[500], &wanted, &job).await;

    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let upstream = name.to_string();
    let broken = serve_as(move |request| {
        if request.uri().path() != "/v2/" {
            assert_eq!(request.uri().query(), Some(format!("ns={upstream}").as_str()));
            assert!(!request.headers().contains_key("authorization"));
            counted.fetch_add(1, Ordering::Relaxed);
        }
        respond(404, &[], "")
    })
    .await;
    let mirror = Registry::open_to_all();
    let mirror_name = mirror.name().await;
    let with = |at: RegistryName| {
        let mirrors = vec![Mirror { of: name.clone(), at }];
        Client::new(ClientOptions {
            mirrors,
            ..impatient()
        })
        .unwrap()
    };

    // The mirror has nothing: the registry gives it.
    let into = Place::new();
    let through_broken = with(broken.to_string().parse().unwrap());
    through_broken
        .pull(&wanted, &Platform::host(), Some(&job), &into.store, &())
        .await
        .unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    image.assert_in(&into.store);

    // The mirror has it: the registry is not needed, not even its password.
    let filled = reference(&mirror_name, "a/app");
    client()
        .push(&from.store, &image.digest, &filled, Some(&mirror.job("a")), &())
        .await
        .unwrap();
    let into = Place::new();
    with(mirror_name)
        .pull(&wanted, &Platform::host(), None, &into.store, &())
        .await
        .unwrap();
    image.assert_in(&into.store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_once_of_a_mirror_that_cannot_be_asked() {
    let origin = Registry::new();
    let (name, job) = (origin.name().await, origin.job("a"));
    let wanted = reference(&name, "a/app");
    let (_from, image) = origin.pushed(&[500], &wanted, &job).await;
    // Nobody listens any more where somebody did.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let without = serve_as(|_| respond(404, &[], "")).await;

    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let of = |at: String| Mirror {
        of: name.clone(),
        at: at.parse().unwrap(),
    };
    let through = Client::new(ClientOptions {
        mirrors: vec![of(gone.to_string()), of(without.to_string())],
        warn: Arc::new(move |warning: &str| heard.lock().unwrap().push(warning.to_owned())),
        ..impatient()
    })
    .unwrap();
    for _ in 0..2 {
        let into = Place::new();
        through
            .pull(&wanted, &Platform::host(), Some(&job), &into.store, &())
            .await
            .unwrap();
        image.assert_in(&into.store);
    }
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains(&format!("the mirror {gone} is passed over")),
        "{told:?}"
    );
}
