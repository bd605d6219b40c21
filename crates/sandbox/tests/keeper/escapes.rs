//! Ways out of a container by a path, a name or a number that were tried, each seen to work once and closed since.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use shipway_sandbox::{
    ArchiveRequest, ArchiveRoot, ContainerSpec, ExitStatus, GeneratedFile, KeeperError, LinkedFiles, Mount,
    MountSource, ProcessSpec, Started, Stdio,
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
        "escapes::ids_that_mean_no_change_are_refused",
        ids_that_mean_no_change_are_refused,
    ),
];

/// More than a keeper has open when it starts something.
const DESCRIPTORS: std::ops::Range<u32> = 3..16;

/// A running container, and what it wrote before it slept.
pub(crate) fn running(house: &House, name: &str, script: &str) -> Started {
    let script = format!("{script}; echo up; exec sleep 1000");
    let (started, mut output) = house.start(container(house.root(name), &["/bin/sh", "-c", &script]));
    output.read_exact(&mut [0; 3]).unwrap();
    started
}

/// Starts `spec` in a new container and in a running one; what each wrote, or why it did not start.
pub(crate) fn both(
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
        spec.files = vec![GeneratedFile::public(path.clone(), "x")];
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
