//! Health checks: of the command line, of the image, none.

use shipway_testkit::Peer;

use crate::harness::tests;
use crate::house::{House, write};

tests![health_checks];

async fn health_checks(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let check = "test -e /tmp/well || { echo unwell; exit 1; }";
    house
        .ok(&[
            "run",
            "-d",
            "--name",
            "checked",
            "--health-cmd",
            check,
            "--health-interval",
            "20ms",
            "--health-retries",
            "2",
            "busybox",
            "sleep",
            "600",
        ])
        .await;
    let becomes = |status: &'static str| {
        let house = &house;
        async move {
            let format = "{{.State.Health.Status}}";
            while house.ok(&["inspect", "--format", format, "checked"]).await != status {}
        }
    };
    becomes("unhealthy").await;
    let said = house
        .ok(&[
            "inspect",
            "--format",
            "{{index .Config.Healthcheck.Test 0}} {{.Config.Healthcheck.Retries}} {{(index .State.Health.Log 0).Output}}",
            "checked",
        ])
        .await;
    assert_eq!(said, "CMD-SHELL 2 unwell");
    house.ok(&["exec", "checked", "touch", "/tmp/well"]).await;
    becomes("healthy").await;
    let listed = house
        .ok(&[
            "ps",
            "--filter",
            "health=healthy",
            "--format",
            "{{.Names}} {{.Status}}",
        ])
        .await;
    assert!(
        listed.starts_with("checked Up") && listed.ends_with("(healthy)"),
        "{listed}"
    );
    house.ok(&["kill", "checked"]).await;
    house.ok(&["wait", "checked"]).await;
    let listed = house.ok(&["ps", "-a", "--format", "{{.Status}}"]).await;
    assert!(!listed.contains("healthy"), "{listed}");

    write(
        &house.path("app/Dockerfile"),
        "FROM busybox\nHEALTHCHECK --interval=20ms --timeout=20ms CMD [\"sleep\", \"600\"]\n",
    );
    house.ok(&["build", "-q", "-t", "slow", "app"]).await;
    house.ok(&["rm", "checked"]).await;
    house
        .ok(&["run", "-d", "--name", "checked", "slow", "sleep", "600"])
        .await;
    becomes("unhealthy").await;
    let log = house
        .ok(&[
            "inspect",
            "--format",
            "{{(index .State.Health.Log 0).Output}}",
            "checked",
        ])
        .await;
    assert!(log.contains("exceeded timeout"), "{log}");
    house
        .ok(&[
            "run",
            "-d",
            "--name",
            "unchecked",
            "--no-healthcheck",
            "slow",
            "sleep",
            "600",
        ])
        .await;
    let state = house
        .ok(&["inspect", "--format", "{{json .State}}", "unchecked"])
        .await;
    assert!(!state.contains("Health"), "{state}");
    house.close().await;
}
