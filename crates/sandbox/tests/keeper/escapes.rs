//! Ways out of a container that were tried, each seen to work once and closed since.

use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use shipway_sandbox::{
    ArchiveRequest, ArchiveRoot, ContainerSpec, ExitStatus, KeeperError, LinkedFiles, Mount, MountSource,
    ProcessSpec, Started, Stdio,
};

use crate::house::{House, Test, container, process};

pub(crate) const TESTS: &[Test] = &[
    (
        "escapes::a_working_directory_leads_nowhere_outside",
        a_working_directory_leads_nowhere_outside,
    ),
    (
        "escapes::a_working_directory_is_found_inside",
        a_working_directory_is_found_inside,
    ),
    (
        "escapes::a_program_is_not_found_through_descriptors",
        a_program_is_not_found_through_descriptors,
    ),
    (
        "escapes::users_are_not_read_from_outside",
        users_are_not_read_from_outside,
    ),
    (
        "escapes::targets_and_sources_lead_nowhere_outside",
        targets_and_sources_lead_nowhere_outside,
    ),
    (
        "escapes::descriptors_of_a_process_on_its_way_in_cannot_be_taken",
        descriptors_of_a_process_on_its_way_in_cannot_be_taken,
    ),
    (
        "escapes::the_binary_cannot_be_changed_from_inside",
        the_binary_cannot_be_changed_from_inside,
    ),
    (
        "escapes::calls_that_open_the_kernel_are_denied",
        calls_that_open_the_kernel_are_denied,
    ),
    (
        "escapes::a_read_only_mount_of_the_machine_stays_so",
        a_read_only_mount_of_the_machine_stays_so,
    ),
    (
        "escapes::descriptors_on_their_way_keep_no_keeper_from_passing_its_own",
        descriptors_on_their_way_keep_no_keeper_from_passing_its_own,
    ),
    (
        "escapes::a_fork_bomb_ends_in_its_own_pod",
        a_fork_bomb_ends_in_its_own_pod,
    ),
    (
        "escapes::ids_that_mean_no_change_are_refused",
        ids_that_mean_no_change_are_refused,
    ),
];

/// More than a keeper has open when it starts something.
const DESCRIPTORS: std::ops::Range<u32> = 3..16;

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

/// A running container, and what it wrote before it slept.
fn running(house: &House, name: &str, script: &str) -> Started {
    let script = format!("{script}; echo up; exec sleep 1000");
    let (started, mut output) = house.start(container(house.root(name), &["/bin/sh", "-c", &script]));
    output.read_exact(&mut [0; 3]).unwrap();
    started
}

/// Starts `spec` in a new container and in a running one; what each wrote, or why it did not start.
fn both(
    house: &House,
    new: &ContainerSpec,
    inside: &Started,
    spec: &ProcessSpec,
) -> [Result<String, KeeperError>; 2] {
    let stdio = || {
        let (read, write) = house.keeper.pipe().unwrap();
        let stdio = Stdio {
            stdin: None,
            stdout: Some(write),
            stderr: None,
        };
        (stdio, std::fs::File::from(read))
    };
    let ended = |started: Started, mut output: std::fs::File| {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        house.keeper.wait(started.process).unwrap();
        text
    };
    let mut new = new.clone();
    new.process = spec.clone();
    let (streams, output) = stdio();
    let first = house
        .keeper
        .start(new, streams)
        .map(|started| ended(started, output));
    let (streams, output) = stdio();
    let second = house
        .keeper
        .exec(&inside.container, spec.clone(), streams)
        .map(|started| ended(started, output));
    [first, second]
}

fn a_working_directory_leads_nowhere_outside() {
    let house = House::with_busybox();
    let inside = running(&house, "running", "ln -s /proc/self/fd /fds");
    let new = container(house.root("new"), &[]);
    for number in DESCRIPTORS {
        let ways = [
            format!("/proc/self/fd/{number}"),
            format!("/proc/self/fd/{number}/made/by/mkdir"),
            format!("/dev/fd/{number}/base/etc"),
            format!("/proc/thread-self/fd/{number}"),
            format!("/fds/{number}"),
        ];
        for way in ways {
            let mut spec = process(&["/bin/busybox", "ls", "-A", "."]);
            spec.cwd = way.into();
            // Only the running container has that link: the new one makes a directory of its name.
            let made = usize::from(spec.cwd.starts_with("/fds"));
            for result in &both(&house, &new, &inside, &spec)[made..] {
                assert!(result.is_err(), "{}: {result:?}", spec.cwd.display());
            }
        }
    }
    // What closing cannot help against: a stream that is a directory.
    for way in ["/proc/self/fd/0", "/dev/stdin"] {
        let mut spec = process(&["/bin/busybox", "ls", "-A", "."]);
        spec.cwd = way.into();
        let stdio = Stdio {
            stdin: Some(std::fs::File::open(house.directory.path()).unwrap().into()),
            ..Stdio::default()
        };
        let entered = house.keeper.exec(&inside.container, spec, stdio);
        assert!(entered.is_err(), "{way}: {entered:?}");
    }
    for made in ["made", "base/made", "new/made", "new/fs/made"] {
        assert!(std::fs::symlink_metadata(house.path(made)).is_err(), "{made}");
    }
    assert_eq!(
        house
            .keeper
            .remove_tree(Path::new("made"))
            .and_then(|()| house.keeper.make_directory(Path::new("made"), 0o755, (0, 0))),
        Ok(())
    );
}

fn a_working_directory_is_found_inside() {
    let house = House::with_busybox();
    let make = "busybox mkdir -p /tmp/real; busybox ln -s /tmp/real /link; busybox ln -s ../../tmp /bin/up";
    let inside = running(&house, "running", make);
    for (cwd, expected) in [
        ("/link", "/tmp/real\n"),
        ("/link/new/er", "/tmp/real/new/er\n"),
        ("/bin/up/real", "/tmp/real\n"),
        ("/tmp/./real/../real", "/tmp/real\n"),
        ("relative", "/relative\n"),
        ("", "/\n"),
        ("/../..", "/\n"),
        ("/proc/1", "/proc/1\n"),
    ] {
        let mut spec = process(&["/bin/busybox", "pwd"]);
        spec.cwd = cwd.into();
        let (read, write) = house.keeper.pipe().unwrap();
        let stdio = Stdio {
            stdin: None,
            stdout: Some(write),
            stderr: None,
        };
        house.keeper.exec(&inside.container, spec, stdio).unwrap();
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, expected, "{cwd}");
    }
}

/// No flag of path resolution helps here: the program is the kernel's to find. There must be nothing to find it by.
fn a_program_is_not_found_through_descriptors() {
    let house = House::with_busybox();
    let inside = running(&house, "running", "true");
    let new = container(house.root("new"), &[]);
    for number in DESCRIPTORS {
        for below in [
            "",
            "/base/bin/busybox",
            "/bin/busybox",
            "/fs/../../base/bin/busybox",
        ] {
            let program = format!("/proc/self/fd/{number}{below}");
            for result in both(&house, &new, &inside, &process(&[&program, "true"])) {
                assert!(
                    matches!(
                        result,
                        Err(KeeperError::NotFound { .. } | KeeperError::NotExecutable { .. })
                    ),
                    "{program}: {result:?}"
                );
            }
            let mut searched = process(&["busybox", "echo", "ran"]);
            searched.env = vec![format!(
                "PATH=/proc/self/fd/{number}{}",
                below.trim_end_matches("/busybox")
            )];
            for result in both(&house, &new, &inside, &searched) {
                assert!(result.is_err(), "{:?}: {result:?}", searched.env);
            }
        }
    }
}

fn users_are_not_read_from_outside() {
    let house = House::with_busybox();
    house.write("outside", "eve:x:7:7::/:\n");
    for number in DESCRIPTORS {
        let script = format!(
            "for f in passwd group; do busybox rm -f /etc/$f; busybox ln -s /proc/self/fd/{number}/outside /etc/$f; done"
        );
        let inside = running(&house, &format!("running{number}"), &script);
        let name = format!("new{number}");
        let root = house.root(&name);
        let relinked = container(root.clone(), &["/bin/sh", "-c", &script]);
        assert_eq!(house.run(relinked).0, ExitStatus::Code(0));
        let mut spec = process(&["/bin/busybox", "true"]);
        spec.user = "eve".into();
        for result in both(&house, &container(root.clone(), &[]), &inside, &spec) {
            assert!(result.is_err(), "descriptor {number}: {result:?}");
        }
        let mut view = root.clone();
        view.layers.push(format!("{name}/fs").into());
        view.upper = None;
        assert!(
            house.keeper.resolve_user(&view, "eve").is_err(),
            "descriptor {number}"
        );
    }
}

fn targets_and_sources_lead_nowhere_outside() {
    let house = House::with_busybox();
    let inside = running(&house, "running", "busybox ln -s /proc/1/root /host");
    for number in DESCRIPTORS {
        let path = PathBuf::from(format!("/proc/self/fd/{number}/stolen"));
        let mut spec = container(house.root(&format!("files{number}")), &["/bin/busybox", "true"]);
        spec.files = vec![(path.clone(), b"x".to_vec())];
        house.keeper.start(spec, Stdio::default()).unwrap_err();
        for source in [
            MountSource::Keeper("base".into()),
            MountSource::Temporary {
                size: None,
                mode: 0o755,
            },
        ] {
            let mut spec = container(house.root(&format!("mount{number}")), &["/bin/busybox", "true"]);
            spec.mounts = vec![Mount {
                target: path.clone(),
                source,
                read_only: false,
            }];
            house.keeper.start(spec, Stdio::default()).unwrap_err();
            house
                .keeper
                .remove_tree(Path::new(&format!("mount{number}")))
                .unwrap();
        }
        for path in [path.clone(), "/host/etc".into()] {
            let mut spec = container(house.root(&format!("other{number}")), &["/bin/busybox", "true"]);
            spec.mounts = vec![Mount {
                target: "/theirs".into(),
                source: MountSource::Container {
                    container: inside.container,
                    path,
                },
                read_only: false,
            }];
            house.keeper.start(spec, Stdio::default()).unwrap_err();
            house
                .keeper
                .remove_tree(Path::new(&format!("other{number}")))
                .unwrap();
        }
        let (_read, write) = house.keeper.pipe().unwrap();
        house
            .keeper
            .archive(ArchiveRequest {
                root: ArchiveRoot::Container(inside.container),
                paths: vec![format!("/proc/self/fd/{number}/base").into()],
                relative_to: "/".into(),
                prefix: std::path::PathBuf::new(),
                follow: true,
                owner: None,
                clamp_mtime: None,
                linked: LinkedFiles::Once,
                output: write,
            })
            .unwrap_err();
    }
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

fn ids_that_mean_no_change_are_refused() {
    let house = House::with_busybox();
    house.write(
        "base/etc/passwd",
        "root:x:0:0::/root:/bin/sh\nall:x:4294967295:0::/:\ngrouped:x:5:4294967295::/:\nann:x:1000:1001::/:\n",
    );
    house.write("base/etc/group", "every:x:4294967295:ann\nlarge:x:2147483648:\n");
    let inside = running(&house, "running", "true");
    let new = container(house.root("new"), &[]);
    for user in [
        "4294967295",
        "2147483648",
        "99999999999",
        "5:4294967295",
        "5:2147483648",
        "all",
        "grouped",
        "ann",
        "ann:every",
        "root:large",
    ] {
        let mut spec = process(&["/bin/busybox", "id"]);
        spec.user = user.into();
        for result in both(&house, &new, &inside, &spec) {
            let error = result.map(|text| format!("{user}: {text}")).unwrap_err();
            assert!(
                error.to_string().contains("not between 0 and 2147483647"),
                "{user}: {error}"
            );
        }
    }
    for owner in [(u32::MAX, 0), (0, u32::MAX)] {
        house
            .keeper
            .make_directory(Path::new("owned"), 0o755, owner)
            .unwrap_err();
        house
            .keeper
            .write_file(Path::new("file"), b"", 0o755, owner)
            .unwrap_err();
    }
}
