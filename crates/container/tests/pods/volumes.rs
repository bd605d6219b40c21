//! Volumes, mounts, files in and out.

use std::io::{Read, Write};
use std::path::Path;

use shipway_container::{CreateError, ExecOptions, KeptState, KeptVolume, VolumeMount};
use shipway_sandbox::{ExitStatus, FileKind, Mount, MountSource};
use shipway_testkit::Tar;

use crate::harness::tests;
use crate::house::{House, busybox_tar, run, run_once, script, text, until};

tests!(
    an_images_volume_begins_as_the_image_has_it,
    a_named_volume_is_shared_and_filled_once,
    a_volume_of_the_caller_is_left_alone,
    a_kept_volume_is_one_for_each_pod_at_once_and_stays_for_the_next,
    a_container_that_cannot_be_made_leaves_nothing,
    mounts_cover_volumes_and_generated_files,
    files_come_out_and_go_in,
    what_would_not_get_there_does_not_go_in,
);

/// busybox with a data directory that belongs to a user and has something in it.
fn with_data(house: &House, changes: &[&str]) -> shipway_container::Image {
    let data = Tar::new()
        .directory("data", 0o750, (1000, 1001))
        .file_of("data/seed", 0o600, (1000, 1001), "from the image")
        .directory("data/sub", 0o755, (0, 0))
        .link("data/link", "seed");
    // Two archives in one: an end mark in the middle would end the tar, so the second goes first without its own.
    let data = data.bytes();
    let tar = [&data[..data.len() - 1024], &busybox_tar()].concat();
    house.import("with-data", &tar, changes)
}

async fn an_images_volume_begins_as_the_image_has_it() {
    let house = House::new().await;
    let image = with_data(&house, &["VOLUME /data", "VOLUME /not/there"]);
    let pod = house.pod().await;
    let look =
        "stat -c '%n %a %u:%g' /data /data/seed /data/sub /not/there; cat /data/link; echo; touch /data/mine";
    let container = pod.create(script(&image, look)).await.unwrap();
    let expected = "/data 750 1000:1001\n/data/seed 600 1000:1001\n/data/sub 755 0:0\n/not/there 755 0:0\nfrom the image\n";
    let (status, output) = run_once(&container).await;
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), expected));
    assert_eq!(pod.volumes().await.len(), 2);
    assert!(
        !house
            .keeper()
            .join(container.upper())
            .join("fs/data/mine")
            .exists(),
        "a volume is not on the overlay"
    );
    container.remove(false).await.unwrap();
    assert!(
        pod.volumes().await.is_empty(),
        "anonymous volumes go with their container"
    );
    pod.close().await;
}

async fn a_named_volume_is_shared_and_filled_once() {
    let house = House::new().await;
    let image = with_data(&house, &[]);
    let pod = house.pod().await;
    let with_volume = |command: &str, read_only| {
        let mut options = script(&image, command);
        options.volumes = vec![VolumeMount {
            name: "shared".into(),
            target: "/data".into(),
            read_only,
        }];
        options
    };
    let (_, first) = run(
        &pod,
        with_volume("cat /data/seed; echo two > /data/second; rm /data/seed", false),
    )
    .await;
    let (_, second) = run(
        &pod,
        with_volume("ls /data; touch /data/x 2>/dev/null || echo read-only", true),
    )
    .await;
    assert_eq!(
        (first.as_str(), second.as_str()),
        ("from the image", "link\nsecond\nsub\nread-only\n")
    );
    assert!(pod.remove_volume("shared").await.unwrap());
    assert!(!pod.remove_volume("shared").await.unwrap());
    pod.close().await;
}

async fn a_volume_of_the_caller_is_left_alone() {
    let house = House::new().await;
    let image = with_data(&house, &[]);
    let pod = house.pod().await;
    let volume = pod.volume("builds", 0o777).await.unwrap();
    assert_eq!(pod.volume("builds", 0o700).await.unwrap(), volume);
    let mut options = script(&image, "ls -A /data; stat -c %a /data; id -u; touch /data/x");
    options.volumes = vec![VolumeMount {
        name: "builds".into(),
        target: "/data".into(),
        read_only: false,
    }];
    options.user = Some("1000".into());
    assert_eq!(
        run(&pod, options).await,
        (ExitStatus::Code(0), "777\n1000\n".into())
    );
    assert!(house.keeper().join(volume.path()).join("x").exists());
    pod.close().await;
}

async fn mounts_cover_volumes_and_generated_files() {
    let house = House::new().await;
    let image = with_data(&house, &["VOLUME /data"]);
    let pod = house.pod().await;
    let host = house.directory.path().join("hosts");
    std::fs::write(&host, "mine\n").unwrap();
    let mut options = script(
        &image,
        "cat /etc/hosts; ls -A /data/; stat -c %a /data /data/deep; touch /etc/hosts 2>/dev/null || echo read-only",
    );
    options.mounts = vec![
        Mount {
            target: "/data/deep".into(),
            source: MountSource::Temporary {
                size: Some(1 << 20),
                mode: 0o711,
            },
            read_only: false,
        },
        Mount {
            target: "/data".into(),
            source: MountSource::Temporary {
                size: None,
                mode: 0o1777,
            },
            read_only: false,
        },
        Mount {
            target: "/etc/hosts".into(),
            source: MountSource::Host(host),
            read_only: true,
        },
    ];
    assert_eq!(run(&pod, options).await.1, "mine\ndeep\n1777\n711\nread-only\n");
    assert!(pod.volumes().await.is_empty());
    pod.close().await;
}

async fn files_come_out_and_go_in() {
    let house = House::new().await;
    let image = with_data(&house, &[]);
    let pod = house.pod().await;
    let container = pod
        .create(script(&image, "cat /data/put && touch /data/made"))
        .await
        .unwrap();
    let tar = Tar::new().file("put", "put in\n").bytes();
    let (read, write) = rustix::pipe::pipe().unwrap();
    std::fs::File::from(write).write_all(&tar).unwrap();
    container.extract(read, Path::new("/data")).await.unwrap();
    assert_eq!(
        run_once(&container).await,
        (ExitStatus::Code(0), "put in\n".into())
    );

    let status = container.stat(Path::new("/data/seed")).await.unwrap().unwrap();
    assert_eq!((status.kind, status.uid, status.size), (FileKind::File, 1000, 14));
    assert!(container.stat(Path::new("/nope")).await.unwrap().is_none());

    let (read, write) = rustix::pipe::pipe().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        std::fs::File::from(read).read_to_end(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().display().to_string())
            .collect();
        names.sort();
        names
    });
    container
        .archive(Path::new("/data"), Path::new("/"), write)
        .await
        .unwrap();
    let names: Vec<_> = reading
        .await
        .unwrap()
        .iter()
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "data",
            "data/link",
            "data/made",
            "data/put",
            "data/seed",
            "data/sub"
        ]
    );

    let sleeping = pod.create(script(&image, "echo up; sleep 1000")).await.unwrap();
    sleeping.start().await.unwrap();
    until(&mut sleeping.logs(true), "up").await;
    let (read, write) = rustix::pipe::pipe().unwrap();
    std::fs::File::from(write)
        .write_all(&Tar::new().file("late", "put in while it runs").bytes())
        .unwrap();
    sleeping.extract(read, Path::new("/new/place")).await.unwrap();
    let exec = ExecOptions {
        argv: ["cat", "/new/place/late"].map(str::to_owned).into(),
        ..ExecOptions::default()
    };
    let exec = sleeping.exec(exec).await.unwrap();
    assert_eq!(text(exec.attach().output).await, "put in while it runs");
    pod.close().await;
}

async fn a_container_that_cannot_be_made_leaves_nothing() {
    let house = House::new().await;
    let image = with_data(&house, &["VOLUME /data"]);
    let pod = house.pod().await;
    let spool = house.data().join("spool");
    std::fs::remove_dir(&spool).unwrap();
    let error = pod.create(script(&image, "true")).await.unwrap_err();
    assert!(matches!(error, CreateError::Spool { .. }), "{error:?}");
    for part in ["containers", "volumes"] {
        let left = std::fs::read_dir(house.keeper().join(pod.directory()).join(part)).unwrap();
        assert_eq!(left.count(), 0, "{part}");
    }
    assert!(pod.volumes().await.is_empty());
    std::fs::create_dir(&spool).unwrap();
    let (status, _) = run(&pod, script(&image, "cat /data/seed")).await;
    assert_eq!(status, ExitStatus::Code(0));
    pod.close().await;
}

async fn a_kept_volume_is_one_for_each_pod_at_once_and_stays_for_the_next() {
    let house = House::new().await;
    let image = with_data(&house, &[]);
    let visit = |command: &str| {
        let mut options = script(&image, command);
        options.volumes = vec![VolumeMount {
            name: "kept".into(),
            target: "/data".into(),
            read_only: false,
        }];
        options
    };
    let pod = async || {
        let pod = house.pod().await;
        pod.keep_volume("kept", "project:\0/data").await.unwrap();
        pod
    };
    let (first, second) = (pod().await, pod().await);
    for (number, pod) in [(1, &first), (2, &second)] {
        let (_, said) = run(pod, visit(&format!("cat /data/seed; echo {number} > /data/seed"))).await;
        assert_eq!(said, "from the image", "each is filled as the image has it");
    }
    let states = |volumes: Vec<KeptVolume>| volumes.iter().map(|volume| volume.state).collect::<Vec<_>>();
    let in_use = [KeptState::InUse; 2];
    assert_eq!(
        states(house.runtime.prune_kept().await.unwrap()),
        in_use,
        "pods live that have them"
    );
    second.close().await;
    let third = pod().await;
    let (_, said) = run(&third, visit("cat /data/seed")).await;
    assert_eq!(said, "2\n", "the first is still in use");
    first.close().await;
    let fourth = pod().await;
    let (_, said) = run(&fourth, visit("cat /data/seed")).await;
    assert_eq!(said, "1\n");
    third.close().await;

    // One pod that lives keeps its own volume only.
    let measured = house.runtime.kept().await.unwrap();
    assert!(measured.iter().all(|volume| volume.bytes > 0), "{measured:?}");
    let mut pruned = states(house.runtime.prune_kept().await.unwrap());
    pruned.sort_by_key(|state| *state == KeptState::Removed);
    assert_eq!(pruned, [KeptState::InUse, KeptState::Removed]);
    let (_, said) = run(&fourth, visit("cat /data/seed")).await;
    assert_eq!(said, "1\n");
    fourth.close().await;
    assert_eq!(
        states(house.runtime.prune_kept().await.unwrap()),
        [KeptState::Removed]
    );
    assert_eq!(house.runtime.kept().await.unwrap(), []);
    let again = pod().await;
    let (_, said) = run(&again, visit("cat /data/seed")).await;
    assert_eq!(said, "from the image");
    again.close().await;
}

async fn what_would_not_get_there_does_not_go_in() {
    let house = House::new().await;
    let image = with_data(&house, &[]);
    let pod = house.pod().await;
    let host = house.directory.path().join("bound");
    std::fs::create_dir(&host).unwrap();
    let mut options = script(&image, "true");
    options.volumes = vec![VolumeMount {
        name: "shared".into(),
        target: "/data".into(),
        read_only: true,
    }];
    options.mounts = vec![Mount {
        target: "/bound".into(),
        source: MountSource::Host(host),
        read_only: false,
    }];
    let container = pod.create(options).await.unwrap();
    for (target, reason) in [
        ("/data/sub", "/data is mounted read-only"),
        ("/bound", "/bound is mounted only while it runs: start it first"),
    ] {
        let (read, write) = rustix::pipe::pipe().unwrap();
        std::fs::File::from(write)
            .write_all(&Tar::new().file("put", "put in").bytes())
            .unwrap();
        let refused = container.extract(read, Path::new(target)).await;
        let said = refused.expect_err(target).to_string();
        assert!(said.ends_with(reason), "{said}");
    }
    pod.close().await;
}
