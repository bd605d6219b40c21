//! Connections to SQLite: who may write, how durable, and how readers are lent.
//!
//! One writer at a time per process, chosen by a mutex and not by SQLite's polling, so that threads do not sleep for
//! each other. Across processes SQLite's own lock decides; writers wait for it up to a minute. Transactions that write
//! begin IMMEDIATE: what they read cannot change before they commit.
//!
//! Two connections write. The durable one syncs at each commit; what it commits is acknowledged to the outside. The quick one does
//! not: a power failure may take its last commits. It is for what can be made anew: the age of leases, diffIDs and pieces of layers.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};

use crate::StoreError;

/// How long a writer waits for one of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle readers that are kept.
const READERS_KEPT: usize = 16;
/// More than there are statements in this crate.
const STATEMENTS_CACHED: usize = 128;

pub(crate) struct Database {
    path: PathBuf,
    writers: Mutex<Writers>,
    readers: Mutex<Vec<Connection>>,
}

struct Writers {
    durable: Connection,
    quick: Connection,
}

/// How a connection is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Durable,
    Quick,
    Read,
}

impl Database {
    /// Opens a database that [`create`] has prepared.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let writers = Writers {
            durable: connect(path, Use::Durable)?,
            quick: connect(path, Use::Quick)?,
        };
        Ok(Self {
            path: path.to_owned(),
            writers: Mutex::new(writers),
            readers: Mutex::new(Vec::new()),
        })
    }

    /// Lends a reader. Each statement sees the last commit of any process.
    pub(crate) fn read<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, Use::Read)?,
        };
        let outcome = work(&connection);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        outcome
    }

    /// Runs a transaction that is on disk when this returns. An error rolls it back.
    pub(crate) fn write<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        run(&mut writers.durable, work)
    }

    /// Runs a transaction that a power failure may undo: for what can be made anew.
    pub(crate) fn write_quick<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        run(&mut writers.quick, work)
    }
}

fn run<T, E: From<rusqlite::Error>>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn connect(path: &Path, usage: Use) -> rusqlite::Result<Connection> {
    // No SQLITE_OPEN_CREATE: if the file is gone, the store is broken and must not look empty.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(
        None,
        "synchronous",
        if usage == Use::Quick { "NORMAL" } else { "FULL" },
    )?;
    connection.pragma_update(None, "query_only", usage == Use::Read)?;
    Ok(connection)
}

/// The layout of the tables; a store with a higher one was made by a newer program.
const VERSION: i64 = 4;
/// From version 1: uploads know who began them.
const UPLOADS_HAVE_OWNERS: &str = "ALTER TABLE uploads ADD COLUMN owner TEXT NOT NULL DEFAULT '';
    CREATE INDEX uploads_by_owner ON uploads (owner);";
/// From version 2: what a layer was seen to unpack to is remembered.
const BLOBS_HAVE_DIFF_IDS: &str = "ALTER TABLE blobs ADD COLUMN diff_id TEXT;";
/// From version 3: what pieces a layer is made of is remembered.
const LAYERS_HAVE_PIECES: &str = "CREATE TABLE layer_pieces (
        blob   INTEGER PRIMARY KEY REFERENCES blobs ON DELETE CASCADE,
        pieces BLOB NOT NULL
    ) STRICT;";

/// What [`create`] found.
pub(crate) enum Layout {
    /// It is ours, new or old.
    Ready,
    /// It is of a newer program.
    Newer(i64),
    /// The file system cannot do write-ahead logging.
    NoLog,
}

/// Makes the database and its tables unless they are there. The caller holds the store's opening lock.
pub(crate) fn create(path: &Path) -> rusqlite::Result<Layout> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Ok(Layout::NoLog);
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let steps: &[&str] = match version {
        0 => &[include_str!("schema.sql")],
        1 => &[UPLOADS_HAVE_OWNERS, BLOBS_HAVE_DIFF_IDS, LAYERS_HAVE_PIECES],
        2 => &[BLOBS_HAVE_DIFF_IDS, LAYERS_HAVE_PIECES],
        3 => &[LAYERS_HAVE_PIECES],
        VERSION => return Ok(Layout::Ready),
        newer => return Ok(Layout::Newer(newer)),
    };
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(Layout::Ready)
}

/// Milliseconds since 1970, as all rows have them.
pub(crate) fn now() -> i64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn time(milliseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
}

/// A column that holds the text of one of our types.
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// A size: SQLite's integers are signed, and a negative one means that the row is damaged.
pub(crate) fn size(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// A size for a row.
pub(crate) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Several of something, with errors passed on.
pub(crate) fn rows<T, P: rusqlite::Params>(
    connection: &Connection,
    sql: &str,
    parameters: P,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One of something, or none.
pub(crate) fn row<T, P: rusqlite::Params>(
    connection: &Connection,
    sql: &str,
    parameters: P,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    use rusqlite::OptionalExtension as _;
    connection
        .prepare_cached(sql)?
        .query_row(parameters, read)
        .optional()
}

/// Whether there is a row.
pub(crate) fn exists<P: rusqlite::Params>(
    connection: &Connection,
    sql: &str,
    parameters: P,
) -> rusqlite::Result<bool> {
    connection.prepare_cached(sql)?.exists(parameters)
}

/// Changes rows, and says how many.
pub(crate) fn change<P: rusqlite::Params>(
    connection: &Connection,
    sql: &str,
    parameters: P,
) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(parameters)
}
