//! An OCI image layout, as BuildKit's local caches are and `skopeo` reads them: a directory with caches in it, or with images.
//!
//! Blobs are put first and the index last, each by a rename, so that whoever reads at any moment finds a whole cache, the old one or
//! the new one. A blob that is there already is not written again; what nothing names any more stays, for somebody may be reading it.
//! The index is one file for all names: who writes it locks the directory, and leaves one alone that cannot be read.
//!
//! What is read is bounded and verified; a file that is none (a pipe, a device) is an error and nothing that is waited for.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use shipway_oci::{
    Descriptor, Digest, ImageIndex, MAX_MANIFEST_BYTES, Manifest, VerifyingReader, media_type,
};
use shipway_store::Store;

/// Under which annotation an entry of the index has its name.
const NAME: &str = "org.opencontainers.image.ref.name";
/// Under which containerd and BuildKit put the name of an image with its registry.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Such a directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout(PathBuf);

impl Layout {
    pub(crate) fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The bytes of the manifest with this digest, or else of this name; nothing when there is none. Blocks.
    pub(super) fn manifest(&self, tag: &str, digest: Option<&Digest>) -> io::Result<Option<Vec<u8>>> {
        let index = match self.index() {
            Ok(index) => index,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let entry = index.manifests.iter().find(|entry| match digest {
            Some(digest) => entry.digest == *digest,
            None => entry.annotations.get(NAME).is_some_and(|name| name == tag),
        });
        let Some(entry) = entry else { return Ok(None) };
        let mut bytes = Vec::new();
        let most = MAX_MANIFEST_BYTES as u64;
        if entry.size > most {
            return Err(io::Error::other(format!(
                "its manifest is larger than {most} bytes"
            )));
        }
        self.open(entry)?.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The names of an entry of the index, the whole one first.
    pub(crate) fn names(entry: &Descriptor) -> impl Iterator<Item = &str> {
        let named = |annotation| entry.annotations.get(annotation).map(String::as_str);
        [named(IMAGE_NAME), named(NAME)].into_iter().flatten()
    }

    /// The bytes of a document of at most that many, verified. Blocks.
    pub(crate) fn document(&self, digest: &Digest, limit: usize) -> io::Result<Vec<u8>> {
        let file = open_regular(&self.0.join(path(digest)))?;
        let size = file.metadata()?.len();
        if size > limit as u64 {
            return Err(io::Error::other(format!("{digest} is larger than {limit} bytes")));
        }
        let mut bytes = Vec::new();
        VerifyingReader::new(file, digest.clone(), Some(size)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Brings a blob into a store, verified. Blocks.
    pub(crate) fn bring(&self, blob: &Descriptor, into: &Store) -> io::Result<()> {
        // Whoever has the directory has the bytes in hand: they are read even if the store has them.
        let mut reader = self.open(blob)?;
        let mut writer = into.begin_blob_as(blob.digest.algorithm())?;
        io::copy(&mut reader, &mut writer)?;
        writer.commit(Some(&blob.digest)).map_err(io::Error::other)?;
        Ok(())
    }

    /// Writes a cache under a name. The blobs are in the store. Blocks.
    pub(super) fn write(
        &self,
        tag: &str,
        manifest: &[u8],
        blobs: &[Descriptor],
        from: &Store,
    ) -> io::Result<()> {
        std::fs::create_dir_all(self.0.join("blobs/sha256"))?;
        for blob in blobs {
            self.put(blob, || from.open_blob(&blob.digest).map_err(io::Error::other))?;
        }
        let mut entry = Descriptor::of(media_type::OCI_MANIFEST, manifest);
        self.put(&entry, || Ok(manifest))?;
        entry.annotations.insert(NAME.to_owned(), tag.to_owned());
        let directory = File::open(&self.0)?;
        // A file system without locks has at least the rename.
        let _locked = directory.lock();
        let mut index = match self.index() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => ImageIndex::new(Vec::new()),
            Err(error) => {
                let told = format!("its index.json cannot be used ({error}): remove it to begin anew");
                return Err(io::Error::new(error.kind(), told));
            }
            index => index?,
        };
        index
            .manifests
            .retain(|other| other.annotations.get(NAME).is_none_or(|name| name != tag));
        index.manifests.push(entry);
        let index = Manifest::Index(index).to_json().map_err(io::Error::other)?;
        self.place(
            Path::new("oci-layout"),
            &mut &br#"{"imageLayoutVersion":"1.0.0"}"#[..],
        )?;
        self.place(Path::new("index.json"), &mut index.as_slice())
    }

    /// Whether a blob is there already, by its size.
    pub(super) fn has(&self, blob: &Descriptor) -> bool {
        let there = std::fs::symlink_metadata(self.0.join(path(&blob.digest)));
        there.is_ok_and(|there| there.is_file() && there.len() == blob.size)
    }

    /// What its index lists. Blocks.
    pub(crate) fn index(&self) -> io::Result<ImageIndex> {
        let mut bytes = Vec::new();
        let most = MAX_MANIFEST_BYTES as u64;
        open_regular(&self.0.join("index.json"))?
            .take(most + 1)
            .read_to_end(&mut bytes)?;
        match Manifest::parse(Some(media_type::OCI_INDEX), &bytes).map_err(io::Error::other)? {
            Manifest::Index(index) => Ok(index),
            Manifest::Image(_) => Err(io::Error::other("its index is none")),
        }
    }

    fn open(&self, blob: &Descriptor) -> io::Result<VerifyingReader<File>> {
        let file = open_regular(&self.0.join(path(&blob.digest)))?;
        Ok(VerifyingReader::new(file, blob.digest.clone(), Some(blob.size)))
    }

    fn put<R: io::Read>(&self, blob: &Descriptor, from: impl FnOnce() -> io::Result<R>) -> io::Result<()> {
        let path = path(&blob.digest);
        if self.has(blob) {
            return Ok(());
        }
        std::fs::create_dir_all(self.0.join("blobs").join(blob.digest.algorithm().name()))?;
        self.place(&path, &mut from()?)
    }

    fn place(&self, path: &Path, bytes: &mut dyn io::Read) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        io::copy(bytes, &mut file)?;
        file.flush()?;
        // The next user of the directory may be another job, under another id.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable)?;
        file.persist(self.0.join(path)).map_err(|error| error.error)?;
        Ok(())
    }
}

fn path(digest: &Digest) -> PathBuf {
    Path::new("blobs")
        .join(digest.algorithm().name())
        .join(digest.hex())
}

fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!(
            "`{}` is no regular file",
            path.display()
        )));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_cache_takes_the_place_of_the_first_and_leaves_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let layout = Layout::at(&directory.path().join("a/b"));
        assert!(layout.manifest("latest", None).unwrap().is_none());
        let blob = store.put_blob(b"layer").unwrap();
        let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, blob.digest, blob.size);
        for (tag, manifest) in [("latest", "one"), ("other", "two"), ("latest", "three")] {
            layout
                .write(tag, manifest.as_bytes(), std::slice::from_ref(&blob), &store)
                .unwrap();
        }
        let found = |tag| layout.manifest(tag, None).unwrap().unwrap();
        assert_eq!(
            (found("latest"), found("other")),
            (b"three".to_vec(), b"two".to_vec())
        );
        let by_digest = layout.manifest("", Some(&Digest::sha256(b"two"))).unwrap();
        assert_eq!(by_digest.unwrap(), b"two");
        let other = Store::open(&directory.path().join("other")).unwrap();
        layout.bring(&blob, &other).unwrap();
        assert_eq!(other.read_blob(&blob.digest, 10).unwrap(), b"layer");
    }

    #[test]
    fn caches_that_are_written_at_the_same_time_are_all_there() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let layout = Layout::at(&directory.path().join("cache"));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (layout, store) = (&layout, &store);
                scope.spawn(move || {
                    for number in 0..25 {
                        let tag = format!("{thread}-{number}");
                        layout.write(&tag, tag.as_bytes(), &[], store).unwrap();
                    }
                });
            }
        });
        assert_eq!(layout.index().unwrap().manifests.len(), 100);
    }

    #[test]
    fn an_index_that_cannot_be_read_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let layout = Layout::at(&directory.path().join("cache"));
        layout.write("one", b"one", &[], &store).unwrap();
        let index = directory.path().join("cache/index.json");
        std::fs::write(&index, "{").unwrap();
        let said = layout.write("two", b"two", &[], &store).unwrap_err().to_string();
        assert!(said.contains("remove it"), "{said}");
        assert_eq!(std::fs::read(&index).unwrap(), b"{");
    }

    #[test]
    fn what_lies_there_is_not_taken_for_what_its_name_says() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let layout = Layout::at(directory.path());
        let blob = Descriptor::of(media_type::OCI_LAYER_GZIP, b"layer");
        std::fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        let at = directory.path().join(path(&blob.digest));
        assert!(layout.bring(&blob, &store).is_err());
        std::fs::write(&at, b"other").unwrap();
        assert!(layout.bring(&blob, &store).is_err());
        std::fs::remove_file(&at).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &at, Mode::from_raw_mode(0o600)).unwrap();
        assert!(
            layout
                .bring(&blob, &store)
                .unwrap_err()
                .to_string()
                .contains("no regular file")
        );
        assert!(store.blob(&blob.digest).unwrap().is_none());
        std::fs::write(directory.path().join("index.json"), "{").unwrap();
        assert!(layout.manifest("latest", None).is_err());
    }
}
