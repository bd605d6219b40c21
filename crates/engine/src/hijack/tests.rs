//! Which end of a taken-over connection ends what.

use tokio::io::DuplexStream;

use super::*;

fn chunks(list: &[(FrameStream, &'static [u8])]) -> Vec<(FrameStream, Bytes)> {
    list.iter()
        .map(|(stream, bytes)| (*stream, Bytes::from_static(bytes)))
        .collect()
}

#[tokio::test]
async fn a_half_closed_client_still_gets_all_output() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (input, mut process_input) = tokio::io::duplex(64);
    let output = async move {
        // The process writes only once it has seen the end of its input.
        let mut read = Vec::new();
        process_input.read_to_end(&mut read).await.unwrap();
        chunks(&[(FrameStream::Stdout, b"got "), (FrameStream::Stderr, b"it")])
    };
    let output = Box::pin(futures::stream::once(output).flat_map(futures::stream::iter));
    let pumping = tokio::spawn(pump(server, Framing::Multiplexed, output, Some(input)));
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"\x01\0\0\0\0\0\0\x04got \x02\0\0\0\0\0\0\x02it");
    drop(client);
    pumping.await.unwrap();
}

#[tokio::test]
async fn without_input_the_client_s_end_is_not_the_end() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let output = Box::pin(futures::stream::once(async move {
        gone.await.unwrap();
        (FrameStream::Stdout, Bytes::from_static(b"late"))
    }));
    let pumping = tokio::spawn(pump(server, Framing::Raw, output, None::<DuplexStream>));
    client.shutdown().await.unwrap();
    go.send(()).unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"late");
    drop(client);
    pumping.await.unwrap();
}

#[tokio::test]
async fn a_process_that_stops_reading_ends_only_the_input() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (input, process_input) = tokio::io::duplex(1);
    drop(process_input);
    let output = futures::stream::iter(chunks(&[(FrameStream::Stdout, b"out")]));
    let pumping = tokio::spawn(pump(server, Framing::Raw, output, Some(input)));
    client.write_all(&[7; 4096]).await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"out");
    drop(client);
    pumping.await.unwrap();
}

#[test]
fn stream_formats_are_named_since_1_42() {
    let version = |segment: &str| ApiVersion::from_segment(segment).unwrap().unwrap();
    assert_eq!(Framing::of(false).content_type(version("v1.42")), MULTIPLEXED);
    assert_eq!(Framing::of(false).content_type(version("v1.41")), RAW);
    assert_eq!(Framing::of(true).content_type(version("v1.47")), RAW);
}

/// What a client sends reaches the process as it came, and what the process says comes back in frames that add up to it.
#[test]
fn foreign_streams() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let seeds: [&[u8]; 4] = [
        b"ls -l\nexit\n",
        b"\x01\0\0\0\0\0\0\x04ls\n",
        b"\x03\x10\x11\x1b[A\r",
        b"GET /_ping HTTP/1.1\r\nUpgrade: tcp\r\n\r\n",
    ];
    shipway_testkit::Foreign::near(seeds).check(|bytes| {
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let (input, mut process) = tokio::io::duplex(1 << 20);
            let echo = async move {
                let mut read = Vec::new();
                process.read_to_end(&mut read).await.unwrap();
                (FrameStream::Stdout, Bytes::from(read))
            };
            let output = Box::pin(futures::stream::once(echo));
            let pumping = tokio::spawn(pump(server, Framing::Multiplexed, output, Some(input)));
            client.write_all(bytes).await.unwrap();
            client.shutdown().await.unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            drop(client);
            pumping.await.unwrap();
            let (mut rest, mut joined) = (received.as_slice(), Vec::new());
            while let Some((header, after)) = rest.split_first_chunk::<8>() {
                assert_eq!(header[..4], [1, 0, 0, 0]);
                let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
                joined.extend_from_slice(&after[..length]);
                rest = &after[length..];
            }
            assert!(rest.is_empty() && joined == bytes);
        });
    });
}
