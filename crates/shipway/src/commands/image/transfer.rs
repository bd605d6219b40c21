//! Images on the move: registries, tars, root file systems.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use shipway_container::{Change, ImportOptions, PullOptions, PullPolicy, PullSource, SaveImage};
use shipway_oci::{Digest, Platform, with_causes};
use shipway_store::Scope;

use super::{lookup_failed, no_such_image};
use crate::commands::build::parse_reference;
use crate::commands::build::progress::Transfer;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

pub(super) async fn pull(
    installation: &Installation,
    name: &str,
    platform: Option<Platform>,
    quiet: bool,
) -> Result<(), Failure> {
    let reference = parse_reference(name)?;
    let options = PullOptions {
        platform,
        credentials: Some(installation.credentials(&reference)),
        policy: PullPolicy::Always,
        ..PullOptions::default()
    };
    let outcome = installation
        .images()
        .pull(&Scope::user(), &reference, options, &Transfer::new(quiet))
        .await
        .map_err(|error| Failure::caused(FailureKind::Work, "the image was not pulled", &error))?;
    if let PullSource::Imported {
        unreachable: Some(why),
    } = &outcome.source
    {
        screen::warning(&format!(
            "{} is the imported image: its registry cannot be reached: {}",
            reference.familiar(),
            with_causes(why)
        ));
    }
    if !quiet {
        screen::line(&format!("{} {}", reference.familiar(), outcome.image.id));
    }
    Ok(())
}

pub(super) async fn push(installation: &Installation, name: &str, quiet: bool) -> Result<(), Failure> {
    let reference = parse_reference(name)?;
    let images = installation.images();
    let mut found = None;
    for scope in [Scope::user(), Scope::imported()] {
        if found.is_none() {
            found = images
                .find(&scope, &reference)
                .await
                .map_err(|error| lookup_failed(&error))?;
        }
    }
    let Some(image) = found else {
        return Err(no_such_image(name));
    };
    let digest = installation
        .push(&image.root, &reference, &Transfer::new(quiet))
        .await?;
    if !quiet {
        screen::line(&format!("{}@{digest}", reference.familiar()));
    }
    Ok(())
}

pub(super) async fn import(
    installation: &Installation,
    name: &str,
    tar: PathBuf,
    changes: Vec<Change>,
) -> Result<Digest, Failure> {
    let reference = parse_reference(name)?;
    let images = installation.images();
    let mut options = ImportOptions::new(Scope::imported(), Some(reference));
    options.changes = changes;
    blocking(move || {
        let image = images.import(open(&tar)?, options).map_err(|error| {
            Failure::caused(
                FailureKind::Work,
                &format!("importing `{}`", tar.display()),
                &error,
            )
        })?;
        Ok(image.id)
    })
    .await
}

pub(super) async fn load(installation: &Installation, input: PathBuf) -> Result<(), Failure> {
    let images = installation.images();
    blocking(move || {
        let loaded = images.load(open(&input)?, &Scope::user()).map_err(|error| {
            Failure::caused(
                FailureKind::Work,
                &format!("loading `{}`", input.display()),
                &error,
            )
        })?;
        for entry in loaded {
            if entry.references.is_empty() {
                screen::line(&format!("loaded {}", entry.image.id));
            }
            for reference in &entry.references {
                screen::line(&format!("loaded {}", reference.familiar()));
            }
        }
        Ok(())
    })
    .await
}

pub(super) async fn save(
    installation: &Installation,
    output: PathBuf,
    names: &[String],
) -> Result<(), Failure> {
    let images = installation.images();
    let mut wanted = Vec::new();
    for name in names {
        let mut found = None;
        for scope in [Scope::user(), Scope::imported()] {
            if found.is_none() {
                found = images
                    .resolve(&scope, name)
                    .await
                    .map_err(|error| lookup_failed(&error))?;
            }
        }
        let image = found.ok_or_else(|| no_such_image(name))?;
        let references = image.reference.clone().into_iter().collect();
        wanted.push(SaveImage { image, references });
    }
    blocking(move || {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Failure::caused(
                FailureKind::Work,
                &format!("saving to `{}`", output.display()),
                error,
            )
        };
        let mut file = create(&output).map_err(|error| failed(&error))?;
        images.save(&wanted, &mut file).map_err(|error| failed(&error))?;
        file.flush().map_err(|error| failed(&error))
    })
    .await
}

/// Runs what reads and writes files where it does not hold up the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Failure::caused(
            FailureKind::Internal,
            "a thread ended early",
            &error,
        )),
    }
}

fn open(path: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Failure::caused(
            FailureKind::Use,
            &format!("opening `{}`", path.display()),
            &error,
        )),
    }
}

fn create(path: &Path) -> std::io::Result<Box<dyn Write + Send>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdout()));
    }
    Ok(Box::new(std::io::BufWriter::new(File::create(path)?)))
}
