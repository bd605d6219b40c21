//! The table is read as a reader of eStargz does: footer, table, pieces.

use flate2::read::{GzDecoder, MultiGzDecoder};
use serde_json::Value;

use super::*;

/// A tar with all that a layer may have.
fn tar_of(large: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_uid(7);
        header.set_gid(0);
        header.set_mtime(1000);
        header
    };
    let append = |tar: &mut tar::Builder<Vec<u8>>, mut header: tar::Header, name: &str, bytes: &[u8]| {
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    append(&mut tar, header(tar::EntryType::Directory, 0), "d/", b"");
    append(&mut tar, header(tar::EntryType::Regular, 0), "d/empty", b"");
    append(&mut tar, header(tar::EntryType::Regular, 5), "d/small", b"small");
    tar.append_pax_extensions([("SCHILY.xattr.user.a", b"\x01\x02".as_slice())])
        .unwrap();
    let bytes: Vec<u8> = (0..large).map(|at| (at * at / 977 % 251) as u8).collect();
    let name = format!("{}/large", "long".repeat(40));
    append(&mut tar, header(tar::EntryType::Regular, large), &name, &bytes);
    tar.append_link(&mut header(tar::EntryType::Symlink, 0), "s", "d/small")
        .unwrap();
    tar.append_link(&mut header(tar::EntryType::Link, 0), "h", "d/small")
        .unwrap();
    tar.into_inner().unwrap()
}

fn estargz(input: &[u8]) -> (Estargz, Vec<u8>) {
    let mut output = Vec::new();
    let made = write(5, &mut &input[..], &mut output).unwrap();
    (made, output)
}

#[test]
fn a_reader_finds_the_table_and_every_piece() {
    let input = tar_of(2 * PIECE + 5);
    let (made, output) = estargz(&input);
    assert_eq!(made.tar, Digest::sha256(&input));
    // As any gzip: the tar as it was, and the table's tar behind its end.
    let mut whole = Vec::new();
    MultiGzDecoder::new(&output[..]).read_to_end(&mut whole).unwrap();
    assert_eq!(made.whole.diff_id, Digest::sha256(&whole));
    assert_eq!(made.whole.uncompressed, whole.len() as u64);
    assert!(whole.starts_with(&input));
    let names = |bytes: &[u8]| tar::Archive::new(bytes).entries().unwrap().count();
    assert_eq!(
        names(&whole),
        names(&input),
        "who stops at the end mark sees no table"
    );

    let footer = &output[output.len() - 51..];
    assert_eq!(
        (&footer[..4], &footer[12..14]),
        (&b"\x1f\x8b\x08\x04"[..], &b"SG"[..])
    );
    let place = std::str::from_utf8(&footer[16..38]).unwrap();
    let at = usize::from_str_radix(place.strip_suffix("STARGZ").unwrap(), 16).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(&output[at..]));
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(&*entry.path_bytes(), TABLE.as_bytes());
    let mut json = Vec::new();
    entry.read_to_end(&mut json).unwrap();
    assert_eq!(made.table, Digest::sha256(&json));
    let table: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(table["version"], 1);
    let rows = table["entries"].as_array().unwrap();
    let kinds: Vec<&str> = rows.iter().map(|row| row["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "dir", "reg", "reg", "reg", "chunk", "chunk", "symlink", "hardlink"
        ]
    );
    let mut large = Vec::new();
    for row in &rows[2..6] {
        let mut piece = Vec::new();
        let offset = usize::try_from(row["offset"].as_u64().unwrap()).unwrap();
        GzDecoder::new(&output[offset..]).read_to_end(&mut piece).unwrap();
        assert_eq!(row["chunkDigest"], Digest::sha256(&piece).as_str());
        if row["name"] == "d/small" {
            assert_eq!(piece, b"small");
            assert_eq!(row["digest"], row["chunkDigest"]);
        } else {
            assert_eq!(
                row["chunkOffset"].as_u64().unwrap_or_default(),
                large.len() as u64
            );
            large.extend(piece);
        }
    }
    assert_eq!(large.len(), 2 * PIECE + 5);
    assert_eq!(rows[3]["digest"], Digest::sha256(&large).as_str());
    assert_eq!(rows[3]["xattrs"]["user.a"], "AQI=");
    assert_eq!(
        (&rows[3]["modtime"], &rows[3]["uid"]),
        (&"1970-01-01T00:16:40Z".into(), &7.into())
    );
    assert_eq!(rows[1]["digest"], Digest::sha256(b"").as_str());
}

#[test]
fn the_bytes_are_pinned() {
    let (_, bytes) = estargz(&tar_of(PIECE + 5));
    assert_eq!(estargz(&tar_of(PIECE + 5)).1, bytes);
    assert_eq!(
        Digest::sha256(&bytes).to_string(),
        "sha256:fe5cacc594feb49814c91951179118f7bde48b51fee534f20569b1710ef626f8"
    );
}

#[test]
fn a_second_table_and_a_cut_off_tar_are_errors() {
    let (made, output) = estargz(&tar_of(10));
    assert_ne!(made.tar, made.whole.diff_id);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    tar.append_data(&mut header, TABLE, io::empty()).unwrap();
    let twice = tar.into_inner().unwrap();
    assert!(write(5, &mut &twice[..], &mut io::sink()).is_err());
    let cut = tar_of(PIECE);
    assert!(write(5, &mut &cut[..PIECE / 2], &mut io::sink()).is_err());
    assert!(!output.is_empty());
}
