//! Opening a store: its directory, its owner, its identity and its secrets.

use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::ballast;
use crate::blob_files::BlobFiles;
use crate::database::{self, Database, Layout, row};
use crate::meter::Meter;
use crate::{Result, StoreError};

/// For the owner alone.
const PRIVATE: u32 = 0o700;

/// An open store. Clones share it, and count for the same meter.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    meter: Meter,
}

struct Inner {
    directory: PathBuf,
    id: StoreId,
    database: Database,
    files: BlobFiles,
    /// Last, so that the room is taken back when everything else is closed.
    _reserve: Option<ballast::GivenUp>,
}

/// Why a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Use,
    Free,
}

/// What makes a store itself wherever its address: two names that lead to the same id lead to the same registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(Box<str>);

impl StoreId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for StoreId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> std::result::Result<Self, uuid::Error> {
        Ok(Self(uuid::Uuid::try_parse(text)?.to_string().into()))
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory belongs to somebody else.
    #[error(
        "the store `{}` belongs to user id {owner}, and this is user id {user}: run as its owner, or choose another \
         data directory",
        directory.display()
    )]
    ForeignOwner {
        /// The store's directory.
        directory: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// A newer program made it.
    #[error("the store `{}` has layout {found}, which only a newer version of this program reads", directory.display())]
    Newer {
        /// The store's directory.
        directory: PathBuf,
        /// Its layout.
        found: i64,
    },
    /// The file system is not fit for a store.
    #[error("the file system of `{}` cannot hold a store: it needs shared memory maps and locks", directory.display())]
    UnfitFileSystem {
        /// The store's directory.
        directory: PathBuf,
    },
    /// The disk or the database failed.
    #[error("cannot open the store `{}`", directory.display())]
    Failed {
        /// The store's directory.
        directory: PathBuf,
        /// Why not.
        #[source]
        source: StoreError,
    },
}

impl Store {
    /// Opens the store in a directory, and makes it if there is none.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_for(Purpose::Use, directory)
    }

    /// Opens the store to remove something from it, or only to read: on a full disk the room that it keeps for that is given
    /// up for as long as it is open.
    pub fn open_to_free(directory: &Path) -> Result<Self, OpenError> {
        Self::open_for(Purpose::Free, directory)
    }

    fn open_for(purpose: Purpose, directory: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Failed {
            directory: directory.to_owned(),
            source,
        };
        make_directory(directory).map_err(failed)?;
        let directory = &fs::canonicalize(directory)
            .map_err(StoreError::file("find", directory))
            .map_err(failed)?;
        let metadata = fs::metadata(directory)
            .map_err(StoreError::file("look at", directory))
            .map_err(failed)?;
        let owner = metadata.uid();
        let user = rustix::process::geteuid().as_raw();
        if owner != user {
            return Err(OpenError::ForeignOwner {
                directory: directory.clone(),
                owner,
                user,
            });
        }
        close_to_others(directory, metadata.mode()).map_err(failed)?;
        let reserve = match purpose {
            Purpose::Use => None,
            Purpose::Free => ballast::give_up(directory).map_err(failed)?,
        };

        // Two processes that make one store at the same time would disturb each other: SQLite does not wait
        // for a change of the journal's mode.
        let _opening = lock(&directory.join("opening.lock")).map_err(failed)?;
        let path = directory.join("store.sqlite");
        let database = |error: rusqlite::Error| failed(error.into());
        match database::create(&path).map_err(database)? {
            Layout::Ready => {}
            Layout::Newer(found) => {
                return Err(OpenError::Newer {
                    directory: directory.clone(),
                    found,
                });
            }
            Layout::NoLog => {
                return Err(OpenError::UnfitFileSystem {
                    directory: directory.clone(),
                });
            }
        }
        let files = BlobFiles::open(directory).map_err(failed)?;
        let database = Database::open(&path).map_err(database)?;
        let id = store_id(&database).map_err(failed)?;
        if purpose == Purpose::Use {
            ballast::reserve(directory);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                directory: directory.clone(),
                id,
                database,
                files,
                _reserve: reserve,
            }),
            meter: Meter::default(),
        })
    }

    /// The same store for somebody whose blobs are counted: those that begin through this value, and come to be new ones.
    #[must_use]
    pub fn metered(&self, meter: &Meter) -> Self {
        Self {
            meter: meter.clone(),
            ..self.clone()
        }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// What makes this store itself.
    pub fn id(&self) -> &StoreId {
        &self.inner.id
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// A random secret under a name, made at first use and the same ever after, for all processes.
    pub fn secret(&self, name: &str) -> Result<[u8; 32]> {
        let name = format!("secret/{name}");
        let kept = self.database().read(|db| fact(db, &name))?;
        if let Some(secret) = kept {
            return Ok(secret);
        }
        self.database().write(|db| {
            let fresh: [u8; 32] = rand::random();
            database::change(
                db,
                "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                (&name, fresh),
            )?;
            Ok(fact(db, &name)?.unwrap_or(fresh))
        })
    }

    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    pub(crate) fn files(&self) -> &BlobFiles {
        &self.inner.files
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.inner.directory).finish()
    }
}

fn fact<T: rusqlite::types::FromSql>(db: &rusqlite::Connection, name: &str) -> Result<Option<T>> {
    Ok(row(
        db,
        "SELECT value FROM facts WHERE name = ?1",
        [name],
        |row| row.get(0),
    )?)
}

fn store_id(database: &Database) -> Result<StoreId> {
    database.write(|db| {
        let fresh = uuid::Uuid::new_v4().to_string();
        database::change(
            db,
            "INSERT INTO facts (name, value) VALUES ('id', ?1) ON CONFLICT DO NOTHING",
            [fresh.as_bytes()],
        )?;
        let kept: Vec<u8> = fact(db, "id")?.unwrap_or_default();
        Ok(StoreId(String::from_utf8_lossy(&kept).into()))
    })
}

/// Nobody else may read a store: blobs of private images lie in it, and secrets.
fn make_directory(directory: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE)
        .create(directory)
        .map_err(StoreError::file("make the directory", directory))
}

/// Somebody else may have made the directory, with the modes that directories have.
fn close_to_others(directory: &Path, mode: u32) -> Result<()> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(directory, Permissions::from_mode(PRIVATE))
        .map_err(StoreError::file("close to others", directory))
}

fn lock(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(StoreError::file("open", path))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|errno| StoreError::file("lock", path)(io::Error::from(errno)))?;
    Ok(file)
}
