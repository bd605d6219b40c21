//! `docker build` by the classic protocol.

use std::time::Duration;

use shipway_testkit::{GitServer, GitServerOptions, Peer, git};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::harness::tests;
use crate::house::{House, exchange, write};

tests![
    build_run_and_cache,
    arguments_target_labels_and_quiet,
    a_failing_step_gives_its_exit_code,
    an_early_error_reaches_the_user_after_a_long_upload,
    dockerfile_from_standard_input,
    a_compressed_context,
    the_engine_fetches_a_context_by_its_address,
    limits_and_hosts_reach_the_steps,
    buildkit_is_refused_in_words,
    stages_are_told_in_their_order,
    a_client_that_goes_away_ends_its_build,
];

const DOCKERFILE: &str =
    "FROM busybox\nCOPY hello.txt /\nRUN cat /hello.txt > /copy\nCMD [\"cat\", \"/copy\"]\n";

async fn build_run_and_cache(docker: Peer) {
    let house = House::with_busybox(docker).await;
    write(&house.path("app/Dockerfile"), DOCKERFILE);
    write(&house.path("app/hello.txt"), "hello\n");
    let built = house.ok(&["build", "-t", "app", "-t", "app:2", "app"]).await;
    for words in [
        "Step 1/4 : FROM busybox",
        " ---> Running in ",
        "Successfully built ",
        "Successfully tagged app:latest",
        "Successfully tagged app:2",
    ] {
        assert!(built.contains(words), "no {words:?} in {built}");
    }
    assert_eq!(house.ok(&["run", "--rm", "app"]).await, "hello");
    let again = house.ok(&["build", "-t", "app", "app"]).await;
    assert_eq!(again.matches(" ---> Using cache").count(), 2, "{again}");
    let id = house.ok(&["images", "-q", "app:latest"]).await;
    assert!(again.contains(&format!("Successfully built {id}")), "{again}");
    for told in [&built, &again] {
        let last = told.lines().rfind(|line| line.starts_with(" ---> "));
        assert_eq!(last, Some(format!(" ---> {id}").as_str()), "{told}");
    }
    let since = house
        .ok(&["images", "--format", "{{.CreatedSince}}", "app:latest"])
        .await;
    assert!(since.contains("second"), "{since}");
    write(&house.path("app/hello.txt"), "changed\n");
    house.ok(&["build", "--iidfile", "iid", "-t", "app", "app"]).await;
    assert_eq!(house.ok(&["run", "--rm", "app"]).await, "changed");
    let iid = std::fs::read_to_string(house.path("iid")).unwrap();
    assert_eq!(house.ok(&["images", "-q", "--no-trunc", "app:latest"]).await, iid);
    house.close().await;
}

async fn arguments_target_labels_and_quiet(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let text = "FROM busybox AS one\nARG WORD=default\nARG UNSET\nRUN echo $WORD:$UNSET > /word\nFROM one AS two\nRUN false\n";
    write(&house.path("app/docker/File"), text);
    let id = house
        .ok(&[
            "build",
            "-q",
            "-f",
            "app/docker/File",
            "--target",
            "one",
            "--build-arg",
            "WORD=given",
            "--build-arg",
            "UNSET",
            "--label",
            "by=test",
            "--no-cache",
            "-t",
            "args",
            "app",
        ])
        .await;
    assert!(id.starts_with("sha256:") && id.lines().count() == 1, "{id}");
    assert_eq!(house.ok(&["run", "--rm", "args", "cat", "/word"]).await, "given:");
    assert_eq!(
        house
            .ok(&["inspect", "args", "--format", "{{.Config.Labels.by}}"])
            .await,
        "test"
    );
    house.close().await;
}

async fn a_failing_step_gives_its_exit_code(docker: Peer) {
    let house = House::with_busybox(docker).await;
    write(
        &house.path("app/Dockerfile"),
        "FROM busybox\nRUN echo before; exit 42\n",
    );
    let failed = house.docker(&["build", "app"]).await;
    failed.failed(42, "returned a non-zero code: 42");
    assert!(failed.stdout.contains("before"), "{failed:?}");
    write(&house.path("app/Dockerfile"), "FROM nowhere.invalid/base\n");
    house.docker(&["build", "app"]).await.failed(1, "nowhere.invalid");
    // No image can have a name with a capital letter, so that nobody is asked for it.
    write(
        &house.path("app/Dockerfile"),
        "FROM busybox\nCOPY --from=Nostage /a /a\n",
    );
    house
        .docker(&["build", "app"])
        .await
        .failed(1, "there is no stage called `Nostage`");
    house.close().await;
}

async fn an_early_error_reaches_the_user_after_a_long_upload(docker: Peer) {
    let house = House::with_busybox(docker).await;
    write(&house.path("app/Dockerfile"), "FROM busybox\nFRON x\n");
    // More than the sockets between the two ends can hold.
    std::fs::write(house.path("app/large"), vec![b'x'; 16 << 20]).unwrap();
    house.docker(&["build", "app"]).await.failed(1, "FRON");
    house
        .docker(&["build", "-t", "app", "--platform", "no such", "app"])
        .await
        .failed(1, "");
    write(&house.path("app/Dockerfile"), "FROM busybox\nCOPY none /\n");
    house.docker(&["build", "app"]).await.failed(1, "none");
    house.close().await;
}

async fn dockerfile_from_standard_input(docker: Peer) {
    let house = House::with_busybox(docker).await;
    write(&house.path("app/file"), "content\n");
    let said = house
        .docker_with(
            &["build", "-t", "a", "-f", "-", "app"],
            b"FROM busybox\nCOPY file /f\n",
        )
        .await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(house.ok(&["run", "--rm", "a", "cat", "/f"]).await, "content");
    let said = house
        .docker_with(&["build", "-t", "b", "-"], b"FROM busybox\nRUN echo alone > /g\n")
        .await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(house.ok(&["run", "--rm", "b", "cat", "/g"]).await, "alone");
    house.close().await;
}

async fn the_engine_fetches_a_context_by_its_address(docker: Peer) {
    let root = tempfile::tempdir().unwrap();
    let repository = root.path().join("app.git");
    write(&repository.join("sub/Dockerfile"), "FROM scratch\nCOPY a /\n");
    write(&repository.join("sub/a"), "a");
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message", "A test"],
    ] {
        git(&repository, arguments).unwrap();
    }
    let server = GitServer::start(root.path(), GitServerOptions::default()).unwrap();
    let address = format!("{}#main:sub", server.url("app.git"));
    let remote = address
        .replace(':', "%3A")
        .replace('/', "%2F")
        .replace('#', "%23");
    let build = format!(
        "POST /build?t=fetched&remote={remote} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );

    let house = House::reaching_this_machine(docker.clone()).await;
    let said = exchange(&house, &build).await;
    assert!(
        said.starts_with("HTTP/1.1 200") && said.contains("Successfully tagged fetched:latest"),
        "{said}"
    );
    assert!(!house.ok(&["images", "-q", "fetched"]).await.is_empty());
    house.close().await;

    let house = House::new(docker).await;
    let said = exchange(&house, &build).await;
    assert!(
        said.contains("cannot fetch the build context"),
        "the policy of the pod binds: {said}"
    );
    house.close().await;
}

async fn limits_and_hosts_reach_the_steps(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let text = "FROM busybox\nRUN ulimit -n > /seen && grep db.test /etc/hosts >> /seen && df -k /dev/shm | tail -1 >> /seen\nCMD [\"cat\", \"/seen\"]\n";
    write(&house.path("app/Dockerfile"), text);
    let build = [
        "build",
        "-t",
        "limited",
        "--ulimit",
        "nofile=50:60",
        "--add-host",
        "db.test:10.9.8.7",
        "--shm-size",
        "1m",
        "app",
    ];
    house.ok(&build).await;
    let seen = house.ok(&["run", "--rm", "limited"]).await;
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines[0] == "50" && lines[1].starts_with("10.9.8.7"), "{seen}");
    assert_eq!(lines[2].split_whitespace().nth(1), Some("1024"), "{seen}");
    house.close().await;
}

async fn stages_are_told_in_their_order(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let text = "FROM busybox AS slow\nRUN sleep 0.3; echo slow > /s\nFROM busybox AS fast\nRUN echo fast > /f\n\
                FROM busybox\nCOPY --from=slow /s /\nCOPY --from=fast /f /\n";
    write(&house.path("app/Dockerfile"), text);
    let said = house.ok(&["build", "-t", "app", "app"]).await;
    let steps: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("Step ")?.split('/').next())
        .collect();
    assert_eq!(steps, ["1", "2", "3", "4", "5", "6", "7"], "{said}");
    assert_eq!(
        house.ok(&["run", "--rm", "app", "cat", "/s", "/f"]).await,
        "slow\nfast"
    );
    house.close().await;
}

async fn a_client_that_goes_away_ends_its_build(docker: Peer) {
    let house = House::with_busybox(docker).await;
    write(
        &house.path("app/Dockerfile"),
        "FROM busybox\nRUN echo begun; sleep 600\n",
    );
    let mut child = house.command(&["build", "app"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines
        .next_line()
        .await
        .unwrap()
        .is_some_and(|line| line != "begun")
    {}
    child.kill().await.unwrap();
    // The pod has no more containers once the build is gone.
    let gone = async {
        while house
            .pod
            .containers()
            .iter()
            .any(|container| container.running_id().is_some())
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .expect("the step ends with its client");
    house.close().await;
}

async fn a_compressed_context(docker: Peer) {
    let house = House::with_busybox(docker).await;
    write(&house.path("app/Dockerfile"), "FROM busybox\nCOPY f /\n");
    write(&house.path("app/f"), "squeezed\n");
    house.ok(&["build", "--compress", "-t", "app", "app"]).await;
    assert_eq!(house.ok(&["run", "--rm", "app", "cat", "/f"]).await, "squeezed");
    house.close().await;
}

async fn buildkit_is_refused_in_words(docker: Peer) {
    let house = House::with_busybox(docker).await;
    write(&house.path("app/Dockerfile"), "FROM busybox\n");
    let mut command = house.command(&["build", "app"]);
    command.env("DOCKER_BUILDKIT", "1");
    let said = crate::house::finish(command.spawn().unwrap(), &["build"]).await;
    assert_ne!(said.code, Some(0), "{said:?}");
    // Newer releases look for their plugin first and have words of their own.
    assert!(
        said.stderr.contains("DOCKER_BUILDKIT=0") || said.stderr.contains("buildx"),
        "{said:?}"
    );
    house.close().await;
}
