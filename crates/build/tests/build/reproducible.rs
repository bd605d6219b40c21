//! The same build gives the same bytes wherever, whenever and by however many threads it is made.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use shipway_build::{COMPATIBILITY, Comparison, compare_builds};
use shipway_oci::Platform;

use crate::house::{House, context, request};

shipway_testkit::tests!(
    places_times_modes_and_threads_do_not_matter,
    the_epoch_is_the_callers,
    what_differs_between_two_builds_is_told_by_path,
    the_bytes_are_those_of_the_compatibility_number
);

const DOCKERFILE: &str = "FROM busybox AS base\n\
    COPY --chown=ann:ann . /src/\n\
    RUN mkdir -p /out/deep && cp=1; for i in 3 1 2; do echo $i > /out/$i; done; rm -r /gone; \
        ln /out/1 /out/hard; ln -s 1 /out/soft; chown 1000:1001 /out/2; chmod 4755 /out/3; dd if=/bin/busybox of=/out/big\n\
    FROM scratch\n\
    COPY --from=base /out /out\n\
    WORKDIR /made/here\n\
    COPY b /made/\n";

async fn places_times_modes_and_threads_do_not_matter() {
    let mut seen = Vec::new();
    for threads in [1, 3] {
        let house = House::new().await;
        let (folder, files) = context(&[("a/x", "x"), ("b", "b"), ("c.sh", "#!/bin/sh")]);
        let root = folder.path();
        let mode = |path: &str, mode| {
            std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        if threads == 1 {
            mode("a/x", 0o666);
            mode("a", 0o777);
            mode("c.sh", 0o777);
        } else {
            mode("a/x", 0o600);
            mode("a", 0o700);
            mode("c.sh", 0o744);
            let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            std::fs::File::options()
                .write(true)
                .open(root.join("b"))
                .unwrap()
                .set_modified(old)
                .unwrap();
        }
        let builder = house.builder.clone().with_threads(threads);
        let built = builder.build(request(files, DOCKERFILE), &()).await.unwrap();
        let image = house.image(&built);
        assert_eq!(image.config.created.as_deref(), Some("1980-01-01T00:00:00Z"));
        seen.push((built.manifest, image.config.rootfs.diff_ids));
    }
    assert_eq!(seen[0], seen[1]);
}

async fn the_epoch_is_the_callers() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a", "a")]);
    let mut dated = request(files.clone(), "FROM scratch\nCOPY a /a\n");
    dated.source_date_epoch = Some(1000);
    let (first, _) = house.built(dated).await;
    let image = house.image(&first);
    assert_eq!(image.config.created.as_deref(), Some("1970-01-01T00:16:40Z"));
    // As BuildKit's clients give it, which goes before the other way.
    let as_argument = |text: &str| {
        let mut dated = request(files.clone(), "FROM scratch\nCOPY a /a\n");
        dated.source_date_epoch = Some(3000);
        let argument = ("SOURCE_DATE_EPOCH".to_owned(), Some(text.to_owned()));
        dated.build_args.extend([argument]);
        dated
    };
    let (again, witness) = house.built(as_argument("1000")).await;
    assert_eq!((&again.manifest, witness.cached()), (&first.manifest, 1));
    let (failed, _) = house.build(as_argument("yesterday")).await;
    let said = shipway_oci::with_causes(&failed.unwrap_err());
    assert!(said.contains("`yesterday`") && said.contains("seconds"), "{said}");
    // A commit's time dates the image, not its files: the layer is the one of any other commit.
    let (plain, _) = house
        .built(request(files.clone(), "FROM scratch\nCOPY a /a\n"))
        .await;
    let mut committed = request(files, "FROM scratch\nCOPY a /a\n");
    committed.created = Some(2000);
    let (second, witness) = house.built(committed).await;
    assert_eq!(witness.cached(), 1);
    let second = house.image(&second);
    assert_eq!(second.config.created.as_deref(), Some("1970-01-01T00:33:20Z"));
    assert_eq!(second.layers, house.image(&plain).layers);
    assert_ne!(second.layers, image.layers);
}

async fn what_differs_between_two_builds_is_told_by_path() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a", "a")]);
    let dockerfile = "FROM busybox\nCOPY a /a\n\
        RUN cat /proc/sys/kernel/random/uuid > /random; echo same > /same; touch /$(cat /random)\n";
    let build = async || {
        let mut wanted = request(files.clone(), dockerfile);
        wanted.no_cache = true;
        house.built(wanted).await.0
    };
    let (first, second) = (build().await, build().await);
    let compared = compare_builds(&house.store, &first, &second).unwrap();
    let [
        Comparison {
            layers,
            configuration,
            ..
        },
    ] = &compared[..]
    else {
        panic!("{compared:?}")
    };
    assert!(!configuration);
    let [layer] = &layers[..] else {
        panic!("{layers:?}")
    };
    assert_eq!(layer.number, 3);
    assert!(layer.created_by.starts_with("RUN "), "{}", layer.created_by);
    let told: Vec<String> = layer.paths.iter().map(|path| path.kind.to_string()).collect();
    assert_eq!(told.len(), 3, "{layer:?}");
    assert!(told.contains(&"content (37 bytes)".to_owned()));
    assert!(told.contains(&"only in the first build".to_owned()));
    assert!(told.contains(&"only in the second build".to_owned()));
    assert!(compare_builds(&house.store, &first, &first).unwrap().is_empty());
}

/// Whoever changes these bytes raises the number: with the same one, images have the same digests from version to version.
async fn the_bytes_are_those_of_the_compatibility_number() {
    let house = House::new().await;
    let long = "long/".repeat(30) + "name";
    let (_folder, files) = context(&[
        ("a/b", "content"),
        ("c.sh", "#!/bin/sh"),
        (&long, &"text ".repeat(500_000)),
    ]);
    let mut wanted = request(
        files,
        "FROM scratch\nARG G=given\nCOPY --chown=1000:1001 . /src/\nENV A=b\nWORKDIR /made\n",
    );
    wanted.platforms = vec![Platform::new("linux", "amd64")];
    wanted.build_args.insert("G".to_owned(), Some("other".to_owned()));
    let (built, _) = house.built(wanted).await;
    let expected = match COMPATIBILITY {
        3 => "sha256:c987b109f6cbdb0c2dfe842d813c2c20677d1e1dbcf7f94166fc62a4bc0842c3",
        other => panic!("what are the bytes of {other}?"),
    };
    assert_eq!(built.manifest.to_string(), expected);
}
