//! A database written by hand: what is read from it, what is refused, and foreign bytes in its place.

use super::*;
use shipway_testkit::Foreign;

/// A header as rpm lays it out.
fn header(texts: &[(u32, &str)], epoch: Option<u32>) -> Vec<u8> {
    let (mut index, mut store) = (Vec::new(), Vec::new());
    let mut entry = |tag: u32, kind: u32, value: &[u8], store: &mut Vec<u8>| {
        for number in [tag, kind, u32::try_from(store.len()).unwrap(), 1] {
            index.extend(number.to_be_bytes());
        }
        store.extend(value);
    };
    if let Some(epoch) = epoch {
        entry(header::EPOCH, 4, &epoch.to_be_bytes(), &mut store);
    }
    for (tag, text) in texts {
        entry(*tag, 6, format!("{text}\0").as_bytes(), &mut store);
    }
    let count = u32::try_from(index.len() / 16).unwrap();
    let length = u32::try_from(store.len()).unwrap();
    [
        count.to_be_bytes().as_slice(),
        &length.to_be_bytes(),
        &index,
        &store,
    ]
    .concat()
}

/// A database with the tables of rpm that matter, in the mode that rpm leaves it in.
pub(in crate::catalog) fn database() -> Vec<u8> {
    let mut database = Connection::open_in_memory().unwrap();
    database
        .execute(
            "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)",
            [],
        )
        .unwrap();
    let bash = header(
        &[
            (header::NAME, "bash"),
            (header::VERSION, "5.2.26"),
            (header::RELEASE, "3.fc40"),
            (header::ARCHITECTURE, "x86_64"),
            (header::SOURCE, "bash-5.2.26-3.fc40.src.rpm"),
            (header::LICENSE, "GPL-3.0-or-later"),
            (header::VENDOR, "Fedora Project"),
        ],
        Some(1),
    );
    let key = header(
        &[
            (header::NAME, "gpg-pubkey"),
            (header::VERSION, "a"),
            (header::RELEASE, "b"),
        ],
        None,
    );
    for blob in [&bash, &key, &b"short".to_vec()] {
        database
            .execute("INSERT INTO Packages (blob) VALUES (?1)", [blob])
            .unwrap();
    }
    let mut bytes = database.serialize(MAIN_DB).unwrap().to_vec();
    bytes[FORMAT_VERSIONS].fill(2);
    bytes
}

#[test]
fn packages_are_read_and_keys_are_not() {
    let packages = read(&database()).unwrap();
    assert_eq!(packages.len(), 1);
    assert_eq!(
        packages[0].purl(None),
        "pkg:rpm/bash@5.2.26-3.fc40?arch=x86_64&epoch=1&upstream=bash-5.2.26-3.fc40.src.rpm"
    );
    assert_eq!(packages[0].license.as_deref(), Some("GPL-3.0-or-later"));
    assert_eq!(packages[0].supplier.as_deref(), Some("Fedora Project"));
}

/// Of a package that rpmbuild 4.18 made and rpm put into its database.
const WRITTEN_BY_RPM: &[u8] = include_bytes!("header.bin");

#[test]
fn a_header_that_rpm_wrote_is_read() {
    let package = Header::parse(WRITTEN_BY_RPM).as_ref().and_then(package).unwrap();
    assert_eq!(
        package.purl(None),
        "pkg:rpm/shipway-sample@1.2.3-4?arch=noarch&epoch=2&upstream=shipway-sample-1.2.3-4.src.rpm"
    );
    assert_eq!(package.license.as_deref(), Some("MIT"));
    assert_eq!(package.supplier.as_deref(), Some("Shipway"));
}

#[test]
fn what_is_no_database_of_rpm_is_refused() {
    assert!(read(b"").is_err());
    assert!(read(b"SQLite format 3\0").is_err());
    let mut other = Connection::open_in_memory().unwrap();
    other.execute("CREATE VIEW Packages AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS blob FROM n", []).unwrap();
    assert!(read(&other.serialize(MAIN_DB).unwrap()).is_err());
}

#[test]
fn foreign_databases_are_read_or_refused() {
    Foreign::near([database()]).check(|bytes| {
        let _ = read(bytes);
    });
}

#[test]
fn foreign_headers_are_read_or_refused() {
    let sample = header(&[(header::NAME, "bash"), (header::LICENSE, "MIT")], Some(7));
    Foreign::near([sample, WRITTEN_BY_RPM.to_vec()]).check(|bytes| {
        if let Some(header) = Header::parse(bytes) {
            let _ = (header.text(header::NAME), header.number(header::EPOCH));
        }
    });
}
