//! Directories and tars as contexts: what is seen, what is refused, what is named.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use shipway_store::Meter;

use super::{Context, ContextError, Modes};
use crate::ignore::IgnoreList;

fn list(view: &super::View) -> Vec<String> {
    view.tree()
        .below(Path::new(""))
        .map(|(path, entry)| format!("{} {:o}", path.display(), entry.mode))
        .collect()
}

fn ignoring(text: &str) -> IgnoreList {
    IgnoreList::parse(text.as_bytes(), ".dockerignore").expect("a list")
}

fn sample() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    std::fs::create_dir_all(root.join("src/deep")).expect("folders");
    std::fs::create_dir_all(root.join("target/debug")).expect("folders");
    for (path, mode) in [
        ("src/main.rs", 0o600),
        ("src/deep/run.sh", 0o777),
        ("target/debug/x", 0o644),
        ("top", 0o664),
    ] {
        std::fs::write(root.join(path), path).expect("a file");
        std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    symlink("src/main.rs", root.join("link")).expect("a link");
    folder
}

fn tar_of(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().expect("memory")
}

fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header
}

fn sample_tar() -> Vec<u8> {
    tar_of(|tar| {
        let mut file = |path: &str, mode| {
            tar.append_data(
                &mut header(
                    tar::EntryType::Regular,
                    path.trim_start_matches("./").len() as u64,
                    mode,
                ),
                path,
                path.trim_start_matches("./").as_bytes(),
            )
            .expect("memory");
        };
        file("./src/main.rs", 0o600);
        file("src/deep/run.sh", 0o777);
        file("target/debug/x", 0o644);
        file("top", 0o664);
        tar.append_link(
            &mut header(tar::EntryType::Symlink, 0, 0o777),
            "link",
            "src/main.rs",
        )
        .expect("memory");
    })
}

#[test]
fn directory_and_tar_give_the_same_view() {
    let folder = sample();
    let spool = tempfile::tempdir().expect("a folder");
    let ignore = ignoring("target\n!target/debug/x\nsrc/deep\n");
    let directory = Context::directory(folder.path());
    let tar = Context::tar(&sample_tar()[..], spool.path(), &Meter::default()).expect("a context");
    let wanted = [
        "link 777",
        "src 755",
        "src/main.rs 644",
        "target 755",
        "target/debug 755",
        "target/debug/x 644",
        "top 644",
    ];
    for context in [&directory, &tar] {
        let view = context.view(&ignore, Modes::Git).expect("a view");
        assert_eq!(list(&view), wanted);
        assert_eq!(
            view.content_hash(Path::new("src/main.rs")).expect("a hash"),
            *blake3::hash(b"src/main.rs").as_bytes()
        );
        let mut text = String::new();
        view.open(Path::new("target/debug/x"))
            .expect("a file")
            .read_to_string(&mut text)
            .expect("text");
        assert_eq!(text, "target/debug/x");
        assert_eq!(
            context.read(Path::new("link"), 100).expect("readable").as_deref(),
            Some(&b"src/main.rs"[..])
        );
        assert_eq!(context.read(Path::new("none"), 100).expect("readable"), None);
        assert!(matches!(
            context.read(Path::new("top"), 1),
            Err(ContextError::FileTooLarge { .. })
        ));
    }
    let given = directory
        .view(&IgnoreList::default(), Modes::AsGiven)
        .expect("a view");
    assert!(list(&given).contains(&"src/deep/run.sh 777".to_owned()));
}

#[test]
fn compressed_tars_are_read() {
    let spool = tempfile::tempdir().expect("a folder");
    let plain = sample_tar();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(&plain[..], 1).expect("memory");
    for bytes in [plain, gzip, zstd] {
        let context = Context::tar(&bytes[..], spool.path(), &Meter::default()).expect("a context");
        let view = context.view(&IgnoreList::default(), Modes::Git).expect("a view");
        assert_eq!(view.tree().len(), 9);
    }
    let bzip2 = Context::tar(&b"BZh91AY&SY"[..], spool.path(), &Meter::default());
    assert!(matches!(
        bzip2,
        Err(ContextError::Compression { format: "bzip2", .. })
    ));
}

#[test]
fn the_last_padding_may_be_missing_but_no_content() {
    let spool = tempfile::tempdir().expect("a folder");
    let whole = tar_of(|tar| {
        let mut head = header(tar::EntryType::Regular, 47, 0o644);
        tar.append_data(&mut head, "Dockerfile", &[b'x'; 47][..])
            .expect("memory");
    });
    let context = Context::tar(&whole[..512 + 47], spool.path(), &Meter::default()).expect("a context");
    let read = context.read(Path::new("Dockerfile"), 100).expect("readable");
    assert_eq!(read.as_deref(), Some(&[b'x'; 47][..]));
    for cut in [512, 512 + 46, 300] {
        assert!(
            Context::tar(&whole[..cut], spool.path(), &Meter::default()).is_err(),
            "{cut}"
        );
    }
}

#[test]
fn hostile_tars_are_refused() {
    let spool = tempfile::tempdir().expect("a folder");
    let refused = |bytes: Vec<u8>| match Context::tar(&bytes[..], spool.path(), &Meter::default()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    };
    let raw = |name: &str, kind, link: &str| {
        tar_of(|tar| {
            let mut header = header(kind, 0, 0o644);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            tar.append(&header, &b""[..]).expect("memory");
        })
    };
    assert!(refused(raw("a/../../x", tar::EntryType::Regular, "")).contains(".."));
    assert!(refused(raw("x", tar::EntryType::Link, "missing")).contains("hard link"));
    assert!(refused(raw("x", tar::EntryType::Link, "../etc/passwd")).contains(".."));
    let below_link = tar_of(|tar| {
        tar.append_link(&mut header(tar::EntryType::Symlink, 0, 0o777), "d", "/etc")
            .expect("memory");
        tar.append_data(
            &mut header(tar::EntryType::Regular, 1, 0o644),
            "d/passwd",
            &b"x"[..],
        )
        .expect("memory");
    });
    assert!(refused(below_link).contains("no folder"));
    let mut cut = sample_tar();
    cut.truncate(512 + 5);
    assert!(refused(cut).contains("tar"));
    let device = Context::tar(
        &raw("null", tar::EntryType::Char, "")[..],
        spool.path(),
        &Meter::default(),
    )
    .expect("passed over");
    let view = device.view(&IgnoreList::default(), Modes::Git).expect("a view");
    assert!(view.tree().is_empty() && view.skipped().len() == 1);
}

#[test]
fn a_file_swapped_for_a_link_is_not_followed() {
    let folder = sample();
    let context = Context::directory(folder.path());
    let view = context.view(&IgnoreList::default(), Modes::Git).expect("a view");
    std::fs::remove_file(folder.path().join("top")).expect("removable");
    symlink("/etc/passwd", folder.path().join("top")).expect("a link");
    std::fs::rename(folder.path().join("src"), folder.path().join("moved")).expect("renamable");
    symlink("/etc", folder.path().join("src")).expect("a link");
    assert!(view.open(Path::new("top")).is_err());
    assert!(view.open(Path::new("src/main.rs")).is_err());
}

#[test]
fn a_path_is_bounded() {
    let spool = tempfile::tempdir().expect("a folder");
    for path in [
        "d/".repeat(super::limits::DEPTH + 1) + "f",
        "n".repeat(super::limits::PATH_BYTES + 1),
    ] {
        let tar = tar_of(|tar| {
            tar.append_data(&mut header(tar::EntryType::Regular, 0, 0o644), &path, &b""[..])
                .expect("memory");
        });
        assert!(
            matches!(
                Context::tar(&tar[..], spool.path(), &Meter::default()),
                Err(ContextError::TooLarge)
            ),
            "{path}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_tar_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
        let spool = tempfile::tempdir().expect("a folder");
        let _ = Context::tar(&bytes[..], spool.path(), &Meter::default());
    }
}

/// A context from a stranger's tar is read or refused; what was read can be listed, hashed and opened.
#[test]
fn foreign_tars() {
    let spool = tempfile::tempdir().expect("a folder");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&sample_tar()).expect("memory");
    let long = tar_of(|tar| {
        let name = "d/".repeat(80) + "x";
        tar.append_data(&mut header(tar::EntryType::Regular, 1, 0o600), &name, &b"x"[..])
            .expect("memory");
        tar.append_pax_extensions([("size", &b"1"[..]), ("path", b"a/b")])
            .expect("memory");
        tar.append_data(&mut header(tar::EntryType::Regular, 1, 0o600), "y", &b"y"[..])
            .expect("memory");
    });
    let seeds = [
        sample_tar(),
        long,
        gzip.finish().expect("memory"),
        zstd::encode_all(&sample_tar()[..], 1).expect("memory"),
    ];
    shipway_testkit::Foreign::near(seeds).as_tars().check(|bytes| {
        let Ok(context) = Context::tar(bytes, spool.path(), &Meter::default()) else {
            return;
        };
        let Ok(view) = context.view(&IgnoreList::default(), Modes::AsGiven) else {
            return;
        };
        for (path, _) in view.tree().below(Path::new("")) {
            assert!(
                path.is_relative()
                    && !path
                        .components()
                        .any(|part| part == std::path::Component::ParentDir)
            );
            let _ = view.content_hash(path);
        }
    });
}

/// A few kilobytes that would be gigabytes of a name.
#[test]
fn a_name_without_end_is_refused() {
    let spool = tempfile::tempdir().expect("a folder");
    let mut long = header(tar::EntryType::GNULongName, 1 << 30, 0o600);
    long.set_cksum();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(long.as_bytes()).expect("memory");
    std::io::copy(&mut std::io::repeat(b'a').take(8 << 20), &mut gzip).expect("memory");
    let bytes = gzip.finish().expect("memory");
    let error = Context::tar(&bytes[..], spool.path(), &Meter::default()).expect_err("a refusal");
    let reason = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(reason.contains("the headers of one entry"), "{error}: {reason}");
}

#[test]
fn what_is_left_out_is_named_up_to_a_number() {
    let spool = tempfile::tempdir().expect("a folder");
    let devices = tar_of(|tar| {
        for number in 0..1000 {
            let mut device = header(tar::EntryType::Char, 0, 0o600);
            tar.append_data(&mut device, format!("d{number}"), std::io::empty())
                .expect("memory");
        }
    });
    let context = Context::tar(&devices[..], spool.path(), &Meter::default()).expect("a context");
    let view = context.view(&IgnoreList::default(), Modes::Git).expect("a view");
    assert_eq!(view.skipped().len(), 21);
}
