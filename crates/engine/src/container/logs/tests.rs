//! Stamps and selections of lines, however the output was cut into pieces.

use std::time::Duration;

use super::*;

fn chunk(stream: OutputStream, seconds: u64, text: &'static str) -> OutputChunk {
    OutputChunk {
        stream,
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        bytes: Bytes::from_static(text.as_bytes()),
    }
}

fn written(query: &str, skip: u64, chunks: &[OutputChunk]) -> String {
    let mut selection = Selection::new(&Query::parse(query)).unwrap();
    selection.skip = skip;
    let mut writer = LineWriter {
        selection,
        at_start: [true, true],
    };
    let bytes: Vec<u8> = chunks
        .iter()
        .filter_map(|chunk| writer.write(chunk))
        .flatten()
        .collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_stamp_is_put_once_a_line_however_it_was_cut() {
    let chunks = [
        chunk(OutputStream::Stdout, 1, "one "),
        chunk(OutputStream::Stderr, 2, "err\n"),
        chunk(OutputStream::Stdout, 3, "line\ntwo\n"),
    ];
    assert_eq!(
        written("stdout=1&stderr=1&timestamps=1", 0, &chunks),
        "1970-01-01T00:00:01.000000000Z one 1970-01-01T00:00:02.000000000Z err\nline\n1970-01-01T00:00:03.000000000Z two\n"
    );
}

#[test]
fn lines_are_passed_over_across_chunks_and_times_and_streams_select() {
    let chunks = [
        chunk(OutputStream::Stdout, 1, "a\nb"),
        chunk(OutputStream::Stdout, 2, "b\nc\nd"),
        chunk(OutputStream::Stderr, 3, "e\n"),
    ];
    assert_eq!(written("stdout=1", 2, &chunks), "c\nd");
    assert_eq!(written("stderr=1", 0, &chunks), "e\n");
    assert_eq!(
        written("stdout=1&stderr=1&since=2&until=2.5", 0, &chunks),
        "b\nc\nd"
    );
    let mut lines = LineCount::default();
    chunks.iter().for_each(|chunk| lines.count(&chunk.bytes));
    assert_eq!(lines.total(), 4);
    assert!(Selection::new(&Query::parse("follow=1")).is_err());
}
