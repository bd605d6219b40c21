//! All of it again as an ordinary user with subordinate ids.
//!
//! Run as root, this runs this very binary as such a user; where there is none it says so and passes.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use crate::house::Test;

pub(crate) const TESTS: &[Test] = &[(
    "users::an_ordinary_user_can_do_the_same",
    an_ordinary_user_can_do_the_same,
)];

/// The first user but root that has a home and a range in `/etc/subuid`.
fn user_with_range() -> Option<(String, u32, u32)> {
    let ranges = std::fs::read_to_string("/etc/subuid").ok()?;
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    ranges.lines().find_map(|range| {
        let name = range.split(':').next()?;
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (uid != 0).then(|| (name.to_owned(), uid, gid))
    })
}

fn an_ordinary_user_can_do_the_same() {
    if !rustix::process::geteuid().is_root() {
        // This is the run as that user: the other tests are what is meant.
        return;
    }
    let helper = std::path::Path::new("/usr/bin/newuidmap").exists();
    let Some((name, uid, gid)) = user_with_range().filter(|_| helper) else {
        println!("skipped: no ordinary user with a range in /etc/subuid, or no newuidmap");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = place.path().join("keeper-tests");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    // As somebody has it who installed it at home.
    std::os::unix::fs::chown(&binary, Some(uid), Some(gid)).unwrap();
    let work = place.path().join("work");
    std::fs::create_dir(&work).unwrap();
    std::os::unix::fs::chown(&work, Some(uid), Some(gid)).unwrap();
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            &uid.to_string(),
            "--regid",
            &gid.to_string(),
            "--init-groups",
            "--",
        ])
        .arg(&binary)
        .env("TMPDIR", &work)
        .env("USER", &name)
        .output()
        .expect("run setpriv");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "as {name}:\n{text}\n{errors}");
    assert!(text.contains(" passed, 0 failed"), "{text}");
    assert_eq!(std::fs::metadata(&work).unwrap().uid(), uid);
}
