//! The objects of one pack: kept in files without names, found by their ids.
//!
//! What a server sends is believed in nothing: the pack's own checksum is verified, every object is hashed, and its size, the
//! number of objects and what they unpack to are bounded before anything is made of them.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use gix_hash::{Kind, ObjectId, oid};
use gix_pack::cache::Never;
use gix_pack::data::input::{BytesToEntriesIter, Entry, EntryDataMode, Mode};
use gix_pack::{Bundle, data, index};
use shipway_store::{Meter, MeteredFile};

use super::connection::Passage;
use super::error::GitError;
use super::limits;

/// Where files wait, and whom they count for.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) spool: PathBuf,
    pub(super) written: Meter,
}

impl Room {
    /// An unnamed file that counts while it is there.
    pub(super) fn file(&self) -> Result<MeteredFile, GitError> {
        let file = tempfile::tempfile_in(&self.spool).map_err(|source| GitError::Keep { source })?;
        Ok(MeteredFile::new(file, &self.written))
    }
}

/// The objects of a pack.
pub(super) struct Objects {
    bundle: Bundle,
    inflate: gix_zlib::Inflate,
    passage: Passage,
    /// Counted for as long as the pack is needed.
    _data_file: MeteredFile,
    index_file: MeteredFile,
}

impl Objects {
    /// Reads a pack to its end.
    pub(super) fn read(
        pack: &mut dyn BufRead,
        hash: Kind,
        room: &Room,
        passage: &Passage,
    ) -> Result<Self, GitError> {
        let failed = |error: gix_error::Error| passage.failure(&error);
        let keep = |source| GitError::Keep { source };
        passage.allow(limits::PACK_BYTES);
        let data_file = room.file()?;
        let data_path = path_of(data_file.file());
        let since_entry = Rc::new(Cell::new(0));
        let copy = Rc::new(RefCell::new(BufWriter::with_capacity(1 << 17, data_file)));
        let kept = Kept {
            pack,
            copy: Rc::clone(&copy),
            since_entry: Rc::clone(&since_entry),
            passage: passage.clone(),
        };
        // The library asks the reader for more than one entry at a time: what it has beyond the last is none of the pack.
        let mut kept = BufReader::with_capacity(1 << 16, kept);
        let iterator =
            BytesToEntriesIter::new_from_header(&mut kept, Mode::Verify, EntryDataMode::Crc32, hash)
                .map_err(failed)?;
        let mut entries = Bounded {
            iterator,
            since_entry,
            objects: 0,
            bytes: 0,
            passage: passage.clone(),
        };
        if entries.iterator.size_hint().0 as u64 > limits::OBJECTS {
            return Err(too_many_objects());
        }
        let mut index_file = BufWriter::with_capacity(1 << 17, room.file()?);
        let (written, path) = (Rc::clone(&copy), data_path.clone());
        index::write_data_iter_to_stream(
            index::Version::default(),
            move || {
                written.borrow_mut().flush()?;
                let data = data::File::at(&path, hash).map_err(io::Error::other)?;
                Ok((slice, data))
            },
            &mut entries,
            None,
            &mut gix_utils::progress::Discard,
            &mut index_file,
            &AtomicBool::new(false),
            hash,
            Some(limits::OBJECT_BYTES),
            data::Version::V2,
        )
        .map_err(failed)?;
        drop(entries);
        let index_file = index_file
            .into_inner()
            .map_err(|error| keep(error.into_error()))?;
        // A stream that is to be used again has to be read to its end.
        io::copy(&mut kept, &mut io::sink()).map_err(|error| passage.failure(&error))?;
        drop(kept);
        let copy = Rc::into_inner(copy).ok_or(GitError::Interrupted)?.into_inner();
        let data_file = copy.into_inner().map_err(|error| keep(error.into_error()))?;
        let pack = data::File::at(&data_path, hash)
            .map_err(failed)?
            .with_alloc_limit_bytes(Some(limits::OBJECT_BYTES));
        let index = index::File::at(path_of(index_file.file()), hash).map_err(failed)?;
        Ok(Self {
            bundle: Bundle { pack, index },
            inflate: gix_zlib::Inflate::default(),
            passage: passage.clone(),
            _data_file: data_file,
            index_file,
        })
    }

    /// Another pack of the same repository, made here.
    pub(super) fn again(&self, pack: &mut dyn BufRead, room: &Room) -> Result<Self, GitError> {
        Self::read(pack, self.hash(), room, &self.passage)
    }

    pub(super) fn index_file(&self) -> &File {
        self.index_file.file()
    }

    /// The ids of all objects, sorted.
    pub(super) fn ids(&self) -> Vec<ObjectId> {
        let index = &self.bundle.index;
        (0..index.num_objects())
            .map(|at| index.oid_at_index(at).to_owned())
            .collect()
    }

    pub(super) fn hash(&self) -> Kind {
        self.bundle.pack.object_hash()
    }

    /// The kind of an object and its bytes; `None` when the pack does not have it.
    pub(super) fn find<'a>(
        &mut self,
        id: &oid,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<gix_object::Data<'a>>, GitError> {
        let found = self.bundle.find(id, buffer, &mut self.inflate, &mut Never);
        match found {
            Ok(found) => Ok(found.map(|(data, _)| data)),
            Err(error) => Err(unusable(id, &shipway_oci::with_causes(&error))),
        }
    }

    /// An object that must be there and be of a kind.
    pub(super) fn get<'a>(
        &mut self,
        id: &oid,
        kind: gix_object::Kind,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], GitError> {
        match self.find(id, buffer)? {
            Some(data) if data.kind == kind => Ok(data.data),
            Some(data) => Err(unusable(id, &format!("it is a {}, not a {kind}", data.kind))),
            None => Err(unusable(id, "the server did not send it")),
        }
    }

    /// The commit that an id stands for, and the tree and the time of it: tags are followed.
    pub(super) fn commit(&mut self, id: &oid) -> Result<(ObjectId, ObjectId, i64), GitError> {
        const TAGS: usize = 16;
        let mut at = id.to_owned();
        let mut buffer = Vec::new();
        for _ in 0..TAGS {
            let hash = self.hash();
            let Some(data) = self.find(&at, &mut buffer)? else {
                return Err(unusable(&at, "the server did not send it"));
            };
            let damaged = |error: gix_error::Error| unusable(&at, &shipway_oci::with_causes(&error));
            match data.kind {
                gix_object::Kind::Commit => {
                    let commit = gix_object::CommitRef::from_bytes(data.data, hash).map_err(damaged)?;
                    let time = commit.time().map_err(damaged)?.seconds;
                    return Ok((at, commit.tree(), time));
                }
                gix_object::Kind::Tag => {
                    let tag = gix_object::TagRef::from_bytes(data.data, hash).map_err(damaged)?;
                    at = tag.target();
                }
                kind => return Err(unusable(&at, &format!("it is a {kind}, not a commit"))),
            }
        }
        Err(unusable(id, "it is a tag of tags without end"))
    }
}

pub(super) fn unusable(id: &oid, problem: &str) -> GitError {
    GitError::Object {
        id: id.to_string(),
        problem: problem.to_owned(),
    }
}

fn too_many_objects() -> GitError {
    GitError::TooMuch {
        what: "objects",
        most: limits::OBJECTS,
    }
}

/// The bytes of an entry.
fn slice(range: data::EntryRange, data: &data::File) -> Option<&[u8]> {
    data.entry_slice(range)
}

/// A way to open an unnamed file a second time.
fn path_of(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// Passes a pack on and keeps a copy, as much of it as one object may be.
struct Kept<'a> {
    pack: &'a mut dyn BufRead,
    copy: Rc<RefCell<BufWriter<MeteredFile>>>,
    since_entry: Rc<Cell<u64>>,
    passage: Passage,
}

impl Read for Kept<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.pack.read(buffer)?;
        self.copy.borrow_mut().write_all(&buffer[..read])?;
        let since = self.since_entry.get() + read as u64;
        self.since_entry.set(since);
        if since > limits::PACKED_OBJECT_BYTES {
            return Err(self.passage.fail(GitError::TooMuch {
                what: "bytes in one object as it is sent",
                most: limits::PACKED_OBJECT_BYTES,
            }));
        }
        Ok(read)
    }
}

/// The entries of a pack, as many and as large as a build takes.
struct Bounded<I> {
    iterator: I,
    since_entry: Rc<Cell<u64>>,
    objects: u64,
    bytes: u64,
    passage: Passage,
}

impl<I: Iterator<Item = gix_error::Result<Entry>>> Iterator for Bounded<I> {
    type Item = gix_error::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = match self.iterator.next()? {
            Ok(entry) => entry,
            failed => return Some(failed),
        };
        self.since_entry.set(0);
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(entry.decompressed_size);
        let failure = if self.objects > limits::OBJECTS {
            Some(too_many_objects())
        } else if entry.decompressed_size > limits::OBJECT_BYTES as u64 {
            let (what, most) = ("bytes in one file", limits::OBJECT_BYTES as u64);
            Some(GitError::TooMuch { what, most })
        } else if self.bytes > limits::UNPACKED_BYTES {
            let (what, most) = ("bytes", limits::UNPACKED_BYTES);
            Some(GitError::TooMuch { what, most })
        } else {
            None
        };
        match failure {
            Some(failure) => {
                let error = self.passage.fail(failure);
                Some(Err(gix_error::Error::from_error(error)))
            }
            None => Some(Ok(entry)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.iterator.size_hint()
    }
}
