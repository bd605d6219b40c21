//! What the hashes of files are remembered under, and what makes them forgotten.

use std::time::Duration;

use super::*;

fn identity(inode: u64, changed: i64) -> Identity {
    Identity {
        device: 1,
        inode,
        size: 3,
        modified: (-5, 7),
        changed: (changed, 999_999_999),
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn what_settled_is_found_again_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (data, root) = (directory.path().join("hashes"), directory.path());
    let memory = Memory::load(&data, root).unwrap();
    let (old, fresh) = (identity(1, 100), identity(2, 199));
    assert_eq!(memory.find(&old), None);
    let files = [(&old, [7; 32]), (&fresh, [8; 32])];
    memory.keep(at(200), files.into_iter()).unwrap();

    let memory = Memory::load(&data, root).unwrap();
    assert_eq!(memory.find(&old), Some([7; 32]));
    assert_eq!(memory.find(&fresh), None, "changed while it was looked at");
    assert_eq!(memory.find(&identity(1, 101)), None);
    assert_eq!(memory.find(&Identity { size: 4, ..old }), None);
    // Another context has a memory of its own.
    let other = directory.path().join("other");
    std::fs::create_dir(&other).unwrap();
    assert_eq!(Memory::load(&data, &other).unwrap().find(&old), None);
}

#[test]
fn what_is_damaged_is_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let data = root.join("hashes");
    let memory = Memory::load(&data, root).unwrap();
    let old = identity(1, 100);
    memory.keep(at(200), [(&old, [7; 32])].into_iter()).unwrap();
    let whole = std::fs::read(&memory.file).unwrap();
    let mut damaged: Vec<Vec<u8>> = [0, 10, 16, 48, whole.len() - 1]
        .iter()
        .map(|length| whole[..*length].to_vec())
        .collect();
    for at in 0..whole.len() {
        let mut one = whole.clone();
        one[at] ^= 1;
        damaged.push(one);
    }
    for bytes in damaged {
        std::fs::write(&memory.file, bytes).unwrap();
        assert_eq!(Memory::load(&data, root).unwrap().find(&old), None);
    }
}

#[test]
fn the_oldest_contexts_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("hashes");
    for number in 0..CONTEXTS + 3 {
        let root = directory.path().join(number.to_string());
        std::fs::create_dir(&root).unwrap();
        let memory = Memory::load(&data, &root).unwrap();
        memory.keep(at(200), std::iter::empty()).unwrap();
    }
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), CONTEXTS);
    assert!(Memory::load(&data, Path::new("/nonexistent")).is_none());
}
