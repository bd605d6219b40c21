//! Images in one file: what `docker save` and `docker load` exchange, and OCI layouts in a tar.
//!
//! Both forms are read in one pass and in any order of their entries: each file waits in a batch of the store, where
//! its digest becomes its name, and only the documents that say how the files belong together stay in memory. What no image
//! is made of goes with the batch. They are written as one archive that is both forms at once, as docker itself does today, or as an OCI layout alone, in a tar or a directory.

mod contents;
mod documents;
mod error;
mod layout;
mod load;
mod save;
mod tar;

pub use error::LoadError;
pub use layout::{DirectoryLayout, Layout, TarLayout};
pub use load::Loaded;
pub use save::{ArchiveForm, ArchiveImage, SaveError, SaveImage, write_archive};
pub use tar::TarError;
pub(crate) use tar::TarWalk;
