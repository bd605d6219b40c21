//! What the tests of several crates need and no shipped code may have: a harness for binaries with a main of their own,
//! foreign bytes for parsers, hermetic homes, root file systems and base images, git repositories, bounded waiting, the real
//! peers, the account that they run under, and what they leave behind.
//!
//! Nothing here makes a double of anything: a peer is the real program or the test says that it is missing. Under CI a
//! missing peer is a failure, elsewhere the test says on standard error what it passed over.

mod account;
mod base_images;
mod busybox;
mod command;
mod foreign;
mod git_server;
pub mod harness;
mod home;
mod leftovers;
mod peer;
mod refused;
mod repository;
mod wait;

pub use account::Account;
pub use base_images::{
    BaseImages, SUITES, Suite, buildah_image, debian_image, on_path, shared_images, shared_inputs, suites,
};
pub use busybox::{Tar, busybox_root};
pub use command::{finish, finish_fed, succeed, succeed_fed, text};
pub use foreign::Foreign;
pub use git_server::{GitServer, GitServerOptions, git, git_object};
pub use home::Home;
pub use leftovers::{assert_nothing_left, processes_naming};
pub use peer::{Peer, workspace};
pub use refused::without_mounts;
pub use repository::git_repository;
pub use wait::{eventually, wait_for};
