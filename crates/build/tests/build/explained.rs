//! Why a step is done again, and that one that two need at once is done once.

use std::collections::BTreeMap;

use shipway_build::{BuildRequest, Change, InputKind};

use crate::house::{House, Witness, context, request};

shipway_testkit::tests!(
    a_miss_names_what_changed,
    what_was_never_built_is_said_to_be_new,
    two_builds_share_a_step,
    a_step_that_fails_is_tried_by_the_next,
);

const DOCKERFILE: &str = "FROM busybox\n\
    ARG VERSION=1\n\
    COPY . /src/\n\
    RUN cat /src/a.txt > /a\n\
    USER 7\n\
    WORKDIR /work\n";

fn explained(mut request: BuildRequest) -> BuildRequest {
    request.explain = true;
    request
}

fn told(witness: &Witness) -> Vec<String> {
    let log = witness.log().into_iter();
    log.filter_map(|line| line.strip_prefix("missed ").map(str::to_owned))
        .collect()
}

async fn a_miss_names_what_changed() {
    let house = House::new().await;
    let (folder, files) = context(&[("a.txt", "a"), ("b/c.txt", "c")]);
    house.built(request(files.clone(), DOCKERFILE)).await;
    let (_, witness) = house.built(explained(request(files.clone(), DOCKERFILE))).await;
    assert_eq!(told(&witness), [""; 0]);

    std::fs::write(folder.path().join("b/c.txt"), "changed").unwrap();
    std::fs::write(folder.path().join("d.txt"), "new").unwrap();
    let (_, witness) = house.built(explained(request(files.clone(), DOCKERFILE))).await;
    let earlier = "an earlier step gave other files";
    assert_eq!(
        told(&witness),
        [
            "the file b/c.txt changed, the file d.txt is new",
            earlier,
            earlier
        ]
    );
    let first = witness.misses().remove(0);
    assert_eq!(first.differences[0].input, InputKind::File);
    assert_eq!(first.differences[1].change, Change::Added);

    let mut other = explained(request(files.clone(), DOCKERFILE));
    other.build_args = BTreeMap::from([("VERSION".to_owned(), Some("2".to_owned()))]);
    let (_, witness) = house.built(other).await;
    assert_eq!(told(&witness), ["the build argument VERSION changed"]);

    let text = DOCKERFILE.replace("> /a", "> /b");
    let (_, witness) = house.built(explained(request(files.clone(), &text))).await;
    assert_eq!(told(&witness), ["the instruction changed", earlier]);

    let text = DOCKERFILE.replace("USER 7", "ENV A=secret-value\nUSER 8");
    let (_, witness) = house.built(explained(request(files.clone(), &text))).await;
    assert_eq!(told(&witness), ["the user changed"]);

    let mut dated = explained(request(files, DOCKERFILE));
    dated.source_date_epoch = Some(1_000_000_000);
    let (_, witness) = house.built(dated).await;
    assert!(
        told(&witness)[0].contains("SOURCE_DATE_EPOCH changed"),
        "{:?}",
        told(&witness)
    );
}

async fn what_was_never_built_is_said_to_be_new() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let (_, witness) = house
        .built(explained(request(files.clone(), "FROM busybox\nRUN true\n")))
        .await;
    assert_eq!(told(&witness), ["no earlier result of this step is kept"]);
    let mut without = explained(request(files, "FROM busybox\nRUN true\n"));
    without.no_cache = true;
    let (_, witness) = house.built(without).await;
    assert_eq!(told(&witness), [""; 0], "nothing was looked for");
}

async fn two_builds_share_a_step() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    // What only one of them can have written.
    let text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /once; sleep 0.3\nRUN true\n";
    let wanted = || request(files.clone(), text);
    let ((one, _), (two, _)) = tokio::join!(house.built(wanted()), house.built(wanted()));
    assert_eq!(one.id, two.id);
    // The witness itself: without the cache there are two.
    let without = || {
        let mut wanted = wanted();
        wanted.no_cache = true;
        wanted
    };
    let ((one, _), (two, _)) = tokio::join!(house.built(without()), house.built(without()));
    assert_ne!(one.id, two.id);
    let locks = std::fs::read_dir(house.directory.path().join("data/cache-locks")).unwrap();
    assert_eq!(locks.count(), 0, "no lock is left");
}

async fn a_step_that_fails_is_tried_by_the_next() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let text = "FROM busybox\nRUN sleep 0.2; false\n";
    let wanted = || request(files.clone(), text);
    let ((one, _), (two, _)) = tokio::join!(house.build(wanted()), house.build(wanted()));
    assert!(one.is_err() && two.is_err());
}
