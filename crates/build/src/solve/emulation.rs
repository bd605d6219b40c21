//! Steps for another processor: qemu runs their programs, where this machine has one.
//!
//! It is registered in the user namespace of the build's pod, so that nobody needs to be an administrator and nothing of the machine
//! changes. A kernel that cannot do that may have been told of qemu by an administrator; that is looked at next. Steps that run no
//! program need none of it.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use shipway_oci::Platform;
use shipway_sandbox::{Interpreter, Keeper};

use crate::error::StepError;

/// What the programs of a processor look like, and what qemu calls it.
struct Processor {
    /// As Go calls it.
    architecture: &'static str,
    qemu: &'static str,
    /// Whether its words have 64 bits, and whether the high byte comes first.
    is_wide: bool,
    is_big_endian: bool,
    /// `e_machine` of its ELF files.
    machine: u16,
}

const fn processor(
    architecture: &'static str,
    qemu: &'static str,
    is_wide: bool,
    is_big_endian: bool,
    machine: u16,
) -> Processor {
    Processor {
        architecture,
        qemu,
        is_wide,
        is_big_endian,
        machine,
    }
}

const PROCESSORS: [Processor; 9] = [
    processor("amd64", "x86_64", true, false, 62),
    processor("386", "i386", false, false, 3),
    processor("arm64", "aarch64", true, false, 183),
    processor("arm", "arm", false, false, 40),
    processor("riscv64", "riscv64", true, false, 243),
    processor("ppc64le", "ppc64le", true, false, 21),
    processor("s390x", "s390x", true, true, 22),
    processor("mips64le", "mips64el", true, false, 8),
    processor("loong64", "loongarch64", true, false, 258),
];

/// Where Debian puts it, beside what `PATH` says.
const PLACES: [&str; 2] = ["/usr/bin", "/usr/local/bin"];
/// What an administrator has registered.
const MACHINE_WIDE: &str = "/proc/sys/fs/binfmt_misc";

/// Whether programs for a platform need somebody to run them.
pub(super) fn is_needed(platform: &Platform) -> bool {
    !runs_here(platform, &Platform::host())
}

/// Sees to it that programs for a platform run in the containers of a keeper. Blocks.
///
/// # Errors
/// When they cannot, with what would help.
pub(super) fn enable(keeper: &Keeper, platform: &Platform) -> Result<(), StepError> {
    let failed = |reason: String| StepError::Emulation {
        platform: Box::new(platform.clone()),
        reason,
    };
    let known = PROCESSORS
        .iter()
        .find(|processor| platform.os == "linux" && processor.architecture == platform.architecture);
    let Some(processor) = known else {
        return Err(failed("no emulator of it is known".to_owned()));
    };
    let registered = match find(processor, places()) {
        None => Err(format!(
            "there is no statically linked qemu-{0} on this machine: install the package `qemu-user-static` \
             (on Debian 13 `qemu-user`), or put `qemu-{0}-static` into the PATH",
            processor.qemu
        )),
        Some(path) => keeper
            .register_interpreter(processor.interpreter(path))
            .map_err(|error| {
                format!(
                    "{}; an administrator can register qemu for the whole machine, with the flag F",
                    shipway_oci::with_causes(&error)
                )
            }),
    };
    match registered {
        Err(reason) if !is_registered_here(processor, Path::new(MACHINE_WIDE)) => Err(failed(reason)),
        _ => Ok(()),
    }
}

/// Whether the processor itself runs the programs.
fn runs_here(platform: &Platform, host: &Platform) -> bool {
    let same = platform.os == host.os && platform.architecture == host.architecture;
    let older = matches!(
        (host.architecture.as_str(), platform.architecture.as_str()),
        ("amd64", "386") | ("arm64", "arm")
    );
    same || platform.os == host.os && older
}

fn places() -> impl Iterator<Item = PathBuf> {
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    let of_path: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|place| place.is_absolute())
        .collect();
    PLACES.iter().map(PathBuf::from).chain(of_path)
}

/// Debian 12 and others have it under the first name, Debian 13 under the second.
fn find(processor: &Processor, places: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let names = [
        format!("qemu-{}-static", processor.qemu),
        format!("qemu-{}", processor.qemu),
    ];
    let mut candidates = places.flat_map(|place| names.clone().map(|name| place.join(name)));
    candidates.find(|path| is_static(path))
}

/// Whether a program needs no other file: an ELF file for 64 bits without an interpreter of its own.
fn is_static(path: &Path) -> bool {
    const INTERPRETER: u32 = 3;
    let Ok(file) = File::open(path) else { return false };
    let mut header = [0; 64];
    if file.read_exact_at(&mut header, 0).is_err() || !header.starts_with(b"\x7fELF\x02") {
        return false;
    }
    // The machine's own byte order: it could not be started otherwise.
    let offset = u64::from_ne_bytes(header[32..40].try_into().unwrap_or_default());
    let size = u64::from(u16::from_ne_bytes([header[54], header[55]]));
    let count = u64::from(u16::from_ne_bytes([header[56], header[57]]));
    (0..count).all(|number| {
        let mut kind = [0; 4];
        let at = offset.saturating_add(number * size);
        file.read_exact_at(&mut kind, at).is_ok() && u32::from_ne_bytes(kind) != INTERPRETER
    })
}

/// Whether an administrator had the kernel open an emulator of it, for everybody.
fn is_registered_here(processor: &Processor, list: &Path) -> bool {
    let entry = list.join(format!("qemu-{}", processor.qemu));
    let Ok(text) = std::fs::read_to_string(entry) else {
        return false;
    };
    let opened = |line: &str| {
        line.strip_prefix("flags:")
            .is_some_and(|flags| flags.contains('F'))
    };
    text.lines().any(|line| line == "enabled") && text.lines().any(opened)
}

impl Processor {
    /// An ELF file of the processor that is a program: of any system's ABI, with a fixed place or without.
    fn interpreter(&self, path: PathBuf) -> Interpreter {
        let half = |value: u16| {
            if self.is_big_endian {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let mut magic = b"\x7fELF".to_vec();
        magic.extend([1 + u8::from(self.is_wide), 1 + u8::from(self.is_big_endian), 1]);
        magic.resize(16, 0);
        magic.extend(half(2));
        magic.extend(half(self.machine));
        let mut mask = vec![0xff; 16];
        mask[7] = 0;
        mask.extend(half(0xfffe));
        mask.extend([0xff, 0xff]);
        Interpreter {
            name: format!("qemu-{}", self.qemu),
            magic,
            mask,
            path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_magic_is_that_of_the_processors_programs() {
        let arm = PROCESSORS
            .iter()
            .find(|processor| processor.qemu == "aarch64")
            .unwrap();
        let interpreter = arm.interpreter("/q".into());
        assert_eq!(
            interpreter.magic,
            b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0"
        );
        assert_eq!(
            interpreter.mask,
            b"\xff\xff\xff\xff\xff\xff\xff\0\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        );
        let big = PROCESSORS
            .iter()
            .find(|processor| processor.qemu == "s390x")
            .unwrap();
        assert_eq!(
            &big.interpreter("/q".into()).magic[4..],
            b"\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16"
        );
    }

    #[test]
    fn only_a_static_program_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let arm = PROCESSORS
            .iter()
            .find(|processor| processor.qemu == "arm")
            .unwrap();
        let places = || std::iter::once(home.path().to_owned());
        assert_eq!(find(arm, places()), None);
        // This test is linked as it is; a shell of the machine is not.
        let at = home.path().join("qemu-arm");
        std::fs::write(&at, "#!/bin/sh\n").unwrap();
        assert_eq!(find(arm, places()), None);
        let mut program = vec![0; 64 + 56];
        program[..5].copy_from_slice(b"\x7fELF\x02");
        program[32] = 64;
        program[54] = 56;
        program[56] = 1;
        std::fs::write(&at, &program).unwrap();
        assert_eq!(find(arm, places()), Some(at.clone()));
        program[64] = 3;
        std::fs::write(&at, &program).unwrap();
        assert_eq!(find(arm, places()), None);
    }

    #[test]
    fn what_an_administrator_registered_counts_when_it_is_open() {
        let list = tempfile::tempdir().unwrap();
        let arm = PROCESSORS
            .iter()
            .find(|processor| processor.qemu == "arm")
            .unwrap();
        let write = |text| std::fs::write(list.path().join("qemu-arm"), text).unwrap();
        assert!(!is_registered_here(arm, list.path()));
        write("enabled\ninterpreter /q\nflags: F\n");
        assert!(is_registered_here(arm, list.path()));
        write("enabled\ninterpreter /q\nflags: \n");
        assert!(!is_registered_here(arm, list.path()));
        write("disabled\ninterpreter /q\nflags: F\n");
        assert!(!is_registered_here(arm, list.path()));
    }

    #[test]
    fn a_processor_runs_its_own_programs_and_its_forebears() {
        let runs = |platform: &str, host: &str| runs_here(&platform.parse().unwrap(), &host.parse().unwrap());
        assert!(runs("linux/amd64", "linux/amd64") && runs("linux/386", "linux/amd64"));
        assert!(runs("linux/arm/v7", "linux/arm64"));
        assert!(!runs("linux/arm64", "linux/amd64") && !runs("linux/amd64", "linux/386"));
    }
}
