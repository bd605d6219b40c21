//! A process that dies with pods: nothing of them runs, and the next start removes the rest.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use shipway_container::{Egress, ExcessSignal, PodOptions, Swept};

use crate::harness::tests;
use crate::house::{House, eventually, open, script, until};

tests!(
    the_next_start_removes_what_a_killed_process_left,
    a_pod_ends_though_its_keeper_was_stopped,
    a_pod_ends_though_its_launcher_was_stopped,
);

const FLAG: &str = "--die-with-a-pod-in";

/// Whether this process is the one that is to die, and where.
pub(crate) fn asked() -> Option<PathBuf> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == FLAG).then(|| arguments.next().map(PathBuf::from))?
}

/// Starts a pod with a running container, says so, and dies as by `kill -9`.
pub(crate) fn leave_a_pod_behind(data: &Path) -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let runtime = open(data).await;
        let egress = Egress::detect([]).unwrap();
        let pod = runtime
            .start_pod(PodOptions {
                name: "doomed".into(),
                egress,
                excess: ExcessSignal::default(),
                written: shipway_store::Meter::default(),
            })
            .await
            .unwrap();
        let image = shipway_container::ImportOptions::new(shipway_store::Scope::user(), None);
        let image = runtime
            .images()
            .import(crate::house::busybox_tar().as_slice(), image)
            .unwrap();
        let container = pod.create(script(&image, "echo up; sleep 1000")).await.unwrap();
        container.start().await.unwrap();
        until(&mut container.logs(true), "up").await;
        println!("{}", pod.id());
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        unreachable!("a killed process goes on")
    })
}

async fn the_next_start_removes_what_a_killed_process_left() {
    let house = House::new().await;
    let living = house.pod().await;
    let data = house.data();
    let output = tokio::task::spawn_blocking({
        let data = data.clone();
        move || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .arg(FLAG)
                .arg(data)
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()
                .unwrap()
        }
    })
    .await
    .unwrap();
    let pod = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_eq!(pod.len(), 32, "{pod:?}");
    let (directory, lock) = (
        house.keeper().join("pods").join(&pod),
        data.join("locks").join(&pod),
    );
    assert!(directory.is_dir() && lock.exists());
    // The dead keeper's last child lets go of the lock a moment after the process is gone.
    let next = open(&data).await;
    eventually("the dead pod is swept", || !directory.exists() && !lock.exists()).await;
    assert!(
        house.keeper().join(living.directory()).is_dir(),
        "a living pod is left alone"
    );
    assert_eq!(next.sweep().await, Swept::default());
    living.close().await;
}

async fn a_pod_ends_though_its_keeper_was_stopped() {
    let house = House::new().await;
    let pod = house.pod().await;
    let container = pod
        .create(script(&house.busybox(), "echo up; sleep 1000"))
        .await
        .unwrap();
    container.start().await.unwrap();
    until(&mut container.logs(true), "up").await;
    let launcher = pod.keeper().launcher_id();
    let children = std::fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children")).unwrap();
    let keeper = rustix::process::Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::STOP).unwrap();

    // What is asked before the end is said waits; then it fails.
    let asking = tokio::spawn({
        let container = container.clone();
        async move { container.kill(shipway_container::Signal::TERM).await }
    });
    tokio::time::timeout(std::time::Duration::from_secs(60), pod.close())
        .await
        .expect("the end of the pod");
    assert!(asking.await.unwrap().is_err());
    assert!(!Path::new(&format!("/proc/{launcher}")).exists());
    assert!(!house.keeper().join(pod.directory()).exists());
}

async fn a_pod_ends_though_its_launcher_was_stopped() {
    let house = House::new().await;
    let pod = house.pod().await;
    let container = pod.create(script(&house.busybox(), "sleep 1000")).await.unwrap();
    container.start().await.unwrap();
    let launcher = pod.keeper().launcher_id();
    let stopped = rustix::process::Pid::from_raw(launcher.cast_signed()).unwrap();
    rustix::process::kill_process(stopped, rustix::process::Signal::STOP).unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(60), pod.close())
        .await
        .expect("the end of the pod");
    assert!(!Path::new(&format!("/proc/{launcher}")).exists());
    assert!(!house.keeper().join(pod.directory()).exists());
}
