//! Named contexts, and stages that only the trigger of a base needs.

use shipway_build::{BuildRequest, Context};
use shipway_container::{ArchiveForm, ArchiveImage, DirectoryLayout, ImportOptions, write_archive};
use shipway_oci::{Reference, with_causes};
use shipway_store::Scope;
use shipway_testkit::busybox_root;

use crate::house::{House, context, request};

shipway_testkit::tests!(
    a_directory_stands_for_a_name,
    an_image_and_a_stage_stand_for_a_name,
    an_image_in_a_directory_stands_for_a_name,
    a_context_that_cannot_be_used_is_named,
    a_trigger_brings_the_stage_that_it_needs,
);

/// A build whose names stand for something else, as `NAME=VALUE`.
fn with(mut request: BuildRequest, contexts: &[(&str, &str)]) -> BuildRequest {
    for (name, value) in contexts {
        request
            .contexts
            .insert(name.parse().unwrap(), value.parse().unwrap());
    }
    request
}

async fn a_directory_stands_for_a_name() {
    let house = House::new().await;
    let (lib, _) = context(&[
        ("a.txt", "a"),
        ("sub/b.txt", "b"),
        ("secret", "s"),
        (".dockerignore", "secret\n"),
    ]);
    let lib = lib.path().to_str().unwrap();
    let text = "FROM busybox AS tools\nRUN false\nFROM busybox\nCOPY --from=lib *.txt sub /in/\n\
                RUN --mount=from=lib,target=/lib.d test \"$(cat /lib.d/sub/b.txt)\" = b && test ! -e /lib.d/secret\n\
                COPY --from=tools a.txt /tool\nCOPY --from=busybox:1 /sub/b.txt /image\n";
    let given = [("lib", lib), ("tools", lib), ("busybox:1", lib)];
    let asked = || with(request(Context::Empty, text), &given);
    let (built, witness) = house.built(asked()).await;
    let image = house.image(&built);
    for (path, content) in [
        ("in/a.txt", "a"),
        ("in/b.txt", "b"),
        ("tool", "a"),
        ("image", "b"),
    ] {
        assert_eq!(
            house.file(&image, path).as_deref(),
            Some(content.as_bytes()),
            "{path}"
        );
    }
    // The stage that was replaced did not run.
    assert!(
        witness.log().iter().all(|line| !line.contains("RUN false")),
        "{:?}",
        witness.log()
    );
    let (again, witness) = house.built(asked()).await;
    assert_eq!((again.id, witness.cached()), (built.id, 4));
    std::fs::write(format!("{lib}/sub/b.txt"), "other").unwrap();
    let (result, _) = house.build(asked()).await;
    assert!(result.is_err(), "what a mount holds is part of its key");

    let (built, _) = house
        .built(with(
            request(Context::Empty, "FROM root\nENV X=1\n"),
            &[("root", lib)],
        ))
        .await;
    let image = house.image(&built);
    assert_eq!(image.layers.len(), 1);
    let entries = house.layer(&image.layers[0].digest);
    assert!(
        entries[0].ends_with(" .dockerignore") && entries.len() == 4,
        "{entries:?}"
    );
}

async fn an_image_and_a_stage_stand_for_a_name() {
    let house = House::new().await;
    let text = "FROM example.com/nowhere:1 AS base\nENV BASE=1\nFROM base\nCOPY --from=helper /etc/os-release /os\n\
                COPY --from=made /made /made\nFROM busybox AS other\nRUN echo made > /made\nFROM base AS last\n";
    let given = [
        ("example.com/nowhere:1", "docker-image://busybox"),
        ("helper", "docker-image://docker.io/library/busybox:latest"),
        ("made", "target:other"),
    ];
    let mut asked = with(request(Context::Empty, text), &given);
    asked.target = Some("1".to_owned());
    let (built, _) = house.built(asked).await;
    let image = house.image(&built);
    assert_eq!(house.file(&image, "os").as_deref(), Some(&b"ID=busybox\n"[..]));
    assert_eq!(house.file(&image, "made").as_deref(), Some(&b"made\n"[..]));
    let env = &image.config.config.env;
    assert!(
        env.contains(&"FROM_IMAGE=yes".to_owned()) && env.contains(&"BASE=1".to_owned()),
        "{env:?}"
    );

    // A context in the place of the stage that is asked for is the image itself.
    let given = [("last", "docker-image://busybox")];
    let (built, _) = house.built(with(request(Context::Empty, text), &given)).await;
    assert_eq!(house.image(&built).layers.len(), 1);
    let given = [("last", "docker-image://scratch")];
    let (built, _) = house.built(with(request(Context::Empty, text), &given)).await;
    assert!(house.image(&built).layers.is_empty());
}

async fn an_image_in_a_directory_stands_for_a_name() {
    let (there, house) = (House::new().await, House::new().await);
    let (built, _) = there
        .built(request(Context::Empty, "FROM busybox\nENV WHERE=there\n"))
        .await;
    let folder = tempfile::tempdir().unwrap();
    let image = ArchiveImage {
        root: built.composition.root.clone(),
        manifests: built.composition.manifests.clone(),
        references: vec![Reference::parse("example.com/app:v1").unwrap()],
    };
    let mut layout = DirectoryLayout::new(folder.path()).unwrap();
    write_archive(&there.store, &[image], ArchiveForm::Oci, &mut layout).unwrap();

    let text =
        "FROM example.com/base\nCOPY --from=example.com/base /etc/os-release /os\nRUN test $WHERE = there\n";
    let path = folder.path().to_str().unwrap();
    let digest = &built.composition.root.digest;
    let mut images = Vec::new();
    for value in [
        format!("oci-layout://{path}"),
        format!("oci-layout://{path}:v1"),
        format!("oci-layout://{path}@{digest}"),
    ] {
        let given = [("example.com/base", value.as_str())];
        let (built, witness) = house.built(with(request(Context::Empty, text), &given)).await;
        images.push((built.id.clone(), witness.cached() > 0));
        let image = house.image(&built);
        assert_eq!(house.file(&image, "os").as_deref(), Some(&b"ID=busybox\n"[..]));
        let given = with(request(Context::Empty, text), &given);
        let checked = house.builder.check(given).await.unwrap();
        assert!(checked.report.error.is_none(), "{:?}", checked.report.error);
    }
    let id = images[0].0.clone();
    assert_eq!(images, [(id.clone(), false), (id.clone(), true), (id, true)]);

    let nowhere = format!("oci-layout://{path}:v2");
    let asked = with(
        request(Context::Empty, text),
        &[("example.com/base", nowhere.as_str())],
    );
    let (result, _) = house.build(asked).await;
    let error = with_causes(&result.unwrap_err());
    assert!(
        error.starts_with("Dockerfile:1") && error.contains("no image `v2`; it has"),
        "{error}"
    );
}

async fn a_context_that_cannot_be_used_is_named() {
    let house = House::new().await;
    let (folder, _) = context(&[("a", "a")]);
    let folder = folder.path().to_str().unwrap();
    for (text, value, line, words) in [
        (
            "FROM busybox\nCOPY --from=lib /a /a\n",
            "/nonexistent",
            2,
            "`lib`",
        ),
        ("FROM lib\n", "/nonexistent", 1, "`lib`"),
        ("FROM busybox\nCOPY --from=lib /none /a\n", folder, 2, "`lib`"),
        (
            "FROM busybox\nRUN --mount=from=lib,source=none,target=/m true\n",
            folder,
            2,
            "`lib`",
        ),
        (
            "FROM busybox\nCOPY --from=lib /a /a\n",
            "target:none",
            2,
            "no stage has that name",
        ),
    ] {
        let (result, _) = house
            .build(with(request(Context::Empty, text), &[("lib", value)]))
            .await;
        let error = with_causes(&result.unwrap_err());
        assert!(
            error.starts_with(&format!("Dockerfile:{line}")) && error.contains(words),
            "{error}"
        );
    }
}

async fn a_trigger_brings_the_stage_that_it_needs() {
    let house = House::new().await;
    let image = |name: &str, triggers: &[&str]| {
        let mut options = ImportOptions::new(Scope::user(), Some(Reference::parse(name).unwrap()));
        options.changes = triggers
            .iter()
            .map(|trigger| format!("ONBUILD {trigger}").parse().unwrap())
            .collect();
        let root = busybox_root();
        house
            .runtime
            .images()
            .import(root.bytes().as_slice(), options)
            .unwrap();
    };
    image(
        "with-triggers",
        &[
            "COPY --from=maker /made /made",
            "RUN --mount=from=other,target=/o cat /o/x > /y",
        ],
    );
    let text = "FROM busybox AS first\nRUN echo made > /made\nFROM first AS maker\nFROM busybox AS other\n\
                RUN echo x > /x\nFROM busybox AS unused\nRUN false\nFROM with-triggers\nRUN test -e /made && test -e /y\n";
    for parallel in [1, 4] {
        let mut asked = request(Context::Empty, text);
        asked.parallel_stages = parallel;
        asked.no_cache = true;
        let (built, witness) = house.built(asked).await;
        let image = house.image(&built);
        assert_eq!(house.file(&image, "made").as_deref(), Some(&b"made\n"[..]));
        assert_eq!(house.file(&image, "y").as_deref(), Some(&b"x\n"[..]));
        assert!(
            witness.log().iter().any(|line| line.contains("/7 ")),
            "{:?}",
            witness.log()
        );
    }

    image("in-a-circle", &["COPY --from=back / /"]);
    let text = "FROM in-a-circle AS start\nFROM start AS back\nFROM start\n";
    let (result, _) = house.build(request(Context::Empty, text)).await;
    let error = with_causes(&result.unwrap_err());
    assert!(error.contains("needs this one"), "{error}");
}
