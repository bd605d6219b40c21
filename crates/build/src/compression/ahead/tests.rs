//! Reading ahead changes no byte, and each side hears of the end of the other.

use super::*;
use crate::compression::cut::BLOCK_BYTES;

fn in_two_halves(room: &Room, input: &[u8]) -> (Compressed, Vec<u8>) {
    let (reader, writer) = ahead(room);
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let mut output = Vec::new();
            writer
                .write(
                    Compressor::with_threads(2),
                    Compression::default(),
                    None,
                    &mut output,
                )
                .map(|_| output)
        });
        let read = reader.read(&mut &*input).expect("memory does not fail");
        reader.end();
        let output = writing.join().expect("no panic").expect("memory does not fail");
        (read, output)
    })
}

#[test]
fn reading_ahead_changes_no_byte_and_gives_its_room_back() {
    let room = Room::default();
    let large = vec![7; (BLOCKS_AHEAD + 9) * BLOCK_BYTES + 3];
    for input in [&large[..], &large[..BLOCK_BYTES], &large[..10], &[]] {
        let mut output = Vec::new();
        let whole = Compressor::with_threads(1)
            .run(Compression::default(), &mut &*input, &mut output)
            .expect("memory does not fail");
        assert_eq!(in_two_halves(&room, input), (whole, output));
        assert_eq!(*room.inner.0.lock().expect("no panic"), BLOCKS_AHEAD);
    }
}

#[test]
fn a_reader_that_is_dropped_fails_its_writer() {
    for input in [&[1_u8; 10][..], &[]] {
        let (reader, writer) = ahead(&Room::default());
        reader.read(&mut &*input).expect("memory does not fail");
        drop(reader);
        let written = writer.write(
            Compressor::with_threads(1),
            Compression::default(),
            None,
            &mut Vec::new(),
        );
        assert!(matches!(written, Err(CompressError::ThreadLost)));
    }
}

#[test]
fn a_writer_that_is_gone_ends_its_reader() {
    let (reader, writer) = ahead(&Room::default());
    drop(writer);
    let read = reader.read(&mut std::io::repeat(1));
    assert!(matches!(read, Err(CompressError::ThreadLost)));
}
