//! What was acknowledged, and whether it is still so.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use shipway_store::{Scope, Store};
use shipway_testkit::{Account, assert_nothing_left, finish, succeed, text, wait_for};

use super::User;

/// The images of the registry by `repository:tag`, and the local ones of the user.
#[derive(Default)]
pub(crate) struct Ledger {
    /// What must be there, with its digest; `None` is what must not.
    acknowledged: BTreeMap<String, Option<String>>,
    /// Whether a local name must be there.
    local: BTreeMap<String, bool>,
}

impl Ledger {
    /// A push or a tag was acknowledged.
    pub(crate) fn holds(&mut self, name: &str, digest: &str) {
        self.acknowledged.insert(name.to_owned(), Some(digest.to_owned()));
    }

    /// A deletion was acknowledged.
    pub(crate) fn lacks(&mut self, name: &str) {
        self.acknowledged.insert(name.to_owned(), None);
    }

    /// Something that would change it has begun: both what was and what would be is right.
    pub(crate) fn doubts(&mut self, name: &str) {
        self.acknowledged.remove(name);
    }

    /// A local image was built or named.
    pub(crate) fn has_local(&mut self, name: &str) {
        self.local.insert(name.to_owned(), true);
    }

    /// A local image was removed.
    pub(crate) fn lacks_local(&mut self, name: &str) {
        self.local.insert(name.to_owned(), false);
    }

    /// A removal has begun.
    pub(crate) fn doubts_local(&mut self, name: &str) {
        self.local.remove(name);
    }

    /// Opens the store again and looks at all that was promised; then pushes something new, and looks for leftovers.
    pub(crate) fn inspect(&self, user: &User) -> Result<()> {
        assert_nothing_left(&user.home).context("after the end")?;
        self.compare(user)?;
        works(user)?;
        nothing_half_written(user)
    }

    /// Whether the store says what was acknowledged, and every byte is right.
    pub(crate) fn compare(&self, user: &User) -> Result<()> {
        let checked = finish(&mut user.shipway(&["fsck"]))?;
        ensure!(checked.status.success(), "fsck: {}", text(&checked));
        let listed = text(&succeed(&mut user.shipway(&["image", "ls", "--registry"]))?);
        for (name, digest) in &self.acknowledged {
            match digest {
                Some(digest) => ensure!(
                    listed.contains(&format!("/{name}@{digest}")),
                    "{name}@{digest} was acknowledged and is not in\n{listed}"
                ),
                None => ensure!(
                    !listed.contains(&format!("/{name}@")),
                    "{name} was deleted and is in\n{listed}"
                ),
            }
        }
        if self.local.is_empty() {
            return Ok(());
        }
        let listed = text(&succeed(&mut user.shipway(&["image", "ls"]))?);
        for (name, expected) in &self.local {
            let found = listed.contains(name.as_str());
            ensure!(
                found == *expected,
                "{name}: acknowledged as {expected}, found as {found} in\n{listed}"
            );
        }
        Ok(())
    }
}

/// A new build with a step and a push.
pub(crate) fn works(user: &User) -> Result<()> {
    let context = user.busybox_context("afterwards")?;
    let name = "registry.shipway.internal/after/crash:1";
    succeed(
        user.shipway(&["build", "--quiet", "--no-cache", "--push", "--tag", name])
            .arg(&context),
    )
    .context("a new build and push")?;
    Ok(())
}

/// Whatever the next start is to remove is removed by it, and by a collection what only a collection may remove.
fn nothing_half_written(user: &User) -> Result<()> {
    assert_nothing_left(&user.home)?;
    let data = user.home.data();
    wait_for(Duration::from_secs(20), || {
        // Each command that starts containers sweeps in the background, and may end before its sweep has.
        let left = leftovers(&data);
        if left.is_empty() {
            return Ok(());
        }
        works(user).map_err(|error| format!("{error:#}"))?;
        Err(format!("left behind: {left:?}"))
    })?;
    Ok(())
}

/// What a crash leaves in the store itself goes with the next collection, once it is too old to be somebody's work.
pub(crate) fn after_collection(user: &User) -> Result<()> {
    let store = user.home.data().join("store");
    succeed(Command::new("find").arg(&store).args([
        "-type",
        "f",
        "-exec",
        "touch",
        "--date=yesterday",
        "{}",
        "+",
    ]))?;
    let jobs = user.home.data().join("jobs");
    let dead = names(&jobs);
    succeed(&mut user.shipway(&["gc", "--grace", "0"]))?;
    let kept = names(&jobs);
    ensure!(kept.is_empty(), "marks of dead jobs: {kept:?}");
    // A store opens for its owner only; what is in it does not depend on who that is.
    if user.home.account() == Account::Caller {
        let store = Store::open(&store)?;
        for job in dead {
            let images = store.images(&Scope::job(job.parse()?))?;
            ensure!(
                images.is_empty(),
                "images of the dead job {job}: {}",
                images.len()
            );
        }
    }
    let incoming: Vec<_> = std::fs::read_dir(store.join("incoming"))?.flatten().collect();
    ensure!(incoming.is_empty(), "half-written blobs: {incoming:?}");
    let checked = succeed(&mut user.shipway(&["fsck", "--json"]))?;
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout)?;
    let unknown = report["unknown_files"].as_array().context("a report")?;
    ensure!(unknown.is_empty(), "files that no row knows: {unknown:?}");
    Ok(())
}

/// What is in a directory, if it is there.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// What lies where only living processes have something.
pub(crate) fn leftovers(data: &Path) -> Vec<String> {
    let mut places = vec![data.join("locks"), data.join("spool")];
    let classes = std::fs::read_dir(data.join("keeper"))
        .into_iter()
        .flatten()
        .flatten();
    places.extend(classes.map(|class| class.path().join("pods")));
    places
        .iter()
        .flat_map(|place| std::fs::read_dir(place).into_iter().flatten().flatten())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with("layers."))
        .map(|entry| entry.path().display().to_string())
        .collect()
}
