//! Two promises that only other processes can break: what was acknowledged survives `kill -9`, and uploads, checks and
//! collections of several processes do not take each other's blobs away.
//!
//! The other process is this test binary, started again for one of the tests marked as ignored.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shipway_oci::Digest;
use shipway_store::{CollectOptions, FsckOptions, PutManifestError, Store, UploadId};

use crate::support::{Place, by_tag, content, image_of, place, repository, tag};

const STORE: &str = "SHIPWAY_TEST_STORE";

fn child(test: &str, store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(STORE, store)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The store of the parent, if this is the child.
fn store_of_parent() -> Option<Store> {
    std::env::var_os(STORE).map(|directory| Store::open(Path::new(&directory)).unwrap())
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nsaid {line}").unwrap();
    out.flush().unwrap();
}

/// What the child says, to its end.
fn said(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("said ").map(str::to_owned))
}

#[test]
#[ignore = "the other process of `what_was_acknowledged_survives_a_kill`"]
fn push_until_killed() {
    let Some(store) = store_of_parent() else { return };
    let name = repository("crash");
    for round in 0u64.. {
        let id = store.begin_upload(&name).unwrap();
        let mut upload = store.open_upload(&name, &id).unwrap().unwrap();
        let half = format!("{} {round} half ", std::process::id()).repeat(500);
        upload.write_all(half.as_bytes()).unwrap();
        say(&format!("upload {id} {}", upload.suspend().unwrap()));
        let mut upload = store.open_upload(&name, &id).unwrap().unwrap();
        upload.write_all(b"and whole").unwrap();
        let layer = upload.commit(None).unwrap();
        say(&format!("blob {}", layer.digest));
        let config = store.put_blob(b"{}").unwrap().digest;
        store.link_blob(&name, &config).unwrap().unwrap();
        let mut image = image_of(b"{}", &[(half + "and whole").as_bytes()]);
        let label = format!("t{}-{round}", std::process::id());
        image.tags = vec![tag(&label)];
        store.put_manifest(&name, &image).unwrap();
        say(&format!("tag {label}"));
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let name = repository("crash");
    for round in 0..6 {
        let mut child = child("crash::push_until_killed", store.directory());
        let mut lines = said(&mut child);
        // Killed in a different step each time, and some unknown way into the next one.
        let mut acknowledged: Vec<String> = lines.by_ref().take(5 + round).collect();
        child.kill().unwrap();
        acknowledged.extend(lines);
        child.wait().unwrap();

        let store = Store::open(store.directory()).unwrap();
        let mut last_upload = None;
        for line in &acknowledged {
            let mut words = line.split(' ');
            match (words.next().unwrap(), words.next().unwrap()) {
                ("upload", id) => {
                    last_upload = Some((id.to_owned(), words.next().unwrap().parse::<u64>().unwrap()));
                }
                ("blob", digest) => {
                    last_upload = None;
                    let digest: Digest = digest.parse().unwrap();
                    assert!(store.repository_blob(&name, &digest).unwrap().is_some());
                    assert_eq!(Digest::sha256(&content(&store, &digest)), digest);
                }
                ("tag", label) => assert!(store.manifest(&name, &by_tag(label)).unwrap().is_some()),
                other => panic!("{other:?}"),
            }
        }
        // Committed but not said any more, or still there with all that was acknowledged.
        if let Some((id, offset)) = last_upload {
            let id: UploadId = id.parse().unwrap();
            if let Some(upload) = store.open_upload(&name, &id).unwrap() {
                assert_eq!(upload.offset(), offset);
            }
        }
        let report = store.fsck(&FsckOptions::default()).unwrap();
        assert!(report.is_clean(), "{report}");
    }
}

/// How often each thread pushes. More finds rarer races: set it to thousands by hand after a change to the order of steps.
fn pushes() -> u64 {
    std::env::var("SHIPWAY_TEST_PUSHES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(120)
}

/// Pushes the same few blobs again and again, in one of the ways there are, and lets go of them again. Gives how often
/// a manifest was refused because a collection was faster, which is allowed.
fn push_and_let_go(store: &Store, name: &str) -> u64 {
    let name = repository(name);
    let mut refused = 0;
    for round in 0..pushes() {
        let contents =
            [format!("{{\"n\":{}}}", round % 3), format!("layer {}", round % 2)].map(String::into_bytes);
        for bytes in &contents {
            let digest = Digest::sha256(bytes);
            // A check may say that the bytes are there; then nothing is uploaded.
            if round % 3 == 0 && store.link_blob(&name, &digest).unwrap().is_some() {
                continue;
            }
            if round % 3 == 1 {
                let id = store.begin_upload(&name).unwrap();
                let mut upload = store.open_upload(&name, &id).unwrap().unwrap();
                upload.write_all(bytes).unwrap();
                upload.commit(Some(&digest)).unwrap();
            } else {
                store.put_blob(bytes).unwrap();
                // It may have been collected already: nothing names it yet.
                store.link_blob(&name, &digest).unwrap();
            }
        }
        let image = image_of(&contents[0], &[&contents[1]]);
        match store.put_manifest(&name, &image) {
            Ok(()) => {
                for bytes in &contents {
                    let digest = Digest::sha256(bytes);
                    assert_eq!(&content(store, &digest), bytes, "an acknowledged blob was lost");
                    assert!(store.repository_blob(&name, &digest).unwrap().is_some());
                }
                assert!(store.delete_manifest(&name, &image.digest).unwrap());
            }
            Err(PutManifestError::MissingBlob { .. }) => refused += 1,
            Err(error) => unreachable!("{error:?}"),
        }
    }
    refused
}

/// Collects with no grace at all, for as long as others push.
fn collect_all_the_time(store: &Store, done: &AtomicBool) -> u64 {
    let mut collected = 0;
    while !done.load(Ordering::Relaxed) {
        collected += store
            .collect(&CollectOptions {
                grace: Duration::ZERO,
                dry_run: false,
            })
            .unwrap()
            .blobs;
    }
    collected
}

/// Two threads that push and one that collects; what was refused and what was collected.
fn contend(store: &Store, who: &str) -> (u64, u64) {
    let done = AtomicBool::new(false);
    let refused = AtomicU64::new(0);
    let collected = std::thread::scope(|scope| {
        let collector = scope.spawn(|| collect_all_the_time(store, &done));
        let push = |number: u32| {
            refused.fetch_add(
                push_and_let_go(store, &format!("{who}{number}")),
                Ordering::Relaxed,
            )
        };
        let pushers = [scope.spawn(move || push(1)), scope.spawn(move || push(2))];
        let outcomes = pushers.map(|pusher| pusher.join());
        done.store(true, Ordering::Relaxed);
        let collected = collector.join().unwrap();
        outcomes
            .into_iter()
            .for_each(|outcome| assert!(outcome.is_ok(), "a pusher failed"));
        collected
    });
    (refused.into_inner(), collected)
}

#[test]
#[ignore = "the other process of `pushes_and_collections_of_two_processes_lose_nothing`"]
fn contend_as_another_process() {
    let Some(store) = store_of_parent() else { return };
    let (_, collected) = contend(&store, "child");
    say(&format!("collected {collected}"));
}

#[test]
fn pushes_and_collections_of_two_processes_lose_nothing() {
    let Place {
        store,
        directory: _kept,
    } = place();
    // A store that stays, which no collection may touch.
    let name = repository("kept");
    for bytes in [&b"{}"[..], b"kept layer"] {
        store.put_blob(bytes).unwrap();
        store.link_blob(&name, &Digest::sha256(bytes)).unwrap().unwrap();
    }
    store
        .put_manifest(&name, &image_of(b"{}", &[b"kept layer"]))
        .unwrap();

    let mut child = child("crash::contend_as_another_process", store.directory());
    let (refused, collected) = contend(&store, "parent");
    let by_child: Vec<String> = said(&mut child).collect();
    assert!(child.wait().unwrap().success(), "the other process failed");

    // If nothing was ever collected, or everything was refused, nothing was tried.
    assert!(
        collected > 0 && refused < 2 * pushes(),
        "{collected} collected, {refused} refused"
    );
    assert_eq!(by_child.len(), 1, "{by_child:?}");
    assert_eq!(content(&store, &Digest::sha256(b"kept layer")), b"kept layer");
    let report = store.fsck(&FsckOptions::default()).unwrap();
    assert!(report.is_clean(), "{report}");
}
