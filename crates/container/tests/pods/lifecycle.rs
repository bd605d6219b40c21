//! Start, wait, restart, exec, signals, the end.

use std::time::Duration;

use shipway_container::{ContainerState, ControlError, ExecOptions, Signal, StartError};
use shipway_sandbox::ExitStatus;

use crate::harness::tests;
use crate::house::{House, eventually, run, run_once, script, text, until};

tests!(
    a_container_runs_as_its_image_and_caller_say,
    started_again_it_has_its_files_and_its_logs,
    what_cannot_start_says_so_with_a_shells_code,
    a_signal_reaches_the_process_and_stop_insists,
    other_processes_join_and_die_with_the_first,
    a_closed_pod_leaves_nothing,
    a_dropped_pod_leaves_nothing,
    removal_needs_an_end,
    the_etc_files_are_its_own,
    many_containers_run_at_once,
);

async fn a_container_runs_as_its_image_and_caller_say() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    let mut options = script(
        &image,
        "echo $FROM_IMAGE $FROM_CALLER $(id -u):$(id -g) $(pwd) $(hostname) $HOME; exit 7",
    );
    options.env = vec!["FROM_CALLER=too".into()];
    options.user = Some("ann".into());
    options.cwd = Some("/made/here".into());
    options.hostname = Some("box".into());
    let (status, output) = run(&pod, options).await;
    assert_eq!(
        (status, output.as_str()),
        (
            ExitStatus::Code(7),
            "yes too 1000:1001 /made/here box /home/ann\n"
        )
    );
    pod.close().await;
}

async fn started_again_it_has_its_files_and_its_logs() {
    let house = House::new().await;
    let pod = house.pod().await;
    let container = pod
        .create(script(&house.busybox(), "touch /n$(ls / | wc -l); ls -d /n*"))
        .await
        .unwrap();
    let (_, first) = run_once(&container).await;
    assert!(house.keeper().join(container.upper()).join("fs").is_dir());
    let (_, second) = run_once(&container).await;
    assert_eq!(
        second.lines().count(),
        first.lines().count() + 1,
        "{first} then {second}"
    );
    assert_eq!(text(container.logs(false)).await, format!("{first}{second}"));
    container.remove(false).await.unwrap();
    assert!(!house.keeper().join(container.upper()).exists());
    assert!(matches!(container.start().await, Err(StartError::Removed { .. })));
    pod.close().await;
}

async fn what_cannot_start_says_so_with_a_shells_code() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    for (program, code) in [
        ("no-such-program", 127),
        ("/no/such/program", 127),
        ("/etc/passwd", 126),
    ] {
        let mut options = script(&image, "");
        options.command = Some(vec![program.into()]);
        let container = pod.create(options).await.unwrap();
        let exit = container.next_exit();
        let error = container.start().await.unwrap_err();
        assert_eq!(error.exit_code(), code, "{program}: {error:?}");
        assert_eq!(exit.await, ExitStatus::Code(code));
        assert!(matches!(
            container.state(),
            ContainerState::Exited { error: Some(_), .. }
        ));
        container.remove(false).await.unwrap();
    }
    pod.close().await;
}

async fn a_signal_reaches_the_process_and_stop_insists() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    let polite = pod
        .create(script(
            &image,
            "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done",
        ))
        .await
        .unwrap();
    let mut logs = polite.attach(shipway_container::AttachFrom::Now, false).output;
    polite.start().await.unwrap();
    until(&mut logs, "up").await;
    assert_eq!(
        polite.stop(Duration::from_secs(20)).await.unwrap(),
        ExitStatus::Code(3)
    );
    assert_eq!(text(polite.logs(false)).await, "up\nbye\n");

    let deaf = pod
        .create(script(&image, "trap '' TERM; echo up; while :; do sleep 1; done"))
        .await
        .unwrap();
    let mut logs = deaf.attach(shipway_container::AttachFrom::Now, false).output;
    deaf.start().await.unwrap();
    until(&mut logs, "up").await;
    assert_eq!(
        deaf.stop(Duration::from_millis(20)).await.unwrap(),
        ExitStatus::Signal(9)
    );
    assert!(matches!(
        deaf.kill(Signal::KILL).await,
        Err(ControlError::NotRunning { .. })
    ));
    pod.close().await;
}

async fn other_processes_join_and_die_with_the_first() {
    let house = House::new().await;
    let pod = house.pod().await;
    let mut options = script(&house.busybox(), "sleep 1000");
    options.env = vec!["A=container".into(), "B=container".into()];
    let container = pod.create(options).await.unwrap();
    assert!(matches!(
        container.exec(ExecOptions::default()).await,
        Err(StartError::NotRunning { .. })
    ));
    container.start().await.unwrap();

    let shell = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
    let exec = container
        .exec(ExecOptions {
            argv: shell("echo $A $B $(id -u); exit 5"),
            env: vec!["B=exec".into()],
            user: Some("1000".into()),
            ..ExecOptions::default()
        })
        .await
        .unwrap();
    assert_eq!(text(exec.attach().output).await, "container exec 1000\n");
    assert_eq!(exec.wait().await, ExitStatus::Code(5));
    assert_eq!(exec.status(), Some(ExitStatus::Code(5)));

    let missing = container
        .exec(ExecOptions {
            argv: vec!["nope".into()],
            ..ExecOptions::default()
        })
        .await;
    assert_eq!(missing.unwrap_err().exit_code(), 127);

    let long = container
        .exec(ExecOptions {
            argv: shell("echo up; sleep 1000"),
            ..ExecOptions::default()
        })
        .await
        .unwrap();
    until(&mut long.attach().output, "up").await;
    container.kill(Signal::KILL).await.unwrap();
    assert_eq!(container.wait().await, ExitStatus::Signal(9));
    assert_eq!(long.wait().await, ExitStatus::Signal(9));
    pod.close().await;
}

async fn a_closed_pod_leaves_nothing() {
    let house = House::new().await;
    let pod = house.pod().await;
    let container = pod
        .create(script(&house.busybox(), "echo up; sleep 1000"))
        .await
        .unwrap();
    container.start().await.unwrap();
    until(&mut container.logs(true), "up").await;
    assert!(house.keeper().join(pod.directory()).is_dir());
    let exit = container.next_exit();
    pod.close().await;
    assert_eq!(exit.await, ExitStatus::Signal(9));
    assert!(!house.keeper().join(pod.directory()).exists());
    assert!(!house.data().join("locks").join(pod.id().as_str()).exists());
    assert!(container.start().await.is_err());
    assert!(!pod.is_open());
    pod.close().await;
}

async fn a_dropped_pod_leaves_nothing() {
    let house = House::new().await;
    let pod = house.pod().await;
    let container = pod
        .create(script(&house.busybox(), "echo up; sleep 1000"))
        .await
        .unwrap();
    container.start().await.unwrap();
    until(&mut container.logs(true), "up").await;
    let directory = house.keeper().join(pod.directory());
    let lock = house.data().join("locks").join(pod.id().as_str());
    drop((pod, container));
    eventually("the dropped pod is gone", || {
        !directory.exists() && !lock.exists()
    })
    .await;
}

async fn removal_needs_an_end() {
    let house = House::new().await;
    let pod = house.pod().await;
    let container = pod.create(script(&house.busybox(), "sleep 1000")).await.unwrap();
    container.start().await.unwrap();
    assert!(matches!(
        container.remove(false).await,
        Err(ControlError::Running { .. })
    ));
    assert_eq!(pod.containers().len(), 1);
    container.remove(true).await.unwrap();
    assert!(pod.containers().is_empty());
    assert_eq!(container.removed().await, ExitStatus::Signal(9));
    pod.close().await;
}

async fn the_etc_files_are_its_own() {
    let house = House::new().await;
    let pod = house.pod().await;
    let mut options = script(&house.busybox(), "cat /etc/hostname /etc/hosts");
    options.hostname = Some("box".into());
    options.extra_hosts = vec![("db".into(), "10.1.2.3".parse().unwrap())];
    let (_, output) = run(&pod, options).await;
    assert!(output.starts_with("box\n127.0.0.1\tlocalhost\n"), "{output}");
    assert!(
        output.contains("10.1.2.3\tdb\n") && output.ends_with("127.0.0.1\tbox\n"),
        "{output}"
    );
    pod.close().await;
}

async fn many_containers_run_at_once() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    let runs = (0..30).map(|number| {
        let mut options = script(
            &image,
            &format!(
                "echo {number}; nslookup c{} | grep -c Name; exit {number}",
                (number + 1) % 30
            ),
        );
        options.network = shipway_container::Network::Pod;
        options.names = vec![format!("c{number}")];
        let pod = pod.clone();
        async move { pod.create(options).await.unwrap() }
    });
    // All have their names before the first one asks for another's.
    let containers = futures::future::join_all(runs).await;
    let results = futures::future::join_all(containers.iter().map(run_once)).await;
    for (number, (status, output)) in results.into_iter().enumerate() {
        assert_eq!(status, ExitStatus::Code(i32::try_from(number).unwrap()));
        assert!(
            output.starts_with(&format!("{number}\n")) && output.ends_with("1\n"),
            "{number}: {output}"
        );
    }
    pod.close().await;
}
