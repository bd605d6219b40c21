//! A hostile job after the keys of whoever started Shipway: what is in a session keyring may be read by all that inherit it.
//!
//! Two things hold, either is enough: the keeper leaves the session keyring, and the filter takes the calls away. The attack was
//! seen to get the key in a build without both.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, git_repository};

use crate::harness::{SUITES, User, assert_nothing_left, finish, succeed, text};

/// `hold WORD COMMAND…` runs a command in a new session keyring with a key; `read` prints that key, from whichever keyring has it.
const KEYS: &str = r#"
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words) {
    static const int rings[] = {KEY_SPEC_SESSION_KEYRING, KEY_SPEC_USER_SESSION_KEYRING, KEY_SPEC_USER_KEYRING};
    if (count > 3 && !strcmp(words[1], "hold")) {
        if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0) return 77;
        if (syscall(SYS_add_key, "user", "shipway", words[2], strlen(words[2]), KEY_SPEC_SESSION_KEYRING) < 0) return 77;
        execv(words[3], words + 3);
        return 78;
    }
    for (unsigned i = 0; i < sizeof rings / sizeof *rings; i++) {
        char key[256];
        long id = syscall(SYS_keyctl, KEYCTL_SEARCH, rings[i], "user", "shipway", 0);
        long length = id < 0 ? -1 : syscall(SYS_keyctl, KEYCTL_READ, id, key, sizeof key);
        if (length > 0) return printf("read: %.*s\n", (int)length, key) < 0;
    }
    perror("no key");
    return 1;
}
"#;

const WORD: &str = "only-the-session-has-this";
/// The program's code where the kernel, or what this machine runs in, has no keyrings.
const NO_KEYRINGS: i32 = 77;

const PIPELINE: &str = "
attack:
  image: busybox:1.36
  script:
    - if ./keys read; then echo got out; else echo kept in; fi
";

fn compile(program: &Path) -> Result<()> {
    let source = program.with_extension("c");
    std::fs::write(&source, KEYS)?;
    succeed(
        Command::new("cc")
            .args(["-static", "-O1", "-o"])
            .args([program, &source]),
    )?;
    Ok(())
}

#[test]
fn a_job_reads_no_key_of_the_session() -> Result<()> {
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join(".gitlab-ci.yml"), PIPELINE)?;
    compile(&files.path().join("keys"))?;
    super::let_everybody_read(files.path())?;
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let keys = user.home.path().join("keys");
        // Another process copies: a descriptor of ours, open for writing while another test forks, would make it `busy`.
        succeed(Command::new("cp").arg(files.path().join("keys")).arg(&keys))?;
        let held = |command: &Command| {
            let mut held = user.home.command(&keys);
            held.args(["hold", WORD])
                .arg(command.get_program())
                .args(command.get_args());
            held
        };
        let control = finish(held(&Command::new(&keys)).arg("read"))?;
        if control.status.code() == Some(NO_KEYRINGS) {
            return Ok(());
        }
        ensure!(
            text(&control).contains(WORD),
            "as {}: the attack does not even work outside: {}",
            account.name(),
            text(&control)
        );
        let repository = git_repository(&user.home, files.path(), "group/keys", "main")?;
        let output = finish(held(&user.shipway(&["run"])).current_dir(&repository))?;
        let said = text(&output);
        ensure!(
            said.contains("kept in") && !said.contains(WORD) && output.status.success(),
            "as {}:\n{said}",
            account.name()
        );
        assert_nothing_left(&user.home).context(account.name())?;
    }
    Ok(())
}
