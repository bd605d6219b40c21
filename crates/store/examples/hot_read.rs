//! How long does it take to read one manifest by its tag, the query of every pull?
//!
//! `cargo run --release -p shipway-store --example hot_read`: a store of 1000 repositories with 3 tags each, then 10000
//! reads of one 2 KiB manifest. Behind `docs/decisions/0002-sqlite-library.md`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use shipway_oci::{Descriptor, ImageManifest, Manifest, RepositoryName, media_type};
use shipway_store::{ManifestSelector, ManifestWrite, Store};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const REPOSITORIES: usize = 1000;
const READS: usize = 10_000;

fn main() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(&directory.path().join("store"))?;
    fill(&store)?;

    let (repository, selector) = (name(507)?, ManifestSelector::Tag("t1".parse()?));
    let mut times = Vec::with_capacity(READS);
    for _ in 0..READS {
        let start = Instant::now();
        black_box(store.manifest(&repository, &selector)?);
        times.push(start.elapsed());
    }
    times.sort();
    println!(
        "median {:?}, 99th of 100 {:?}",
        times[READS / 2],
        times[READS * 99 / 100]
    );
    copy_for_others(&store)
}

fn name(number: usize) -> Outcome<RepositoryName> {
    Ok(format!("group{}/app{number}", number % 50).parse()?)
}

fn fill(store: &Store) -> Outcome<()> {
    let config = store.put_blob(b"{}")?;
    for number in 0..REPOSITORIES {
        let repository = name(number)?;
        store.link_blob(&repository, &config.digest)?;
        for tag in 0..3 {
            let mut image = ImageManifest::new(Descriptor::of(media_type::OCI_CONFIG, b"{}"), Vec::new());
            image
                .annotations
                .insert(format!("{number}-{tag}"), "x".repeat(1800));
            let mut write = ManifestWrite::new(None, Manifest::Image(image).to_json()?)?;
            write.tags = vec![format!("t{tag}").parse()?];
            store.put_manifest(&repository, &write)?;
        }
    }
    Ok(())
}

/// With a path as argument, leaves the database there, so that another library can be measured on the same one.
fn copy_for_others(store: &Store) -> Outcome<()> {
    if let Some(path) = std::env::args().nth(1) {
        rusqlite::Connection::open(store.directory().join("store.sqlite"))?
            .execute("VACUUM INTO ?1", [Path::new(&path).to_string_lossy()])?;
    }
    Ok(())
}
