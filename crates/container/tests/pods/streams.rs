//! Standard streams and terminals.

use shipway_container::{AttachFrom, ExecOptions};
use shipway_sandbox::ExitStatus;
use tokio::io::AsyncWriteExt;

use crate::harness::tests;
use crate::house::{House, script, streams, text, until};

tests!(
    the_two_outputs_are_told_apart,
    input_reaches_the_process_and_ends,
    input_that_stays_open_has_no_end,
    a_late_reader_gets_every_byte_of_a_noisy_process,
    a_terminal_is_one,
    an_exec_reads_its_own_input,
);

async fn the_two_outputs_are_told_apart() {
    let house = House::new().await;
    let pod = house.pod().await;
    let container = pod
        .create(script(
            &house.busybox(),
            "echo out; echo err >&2; echo more > /dev/stdout",
        ))
        .await
        .unwrap();
    let attached = container.attach(AttachFrom::Now, true);
    assert!(attached.stdin.is_none(), "it was made without a standard input");
    container.start().await.unwrap();
    assert_eq!(
        streams(attached.output).await,
        ("out\nmore\n".into(), "err\n".into())
    );
    pod.close().await;
}

async fn input_reaches_the_process_and_ends() {
    let house = House::new().await;
    let pod = house.pod().await;
    let mut options = script(&house.busybox(), "cat; echo end");
    options.stdin_open = true;
    let container = pod.create(options).await.unwrap();
    for round in ["first", "second"] {
        let mut attached = container.attach(AttachFrom::Now, true);
        assert!(
            container.attach(AttachFrom::Now, true).stdin.is_none(),
            "one holder at a time"
        );
        container.start().await.unwrap();
        let mut stdin = attached.stdin.take().unwrap();
        let input = round.repeat(50_000);
        let (written, output) = tokio::join!(
            async {
                stdin.write_all(input.as_bytes()).await.unwrap();
                stdin.shutdown().await
            },
            text(attached.output)
        );
        written.unwrap();
        assert_eq!(output, format!("{input}end\n"));
        assert_eq!(container.wait().await, ExitStatus::Code(0));
    }
    pod.close().await;
}

async fn input_that_stays_open_has_no_end() {
    let house = House::new().await;
    let pod = house.pod().await;
    let mut options = script(&house.busybox(), "cat");
    options.stdin_open = true;
    options.stdin_stays_open = true;
    let container = pod.create(options).await.unwrap();
    container.start().await.unwrap();
    let mut logs = container.logs(true);
    for text in ["one", "two"] {
        let mut stdin = container.attach(AttachFrom::Now, true).stdin.unwrap();
        stdin.write_all(text.as_bytes()).await.unwrap();
        drop(stdin);
        until(&mut logs, text).await;
    }
    container.remove(true).await.unwrap();
    pod.close().await;
}

async fn a_late_reader_gets_every_byte_of_a_noisy_process() {
    let house = House::new().await;
    let pod = house.pod().await;
    let container = pod
        .create(script(&house.busybox(), "yes 0123456789 | head -c 20000000"))
        .await
        .unwrap();
    let late = container.attach(AttachFrom::Now, false).output;
    container.start().await.unwrap();
    assert_eq!(container.wait().await, ExitStatus::Code(0));
    let output = text(late).await;
    assert_eq!(output.len(), 20_000_000);
    assert!(output.lines().rev().skip(1).all(|line| line == "0123456789"));
    pod.close().await;
}

async fn a_terminal_is_one() {
    let house = House::new().await;
    let pod = house.pod().await;
    let mut options = script(
        &house.busybox(),
        "test -t 0 && test -t 1 && echo $TERM; read line; echo got $line; read line; stty size",
    );
    options.terminal = true;
    options.stdin_open = true;
    let container = pod.create(options).await.unwrap();
    let mut attached = container.attach(AttachFrom::Now, true);
    let mut stdin = attached.stdin.take().unwrap();
    container.start().await.unwrap();
    until(&mut attached.output, "xterm").await;
    stdin.write_all(b"hello\n").await.unwrap();
    until(&mut attached.output, "got hello").await;
    container.resize(40, 132).await.unwrap();
    stdin.write_all(b"\n").await.unwrap();
    until(&mut attached.output, "40 132").await;
    assert_eq!(container.wait().await, ExitStatus::Code(0));
    pod.close().await;
}

async fn an_exec_reads_its_own_input() {
    let house = House::new().await;
    let pod = house.pod().await;
    let container = pod.create(script(&house.busybox(), "sleep 1000")).await.unwrap();
    container.start().await.unwrap();
    let options = ExecOptions {
        argv: vec!["cat".into()],
        stdin_open: true,
        ..ExecOptions::default()
    };
    let exec = container.exec(options).await.unwrap();
    let mut attached = exec.attach();
    let mut stdin = attached.stdin.take().unwrap();
    stdin.write_all(b"through").await.unwrap();
    drop(stdin);
    assert_eq!(text(attached.output).await, "through");
    assert_eq!(exec.wait().await, ExitStatus::Code(0));
    pod.close().await;
}
