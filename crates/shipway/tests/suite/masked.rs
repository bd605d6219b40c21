//! Tier A′: a place whose /proc is masked, as inside other people's containers, so that the kernel refuses a fresh one.

use std::process::Command;

use anyhow::{Result, ensure};
use shipway_testkit::Account;

use crate::harness::{SUITES, User, assert_nothing_left, succeed, text};

/// Masks /proc in a mount namespace of its own, then becomes the account.
const MASK: &str = r#"mount -t tmpfs -o ro tmpfs /proc/fs && exec setpriv --reuid "$1" --regid "$2" --clear-groups "$3" "$4" "$5""#;

/// Shipway of this user, where /proc is masked. Only root can make such a place.
fn masked(user: &User, verb: &str, argument: &str) -> Command {
    let (uid, gid) = match user.home.account() {
        Account::Caller => (0, 0),
        Account::Ordinary { uid, gid } => (uid, gid),
    };
    let plain = user.shipway(&[]);
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "sh",
            "-c",
            MASK,
            "sh",
            &uid.to_string(),
            &gid.to_string(),
        ])
        .arg(plain.get_program())
        .args([verb, argument])
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn a_build_works_where_proc_is_masked() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let report = text(&succeed(&mut masked(&user, "doctor", "--json"))?);
        ensure!(report.contains("\"APrime\""), "as {}:\n{report}", account.name());
        let context = user.home.work().join("context");
        std::fs::create_dir(&context)?;
        std::fs::write(
            context.join("Dockerfile"),
            "FROM busybox:1.36\nRUN echo I am $$ && cat /proc/self/comm && ! cat /proc/1/environ\n",
        )?;
        account.own(&context)?;
        let output = succeed(&mut masked(&user, "build", &context.to_string_lossy()))?;
        let output = text(&output);
        ensure!(
            output.contains("I am 1\ncat\n"),
            "as {}: no process of a namespace of its own:\n{output}",
            account.name()
        );
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}
