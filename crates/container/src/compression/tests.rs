//! What is packed comes out, bombs stop, and damage is an error.

use std::io::Write;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unpack(bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut decompressor = Decompressor::new(bytes, limit)?;
    let mut out = Vec::new();
    decompressor.read_to_end(&mut out)?;
    decompressor.finish()?;
    Ok(out)
}

#[test]
fn takes_off_what_is_there() {
    let text = b"layer ".repeat(10_000);
    let two_members = [gzip(&text[..100]), gzip(&text[100..])].concat();
    let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
    let two_frames = [
        zstd::encode_all(&text[..7], 1).unwrap(),
        zstd::encode_all(&text[7..], 1).unwrap(),
    ]
    .concat();
    for bytes in [&text, &gzip(&text), &two_members, &zstd, &two_frames] {
        assert!(unpack(bytes, u64::MAX).unwrap() == text);
    }
    assert_eq!(unpack(b"", 1).unwrap(), b"");
}

#[test]
fn a_bomb_is_stopped_and_a_damaged_stream_is_an_error() {
    let bomb = gzip(&vec![0; 1 << 20]);
    assert!(unpack(&bomb, 1 << 20).is_ok());
    let error = unpack(&bomb, (1 << 20) - 1).unwrap_err();
    assert!(error.to_string().contains("more than 1048575 bytes"), "{error}");
    assert!(unpack(&bomb[..bomb.len() - 4], u64::MAX).is_err(), "cut off");
    let zstd = zstd::encode_all(&[7; 5000][..], 1).unwrap();
    assert!(unpack(&zstd[..zstd.len() - 2], u64::MAX).is_err(), "cut off");
}

#[test]
fn the_source_is_read_to_its_end() {
    let gz = gzip(b"x");
    let padded = [gz.as_slice(), &[]].concat();
    let mut source = io::Cursor::new(padded);
    let mut decompressor = Decompressor::new(&mut source, 10).unwrap();
    assert_eq!(decompressor.compression(), Compression::Gzip);
    io::copy(&mut decompressor, &mut io::sink()).unwrap();
    decompressor.finish().unwrap();
    assert_eq!(source.position(), gz.len() as u64);
}
