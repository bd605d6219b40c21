//! Cache mounts that go from one installation to another.

use std::path::{Path, PathBuf};

use shipway_build::{Built, CacheExported, CacheImport, Context};
use shipway_oci::Digest;
use shipway_sandbox::Isolation;

use crate::house::{House, Witness, request};

shipway_testkit::tests!(
    files_are_on_another_machine_as_they_were,
    a_second_export_has_only_what_changed,
    a_build_that_mounts_nothing_keeps_what_the_cache_has,
    what_is_here_stays_and_what_is_empty_is_filled,
    what_is_not_what_it_is_said_to_be_is_an_empty_cache,
    a_step_that_is_writing_is_waited_for,
    which_mounts_go_is_the_users_choice,
);

async fn export(house: &House, built: &Built, to: &Path, words: &str) -> CacheExported {
    let export = format!("type=local,dest={}{words}", to.display());
    let export = export.parse().unwrap();
    let exported = house.builder.export_cache(&export, &built.steps, None, &());
    exported.await.unwrap()
}

fn import(from: &Path) -> Vec<CacheImport> {
    vec![format!("type=local,src={}", from.display()).parse().unwrap()]
}

/// Builds one RUN over busybox, with an import if there is one.
async fn run(house: &House, mounts: &str, command: &str, from: Option<&Path>) -> (Built, Witness) {
    let mut wanted = request(Context::Empty, &format!("FROM busybox\nRUN {mounts} {command}\n"));
    wanted.cache_from = from.map(import).unwrap_or_default();
    house.built(wanted).await
}

fn warnings(witness: &Witness) -> Vec<String> {
    let log = witness.log().into_iter();
    log.filter(|line| line.starts_with("warning")).collect()
}

const MOUNT: &str = "--mount=type=cache,target=/c";

/// The blobs of a directory and their sizes.
fn blobs(layout: &Path) -> Vec<(PathBuf, u64)> {
    let listed = std::fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let listed = listed.map(|entry| entry.unwrap());
    listed
        .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
        .collect()
}

async fn files_are_on_another_machine_as_they_were() {
    let tiers: &[Isolation] = match rustix::process::geteuid().is_root() {
        true => &[Isolation::Namespaces, Isolation::Chroot],
        false => &[Isolation::Namespaces],
    };
    for from in tiers {
        for to in tiers {
            let (one, other) = (House::of(*from).await, House::of(*to).await);
            let make = "mkdir -p /c/archives/partial; echo deb > /c/archives/a.deb; ln /c/archives/a.deb /c/hard; \
                ln -s ../../etc /c/soft; chown -R 1000:1001 /c/archives; chmod 4711 /c/hard; touch -d @1234567890 /c/hard; mkfifo /c/pipe";
            let show = "cd /c && find . ! -name . | sort | xargs stat -c '%n %F %a %u:%g %s' && \
                stat -c '%Y %h' hard && readlink soft && cat archives/a.deb";
            let (built, _) = run(&one, MOUNT, make, None).await;
            let cache = tempfile::tempdir().unwrap();
            let exported = export(&one, &built, cache.path(), ",mode=max").await;
            assert_eq!(exported.notes, Vec::<String>::new());
            assert_eq!(exported.mounts.len(), 1);
            assert_eq!(exported.mounts[0].id, "/c");
            let (_, there) = run(&one, MOUNT, show, None).await;
            let (_, here) = run(&other, MOUNT, show, Some(cache.path())).await;
            assert_eq!(warnings(&here), Vec::<String>::new());
            assert!(
                here.log()
                    .iter()
                    .any(|line| line.contains("restoring the cache mount `/c`"))
            );
            assert_eq!(there.output(2), here.output(2), "{from:?} to {to:?}");
            assert!(
                here.output(2).ends_with("1234567890 2\n../../etc\ndeb\n"),
                "{}",
                here.output(2)
            );
            // It is this machine's now.
            let (_, again) = run(&other, MOUNT, "cat /c/hard", None).await;
            assert_eq!(again.output(2), "deb\n");
        }
    }
}

async fn a_second_export_has_only_what_changed() {
    let house = House::new().await;
    let cache = tempfile::tempdir().unwrap();
    let make = "dd if=/dev/urandom of=/c/large bs=1M count=40 2>/dev/null";
    let (built, _) = run(&house, MOUNT, make, None).await;
    let first = export(&house, &built, cache.path(), ",mode=max").await;
    assert!(first.mounts[0].new_bytes > 40 << 20, "{first:?}");
    let packs = blobs(cache.path());
    // Hundreds of chunks are a few blobs.
    assert!(packs.len() < 10, "{packs:?}");
    let (built, _) = run(
        &house,
        MOUNT,
        "dd if=/dev/urandom of=/c/small bs=1k count=9 2>/dev/null",
        None,
    )
    .await;
    let second = export(&house, &built, cache.path(), ",mode=max").await;
    assert!((1..2 << 20).contains(&second.mounts[0].new_bytes), "{second:?}");
    assert!(second.mounts[0].bytes > first.mounts[0].bytes);
    let (built, _) = run(&house, MOUNT, "true", None).await;
    let third = export(&house, &built, cache.path(), ",mode=max").await;
    assert_eq!(third.mounts[0].new_bytes, 0, "{third:?}");
    // All of it is there for who has nothing.
    let other = House::new().await;
    let sum = "cd /c && sha256sum large small";
    let (_, there) = run(&house, MOUNT, sum, None).await;
    let (_, here) = run(&other, MOUNT, sum, Some(cache.path())).await;
    assert_eq!(there.output(2), here.output(2));
    // Most of it goes: what is left moves out of the packs.
    let shrink = "dd if=/c/large of=/c/left bs=1M count=3 2>/dev/null; rm /c/large";
    let (built, _) = run(&house, MOUNT, shrink, None).await;
    let fourth = export(&house, &built, cache.path(), ",mode=max").await;
    assert!(
        (2 << 20..5 << 20).contains(&fourth.mounts[0].new_bytes),
        "{fourth:?}"
    );
}

async fn a_build_that_mounts_nothing_keeps_what_the_cache_has() {
    let (house, cache) = (House::new().await, tempfile::tempdir().unwrap());
    let (built, _) = run(&house, MOUNT, "echo kept > /c/file", None).await;
    export(&house, &built, cache.path(), ",mode=max").await;
    let all_known = House::new().await.without_keepers().await;
    let (built, witness) = run(&all_known, MOUNT, "echo kept > /c/file", Some(cache.path())).await;
    assert_eq!(witness.cached(), 1, "{:?}", witness.log());
    assert!(
        !witness.log().iter().any(|line| line.contains("restoring")),
        "nothing mounts it"
    );
    // Under its own name, and under another one.
    let further = tempfile::tempdir().unwrap();
    for place in [cache.path(), further.path()] {
        let exported = export(&all_known, &built, place, ",mode=max").await;
        assert_eq!((exported.mounts.len(), exported.mounts[0].new_bytes), (1, 0));
        let other = House::new().await;
        let (_, witness) = run(&other, MOUNT, "cat /c/file", Some(place)).await;
        assert_eq!(witness.output(2), "kept\n");
    }
}

async fn what_is_here_stays_and_what_is_empty_is_filled() {
    let (house, cache) = (House::new().await, tempfile::tempdir().unwrap());
    let (built, _) = run(&house, MOUNT, "echo old > /c/file", None).await;
    export(&house, &built, cache.path(), ",mode=max").await;
    let other = House::new().await;
    run(&other, MOUNT, "echo new > /c/file", None).await;
    let (_, witness) = run(&other, MOUNT, "cat /c/file", Some(cache.path())).await;
    assert_eq!(witness.output(2), "new\n");
    run(&other, MOUNT, "rm /c/file", None).await;
    let (_, witness) = run(&other, MOUNT, "cat /c/file # again", Some(cache.path())).await;
    assert_eq!(witness.output(2), "old\n");
    // Another owner makes another cache, which the import does not have.
    let (_, witness) = run(
        &other,
        "--mount=type=cache,target=/c,uid=7",
        "ls /c",
        Some(cache.path()),
    )
    .await;
    assert_eq!(witness.output(2), "");
}

async fn what_is_not_what_it_is_said_to_be_is_an_empty_cache() {
    for is_damaged in [true, false] {
        let (house, cache) = (House::new().await, tempfile::tempdir().unwrap());
        let make = "dd if=/dev/urandom of=/c/large bs=1M count=3 2>/dev/null";
        let (built, _) = run(&house, MOUNT, make, None).await;
        export(&house, &built, cache.path(), ",mode=max").await;
        let largest = blobs(cache.path()).into_iter().max_by_key(|(_, size)| *size);
        let (pack, _) = largest.unwrap();
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[1 << 20] ^= 1;
        match is_damaged {
            true => std::fs::write(&pack, bytes).unwrap(),
            false => std::fs::remove_file(&pack).unwrap(),
        }
        let other = House::new().await;
        let (built, witness) = run(&other, MOUNT, "ls /c; echo new > /c/file", Some(cache.path())).await;
        assert_eq!(witness.output(2), "");
        let said = warnings(&witness);
        assert!(said.len() == 1 && said[0].contains("begins empty"), "{said:?}");
        // The next export makes it whole again.
        let exported = export(&other, &built, cache.path(), ",mode=max").await;
        assert!(exported.mounts[0].new_bytes > 0, "{exported:?}");
        let third = House::new().await;
        let (_, witness) = run(&third, MOUNT, "cat /c/file", Some(cache.path())).await;
        assert_eq!(witness.output(2), "new\n");
    }
}

async fn a_step_that_is_writing_is_waited_for() {
    let (house, cache) = (House::new().await, tempfile::tempdir().unwrap());
    let (built, _) = run(&house, MOUNT, "echo begun > /c/file", None).await;
    // Between its two halves the step has the cache: an export that comes then sees both.
    let write = "echo one > /c/halves; echo half; usleep 300000; echo two >> /c/halves";
    let text = format!("FROM busybox\nRUN {MOUNT} {write}\n");
    let witness = Witness::default();
    let writing = house.builder.build(request(Context::Empty, &text), &witness);
    let exporting = async {
        let begun = std::time::Instant::now();
        while !witness.output(2).contains("half") {
            assert!(begun.elapsed().as_secs() < 60, "{:?}", witness.log());
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        export(&house, &built, cache.path(), ",mode=max").await
    };
    let (written, exported) = tokio::join!(writing, exporting);
    written.unwrap();
    assert_eq!(exported.notes, Vec::<String>::new());
    let other = House::new().await;
    let (_, witness) = run(&other, MOUNT, "cat /c/file /c/halves", Some(cache.path())).await;
    assert_eq!(witness.output(2), "begun\none\ntwo\n");
}

async fn which_mounts_go_is_the_users_choice() {
    let house = House::new().await;
    let mounts = "--mount=type=cache,id=one,target=/1 --mount=type=cache,id=two,target=/2";
    let make = "echo 1 > /1/f; dd if=/dev/zero of=/2/f bs=1k count=64 2>/dev/null";
    let (built, _) = run(&house, mounts, make, None).await;
    for (words, expected, said) in [
        ("", &[][..], None),
        (",mode=max", &["one", "two"], None),
        (",mode=max,mounts=false", &[], None),
        (",mounts=true", &["one", "two"], None),
        (",mounts=two", &["two"], None),
        (
            ",mounts=three",
            &[],
            Some("no step of the build has the cache mount `three`"),
        ),
        (
            ",mounts=true,mounts-max-size=20KB",
            &["one"],
            Some("the cache mount `two`: with its"),
        ),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let exported = export(&house, &built, cache.path(), words).await;
        let mut ids: Vec<_> = exported.mounts.iter().map(|mount| mount.id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{words}");
        let notes = exported.notes.join("\n");
        assert_eq!(said.is_some(), !notes.is_empty(), "{words}: {notes}");
        assert!(notes.contains(said.unwrap_or_default()), "{words}: {notes}");
    }
    // The same files are the same blobs.
    let layouts: Vec<tempfile::TempDir> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    for layout in &layouts {
        export(&house, &built, layout.path(), ",mounts=true").await;
    }
    let digests = |layout: &tempfile::TempDir| {
        let mut names: Vec<_> = blobs(layout.path()).into_iter().map(|(path, _)| path).collect();
        names.sort();
        let names = names.into_iter().map(|path| path.file_name().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(digests(&layouts[0]), digests(&layouts[1]));
    let sound = blobs(layouts[0].path()).into_iter();
    sound.for_each(|(path, _)| {
        let digest = Digest::sha256(&std::fs::read(&path).unwrap());
        assert!(path.ends_with(digest.hex()));
    });
}
