//! The same build gives the same bytes by namespaces and overlays, by the same with one id, and by plain files with and without a user
//! namespace.

use shipway_build::{BuildError, RunNetwork, StepError};
use shipway_oci::with_causes;
use shipway_sandbox::Isolation;

use crate::house::{House, context, request};

shipway_testkit::tests!(
    all_tiers_build_the_same_image,
    a_failed_step_says_so_and_the_next_build_works,
    a_cache_is_one_step_s_at_a_time,
    without_any_right_all_but_programs_is_the_same,
);

/// Every kind of change, over stages that fork and meet again.
const DOCKERFILE: &str = r#"FROM busybox AS base
COPY --chown=ann:ann . /src/
RUN mkdir -p /out/deep; for i in 3 1 2; do echo $i > /out/$i; done; rm -r /gone; \
    ln /out/1 /out/hard; ln -s 1 /out/soft; chown 1000:1001 /out/2; chmod 4755 /out/3; dd if=/bin/busybox of=/out/big
RUN true
WORKDIR /made/here
RUN rm -r /src/a && mkdir /src/a && echo again >/src/a/again && mv /out/deep /out/moved && touch /bin
COPY b c.sh /src/a/

FROM base AS left
USER ann
RUN id > /tmp/left; test ! -w /out/2 || echo mine >> /out/2
FROM base AS right
RUN --mount=type=cache,target=/cache --mount=type=bind,from=left,source=/tmp,target=/of/left --mount=type=tmpfs,target=/fast \
    cp /of/left/left /right; echo x > /cache/x; echo x > /fast/x; echo x > /etc/hosts
RUN <<HERE
set -e
echo $0 $PWD >/here
sh -c 'sleep 60 </dev/null >/dev/null 2>&1 &'
HERE
RUN --network=none hostname >/dev/null; rm -r /tmp; mkdir -m 1777 /tmp

FROM scratch
COPY --from=right / /
COPY --from=left /out /left
COPY --from=left /tmp/left /src/c.sh /both/
"#;

async fn all_tiers_build_the_same_image() {
    let mut seen = Vec::new();
    let mut tiers = vec![Isolation::Namespaces, Isolation::OneId];
    tiers.extend(in_trees());
    for isolation in tiers {
        let house = House::of(isolation).await;
        let (_folder, files) = context(&[("a/x", "x"), ("b", "b"), ("c.sh", "#!/bin/sh")]);
        for stage in [Some("base"), Some("left"), Some("right"), None] {
            let mut wanted = request(files.clone(), DOCKERFILE);
            wanted.target = stage.map(str::to_owned);
            let (built, _) = house.built(wanted).await;
            let image = house.image(&built);
            // The base's own is an imported tar.
            let gzipped = image
                .layers
                .iter()
                .filter(|layer| layer.media_type.ends_with("gzip"));
            let layers: Vec<_> = gzipped.map(|layer| house.layer(&layer.digest)).collect();
            seen.push((
                isolation,
                stage,
                image.config.rootfs.diff_ids,
                layers,
                built.manifest,
            ));
        }
    }
    let (strongest, others) = seen.split_at(4);
    for ((isolation, stage, diff_ids, layers, manifest), first) in others.iter().zip(strongest.iter().cycle())
    {
        assert_eq!(
            (layers, diff_ids, manifest),
            (&first.3, &first.2, &first.4),
            "{isolation:?}, {stage:?}"
        );
    }
}

/// What needs no program, over a step that ran where programs can.
const COPIED: &str = r#"FROM busybox AS base
RUN mkdir -p /out/deep; ln -s /out/deep /through; chown 1000:1001 /out; chmod 500 /out/deep; echo 1 >/out/file; chmod 0 /out/file
FROM base AS second
COPY --chown=ann:ann . /src/
WORKDIR /through/made
COPY --chmod=4711 b c.sh .
FROM scratch
COPY --from=second / /
COPY --from=base --chown=5:6 /out /out
"#;

async fn without_any_right_all_but_programs_is_the_same() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a/x", "x"), ("b", "b"), ("c.sh", "#!/bin/sh")]);
    let (with_programs, _) = house.built(request(files.clone(), COPIED)).await;
    let layers = |house: &House, digest| {
        let image = house.image(digest);
        image
            .layers
            .iter()
            .map(|layer| house.layer(&layer.digest))
            .collect::<Vec<_>>()
    };
    let expected = layers(&house, &with_programs);
    // The step that ran is known; the others are carried out again.
    let house = house.by(Isolation::Bare).await;
    let mut again = request(
        files.clone(),
        &COPIED.replace("FROM scratch", "FROM scratch AS last"),
    );
    again.no_cache_stages = ["second", "last"].map(str::to_owned).into();
    let (built, _) = house.built(again).await;
    assert_eq!(layers(&house, &built), expected);
    assert_eq!(built.manifest, with_programs.manifest);

    let (refused, _) = house.build(request(files, "FROM busybox\nRUN echo new\n")).await;
    let error = refused.unwrap_err();
    let BuildError::Step { line: 2, source, .. } = &error else {
        panic!("{}", with_causes(&error))
    };
    assert!(
        matches!(**source, StepError::NoRun { .. }),
        "{}",
        with_causes(&error)
    );
}

/// Those in which steps run in trees of plain files, as far as this user has them.
fn in_trees() -> &'static [Isolation] {
    match rustix::process::geteuid().is_root() {
        true => &[Isolation::Chroot, Isolation::NoMounts],
        false => &[Isolation::NoMounts],
    }
}

async fn a_failed_step_says_so_and_the_next_build_works() {
    for isolation in in_trees() {
        fails_and_works(&House::of(*isolation).await).await;
    }
}

async fn fails_and_works(house: &House) {
    let (_folder, files) = context(&[("a", "a")]);
    let failing = "FROM busybox\nCOPY a /a\nRUN echo before >/b; rm /a; exit 7\n";
    let (built, _) = house.build(request(files.clone(), failing)).await;
    let error = built.unwrap_err();
    assert!(
        matches!(error, BuildError::Run { exit_code: 7, .. }),
        "{}",
        with_causes(&error)
    );
    let missing = request(files.clone(), "FROM busybox\nRUN [\"/no/such\"]\n");
    let error = house.build(missing).await.0.unwrap_err();
    assert!(
        with_causes(&error).contains("/no/such: not found"),
        "{}",
        with_causes(&error)
    );
    let working = "FROM busybox\nCOPY a /a\nRUN test ! -e /b && cat /a\n";
    let (_, witness) = house.built(request(files.clone(), working)).await;
    assert_eq!(witness.output(3), "a");
    let mut shared = request(files, "FROM busybox\nRUN cat /etc/resolv.conf /etc/hosts\n");
    shared.network = RunNetwork::Pod;
    let (_, witness) = house.built(shared).await;
    let resolver = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert!(witness.output(2).starts_with(&resolver), "{}", witness.output(2));
}

async fn a_cache_is_one_step_s_at_a_time() {
    for isolation in in_trees() {
        takes_turns(&House::of(*isolation).await).await;
    }
}

async fn takes_turns(house: &House) {
    let (_folder, files) = context(&[("a", "a")]);
    let dockerfile = |name: &str| {
        format!(
            "FROM busybox\nRUN --mount=type=cache,target=/cache echo {name} >>/cache/log; sleep 0.2; wc -l </cache/log\n"
        )
    };
    let texts = ["one", "two"].map(dockerfile);
    let [one, two] = texts
        .each_ref()
        .map(|text| house.built(request(files.clone(), text)));
    let ((_, one), (_, two)) = tokio::join!(one, two);
    let mut counts = [one.output(2), two.output(2)];
    counts.sort();
    assert_eq!(counts, ["1\n", "2\n"]);
}
