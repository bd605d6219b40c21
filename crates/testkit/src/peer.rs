//! The real programs that tests drive, found once by name.

use std::path::{Path, PathBuf};

/// A program of somebody else's.
#[derive(Debug, Clone)]
pub struct Peer {
    path: PathBuf,
}

impl Peer {
    /// The program of this name: in `target/peers` where the tests' own set-up puts it, else on `PATH`.
    ///
    /// # Panics
    /// Under CI when it is missing: there a skip is a failure.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let installed = workspace().join("target/peers").join(name);
        let on_path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::iter::once(installed)
            .chain(std::env::split_paths(&on_path).map(|directory| directory.join(name)))
            .find(|path| path.is_file());
        if found.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "`{name}` is missing; scripts/install-peers brings it"
            );
            report_missing(name);
        }
        found.map(|path| Self { path })
    }

    /// Where the program is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a test that passes over something says so to whoever runs it"
)]
fn report_missing(name: &str) {
    eprintln!("passed over: `{name}` is not installed (scripts/install-peers)");
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_root.ancestors().nth(2).unwrap_or(crate_root).to_path_buf()
}
