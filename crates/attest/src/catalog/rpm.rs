//! rpm's database in SQLite: one row for each package, its header as a blob.
//!
//! The file is a stranger's, so SQLite gets a copy in memory that it may only read, runs no code that the file brings, and is stopped when
//! it takes more steps than an honest database needs. Berkeley DB and NDB, which rpm wrote before, are not read.

mod header;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB};

use self::header::Header;
use super::CatalogError;
use crate::package::{Ecosystem, Package};

/// A thousand virtual instructions each; a package needs a handful of them.
const MOST_THOUSANDS: u32 = 20_000;
/// More than any distribution has.
const MOST_PACKAGES: usize = 200_000;
/// Where a database says whether its newest pages are in a log beside it, which is not here: 1 says that they are not.
const FORMAT_VERSIONS: std::ops::Range<usize> = 18..20;

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Package>, CatalogError> {
    let mut bytes = bytes.to_vec();
    if let Some(versions) = bytes.get_mut(FORMAT_VERSIONS) {
        versions.fill(1);
    }
    let mut database = Connection::open_in_memory()?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    database.deserialize_read_exact(MAIN_DB, bytes.as_slice(), bytes.len(), true)?;
    let mut thousands = 0;
    database.progress_handler(
        1000,
        Some(move || {
            thousands += 1;
            thousands > MOST_THOUSANDS
        }),
    )?;
    let mut statement = database.prepare("SELECT blob FROM Packages")?;
    let mut rows = statement.query([])?;
    let mut packages = Vec::new();
    while let Some(row) = rows.next()? {
        if packages.len() == MOST_PACKAGES {
            break;
        }
        let blob = row
            .get_ref(0)?
            .as_blob()
            .map_err(|_| rusqlite::Error::InvalidQuery)?;
        packages.extend(Header::parse(blob).as_ref().and_then(package));
    }
    // The order of rows is that of installing.
    packages.sort();
    Ok(packages)
}

fn package(header: &Header<'_>) -> Option<Package> {
    let (name, version, release) = (
        header.text(header::NAME)?,
        header.text(header::VERSION)?,
        header.text(header::RELEASE)?,
    );
    // Keys that it trusts are kept in the same table, and are no packages.
    if name == "gpg-pubkey" {
        return None;
    }
    let mut package = Package::new(Ecosystem::Rpm, &name, &format!("{version}-{release}"));
    package.qualify("arch", &header.text(header::ARCHITECTURE).unwrap_or_default());
    package.qualify("upstream", &header.text(header::SOURCE).unwrap_or_default());
    if let Some(epoch) = header.number(header::EPOCH) {
        package.qualify("epoch", &epoch.to_string());
    }
    package.license = header.text(header::LICENSE);
    package.supplier = header.text(header::VENDOR);
    Some(package)
}

#[cfg(test)]
pub(super) mod tests;
