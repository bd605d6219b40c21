//! What the engine says about itself, and logging in.

use shipway_testkit::Peer;

use crate::harness::tests;
use crate::house::{House, PASSWORD, REGISTRY};

tests![
    version_and_info,
    login_fails_and_succeeds,
    events_are_told,
    disk_usage_and_prune
];

async fn version_and_info(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let version = house
        .ok(&[
            "version",
            "--format",
            "{{.Server.Version}} {{.Server.APIVersion}} {{.Server.Platform.Name}}",
        ])
        .await;
    assert!(version.starts_with("27.5.1 1.47 Shipway"), "{version}");
    let info = house
        .ok(&[
            "info",
            "--format",
            "{{.Name}} {{.CgroupDriver}} {{.Images}} {{.Containers}} {{.OSType}}",
        ])
        .await;
    assert_eq!(info, "job-1 none 1 0 linux");
    let root = house.ok(&["info", "--format", "{{.DockerRootDir}}"]).await;
    assert_eq!(root, house.path("data").to_str().unwrap());
    let text = house.ok(&["info"]).await;
    assert!(
        text.contains("Storage Driver: overlay2") && !text.contains("ERROR"),
        "{text}"
    );
    house.close().await;
}

async fn login_fails_and_succeeds(docker: Peer) {
    let house = House::new(docker).await;
    let wrong = house
        .docker_with(&["login", REGISTRY, "-u", "ann", "--password-stdin"], b"wrong")
        .await;
    wrong.failed(1, "unauthorized");
    let right = house
        .docker_with(
            &["login", REGISTRY, "-u", "ann", "--password-stdin"],
            PASSWORD.as_bytes(),
        )
        .await;
    assert_eq!(right.code, Some(0), "{right:?}");
    assert!(right.stdout.contains("Login Succeeded"), "{right:?}");
    house.ok(&["logout", REGISTRY]).await;
    house.close().await;
}

async fn events_are_told(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&["run", "--rm", "--name", "told", "busybox", "true"])
        .await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let filter = ["--filter", "container=told", "--format", "{{.Action}}"];
    let events = house
        .ok(&[&["events", "--since", "10m", "--until", &until][..], &filter].concat())
        .await;
    assert_eq!(
        events.lines().collect::<Vec<_>>(),
        ["create", "attach", "start", "die", "destroy"]
    );
    house
        .ok(&["create", "--name", "labelled", "--label", "role=web", "busybox"])
        .await;
    let labelled = [
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "--filter",
        "label=role=web",
        "--format",
        "{{.Action}} {{.Actor.Attributes.role}}",
    ];
    // The client leaves out the second that is not over.
    let heard = async { while house.ok(&labelled).await != "create web" {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), heard)
        .await
        .expect("the event");
    house.close().await;
}

async fn disk_usage_and_prune(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house.ok(&["run", "--name", "left", "busybox", "true"]).await;
    let usage = house.ok(&["system", "df"]).await;
    assert!(
        usage.contains("Images") && usage.contains("Containers"),
        "{usage}"
    );
    house.ok(&["system", "prune", "-f"]).await;
    assert_eq!(house.ok(&["ps", "-aq"]).await, "");
    assert_eq!(house.ok(&["images", "-q"]).await.lines().count(), 1);
    house.ok(&["system", "prune", "-af"]).await;
    assert_eq!(house.ok(&["images", "-q"]).await, "");
    house.close().await;
}
