//! Every input of a step changes its key, and no two sets of inputs have one key.

use super::*;

#[test]
fn each_input_counts_and_frames_hold() {
    let (parent, other) = (Digest::sha256(b"parent"), Digest::sha256(b"other"));
    let (amd, arm) = (Platform::new("linux", "amd64"), Platform::new("linux", "arm64"));
    let argv = ["a".to_owned(), "bc".to_owned()];
    let shifted = ["ab".to_owned(), "c".to_owned()];
    let one = ["abc".to_owned()];
    let env = BTreeMap::from([("X".to_owned(), "1".to_owned())]);
    let longer_name = BTreeMap::from([("X1".to_owned(), String::new())]);
    let mounts = ["m".to_owned()];
    let base = RunInputs {
        parent: Some(&parent),
        platform: &amd,
        epoch: 0,
        argv: &argv,
        script: None,
        env: &env,
        user: "",
        cwd: "/",
        network: "default",
        mounts: &[],
    };
    assert_eq!(run_key(&base), run_key(&base.clone()));
    // The scheme is a promise between versions that share a store.
    assert_eq!(run_key(&base).to_string(), PINNED);
    let mut keys: Vec<_> = [
        base,
        RunInputs {
            argv: &shifted,
            ..base
        },
        RunInputs { argv: &one, ..base },
        RunInputs {
            env: &longer_name,
            ..base
        },
        RunInputs {
            parent: Some(&other),
            ..base
        },
        RunInputs { parent: None, ..base },
        RunInputs {
            platform: &arm,
            ..base
        },
        RunInputs { epoch: 1, ..base },
        RunInputs { user: "a", ..base },
        RunInputs { cwd: "/a", ..base },
        RunInputs {
            network: "none",
            ..base
        },
        RunInputs {
            mounts: &mounts,
            ..base
        },
        RunInputs {
            script: Some("s"),
            ..base
        },
    ]
    .iter()
    .map(|inputs| *run_key(inputs).as_bytes())
    .collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

const PINNED: &str = "4f870a6e4369f3e42e36a03298d9615b10acf5f065b1ea1e17f3578456b74069";

#[test]
fn a_files_name_mode_and_content_count() {
    let platform = Platform::new("linux", "amd64");
    let key = |to: &str, mode, hash: u8, chown: &str, destination: Destination| {
        let kind = ItemKind::File {
            from: "where/it/lies".into(),
            size: 1,
        };
        let items = [Item {
            to: to.into(),
            mode,
            kind,
        }];
        let sources = [CopySource::Files {
            items: &items,
            hashes: &[[hash; 32]],
        }];
        let inputs = CopyInputs {
            ground: Ground::Root(None),
            platform: &platform,
            epoch: 0,
            destination: &destination,
            destination_text: "/x",
            chown,
            chmod: "",
            sources: &sources,
        };
        *copy_key(&inputs).as_bytes()
    };
    let into = |path: &str| Destination::Directory(path.to_owned());
    let mut keys = vec![
        key("a", 0o644, 1, "", into("/")),
        key("b", 0o644, 1, "", into("/")),
        key("a", 0o755, 1, "", into("/")),
        key("a", 0o644, 2, "", into("/")),
        key("a", 0o644, 1, "1:1", into("/")),
        key("a", 0o644, 1, "", into("/x")),
        // A file `a` copied to `/x`, where the line above copies a folder that holds nothing but an `a`.
        key("a", 0o644, 1, "", Destination::FileOrDirectory("/x".to_owned())),
    ];
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 7);
}
