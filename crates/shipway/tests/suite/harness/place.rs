//! Other places than this machine, as a user may find them: something is mounted over, in a mount namespace of its own.

use std::process::Command;

use shipway_testkit::Account;

use super::User;

/// Shipway of this user, after `preparation`, a script of root in a mount namespace that ends with the command. Only root can
/// make such a place.
pub(crate) fn in_place(preparation: &str, user: &User, arguments: &[&str]) -> Command {
    in_place_of(preparation, user.home.account(), &user.shipway(arguments))
}

/// The same of any command, of which arguments, environment and directory count.
pub(crate) fn in_place_of(preparation: &str, account: Account, plain: &Command) -> Command {
    let (uid, gid) = match account {
        Account::Caller => (0, 0),
        Account::Ordinary { uid, gid } => (uid, gid),
    };
    let script =
        format!(r#"{preparation} && exec setpriv --reuid "$1" --regid "$2" --clear-groups "${{@:3}}""#);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "bash", "-c", &script, "bash"])
        .args([uid.to_string(), gid.to_string()])
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = plain.get_current_dir() {
        command.current_dir(directory);
    }
    command
}
