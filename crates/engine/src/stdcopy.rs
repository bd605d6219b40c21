//! The framing of a hijacked stream without a terminal: which of the two outputs each piece belongs to.
//!
//! `[stream, 0, 0, 0, length as 32 bits big endian]`, then the bytes. A reader that sees anything else prints rubbish or
//! stops, so frames are made here and nowhere else.

use bytes::{BufMut, Bytes, BytesMut};

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameStream {
    Stdout,
    Stderr,
}

/// Clients refuse frames past some MiB; ours stay well below.
const LONGEST_PAYLOAD: usize = 1 << 20;

/// Frames one piece of output; nothing for an empty piece, several frames for a very long one.
pub(crate) fn frame(stream: FrameStream, payload: &[u8]) -> Bytes {
    let frames = payload.len().div_ceil(LONGEST_PAYLOAD);
    let mut framed = BytesMut::with_capacity(payload.len() + frames * 8);
    for piece in payload.chunks(LONGEST_PAYLOAD) {
        framed.put_u8(match stream {
            FrameStream::Stdout => 1,
            FrameStream::Stderr => 2,
        });
        framed.put_bytes(0, 3);
        framed.put_u32(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        framed.put_slice(piece);
    }
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_eight_bytes_and_the_payload() {
        assert_eq!(
            &frame(FrameStream::Stdout, b"hi\n")[..],
            b"\x01\0\0\0\0\0\0\x03hi\n"
        );
        assert_eq!(&frame(FrameStream::Stderr, b"x")[..], b"\x02\0\0\0\0\0\0\x01x");
        assert!(frame(FrameStream::Stdout, b"").is_empty());
    }

    #[test]
    fn long_output_is_cut_into_frames_that_add_up() {
        let payload: Vec<u8> = (0..LONGEST_PAYLOAD * 2 + 5).map(|n| (n % 251) as u8).collect();
        let framed = frame(FrameStream::Stdout, &payload);
        let (mut rest, mut joined, mut frames) = (&framed[..], Vec::new(), 0);
        while let Some((header, after)) = rest.split_first_chunk::<8>() {
            let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            joined.extend_from_slice(&after[..length]);
            rest = &after[length..];
            frames += 1;
        }
        assert_eq!(frames, 3);
        assert!(joined == payload);
    }
}
