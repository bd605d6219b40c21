//! What the tests of the whole share: a user at a keyboard with the binary, and the long-lived commands that it starts.
//!
//! What other crates' tests can use as well is in `shipway-testkit`.

mod disk;
mod island;
mod ledger;
mod place;
mod process;
mod project;
mod user;

use std::path::PathBuf;

pub(crate) use disk::Disk;
pub(crate) use island::Island;
pub(crate) use ledger::{Ledger, after_collection, leftovers, names, works};
pub(crate) use place::{in_place, in_place_of};
pub(crate) use process::{Answer, CREDENTIALS, Ending, Registry, RunningEngine, skopeo_copy, with_storage};
pub(crate) use project::{Project, everywhere, everywhere_with};
pub(crate) use shipway_testkit::{
    SUITES, assert_nothing_left, buildah_image, debian_image, finish, finish_fed, on_path, shared_images,
    succeed, succeed_fed, text,
};
pub(crate) use user::User;

/// The pipeline of this name among the real inputs, if they are beside the project.
pub(crate) fn shared_pipeline(name: &str) -> Option<PathBuf> {
    shipway_testkit::shared_inputs(&format!("pipelines/{name}"))
}
