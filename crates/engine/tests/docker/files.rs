//! Files in and out of containers: copies, volumes, binds.

use shipway_testkit::Peer;

use crate::harness::tests;
use crate::house::{House, write};

tests![
    copy_out_and_in,
    named_and_anonymous_volumes,
    paths_of_the_view,
    export
];

async fn copy_out_and_in(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&[
            "run",
            "--name",
            "maker",
            "busybox",
            "sh",
            "-c",
            "mkdir -p /out/sub; echo a > /out/a; echo b > /out/sub/b",
        ])
        .await;
    house.ok(&["cp", "maker:/out", "whole"]).await;
    assert_eq!(std::fs::read_to_string(house.path("whole/sub/b")).unwrap(), "b\n");
    house.ok(&["cp", "maker:/out/.", "inner"]).await;
    assert_eq!(std::fs::read_to_string(house.path("inner/a")).unwrap(), "a\n");
    house.ok(&["cp", "maker:/out/a", "file"]).await;
    assert_eq!(std::fs::read_to_string(house.path("file")).unwrap(), "a\n");
    house.docker(&["cp", "maker:/none", "x"]).await.failed(1, "/none");

    write(&house.path("in/deep/c"), "c\n");
    house
        .ok(&[
            "create",
            "--name",
            "taker",
            "busybox",
            "cat",
            "/tmp/in/deep/c",
            "/etc/new",
        ])
        .await;
    house.ok(&["cp", "in", "taker:/tmp"]).await;
    house.ok(&["cp", "in/deep/c", "taker:/etc/new"]).await;
    assert_eq!(house.ok(&["start", "-a", "taker"]).await, "c\nc");

    house
        .ok(&["run", "-d", "--name", "live", "busybox", "sleep", "600"])
        .await;
    house.ok(&["cp", "in/deep/c", "live:/tmp/c"]).await;
    assert_eq!(house.ok(&["exec", "live", "cat", "/tmp/c"]).await, "c");
    house.ok(&["cp", "live:/tmp/c", "back"]).await;
    assert_eq!(std::fs::read_to_string(house.path("back")).unwrap(), "c\n");
    house.close().await;
}

async fn named_and_anonymous_volumes(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&[
            "run",
            "--rm",
            "-v",
            "data:/data",
            "busybox",
            "sh",
            "-c",
            "echo kept > /data/f",
        ])
        .await;
    assert_eq!(
        house
            .ok(&["run", "--rm", "-v", "data:/d:ro", "busybox", "cat", "/d/f"])
            .await,
        "kept"
    );
    let said = house
        .docker(&["run", "--rm", "-v", "data:/d:ro", "busybox", "touch", "/d/g"])
        .await;
    assert_ne!(said.code, Some(0), "{said:?}");
    assert_eq!(house.ok(&["volume", "ls", "-q"]).await, "data");
    house
        .ok(&[
            "create",
            "--name",
            "user",
            "-v",
            "data:/d",
            "-v",
            "/anonymous",
            "busybox",
        ])
        .await;
    house
        .docker(&["volume", "rm", "data"])
        .await
        .failed(1, "volume is in use");
    assert_eq!(house.ok(&["volume", "ls", "-q"]).await.lines().count(), 2);
    house.ok(&["rm", "-v", "user"]).await;
    assert_eq!(house.ok(&["volume", "ls", "-q"]).await, "data");
    house.ok(&["volume", "rm", "data"]).await;
    let said = house
        .ok(&[
            "run",
            "--rm",
            "--mount",
            "type=tmpfs,target=/scratch",
            "busybox",
            "sh",
            "-c",
            "echo x > /scratch/y; cat /scratch/y",
        ])
        .await;
    assert_eq!(said, "x");
    // A new volume takes over what the image has there.
    let listed = house
        .docker(&["run", "--rm", "-v", "etc:/etc", "busybox", "ls", "/etc"])
        .await;
    assert!(listed.stdout.contains("passwd"), "{listed:?}");
    house.close().await;
}

async fn paths_of_the_view(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let mut options = shipway_container::ContainerOptions::new(
        house
            .runtime
            .images()
            .resolve(&"job/1".parse().unwrap(), "busybox")
            .await
            .unwrap()
            .unwrap(),
    );
    let script = "mkdir -p /builds/app; echo source > /builds/app/main; echo ready; sleep 600";
    options.command = Some(["sh", "-c", script].map(str::to_owned).into());
    let job = house.pod.create(options).await.unwrap();
    let mut output = job.attach(shipway_container::AttachFrom::Now, false).output;
    job.start().await.unwrap();
    output.chunk().await.unwrap();
    house.engine.set_view(job.clone());
    let said = house
        .ok(&[
            "run",
            "--rm",
            "-v",
            "/builds/app:/src",
            "busybox",
            "sh",
            "-c",
            "cat /src/main; echo made > /src/out",
        ])
        .await;
    assert_eq!(said, "source");
    let said = house
        .ok(&[
            "run",
            "--rm",
            "-v",
            "/builds/app/out:/one:ro",
            "busybox",
            "cat",
            "/one",
        ])
        .await;
    assert_eq!(said, "made");
    house.engine.close().await;
    job.remove(true).await.unwrap();
    house.close().await;
}

async fn export(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&["run", "--name", "maker", "busybox", "touch", "/tmp/made"])
        .await;
    let archive = house.path("root.tar");
    house
        .ok(&["export", "-o", archive.to_str().unwrap(), "maker"])
        .await;
    let mut tar = tar::Archive::new(std::fs::File::open(archive).unwrap());
    let names: Vec<String> = tar
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert!(
        names.iter().any(|name| name.ends_with("tmp/made"))
            && names.iter().any(|name| name.ends_with("bin/busybox"))
    );
    house.close().await;
}
