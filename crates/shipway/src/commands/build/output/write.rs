//! Archives and files, written where the user said.
//!
//! A file that could not be written whole is not there, and what was there before is; a directory keeps what it got.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;

use shipway_build::{Built, Composition, write_directory, write_tar};
use shipway_container::{DirectoryLayout, TarLayout, write_archive};
use shipway_oci::Reference;
use shipway_store::Store;

use super::export::{ArchiveExport, FilesExport, Place};
use super::whole::Whole;
use crate::failure::{Failure, FailureKind};
use crate::screen;

/// Bytes that are written at once.
const PIECE: usize = 1 << 18;

/// Refuses what would fill a screen with an archive. Before anything is built.
pub(super) fn check(place: &Place) -> Result<(), Failure> {
    if *place == Place::StandardOutput && io::stdout().is_terminal() {
        return Err(
            Failure::new(FailureKind::Use, "an archive is nothing for a terminal to show")
                .hint("name a file with dest=, or send standard output into one"),
        );
    }
    Ok(())
}

/// Writes an image as an archive. Blocks.
pub(super) fn archive(
    store: &Store,
    image: &Composition,
    names: &[Reference],
    export: &ArchiveExport,
    place: &Place,
) -> Result<(), Failure> {
    let images = [image.for_archive(names.to_vec())];
    match place {
        Place::Directory(directory) => {
            let mut layout = DirectoryLayout::new(directory).map_err(|error| failed(directory, &error))?;
            write_archive(store, &images, export.form, &mut layout).map_err(|error| failed(directory, &error))
        }
        Place::StandardOutput | Place::File(_) => stream(place, |output| {
            write_archive(store, &images, export.form, &mut TarLayout::new(output))
        }),
    }
}

/// Writes the files of what was built. Blocks.
pub(super) fn files(
    store: &Store,
    built: &Built,
    export: &FilesExport,
    epoch: Option<i64>,
) -> Result<(), Failure> {
    let mut options = export.options;
    options.epoch = options.epoch.or(epoch);
    match &export.place {
        Place::Directory(directory) => {
            let left_out = write_directory(store, &built.images, directory, options)
                .map_err(|error| failed(directory, &error))?;
            for path in left_out {
                screen::warning(&format!("the device {} was left out", path.display()));
            }
            Ok(())
        }
        place => stream(place, |output| write_tar(store, &built.images, output, options)),
    }
}

fn stream<E: std::error::Error + 'static>(
    place: &Place,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), Failure> {
    let (path, made) = match place {
        Place::File(path) | Place::Directory(path) => (path.as_path(), into_file(path, write)),
        Place::StandardOutput => {
            let output = BufWriter::with_capacity(PIECE, io::stdout().lock());
            (Path::new("standard output"), flushed(output, write))
        }
    };
    made.map_err(|error| failed(path, error.as_ref()))
}

fn into_file<E: std::error::Error + 'static>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), Box<dyn std::error::Error>> {
    let whole = Whole::begin(path)?;
    match flushed(BufWriter::with_capacity(PIECE, whole.file()), write) {
        Ok(()) => Ok(whole.finish()?),
        Err(error) => {
            whole.give_up();
            Err(error)
        }
    }
}

fn flushed<E: std::error::Error + 'static>(
    mut output: impl Write,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), Box<dyn std::error::Error>> {
    write(&mut output)?;
    Ok(output.flush()?)
}

fn failed(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::caused(
        FailureKind::Work,
        &format!("writing to `{}`", path.display()),
        error,
    )
}
