//! COPY onto nothing: the layer is the same whether its files ever lay in a directory or not, and needs no keeper.

use shipway_build::{BuildRequest, Context};
use shipway_oci::Digest;

use crate::house::{House, context, request};

shipway_testkit::tests!(
    a_layer_is_the_same_with_and_without_a_tree,
    no_keeper_is_started_for_what_nobody_looks_at,
    what_a_later_build_needs_is_unpacked_from_the_layer,
    a_conflict_is_refused_as_in_a_tree,
    untouched_files_are_not_read_again,
    a_wrong_memory_ends_the_build_once,
);

fn files() -> (tempfile::TempDir, Context) {
    let long = format!("deep/{}/{}/file", "d".repeat(120), "e".repeat(90));
    let files = [
        ("a.txt", "a"),
        ("a/b", "b"),
        ("a-b", "between a and what is in it"),
        ("empty", ""),
        ("bin/tool", "#!/bin/sh\n"),
        (&long, "far below"),
    ];
    let (folder, context) = context(&files);
    let at = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("../a.txt", at("bin/link")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(at("bin/tool"), mode).unwrap();
    // More than a block of the compressor.
    std::fs::write(at("large"), vec![b'x'; 2_500_000]).unwrap();
    (folder, context)
}

fn uncached(files: &Context, text: &str) -> BuildRequest {
    let mut request = request(files.clone(), text);
    request.no_cache = true;
    request
}

/// The layers of what is built of a text.
async fn layers(house: &House, files: &Context, text: &str) -> Vec<Digest> {
    let (built, _) = house.built(uncached(files, text)).await;
    let layers = house.image(&built).layers.into_iter();
    layers.map(|layer| layer.digest).collect()
}

async fn a_layer_is_the_same_with_and_without_a_tree() {
    let house = House::new().await;
    let (_folder, files) = files();
    for copy in [
        "COPY . /",
        "COPY . /some/where/",
        "COPY a.txt /renamed",
        "COPY --chown=7:8 --chmod=u=rwX,go=rX . /owned/by/seven",
        "COPY --chmod=4711 bin/tool /sbin/tool",
        "COPY --parents bin/* ./a/b /kept/",
        "COPY a bin /merged/",
        "COPY a.txt <<FILE /texts/\nsaid here\nFILE",
        "COPY empty /",
    ] {
        let straight = layers(&house, &files, &format!("FROM scratch\n{copy}\n")).await;
        // Another stage stands on it, so that its files are needed.
        let tree = layers(
            &house,
            &files,
            &format!("FROM scratch AS below\n{copy}\nFROM below\n"),
        )
        .await;
        assert_eq!(straight, tree, "{copy}");
        let linked = copy.replacen("COPY", "COPY --link", 1);
        let straight = layers(&house, &files, &format!("FROM busybox\n{linked}\n")).await;
        let tree = layers(&house, &files, &format!("FROM busybox\n{linked}\nRUN true\n")).await;
        assert_eq!(straight, tree, "{linked}");
    }
}

async fn no_keeper_is_started_for_what_nobody_looks_at() {
    let house = House::new().await.without_keepers().await;
    let (_folder, files) = files();
    let text = "FROM scratch\nCOPY . /files/\nCOPY --link a.txt /more/\nCMD [\"x\"]\n";
    assert_eq!(layers(&house, &files, text).await.len(), 2);
}

async fn what_a_later_build_needs_is_unpacked_from_the_layer() {
    let house = House::new().await;
    let (_folder, files) = files();
    let text = "FROM busybox\nCOPY --link . /files/\n";
    house.built(request(files.clone(), text)).await;
    let more = format!("{text}RUN cat /files/a.txt /files/bin/link\n");
    let (_, witness) = house.built(request(files, &more)).await;
    assert_eq!(witness.output(3), "aa");
}

async fn a_conflict_is_refused_as_in_a_tree() {
    let house = House::new().await;
    let (_folder, files) = context(&[("one/x", "a file"), ("two/x/y", "in a directory")]);
    let (refused, _) = house
        .build(uncached(&files, "FROM scratch\nCOPY one two /\n"))
        .await;
    let said = shipway_oci::with_causes(&refused.unwrap_err());
    assert!(
        said.contains("cannot copy a directory over something else"),
        "{said}"
    );
}

/// The memory of the only context that a house was given.
fn memory(house: &House) -> std::path::PathBuf {
    let directory = house.directory.path().join("data/context-hashes");
    let mut files = std::fs::read_dir(directory).unwrap();
    files.next().unwrap().unwrap().path()
}

/// Files that were not touched for a while.
async fn settled(house: &House) -> (tempfile::TempDir, Context) {
    let (folder, files) = context(&[("f", "remembered")]);
    // A change of status cannot be set back, so it is waited for that the builds find it old enough.
    let text = "FROM scratch\nCOPY f /\n";
    let remembered = async {
        loop {
            house.built(uncached(&files, text)).await;
            if std::fs::metadata(memory(house)).unwrap().len() > 48 {
                return;
            }
        }
    };
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, remembered).await.unwrap();
    (folder, files)
}

async fn untouched_files_are_not_read_again() {
    let house = House::new().await;
    let (folder, files) = settled(&house).await;
    let text = "FROM scratch\nCOPY f /again/\n";
    let (one, _) = house.built(request(files.clone(), text)).await;
    // Another file under that name is another one, whatever its size and time of modification.
    let at = folder.path().join("f");
    let modified = std::fs::metadata(&at).unwrap().modified().unwrap();
    std::fs::write(&at, "REMEMBERED").unwrap();
    std::fs::File::options()
        .write(true)
        .open(&at)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let (two, _) = house.built(request(files, text)).await;
    assert_ne!(one.manifest, two.manifest);
}

async fn a_wrong_memory_ends_the_build_once() {
    let house = House::new().await;
    let (_folder, files) = settled(&house).await;
    // A memory whose sum is right, of another content.
    let file = memory(&house);
    let mut bytes = std::fs::read(&file).unwrap();
    let body = bytes.len() - 32;
    bytes[body - 1] ^= 1;
    let sum = blake3::hash(&bytes[..body]);
    bytes[body..].copy_from_slice(sum.as_bytes());
    std::fs::write(&file, bytes).unwrap();
    let (refused, _) = house.build(uncached(&files, "FROM scratch\nCOPY f /\n")).await;
    let said = shipway_oci::with_causes(&refused.unwrap_err());
    assert!(said.contains("changed while the build was reading it"), "{said}");
    house.built(uncached(&files, "FROM scratch\nCOPY f /\n")).await;
}
