//! What a layer's tar says, hostile ones included.

use super::Reader;
use crate::archive::record::Entry;
use crate::requests::UnpackLimits;

fn header(kind: tar::EntryType, name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path(name).unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(7);
    header.set_cksum();
    header
}

fn sample() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let records: [(&str, &[u8]); 4] = [
        ("path", b"from/pax"),
        ("mtime", b"1700000000.25"),
        ("uid", b"70000"),
        ("SCHILY.xattr.user.a", b"b"),
    ];
    tar.append(&header(tar::EntryType::Directory, "a/", 0), std::io::empty())
        .unwrap();
    tar.append_pax_extensions(records).unwrap();
    tar.append(&header(tar::EntryType::Regular, "x", 3), &b"abc"[..])
        .unwrap();
    let mut link = header(tar::EntryType::Symlink, "l", 0);
    tar.append_link(&mut link, "l".repeat(200), "t".repeat(200))
        .unwrap();
    let mut hard = header(tar::EntryType::Link, "h", 0);
    tar.append_link(&mut hard, "h", "x").unwrap();
    tar.into_inner().unwrap()
}

/// Entries until one is refused, each read to its end.
fn walk(bytes: &[u8], limits: UnpackLimits, mut see: impl FnMut(&Entry, u64)) -> crate::error::Result<()> {
    let mut reader = Reader::new(bytes, limits);
    while let Some(entry) = reader.next()? {
        let (mut buffer, mut length) = ([0; 1000], 0);
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                read => length += read as u64,
            }
        }
        see(&entry, length);
    }
    Ok(())
}

/// What is read stays within the limits, and every entry that is given out can be made.
#[test]
fn foreign_layers() {
    shipway_testkit::Foreign::near([sample()])
        .as_tars()
        .check(|bytes| {
            let limits = UnpackLimits {
                entries: 50,
                path: 300,
                ..UnpackLimits::default()
            };
            let mut entries = 0;
            let _ = walk(bytes, limits, |entry, length| {
                entries += 1;
                assert!(entry.name.len() <= 300 && entry.link.len() <= 300);
                assert!(!entry.name.contains(&0) && !entry.link.contains(&0));
                assert!((0..1_000_000_000).contains(&entry.mtime.1), "{:?}", entry.mtime);
                assert_eq!(entry.size, length);
            });
            assert!(entries <= 50);
        });
}

#[test]
fn headers_of_one_entry_share_their_room() {
    let limits = || UnpackLimits {
        header: 4096,
        ..UnpackLimits::default()
    };
    let records = |count: usize| {
        let mut tar = tar::Builder::new(Vec::new());
        for _ in 0..count {
            tar.append_pax_extensions([("SCHILY.xattr.user.a", &[b'x'; 900][..])])
                .unwrap();
        }
        tar.append(&header(tar::EntryType::Regular, "x", 0), std::io::empty())
            .unwrap();
        tar.into_inner().unwrap()
    };
    assert!(walk(&[records(4), Vec::new()].concat(), limits(), |_, _| {}).is_ok());
    let refused = walk(&records(5), limits(), |_, _| {}).unwrap_err().to_string();
    assert!(refused.contains("extended headers"), "{refused}");
}
