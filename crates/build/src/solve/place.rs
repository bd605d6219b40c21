//! Putting files into an upper directory: tars on their way to the keeper.
//!
//! Everything here blocks and runs on one thread per step, with the keeper's worker at the other end of a pipe.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use shipway_sandbox::{ApplyRequest, ArchiveRoot, Conflict, Keeper, RootSpec};

use super::mode::ModeChange;
use super::roots::{Roots, numbers};
use super::stage::Wrote;
use super::stream::{Hashing, file, finish, tar_writer, through_pipe};
use crate::context::{View, decompressed};
use crate::error::StepError;
use crate::headers::BoundedHeaders;
use crate::plan::{Destination, Item, ItemKind};

/// An upper directory over layers.
pub(super) struct Placing {
    pub(super) keeper: Keeper,
    /// Bottom first, relative to the keepers' directory. None where nothing below is to be looked at.
    pub(super) layers: Vec<PathBuf>,
    pub(super) upper: Upper,
    /// The time of what is made.
    pub(super) epoch: i64,
}

/// Where changes go: a directory with `fs` in it.
pub(super) enum Upper {
    /// Over the layers.
    Over(PathBuf),
    /// Beside everything: `fs` is there, and holds nothing that says what lies below it.
    Apart(PathBuf),
}

/// Where and as whose entries are made.
pub(super) struct Target {
    /// Made for the owner where it is missing.
    pub(super) directory: PathBuf,
    /// The name of the only file, in place of its own.
    pub(super) name: Option<PathBuf>,
    /// `--chown`.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<ModeChange>,
    pub(super) conflict: Conflict,
}

impl Target {
    /// What needs no look below, because nothing is there. `None` for an owner by name, and where there has to be a directory.
    pub(super) fn on_nothing(
        destination: &Destination,
        chown: &str,
        mode: Option<ModeChange>,
    ) -> Option<Self> {
        let owner = match chown {
            "" => None,
            chown => Some(numbers(chown)?),
        };
        let (directory, name) = destination.on_nothing().ok()?;
        Some(Self {
            directory,
            name,
            owner,
            mode,
            conflict: Conflict::Refuse,
        })
    }

    /// The name of an entry in the tar.
    pub(super) fn entry(&self, own: &Path) -> PathBuf {
        self.name.as_deref().unwrap_or(own).to_owned()
    }

    pub(super) fn mode(&self, mode: u32, directory: bool) -> u32 {
        self.mode
            .as_ref()
            .map_or(mode, |change| change.apply(mode, directory))
    }
}

impl Placing {
    fn root(&self) -> ArchiveRoot {
        match &self.upper {
            Upper::Over(upper) => ArchiveRoot::Root(RootSpec {
                layers: self.layers.clone(),
                upper: Some(upper.clone()),
            }),
            Upper::Apart(upper) => ArchiveRoot::Directory(upper.join("fs")),
        }
    }

    /// The root as it was before the step.
    pub(super) fn below(&self) -> Roots<'_> {
        Roots {
            keeper: &self.keeper,
            root: RootSpec {
                layers: self.layers.clone(),
                upper: None,
            },
        }
    }

    /// WORKDIR: the directory and those above it that are missing, for the user of the stage.
    pub(super) fn make_directory(&self, directory: &str, user: &str) -> Result<Wrote, StepError> {
        if !self.layers.is_empty() && self.below().is_directory(Path::new(directory))? {
            return Ok(Wrote::Nothing);
        }
        let target = Target {
            directory: directory.into(),
            name: None,
            owner: Some(self.below().owner_or_root(user)?),
            mode: None,
            conflict: Conflict::Refuse,
        };
        self.apply(&target, |end| Ok(finish(tar_writer(end))?))?;
        Ok(Wrote::Something)
    }

    /// Decides where entries go; looks into the root only where the answer depends on it.
    pub(super) fn target(
        &self,
        destination: &Destination,
        chown: &str,
        mode: Option<ModeChange>,
    ) -> Result<Target, StepError> {
        let below = self.below();
        let owner = match &self.upper {
            _ if chown.is_empty() => None,
            Upper::Apart(_) if chown.contains(|letter: char| letter != ':' && !letter.is_ascii_digit()) => {
                return Err(StepError::LinkOwner {
                    owner: chown.to_owned(),
                });
            }
            _ => Some(below.owner(chown)?),
        };
        let (directory, name) = match destination {
            Destination::FileOrDirectory(path) | Destination::ExistingDirectory(path)
                if !self.layers.is_empty() && below.is_directory(Path::new(path))? =>
            {
                (PathBuf::from(path), None)
            }
            destination => destination.on_nothing().map_err(|destination| {
                let destination = destination.to_owned();
                StepError::DestinationNotDirectory { destination }
            })?,
        };
        let directory = if self.layers.is_empty() {
            directory
        } else {
            below.through_dangling(directory)?
        };
        Ok(Target {
            directory,
            name,
            owner,
            mode,
            conflict: Conflict::Refuse,
        })
    }

    /// Feeds a tar to the keeper.
    pub(super) fn apply(
        &self,
        target: &Target,
        produce: impl FnOnce(std::os::fd::OwnedFd) -> Result<(), StepError> + Send,
    ) -> Result<(), StepError> {
        through_pipe(produce, |stream| {
            let mut request = ApplyRequest::new(stream, self.root(), target.directory.clone());
            request.conflict = target.conflict;
            request.target_owner = target.owner.unwrap_or_default();
            self.keeper.apply(request).map_err(|source| StepError::Keeper {
                action: "write the files of the step",
                source,
            })
        })
        .map(drop)
    }

    fn header(&self, target: &Target, kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let (uid, gid) = target.owner.unwrap_or_default();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(u64::try_from(self.epoch).unwrap_or(0));
        header.set_size(size);
        header
    }

    /// Entries of the context.
    pub(super) fn items(&self, target: &Target, view: &View, items: &[Item]) -> Result<(), StepError> {
        self.apply(target, |end| {
            let mut tar = tar_writer(end);
            for item in items {
                self.write_item(&mut tar, target, view, item)?;
            }
            Ok(finish(tar)?)
        })
    }

    fn write_item<W: io::Write>(
        &self,
        tar: &mut tar::Builder<W>,
        target: &Target,
        view: &View,
        item: &Item,
    ) -> Result<(), StepError> {
        let path = target.entry(&item.to);
        match &item.kind {
            ItemKind::Directory => {
                let mode = target.mode(item.mode, true);
                let mut header = self.header(target, tar::EntryType::Directory, mode, 0);
                tar.append_data(&mut header, path, io::empty())?;
            }
            ItemKind::Link { target: leads_to } => {
                let mut header = self.header(target, tar::EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, path, leads_to)?;
            }
            ItemKind::File { from, size } => {
                let context = |source| StepError::Context { source };
                let mut header = self.header(
                    target,
                    tar::EntryType::Regular,
                    target.mode(item.mode, false),
                    *size,
                );
                let opened = view.open(from).map_err(context)?;
                let mut content = Hashing::new(Exactly {
                    inner: opened,
                    left: *size,
                });
                let written = tar.append_data(&mut header, path, &mut content);
                match written {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Err(context(view.changed(from)));
                    }
                    written => written?,
                }
                // The key was made of this hash; another content under it would poison the cache.
                if *content.hasher.finalize().as_bytes() != view.content_hash(from).map_err(context)? {
                    return Err(context(view.changed(from)));
                }
            }
        }
        Ok(())
    }

    /// One file whose bytes are at hand.
    pub(super) fn bytes(
        &self,
        target: &Target,
        name: &str,
        mode: u32,
        content: &mut (dyn Read + Send),
        size: u64,
    ) -> Result<(), StepError> {
        self.apply(target, |end| {
            let mut tar = tar_writer(end);
            let mut header = self.header(target, tar::EntryType::Regular, target.mode(mode, false), size);
            tar.append_data(
                &mut header,
                target.entry(Path::new(name)),
                Exactly {
                    inner: content,
                    left: size,
                },
            )?;
            Ok(finish(tar)?)
        })
    }

    /// An archive of the context, extracted. Its files keep their owners unless `--chown` says otherwise.
    pub(super) fn archive(&self, target: &Target, view: &View, from: &Path) -> Result<(), StepError> {
        let context = |source| StepError::Context { source };
        self.apply(target, |end| {
            let mut raw = Hashing::new(view.open(from).map_err(context)?);
            self.extract(target, &mut raw, end)?;
            io::copy(&mut raw, &mut io::sink())?;
            if *raw.hasher.finalize().as_bytes() != view.content_hash(from).map_err(context)? {
                return Err(context(view.changed(from)));
            }
            Ok(())
        })
    }

    /// A fetched archive, extracted.
    pub(super) fn fetched_archive(&self, target: &Target, content: &File) -> Result<(), StepError> {
        self.apply(target, |end| {
            let mut content = content;
            content.seek(SeekFrom::Start(0))?;
            self.extract(target, &mut content, end)
        })
    }

    fn extract(
        &self,
        target: &Target,
        raw: &mut dyn Read,
        end: std::os::fd::OwnedFd,
    ) -> Result<(), StepError> {
        let mut plain = decompressed(raw, "archive").map_err(|source| StepError::Context { source })?;
        if target.owner.is_none() && target.mode.is_none() {
            io::copy(&mut plain, &mut file(end))?;
            return Ok(());
        }
        let mut tar = tar_writer(end);
        rewrite(&mut plain, &mut tar, target, |path| Some(target.entry(path)))?;
        Ok(finish(tar)?)
    }
}

/// Copies a tar's entries under other names, owners and modes; `rename` leaves out what it gives no name.
pub(super) fn rewrite<W: io::Write>(
    input: &mut dyn Read,
    tar: &mut tar::Builder<W>,
    target: &Target,
    rename: impl Fn(&Path) -> Option<PathBuf>,
) -> Result<(), StepError> {
    let (input, bound) = BoundedHeaders::new(input);
    let mut archive = tar::Archive::new(input);
    for entry in archive.entries()? {
        let mut entry = entry?;
        bound.contents();
        if let Some(path) = rename(&clean(&entry.path()?)) {
            rewrite_entry(&mut entry, tar, target, &path, &rename)?;
        }
        bound.headers(&mut entry)?;
    }
    bound.contents();
    // Whoever writes may still be at the padding behind the end mark.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(())
}

fn rewrite_entry<W: io::Write>(
    entry: &mut tar::Entry<'_, impl Read>,
    tar: &mut tar::Builder<W>,
    target: &Target,
    path: &Path,
    rename: &impl Fn(&Path) -> Option<PathBuf>,
) -> Result<(), StepError> {
    let mut header = entry.header().clone();
    let kind = header.entry_type();
    if matches!(kind, tar::EntryType::XGlobalHeader) {
        return Ok(());
    }
    let attributes: Vec<(String, Vec<u8>)> = match entry.pax_extensions()? {
        Some(extensions) => extensions
            .filter_map(Result::ok)
            .filter_map(|extension| {
                Some((extension.key().ok()?.to_owned(), extension.value_bytes().to_vec()))
            })
            .filter(|(key, _)| key.starts_with("SCHILY.xattr."))
            .collect(),
        None => Vec::new(),
    };
    if !attributes.is_empty() {
        tar.append_pax_extensions(
            attributes
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_slice())),
        )?;
    }
    if let Some((uid, gid)) = target.owner {
        header.set_uid(uid.into());
        header.set_gid(gid.into());
    }
    if kind != tar::EntryType::Symlink {
        let directory = kind == tar::EntryType::Directory;
        header.set_mode(target.mode(header.mode()?, directory));
    }
    match kind {
        tar::EntryType::Symlink => {
            let leads_to = entry.link_name()?.unwrap_or_default().into_owned();
            tar.append_link(&mut header, path, leads_to)?;
        }
        tar::EntryType::Link => {
            let first = clean(&entry.link_name()?.unwrap_or_default());
            // Who leaves names out asks for an archive without links.
            if let Some(first) = rename(&first) {
                tar.append_link(&mut header, path, first)?;
            }
        }
        _ => {
            header.set_size(entry.size());
            tar.append_data(&mut header, path, entry)?;
        }
    }
    Ok(())
}

fn clean(path: &Path) -> PathBuf {
    let normal = |component: &std::path::Component<'_>| matches!(component, std::path::Component::Normal(_));
    path.components().filter(normal).collect()
}

/// A reader that fails when it ends before its time, and ends where the header says.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        match self.inner.read(&mut buffer[..most])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }
}
