//! What changed is named by its input, and no value is kept.

use std::path::PathBuf;

use super::*;
use crate::plan::{Destination, Item, Sources};

const BASE: BaseInput<'_> = BaseInput {
    name: "busybox",
    chain: None,
};

fn run(change: impl FnOnce(&mut RunInputs<'_>, &mut BTreeMap<String, String>)) -> Inputs {
    let platform = Platform::new("linux", "amd64");
    let argv = ["sh".to_owned(), "-c".to_owned(), "make".to_owned()];
    let mut env = BTreeMap::from([
        ("VERSION".to_owned(), "1".to_owned()),
        ("HOME".to_owned(), "/".to_owned()),
    ]);
    let empty = BTreeMap::new();
    let mut inputs = RunInputs {
        parent: None,
        platform: &platform,
        epoch: 0,
        argv: &argv,
        script: None,
        env: &empty,
        user: "",
        cwd: "/",
        network: "pod",
        mounts: &[],
    };
    change(&mut inputs, &mut env);
    let inputs = RunInputs { env: &env, ..inputs };
    Inputs::of_run(&inputs, BASE, |name| name == "VERSION")
}

fn copy(files: &[(&str, u8)]) -> Inputs {
    copy_on(Ground::Root(None), files)
}

fn copy_on(ground: Ground<'_>, files: &[(&str, u8)]) -> Inputs {
    let platform = Platform::new("linux", "amd64");
    let items: Vec<Item> = files
        .iter()
        .map(|(name, _)| Item {
            to: name.into(),
            mode: 0o644,
            kind: ItemKind::File {
                from: PathBuf::from(name),
                size: 1,
            },
        })
        .collect();
    let hashes: Vec<[u8; 32]> = files.iter().map(|(_, content)| [*content; 32]).collect();
    let destination = Destination::of("/to", Sources::Folder);
    let inputs = CopyInputs {
        ground,
        platform: &platform,
        epoch: 0,
        destination: &destination,
        destination_text: "/to",
        chown: "",
        chmod: "",
        sources: &[CopySource::Files {
            items: &items,
            hashes: &hashes,
        }],
    };
    Inputs::of_copy(&inputs, "COPY . /to", BASE)
}

#[test]
fn what_changed_is_named_and_its_value_is_not_kept() {
    let before = run(|_, _| {});
    assert!(before.differences(&before).is_empty());
    let after = run(|_, env| {
        env.insert("VERSION".to_owned(), "hunter2".to_owned());
        env.remove("HOME");
    });
    let wanted = [
        (InputKind::Argument, "VERSION".to_owned(), Change::Changed),
        (InputKind::Variable, "HOME".to_owned(), Change::Removed),
    ];
    assert_eq!(after.differences(&before), wanted);
    let kept = serde_json::to_string(&after).unwrap();
    assert!(
        kept.contains("VERSION") && !kept.contains("hunter2") && !kept.contains("make"),
        "{kept}"
    );
    let other = run(|inputs, _| inputs.user = "ann");
    assert_eq!(
        other.differences(&before),
        [(InputKind::User, String::new(), Change::Changed)]
    );
}

#[test]
fn files_are_told_one_by_one() {
    let before = copy(&[("a", 1), ("b/c", 2), ("d", 3)]);
    let after = copy(&[("a", 1), ("b/c", 9), ("e", 3)]);
    let wanted = [
        (InputKind::File, "b/c".to_owned(), Change::Changed),
        (InputKind::File, "d".to_owned(), Change::Removed),
        (InputKind::File, "e".to_owned(), Change::Added),
    ];
    assert_eq!(after.differences(&before), wanted);
}

#[test]
fn very_many_files_are_told_by_folder() {
    let names: Vec<String> = (0..2000)
        .map(|number| format!("src/{}/{number}", number % 10))
        .collect();
    let mut files: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let before = copy(&files);
    files[13].1 = 2;
    let after = copy(&files);
    let wanted = [(InputKind::File, "src/3/".to_owned(), Change::Changed)];
    assert_eq!(after.differences(&before), wanted);
    assert!(serde_json::to_vec(&after).unwrap().len() < 64 << 10);
    // And a flat folder as a whole.
    let names: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    let mut files: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let before = copy(&files);
    files[13].1 = 2;
    let wanted = [(InputKind::File, ".".to_owned(), Change::Changed)];
    assert_eq!(copy(&files).differences(&before), wanted);
}

#[test]
fn foreign_inputs_are_read_or_refused() {
    let seed = serde_json::to_vec(&copy(&[("a", 1), ("b/c", 2)])).unwrap();
    let mine = run(|_, _| {});
    shipway_testkit::Foreign::near([seed]).check(|bytes| {
        if let Ok(inputs) = serde_json::from_slice::<Inputs>(bytes) {
            let _ = (mine.is_akin(&inputs), mine.differences(&inputs));
        }
    });
}

#[test]
fn a_linked_copy_is_a_copy_and_another_one() {
    let (linked, usual) = (copy_on(Ground::Nothing, &[("a", 1)]), copy(&[("a", 1)]));
    assert_eq!((linked.step(), usual.step()), ("copy", "copy"));
    assert!(!linked.is_akin(&usual));
}
