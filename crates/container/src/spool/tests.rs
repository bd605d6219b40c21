//! Output that is read while it is written, by readers who come late and who follow.

use std::fs::File;
use std::io::Write;

use futures::StreamExt;
use rustix::pipe::{PipeFlags, pipe_with};

use super::*;

fn spool() -> Spool {
    Spool::create(tempfile::tempdir().unwrap().path(), &Meter::default()).unwrap()
}

async fn text(output: Output) -> String {
    let mut text = String::new();
    let chunks: Vec<_> = output.collect().await;
    for chunk in chunks {
        let chunk = chunk.unwrap();
        text.push(if chunk.stream == OutputStream::Stdout {
            '>'
        } else {
            '!'
        });
        text.push_str(std::str::from_utf8(&chunk.bytes).unwrap());
    }
    text
}

#[tokio::test]
async fn every_reader_sees_every_byte_in_order_and_marked() {
    let spool = spool();
    let before = spool.read_on();
    let mut writer = spool.begin_run();
    writer.append(OutputStream::Stdout, b"one").unwrap();
    let between = spool.read_on();
    let follow = spool.read_all(true);
    let whole_so_far = spool.read_all(false);
    writer.append(OutputStream::Stderr, b"two").unwrap();
    let reading = tokio::spawn(text(before));
    writer.append(OutputStream::Stdout, b"three").unwrap();
    drop(writer);
    assert_eq!(reading.await.unwrap(), ">one!two>three");
    assert_eq!(text(between).await, "!two>three");
    assert_eq!(text(follow).await, ">one!two>three");
    assert_eq!(text(whole_so_far).await, ">one");
}

#[tokio::test]
async fn a_reader_ends_with_its_run_and_logs_span_all_runs() {
    let spool = spool();
    let first = spool.read_on();
    let mut writer = spool.begin_run();
    writer.append(OutputStream::Stdout, b"first").unwrap();
    drop(writer);
    let second = spool.read_on();
    let all = spool.to_end_of_run();
    let mut writer = spool.begin_run();
    writer.append(OutputStream::Stdout, b"second").unwrap();
    drop(writer);
    assert_eq!(text(first).await, ">first");
    assert_eq!(text(second).await, ">second");
    assert_eq!(text(all).await, ">first>second");
    assert_eq!(text(spool.read_all(true)).await, ">first>second");
}

#[tokio::test]
async fn a_slow_reader_holds_nobody_up_and_gets_it_all() {
    let spool = spool();
    let slow = spool.read_on();
    let mut writer = spool.begin_run();
    let pattern: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
    for piece in pattern.chunks(70_001) {
        writer.append(OutputStream::Stdout, piece).unwrap();
    }
    drop(writer);
    let mut read = Vec::new();
    let mut slow = slow;
    while let Some(chunk) = slow.chunk().await.unwrap() {
        assert!(!chunk.bytes.is_empty() && chunk.bytes.len() <= PIECE);
        read.extend_from_slice(&chunk.bytes);
    }
    assert!(read == pattern);
}

#[tokio::test]
async fn a_failure_is_told_after_what_was_kept() {
    let spool = spool();
    let mut output = spool.read_on();
    let mut writer = spool.begin_run();
    writer.append(OutputStream::Stdout, b"kept").unwrap();
    writer.fail(io::Error::from(io::ErrorKind::StorageFull));
    drop(writer);
    assert_eq!(output.chunk().await.unwrap().unwrap().bytes, "kept");
    assert!(matches!(output.chunk().await, Err(OutputError::Written { .. })));
    assert!(output.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn what_its_only_reader_has_read_is_given_back() {
    let meter = Meter::default();
    let spool = Spool::create(tempfile::tempdir().unwrap().path(), &meter).unwrap();
    let mut output = spool.once_to_end_of_run();
    let mut writer = spool.begin_run();
    let (mut written, mut read) = (0_u64, 0_u64);
    for _ in 0..64 {
        writer.append(OutputStream::Stdout, &[7; PIECE]).unwrap();
        written += PIECE as u64;
        while read < written {
            let chunk = output.chunk().await.unwrap().unwrap();
            assert!(chunk.bytes.iter().all(|byte| *byte == 7));
            read += chunk.bytes.len() as u64;
        }
    }
    drop(writer);
    assert!(output.chunk().await.unwrap().is_none());
    assert!(meter.bytes() < 2 << 20, "{} of {written} bytes", meter.bytes());
}

#[tokio::test]
async fn the_pump_takes_both_pipes_to_their_ends() {
    let spool = spool();
    let output = spool.read_on();
    let (out, out_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (err, err_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let sources = vec![
        Source {
            stream: OutputStream::Stdout,
            descriptor: out,
        },
        Source {
            stream: OutputStream::Stderr,
            descriptor: err,
        },
    ];
    let pump = Pump::spawn(sources, spool.begin_run()).unwrap();
    File::from(err_end).write_all(b"problem").unwrap();
    let writing = std::thread::spawn(move || File::from(out_end).write_all(&[b'x'; 500_000]).unwrap());
    writing.join().unwrap();
    pump.finish();
    let chunks: Vec<_> = output.map(Result::unwrap).collect().await;
    let sum = |stream| -> usize {
        chunks
            .iter()
            .filter(|c| c.stream == stream)
            .map(|c| c.bytes.len())
            .sum()
    };
    assert_eq!(
        (sum(OutputStream::Stdout), sum(OutputStream::Stderr)),
        (500_000, 7)
    );
}

#[tokio::test]
async fn a_pipe_that_stays_open_does_not_hold_the_end_up_for_ever() {
    let spool = spool();
    let output = spool.read_on();
    let (out, out_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let pump = Pump::spawn(
        vec![Source {
            stream: OutputStream::Stdout,
            descriptor: out,
        }],
        spool.begin_run(),
    )
    .unwrap();
    let mut held = File::from(out_end);
    held.write_all(b"daemon started").unwrap();
    tokio::task::spawn_blocking(move || pump.finish()).await.unwrap();
    assert_eq!(text(output).await, ">daemon started");
    drop(held);
}
