//! Start, wait, exec, signal, stop.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use shipway_sandbox::{
    ContainerSpec, ExitStatus, GeneratedFile, KeeperError, Mount, MountSource, ProcessSpec, Stdio,
};

use crate::house::{House, Test, container, process};

pub(crate) const TESTS: &[Test] = &[
    (
        "lifecycle::what_a_container_mounts_stays_in_it",
        what_a_container_mounts_stays_in_it,
    ),
    (
        "lifecycle::a_container_runs_and_its_exit_is_known",
        a_container_runs_and_its_exit_is_known,
    ),
    ("lifecycle::what_cannot_run_says_why", what_cannot_run_says_why),
    (
        "lifecycle::exec_joins_a_running_container",
        exec_joins_a_running_container,
    ),
    (
        "lifecycle::a_process_on_its_way_in_is_closed_to_the_container",
        a_process_on_its_way_in_is_closed_to_the_container,
    ),
    (
        "lifecycle::signals_arrive_and_stop_ends",
        signals_arrive_and_stop_ends,
    ),
    ("lifecycle::users_come_from_the_root", users_come_from_the_root),
    (
        "lifecycle::mounts_show_what_they_should",
        mounts_show_what_they_should,
    ),
    ("lifecycle::a_terminal_is_one", a_terminal_is_one),
    ("lifecycle::the_root_is_closed_in", the_root_is_closed_in),
    ("lifecycle::two_hundred_layers_stack", two_hundred_layers_stack),
    (
        "lifecycle::a_resumed_upper_keeps_its_changes",
        a_resumed_upper_keeps_its_changes,
    ),
];

fn a_container_runs_and_its_exit_is_known() {
    let house = House::with_busybox();
    let (status, text) = house.script("one", "echo $$ $(hostname) $(id -u) $HOME; umask; exit 7");
    assert_eq!(
        (status, text.as_str()),
        (ExitStatus::Code(7), "1 box 0 /root\n0022\n")
    );
}

fn what_cannot_run_says_why() {
    let house = House::with_busybox();
    let root = house.root("c");
    house.write("base/bin/data", "no program");
    let start = |spec| house.keeper.start(spec, Stdio::default()).unwrap_err();
    let error = start(container(root.clone(), &["missing"]));
    assert!(matches!(error, KeeperError::NotFound { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "missing: not found in the container (searched: /bin)"
    );
    let error = start(container(root.clone(), &["data"]));
    assert!(
        matches!(error, KeeperError::NotExecutable { cause, .. } if cause.errno() == 13),
        "{error:?}"
    );
    let error = start(container(root.clone(), &["/etc"]));
    assert!(matches!(error, KeeperError::NotExecutable { .. }), "{error:?}");
    let mut spec = container(root.clone(), &["/bin/sh"]);
    spec.process.user = "nobody-here".into();
    assert!(matches!(start(spec), KeeperError::UnknownUser { .. }));
    let mut spec = container(root.clone(), &["/bin/sh"]);
    spec.root.layers = vec!["../escape".into()];
    assert!(matches!(start(spec), KeeperError::Path { .. }));
    // With a mount there are descriptors besides the streams.
    house
        .keeper
        .make_directory(Path::new("volume"), 0o755, (0, 0))
        .unwrap();
    let mut spec = container(root.clone(), &["missing"]);
    spec.mounts = vec![Mount {
        target: "/volume".into(),
        source: MountSource::Keeper("volume".into()),
        read_only: false,
    }];
    let error = start(spec);
    assert!(matches!(error, KeeperError::NotFound { .. }), "{error:?}");
    let (status, _) = house.run(container(root, &["/bin/sh", "-c", "exit 0"]));
    assert_eq!(
        status,
        ExitStatus::Code(0),
        "failures leave nothing behind that is in the way"
    );
}

/// A container that runs until it is stopped, and has said that it runs.
fn waiting(house: &House, name: &str) -> shipway_sandbox::Started {
    let root = house.root(name);
    let (started, mut output) = house.start(container(root, &["/bin/sh", "-c", "echo up; exec sleep 1000"]));
    let mut text = [0; 3];
    output.read_exact(&mut text).unwrap();
    started
}

fn exec(house: &House, started: &shipway_sandbox::Started, spec: ProcessSpec) -> (ExitStatus, String) {
    let (read, write) = house.keeper.pipe().unwrap();
    let stdio = Stdio {
        stdin: None,
        stdout: Some(write),
        stderr: None,
    };
    let process = house
        .keeper
        .exec(&started.container, spec, stdio)
        .unwrap()
        .process;
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    (house.keeper.wait(process).unwrap(), text)
}

fn exec_joins_a_running_container() {
    let house = House::with_busybox();
    let started = waiting(&house, "c");
    let (status, text) = exec(
        &house,
        &started,
        process(&[
            "/bin/sh",
            "-c",
            "ns() { busybox readlink /proc/$1/ns/pid; }; [ $(ns 1) = $(ns self) ] && echo joined; hostname; echo x >/made; exit 4",
        ]),
    );
    assert_eq!((status, text.as_str()), (ExitStatus::Code(4), "joined\nbox\n"));
    let (_, text) = exec(&house, &started, process(&["cat", "/made"]));
    assert_eq!(text, "x\n");
    let error = house
        .keeper
        .exec(&started.container, process(&["missing"]), Stdio::default())
        .unwrap_err();
    assert!(matches!(error, KeeperError::NotFound { .. }), "{error:?}");
    house.keeper.stop(&started.container).unwrap();
    let error = house
        .keeper
        .exec(&started.container, process(&["id"]), Stdio::default())
        .unwrap_err();
    assert!(matches!(error, KeeperError::UnknownContainer { .. }), "{error:?}");
}

/// A process on its way into a container still holds what is the keeper's: root inside may not look at it.
fn a_process_on_its_way_in_is_closed_to_the_container() {
    let house = House::with_busybox();
    // Long enough to read that the way takes a while.
    let line = "ann:x:1000:1001::/home/ann:/bin/sh\n";
    house.write("base/etc/passwd", &line.repeat(200_000));
    let look = "for link in /proc/[0-9]*/fd/* /proc/[0-9]*/root; do busybox readlink $link; done";
    let script =
        format!("echo up; while :; do {look} | busybox grep -E 'socket:|/etc/passwd'; done 2>/dev/null");
    let (started, mut output) = house.start(container(house.root("c"), &["/bin/sh", "-c", &script]));
    let mut text = [0; 3];
    output.read_exact(&mut text).unwrap();
    for _ in 0..20 {
        exec(&house, &started, process(&["/bin/busybox", "true"]));
    }
    house.keeper.stop(&started.container).unwrap();
    let mut seen = String::new();
    output.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "");
}

fn signals_arrive_and_stop_ends() {
    let house = House::with_busybox();
    let script = "trap 'echo term; exit 9' TERM; echo up; while :; do sleep 0.01; done";
    let (started, mut output) = house.start(container(house.root("c"), &["/bin/sh", "-c", script]));
    let mut text = [0; 3];
    output.read_exact(&mut text).unwrap();
    house.keeper.signal(started.process, 15).unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(
        (house.keeper.wait(started.process).unwrap(), rest.as_str()),
        (ExitStatus::Code(9), "term\n")
    );
    house.keeper.signal(started.process, 15).unwrap();

    let started = waiting(&house, "d");
    let (keeper, waited) = (house.keeper.clone(), started.process);
    let waiter = std::thread::spawn(move || keeper.wait(waited));
    house.keeper.stop(&started.container).unwrap();
    assert_eq!(waiter.join().unwrap().unwrap(), ExitStatus::Signal(9));
    assert_eq!(
        house.keeper.wait(started.process).unwrap(),
        ExitStatus::Signal(9),
        "also afterwards"
    );
    // Unmounted: the upper directory can be removed with all of it.
    house.keeper.remove_tree(Path::new("d")).unwrap();
}

fn users_come_from_the_root() {
    let house = House::with_busybox();
    let run = |name: &str, user: &str, script: &str| {
        let mut spec = container(house.root(name), &["/bin/sh", "-c", script]);
        spec.process.user = user.into();
        spec.process.cwd = "/some/where".into();
        house.run(spec).1
    };
    let script = "echo $(id -u):$(id -g):$(id -G) $HOME $(pwd); echo again >/dev/stdout";
    assert_eq!(
        run("a", "ann", script),
        "1000:1001:1001 44 /home/ann /some/where\nagain\n"
    );
    assert_eq!(run("b", "7:8", script), "7:8:8 / /some/where\nagain\n");
    assert_eq!(run("c", "", script), "0:0:0 /root /some/where\nagain\n");
    let root = house.root("d");
    assert_eq!(
        house.keeper.resolve_user(&root_view(&root), "ann:video").unwrap(),
        (1000, 44)
    );
}

/// The same layers, nothing to write to.
fn root_view(root: &shipway_sandbox::RootSpec) -> shipway_sandbox::RootSpec {
    shipway_sandbox::RootSpec {
        layers: root.layers.clone(),
        upper: None,
    }
}

fn mounts_show_what_they_should() {
    let house = House::with_busybox();
    house
        .keeper
        .make_directory(Path::new("volume"), 0o777, (1000, 1001))
        .unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(outside.path(), Some(house.id_map.host_uid(0).unwrap()), None).unwrap();
    std::fs::write(outside.path().join("seen"), "from outside\n").unwrap();
    let other = waiting(&house, "other");
    exec(
        &house,
        &other,
        process(&["/bin/sh", "-c", "echo theirs >/tmp/file; ln -s /tmp /link"]),
    );

    let mount = |target: &str, source, read_only| Mount {
        target: target.into(),
        source,
        read_only,
    };
    let mut spec = container(
        house.root("c"),
        &[
            "/bin/sh",
            "-c",
            "cat /out/seen /theirs/file /one /etc/hosts; stat -c %a:%u /vol /tmpfs; echo new >/vol/new; \
             echo no >/out/no || echo read-only; echo no >/tmpfs/x && echo written",
        ],
    );
    spec.mounts = vec![
        mount("/out", MountSource::Host(outside.path().into()), true),
        mount("/vol", MountSource::Keeper("volume".into()), false),
        mount(
            "/theirs",
            MountSource::Container {
                container: other.container,
                path: "/link".into(),
            },
            false,
        ),
        mount(
            "/one",
            MountSource::Container {
                container: other.container,
                path: "/tmp/file".into(),
            },
            true,
        ),
        mount(
            "/tmpfs",
            MountSource::Temporary {
                size: Some(65536),
                mode: 0o1777,
            },
            false,
        ),
    ];
    spec.files = vec![GeneratedFile::public("/etc/hosts", "127.0.0.1 localhost\n")];
    let (started, mut output) = house.start(spec);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(
        text.replace("/bin/sh: ", ""),
        "from outside\ntheirs\ntheirs\n127.0.0.1 localhost\n777:1000\n1777:0\n\
         can't create /out/no: Read-only file system\nread-only\nwritten\n"
    );
    house.keeper.wait(started.process).unwrap();
    let made: Vec<PathBuf> = [
        "/proc",
        "/sys",
        "/dev",
        "/out",
        "/vol",
        "/theirs",
        "/one",
        "/tmpfs",
        "/etc/hosts",
    ]
    .map(PathBuf::from)
    .into();
    assert_eq!(started.made, made);
    assert!(!outside.path().join("no").exists());
}

fn a_terminal_is_one() {
    let house = House::with_busybox();
    let mut spec: ContainerSpec = container(
        house.root("c"),
        &["/bin/sh", "-c", "read line; stty size; tty; echo <$line>"],
    );
    spec.process.argv[2] = "read line; busybox stty size; busybox tty; echo \"got $line\"".into();
    spec.process.terminal = true;
    let started = house.keeper.start(spec, Stdio::default()).unwrap();
    house.keeper.resize(started.process, 33, 99).unwrap();
    let mut terminal = File::from(started.terminal.unwrap());
    terminal.write_all(b"hello\n").unwrap();
    let mut text = Vec::new();
    // A terminal whose other end is closed answers with an error rather than an end.
    let _ = terminal.read_to_end(&mut text);
    assert_eq!(
        String::from_utf8_lossy(&text),
        "hello\r\n33 99\r\n/dev/pts/0\r\ngot hello\r\n"
    );
    assert_eq!(house.keeper.wait(started.process).unwrap(), ExitStatus::Code(0));
    assert!(matches!(
        house.keeper.resize(started.process, 1, 1),
        Err(KeeperError::UnknownProcess { .. })
    ));
}

fn the_root_is_closed_in() {
    let house = House::with_busybox();
    let (_, text) = house.script(
        "c",
        "ls -A /; ls /proc | busybox grep -c '^[0-9]'; ls /proc/self/fd | busybox wc -l; \
         busybox mknod /dev/sda b 8 0 && echo device; echo 1 >/proc/sys/vm/drop_caches && echo sysctl; \
         busybox date -s 2020-01-01 2>&1 | busybox grep -q 'not permitted' || echo clock",
    );
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains(": ")).collect();
    assert_eq!(lines[..7], ["bin", "dev", "etc", "proc", "root", "sys", "tmp"]);
    assert!(
        !text.contains("device") && !text.contains("sysctl") && !text.contains("clock"),
        "{text}"
    );
    let processes: u32 = lines[7].parse().unwrap();
    assert!(processes <= 4, "only its own processes: {text}");
    assert_eq!(
        lines[8], "4",
        "standard streams and the one that ls has open: {text}"
    );
}

fn two_hundred_layers_stack() {
    let house = House::with_busybox();
    let mut root = house.root("c");
    for layer in 0..199 {
        let path = format!("layer{layer}");
        house
            .keeper
            .make_directory(Path::new(&path), 0o755, (0, 0))
            .unwrap();
        house.write(&format!("{path}/file{layer}"), "x");
        house.write(&format!("{path}/top"), &layer.to_string());
        root.layers.push(path.into());
    }
    let (status, text) = house.run(container(
        root,
        &["/bin/sh", "-c", "cat /top; ls / | busybox grep -c file"],
    ));
    assert_eq!((status, text.as_str()), (ExitStatus::Code(0), "198199\n"));
}

fn a_resumed_upper_keeps_its_changes() {
    let house = House::with_busybox();
    let root = house.root("c");
    let script = |script: &str| container(root.clone(), &["/bin/sh", "-c", script]);
    assert_eq!(
        house.run(script("echo kept >/file; busybox rm -r /tmp")).0,
        ExitStatus::Code(0)
    );
    let (status, text) = house.run(script(
        "cat /file; ls / | busybox grep -c tmp; busybox mkdir /tmp; ls -A /tmp",
    ));
    assert_eq!((status, text.as_str()), (ExitStatus::Code(0), "kept\n0\n"));
}

fn what_a_container_mounts_stays_in_it() {
    if !rustix::process::geteuid().is_root() {
        // Only root may make a mount that others share.
        return;
    }
    use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
    let house = House::with_busybox();
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir(outside.path().join("sub")).unwrap();
    mount_bind(outside.path(), outside.path()).unwrap();
    mount_change(outside.path(), MountPropagationFlags::SHARED).unwrap();
    let script = "mount -t tmpfs none /out/sub && echo x >/out/sub/inside && echo mounted; sleep 1000";
    let mut spec = container(house.root("c"), &["/bin/sh", "-c", script]);
    spec.mounts = vec![Mount {
        target: "/out".into(),
        source: MountSource::Host(outside.path().into()),
        read_only: false,
    }];
    let (started, mut output) = house.start(spec);
    let mut text = [0; 8];
    output.read_exact(&mut text).unwrap();
    let seen = std::fs::read_dir(outside.path().join("sub")).unwrap().count();
    house.keeper.stop(&started.container).unwrap();
    unmount(outside.path(), UnmountFlags::DETACH).unwrap();
    assert_eq!((&text, seen), (b"mounted\n", 0));
}
