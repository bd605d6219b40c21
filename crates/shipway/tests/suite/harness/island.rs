//! A place with a network of its own and other files where tests want them: there a test decides what a name of the internet stands for,
//! who has its certificate, and that nothing else answers.
//!
//! It lasts as long as a process that does nothing but hold its namespaces, and that process as long as the value. Only root
//! can make one; what runs in it may be anybody.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::Account;

/// Arguments: what is seen, and where, in pairs.
const SETTLE: &str = r#"
busybox ip link set lo up || exit
while [ $# -gt 0 ]; do mount --bind "$1" "$2" || exit; shift 2; done
echo settled && exec cat
"#;

/// Namespaces with files in them; they end with the value.
pub(crate) struct Island {
    holder: Child,
}

impl Island {
    /// A place where each file or directory is seen at the path beside it.
    pub(crate) fn new(seen: &[(&Path, &str)]) -> Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "sh", "-c", SETTLE, "sh"])
            .args(seen.iter().flat_map(|(path, at)| [*path, Path::new(at)]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let output = holder.stdout.take().context("standard output")?;
        let island = Self { holder };
        BufReader::new(output).read_line(&mut said)?;
        ensure!(said == "settled\n", "no network and no mounts of its own");
        Ok(island)
    }

    /// A command as it is, for this account and in this place.
    pub(crate) fn enter(&self, plain: &Command, account: Account) -> Command {
        let (uid, gid) = match account {
            Account::Caller => (0, 0),
            Account::Ordinary { uid, gid } => (uid, gid),
        };
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.holder.id()))
            .args(["--mount", "--net"]);
        if let Some(directory) = plain.get_current_dir() {
            command.arg(format!("--wd={}", directory.display()));
        }
        command
            .args(["setpriv", "--clear-groups"])
            .args([format!("--reuid={uid}"), format!("--regid={gid}")])
            .arg(plain.get_program())
            .args(plain.get_args())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // Gone already is as good as ended.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
