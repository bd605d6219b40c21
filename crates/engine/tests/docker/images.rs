//! Images by name: pull, tag, list, inspect, push, save, load, remove.

use shipway_testkit::Peer;

use crate::harness::tests;
use crate::house::{House, PASSWORD, REGISTRY};

tests![
    an_imported_name_stands_in_for_an_unreachable_registry,
    an_import_is_an_image_of_a_job_s_engine_from_the_start,
    an_import_is_an_image_of_an_engine_of_one_s_own,
    pull_failures_are_exit_codes,
    tag_list_and_remove,
    inspect_and_history,
    push_and_pull_back,
    an_image_for_several_platforms_is_pushed_whole,
    push_without_login_is_denied,
    save_and_load,
    import_a_root_file_system,
];

async fn an_imported_name_stands_in_for_an_unreachable_registry(docker: Peer) {
    let house = House::new(docker).await;
    house.import("imported", "nowhere.invalid/base:1");
    let pulled = house.docker(&["pull", "nowhere.invalid/base:1"]).await;
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    assert!(
        pulled.stdout.contains("WARNING") && pulled.stdout.contains("Digest: sha256:"),
        "{pulled:?}"
    );
    // It did not become the image that the registry gave.
    let ran = house
        .docker(&["run", "--rm", "nowhere.invalid/base:1", "echo", "hi"])
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "hi\n"), "{ran:?}");
    assert!(ran.stderr.contains("is the imported image"), "{ran:?}");
    let context = house.path("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM nowhere.invalid/base:1\n").unwrap();
    for time in ["first", "second"] {
        let built = house.docker(&["build", context.to_str().unwrap()]).await;
        assert_eq!(built.code, Some(0), "{built:?}");
        let said = built.stdout + &built.stderr;
        assert!(
            said.contains("the imported nowhere.invalid/base:1 is used, because"),
            "{time}: {said}"
        );
    }
    house.close().await;
}

const NAMES: &[&str] = &["images", "--format", "{{.Repository}}:{{.Tag}}"];

async fn an_import_is_an_image_of_a_job_s_engine_from_the_start(docker: Peer) {
    let house = House::new(docker).await;
    let name = "nowhere.invalid/base:1";
    house.import("imported", name);
    assert_eq!(house.ok(NAMES).await, name);
    let id = house.ok(&["images", "-q"]).await;
    let inspected = ["image", "inspect", "--format", "{{index .RepoTags 0}}"];
    assert_eq!(house.ok(&[&inspected[..], &[name]].concat()).await, name);
    assert_eq!(house.ok(&[&inspected[..], &[&id]].concat()).await, name);
    assert!(!house.ok(&["history", "-q", name]).await.is_empty());

    // Nothing is pulled, and whoever runs it hears that.
    let ran = house
        .docker(&["run", "--rm", "--pull", "never", name, "echo", "hi"])
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "hi\n"), "{ran:?}");
    assert!(ran.stderr.contains("is the imported image"), "{ran:?}");
    house.ok(&["tag", name, "team/app:1"]).await;
    assert_eq!(house.ok(&["run", "--rm", "team/app:1", "echo", "hi"]).await, "hi");
    assert_eq!(
        house.ok(&["images", "--format", "{{.Tag}}", "team/app"]).await,
        "1"
    );

    // A job tidies up: for this engine it is gone, for others it is not; its own name goes with it.
    house.ok(&["rmi", "-f", &id]).await;
    assert_eq!(house.ok(NAMES).await, "");
    house
        .docker(&["image", "inspect", name])
        .await
        .failed(1, "No such image");
    house.docker(&["rmi", name]).await.failed(1, "No such image");
    let other = house.another_engine("job/2");
    assert_eq!(house.ok_at(&other, NAMES).await, name);
    house.ok(&["pull", name]).await;
    assert_eq!(house.ok(NAMES).await, name, "a pull brings it back");
    house.ok_at(&other, &["system", "prune", "-a", "-f"]).await;
    assert_eq!(house.ok_at(&other, NAMES).await, name, "nothing brings it back");
    house.close().await;
}

async fn an_import_is_an_image_of_an_engine_of_one_s_own(docker: Peer) {
    let house = House::of_machine_with_busybox(docker).await;
    house.import("imported", "nowhere.invalid/base:1");
    let listed = house.ok(NAMES).await;
    assert!(listed.contains("nowhere.invalid/base:1"), "{listed}");
    house.ok(&["rmi", "nowhere.invalid/base:1"]).await;
    let other = house.another_engine("job/2");
    assert_eq!(
        house.ok_at(&other, NAMES).await,
        "",
        "it is removed for everybody"
    );
    house.close().await;
}

async fn pull_failures_are_exit_codes(docker: Peer) {
    let house = House::new(docker).await;
    house
        .docker(&["pull", "nowhere.invalid/base:1"])
        .await
        .failed(1, "nowhere.invalid");
    house
        .docker(&["pull", &format!("{REGISTRY}/ann/none:1")])
        .await
        .failed(1, "pull access denied");
    house
        .docker(&["run", "--rm", "nowhere.invalid/base:1"])
        .await
        .failed(125, "Unable to find image");
    house
        .docker_with(
            &["login", REGISTRY, "-u", "ann", "--password-stdin"],
            PASSWORD.as_bytes(),
        )
        .await;
    house
        .docker(&["pull", &format!("{REGISTRY}/ann/none:1")])
        .await
        .failed(1, "not found");
    house.close().await;
}

async fn tag_list_and_remove(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house.ok(&["tag", "busybox", "team/app:1.0"]).await;
    house.ok(&["tag", "busybox:latest", "team/app:2.0"]).await;
    let listed = house
        .ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
        .await;
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["busybox:latest", "team/app:1.0", "team/app:2.0"]);
    let one = house
        .ok(&["images", "--format", "{{.Tag}}", "team/app:1.*"])
        .await;
    assert_eq!(one, "1.0");
    let id = house.ok(&["images", "-q", "busybox"]).await;
    house.docker(&["rmi", &id]).await.failed(1, "must be forced");
    let removed = house.ok(&["rmi", "team/app:1.0"]).await;
    assert_eq!(removed, "Untagged: team/app:1.0");
    house.ok(&["run", "--name", "user", "busybox", "true"]).await;
    house
        .docker(&["rmi", "team/app:3"])
        .await
        .failed(1, "No such image");
    house.ok(&["rmi", "team/app:2.0"]).await;
    house.docker(&["rmi", "busybox"]).await.failed(1, "must force");
    house.ok(&["rm", "user"]).await;
    assert!(house.ok(&["rmi", "busybox"]).await.contains("Deleted: sha256:"));
    assert_eq!(house.ok(&["images", "-aq"]).await, "");
    house.close().await;
}

async fn inspect_and_history(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let shown = house
        .ok(&[
            "image",
            "inspect",
            "busybox",
            "--format",
            "{{.Os}} {{.Config.Env}} {{index .RepoTags 0}} {{len .RootFS.Layers}}",
        ])
        .await;
    assert_eq!(shown, "linux [FROM_IMAGE=yes] busybox:latest 1");
    house
        .docker(&["image", "inspect", "none"])
        .await
        .failed(1, "No such image");
    assert!(!house.ok(&["history", "busybox"]).await.is_empty());
    let id = house.ok(&["images", "-q", "--no-trunc"]).await;
    assert_eq!(
        house.ok(&["inspect", &id[7..19], "--format", "{{.Id}}"]).await,
        id
    );
    house.close().await;
}

async fn push_and_pull_back(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let name = format!("{REGISTRY}/ann/app:1");
    house
        .docker_with(
            &["login", REGISTRY, "-u", "ann", "--password-stdin"],
            PASSWORD.as_bytes(),
        )
        .await;
    house.ok(&["tag", "busybox", &name]).await;
    let pushed = house.ok(&["push", &name]).await;
    assert!(pushed.contains("1: digest: sha256:"), "{pushed}");
    let id = house.ok(&["images", "-q", "--no-trunc", &name]).await;
    house.ok(&["rmi", &name]).await;
    house.ok(&["rmi", "busybox"]).await;
    let pulled = house.ok(&["pull", &name]).await;
    assert!(pulled.contains("Downloaded newer image"), "{pulled}");
    assert_eq!(house.ok(&["images", "-q", "--no-trunc", &name]).await, id);
    let again = house.ok(&["pull", &name]).await;
    assert!(again.contains("Image is up to date"), "{again}");
    assert_eq!(house.ok(&["pull", "-q", &name]).await, name);
    assert_eq!(house.ok(&["run", "--rm", &name, "echo", "back"]).await, "back");
    house.close().await;
}

async fn an_image_for_several_platforms_is_pushed_whole(docker: Peer) {
    let house = House::new(docker).await;
    let name = format!("{REGISTRY}/ann/several:1");
    let index = house.built_for(&["linux/amd64", "linux/arm64"], &name).await;
    house
        .docker_with(
            &["login", REGISTRY, "-u", "ann", "--password-stdin"],
            PASSWORD.as_bytes(),
        )
        .await;
    let pushed = house.ok(&["push", &name]).await;
    assert!(pushed.contains(&format!("1: digest: {index} size: ")), "{pushed}");

    // What was pulled is the part for this machine, under the name of the whole.
    house.ok(&["rmi", &name]).await;
    house.ok(&["pull", &name]).await;
    let other = format!("{REGISTRY}/ann/other:1");
    house.ok(&["tag", &name, &other]).await;
    house.ok(&["push", &other]).await;
    house.close().await;
}

async fn push_without_login_is_denied(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let name = format!("{REGISTRY}/ann/app:1");
    house.ok(&["tag", "busybox", &name]).await;
    house.docker(&["push", &name]).await.failed(1, "denied");
    house
        .docker(&["push", &format!("{REGISTRY}/ann/none:1")])
        .await
        .failed(1, "does not exist locally");
    house.close().await;
}

async fn save_and_load(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let id = house.ok(&["images", "-q", "--no-trunc"]).await;
    let archive = house.path("saved.tar");
    let archive = archive.to_str().unwrap();
    house.ok(&["save", "-o", archive, "busybox"]).await;
    house.ok(&["rmi", "busybox"]).await;
    let loaded = house.ok(&["load", "-i", archive]).await;
    assert_eq!(loaded, "Loaded image: busybox:latest");
    assert_eq!(house.ok(&["images", "-q", "--no-trunc"]).await, id);
    house
        .docker(&["save", "-o", archive, "none"])
        .await
        .failed(1, "No such image");
    std::fs::write(archive, "no tar at all").unwrap();
    assert_eq!(house.docker(&["load", "-i", archive]).await.code, Some(1));
    house.close().await;
}

async fn import_a_root_file_system(docker: Peer) {
    let house = House::new(docker).await;
    let tar = shipway_testkit::busybox_root().bytes();
    let said = house
        .docker_with(
            &["import", "--change", "CMD [\"echo\", \"in\"]", "-", "mine:1"],
            &tar,
        )
        .await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(house.ok(&["run", "--rm", "mine:1"]).await, "in");
    house.close().await;
}
