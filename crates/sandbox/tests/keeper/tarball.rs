//! Tars for and from the keeper, made and read by somebody else's code.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use shipway_sandbox::{ArchiveRequest, ArchiveRoot, DiffRequest, KeeperError, UnpackReport, UnpackRequest};

use crate::house::House;

/// A tar made by somebody else's code.
pub(crate) struct Archive(pub(crate) tar::Builder<Vec<u8>>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn entry(
        mut self,
        name: &str,
        kind: tar::EntryType,
        link: &str,
        mode: u32,
        contents: &str,
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_600_000_000);
        header.set_size(contents.len() as u64);
        header.set_cksum();
        self.0.append(&header, contents.as_bytes()).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, contents: &str) -> Self {
        self.entry(name, tar::EntryType::Regular, "", 0o640, contents)
    }

    pub(crate) fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(name, tar::EntryType::Directory, "", mode, "")
    }

    pub(crate) fn stream(mut self) -> OwnedFd {
        self.0.finish().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(self.0.get_ref()).unwrap();
        file.rewind().unwrap();
        file.into()
    }
}

pub(crate) fn unpack(
    house: &House,
    into: &str,
    below: &[&str],
    archive: Archive,
) -> Result<UnpackReport, KeeperError> {
    house
        .keeper
        .make_directory(Path::new(into), 0o755, (0, 0))
        .unwrap();
    let below = below.iter().map(PathBuf::from).collect();
    house
        .keeper
        .unpack(UnpackRequest::new(archive.stream(), into.into(), below))
}

/// What a tar holds: name, kind, mode, owner, group, time, size, link, extended attributes.
pub(crate) fn listing(mut file: File) -> Vec<String> {
    file.rewind().unwrap();
    let mut archive = tar::Archive::new(file);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        let mut line = format!(
            "{} {:?} {:o} {}:{} {}",
            entry.path().unwrap().display(),
            header.entry_type(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.mtime().unwrap(),
        );
        if let Some(link) = entry.link_name().unwrap() {
            line += &format!(" -> {}", link.display());
        }
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            let extension = extension.unwrap();
            line += &format!(" {}={:?}", extension.key().unwrap(), extension.value_bytes());
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        if text.is_empty() {
            line
        } else {
            line + " " + text.trim()
        }
    });
    entries.collect()
}

/// What a directory of the keepers' directory has at `path`.
pub(crate) fn contents(house: &House, directory: &str, path: &str) -> Vec<String> {
    let file = tempfile::tempfile().unwrap();
    let root = ArchiveRoot::Directory(directory.into());
    let output = file.try_clone().unwrap().into();
    house
        .keeper
        .archive(ArchiveRequest::new(root, vec![path.into()], output))
        .unwrap();
    listing(file)
}

pub(crate) fn diff(house: &House, upper: &str, below: &[&str], omit: Vec<PathBuf>) -> File {
    let file = tempfile::tempfile().unwrap();
    let output = file.try_clone().unwrap().into();
    let request = DiffRequest {
        upper: upper.into(),
        below: below.iter().map(PathBuf::from).collect(),
        output,
        clamp_mtime: Some(1_600_000_000),
        omit,
    };
    house.keeper.diff(request).unwrap();
    file
}
