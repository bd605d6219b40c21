//! Running things: exit codes, streams, names, signals, exec, logs.

use std::process::Stdio;

use shipway_testkit::Peer;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::harness::tests;
use crate::house::{House, finish};

tests![
    exit_codes,
    streams_are_separate_and_complete,
    standard_input_and_its_end,
    interactive_both_ways,
    environment_directory_user_entrypoint,
    names_and_prefixes,
    detached_logs_wait_remove,
    logs_tail_and_timestamps,
    list_and_inspect,
    exec_in_a_running_container,
    kill_stop_restart,
    start_again_attached,
    attach_to_a_running_container,
    a_terminal,
    refusals_and_warnings,
    top_and_rename,
];

async fn exit_codes(docker: Peer) {
    let house = House::with_busybox(docker).await;
    for (command, code) in [("exit 0", 0), ("exit 7", 7), ("exit 137", 137)] {
        let said = house
            .docker(&["run", "--rm", "busybox", "sh", "-c", command])
            .await;
        assert_eq!(said.code, Some(code), "{said:?}");
    }
    house
        .docker(&["run", "--rm", "busybox", "no-such-program"])
        .await
        .failed(127, "executable file not found");
    house
        .docker(&["run", "--rm", "busybox", "/etc/passwd"])
        .await
        .failed(126, "permission denied");
    assert_eq!(house.ok(&["ps", "-aq"]).await, "");
    house.close().await;
}

async fn streams_are_separate_and_complete(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let said = house
        .docker(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"])
        .await;
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("out\n", "err\n"));
    let many = house.ok(&["run", "--rm", "busybox", "seq", "1", "200000"]).await;
    assert_eq!(
        (many.lines().count(), many.lines().last()),
        (200_000, Some("200000"))
    );
    house.close().await;
}

async fn standard_input_and_its_end(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let said = house
        .docker_with(&["run", "--rm", "-i", "busybox", "cat"], b"hi\nthere")
        .await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "hi\nthere"));
    // Without -i nothing is read, and the end of the client's input is not the end of the output.
    let said = house
        .docker_with(
            &["run", "--rm", "busybox", "sh", "-c", "cat; echo done"],
            b"ignored",
        )
        .await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "done\n"));
    // More input than anybody reads.
    let said = house
        .docker_with(
            &["run", "--rm", "-i", "busybox", "head", "-n", "1"],
            &b"line\n".repeat(400_000),
        )
        .await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "line\n"));
    let said = house
        .docker_with(
            &["run", "--rm", "-i", "busybox", "cat"],
            &b"0123456789\n".repeat(100_000),
        )
        .await;
    assert_eq!(said.stdout.len(), 1_100_000);
    house.close().await;
}

async fn interactive_both_ways(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let script = "while read -r line; do echo \"got $line\"; done; echo end";
    let arguments = ["run", "--rm", "-i", "busybox", "sh", "-c", script];
    let mut child = house.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for word in ["one", "two"] {
        input.write_all(format!("{word}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        output.read_line(&mut line).await.unwrap();
        assert_eq!(line, format!("got {word}\n"));
    }
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "end\n");
    assert_eq!(finish(child, &arguments).await.code, Some(0));
    house.close().await;
}

async fn environment_directory_user_entrypoint(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let said = house
        .ok(&[
            "run",
            "--rm",
            "-e",
            "A=b c",
            "-e",
            "FROM_IMAGE",
            "-w",
            "/tmp",
            "-u",
            "ann",
            "--hostname",
            "box",
            "busybox",
            "sh",
            "-c",
            "echo $A:$FROM_IMAGE:$HOME; pwd; id -u; id -g; hostname",
        ])
        .await;
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["b c::/home/ann", "/tmp", "1000", "1001", "box"]
    );
    assert_eq!(
        house
            .ok(&["run", "--rm", "--entrypoint", "echo", "busybox", "hello"])
            .await,
        "hello"
    );
    assert_eq!(
        house
            .ok(&["run", "--rm", "--entrypoint", "", "busybox", "echo", "x"])
            .await,
        "x"
    );
    assert_eq!(
        house
            .ok(&[
                "run",
                "--rm",
                "--network",
                "none",
                "--add-host",
                "db:10.9.8.7",
                "busybox",
                "cat",
                "/etc/hosts"
            ])
            .await
            .lines()
            .filter(|line| line.contains("10.9.8.7"))
            .count(),
        1
    );
    house.close().await;
}

async fn names_and_prefixes(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let id = house
        .ok(&["create", "--name", "web", "busybox", "echo", "named"])
        .await;
    house
        .docker(&["create", "--name", "web", "busybox"])
        .await
        .failed(1, "is already in use");
    assert_eq!(
        house.ok(&["inspect", "--format", "{{.Name}}", &id[..10]]).await,
        "/web"
    );
    assert_eq!(house.ok(&["start", "-a", &id[..12]]).await, "named");
    house.docker(&["inspect", "nobody"]).await.failed(1, "No such");
    house
        .docker(&["start", "nobody"])
        .await
        .failed(1, "No such container");
    let generated = house.ok(&["create", "busybox"]).await;
    assert!(
        house
            .ok(&["inspect", "--format", "{{.Name}}", &generated])
            .await
            .contains('_')
    );
    house.ok(&["rm", "web"]).await;
    house
        .ok(&["run", "--rm", "--name", "web", "busybox", "true"])
        .await;
    house
        .ok(&["run", "--rm", "--name", "web", "busybox", "true"])
        .await;
    house.close().await;
}

async fn detached_logs_wait_remove(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let id = house
        .ok(&[
            "run",
            "-d",
            "--name",
            "worker",
            "busybox",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 3",
        ])
        .await;
    assert_eq!(id.len(), 64);
    assert_eq!(house.ok(&["wait", "worker"]).await, "3");
    let logs = house.docker(&["logs", "worker"]).await;
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\n", "err\n"));
    let followed = house.docker(&["logs", "-f", "worker"]).await;
    assert_eq!(followed.stdout, "out\n");
    let listed = house
        .ok(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"])
        .await;
    assert!(listed.starts_with("worker Exited (3)"), "{listed}");
    let running = house.ok(&["run", "-d", "busybox", "sleep", "600"]).await;
    house
        .docker(&["rm", &running])
        .await
        .failed(1, "container is running");
    house.ok(&["rm", "-f", "worker", &running]).await;
    assert_eq!(house.ok(&["ps", "-aq"]).await, "");
    house.close().await;
}

async fn logs_tail_and_timestamps(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&["run", "--name", "talker", "busybox", "seq", "1", "20"])
        .await;
    assert_eq!(house.ok(&["logs", "--tail", "2", "talker"]).await, "19\n20");
    let stamped = house.ok(&["logs", "-t", "--tail", "1", "talker"]).await;
    let (stamp, text) = stamped.split_once(' ').unwrap();
    assert!(
        text == "20" && stamp.len() == 30 && stamp.ends_with('Z'),
        "{stamped}"
    );
    assert_eq!(house.ok(&["logs", "--until", "10m", "talker"]).await, "");
    let arguments = [
        "run",
        "-d",
        "--name",
        "live",
        "busybox",
        "sh",
        "-c",
        "echo first; cat /tmp/none; sleep 600",
    ];
    house.ok(&arguments).await;
    let mut follower = house.command(&["logs", "-f", "live"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(follower.stdout.take().unwrap())
        .read_line(&mut line)
        .await
        .unwrap();
    assert_eq!(line, "first\n");
    house.ok(&["kill", "live"]).await;
    assert_eq!(finish(follower, &["logs", "-f"]).await.code, Some(0));
    house.close().await;
}

async fn list_and_inspect(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&[
            "run", "-d", "--name", "up", "--label", "role=web", "-e", "A=1", "busybox", "sleep", "600",
        ])
        .await;
    house.ok(&["run", "--name", "down", "busybox", "true"]).await;
    assert_eq!(
        house
            .ok(&["ps", "--format", "{{.Names}} {{.Image}} {{.Command}}"])
            .await,
        "up busybox \"sleep 600\""
    );
    assert_eq!(
        house
            .ok(&["ps", "-a", "--filter", "status=exited", "--format", "{{.Names}}"])
            .await,
        "down"
    );
    assert_eq!(
        house
            .ok(&["ps", "-a", "--filter", "label=role=web", "--format", "{{.Names}}"])
            .await,
        "up"
    );
    assert_eq!(
        house
            .ok(&["ps", "-q", "-f", "name=^up$", "--no-trunc"])
            .await
            .len(),
        64
    );
    let shown = house
        .ok(&[
            "inspect",
            "up",
            "--format",
            "{{.State.Running}} {{.Config.Image}} {{json .Config.Cmd}} {{.HostConfig.NetworkMode}}",
        ])
        .await;
    let mut words = shown.split(' ');
    assert_eq!(
        words
            .next_back()
            .map(|mode| mode == "default" || mode == "bridge"),
        Some(true),
        "{shown}"
    );
    assert_eq!(
        words.collect::<Vec<_>>().join(" "),
        r#"true busybox ["sleep","600"]"#
    );
    let environment = house
        .ok(&["inspect", "up", "--format", "{{json .Config.Env}}"])
        .await;
    assert!(
        environment.contains("A=1") && environment.contains("FROM_IMAGE=yes"),
        "{environment}"
    );
    let code = house
        .ok(&[
            "inspect",
            "down",
            "--format",
            "{{.State.Status}} {{.State.ExitCode}}",
        ])
        .await;
    assert_eq!(code, "exited 0");
    house.close().await;
}

async fn exec_in_a_running_container(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&["run", "-d", "--name", "host", "busybox", "sleep", "600"])
        .await;
    assert_eq!(house.ok(&["exec", "host", "echo", "inside"]).await, "inside");
    let said = house
        .docker(&["exec", "host", "sh", "-c", "echo o; echo e >&2; exit 5"])
        .await;
    assert_eq!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()),
        (Some(5), "o\n", "e\n")
    );
    let said = house
        .docker_with(&["exec", "-i", "host", "cat"], b"through")
        .await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "through"));
    let said = house
        .ok(&[
            "exec",
            "-e",
            "X=1",
            "-w",
            "/tmp",
            "-u",
            "ann",
            "host",
            "sh",
            "-c",
            "echo $X $(pwd) $(id -u)",
        ])
        .await;
    assert_eq!(said, "1 /tmp 1000");
    let many = house.ok(&["exec", "host", "seq", "1", "100000"]).await;
    assert_eq!(many.lines().count(), 100_000);
    house
        .docker(&["exec", "host", "no-such-program"])
        .await
        .failed(127, "not found");
    house.ok(&["exec", "-d", "host", "touch", "/tmp/marked"]).await;
    house.ok(&["rm", "-f", "host"]).await;
    house.ok(&["create", "--name", "host", "busybox"]).await;
    house
        .docker(&["exec", "host", "true"])
        .await
        .failed(1, "is not running");
    house.close().await;
}

async fn kill_stop_restart(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let trap = "trap 'echo asked; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    house
        .ok(&["run", "-d", "--name", "polite", "busybox", "sh", "-c", trap])
        .await;
    // The trap is set once the container has said so.
    let mut follower = house.command(&["logs", "-f", "polite"]).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    house.ok(&["stop", "-t", "30", "polite"]).await;
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("asked"));
    assert_eq!(
        house
            .ok(&["inspect", "polite", "--format", "{{.State.ExitCode}}"])
            .await,
        "4"
    );
    house.ok(&["restart", "-t", "0", "polite"]).await;
    assert_eq!(
        house
            .ok(&["inspect", "polite", "--format", "{{.State.Running}}"])
            .await,
        "true"
    );
    house.ok(&["kill", "polite"]).await;
    assert_eq!(
        house
            .ok(&["inspect", "polite", "--format", "{{.State.ExitCode}}"])
            .await,
        "137"
    );
    house
        .docker(&["kill", "polite"])
        .await
        .failed(1, "is not running");
    house
        .docker(&["kill", "-s", "NOPE", "polite"])
        .await
        .failed(1, "");
    house.ok(&["stop", "polite"]).await;
    house.close().await;
}

async fn start_again_attached(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let script = "echo run >> /tmp/runs; cat /tmp/runs";
    house
        .ok(&["run", "--name", "again", "busybox", "sh", "-c", script])
        .await;
    let second = house.docker(&["start", "-a", "again"]).await;
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!(second.stdout.matches("run").count(), 2, "{second:?}");
    house
        .ok(&["create", "-i", "--name", "reader", "busybox", "cat"])
        .await;
    let said = house.docker_with(&["start", "-ai", "reader"], b"fed").await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "fed"));
    house.close().await;
}

async fn a_terminal(docker: Peer) {
    let house = House::with_busybox(docker).await;
    // The client has no terminal here, but the container does: what it writes comes as the terminal shows it.
    let said = house
        .docker(&[
            "run",
            "--rm",
            "-t",
            "busybox",
            "sh",
            "-c",
            "tty >/dev/null && echo terminal",
        ])
        .await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "terminal\r\n"));
    house.close().await;
}

async fn refusals_and_warnings(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .docker(&["run", "--rm", "--pid=host", "busybox", "true"])
        .await
        .failed(125, "--pid=host");
    house
        .docker(&["run", "--rm", "--network=host", "busybox", "true"])
        .await
        .failed(125, "--network=host");
    house
        .docker(&["run", "--rm", "--device", "/dev/null", "busybox", "true"])
        .await
        .failed(125, "--device");
    house
        .docker(&["run", "--rm", "-v", "/etc:/host", "busybox", "true"])
        .await
        .failed(125, "/etc");
    let said = house
        .docker(&["run", "--rm", "--privileged", "busybox", "true"])
        .await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("--privileged"), "{said:?}");
    house.close().await;
}

async fn top_and_rename(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&["run", "-d", "--name", "old", "busybox", "sleep", "600"])
        .await;
    let top = house.ok(&["top", "old"]).await;
    assert!(top.contains("PID") && top.contains("sleep 600"), "{top}");
    house.ok(&["rename", "old", "new"]).await;
    assert_eq!(house.ok(&["ps", "--format", "{{.Names}}"]).await, "new");
    house
        .ok(&["run", "--rm", "--name", "old", "busybox", "true"])
        .await;
    house.close().await;
}

async fn attach_to_a_running_container(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let script = "while read -r line; do echo \"got $line\"; test \"$line\" = end && exit 6; done";
    house
        .ok(&[
            "run", "-d", "-i", "--name", "listener", "busybox", "sh", "-c", script,
        ])
        .await;
    let said = house.docker_with(&["attach", "listener"], b"one\nend\n").await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(6), "got one\ngot end\n"));
    house
        .docker(&["attach", "listener"])
        .await
        .failed(1, "cannot attach to a stopped container");
    house.close().await;
}
