//! Unpacking: what is there afterwards, once and by many at a time, and what is refused.

use std::path::{Path, PathBuf};

use shipway_container::{
    ExcessSignal, Image, LayerError, LayerPath, Pod, PodOptions, PruneLayersError, Swept,
};
use shipway_oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, Manifest, Platform, Reference, chain_ids, media_type,
};
use shipway_sandbox::{DiskUsage, ExitStatus, IdMap};
use shipway_store::{ManifestWrite, Meter, Scope};
use shipway_testkit::Tar;

use crate::harness::tests;
use crate::house::{House, busybox_tar, eventually, open, open_with, run, script};

tests!(
    layers_of_every_compression_stack_up,
    implied_directories_look_as_below,
    many_at_once_unpack_each_layer_once,
    what_a_pod_leaves_half_removed_is_no_layer,
    a_layer_that_is_not_as_promised_is_refused,
    the_names_of_unpacked_layers_open_nothing,
    a_built_layer_is_adopted_once,
    layers_are_pruned_when_nobody_uses_them,
    layers_that_cannot_be_removed_are_used_no_more,
    layers_of_an_earlier_boot_are_unpacked_again,
    pods_with_other_ids_keep_neither_layers_nor_leftovers,
);

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image of these layers: blob and uncompressed tar.
fn image(house: &House, layers: &[(Vec<u8>, Vec<u8>)]) -> Image {
    let store = house.runtime.store();
    let mut config = ImageConfig::new(&Platform::host());
    let mut descriptors = Vec::new();
    for (blob, tar) in layers {
        let info = store.put_blob(blob).unwrap();
        descriptors.push(Descriptor::new(
            media_type::OCI_LAYER_GZIP,
            info.digest,
            info.size,
        ));
        config.rootfs.diff_ids.push(Digest::sha256(tar));
    }
    let info = store.put_blob(&config.to_json().unwrap()).unwrap();
    let config = Descriptor::new(media_type::OCI_CONFIG, info.digest, info.size);
    let manifest = Manifest::Image(ImageManifest::new(config, descriptors));
    let write = ManifestWrite::new(Some(manifest.media_type()), manifest.to_json().unwrap()).unwrap();
    let reference = Reference::parse("layers").unwrap();
    store.put_image(&Scope::user(), &reference, &write).unwrap();
    Image::load(store, Some(reference), &write.digest, &Platform::host()).unwrap()
}

async fn layers_of_every_compression_stack_up() {
    let house = House::new().await;
    let base = busybox_tar();
    let second = Tar::new()
        .directory("d", 0o755, (0, 0))
        .file("d/gone", "x")
        .file("d/stays", "second")
        .bytes();
    let third = Tar::new()
        .directory("d", 0o700, (1000, 1000))
        .file("d/.wh.gone", "")
        .file("d/new", "third")
        .bytes();
    let image = image(
        &house,
        &[
            (gzip(&base), base),
            (second.clone(), second),
            (zstd::encode_all(third.as_slice(), 1).unwrap(), third),
        ],
    );
    let pod = house.pod().await;
    let (status, output) = run(&pod, script(&image, "ls /d; cat /d/*; stat -c ' %a %u' /d")).await;
    assert_eq!(
        (status, output.as_str()),
        (ExitStatus::Code(0), "new\nstays\nthirdsecond 700 1000\n")
    );
    pod.close().await;
}

async fn implied_directories_look_as_below() {
    let house = House::new().await;
    let base = busybox_tar();
    let second = Tar::new()
        .directory("srv", 0o2750, (1000, 1001))
        .directory("srv/a", 0o711, (7, 8))
        .bytes();
    let third = Tar::new().file("srv/a/b/file", "x").bytes();
    let image = image(
        &house,
        &[
            (gzip(&base), base),
            (second.clone(), second),
            (third.clone(), third),
        ],
    );
    let pod = house.pod().await;
    let (_, output) = run(&pod, script(&image, "stat -c '%a %u:%g' /srv /srv/a /srv/a/b")).await;
    assert_eq!(output, "2750 1000:1001\n711 7:8\n755 0:0\n");
    pod.close().await;
}

/// Those of another pod.
fn options(pod: &Pod) -> PodOptions {
    PodOptions {
        name: "other".into(),
        egress: pod.egress().clone(),
        excess: ExcessSignal::default(),
        written: Meter::default(),
    }
}

async fn many_at_once_unpack_each_layer_once() {
    let house = House::new().await;
    let image = house.busybox();
    // A second process on the same data directory, as far as this module can tell: it shares nothing but the disk.
    let other = open(&house.data()).await;
    let (first, second) = (house.pod().await, house.pod().await);
    let third = other.start_pod(options(&first)).await.unwrap();
    let results =
        futures::future::join_all([&first, &second, &third, &first].map(|pod| pod.ensure_layers(&image)))
            .await;
    let expected = vec![LayerPath::of_chain(&chain_ids(&image.config.rootfs.diff_ids)[0])];
    for result in results {
        assert_eq!(result.unwrap(), expected);
    }
    for pod in [&first, &second, &third] {
        let scratch = house.keeper().join(pod.directory()).join("scratch");
        assert_eq!(
            std::fs::read_dir(scratch).unwrap().count(),
            0,
            "nothing unfinished stays"
        );
        assert_eq!(run(pod, script(&image, "echo ok")).await.1, "ok\n");
    }
    for pod in [first, second, third] {
        pod.close().await;
    }
}

async fn what_a_pod_leaves_half_removed_is_no_layer() {
    const FILES: usize = 1500;
    const ROUNDS: u32 = 12;
    let house = House::new().await;
    let of_round = |round: u32| {
        let mut tar = Tar::new()
            .file("round", round.to_string())
            .directory("many", 0o755, (0, 0));
        for number in 0..FILES {
            tar = tar.file(&format!("many/{number}"), "x");
        }
        let tar = tar.bytes();
        image(&house, &[(gzip(&tar), tar)])
    };
    for round in 0..ROUNDS {
        let image = of_round(round);
        let pod = house.pod().await;
        let scratch = house.keeper().join(pod.directory()).join("scratch");
        let last = format!("many/{}", FILES - 1);
        let is_nearly_done = async {
            let begun = || std::fs::read_dir(&scratch).into_iter().flatten().flatten();
            while !begun().any(|tree| tree.path().join(&last).exists()) {
                tokio::task::yield_now().await;
            }
        };
        // The unpacking is given up, and goes on by itself while the pod is removed.
        tokio::select! {
            () = is_nearly_done => {}
            done = pod.ensure_layers(&image) => drop(done.unwrap()),
        }
        pod.close().await;
        let pod = house.pod().await;
        let layer = pod.ensure_layers(&image).await.unwrap().remove(0);
        let many = house.keeper().join(layer.as_path()).join("many");
        assert_eq!(std::fs::read_dir(many).unwrap().count(), FILES, "round {round}");
        pod.close().await;
    }
}

async fn a_layer_that_is_not_as_promised_is_refused() {
    let house = House::new().await;
    let pod = house.pod().await;
    let tar = busybox_tar();
    let other = Tar::new().file("other", "x").bytes();

    let wrong = image(&house, &[(gzip(&tar), other.clone())]);
    assert!(matches!(
        pod.ensure_layers(&wrong).await,
        Err(LayerError::DiffId { .. })
    ));

    let many = image(&house, &vec![(gzip(&other), other.clone()); 201]);
    assert!(matches!(
        pod.ensure_layers(&many).await,
        Err(LayerError::TooMany { layers: 201 })
    ));

    let mut cut = gzip(&tar);
    cut.truncate(cut.len() / 2);
    let cut = image(&house, &[(cut, tar.clone())]);
    assert!(matches!(
        pod.ensure_layers(&cut).await,
        Err(LayerError::Read { .. })
    ));

    let noise = image(&house, &[(vec![b'x'; 2048], vec![b'x'; 2048])]);
    assert!(matches!(
        pod.ensure_layers(&noise).await,
        Err(LayerError::Unpack { .. })
    ));

    let mut missing = house.busybox();
    missing.layers[0].digest = Digest::sha256(b"not in the store");
    assert!(matches!(
        pod.ensure_layers(&missing).await,
        Err(LayerError::Read { .. })
    ));

    let layers = house.keeper().join("layers");
    assert_eq!(
        std::fs::read_dir(layers).unwrap().count(),
        0,
        "no refused layer is left"
    );
    let scratch = house.keeper().join(pod.directory()).join("scratch");
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0);
    pod.close().await;
}

/// Whoever knows the diffIDs of another image gets none of its files by claiming them for layers of their own.
async fn the_names_of_unpacked_layers_open_nothing() {
    let house = House::new().await;
    let pod = house.pod().await;
    let (root, secret) = (busybox_tar(), Tar::new().file("secret", "of another").bytes());
    let victim = image(
        &house,
        &[(gzip(&root), root.clone()), (gzip(&secret), secret.clone())],
    );
    pod.ensure_layers(&victim).await.unwrap();

    let mine = gzip(&Tar::new().file("mine", "x").bytes());
    let forged = image(&house, &[(mine.clone(), root.clone()), (mine, secret.clone())]);
    assert_eq!(
        forged.config.rootfs.diff_ids, victim.config.rootfs.diff_ids,
        "the claim is the same"
    );
    assert!(matches!(
        pod.ensure_layers(&forged).await,
        Err(LayerError::DiffId { .. })
    ));
    // The same bytes, compressed in another way, are the same layer.
    let stored = image(&house, &[(root.clone(), root.clone()), (secret.clone(), secret)]);
    assert_eq!(
        pod.ensure_layers(&stored).await.unwrap(),
        pod.ensure_layers(&victim).await.unwrap()
    );
    // What has been seen is not read again.
    for layer in &stored.layers {
        let (algorithm, hex) = (layer.digest.algorithm().name(), layer.digest.hex());
        let blobs = house.runtime.store().directory().join("blobs").join(algorithm);
        std::fs::remove_file(blobs.join(&hex[..2]).join(hex)).unwrap();
    }
    pod.ensure_layers(&stored).await.unwrap();
    pod.close().await;
}

async fn a_built_layer_is_adopted_once() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    let base = pod.ensure_layers(&image).await.unwrap();
    let chain = Digest::sha256(b"a chain id of its own");
    let holds = DiskUsage { bytes: 7, files: 2 };
    let before = pod.written().bytes();
    for round in 0..2 {
        let container = pod
            .create(script(&image, &format!("echo {round} > /built")))
            .await
            .unwrap();
        container.start().await.unwrap();
        assert_eq!(container.wait().await, ExitStatus::Code(0));
        let tree = container.upper().join("fs");
        let layer = pod.adopt_layer(&tree, &chain, holds).await.unwrap();
        assert_eq!(pod.find_layer(&chain), Some(layer));
        assert!(!house.keeper().join(tree).exists());
    }
    assert_eq!(pod.written().bytes(), before + 7, "the second one was dropped");
    let layers = vec![base[0].clone(), LayerPath::of_chain(&chain)];
    let mut options = shipway_container::ContainerOptions::new(shipway_container::Root::Layers(layers));
    options.command = Some(["cat", "/built"].map(str::to_owned).into());
    options.network = shipway_container::Network::None;
    assert_eq!(run(&pod, options).await.1, "0\n", "the first one stays");
    pod.close().await;
}

async fn layers_are_pruned_when_nobody_uses_them() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    pod.ensure_layers(&image).await.unwrap();
    assert!(matches!(
        house.runtime.prune_layers().await,
        Err(PruneLayersError::InUse)
    ));
    pod.close().await;
    assert_eq!(house.runtime.prune_layers().await.unwrap(), 1);
    assert_eq!(house.runtime.prune_layers().await.unwrap(), 0);
    let pod = house.pod().await;
    assert_eq!(run(&pod, script(&image, "echo again")).await.1, "again\n");
    pod.close().await;
}

async fn layers_that_cannot_be_removed_are_used_no_more() {
    // A directory of the machine's root is what no keeper can empty; anybody else's keeper can empty all that its user makes.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    let layer = house
        .keeper()
        .join(pod.ensure_layers(&image).await.unwrap().remove(0));
    pod.close().await;
    let stubborn = layer.join("stubborn");
    std::fs::create_dir(&stubborn).unwrap();
    std::fs::write(stubborn.join("file"), "").unwrap();

    assert!(matches!(
        house.runtime.prune_layers().await,
        Err(PruneLayersError::Remove { .. })
    ));
    assert!(!layer.exists(), "half a layer is in the place of a whole one");
    let pod = house.pod().await;
    assert_eq!(run(&pod, script(&image, "echo whole")).await.1, "whole\n");
    pod.close().await;

    let pods = house.keeper().join("pods");
    let left = std::fs::read_dir(&pods).unwrap().next().unwrap().unwrap().path();
    let [stubborn] = find(&left, "stubborn").try_into().unwrap();
    std::fs::remove_dir_all(stubborn).unwrap();
    house.runtime.sweep().await;
    eventually("the rest is swept", || !left.exists()).await;
}

/// What has this name in the directories of a directory.
fn find(directory: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let named = entries.map(|entry| entry.path().join(name));
    named.filter(|path| path.exists()).collect()
}

async fn layers_of_an_earlier_boot_are_unpacked_again() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    let layer = pod.ensure_layers(&image).await.unwrap().remove(0);
    let busybox = house.keeper().join(layer).join("bin/busybox");
    let record = house.keeper().with_added_extension("boot");
    let recorded = std::fs::read_to_string(&record).unwrap();

    std::fs::write(&record, "of another boot").unwrap();
    let beside = open(&house.data()).await.start_pod(options(&pod)).await.unwrap();
    assert!(busybox.exists(), "a pod lives on it");
    beside.close().await;
    pod.close().await;

    // As a power cut leaves what was not synced: its name and none of its bytes.
    std::fs::File::create(&busybox).unwrap();
    let pod = house.pod().await;
    assert_eq!(run(&pod, script(&image, "echo whole")).await.1, "whole\n");
    assert_eq!(std::fs::read_to_string(&record).unwrap(), recorded);
    pod.close().await;
}

/// Trees of one class of ids are of no use to another, and only its own keepers can remove them.
async fn pods_with_other_ids_keep_neither_layers_nor_leftovers() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    let layer = pod.ensure_layers(&image).await.unwrap().remove(0);
    pod.close().await;
    let busybox = house.keeper().join(layer).join("bin/busybox");

    let mut ids = IdMap::detect().unwrap();
    ids.uids.last_mut().unwrap().length -= 1;
    let other = open_with(&house.data(), ids).await;
    let living = other.start_pod(options(&pod)).await.unwrap();
    // As a power cut leaves what was not synced: its name and none of its bytes.
    std::fs::write(house.keeper().with_added_extension("boot"), "of another boot").unwrap();
    std::fs::File::create(&busybox).unwrap();
    let pod = house.pod().await;
    assert_eq!(run(&pod, script(&image, "echo whole")).await.1, "whole\n");
    pod.close().await;
    assert_eq!(house.runtime.prune_layers().await.unwrap(), 1);

    let dead = "0123456789abcdef0123456789abcdef";
    let (directory, lock) = (
        house.keeper().join("pods").join(dead),
        house.data().join("locks").join(dead),
    );
    std::fs::write(&lock, "").unwrap();
    let keeper = house.runtime.start_pod(options(&living)).await.unwrap();
    let made = Path::new("pods").join(dead);
    keeper.keeper().make_directory(&made, 0o755, (0, 0)).unwrap();
    keeper.close().await;
    assert_eq!(other.sweep().await, Swept::default());
    assert!(directory.exists() && lock.exists(), "its own class sweeps it");
    house.runtime.sweep().await;
    assert!(!directory.exists() && !lock.exists());
    living.close().await;
}
