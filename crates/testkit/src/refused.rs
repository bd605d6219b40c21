//! A place in which nothing can be mounted: a filter of system calls over a command and all that it starts.
//!
//! It is laid by Perl, which Debian always has and which can make any system call; a test may not, for want of `unsafe`.

use std::path::Path;
use std::process::Command;

use crate::base_images::on_path;

/// Refuses calls by their numbers: `prctl`'s own number, the architecture, the numbers, then the command.
const PROGRAM: &str = r#"
my ($prctl, $architecture, $refused) = splice @ARGV, 0, 3;
my @program = ([0x20, 0, 0, 4], [0x15, 1, 0, $architecture], [0x06, 0, 0, 0x7fff0000], [0x20, 0, 0, 0],
  (map { ([0x15, 0, 1, $_], [0x06, 0, 0, 0x00050001]) } split /,/, $refused), [0x06, 0, 0, 0x7fff0000]);
my $code = join "", map { pack "SCCL", @$_ } @program;
my $filter = pack "Sx6P", scalar @program, $code;
syscall($prctl + 0, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall($prctl + 0, 22, 2, $filter) == 0 or die "filter: $!";
exec @ARGV or die "$ARGV[0]: $!";
"#;

/// `mount`, `umount2`, `pivot_root`, then `open_tree`, `move_mount`, `fsopen`, `fsconfig`, `fsmount`, `fspick`, `mount_setattr`.
#[cfg(target_arch = "x86_64")]
const NUMBERS: [&str; 3] = ["157", "3221225534", "165,166,155,428,429,430,431,432,433,442"];
#[cfg(target_arch = "aarch64")]
const NUMBERS: [&str; 3] = ["167", "3221225655", "40,39,41,428,429,430,431,432,433,442"];

/// A command of a program, to be given arguments, that may make user namespaces and is refused every mount with `EPERM`. Nothing that
/// it starts gains a right by being started, as in pods under the "restricted" standard. None where there is no Perl.
#[must_use]
pub fn without_mounts(program: &Path) -> Option<Command> {
    let mut command = Command::new(on_path("perl")?);
    command.args(["-e", PROGRAM, "--"]).args(NUMBERS).arg(program);
    Some(command)
}
