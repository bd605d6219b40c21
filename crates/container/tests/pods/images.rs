//! Names, archives, imports, pulls.

use shipway_container::{
    ImagesError, ImportError, ImportOptions, LoadError, PullError, PullOptions, PullOutcome, PullPolicy,
    PullSource, SaveImage,
};
use shipway_oci::{
    Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, Manifest, Platform, Reference, media_type,
};
use shipway_sandbox::ExitStatus;
use shipway_store::Scope;
use shipway_testkit::{Peer, Tar};

use crate::harness::tests;
use crate::house::{House, busybox_tar, run, script};

tests!(
    an_import_has_its_configuration_and_runs,
    the_same_tar_gives_the_same_image,
    what_is_no_tar_is_not_imported,
    images_are_found_by_name_and_id,
    an_archive_brings_everything_back,
    an_old_docker_archive_is_understood,
    of_an_archive_only_what_its_images_name_is_kept,
    a_damaged_archive_is_refused,
    an_archive_brings_all_its_layers,
    an_index_that_is_named_often_is_loaded_once_with_all_its_names,
    skopeo_reads_our_archives_and_we_read_its,
    an_import_stands_in_for_an_unreachable_registry_only,
    a_newer_import_is_not_hidden_by_the_older_one,
);

fn reference(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

async fn an_import_has_its_configuration_and_runs() {
    let house = House::new().await;
    let tar = busybox_tar();
    let changes = [
        "ENTRYPOINT [\"echo\", \"hello\"]",
        "CMD [\"world\"]",
        "WORKDIR /tmp",
    ];
    for tar in [tar.clone(), zstd::encode_all(tar.as_slice(), 1).unwrap()] {
        let image = house.import("registry.example.com/a/b:1", &tar, &changes);
        assert_eq!(image.config.config.working_dir, "/tmp");
        let pod = house.pod().await;
        let mut options = script(&image, "");
        options.command = None;
        assert_eq!(
            run(&pod, options).await,
            (ExitStatus::Code(0), "hello world\n".into())
        );
        pod.close().await;
    }
}

async fn the_same_tar_gives_the_same_image() {
    let house = House::new().await;
    let tar = busybox_tar();
    let first = house.import("a", &tar, &[]);
    assert_eq!(house.import("b", &tar, &[]).manifest, first.manifest);
    assert_ne!(house.import("b", &tar, &["USER ann"]).manifest, first.manifest);
}

async fn what_is_no_tar_is_not_imported() {
    let house = House::new().await;
    let options = || ImportOptions::new(Scope::user(), Some(reference("a")));
    let images = house.runtime.images();
    assert!(matches!(
        images.import(&b"no tar"[..], options()),
        Err(ImportError::Tar { .. })
    ));
    assert!(matches!(
        images.import(&[7_u8; 4096][..], options()),
        Err(ImportError::Tar { .. })
    ));
    assert!(
        images
            .find(&Scope::user(), &reference("a"))
            .await
            .unwrap()
            .is_none()
    );
}

async fn images_are_found_by_name_and_id() {
    let house = House::new().await;
    let images = house.runtime.images();
    let image = house.busybox();
    let scope = Scope::user();
    images
        .tag(&scope, &image.manifest, &reference("other:2"))
        .await
        .unwrap();
    for text in [
        "busybox",
        "docker.io/library/busybox:latest",
        "other:2",
        image.id.as_ref(),
        image.id.short(),
        image.manifest.short(),
    ] {
        let found = images.resolve(&scope, text).await.unwrap();
        assert_eq!(found.map(|found| found.id), Some(image.id.clone()), "{text}");
    }
    let by_digest = reference("busybox").with_digest(image.manifest.clone());
    assert!(images.find(&scope, &by_digest).await.unwrap().is_some());
    for text in ["nobody", "sha256:00", "", "ffffffff"] {
        assert!(images.resolve(&scope, text).await.unwrap().is_none(), "{text}");
    }
    assert!(
        images
            .find(&Scope::job(1), &reference("busybox"))
            .await
            .unwrap()
            .is_none(),
        "another scope sees nothing"
    );
    let listed = images.list(&scope).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].references, [reference("busybox"), reference("other:2")]);
    assert!(images.untag(&scope, &reference("busybox")).await.unwrap());
    assert!(!images.untag(&scope, &reference("busybox")).await.unwrap());
    assert!(images.remove(&scope, &image.manifest).await.unwrap());
    assert!(images.list(&scope).await.unwrap().is_empty());
    assert!(matches!(
        images.tag(&scope, &image.manifest, &reference("x")).await,
        Err(ImagesError::Name { .. })
    ));
}

async fn an_archive_brings_everything_back() {
    let (house, other) = (House::new().await, House::new().await);
    let images = house.runtime.images();
    let image = house.busybox();
    let small = house.import("small:1", &Tar::new().file("x", "y").bytes(), &[]);
    let save = |references: &[&str], image: &shipway_container::Image| SaveImage {
        image: image.clone(),
        references: references.iter().map(|name| reference(name)).collect(),
    };
    let wanted = [
        save(&["busybox", "registry.example.com/b:2"], &image),
        save(&[], &small),
    ];
    let mut archive = Vec::new();
    images.save(&wanted, &mut archive).unwrap();
    let mut again = Vec::new();
    images.save(&wanted, &mut again).unwrap();
    assert!(archive == again, "the same images give the same archive");

    let scope = Scope::job(7);
    for archive in [archive.clone(), zstd::encode_all(archive.as_slice(), 1).unwrap()] {
        let mut loaded = other.runtime.images().load(archive.as_slice(), &scope).unwrap();
        loaded.sort_by_key(|loaded| loaded.references.len());
        assert_eq!(loaded.len(), 2);
        assert_eq!(
            (&loaded[0].image.manifest, loaded[0].references.len()),
            (&small.manifest, 0)
        );
        assert_eq!(loaded[1].image.manifest, image.manifest);
        assert_eq!(
            loaded[1].references,
            [reference("busybox"), reference("registry.example.com/b:2")]
        );
    }
    let found = other
        .runtime
        .images()
        .find(&scope, &reference("busybox"))
        .await
        .unwrap()
        .unwrap();
    let pod = other.pod().await;
    assert_eq!(run(&pod, script(&found, "echo ran")).await.1, "ran\n");
    pod.close().await;
}

/// What docker wrote before it wrote OCI layouts: a directory per layer, links for layers that are shared.
fn old_archive(layer: &[u8], diff_id: &Digest) -> Vec<u8> {
    let mut config = ImageConfig::new(&Platform::host());
    config.rootfs.diff_ids = vec![diff_id.clone(), diff_id.clone()];
    let config = config.to_json().unwrap();
    let name = Digest::sha256(&config);
    let manifest = format!(
        r#"[{{"Config":"{0}.json","RepoTags":["old:1","localhost:5000/old:2"],"Layers":["aa/layer.tar","bb/layer.tar"]}}]"#,
        name.hex()
    );
    Tar::new()
        .directory("aa", 0o755, (0, 0))
        .file("aa/VERSION", "1.0")
        .file("aa/layer.tar", layer)
        .link("bb/layer.tar", "../aa/layer.tar")
        .file(&format!("{}.json", name.hex()), config)
        .file("manifest.json", manifest)
        .file("repositories", "{}")
        .bytes()
}

async fn an_old_docker_archive_is_understood() {
    let house = House::new().await;
    let layer = busybox_tar();
    let archive = old_archive(&layer, &Digest::sha256(&layer));
    let loaded = house
        .runtime
        .images()
        .load(archive.as_slice(), &Scope::user())
        .unwrap();
    assert_eq!(
        loaded[0].references,
        [reference("old:1"), reference("localhost:5000/old:2")]
    );
    let pod = house.pod().await;
    assert_eq!(run(&pod, script(&loaded[0].image, "echo ran")).await.1, "ran\n");
    pod.close().await;
}

/// The archive behind a thousand files that no image is made of, some of them under the names of blobs.
fn among_strangers(archive: &[u8]) -> Vec<u8> {
    let mut strangers = Tar::new();
    for number in 0..1000 {
        let content = format!("stranger {number}");
        let path = match number % 2 {
            0 => format!("stranger-{number}"),
            _ => format!("blobs/sha256/{}", Digest::sha256(content.as_bytes()).hex()),
        };
        strangers = strangers.file(&path, content);
    }
    let mut bytes = strangers.bytes();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end.next_multiple_of(512));
    bytes.extend_from_slice(archive);
    bytes
}

async fn of_an_archive_only_what_its_images_name_is_kept() {
    let (house, maker) = (House::new().await, House::new().await);
    let root = Tar::new().file("x", "y").bytes();
    let image = maker.import("a", &root, &[]);
    let mut layout = Vec::new();
    let saved = SaveImage {
        image: image.clone(),
        references: vec![reference("a")],
    };
    maker.runtime.images().save(&[saved], &mut layout).unwrap();

    let (images, store) = (house.runtime.images(), house.runtime.store());
    let load = |archive: &[u8]| images.load(among_strangers(archive).as_slice(), &Scope::user());
    assert_eq!(load(&layout).unwrap()[0].image.manifest, image.manifest);
    // Its configuration and its layer; the manifest is a row.
    assert_eq!(store.usage().unwrap().blobs, 2);

    let other = Tar::new().file("x", "z").bytes();
    load(&old_archive(&other, &Digest::sha256(&other))).unwrap();
    assert_eq!(store.usage().unwrap().blobs, 4, "its layer is there twice");

    // What is refused leaves nothing.
    let nothing = Digest::sha256(b"another layer");
    load(&old_archive(b"yet another layer", &nothing)).unwrap_err();
    load(&Tar::new().file("x", "y").bytes()).unwrap_err();
    assert_eq!(store.usage().unwrap().blobs, 4);
    let incoming = std::fs::read_dir(store.directory().join("incoming")).unwrap();
    assert_eq!(incoming.count(), 0);
}

/// A layer that registries need not hold is none that an archive may leave out: its digest may be that of a stranger's.
async fn an_archive_brings_all_its_layers() {
    let house = House::new().await;
    let stranger = house.runtime.store().put_blob(b"a stranger's layer").unwrap();
    let config = ImageConfig::new(&Platform::host()).to_json().unwrap();
    let layer = Descriptor::new(
        media_type::OCI_LAYER_NONDISTRIBUTABLE_GZIP,
        stranger.digest,
        stranger.size,
    );
    let manifest = ImageManifest::new(Descriptor::of(media_type::OCI_CONFIG, &config), vec![layer]);
    let manifest = Manifest::Image(manifest).to_json().unwrap();
    let index = ImageIndex::new(vec![Descriptor::of(media_type::OCI_MANIFEST, &manifest)]);
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::sha256(bytes).hex());
    let archive = Tar::new()
        .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", Manifest::Index(index).to_json().unwrap())
        .file(&path(&manifest), &manifest)
        .file(&path(&config), &config)
        .bytes();
    let refused = house.runtime.images().load(archive.as_slice(), &Scope::user());
    assert!(matches!(refused, Err(LoadError::Missing { .. })), "{refused:?}");
}

async fn a_damaged_archive_is_refused() {
    let house = House::new().await;
    let images = house.runtime.images();
    let load = |archive: &[u8]| images.load(archive, &Scope::user()).unwrap_err();
    let layer = Tar::new().file("x", "y").bytes();

    let wrong = old_archive(&layer, &Digest::sha256(b"another layer"));
    assert!(matches!(load(&wrong), LoadError::DiffId { .. }));
    assert!(matches!(load(&layer), LoadError::NoImages));
    assert!(matches!(load(b"no archive"), LoadError::Tar { .. }));
    let lacking = Tar::new()
        .file(
            "manifest.json",
            r#"[{"Config":"c.json","RepoTags":null,"Layers":null}]"#,
        )
        .bytes();
    assert!(matches!(load(&lacking), LoadError::Missing { .. }));
    let nonsense = Tar::new().file("manifest.json", "{").bytes();
    assert!(matches!(load(&nonsense), LoadError::Document { .. }));

    let names = vec!["\"a\""; 1001].join(",");
    let named = format!(r#"[{{"Config":"c.json","RepoTags":[{names}],"Layers":null}}]"#);
    let named = load(&Tar::new().file("manifest.json", named).bytes());
    assert!(
        matches!(
            named,
            LoadError::TooMany {
                what: "names",
                limit: 1000
            }
        ),
        "{named:?}"
    );

    let long = Tar::new().file(&"d/".repeat(3000), "x").bytes();
    assert!(matches!(load(&long), LoadError::TooMany { limit: 4096, .. }));

    let image = house.import("a", &layer, &[]);
    let mut archive = Vec::new();
    images
        .save(
            &[SaveImage {
                image,
                references: vec![reference("a")],
            }],
            &mut archive,
        )
        .unwrap();
    let cut = load(&archive[..archive.len() / 2]);
    assert!(
        matches!(cut, LoadError::Read { .. } | LoadError::Tar { .. }),
        "{cut:?}"
    );
    let place = archive
        .windows(layer.len())
        .position(|window| window == layer)
        .unwrap();
    archive[place + 512] ^= 1;
    assert!(
        matches!(load(&archive), LoadError::Commit { .. }),
        "a blob that is not what its name says"
    );
}

async fn skopeo_reads_our_archives_and_we_read_its() {
    let Some(skopeo) = Peer::find("skopeo") else {
        return;
    };
    let house = House::new().await;
    let images = house.runtime.images();
    let image = house.busybox();
    let directory = house.directory.path().to_owned();
    let ours = std::fs::File::create(directory.join("ours.tar")).unwrap();
    images
        .save(
            &[SaveImage {
                image: image.clone(),
                references: vec![reference("a:1")],
            }],
            ours,
        )
        .unwrap();
    for form in ["docker-archive", "oci-archive"] {
        let (from, to) = (
            format!("{form}:ours.tar"),
            format!("{form}:{form}.tar:example.com/b:2"),
        );
        let skopeo = skopeo.path().to_owned();
        let mut command = std::process::Command::new(skopeo);
        command
            .args(["copy", "--quiet", "--insecure-policy", &from, &to])
            .current_dir(&directory);
        assert!(
            tokio::task::spawn_blocking(move || command.status())
                .await
                .unwrap()
                .unwrap()
                .success(),
            "{form}"
        );
        let theirs = std::fs::File::open(directory.join(format!("{form}.tar"))).unwrap();
        let loaded = images.load(theirs, &Scope::job(1)).unwrap();
        assert_eq!(loaded[0].references, [reference("example.com/b:2")]);
        assert_eq!(loaded[0].image.id, image.id);
    }
}

async fn pull(
    house: &House,
    scope: &Scope,
    name: &Reference,
    policy: PullPolicy,
) -> Result<PullOutcome, PullError> {
    let options = PullOptions {
        policy,
        ..PullOptions::default()
    };
    house.runtime.images().pull(scope, name, options, &()).await
}

async fn a_newer_import_is_not_hidden_by_the_older_one() {
    let house = House::new().await;
    let images = house.runtime.images();
    let name = reference("registry.invalid/a/b:1");
    let import = |change: &str| {
        let mut options = ImportOptions::new(Scope::imported(), Some(name.clone()));
        options.changes = vec![change.parse().unwrap()];
        images.import(busybox_tar().as_slice(), options).unwrap()
    };
    for change in ["USER older", "USER newer"] {
        let imported = import(change);
        for scope in [Scope::user(), Scope::pulled("group/project:protected").unwrap()] {
            for policy in [PullPolicy::Always, PullPolicy::IfMissing, PullPolicy::Never] {
                let pulled = pull(&house, &scope, &name, policy).await.unwrap();
                assert_eq!(pulled.image.manifest, imported.manifest);
            }
        }
    }
}

async fn an_import_stands_in_for_an_unreachable_registry_only() {
    let house = House::new().await;
    let images = house.runtime.images();
    let (scope, imported) = (Scope::job(3), Scope::imported());
    // Nobody listens on the port of a listener that is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let name = reference(&format!("127.0.0.1:{port}/a/b:1"));

    assert!(
        matches!(pull(&house, &scope, &name, PullPolicy::Always).await, Err(PullError::Registry { source, .. }) if source.is_unreachable())
    );
    assert!(matches!(
        pull(&house, &scope, &name, PullPolicy::Never).await,
        Err(PullError::Absent { .. })
    ));

    let options = ImportOptions::new(imported, Some(name.clone()));
    let image = images.import(busybox_tar().as_slice(), options).unwrap();
    assert!(images.find(&scope, &name).await.unwrap().is_none());
    // It stands in each time, and never becomes an image of the scope.
    for policy in [PullPolicy::Always, PullPolicy::IfMissing, PullPolicy::IfMissing] {
        let outcome = pull(&house, &scope, &name, policy).await.unwrap();
        let source = outcome.source;
        assert!(
            matches!(source, PullSource::Imported { unreachable: Some(_) }),
            "{policy:?}: {source:?}"
        );
        assert_eq!(outcome.image.manifest, image.manifest);
    }
    let never = pull(&house, &scope, &name, PullPolicy::Never).await.unwrap();
    assert!(matches!(never.source, PullSource::Imported { unreachable: None }));
    assert!(images.find(&scope, &name).await.unwrap().is_none());

    // A registry that answers has spoken, whatever was imported.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let answering = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while client.read(&mut request).await.unwrap_or(0) > 0 {
                    let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
                    client.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    for policy in [PullPolicy::Always, PullPolicy::IfMissing] {
        let pulled = pull(&house, &scope, &name, policy).await;
        assert!(
            matches!(&pulled, Err(PullError::Registry { source, .. }) if !source.is_unreachable()),
            "{policy:?}: {pulled:?}"
        );
    }
    answering.abort();
}

async fn an_index_that_is_named_often_is_loaded_once_with_all_its_names() {
    let house = House::new().await;
    let mut files = Tar::new();
    let mut keep = |bytes: &[u8]| {
        let digest = Digest::sha256(bytes);
        files = std::mem::take(&mut files).file(&format!("blobs/sha256/{}", digest.hex()), bytes);
        digest
    };
    let layer = Tar::new().file("x", "y").bytes();
    let diff_id = keep(&layer);
    let mut children = Vec::new();
    let mut configs = Vec::new();
    for architecture in ["amd64", "s390x"] {
        let config = format!(
            "{{\"architecture\":\"{architecture}\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{diff_id}\"]}}}}"
        );
        let id = keep(config.as_bytes());
        configs.push(format!("blobs/sha256/{}", id.hex()));
        let manifest = ImageManifest::new(
            Descriptor::new(media_type::OCI_CONFIG, id, config.len() as u64),
            vec![Descriptor::new(
                media_type::OCI_LAYER_TAR,
                diff_id.clone(),
                layer.len() as u64,
            )],
        );
        let bytes = Manifest::Image(manifest).to_json().unwrap();
        let mut child = Descriptor::new(media_type::OCI_MANIFEST, keep(&bytes), bytes.len() as u64);
        child.platform = Some(format!("linux/{architecture}").parse().unwrap());
        children.extend(vec![child; 100]);
    }
    let nested = Manifest::Index(ImageIndex::new(children)).to_json().unwrap();
    let nested = Descriptor::new(media_type::OCI_INDEX, keep(&nested), nested.len() as u64);
    let named = |name: &str| {
        let mut entry = nested.clone();
        entry.annotations.insert(
            "io.containerd.image.name".to_owned(),
            format!("docker.io/library/{name}"),
        );
        entry
    };
    let index = Manifest::Index(ImageIndex::new(vec![named("a:1"), named("a:2")]));
    let docker = serde_json::json!([
        {"Config": configs[0], "RepoTags": ["a:3"], "Layers": [format!("blobs/sha256/{}", diff_id.hex())]}
    ]);
    let archive = files
        .file("index.json", index.to_json().unwrap())
        .file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}")
        .file("manifest.json", docker.to_string());
    let loaded = house
        .runtime
        .images()
        .load(archive.bytes().as_slice(), &Scope::user())
        .unwrap();
    let [image] = &loaded[..] else {
        panic!("{loaded:?}")
    };
    // Of the index the one for this machine, under each of the names.
    let chosen = &image.image.manifest;
    let mut names: Vec<String> = image.references.iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in ["a:1", "a:2", "a:3"] {
        let found = house
            .runtime
            .images()
            .find(&Scope::user(), &reference(name))
            .await
            .unwrap();
        assert_eq!(&found.unwrap().manifest, chosen, "{name}");
    }
}
