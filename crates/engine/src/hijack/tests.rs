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
