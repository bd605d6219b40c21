//! What is written reads back; cut and damaged archives are errors.

use super::super::reader::Reader;
use super::super::record::Kind;
use super::*;
use crate::requests::UnpackLimits;

#[test]
fn what_is_written_is_read_again() {
    let long = [b"d/".repeat(90).as_slice(), &b"n".repeat(150)].concat();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    let attributes = vec![(b"user.x".to_vec(), b"\0\xff\n".to_vec())];
    let head = Head {
        name: &long,
        letter: Letter::File,
        mode: 0o4755,
        uid: 3_000_000,
        gid: 5,
        size: 3,
        mtime: -7,
        link: b"",
        device: (0, 0),
        attributes: attributes.clone(),
    };
    writer.head(&head).unwrap();
    writer.bytes(b"abc").unwrap();
    writer.padding(3).unwrap();
    let name = [b"p".repeat(120).as_slice(), b"/", &b"q".repeat(99)].concat();
    let link = b"l".repeat(200);
    let head = Head {
        name: &name,
        letter: Letter::SymbolicLink,
        size: 0,
        link: &link,
        attributes: vec![],
        ..head
    };
    writer.head(&head).unwrap();
    writer.finish().unwrap();

    let mut reader = Reader::new(bytes.as_slice(), UnpackLimits::default());
    let first = reader.next().unwrap().unwrap();
    assert_eq!((&first.name, first.kind, first.mode), (&long, Kind::File, 0o4755));
    assert_eq!(
        (first.uid, first.gid, first.size, first.mtime),
        (3_000_000, 5, 3, (-7, 0))
    );
    assert_eq!(first.attributes, attributes);
    let mut contents = [0; 10];
    assert_eq!(reader.read(&mut contents).unwrap(), 3);
    let second = reader.next().unwrap().unwrap();
    assert_eq!(
        (second.name, second.kind, second.link),
        (name, Kind::SymbolicLink, link)
    );
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_cut_archive_is_an_error() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    let head = Head {
        name: b"a",
        letter: Letter::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 600,
        mtime: 0,
        link: b"",
        device: (0, 0),
        attributes: vec![],
    };
    writer.head(&head).unwrap();
    writer.bytes(&[1; 100]).unwrap();
    let mut reader = Reader::new(bytes.as_slice(), UnpackLimits::default());
    reader.next().unwrap().unwrap();
    assert!(reader.next().is_err());
    assert!(
        Reader::new([7; 512].as_slice(), UnpackLimits::default())
            .next()
            .is_err()
    );
    let limits = UnpackLimits {
        entries: 0,
        ..UnpackLimits::default()
    };
    assert!(Reader::new(bytes.as_slice(), limits).next().is_err());
}

/// Any byte of an archive may be anything: an error, perhaps other entries, but an end.
#[test]
fn no_damage_is_more_than_an_error() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    for letter in [Letter::File, Letter::Directory, Letter::SymbolicLink] {
        let head = Head {
            name: b"directory/name",
            letter,
            mode: 0o644,
            uid: 4_000_000,
            gid: 1,
            size: 0,
            mtime: 1,
            link: b"target",
            device: (0, 0),
            attributes: vec![(b"user.a".to_vec(), b"value".to_vec())],
        };
        writer.head(&head).unwrap();
    }
    writer.finish().unwrap();
    for position in 0..bytes.len() {
        for value in [0, b'9', 0xff] {
            let mut damaged = bytes.clone();
            damaged[position] = value;
            let start = position / BLOCK * BLOCK;
            let block = &mut damaged[start..start + BLOCK];
            let sum: u64 = (0..BLOCK)
                .map(|at| {
                    if (148..156).contains(&at) {
                        32
                    } else {
                        u64::from(block[at])
                    }
                })
                .sum();
            // Only headers have a sum; in contents this is one more damage.
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            let mut reader = Reader::new(damaged.as_slice(), UnpackLimits::default());
            while let Ok(Some(entry)) = reader.next() {
                assert!(entry.name.len() <= UnpackLimits::default().path);
            }
        }
    }
}
