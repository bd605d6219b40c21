//! What the dead left goes, what lives or is not ours stays.

use super::*;
use std::os::unix::fs::symlink;

const KIND: &str = "shipway-test";

#[test]
fn what_a_dead_process_left_goes_and_what_lives_stays() {
    let place = tempfile::tempdir().expect("a directory");
    let alive = Scratch::create(place.path(), KIND).expect("the first");
    fs::write(alive.path().join("kept"), "").expect("a file");
    let dead = PlannedScratch::new(place.path(), KIND).path;
    fs::create_dir(&dead).expect("a leftover");
    fs::write(dead.join("file"), "").expect("its file");

    let next = Scratch::create(place.path(), KIND).expect("the second");

    assert!(!dead.exists(), "nobody holds it");
    assert!(alive.path().join("kept").exists(), "its process lives");
    let ended = alive.path().to_owned();
    drop(alive);
    assert!(!ended.exists());
    assert!(next.path().exists());
}

#[test]
fn what_is_somebody_elses_in_the_place_stays() {
    let place = tempfile::tempdir().expect("a directory");
    let other = tempfile::tempdir().expect("another");
    fs::write(other.path().join("kept"), "").expect("a file");
    for name in [
        "ours",
        "shipway-test-",
        "shipway-test-mine",
        "shipway-other-0123456789abcdef",
    ] {
        fs::create_dir(place.path().join(name)).expect("a directory");
    }
    symlink(other.path(), place.path().join("shipway-test-0123456789abcdef")).expect("a link");
    drop(Scratch::create(place.path(), KIND).expect("a directory"));
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 5);
    assert!(other.path().join("kept").exists());
}

#[test]
fn nothing_is_taken_over() {
    let place = tempfile::tempdir().expect("a directory");
    let other = tempfile::tempdir().expect("another");
    let linked = PlannedScratch::new(place.path(), KIND);
    symlink(other.path(), linked.path()).expect("a link");
    let made = PlannedScratch::new(place.path(), KIND);
    fs::create_dir(made.path()).expect("a directory");
    // Held, as by a process that lives: a leftover would be removed.
    let held = File::open(made.path()).expect("it");
    held.lock().expect("its lock");
    for planned in [linked, made] {
        let error = planned.create().expect_err("there is something");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
    assert!(other.path().exists());
}

#[test]
fn directories_that_may_not_be_written_to_are_removed() {
    let place = tempfile::tempdir().expect("a directory");
    let scratch = Scratch::create(place.path(), KIND).expect("a directory");
    let inner = scratch.path().join("module/cache");
    fs::create_dir_all(&inner).expect("a directory");
    fs::write(inner.join("file"), "").expect("a file");
    fs::set_permissions(&inner, Permissions::from_mode(0o555)).expect("its mode");
    open_up(scratch.path());
    let mode = fs::metadata(&inner).expect("it").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "as root nothing else would show it");
    drop(scratch);
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 0);
}
