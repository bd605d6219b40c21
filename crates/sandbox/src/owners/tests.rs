//! Records of owners in real layers: written, read back, and not taken from whoever writes nonsense.

use std::path::Path;

use super::*;

fn layer() -> (tempfile::TempDir, OwnedFd, OwnedFd) {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("layer")).unwrap();
    let directory = crate::launcher::open_directory(home.path()).unwrap();
    let top = beneath::open_with(&directory, Path::new("layer"), OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
    (home, directory, top)
}

fn owner(owners: &Owners, top: &OwnedFd, name: &str) -> (u32, u32, u32) {
    let status = rustix::fs::statat(top, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let status = owners.corrected(top, OsStr::new(name), status).unwrap();
    (status.st_uid, status.st_gid, status.st_mode & 0o7777)
}

fn ids(uid: u32, gid: u32) -> (Uid, Gid) {
    (Uid::from_raw(uid), Gid::from_raw(gid))
}

#[test]
fn every_kind_of_file_has_the_owner_that_it_was_given() {
    let (home, directory, top) = layer();
    let place = home.path().join("layer");
    let layers = [std::path::PathBuf::from("layer")];
    let owners = Owners::writing(Ownership::Recorded, &directory, &[], &top).unwrap();
    std::fs::write(place.join("file"), "x").unwrap();
    std::fs::create_dir(place.join("directory")).unwrap();
    std::os::unix::fs::symlink("file", place.join("link")).unwrap();
    rustix::fs::mkfifoat(&top, "pipe", Mode::from_raw_mode(0o600)).unwrap();
    let (uid, gid) = ids(1000, 42);
    for name in ["file", "directory"] {
        owners
            .own(std::fs::File::open(place.join(name)).unwrap(), uid, gid)
            .unwrap();
    }
    for name in ["link", "pipe"] {
        owners.own_named(&top, OsStr::new(name), uid, gid).unwrap();
    }
    std::fs::rename(place.join("file"), place.join("moved")).unwrap();
    std::fs::rename(place.join("link"), place.join("directory/link")).unwrap();
    let again = Owners::of_layers(Ownership::Recorded, &directory, &layers).unwrap();
    for name in ["moved", "directory", "directory/link", "pipe"] {
        let (uid, gid, _) = owner(&again, &top, name);
        assert_eq!((uid, gid), (1000, 42), "{name}");
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(
            owner(&Owners::default(), &top, name).0,
            own,
            "{name} as the kernel has it"
        );
    }
    // To root again: nothing is left of a record.
    let file = std::fs::File::open(place.join("moved")).unwrap();
    let (uid, gid) = ids(0, 0);
    owners.own(&file, uid, gid).unwrap();
    assert_eq!(
        rustix::fs::fgetxattr(&file, ATTRIBUTE, &mut [0; 8]),
        Err(Errno::NODATA)
    );
}

#[test]
fn a_new_owner_takes_the_set_id_bits() {
    let (home, directory, top) = layer();
    let path = home.path().join("layer/file");
    std::fs::write(&path, "x").unwrap();
    let owners = Owners::writing(Ownership::Recorded, &directory, &[], &top).unwrap();
    rustix::fs::chmodat(&top, "file", Mode::from_raw_mode(0o4755), AtFlags::empty()).unwrap();
    let (uid, gid) = ids(7, 8);
    owners.own(std::fs::File::open(&path).unwrap(), uid, gid).unwrap();
    assert_eq!(owner(&owners, &top, "file"), (7, 8, 0o755));
}

#[test]
fn what_a_step_wrote_into_the_attribute_is_a_record_or_nothing() {
    let (home, directory, top) = layer();
    let path = home.path().join("layer/file");
    std::fs::write(&path, "x").unwrap();
    let owners = Owners::writing(Ownership::Recorded, &directory, &[], &top).unwrap();
    let own = owner(&owners, &top, "file");
    let long = "1".repeat(2000);
    for text in ["", "no record", "1:2:3", "4294967295:1", long.as_str()] {
        rustix::fs::setxattr(&path, ATTRIBUTE, text.as_bytes(), XattrFlags::empty()).unwrap();
        assert_eq!(owner(&owners, &top, "file"), own, "{text}");
    }
}
