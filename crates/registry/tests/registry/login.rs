//! Challenges, tokens, passwords.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shipway_access::{Access, IdentityChallenge, Principal};
use shipway_registry::RegistryCredentials;

use crate::fixture::{Ask, Registry, basic, secret};
use shipway_testkit::eventually;

#[tokio::test]
async fn the_ping_challenges_with_a_realm_on_the_clients_host() {
    let registry = Registry::new();
    let ping = registry.ask_with("", Ask::get("/v2/")).await;
    assert_eq!((ping.status, ping.code().as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(
        ping.header("www-authenticate"),
        r#"Bearer realm="http://registry.test:5000/v2/token",service="registry.test:5000""#
    );
    assert_eq!(ping.header("docker-distribution-api-version"), "registry/2.0");
    assert_eq!(ping.header("shipway-proof"), "", "nobody asked");
    let proxied = registry
        .ask_with("", Ask::get("/v2/").header("x-forwarded-proto", "https"))
        .await;
    assert!(
        proxied
            .header("www-authenticate")
            .contains(r#"realm="https://registry.test:5000/v2/token""#)
    );

    let access = registry.authority.access();
    let challenge = IdentityChallenge::fresh();
    let asking = Ask::get("/v2/").header("shipway-challenge", challenge.to_string());
    for (who, status) in [(String::new(), 401), (basic(&registry.job("a")), 200)] {
        let ping = registry.ask_with(&who, asking.clone()).await;
        assert_eq!(ping.status, status);
        assert!(access.is_proof(&challenge, &ping.header("shipway-proof").parse().unwrap()));
    }
    let nonsense = Ask::get("/v2/").header("shipway-challenge", "nonsense");
    assert_eq!(registry.ask_with("", nonsense).await.header("shipway-proof"), "");
    let scoped = registry.ask_with("", Ask::put("/v2/a/manifests/x")).await;
    assert!(
        scoped
            .header("www-authenticate")
            .contains(r#"scope="repository:a:pull,push""#),
        "{scoped:?}"
    );
}

#[tokio::test]
async fn tokens_by_get_and_by_form() {
    let registry = Registry::new();
    let job = registry.job("a");
    let form = format!(
        "grant_type=password&service=x&client_id=y&username={}&password={}&scope=repository:a:pull%20repository:b:pull",
        job.username,
        job.password.expose()
    );
    let by_form = Ask::post("/v2/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let by_get = registry
        .ask(
            &job,
            Ask::get("/v2/token?service=x&scope=repository:a:pull&scope=junk"),
        )
        .await;
    for answer in [by_get, registry.ask_with("", by_form).await] {
        assert_eq!(answer.status, 200, "{answer:?}");
        let json = answer.json();
        assert_eq!(json["token"], json["access_token"]);
        assert!(json["expires_in"].as_u64().unwrap() >= 60 && json["issued_at"].is_string());
        let bearer = format!("Bearer {}", json["token"].as_str().unwrap());
        assert_eq!(registry.ask_with(&bearer, Ask::get("/v2/")).await.status, 200);
        // Its scope lets it look (and find nothing), but not write: a better token would help, so this is a challenge.
        assert_eq!(
            registry
                .ask_with(&bearer, Ask::get("/v2/a/manifests/x"))
                .await
                .status,
            404
        );
        let write = registry
            .ask_with(&bearer, Ask::post("/v2/a/blobs/uploads/"))
            .await;
        assert_eq!(write.status, 401);
        assert!(
            write
                .header("www-authenticate")
                .ends_with(r#"error="insufficient_scope""#)
        );
        // No token of this job would help here.
        assert_eq!(
            registry
                .ask_with(&bearer, Ask::get("/v2/b/manifests/x"))
                .await
                .status,
            403
        );
    }
}

#[tokio::test]
async fn wrong_logins_are_401_everywhere() {
    let registry = Registry::new();
    let wrong = basic(&RegistryCredentials::new("gitlab-ci-token", secret("wrong")));
    for path in ["/v2/", "/v2/token", "/v2/a/manifests/x"] {
        let refused = registry.ask_with(&wrong, Ask::get(path)).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (401, "UNAUTHORIZED"),
            "{path}"
        );
        assert!(!refused.header("www-authenticate").is_empty());
        assert!(
            !String::from_utf8_lossy(&refused.body).contains("wrong\""),
            "no echo"
        );
    }
    for header in [
        "Bearer nonsense",
        "Bearer a.b.c",
        "Basic !!!",
        "Basic YQ==",
        "Digest x",
        "x",
    ] {
        let refused = registry.ask_with(header, Ask::get("/v2/")).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (401, "UNAUTHORIZED"),
            "{header}"
        );
    }
    let refresh = Ask::post("/v2/token").body("grant_type=refresh_token&refresh_token=x");
    assert_eq!(registry.ask_with("", refresh).await.status, 401);
    let long = Ask::post("/v2/token").body(vec![b'a'; 1 << 20]);
    assert_eq!(registry.ask_with("", long).await.status, 413);
}

#[tokio::test]
async fn anybody_may_pull_where_that_is_permitted() {
    let registry = Registry::open_to_all();
    let job = registry.job("a");
    let digest = registry.put_blob(&job, "a", b"x").await;
    let path = format!("/v2/a/blobs/{digest}");
    assert_eq!(registry.ask_with("", Ask::get(&path)).await.status, 200);
    let token = registry
        .ask_with("", Ask::get("/v2/token?scope=repository:a:pull"))
        .await
        .json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    assert_eq!(registry.ask_with(&bearer, Ask::get(&path)).await.status, 200);
    for refused in [Ask::post("/v2/a/blobs/uploads/"), Ask::delete(&path)] {
        assert_eq!(registry.ask_with("", refused).await.status, 401);
    }
}

#[tokio::test]
async fn who_says_twice_who_or_where_is_refused() {
    let registry = Registry::new();
    let job = basic(&registry.job("a"));
    for (name, value) in [("host", "elsewhere.test"), ("authorization", job.as_str())] {
        let twice = Ask::get("/v2/").header(name, value);
        assert_eq!(registry.ask_with(&job, twice).await.status, 400, "{name}");
    }
    assert_eq!(registry.ask_with(&job, Ask::get("/v2/")).await.status, 200);
}

#[tokio::test]
async fn a_page_of_another_site_gets_no_password_checked() {
    let registry = Registry::new();
    let form = Ask::post("/v2/token").body("grant_type=password&username=ada&password=x");
    let page = form.clone().header("origin", "https://elsewhere.test");
    assert_eq!(registry.ask_with("", page).await.status, 403);
    assert_eq!(registry.ask_with("", form).await.status, 401);
}

/// Strangers with wrong passwords wait for each other, not others for them: some blocking threads stay free.
#[test]
fn wrong_passwords_leave_threads_to_those_who_push() {
    const STRANGERS: usize = 60;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(20)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let registry = Registry::new();
        let who = Principal::Job {
            project: "a".parse().unwrap(),
            job: 7,
        };
        let _kept = registry.job("a");
        let access = Access::new(registry.store().clone()).unwrap();
        access
            .add_user(&"ada".parse().unwrap(), &secret("right"), false)
            .unwrap();
        let ada = RegistryCredentials::new("ada", secret("right"));
        assert_eq!(registry.ask(&ada, Ask::get("/v2/")).await.status, 200);
        let scope = "repository:a:pull,push".parse().unwrap();
        let token = registry.authority.issue(&who, &[scope]).unwrap().token;
        let refused = Arc::new(AtomicUsize::new(0));
        let strangers: Vec<_> = (0..STRANGERS)
            .map(|number| {
                let (server, refused) = (registry.server.clone(), Arc::clone(&refused));
                let login = RegistryCredentials::new("nobody", secret(&format!("wrong {number}")));
                let request = http::Request::get("/v2/")
                    .header("host", "registry.test")
                    .header("authorization", basic(&login))
                    .body(http_body_util::Empty::<bytes::Bytes>::new())
                    .unwrap();
                tokio::spawn(async move {
                    assert_eq!(server.handle(request).await.status(), 401);
                    refused.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        eventually("passwords are being checked", async || {
            refused.load(Ordering::Relaxed) > 0
        })
        .await;
        let begun = registry
            .ask_with(&format!("Bearer {token}"), Ask::post("/v2/a/blobs/uploads/"))
            .await;
        // Nor do those wait whose password need not be checked.
        assert_eq!(registry.ask(&ada, Ask::get("/v2/")).await.status, 200);
        assert_eq!(registry.ask_with("", Ask::get("/v2/token")).await.status, 200);
        let before = refused.load(Ordering::Relaxed);
        assert_eq!(begun.status, 202);
        assert!(before < STRANGERS / 2, "{before} passwords went first");
        for stranger in strangers {
            stranger.await.unwrap();
        }
    });
}
