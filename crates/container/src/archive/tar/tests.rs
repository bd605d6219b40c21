//! Headers of all dialects, archives cut at every byte, and names too long to read.

use super::*;

fn walk(bytes: &[u8]) -> Result<Vec<(String, Kind, String)>, TarError> {
    let mut walk = TarWalk::new(bytes);
    let mut found = Vec::new();
    while let Some(entry) = walk.next()? {
        let mut content = String::new();
        walk.read_to_string(&mut content)
            .map_err(|source| TarError::Read { source })?;
        found.push((
            entry.path,
            entry.kind,
            if entry.kind == Kind::File {
                content
            } else {
                entry.link
            },
        ));
    }
    walk.finish()?;
    Ok(found)
}

fn sample() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, link: &str, content: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if link.is_empty() {
            builder
                .append_data(&mut header, path, content.as_bytes())
                .unwrap();
        } else {
            builder.append_link(&mut header, path, link).unwrap();
        }
    };
    let long = format!("{}/layer.tar", "d".repeat(150));
    add("a/", tar::EntryType::Directory, "", "");
    add("a/file", tar::EntryType::Regular, "", "content");
    add("empty", tar::EntryType::Regular, "", "");
    add("link", tar::EntryType::Symlink, "a/file", "");
    add(&long, tar::EntryType::Regular, "", &"x".repeat(512));
    builder.into_inner().unwrap()
}

#[test]
fn finds_entries_with_short_and_long_names() {
    let long = format!("{}/layer.tar", "d".repeat(150));
    let expected = [
        ("a/", Kind::Directory, String::new()),
        ("a/file", Kind::File, "content".into()),
        ("empty", Kind::File, String::new()),
        ("link", Kind::Link, "a/file".into()),
        (&long, Kind::File, "x".repeat(512)),
    ];
    let expected: Vec<_> = expected
        .map(|(path, kind, rest)| (path.to_owned(), kind, rest))
        .into();
    assert_eq!(walk(&sample()).unwrap(), expected);
}

#[test]
fn pax_records_override_the_header() {
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_pax_extensions([("path", b"from/pax".as_slice()), ("size", b"3")])
        .unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("from/header").unwrap();
    header.set_size(3);
    header.set_cksum();
    builder.append(&header, b"abc".as_slice()).unwrap();
    let found = walk(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(found, [("from/pax".to_owned(), Kind::File, "abc".to_owned())]);
}

#[test]
fn every_cut_is_noticed_or_between_entries() {
    let whole = sample();
    let entries = walk(&whole).unwrap().len();
    for length in 0..whole.len() - 1024 {
        if let Ok(found) = walk(&whole[..length]) {
            assert!(found.len() <= entries && length > 0, "cut at {length}");
        }
    }
    assert!(matches!(
        walk(&whole[..1024 + 3]),
        Err(TarError::Read { .. } | TarError::CutOff { .. })
    ));
}

#[test]
fn what_is_no_tar_is_told_at_once() {
    assert!(matches!(
        walk(&[b'x'; 4096]),
        Err(TarError::Checksum { position: 0 })
    ));
    assert!(matches!(walk(b""), Err(TarError::CutOff { position: 0 })));
    let mut huge = sample();
    huge[124] = 0xff;
    assert!(walk(&huge).is_err());
}

#[test]
fn a_giant_name_is_refused_before_it_is_read() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    assert!(matches!(
        walk(header.as_bytes()),
        Err(TarError::Field { position: 0, .. })
    ));
}

/// A walk ends, and what it found fits into what there was.
#[test]
fn foreign_archives() {
    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions([("path", b"from/pax".as_slice()), ("size", b"3")])
        .unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("from/header").unwrap();
    header.set_size(3);
    header.set_cksum();
    pax.append(&header, b"abc".as_slice()).unwrap();
    shipway_testkit::Foreign::near([sample(), pax.into_inner().unwrap()])
        .as_tars()
        .check(|bytes| {
            let mut walk = TarWalk::new(bytes);
            let mut found = 0;
            while let Ok(Some(entry)) = walk.next() {
                let mut content = Vec::new();
                if walk.read_to_end(&mut content).is_err() {
                    break;
                }
                assert_eq!(content.len() as u64, entry.size);
                found += BLOCK + content.len();
            }
            assert!(found <= bytes.len());
        });
}
