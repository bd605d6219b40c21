//! The layers of an image as the one file system that a container sees.
//!
//! Layers are read twice: from the top to see which entry of a name shows, then from the bottom to pass those on. What
//! is kept of a name is its hash, so that memory is bounded by the number of files and not by their names or sizes. An
//! image of one layer is read once. Nothing is unpacked and no privilege is needed.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use shipway_store::Store;

use super::error::ExportError;
use super::rootfs::{Entry, Kind, Layer, walk};

/// The most files of an image. Each takes about 60 bytes of memory.
const MOST_ENTRIES: usize = 1_500_000;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Takes the files of a root file system: directories before what is in them, a file before its other names.
pub(super) trait Sink {
    fn take(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ExportError>;
}

/// Passes on what the layers, bottom first, show together. Blocks.
///
/// # Errors
/// When a layer cannot be read, is not what its diffID says, or the sink fails.
pub(super) fn merge(store: &Store, layers: &[Layer<'_>], sink: &mut dyn Sink) -> Result<(), ExportError> {
    if let [only] = layers {
        return walk(store, *only, &mut |_, entry, content| {
            match meaning(&entry.path) {
                Meaning::Plain => sink.take(&entry, content),
                // Nothing is below that could be hidden.
                Meaning::Hides(_) | Meaning::HidesBelow(_) | Meaning::Nothing => Ok(()),
            }
        });
    }
    let mut seen = Seen::default();
    for (number, layer) in layers.iter().enumerate().rev() {
        seen.read(store, number, *layer)?;
    }
    let mut shown = Shown::new(seen, sink);
    for (number, layer) in layers.iter().enumerate() {
        walk(store, *layer, &mut |ordinal, entry, content| {
            shown.pass(
                At {
                    layer: number,
                    ordinal,
                },
                entry,
                content,
            )
        })?;
    }
    Ok(())
}

/// What the name of an entry means in a layer.
enum Meaning<'a> {
    Plain,
    /// This path of the layers below is gone.
    Hides(PathBuf),
    /// What the layers below have in this directory is gone.
    HidesBelow(&'a Path),
    /// Somebody's bookkeeping.
    Nothing,
}

fn meaning(path: &Path) -> Meaning<'_> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    match name.strip_prefix(WHITEOUT) {
        None => Meaning::Plain,
        Some(_) if name == OPAQUE => Meaning::HidesBelow(parent),
        Some(rest) if rest.starts_with(WHITEOUT) || rest.is_empty() => Meaning::Nothing,
        Some(rest) => Meaning::Hides(parent.join(OsStr::from_bytes(rest))),
    }
}

/// The hash of a path: as good as the path.
type Key = [u8; 16];

fn key(path: &Path) -> Key {
    let hash = blake3::hash(path.as_os_str().as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_bytes()[..16]);
    key
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct At {
    layer: usize,
    ordinal: u32,
}

/// The first reading, from the top.
#[derive(Default)]
struct Seen {
    winners: HashMap<Key, Winner>,
    /// The directories among them.
    directories: HashMap<Key, Entry>,
    /// Paths that layers above take away, and directories that they empty.
    gone: HashSet<Key>,
    emptied: HashSet<Key>,
    /// Of the names of a file that are links: where the file stands.
    links: HashMap<Key, At>,
    /// Where such a file stands: a name that shows.
    names: HashMap<At, PathBuf>,
    /// Links whose file lies in a layer further down.
    wanted: HashMap<Key, Vec<PathBuf>>,
}

#[derive(Clone, Copy)]
struct Winner {
    at: At,
    is_directory: bool,
}

impl Seen {
    fn read(&mut self, store: &Store, number: usize, layer: Layer<'_>) -> Result<(), ExportError> {
        let (mut gone, mut emptied) = (Vec::new(), Vec::new());
        // The files of this layer under all their names.
        let mut here: HashMap<Key, At> = HashMap::new();
        walk(store, layer, &mut |ordinal, entry, _| {
            match meaning(&entry.path) {
                Meaning::Plain => {}
                Meaning::Hides(path) => {
                    gone.push(key(&path));
                    return Ok(());
                }
                Meaning::HidesBelow(directory) => {
                    emptied.push(key(directory));
                    return Ok(());
                }
                Meaning::Nothing => return Ok(()),
            }
            let at = At {
                layer: number,
                ordinal,
            };
            self.entry(at, entry, &mut here)
        })?;
        self.gone.extend(gone);
        self.emptied.extend(emptied);
        Ok(())
    }

    fn entry(&mut self, at: At, entry: Entry, here: &mut HashMap<Key, At>) -> Result<(), ExportError> {
        let own = key(&entry.path);
        let source = match &entry.kind {
            Kind::Directory => None,
            Kind::HardLink(first) => here.get(&key(first)).copied(),
            _ => {
                for link in self.wanted.remove(&own).unwrap_or_default() {
                    self.link(&link, at);
                }
                Some(at)
            }
        };
        if let Some(source) = source {
            here.insert(own, source);
        }
        if self.is_hidden(&entry.path, own, at.layer) {
            return Ok(());
        }
        let is_directory = entry.kind == Kind::Directory;
        self.winners.insert(own, Winner { at, is_directory });
        if self.winners.len() > MOST_ENTRIES {
            return Err(ExportError::TooMany { limit: MOST_ENTRIES });
        }
        self.directories.remove(&own);
        match (&entry.kind, source) {
            (Kind::Directory, _) => drop(self.directories.insert(own, entry)),
            (Kind::HardLink(_), Some(source)) => self.link(&entry.path, source),
            (Kind::HardLink(first), None) => {
                let waiting = self.wanted.entry(key(first)).or_default();
                waiting.push(entry.path);
            }
            _ => {}
        }
        Ok(())
    }

    fn link(&mut self, name: &Path, source: At) {
        self.links.insert(key(name), source);
        self.names.entry(source).or_insert_with(|| name.to_owned());
    }

    fn is_hidden(&self, path: &Path, own: Key, layer: usize) -> bool {
        let above = |key: &Key| self.winners.get(key).filter(|winner| winner.at.layer > layer);
        if self.gone.contains(&own) || above(&own).is_some() {
            return true;
        }
        path.ancestors().skip(1).any(|ancestor| {
            let key = key(ancestor);
            self.gone.contains(&key)
                || self.emptied.contains(&key)
                || above(&key).is_some_and(|winner| !winner.is_directory)
        })
    }
}

/// The second reading, from the bottom.
struct Shown<'a> {
    seen: Seen,
    sink: &'a mut dyn Sink,
    /// Directories that were passed on.
    made: HashSet<Key>,
    /// Under which name a file was passed on that has others.
    passed: HashMap<At, PathBuf>,
    /// The directory of the last entry.
    last: Option<PathBuf>,
}

impl<'a> Shown<'a> {
    fn new(seen: Seen, sink: &'a mut dyn Sink) -> Self {
        Self {
            seen,
            sink,
            made: HashSet::new(),
            passed: HashMap::new(),
            last: None,
        }
    }

    fn pass(&mut self, at: At, mut entry: Entry, content: &mut dyn Read) -> Result<(), ExportError> {
        let own = key(&entry.path);
        let shows = self.seen.winners.get(&own).is_some_and(|winner| winner.at == at);
        match &entry.kind {
            Kind::Directory => {
                if shows {
                    self.parents(&entry.path)?;
                    self.directory(own)?;
                }
                return Ok(());
            }
            Kind::HardLink(_) if !shows => return Ok(()),
            Kind::HardLink(_) => {
                let first = self
                    .seen
                    .links
                    .get(&own)
                    .and_then(|source| self.passed.get(source));
                match first {
                    // It took the place of the file, whose own name does not show.
                    Some(first) if *first == entry.path => return Ok(()),
                    Some(first) => entry.kind = Kind::HardLink(first.clone()),
                    None => {
                        return Err(ExportError::Write {
                            path: entry.path,
                            source: io::Error::other("it is another name of a file that is not there"),
                        });
                    }
                }
            }
            _ => {
                let other = self.seen.names.get(&at);
                match (shows, other) {
                    (false, None) => return Ok(()),
                    (false, Some(other)) => entry.path = other.clone(),
                    (true, _) => {}
                }
                if other.is_some() {
                    self.passed.insert(at, entry.path.clone());
                }
            }
        }
        self.parents(&entry.path)?;
        self.sink.take(&entry, content)
    }

    /// The directories above a path, those that show and were not passed on yet.
    fn parents(&mut self, path: &Path) -> Result<(), ExportError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.last.as_deref() == Some(parent) {
            return Ok(());
        }
        let mut above: Vec<&Path> = parent.ancestors().collect();
        above.reverse();
        for directory in above {
            self.directory(key(directory))?;
        }
        self.last = Some(parent.to_owned());
        Ok(())
    }

    fn directory(&mut self, own: Key) -> Result<(), ExportError> {
        match self.seen.directories.get(&own) {
            Some(entry) if self.made.insert(own) => self.sink.take(entry, &mut io::empty()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
