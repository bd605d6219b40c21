//! Pods that fill a disk, each in a way of its own, beside one that goes on. The disk is in memory; mounting it needs root.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use shipway_container::{
    AttachFrom, Container, ContainerOptions, ContainerState, Egress, Excess, ExcessSignal, Images,
    ImportOptions, Pod, PodOptions, VolumeMount,
};
use shipway_sandbox::ExitStatus;
use shipway_store::{Meter, Scope};

use crate::harness::tests;
use crate::house::{House, busybox_tar, run, script, until};

tests!(
    files_that_lost_their_names_are_of_the_pod_that_has_them_open,
    a_kept_volume_is_of_the_pod_that_has_it_and_goes_with_it,
    files_without_end_are_of_the_pod_that_makes_them,
    what_is_stored_for_a_pod_is_of_the_pod,
    what_somebody_else_writes_ends_nobody,
);

/// What is left before the pods begin, and what is kept free: a twentieth of the disk.
const FREE: u64 = 60 << 20;
/// A megabyte after the other into descriptor 3, slower than the disk is looked at.
const WRITE: &str = "while dd if=/dev/zero bs=1M count=1 >&3; do sleep 0.03; done 2>/dev/null; sleep 1000";

/// A data directory on a disk of 600 MB and 100000 files, with two pods.
struct Beside {
    house: House,
    hungry: Pod,
    excess: ExcessSignal,
    other: Pod,
    _mounted: Mounted,
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

impl Beside {
    /// Nothing where nobody may mount.
    async fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                "size=600m,nr_inodes=100000,mode=0755",
                "tmpfs",
            ])
            .arg(&data)
            .status();
        assert!(mounted.unwrap().success());
        let mounted = Mounted(data.clone());
        let runtime = crate::house::open(&data).await;
        let house = House { runtime, directory };
        let excess = ExcessSignal::default();
        let (hungry, other) = (
            start(&house, &excess).await,
            start(&house, &ExcessSignal::default()).await,
        );
        Some(Self {
            house,
            hungry,
            excess,
            other,
            _mounted: mounted,
        })
    }

    /// Takes the disk but for `FREE`.
    fn fill(&self) {
        let space = statvfs(self.house.data()).unwrap();
        let filler = std::fs::File::create(self.house.data().join("filler")).unwrap();
        let free = space.f_bavail * space.f_frsize;
        fallocate(&filler, FallocateFlags::empty(), 0, free - FREE).unwrap();
    }

    /// A container that holds much and writes all the while, over the same bytes.
    async fn neighbour(&self) -> Container {
        let image = self.house.busybox();
        let write = "head -c 20000000 /dev/zero > held; echo begun; \
                     while true; do head -c 65536 /dev/zero > file || echo full; sleep 0.02; done";
        let container = self.other.create(script(&image, write)).await.unwrap();
        let mut output = container.attach(AttachFrom::Now, false).output;
        container.start().await.unwrap();
        until(&mut output, "begun").await;
        container
    }

    async fn told(&self) -> Excess {
        let told = tokio::time::timeout(Duration::from_secs(30), self.excess.told());
        told.await.expect("the pod that fills the disk is not ended")
    }

    /// The other one can still do everything.
    async fn ends_well(self, neighbour: Container) {
        // It was told before its files were gone.
        self.hungry.close().await;
        let state = neighbour.state();
        assert!(
            matches!(state, ContainerState::Running { .. }),
            "the neighbour: {state:?}"
        );
        let image = self.house.busybox();
        let (status, said) = run(
            &self.other,
            script(&image, "head -c 1000000 /dev/zero > a && echo well"),
        )
        .await;
        assert_eq!((status, said.as_str()), (ExitStatus::Code(0), "well\n"));
        self.other.close().await;
    }
}

async fn start(house: &House, excess: &ExcessSignal) -> Pod {
    let options = PodOptions {
        name: "pod".into(),
        egress: Egress::detect([]).unwrap(),
        excess: excess.clone(),
        written: Meter::default(),
    };
    house.runtime.start_pod(options).await.unwrap()
}

async fn begin(pod: &Pod, options: ContainerOptions) -> Container {
    let container = pod.create(options).await.unwrap();
    container.start().await.unwrap();
    container
}

async fn files_that_lost_their_names_are_of_the_pod_that_has_them_open() {
    let Some(beside) = Beside::new().await else { return };
    let neighbour = beside.neighbour().await;
    beside.fill();
    let hide = format!("exec 3>hidden; rm hidden; {WRITE}");
    begin(&beside.hungry, script(&beside.house.busybox(), &hide)).await;
    let excess = beside.told().await;
    assert!(matches!(excess, Excess::Disk { .. }), "{excess}");
    beside.ends_well(neighbour).await;
}

async fn a_kept_volume_is_of_the_pod_that_has_it_and_goes_with_it() {
    let Some(beside) = Beside::new().await else { return };
    let image = beside.house.busybox();
    let kept = |text: &str| {
        let mut options = script(&image, text);
        options.volumes = vec![VolumeMount {
            name: "kept".into(),
            target: "/cache".into(),
            read_only: false,
        }];
        options
    };
    beside.other.keep_volume("kept", "the neighbour's").await.unwrap();
    let (_, said) = run(&beside.other, kept("echo mine > /cache/mine; echo kept")).await;
    assert_eq!(said, "kept\n");
    beside
        .hungry
        .keep_volume("kept", "the hungry one's")
        .await
        .unwrap();
    let neighbour = beside.neighbour().await;
    beside.fill();
    begin(&beside.hungry, kept(&format!("exec 3>/cache/file; {WRITE}"))).await;
    let excess = beside.told().await;
    assert!(matches!(excess, Excess::Disk { .. }), "{excess}");
    beside.hungry.close().await;
    assert_eq!(
        kept_files(&beside.house.keeper().join("kept")),
        ["mine"],
        "what filled the disk is gone, the neighbour's volume is there"
    );
    beside.ends_well(neighbour).await;
}

fn kept_files(kept: &Path) -> Vec<String> {
    let volumes = std::fs::read_dir(kept).unwrap();
    let files = volumes.flat_map(|volume| std::fs::read_dir(volume.unwrap().path()).unwrap());
    files
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

async fn files_without_end_are_of_the_pod_that_makes_them() {
    let Some(beside) = Beside::new().await else { return };
    let neighbour = beside.neighbour().await;
    let make = "mkdir many; cd many; seq 90000 | xargs touch; \
                i=0; while touch $i.a $i.b $i.c $i.d $i.e $i.f $i.g $i.h; do i=$((i + 1)); done; sleep 1000";
    begin(&beside.hungry, script(&beside.house.busybox(), make)).await;
    let excess = beside.told().await;
    assert!(
        matches!(
            excess,
            Excess::Files {
                held: 90_000..,
                reserve: 5000,
                ..
            }
        ),
        "{excess}"
    );
    beside.ends_well(neighbour).await;
}

async fn what_is_stored_for_a_pod_is_of_the_pod() {
    let Some(beside) = Beside::new().await else { return };
    let neighbour = beside.neighbour().await;
    begin(&beside.hungry, script(&beside.house.busybox(), "sleep 1000")).await;
    beside.fill();
    // As an engine of the pod does it.
    let runtime = &beside.house.runtime;
    let images = Images::new(
        runtime.store().metered(beside.hungry.written()),
        runtime.client().clone(),
    );
    let (excess, root) = (beside.excess.clone(), busybox_tar());
    let storing = tokio::task::spawn_blocking(move || {
        for number in 0..1000_u32 {
            let mut layer = shipway_testkit::Tar::new()
                .file("number", number.to_string())
                .bytes();
            layer.truncate(layer.len() - 1024);
            layer.extend_from_slice(&root);
            let stored = images.import(&layer[..], ImportOptions::new(Scope::user(), None));
            if excess.get().is_some() || stored.is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let excess = beside.told().await;
    assert!(matches!(excess, Excess::Disk { .. }), "{excess}");
    storing.await.unwrap();
    beside.ends_well(neighbour).await;
}

async fn what_somebody_else_writes_ends_nobody() {
    let Some(beside) = Beside::new().await else { return };
    let neighbour = beside.neighbour().await;
    begin(
        &beside.hungry,
        script(
            &beside.house.busybox(),
            "head -c 40000000 /dev/zero > held; sleep 1000",
        ),
    )
    .await;
    beside.fill();
    let data = beside.house.data();
    let elses = data.join("somebody else's");
    let (path, excess) = (elses.clone(), beside.excess.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::create(&path).unwrap();
        while statvfs(&data).unwrap().f_bavail > 4096 && excess.get().is_none() {
            file.write_all(&vec![1; 1 << 20]).unwrap();
            std::thread::park_timeout(Duration::from_millis(30));
        }
    });
    writing.await.unwrap();
    assert_eq!(beside.excess.get(), None);
    std::fs::remove_file(elses).unwrap();
    beside.ends_well(neighbour).await;
}
