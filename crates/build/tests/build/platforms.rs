//! Several platforms in one build: one index, and what does not depend on the platform is done once.

use shipway_build::{Compression, ImageOptions, MediaTypes};
use shipway_container::Image;
use shipway_oci::{Manifest, Platform, Reference, with_causes};
use shipway_store::Scope;
use shipway_testkit::Peer;

use crate::house::{House, context, request};

shipway_testkit::tests!(
    an_index_has_an_image_for_each_platform,
    what_platforms_share_is_done_once_without_the_cache_too,
    another_way_to_lay_it_down_needs_no_step,
    a_step_for_another_processor_runs_through_qemu
);

/// A stage that runs here whatever the platform, and one that takes a file from it.
const DOCKERFILE: &str = "FROM --platform=$BUILDPLATFORM busybox AS tools\n\
    RUN echo made > /made\n\
    FROM scratch\n\
    ARG TARGETARCH\n\
    COPY --from=tools /made /made\n\
    COPY $TARGETARCH.txt /arch\n\
    LABEL arch=$TARGETARCH\n";

fn several() -> Vec<Platform> {
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm64/v8"];
    platforms.map(|platform| platform.parse().unwrap()).to_vec()
}

async fn an_index_has_an_image_for_each_platform() {
    let house = House::new().await;
    let (_folder, files) = context(&[("amd64.txt", "one"), ("arm64.txt", "two")]);
    let mut wanted = request(files, DOCKERFILE);
    wanted.platforms = several();
    wanted.tags = vec![Reference::parse("app:1").unwrap()];
    let (built, _) = house.built(wanted).await;
    assert_eq!(built.id, built.manifest, "an index is its own id");
    let stored = house.store.image_manifest(&built.manifest).unwrap().unwrap();
    let Manifest::Index(index) = Manifest::parse(Some(&stored.media_type), &stored.bytes).unwrap() else {
        panic!("an index");
    };
    // arm64 was asked for in two spellings.
    assert_eq!(index.manifests.len(), 2);
    for (entry, (arch, text)) in index.manifests.iter().zip([("amd64", "one"), ("arm64", "two")]) {
        let platform = entry.platform.clone().unwrap();
        assert_eq!(platform, Platform::new("linux", arch));
        let image = Image::load(&house.store, None, &built.manifest, &platform).unwrap();
        assert_eq!(image.root, built.manifest);
        assert_eq!(image.manifest, entry.digest);
        assert_eq!(image.config.architecture, arch);
        assert_eq!(image.config.config.labels["arch"], arch);
        assert_eq!(house.file(&image, "arch").unwrap(), text.as_bytes());
        assert_eq!(house.file(&image, "made").unwrap(), b"made\n");
    }
    // One name, and the images of the index are not listed beside it.
    let listed = house.store.images(&Scope::user()).unwrap();
    let ours = listed
        .iter()
        .filter(|named| named.manifest == built.manifest)
        .count();
    assert_eq!((ours, listed.len()), (1, 2), "{listed:?}");
}

async fn what_platforms_share_is_done_once_without_the_cache_too() {
    let house = House::new().await;
    let (_folder, files) = context(&[("amd64.txt", "one"), ("arm64.txt", "two")]);
    let mut wanted = request(files, DOCKERFILE);
    wanted.platforms = several();
    wanted.no_cache = true;
    for _ in 0..2 {
        let (_, witness) = house.built(wanted.clone()).await;
        // The RUN of the second platform; its COPY of the same file is for another platform, and a key of its own.
        assert_eq!(witness.cached(), 1, "{:?}", witness.log());
    }
    wanted.no_cache = false;
    let (_, witness) = house.built(wanted).await;
    assert_eq!(witness.cached(), 6, "{:?}", witness.log());
}

async fn another_way_to_lay_it_down_needs_no_step() {
    let house = House::new().await;
    let (_folder, files) = context(&[("amd64.txt", "one"), ("arm64.txt", "two")]);
    let (built, _) = house.built(request(files, DOCKERFILE)).await;
    let options = ImageOptions {
        compression: Compression::new("zstd", None).unwrap(),
        force_compression: true,
        ..ImageOptions::default()
    };
    let compose = |options: &ImageOptions| house.builder.compose(&built, options, &[]);
    let zstd = compose(&options).unwrap();
    let manifest = |bytes: &[u8]| match Manifest::parse(None, bytes).unwrap() {
        Manifest::Image(image) => image,
        Manifest::Index(_) => panic!("an image"),
    };
    let layers = manifest(&zstd.manifests[0].bytes).layers;
    assert!(
        layers.iter().all(|layer| layer.media_type.ends_with("tar+zstd")),
        "{layers:?}"
    );
    // Made once: the second time nothing is compressed, and the answer is the same.
    assert_eq!(compose(&options).unwrap().root.digest, zstd.root.digest);
    assert_eq!(
        zstd.config, built.composition.config,
        "what is in the image does not change"
    );
    // Not forced, layers stay as the build made them.
    let mut unforced = options.clone();
    unforced.force_compression = false;
    unforced.compression = Compression::Uncompressed;
    assert_eq!(compose(&unforced).unwrap().root.digest, built.manifest);
    let docker = ImageOptions {
        media_types: MediaTypes::Docker,
        ..ImageOptions::default()
    };
    let docker = compose(&docker).unwrap();
    let bytes = String::from_utf8(docker.manifests[0].bytes.clone()).unwrap();
    assert!(
        bytes.contains("docker.image.rootfs.diff.tar.gzip") && !bytes.contains("vnd.oci"),
        "{bytes}"
    );
    let contradiction = ImageOptions {
        media_types: MediaTypes::Docker,
        ..options
    };
    assert!(compose(&contradiction).is_err());
}

/// A program for arm64 that makes the directory `/made` and ends.
fn arm_program() -> Vec<u8> {
    const CODE: [u32; 8] = [
        0x9280_0c60, // mov x0, #-100: the working directory
        0x1000_00e1, // adr x1, the path behind the code
        0xd280_3da2, // mov x2, #0755
        0xd280_0448, // mov x8, #34: mkdirat
        0xd400_0001, // svc #0
        0xd280_0000, // mov x0, #0
        0xd280_0ba8, // mov x8, #93: exit
        0xd400_0001, // svc #0
    ];
    const AT: u64 = 0x40_0000;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0".to_vec();
    let size = 64 + 56 + 4 * CODE.len() as u64 + 6;
    for word in [AT + 120, 64, 0] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // One segment, to be read and executed.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, AT, AT, size, size, 0x1000] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend(CODE.iter().flat_map(|word| word.to_le_bytes()));
    file.extend(b"/made\0");
    file
}

async fn a_step_for_another_processor_runs_through_qemu() {
    if Platform::host() == Platform::new("linux", "arm64") || Peer::find("qemu-aarch64-static").is_none() {
        return;
    }
    let house = House::new().await;
    let (folder, _) = context(&[]);
    let program = folder.path().join("program");
    std::fs::write(&program, arm_program()).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).unwrap();
    let files = shipway_build::Context::directory(folder.path());
    let mut wanted = request(
        files.clone(),
        "FROM scratch\nCOPY program /program\nRUN [\"/program\"]\n",
    );
    wanted.platforms = vec!["linux/arm64".parse().unwrap()];
    let (built, _) = house.built(wanted.clone()).await;
    let image = Image::load(&house.store, None, &built.manifest, &wanted.platforms[0]).unwrap();
    let top = house.layer(&image.layers[1].digest);
    assert_eq!(top, ["d0755 0:0   0 made/"]);
    // Nobody has programs of this one run: the answer says what is missing, and nothing else is tried.
    let mut nowhere = request(files, "FROM scratch\nCOPY program /program\nRUN [\"/program\"]\n");
    nowhere.platforms = vec!["linux/sparc".parse().unwrap()];
    let (result, _) = house.build(nowhere).await;
    let told = with_causes(&result.unwrap_err());
    assert!(told.contains("linux/sparc do not run on this machine"), "{told}");
}
