//! COPY without a tree: a layer written straight from the files that it is made of.
//!
//! What is put on nothing (a stage from scratch, or `--link`) depends on its sources alone, so no keeper has to make the files first
//! and read them again: each byte is read once on its way to the compressor. The layer is, byte for byte, the one that the keeper would
//! have given, so that nobody has to know which way it came; where that cannot be said without a look, or the keeper would refuse, there
//! is no [`Straight`], and the keeper decides.
//!
//! Nothing is unpacked. A step that needs the files later takes them from the layer, which is slower: this is for steps behind which
//! nobody does.

mod tar;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use self::tar::Tar;
use super::place::Target;
use crate::context::View;
use crate::plan::{Item, ItemKind};

/// Ids that every pod has; others may be none that a keeper can give a file.
const LARGEST_ID: u32 = 65_535;
/// What Linux takes as a name, and as a path, with room for where it is unpacked.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 3072;
/// Directories that a destination implies.
const FOLDER_MODE: u32 = 0o755;

/// The files of a layer by their paths, which are relative.
#[derive(Default)]
pub(super) struct Straight {
    entries: BTreeMap<PathBuf, Placed>,
}

struct Placed {
    mode: u32,
    owner: (u32, u32),
    content: Content,
}

enum Content {
    Directory,
    Link(PathBuf),
    File {
        view: Arc<View>,
        from: PathBuf,
        size: u64,
    },
    Bytes(Vec<u8>),
}

/// The keeper is to be asked.
pub(super) struct NeedsLook;

impl Straight {
    /// Nothing to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds what a source gave.
    pub(super) fn items(
        &mut self,
        target: &Target,
        view: &Arc<View>,
        items: &[Item],
    ) -> Result<(), NeedsLook> {
        self.folders(target)?;
        for item in items {
            let (mode, content) = match &item.kind {
                ItemKind::Directory => (target.mode(item.mode, true), Content::Directory),
                ItemKind::Link { target: leads_to } => (0o777, Content::Link(leads_to.clone())),
                ItemKind::File { from, size } => {
                    let content = Content::File {
                        view: Arc::clone(view),
                        from: from.clone(),
                        size: *size,
                    };
                    (target.mode(item.mode, false), content)
                }
            };
            self.add(target, &item.to, mode, content)?;
        }
        Ok(())
    }

    /// Adds a file that stands in the Dockerfile.
    pub(super) fn bytes(
        &mut self,
        target: &Target,
        name: &str,
        mode: u32,
        bytes: Vec<u8>,
    ) -> Result<(), NeedsLook> {
        self.folders(target)?;
        self.add(
            target,
            Path::new(name),
            target.mode(mode, false),
            Content::Bytes(bytes),
        )
    }

    /// The destination and what is above it.
    fn folders(&mut self, target: &Target) -> Result<(), NeedsLook> {
        let directory = inside(&target.directory)?;
        let mut folders: Vec<&Path> = directory.ancestors().collect();
        folders.reverse();
        for folder in folders.into_iter().skip(1) {
            self.insert(folder.to_owned(), FOLDER_MODE, target.owner, Content::Directory)?;
        }
        Ok(())
    }

    fn add(&mut self, target: &Target, to: &Path, mode: u32, content: Content) -> Result<(), NeedsLook> {
        let path = inside(&target.directory)?.join(inside(&target.entry(to))?);
        self.insert(path, mode, target.owner, content)
    }

    /// As the keeper does when it is told to refuse: a directory stays as it was made first, other files are replaced.
    fn insert(
        &mut self,
        path: PathBuf,
        mode: u32,
        owner: Option<(u32, u32)>,
        content: Content,
    ) -> Result<(), NeedsLook> {
        let owner = owner.unwrap_or_default();
        let is_named = path.file_name().is_some_and(|name| name.len() <= LONGEST_NAME);
        let is_owned = owner.0 <= LARGEST_ID && owner.1 <= LARGEST_ID;
        let leads_somewhere = match &content {
            Content::Link(target) => (1..=LONGEST_PATH).contains(&target.as_os_str().len()),
            _ => true,
        };
        if !is_named || !is_owned || !leads_somewhere || path.as_os_str().len() > LONGEST_PATH {
            return Err(NeedsLook);
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        let lies_in_directory = parent.as_os_str().is_empty()
            || self
                .entries
                .get(parent)
                .is_some_and(|parent| matches!(parent.content, Content::Directory));
        if !lies_in_directory {
            return Err(NeedsLook);
        }
        let is_directory = matches!(content, Content::Directory);
        match self.entries.get(&path) {
            Some(there) if matches!(there.content, Content::Directory) != is_directory => {
                return Err(NeedsLook);
            }
            Some(_) if is_directory => return Ok(()),
            _ => {}
        }
        self.entries.insert(path, Placed { mode, owner, content });
        Ok(())
    }

    /// The tar of the layer; everything in it is of one time.
    pub(super) fn tar(&self, epoch: i64) -> Tar<'_> {
        Tar::new(self.entries.iter(), epoch)
    }
}

/// A path without its slash; what could leave a directory is the keeper's to judge.
fn inside(path: &Path) -> Result<PathBuf, NeedsLook> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::RootDir => {}
            Component::Normal(name) => inside.push(name),
            _ => return Err(NeedsLook),
        }
    }
    Ok(inside)
}
