//! Steps that do not want to end, that leave others behind, and that flood: in both tiers each gives one answer, and nothing of it stays.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shipway_build::{BuildError, BuildEvents, Context, Step};
use shipway_container::OutputStream;
use shipway_sandbox::Isolation;
use shipway_testkit::{processes_naming, wait_for};

use crate::house::{House, request};

shipway_testkit::tests!(
    a_deaf_step_ends_with_its_build,
    what_a_step_leaves_running_ends_with_it,
    a_step_may_close_its_output_and_go_on,
    a_flood_without_a_line_end_comes_through,
    thousands_of_long_variables_are_no_work,
    one_cache_is_at_several_places_of_a_step,
);

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tiers that whoever runs the tests can have.
fn tiers() -> Vec<Isolation> {
    match rustix::process::geteuid().is_root() {
        true => vec![Isolation::Namespaces, Isolation::Chroot, Isolation::NoMounts],
        false => vec![Isolation::Namespaces, Isolation::NoMounts],
    }
}

/// A word for command lines, by which processes of one test are found.
fn mark(test: &str, isolation: Isolation) -> String {
    format!("/hostile-{test}-{isolation:?}-{}", std::process::id())
}

async fn assert_gone(mark: String) {
    let waiting = move || {
        wait_for(PATIENCE, || {
            let left = processes_naming(Path::new(&mark));
            match left.is_empty() {
                true => Ok(()),
                false => Err(format!("{left:?}")),
            }
        })
    };
    tokio::task::spawn_blocking(waiting).await.unwrap().unwrap();
}

/// Notifies of the first output, and counts all.
#[derive(Default)]
struct Heard {
    first: tokio::sync::Notify,
    bytes: AtomicU64,
}

impl BuildEvents for Heard {
    fn output(&self, _step: &Step<'_>, _stream: OutputStream, bytes: &[u8]) {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.first.notify_one();
    }
}

async fn a_deaf_step_ends_with_its_build() {
    for isolation in tiers() {
        let house = House::of(isolation).await;
        let mark = mark("deaf", isolation);
        let text = format!(
            "FROM busybox\nRUN : {mark}; trap '' TERM INT HUP QUIT; echo up; while :; do sleep 1; done\n"
        );
        let wanted = request(Context::Empty, &text);
        let (cancellation, heard) = (wanted.cancellation.clone(), Arc::new(Heard::default()));
        let (told, seen) = (Arc::clone(&heard), mark.clone());
        let cancelling = tokio::spawn(async move {
            told.first.notified().await;
            assert!(!processes_naming(Path::new(&seen)).is_empty(), "the mark is seen");
            cancellation.cancel();
        });
        let built = house.builder.build(wanted, heard.as_ref()).await;
        cancelling.await.unwrap();
        assert!(matches!(built, Err(BuildError::Canceled)), "{built:?}");
        assert_gone(mark).await;
    }
}

async fn what_a_step_leaves_running_ends_with_it() {
    for isolation in tiers() {
        let house = House::of(isolation).await;
        let mark = mark("daemons", isolation);
        let deaf = format!("sh -c \": {mark}; trap '' TERM HUP; while :; do sleep 1; done\"");
        let text = format!(
            "FROM busybox\nRUN setsid {deaf} </dev/null >/dev/null 2>&1 & {deaf} & echo made >/made\nRUN cat /made\n"
        );
        let (_, witness) = house.built(request(Context::Empty, &text)).await;
        assert_eq!(witness.output(3), "made\n");
        assert_gone(mark).await;
    }
}

async fn a_step_may_close_its_output_and_go_on() {
    for isolation in tiers() {
        let house = House::of(isolation).await;
        let text = "FROM busybox\nRUN exec </dev/null >&- 2>&-; sleep 1; mkdir /after\nRUN test -d /after && echo there\n";
        let (_, witness) = house.built(request(Context::Empty, text)).await;
        assert_eq!(witness.output(3), "there\n");
    }
}

async fn one_cache_is_at_several_places_of_a_step() {
    for isolation in tiers() {
        let house = House::of(isolation).await;
        let text = "FROM busybox\n\
            RUN --mount=type=cache,id=c,target=/e,ro --mount=type=cache,id=c,target=/c --mount=type=cache,id=c,target=/d \
            echo a > /c/x && cat /d/x /e/x && echo b >> /d/x\n\
            RUN --mount=type=cache,id=c,target=/c cat /c/x && ls /c | wc -l && ! ls -d /d /e\n";
        let (_, witness) = house.built(request(Context::Empty, text)).await;
        assert_eq!(witness.output(2), "a\na\n", "{isolation:?}");
        assert!(
            witness.output(3).starts_with("a\nb\n1\n"),
            "{isolation:?}: {}",
            witness.output(3)
        );
    }
}

/// Four megabytes of configuration in steps of 400 bytes: hashed after each of them they would be twenty gigabytes.
async fn thousands_of_long_variables_are_no_work() {
    let house = House::new().await;
    let value = "v".repeat(390);
    let lines = (0..9900).map(|line| format!("ENV A={line}{value}\n"));
    let text = format!("FROM busybox\n{}", lines.collect::<String>());
    let (built, _) = house.built(request(Context::Empty, &text)).await;
    let image = house.image(&built);
    let last = format!("A=9899{value}");
    assert!(image.config.config.env.contains(&last), "the last one stays");
    assert!(image.config.history.len() > 9900);
}

async fn a_flood_without_a_line_end_comes_through() {
    const BYTES: u64 = 64 << 20;
    for isolation in tiers() {
        let house = House::of(isolation).await;
        let text = format!("FROM busybox\nRUN head -c {BYTES} /dev/zero; touch /done\n");
        let heard = Heard::default();
        let built = house.builder.build(request(Context::Empty, &text), &heard).await;
        assert!(built.is_ok(), "{:?}", built.err());
        assert_eq!(heard.bytes.load(Ordering::Relaxed), BYTES);
        let spool = house.directory.path().join("data/spool");
        let left = std::fs::read_dir(spool).map_or(0, Iterator::count);
        assert_eq!(left, 0, "the output goes with its step");
    }
}
