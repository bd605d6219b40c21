//! Files in and out of containers: copies, volumes, binds.

use shipway_testkit::Peer;

use crate::harness::tests;
use crate::house::{House, write};

tests![
    copy_out_and_in,
    named_and_anonymous_volumes,
    paths_of_the_view,
    export,
    what_runs_is_exported_without_its_mounts,
    copies_reach_volumes,
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

async fn what_runs_is_exported_without_its_mounts(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&[
            "run",
            "-d",
            "--name",
            "live",
            "-v",
            "/volume",
            "busybox",
            "sh",
            "-c",
            "echo mine > /mine; echo not > /volume/not; cat /tmp/none; sleep 600",
        ])
        .await;
    house
        .ok(&[
            "exec",
            "live",
            "sh",
            "-c",
            "until test -e /volume/not; do :; done",
        ])
        .await;
    let names = |archive: &str| {
        let file = std::fs::File::open(house.path(archive)).unwrap();
        let mut archive = tar::Archive::new(file);
        let entries = archive.entries().unwrap();
        entries
            .map(|entry| {
                let path = entry.unwrap().path().unwrap().into_owned();
                path.to_str().unwrap().trim_matches(['.', '/']).to_owned()
            })
            .collect::<Vec<_>>()
    };
    house.ok(&["export", "-o", "whole.tar", "live"]).await;
    let exported = names("whole.tar");
    assert!(exported.contains(&"mine".to_owned()), "{exported:?}");
    for mounted in ["proc/", "sys/", "volume/"] {
        assert!(
            !exported.iter().any(|name| name.starts_with(mounted)),
            "{mounted} is there"
        );
    }
    // As is the root by copy, which has the volumes.
    let copied = house.docker(&["cp", "live:/", "copy"]).await;
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert!(house.path("copy/volume/not").exists());
    assert!(!house.path("copy/proc/self").exists());
    house.close().await;
}

async fn copies_reach_volumes(docker: Peer) {
    let house = House::with_busybox(docker).await;
    write(&house.path("in"), "fed\n");
    let read = |path: &str| std::fs::read_to_string(house.path(path)).unwrap();
    // What is copied before the start is there when it runs, in whatever container has the volume.
    house
        .ok(&["create", "--name", "holder", "-v", "data:/data", "busybox"])
        .await;
    house.ok(&["cp", "in", "holder:/data/new"]).await;
    let shared = ["run", "--rm", "--volumes-from", "holder", "busybox"];
    assert_eq!(
        house.ok(&[&shared[..], &["cat", "/data/new"]].concat()).await,
        "fed"
    );
    // Out of it again, though nothing runs: a file, what is in the volume, and the volume.
    house.ok(&["cp", "holder:/data/new", "file"]).await;
    assert_eq!(read("file"), "fed\n");
    house.ok(&["cp", "holder:/data/.", "inner"]).await;
    assert_eq!(read("inner/new"), "fed\n");
    house.ok(&["cp", "holder:/data", "whole"]).await;
    assert_eq!(read("whole/new"), "fed\n");
    std::fs::create_dir(house.path("there")).unwrap();
    house.ok(&["cp", "holder:/data", "there"]).await;
    assert_eq!(read("there/data/new"), "fed\n");

    // The same of what runs, and out of memory too.
    let script = "echo up > /memory/up; sleep 600";
    house
        .ok(&[
            "run",
            "-d",
            "--name",
            "live",
            "-v",
            "data:/data",
            "--tmpfs",
            "/memory",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .await;
    house
        .ok(&["exec", "live", "sh", "-c", "until test -e /memory/up; do :; done"])
        .await;
    house.ok(&["cp", "live:/data/new", "running"]).await;
    assert_eq!(read("running"), "fed\n");
    house.ok(&["cp", "live:/memory/up", "memory"]).await;
    assert_eq!(read("memory"), "up\n");
    house.ok(&["cp", "in", "live:/memory/in"]).await;
    assert_eq!(house.ok(&["exec", "live", "cat", "/memory/in"]).await, "fed");
    house.close().await;
}
