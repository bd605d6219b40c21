//! What a process of a container tried on the keeper, the kernel and the machine, each seen to work once and closed since.

use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use shipway_sandbox::{ArchiveRequest, ArchiveRoot, ExitStatus, Mount, MountSource, Stdio};

use crate::escapes::{both, running};
use crate::house::{House, Test, container, process};

pub(crate) const TESTS: &[Test] = &[
    (
        "attacks::descriptors_of_a_process_on_its_way_in_cannot_be_taken",
        descriptors_of_a_process_on_its_way_in_cannot_be_taken,
    ),
    (
        "attacks::the_binary_cannot_be_changed_from_inside",
        the_binary_cannot_be_changed_from_inside,
    ),
    (
        "attacks::calls_that_open_the_kernel_are_denied",
        calls_that_open_the_kernel_are_denied,
    ),
    (
        "attacks::a_read_only_mount_of_the_machine_stays_so",
        a_read_only_mount_of_the_machine_stays_so,
    ),
    (
        "attacks::descriptors_on_their_way_keep_no_keeper_from_passing_its_own",
        descriptors_on_their_way_keep_no_keeper_from_passing_its_own,
    ),
    (
        "attacks::a_fork_bomb_ends_in_its_own_pod",
        a_fork_bomb_ends_in_its_own_pod,
    ),
];

/// What this binary does as a process of a container; none if it is not asked to.
pub(crate) fn attack() -> Option<()> {
    let asked = std::env::args().nth(1)?;
    match asked.as_str() {
        "--attack-descriptors" => take_descriptors(),
        "--attack-binary" => change_own_binary(),
        "--attack-calls" => make_denied_calls(),
        "--attack-passing" => fill_the_way(),
        _ => return None,
    }
    Some(())
}

/// A copy of this binary where the pod's root may read it.
fn own_binary_in(house: &House) {
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    house
        .keeper
        .write_file(Path::new("base/bin/attacker"), &bytes, 0o755, (0, 0))
        .unwrap();
}

/// What a debugger may do is what `pidfd_getfd` asks the kernel for.
fn descriptors_of_a_process_on_its_way_in_cannot_be_taken() {
    let house = House::with_busybox();
    own_binary_in(&house);
    // Long enough to read that the way takes a while.
    let line = "ann:x:1000:1001::/home/ann:/bin/sh\n";
    house.write("base/etc/passwd", &line.repeat(200_000));
    let (started, mut output) = house.start(container(
        house.root("c"),
        &["/bin/attacker", "--attack-descriptors"],
    ));
    output.read_exact(&mut [0; 3]).unwrap();
    for round in 0..20 {
        let mut spec = process(&["/bin/busybox", "true"]);
        if round % 2 == 0 {
            spec.user = "7:7".into();
        }
        let entered = house
            .keeper
            .exec(&started.container, spec, Stdio::default())
            .unwrap();
        house.keeper.wait(entered.process).unwrap();
        // Workers go there too, and so does a container that mounts something of it.
        let (_read, output) = house.keeper.pipe().unwrap();
        let request = ArchiveRequest::new(
            ArchiveRoot::Container(started.container),
            vec!["/tmp".into()],
            output,
        );
        house.keeper.archive(request).unwrap();
        let mut spec = container(house.root(&format!("other{round}")), &["/bin/busybox", "true"]);
        spec.mounts = vec![Mount {
            target: "/theirs".into(),
            source: MountSource::Container {
                container: started.container,
                path: "/tmp".into(),
            },
            read_only: false,
        }];
        let other = house.keeper.start(spec, Stdio::default()).unwrap();
        house.keeper.wait(other.process).unwrap();
    }
    house.keeper.stop(&started.container).unwrap();
    let mut seen = String::new();
    output.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "");
}

/// As root of a container: takes every descriptor of every other process that the kernel lets go of. A process that
/// runs its program has none but its standard streams.
fn take_descriptors() {
    println!("up");
    loop {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
                .and_then(Pid::from_raw);
            let Some(pid) = pid.filter(|pid| *pid != rustix::process::getpid()) else {
                continue;
            };
            let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            for number in 3..16 {
                if let Ok(taken) = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()) {
                    let path = std::fs::read_link(format!("/proc/self/fd/{}", taken.as_raw_fd()));
                    println!("descriptor {number} of {pid:?}: {path:?}");
                }
            }
        }
    }
}

fn the_binary_cannot_be_changed_from_inside() {
    let house = House::with_busybox();
    let binary = std::env::current_exe().unwrap();
    let looks = || {
        let status = std::fs::metadata(&binary).unwrap();
        (status.mode(), status.ino(), status.ctime(), status.ctime_nsec())
    };
    let before = looks();
    let inside = running(&house, "running", "true");
    let new = container(house.root("new"), &[]);
    // The one program that a container can execute from outside: what the process on its way in was executed from.
    for result in both(
        &house,
        &new,
        &inside,
        &process(&["/proc/self/exe", "--attack-binary"]),
    ) {
        let text = result.unwrap();
        assert!(text.starts_with("tried\n"), "{text}");
        assert!(!text.contains("written"), "{text}");
    }
    assert_eq!(looks(), before);
    // Whatever was done to the copy, pods start as before.
    assert_eq!(House::with_busybox().script("c", "exit 3").0, ExitStatus::Code(3));
}

/// As root of a container, executed from `/proc/self/exe`.
fn change_own_binary() {
    println!("tried");
    for mode in [0o777, 0o4755, 0o000] {
        let _ = std::fs::set_permissions("/proc/self/exe", std::fs::Permissions::from_mode(mode));
    }
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_WRONLY | libc::O_TRUNC] {
        use std::os::unix::fs::OpenOptionsExt as _;
        let opened = std::fs::OpenOptions::new()
            .write(true)
            .custom_flags(flags & libc::O_TRUNC)
            .open("/proc/self/exe");
        if opened.is_ok_and(|mut file| std::io::Write::write_all(&mut file, b"x").is_ok()) {
            println!("written");
        }
    }
}

fn calls_that_open_the_kernel_are_denied() {
    let house = House::with_busybox();
    own_binary_in(&house);
    let inside = running(&house, "running", "true");
    let new = container(house.root("new"), &[]);
    for user in ["", "1000"] {
        let mut spec = process(&["/bin/attacker", "--attack-calls"]);
        spec.user = user.into();
        for result in both(&house, &new, &inside, &spec) {
            assert_eq!(result.as_deref(), Ok("tried\n"), "as {user:?}");
            house.keeper.remove_tree(Path::new("new")).unwrap();
            house.root("new");
        }
    }
}

/// Makes calls that the kernel answers otherwise, with arguments that can do nothing.
fn make_denied_calls() {
    const CALLS: &[(&str, i64, [i64; 3], i32)] = &[
        ("keyctl", libc::SYS_keyctl, [0, -3, 0], libc::ENOSYS),
        ("add_key", libc::SYS_add_key, [0, 0, 0], libc::ENOSYS),
        (
            "io_uring_setup",
            libc::SYS_io_uring_setup,
            [0, 0, 0],
            libc::ENOSYS,
        ),
        ("userfaultfd", libc::SYS_userfaultfd, [-1, 0, 0], libc::EPERM),
        (
            "perf_event_open",
            libc::SYS_perf_event_open,
            [0, 0, 0],
            libc::EPERM,
        ),
        ("fanotify_init", libc::SYS_fanotify_init, [-1, 0, 0], libc::EPERM),
        (
            "open_by_handle_at",
            libc::SYS_open_by_handle_at,
            [-1, 0, 0],
            libc::EPERM,
        ),
        (
            "vsock",
            libc::SYS_socket,
            [libc::AF_VSOCK as i64, 1, 0],
            libc::EPERM,
        ),
    ];
    println!("tried");
    for (name, number, [first, second, third], expected) in CALLS {
        // SAFETY: null pointers and numbers that mean nothing; the kernel refuses each or makes a descriptor.
        let result = unsafe { libc::syscall(*number, *first, *second, *third, 0, 0) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        if result != -1 || errno != Some(*expected) {
            println!("{name}: {result}, {errno:?}");
        }
    }
    #[cfg(target_arch = "x86_64")]
    for (name, number, expected) in [
        ("32-bit keyctl", 288, libc::ENOSYS),
        ("32-bit bpf", 357, libc::EPERM),
    ] {
        let mut result: i32 = number;
        // SAFETY: a system call by the 32-bit convention, with zeroes for its arguments; rbx is the compiler's, so it
        // is put back.
        unsafe {
            std::arch::asm!(
                "push rbx", "xor ebx, ebx", "int 0x80", "pop rbx",
                inout("eax") result, in("ecx") 0, in("edx") 0, in("esi") 0, in("edi") 0,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        // Kernels without 32-bit programs end the process instead.
        if result != -expected {
            println!("{name}: {result}");
        }
    }
}

/// As the administrator gives it with `:ro`, for files that the pod's root could write.
fn a_read_only_mount_of_the_machine_stays_so() {
    let house = House::with_busybox();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "of the machine").unwrap();
    let (uid, gid) = (house.id_map.host_uid(0), house.id_map.host_gid(0));
    for path in [outside.path(), &outside.path().join("file")] {
        std::os::unix::fs::chown(path, uid, gid).unwrap();
    }
    let script = "
        for flags in remount,bind,rw remount,rw bind,remount,rw,dev,suid,exec; do
          mount -o $flags /out; echo written > /out/file
        done
        busybox mkdir /copy; mount -o bind /out /copy; mount -o remount,bind,rw /copy; echo written > /copy/file
        busybox unshare -m sh -c 'mount -o remount,bind,rw /out; echo written > /out/file'
        mount -o remount,bind,rw /one; echo written > /one
        busybox cp /out/file /tmp/read; busybox cp /one /tmp/one; busybox chmod 777 /out; echo tried";
    let mut spec = container(house.root("c"), &["/bin/sh", "-c", script]);
    let mount = |target: &str, path: PathBuf| Mount {
        target: target.into(),
        source: MountSource::Host(path),
        read_only: true,
    };
    spec.mounts = vec![
        mount("/out", outside.path().into()),
        mount("/one", outside.path().join("file")),
    ];
    let before = std::fs::metadata(outside.path()).unwrap().mode();
    let (status, said) = house.run(spec);
    assert_eq!(status, ExitStatus::Code(0), "{said}");
    assert!(said.ends_with("tried\n"), "{said}");
    let file = std::fs::read_to_string(outside.path().join("file")).unwrap();
    assert_eq!(file, "of the machine", "{said}");
    assert_eq!(
        std::fs::metadata(outside.path()).unwrap().mode(),
        before,
        "{said}"
    );
    // It is there to be read.
    for read in ["read", "one"] {
        let text = std::fs::read_to_string(house.path("c/fs/tmp").join(read)).unwrap();
        assert_eq!(text, "of the machine", "{read}");
    }
}

/// The kernel counts them by user, and the roots of all pods are one.
fn descriptors_on_their_way_keep_no_keeper_from_passing_its_own() {
    let house = House::with_busybox();
    own_binary_in(&house);
    let beside = House::with_busybox();
    let (started, mut output) =
        house.start(container(house.root("c"), &["/bin/attacker", "--attack-passing"]));
    let mut said = [0; 4];
    output.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"full");
    for keeper in [&beside.keeper, &house.keeper] {
        for _ in 0..3 {
            keeper.pipe().unwrap();
        }
    }
    assert_eq!(beside.script("d", "exit 3").0, ExitStatus::Code(3));
    house.keeper.stop(&started.container).unwrap();
}

/// As root of a container: sends descriptors that nobody takes, until the kernel refuses them.
fn fill_the_way() {
    use rustix::net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
        sendmsg, socketpair,
    };
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let both = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, both).unwrap();
    let passed = std::fs::File::open("/").unwrap();
    let many = vec![std::os::fd::AsFd::as_fd(&passed); 253];
    let mut sockets = Vec::new();
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
        loop {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
            let bytes = [std::io::IoSlice::new(b"x")];
            match sendmsg(&pair.0, &bytes, &mut control, SendFlags::empty()) {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => break,
                Err(_) => {
                    print!("full");
                    std::io::Write::flush(&mut std::io::stdout()).unwrap();
                    std::thread::park();
                }
            }
        }
        sockets.push(pair);
    }
}

/// Where the kernel bounds a pod as a whole, changing ids and raising the container's own limit do not help either.
fn a_fork_bomb_ends_in_its_own_pod() {
    let house = House::limited(512.try_into().unwrap()).furnished();
    let other = House::with_busybox();
    let bomb = "echo 100000 > /proc/sys/kernel/pid_max; ulimit -u unlimited
        i=0
        while [ $i -lt 1000 ]; do
          sleep 1000 & i=$((i+1))
        done
        echo all of them";
    let (status, said) = house.script("bomb", bomb);
    assert!(!said.contains("all of them"), "{said}");
    assert!(said.contains("can't fork"), "{said}");
    assert_ne!(status, ExitStatus::Code(0));
    // The bomb's own pod serves on once it is gone, and other pods never noticed.
    assert_eq!(other.script("beside", "exit 3").0, ExitStatus::Code(3));
    assert_eq!(house.script("after", "exit 4").0, ExitStatus::Code(4));
}
