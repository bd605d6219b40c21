//! Copies are whole or not there, made once, and the oldest go.

use super::*;

fn name(tree: &str, state: &str) -> HistoryName {
    HistoryName::new(Path::new(tree), &[state.as_bytes()])
}

fn fill(directory: &Path) -> Result<(), SourceError> {
    fs::create_dir(directory.join("objects")).expect("a directory");
    fs::write(directory.join("objects/pack"), "commits").expect("a file");
    Ok(())
}

fn refuse(_: &Path) -> Result<(), SourceError> {
    Err(SourceError::HandOver {
        source: ErrorKind::Other.into(),
    })
}

#[test]
fn all_copies_go_but_those_in_use() {
    let place = tempfile::tempdir().unwrap();
    let missing = Histories::new(place.path().join("missing"));
    assert_eq!(missing.clear(false).unwrap(), 0);
    assert!(!missing.place.exists(), "asking makes nothing");
    let histories = Histories::new(place.path().to_owned());
    let held = histories.get(&name("/a", "1"), fill).unwrap();
    drop(histories.get(&name("/b", "1"), fill).unwrap());
    assert_eq!(histories.clear(true).unwrap(), 1);
    assert_eq!(histories.clear(false).unwrap(), 1);
    assert!(held.path().join("objects/pack").exists());
    drop(held);
    assert_eq!(histories.clear(true).unwrap(), 1);
    assert_eq!(histories.clear(false).unwrap(), 1);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_copy_is_made_once_and_replaced_by_the_next_state() {
    let place = tempfile::tempdir().expect("a directory");
    let histories = Histories::new(place.path().join("histories"));
    let first = histories.get(&name("/a", "1"), fill).expect("it is made");
    assert!(first.path().join("objects/pack").exists());
    let again = histories.get(&name("/a", "1"), refuse).expect("it is there");
    assert_eq!(first.path(), again.path());

    let next = histories.get(&name("/a", "2"), fill).expect("it is made");
    assert!(first.path().exists(), "somebody uses it");
    let path = first.path().to_owned();
    drop((first, again));
    histories.get(&name("/a", "2"), refuse).expect("it is there");
    assert!(!path.exists(), "outdated and not in use");
    assert!(next.path().exists());
}

#[test]
fn what_is_not_whole_never_counts() {
    let place = tempfile::tempdir().expect("a directory");
    let histories = Histories::new(place.path().to_owned());
    let half = |directory: &Path| {
        fill(directory)?;
        refuse(directory)
    };
    histories
        .get(&name("/a", "1"), half)
        .expect_err("its making failed");
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 0);

    let history = histories.get(&name("/a", "1"), |directory| {
        // While one is made, others can be made and found.
        histories.get(&name("/b", "1"), fill)?;
        fill(directory)
    });
    let history = history.expect("it is made");
    assert!(history.path().join("objects/pack").exists());
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 2);
}

#[test]
fn two_that_make_the_same_end_with_one() {
    let place = tempfile::tempdir().expect("a directory");
    let histories = Histories::new(place.path().to_owned());
    let mut faster = None;
    let slower = histories.get(&name("/a", "1"), |directory| {
        faster = Some(histories.get(&name("/a", "1"), fill)?);
        fill(directory)
    });
    let (faster, slower) = (faster.expect("it is made"), slower.expect("it is found"));
    assert_eq!(faster.path(), slower.path());
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 1);
}

#[test]
fn the_work_trees_asked_for_last_stay() {
    let place = tempfile::tempdir().expect("a directory");
    let histories = Histories::new(place.path().to_owned());
    let tree = |number: usize| name(&format!("/tree/{number}"), "1");
    let path = |number: usize| place.path().join(tree(number).file_name());
    for number in 0..KEPT {
        drop(histories.get(&tree(number), fill).expect("it is made"));
        let age = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
        File::open(path(number))
            .and_then(|directory| directory.set_modified(age))
            .expect("a time");
    }
    drop(histories.get(&tree(0), refuse).expect("it is there"));
    drop(histories.get(&tree(KEPT), fill).expect("it is made"));
    assert!(path(0).exists() && path(KEPT).exists() && !path(1).exists());
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), KEPT);
}

#[test]
fn every_input_is_part_of_the_name() {
    let of = |root: &str, state: &[&[u8]]| HistoryName::new(Path::new(root), state).file_name();
    let names = [
        of("/a", &[b"x", b"y"]),
        of("/a", &[b"xy", b""]),
        of("/a", &[b"x"]),
        of("/b", &[b"x", b"y"]),
    ];
    let different: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len());
}
