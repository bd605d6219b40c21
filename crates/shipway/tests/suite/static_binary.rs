//! The binary needs nothing but the kernel: CI jobs copy it into any image.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::Result;

use crate::harness::succeed;

#[test]
fn the_binary_names_no_interpreter_and_no_library() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_shipway")).unwrap();
    // Program header types of the ELF specification: PT_INTERP is 3.
    let read = |offset: usize, width: usize| {
        binary[offset..offset + width]
            .iter()
            .rev()
            .fold(0_usize, |value, byte| value << 8 | usize::from(*byte))
    };
    let (table, entry_size, entries) = (read(0x20, 8), read(0x36, 2), read(0x38, 2));
    assert!(entries > 0, "no program headers");
    for index in 0..entries {
        assert_ne!(
            read(table + index * entry_size, 4),
            3,
            "the binary asks for a dynamic loader"
        );
    }
}

#[test]
fn the_binary_runs_in_an_empty_root() -> Result<()> {
    let root = tempfile::tempdir()?;
    let binary = root.path().join("shipway");
    std::fs::copy(env!("CARGO_BIN_EXE_shipway"), &binary)?;
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))?;
    // A user namespace lets an ordinary user change its root as well.
    let output = succeed(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "chroot"])
            .arg(root.path())
            .args(["/shipway", "--version"]),
    )?;
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("shipway "));
    Ok(())
}
