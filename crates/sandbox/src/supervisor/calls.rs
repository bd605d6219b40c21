//! Which system calls are answered, and what each of them asks.
//!
//! One table serves both sides: the filter that hands calls over and whoever reads what was handed over. Calls that open files are handed
//! over when their flags say that they make one, which the filter can see, or all of them. `openat2` hides its flags behind a pointer and is always handed over.
//!
//! Known gap: 32-bit programs on x86-64 have numbers of their own, which are left to the kernel: they are root with one id.

use super::credentials::Change;

/// A file that a call names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// Where relative paths begin: a descriptor or `AT_FDCWD`.
    pub(crate) directory: i32,
    /// Address of the path; none where the descriptor itself is meant.
    pub(crate) path: Option<u64>,
    pub(crate) follows: bool,
    /// Whether an empty path means the descriptor.
    pub(crate) may_be_empty: bool,
}

/// The form in which a status is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    /// With flags and mask.
    Extended(i32, u32),
}

/// What a call makes or, of calls that open, may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    /// With the flags of `open`.
    Opened(i32, u32),
    /// The same behind a pointer, of so many bytes.
    OpenedHow(u64, u64),
    Directory(u32),
    /// With the address of its target.
    Link(u64),
    /// With kind and permissions.
    Node(u32),
}

/// Which ids are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    User,
    EffectiveUser,
    Group,
    EffectiveGroup,
    /// With the addresses for three ids.
    Users([u64; 3]),
    Groups([u64; 3]),
    /// With how many there is room for, and where.
    Further(i32, u64),
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Own(Named, (u32, u32)),
    Status(Named, u64, Form),
    Make(Named, Made),
    Become(Change),
    /// `setgroups`, with how many and where they are.
    BecomeMember(u64, u64),
    Ask(Asked),
}

/// The argument that holds a call's flags, when the call is handed over only with some of them.
const ALWAYS: Option<usize> = None;
/// `O_CREAT`, and the bit of `O_TMPFILE` that is its own.
pub(super) const MAKING: u32 = 0o100 | 0o20_000_000;

/// The calls by number, each with the argument that is looked at for [`MAKING`].
pub(super) fn handed_over() -> Vec<(i64, Option<usize>)> {
    let mut calls: Vec<(i64, Option<usize>)> = [
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_mkdirat,
        libc::SYS_symlinkat,
        libc::SYS_mknodat,
        libc::SYS_openat2,
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setfsuid,
        libc::SYS_setfsgid,
        libc::SYS_setgroups,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getresuid,
        libc::SYS_getresgid,
        libc::SYS_getgroups,
    ]
    .map(|number| (number, ALWAYS))
    .into();
    calls.push((libc::SYS_openat, Some(2)));
    #[cfg(target_arch = "x86_64")]
    {
        calls.extend(
            [
                libc::SYS_chown,
                libc::SYS_lchown,
                libc::SYS_stat,
                libc::SYS_lstat,
                libc::SYS_mkdir,
                libc::SYS_symlink,
                libc::SYS_mknod,
                libc::SYS_creat,
            ]
            .map(|number| (number, ALWAYS)),
        );
        calls.push((libc::SYS_open, Some(1)));
    }
    calls
}

/// What a call asks; none of one that is not answered.
pub(crate) fn read(number: i64, arguments: &[u64; 6]) -> Option<Call> {
    let [a, b, c, d, e, _] = *arguments;
    let at = |directory: u64, path: u64, flags: i32| Named {
        directory: low(directory).cast_signed(),
        path: Some(path),
        follows: flags & libc::AT_SYMLINK_NOFOLLOW == 0,
        may_be_empty: flags & libc::AT_EMPTY_PATH != 0,
    };
    let open = |descriptor: u64| Named {
        directory: low(descriptor).cast_signed(),
        path: None,
        follows: false,
        may_be_empty: true,
    };
    let flags = |argument: u64| low(argument).cast_signed();
    // Making follows no link of that name; opening is left to the kernel where there is one.
    let new = |directory: u64, path: u64| at(directory, path, libc::AT_SYMLINK_NOFOLLOW);
    Some(match number {
        libc::SYS_fchown => Call::Own(open(a), (low(b), low(c))),
        libc::SYS_fchownat => Call::Own(at(a, b, flags(e)), (low(c), low(d))),
        libc::SYS_fstat => Call::Status(open(a), b, Form::Plain),
        libc::SYS_newfstatat => Call::Status(at(a, b, flags(d)), c, Form::Plain),
        libc::SYS_statx => Call::Status(at(a, b, flags(c)), e, Form::Extended(flags(c), low(d))),
        libc::SYS_mkdirat => Call::Make(new(a, b), Made::Directory(low(c))),
        libc::SYS_symlinkat => Call::Make(new(b, c), Made::Link(a)),
        libc::SYS_mknodat => Call::Make(new(a, b), Made::Node(low(c))),
        libc::SYS_openat => Call::Make(new(a, b), Made::Opened(flags(c), low(d))),
        libc::SYS_openat2 => Call::Make(new(a, b), Made::OpenedHow(c, d)),
        libc::SYS_setuid => Call::Become(Change::User(low(a))),
        libc::SYS_setgid => Call::Become(Change::Group(low(a))),
        libc::SYS_setreuid => Call::Become(Change::Users(low(a), low(b))),
        libc::SYS_setregid => Call::Become(Change::Groups(low(a), low(b))),
        libc::SYS_setresuid => Call::Become(Change::AllUsers([low(a), low(b), low(c)])),
        libc::SYS_setresgid => Call::Become(Change::AllGroups([low(a), low(b), low(c)])),
        libc::SYS_setfsuid => Call::Become(Change::FilesUser(low(a))),
        libc::SYS_setfsgid => Call::Become(Change::FilesGroup(low(a))),
        libc::SYS_setgroups => Call::BecomeMember(u64::from(low(a)), b),
        libc::SYS_getuid => Call::Ask(Asked::User),
        libc::SYS_geteuid => Call::Ask(Asked::EffectiveUser),
        libc::SYS_getgid => Call::Ask(Asked::Group),
        libc::SYS_getegid => Call::Ask(Asked::EffectiveGroup),
        libc::SYS_getresuid => Call::Ask(Asked::Users([a, b, c])),
        libc::SYS_getresgid => Call::Ask(Asked::Groups([a, b, c])),
        libc::SYS_getgroups => Call::Ask(Asked::Further(flags(a), b)),
        #[cfg(target_arch = "x86_64")]
        _ => return read_old(number, arguments),
        #[cfg(not(target_arch = "x86_64"))]
        _ => return None,
    })
}

/// Calls from before there were those whose paths begin at a descriptor.
#[cfg(target_arch = "x86_64")]
fn read_old(number: i64, arguments: &[u64; 6]) -> Option<Call> {
    let [a, b, c, ..] = *arguments;
    let here = |path: u64, follows: bool| Named {
        directory: libc::AT_FDCWD,
        path: Some(path),
        follows,
        may_be_empty: false,
    };
    let flags = |argument: u64| low(argument).cast_signed();
    Some(match number {
        libc::SYS_chown => Call::Own(here(a, true), (low(b), low(c))),
        libc::SYS_lchown => Call::Own(here(a, false), (low(b), low(c))),
        libc::SYS_stat => Call::Status(here(a, true), b, Form::Plain),
        libc::SYS_lstat => Call::Status(here(a, false), b, Form::Plain),
        libc::SYS_mkdir => Call::Make(here(a, false), Made::Directory(low(b))),
        libc::SYS_symlink => Call::Make(here(b, false), Made::Link(a)),
        libc::SYS_mknod => Call::Make(here(a, false), Made::Node(low(b))),
        libc::SYS_open => Call::Make(here(a, false), Made::Opened(flags(b), low(c))),
        libc::SYS_creat => {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
            Call::Make(here(a, false), Made::Opened(flags, low(b)))
        }
        _ => return None,
    })
}

/// Ids, modes and flags are 32 bits wide; what stands above them in a register means nothing.
fn low(argument: u64) -> u32 {
    (argument & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_is_handed_over_is_read() {
        for (number, _) in handed_over() {
            assert!(read(number, &[0; 6]).is_some(), "{number}");
        }
        assert_eq!(read(libc::SYS_read, &[0; 6]), None);
    }

    #[test]
    fn what_stands_above_an_id_means_nothing() {
        let call = read(libc::SYS_fchown, &[7, 0xffff_ffff_0000_0021, u64::MAX, 0, 0, 0]);
        let Some(Call::Own(named, owner)) = call else {
            panic!("{call:?}")
        };
        assert_eq!((named.directory, named.path, owner), (7, None, (33, u32::MAX)));
        let flags = u64::from(libc::AT_SYMLINK_NOFOLLOW.cast_unsigned());
        let directory = u64::from(libc::AT_FDCWD.cast_unsigned());
        let call = read(libc::SYS_fchownat, &[directory, 99, 1, 2, flags, 0]);
        let Some(Call::Own(named, _)) = call else {
            panic!("{call:?}")
        };
        assert_eq!(
            (named.directory, named.path, named.follows),
            (libc::AT_FDCWD, Some(99), false)
        );
    }
}
