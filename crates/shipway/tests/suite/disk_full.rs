//! A full disk: the command says so, the store opens and holds every image that was acknowledged, and work goes on once
//! there is room.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use shipway_store::Store;
use shipway_testkit::Account;

use crate::harness::{User, finish, succeed, text};

/// A file system of its own that fills up soon; unmounted with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, megabytes: u32) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let size = format!("size={megabytes}m,mode=0755");
        succeed(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                .arg(at),
        )?;
        Ok(Self(at.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn what_was_acknowledged_survives_a_full_disk() -> Result<()> {
    // Mounting needs root outside of any namespace; the store is the same for everybody.
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let user = User::new(Account::Caller)?;
    let disk = SmallDisk::mount(&user.home.path().join("small"), 24)?;
    let data = disk.0.join("data").to_string_lossy().into_owned();
    let context = user.home.work().join("context");
    std::fs::create_dir(&context)?;
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY data /data\n")?;
    let build = |number: u32, fill: u8| -> Result<std::process::Output> {
        // What a compressor cannot shrink, different each time.
        let mut state = u64::from(number) << 8 | u64::from(fill);
        let noise: Vec<u8> = (0..3_000_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        std::fs::write(context.join("data"), noise)?;
        let name = format!("registry.shipway.internal/full/disk:{number}");
        finish(
            user.shipway(&["--data", &data, "build", "--quiet", "--push", "--tag", &name])
                .arg(&context),
        )
    };

    let mut acknowledged = Vec::new();
    let refused = loop {
        let number = u32::try_from(acknowledged.len())?;
        ensure!(number < 20, "the disk never filled up");
        let output = build(number, 1)?;
        if !output.status.success() {
            break output;
        }
        acknowledged.push(number);
    };
    ensure!(
        !acknowledged.is_empty(),
        "not even one image fits: {}",
        text(&refused)
    );
    ensure!(
        refused.status.code() == Some(1),
        "{:?}: {}",
        refused.status,
        text(&refused)
    );
    ensure!(
        text(&refused).to_lowercase().contains("no space left"),
        "{}",
        text(&refused)
    );

    succeed(&mut user.shipway(&["--data", &data, "fsck"]))?;
    let listed = text(&succeed(&mut user.shipway(&[
        "--data",
        &data,
        "image",
        "ls",
        "--registry",
    ]))?);
    for number in &acknowledged {
        ensure!(
            listed.contains(&format!("full/disk:{number}@")),
            "{number} is missing in {listed}"
        );
    }

    // Room again: the same store takes the image that it refused.
    let grown = "remount,size=256m";
    succeed(Command::new("mount").args(["-o", grown]).arg(&disk.0))?;
    let number = u32::try_from(acknowledged.len()).context("a small number")?;
    let output = build(number, 1)?;
    ensure!(output.status.success(), "with room again: {}", text(&output));
    succeed(&mut user.shipway(&["--data", &data, "fsck"]))?;
    Ok(())
}

/// Not a byte is free, and the command that is for it frees some.
#[test]
fn a_completely_full_disk_can_be_freed() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let user = User::new(Account::Caller)?;
    let disk = SmallDisk::mount(&user.home.path().join("small"), 24)?;
    let data = disk.0.join("data");
    let stray: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
    Store::open(&data.join("store"))?.put_blob(&stray)?;
    let full = fill_up(&disk.0.join("filler"))?;
    ensure!(full > 0, "the disk was full before");

    let data = data.to_string_lossy().into_owned();
    let freed = finish(&mut user.shipway(&["--data", &data, "gc", "--grace", "0"]))?;
    ensure!(freed.status.success(), "{}", text(&freed));
    ensure!(text(&freed).contains("1 blobs"), "{}", text(&freed));
    succeed(&mut user.shipway(&["--data", &data, "fsck"]))?;
    let kept = std::fs::metadata(disk.0.join("data/store/ballast"))?.len();
    ensure!(kept == 8 << 20, "{kept} bytes are kept for the next time");
    Ok(())
}

/// Writes until not a byte more fits; gives how many did.
fn fill_up(path: &Path) -> Result<u64> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    let mut written = 0;
    for size in [64 << 10, 4096, 1] {
        let block = vec![1; size];
        loop {
            match file.write(&block) {
                Ok(0) => break,
                Ok(some) => written += some as u64,
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(written)
}
