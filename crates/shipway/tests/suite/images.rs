//! `shipway image`: what it lists, its other verbs know.

use anyhow::{Context as _, Result, ensure};
use shipway_oci::Reference;
use shipway_store::{ManifestWrite, Scope, Store};
use shipway_testkit::Account;

use crate::harness::{SUITES, User, succeed, text};

#[test]
fn an_imported_image_can_be_tagged_before_anything_used_it() -> Result<()> {
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    succeed(&mut user.shipway(&["image", "tag", "busybox:1.36", "mine:1"]))?;
    let listed = succeed(&mut user.shipway(&["image", "ls"]))?;
    ensure!(text(&listed).contains("mine:1"), "{}", text(&listed));

    // The new name is the user's own: it does not go with the import.
    succeed(&mut user.shipway(&["image", "rm", "busybox:1.36"]))?;
    succeed(&mut user.shipway(&["image", "inspect", "mine:1"]))?;
    Ok(())
}

/// What a job of a project pulled, as it is in the store after the job.
fn pulled(user: &User, project: &str, name: &str) -> Result<()> {
    let store = Store::open(&user.home.data().join("store"))?;
    let found = store.image(&Scope::imported(), &Reference::parse("busybox:1.36")?)?;
    let manifest = store.image_manifest(&found.context("busybox is not imported")?)?;
    let manifest = manifest.context("its manifest")?;
    let write = ManifestWrite::new(Some(&manifest.media_type), manifest.bytes)?;
    store.put_image(&Scope::pulled(project)?, &Reference::parse(name)?, &write)?;
    Ok(())
}

#[test]
fn images_of_projects_are_listed_with_their_project_and_go_by_name_or_all_at_once() -> Result<()> {
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    let listed = || Ok::<_, anyhow::Error>(text(&succeed(&mut user.shipway(&["image", "ls"]))?));
    let line = |listed: &str, name: &str, origin: &str| {
        let mut lines = listed.lines();
        lines.any(|line| line.contains(name) && line.contains(origin))
    };
    for project in [
        "group/one:protected",
        "group/one:unprotected",
        "group/two:protected",
    ] {
        pulled(&user, project, "alpine:3")?;
    }
    pulled(&user, "group/two:protected", "debian:12")?;
    succeed(&mut user.shipway(&["image", "tag", "busybox:1.36", "mine:1"]))?;
    let before = listed()?;
    for (name, origin) in [
        ("alpine:3", "pulled for group/one:protected"),
        ("alpine:3", "pulled for group/one:unprotected"),
        ("alpine:3", "pulled for group/two:protected"),
        ("debian:12", "pulled for group/two:protected"),
        ("busybox:1.36", "imported"),
        ("mine:1", "built or pulled"),
    ] {
        ensure!(line(&before, name, origin), "{name} {origin}: {before}");
    }

    succeed(&mut user.shipway(&["image", "rm", "alpine:3"]))?;
    let after = listed()?;
    ensure!(
        !after.contains("alpine"),
        "it is still there for a project: {after}"
    );
    ensure!(line(&after, "debian:12", "group/two"), "{after}");
    let again = user.shipway(&["image", "rm", "alpine:3"]).output()?;
    ensure!(again.status.code() == Some(2), "{}", text(&again));

    succeed(&mut user.shipway(&["prune"]))?;
    ensure!(
        listed()?.contains("debian:12"),
        "without --all nothing pulled goes"
    );
    succeed(&mut user.shipway(&["prune", "--all"]))?;
    let left = listed()?;
    ensure!(!left.contains("debian"), "{left}");
    ensure!(left.contains("mine:1") && left.contains("busybox:1.36"), "{left}");
    Ok(())
}
