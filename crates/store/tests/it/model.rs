//! Any sequence of pushes, deletions and collections against a model of a few lines: what is held is whole, what is not
//! held is gone after a collection, and no repository reads what none of its manifests names.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use shipway_oci::{Digest, Reference};
use shipway_store::{FsckOptions, ManifestSelector, ManifestWrite, Scope, Store};

use crate::support::{Place, by_tag, collect_now, image_of, place, pushed, repository, tag};

/// Configuration and layers of the images there are; they share some.
const IMAGES: [&[&[u8]]; 3] = [
    &[b"{}", b"base"],
    &[b"{\"a\":1}", b"base", b"top"],
    &[b"{\"b\":1}", b"other", b"top"],
];
const REPOSITORIES: [&str; 2] = ["a", "a/b"];
const SCOPES: [&str; 2] = ["user", "job/1"];
const NAMES: [&str; 2] = ["x", "y"];

#[derive(Debug, Clone)]
enum Step {
    Push {
        repository: usize,
        image: usize,
        name: usize,
    },
    DeleteTag {
        repository: usize,
        name: usize,
    },
    DeleteManifest {
        repository: usize,
        image: usize,
    },
    PutImage {
        scope: usize,
        image: usize,
        name: usize,
    },
    ForgetName {
        scope: usize,
        name: usize,
    },
    ForgetScope {
        scope: usize,
    },
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2usize, 0..3usize, 0..2usize).prop_map(|(repository, image, name)| Step::Push { repository, image, name }),
        1 => (0..2usize, 0..2usize).prop_map(|(repository, name)| Step::DeleteTag { repository, name }),
        2 => (0..2usize, 0..3usize).prop_map(|(repository, image)| Step::DeleteManifest { repository, image }),
        2 => (0..2usize, 0..3usize, 0..2usize).prop_map(|(scope, image, name)| Step::PutImage { scope, image, name }),
        1 => (0..2usize, 0..2usize).prop_map(|(scope, name)| Step::ForgetName { scope, name }),
        1 => (0..2usize).prop_map(|scope| Step::ForgetScope { scope }),
        2 => Just(Step::Collect),
    ]
}

/// What a space should hold.
#[derive(Debug, Default)]
struct Held {
    images: BTreeSet<usize>,
    names: BTreeMap<usize, usize>,
}

impl Held {
    fn put(&mut self, image: usize, name: usize) {
        self.images.insert(image);
        self.names.insert(name, image);
    }

    fn blobs(&self) -> BTreeSet<&'static [u8]> {
        self.images
            .iter()
            .flat_map(|image| IMAGES[*image].iter().copied())
            .collect()
    }
}

#[derive(Debug, Default)]
struct Model {
    repositories: [Held; 2],
    scopes: [Held; 2],
}

fn write(image: usize) -> ManifestWrite {
    image_of(IMAGES[image][0], &IMAGES[image][1..])
}

fn reference(name: usize) -> Reference {
    NAMES[name].parse().unwrap()
}

fn scope(number: usize) -> Scope {
    SCOPES[number].parse().unwrap()
}

/// Takes a step in both; the answers must agree.
fn take(store: &Store, model: &mut Model, step: &Step) {
    match *step {
        Step::Push {
            repository: number,
            image,
            name,
        } => {
            let repository = repository(REPOSITORIES[number]);
            IMAGES[image]
                .iter()
                .for_each(|blob| drop(pushed(store, &repository, blob)));
            let write = ManifestWrite {
                tags: vec![tag(NAMES[name])],
                ..write(image)
            };
            store.put_manifest(&repository, &write).unwrap();
            model.repositories[number].put(image, name);
        }
        Step::DeleteTag {
            repository: number,
            name,
        } => {
            let was = store
                .delete_tag(&repository(REPOSITORIES[number]), &tag(NAMES[name]))
                .unwrap();
            assert_eq!(was, model.repositories[number].names.remove(&name).is_some());
        }
        Step::DeleteManifest {
            repository: number,
            image,
        } => {
            let was = store
                .delete_manifest(&repository(REPOSITORIES[number]), &write(image).digest)
                .unwrap();
            let held = &mut model.repositories[number];
            assert_eq!(was, held.images.remove(&image));
            held.names.retain(|_, named| *named != image);
        }
        Step::PutImage {
            scope: number,
            image,
            name,
        } => {
            IMAGES[image]
                .iter()
                .for_each(|blob| drop(store.put_blob(blob).unwrap()));
            store
                .put_image(&scope(number), &reference(name), &write(image))
                .unwrap();
            model.scopes[number].put(image, name);
        }
        Step::ForgetName { scope: number, name } => {
            let was = store.forget_image(&scope(number), &reference(name)).unwrap();
            let held = &mut model.scopes[number];
            let image = held.names.remove(&name);
            assert_eq!(was, image.is_some());
            if let Some(image) = image.filter(|image| !held.names.values().any(|named| named == image)) {
                held.images.remove(&image);
            }
        }
        Step::ForgetScope { scope: number } => {
            store.forget_scope(&scope(number)).unwrap();
            model.scopes[number] = Held::default();
        }
        Step::Collect => {
            collect_now(store);
            compare_blobs(store, model);
        }
    }
    compare_names(store, model);
}

fn compare_names(store: &Store, model: &Model) {
    for (number, held) in model.repositories.iter().enumerate() {
        let repository = repository(REPOSITORIES[number]);
        for (name, label) in NAMES.iter().enumerate() {
            let found = store.manifest(&repository, &by_tag(label)).unwrap();
            let expected = held.names.get(&name).map(|image| write(*image).digest);
            assert_eq!(found.map(|manifest| manifest.digest), expected);
        }
        for image in 0..IMAGES.len() {
            let found = store
                .manifest(&repository, &ManifestSelector::Digest(write(image).digest))
                .unwrap();
            assert_eq!(found.is_some(), held.images.contains(&image));
        }
    }
    for (number, held) in model.scopes.iter().enumerate() {
        let found: BTreeSet<Digest> = store
            .images(&scope(number))
            .unwrap()
            .into_iter()
            .map(|image| image.manifest)
            .collect();
        assert_eq!(
            found,
            held.images.iter().map(|image| write(*image).digest).collect()
        );
        for name in 0..NAMES.len() {
            let expected = held.names.get(&name).map(|image| write(*image).digest);
            assert_eq!(store.image(&scope(number), &reference(name)).unwrap(), expected);
        }
    }
}

/// After a collection with no grace there is what is needed, and nothing else.
fn compare_blobs(store: &Store, model: &Model) {
    let needed: BTreeSet<&[u8]> = model
        .repositories
        .iter()
        .chain(&model.scopes)
        .flat_map(Held::blobs)
        .collect();
    assert_eq!(store.usage().unwrap().blobs, needed.len() as u64);
    for blob in IMAGES.concat() {
        let digest = Digest::sha256(blob);
        assert_eq!(store.open_blob(&digest).is_ok(), needed.contains(blob));
        for (number, held) in model.repositories.iter().enumerate() {
            let readable = store
                .repository_blob(&repository(REPOSITORIES[number]), &digest)
                .unwrap();
            assert_eq!(readable.is_some(), held.blobs().contains(blob));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_steps(steps in prop::collection::vec(step(), 1..30)) {
        let Place { store, directory: _kept } = place();
        let mut model = Model::default();
        steps.iter().for_each(|step| take(&store, &mut model, step));
        take(&store, &mut model, &Step::Collect);
        let report = store.fsck(&FsckOptions::default()).unwrap();
        prop_assert!(report.is_clean() && report.unknown_files.is_empty(), "{report}");
    }
}
