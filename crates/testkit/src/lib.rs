//! What the tests of several crates need and no shipped code may have: hermetic homes, git repositories, bounded waiting,
//! the real peers, and the account that they run under.
//!
//! Nothing here makes a double of anything: a peer is the real program or the test says that it is missing. Under CI a
//! missing peer is a failure, elsewhere the test says on standard error what it passed over.

mod account;
mod home;
mod peer;
mod repository;
mod wait;

pub use account::Account;
pub use home::Home;
pub use peer::{Peer, workspace};
pub use repository::git_repository;
pub use wait::wait_for;
