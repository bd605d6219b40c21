//! The same entries in pieces of any size, and what is no tar.

use super::*;
use shipway_testkit::{Foreign, Tar};

/// Remembers what it is told, and wants what is called so.
#[derive(Default)]
struct Witness {
    wanted: &'static str,
    seen: Vec<(String, Kind, String)>,
    content: Vec<u8>,
    ended: usize,
}

impl Visitor for Witness {
    fn begin(&mut self, entry: Entry) -> bool {
        let wanted = entry.name.ends_with(self.wanted);
        self.seen.push((entry.name, entry.kind, entry.link));
        wanted
    }

    fn content(&mut self, bytes: &[u8]) {
        self.content.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        self.ended += 1;
    }
}

fn read(tar: &[u8], piece: usize, wanted: &'static str) -> (Witness, bool) {
    let mut witness = Witness {
        wanted,
        ..Witness::default()
    };
    let mut reader = Reader::new();
    for piece in tar.chunks(piece) {
        reader.push(piece, &mut witness);
    }
    (witness, reader.is_whole())
}

fn sample() -> Vec<u8> {
    let long = format!("{}/end", "directory/".repeat(30));
    Tar::default()
        .directory("etc", 0o755, (0, 0))
        .file("etc/empty", "")
        .file(&long, "far away")
        .file("etc/list", "listed\n".repeat(200))
        .link("etc/link", "list")
        .bytes()
}

#[test]
fn pieces_of_any_size_give_the_same() {
    let tar = sample();
    let (whole, is_whole) = read(&tar, tar.len(), "etc/list");
    assert!(is_whole);
    assert_eq!(whole.content, "listed\n".repeat(200).as_bytes());
    assert_eq!(whole.ended, 1);
    let names: Vec<&str> = whole.seen.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names[1], "etc/empty");
    assert_eq!(names[2].len(), 304);
    assert_eq!(
        whole.seen[4],
        ("etc/link".to_owned(), Kind::SymbolicLink, "list".to_owned())
    );
    for piece in [1, 7, 511, 512, 513, 5000] {
        let (other, is_whole) = read(&tar, piece, "etc/list");
        assert!(is_whole);
        assert_eq!(
            (&other.seen, &other.content),
            (&whole.seen, &whole.content),
            "{piece}"
        );
    }
}

#[test]
fn an_empty_file_that_is_wanted_ends() {
    let (witness, _) = read(&sample(), 100, "etc/empty");
    assert_eq!((witness.ended, witness.content.len()), (1, 0));
}

#[test]
fn what_is_cut_off_or_no_tar_is_not_whole() {
    let tar = sample();
    assert!(!read(&tar[..tar.len() - 1024], 512, "").1);
    assert!(!read(b"no tar at all", 4, "").1);
    assert!(!read(&[b'x'; 2048], 512, "").1);
}

#[test]
fn foreign_tars_are_read_in_pieces_as_whole() {
    Foreign::near([sample()]).as_tars().check(|bytes| {
        let (whole, is_whole) = read(bytes, bytes.len().max(1), "list");
        let (pieces, also) = read(bytes, 333, "list");
        assert_eq!(
            (whole.seen, whole.content, is_whole),
            (pieces.seen, pieces.content, also)
        );
    });
}
