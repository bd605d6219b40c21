//! A power cut: what the kernel had not written yet is gone.
//!
//! The data directory is an ext4 file system of its own, in a file. In the midst of pushes, deletions and builds the file system is
//! told to stop where it stands, its journal not flushed, as file systems' own tests do it: from one moment on nothing is written,
//! and what was only in memory is lost. What had been written is copied, checked by `fsck.ext4` and mounted in its place, and must
//! hold whatever was acknowledged at any time.
//!
//! Not shown here: a disk that acknowledges a write and loses it although it was told to flush.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, wait_for};

use super::http::{Http, Image};
use crate::harness::{Disk, Ledger, User, finish, names, succeed, text, works};

/// How much is acknowledged before each cut.
const CUTS: [usize; 3] = [3, 8, 14];
/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`, of the kernel's `include/uapi/linux/ext4.h`.
const CUT: &str = r#"
my $how = pack("L", 2);
open(my $disk, "<", $ARGV[0]) or die "open: $!";
ioctl($disk, 0x8004587d, $how) or die "ioctl: $!";
"#;

/// What a power cut does to a disk.
trait PowerCut {
    /// From now on nothing is written.
    fn cut(&self) -> Result<()>;
    /// Mounts what the cut left, as the next start of the machine finds it. The old one may be held by mount namespaces of other
    /// tests.
    fn come_back(&mut self) -> Result<()>;
}

impl PowerCut for Disk {
    fn cut(&self) -> Result<()> {
        succeed(Command::new("perl").args(["-e", CUT]).arg(&self.mounted))?;
        Ok(())
    }

    fn come_back(&mut self) -> Result<()> {
        let found = self.file.with_added_extension("found");
        succeed(
            Command::new("cp")
                .arg("--sparse=always")
                .args([&self.file, &found]),
        )?;
        self.unmount();
        std::fs::rename(&found, &self.file)?;
        let checked = finish(Command::new("fsck.ext4").args(["-f", "-p"]).arg(&self.file))?;
        // 1: it replayed the journal.
        ensure!(
            matches!(checked.status.code(), Some(0 | 1)),
            "fsck.ext4: {}",
            text(&checked)
        );
        self.mount()
    }
}

/// What several clients at once were told.
#[derive(Default)]
struct Told {
    ledger: Ledger,
    answers: usize,
    /// There is nothing more to ask.
    is_over: bool,
}

fn open(shared: &Mutex<Told>) -> MutexGuard<'_, Told> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answered(shared: &Mutex<Told>, tell: impl FnOnce(&mut Ledger)) {
    let mut told = open(shared);
    tell(&mut told.ledger);
    told.answers += 1;
}

/// Pushes, and deletes every third image, until the registry answers no more as it should.
fn push(http: &Http<'_>, prefix: &str, shared: &Mutex<Told>) -> Result<()> {
    let numbers = (0..).take_while(|_| !open(shared).is_over);
    for number in numbers {
        let tag = format!("{prefix}-{number}-image");
        let image = Image::new(&tag)?;
        let name = format!("crash/power:{tag}");
        let Ok(Some(())) = http.push("crash/power", &tag, &image) else {
            break;
        };
        answered(shared, |ledger| ledger.holds(&name, &image.digest()));
        if number % 3 == 2 {
            open(shared).ledger.doubts(&name);
            let Ok(Some(())) = http.delete("crash/power", &image.digest()) else {
                break;
            };
            answered(shared, |ledger| ledger.lacks(&name));
        }
    }
    Ok(())
}

/// Builds in containers, until that fails.
fn build(user: &User, prefix: &str, shared: &Mutex<Told>) -> Result<()> {
    let numbers = (0..).take_while(|_| !open(shared).is_over);
    for number in numbers {
        let name = format!("crash/built:{prefix}-{number}-image");
        let tag = format!("registry.shipway.internal/{name}");
        let mut build = user.shipway(&["build", "--quiet", "--no-cache", "--push", "--tag", &tag]);
        let built = finish(build.arg(user.home.work().join("afterwards")))?;
        if !built.status.success() {
            break;
        }
        answered(shared, |ledger| ledger.holds(&name, "sha256:"));
    }
    Ok(())
}

/// The machine starts anew: what is known of its last start is that of another one.
fn restart(data: &Path) -> Result<()> {
    let keepers = data.join("keeper");
    let records = names(&keepers);
    let records: Vec<_> = records.iter().filter(|name| name.ends_with(".boot")).collect();
    ensure!(
        !records.is_empty(),
        "no record of the boot in {}",
        keepers.display()
    );
    for record in records {
        std::fs::write(keepers.join(record), "another boot")?;
    }
    Ok(())
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() -> Result<()> {
    // Mounting needs root outside of any namespace; the store is the same for everybody.
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let user = User::new(Account::Caller)?;
    let data = user.home.data();
    let mut disk = Disk::new(user.home.path().join("disk"), data.clone(), 256)?;
    user.add_tester()?;
    let shared = Mutex::new(Told::default());
    for (cut, wanted) in CUTS.into_iter().enumerate() {
        // Leaves an unpacked layer that nobody has synced.
        works(&user)?;
        let registry = user.serve_again(&[])?;
        let http = Http {
            user: &user,
            address: &registry.address,
        };
        let before = open(&shared).answers;
        open(&shared).is_over = false;
        std::thread::scope(|scope| {
            let pushing = scope.spawn(|| push(&http, &format!("pushed-{cut}"), &shared));
            let building = scope.spawn(|| build(&user, &format!("built-{cut}"), &shared));
            let enough = wait_for(Duration::from_secs(60), || {
                let answers = open(&shared).answers - before;
                if answers < wanted {
                    return Err(format!("{answers} answers"));
                }
                Ok(())
            });
            let is_cut = disk.cut();
            open(&shared).is_over = true;
            for client in [pushing, building] {
                client.join().expect("a client")?;
            }
            enough.and(is_cut)
        })?;
        drop(registry);
        disk.come_back().with_context(|| format!("after cut {cut}"))?;
        restart(&data)?;
        let told = open(&shared);
        told.ledger
            .compare(&user)
            .and_then(|()| works(&user))
            .with_context(|| format!("after cut {cut}"))?;
    }
    Ok(())
}
