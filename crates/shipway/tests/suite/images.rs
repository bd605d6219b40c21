//! `shipway image`: what it lists, its other verbs know.

use anyhow::{Result, ensure};
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
