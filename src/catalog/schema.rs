//! The tables of the catalog and their versions.
//!
//! Promises: a catalog of another format is told from a broken one; a newer one is refused with both
//! versions named; an older one is brought up to date in one transaction. The text of the tables is in
//! `catalog-schema/`, nowhere else.

use super::Error;
use rusqlite::Connection;
use std::path::Path;

/// The format that this program writes, as `PRAGMA user_version`.
pub(super) const FORMAT: i64 = 1;

/// `PRAGMA application_id` of a catalog: the bytes "asof".
const APPLICATION_ID: i64 = 0x6173_6f66;

const BASE: &str = include_str!("../../catalog-schema/0001_base.sql");
const VIEWS: &str = include_str!("../../catalog-schema/views.sql");

/// Creates all tables and views in an empty database.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    // 4 KiB pages: a change dirties whole pages, and at 32 KiB the log of a change is 3.6 times as long.
    connection.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;")?;
    connection.execute_batch(&format!("BEGIN; {BASE} {VIEWS} COMMIT;"))
}

/// Tells a catalog of a format that can be read from everything else.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    let pragma = |name: &str| {
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
            .map_err(|e| Error::sqlite("reading the format", path, e))
    };
    let application = pragma("application_id")?;
    if application != APPLICATION_ID {
        let found = format!("its application id is {application:#x}, not {APPLICATION_ID:#x}");
        return Err(Error::NotACatalog { path: path.to_owned(), found });
    }
    let found = pragma("user_version")?;
    if found > FORMAT {
        return Err(Error::TooNew { path: path.to_owned(), found, supported: FORMAT });
    }
    Ok(())
}

/// Brings an older catalog to [`FORMAT`]. Format 1 is the first, so there is nothing to do yet but to
/// refuse what claims to be older.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), Error> {
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|e| Error::sqlite("reading the format", path, e))?;
    if found < 1 {
        let found = format!("its format is {found}, and the first is 1");
        return Err(Error::NotACatalog { path: path.to_owned(), found });
    }
    Ok(())
}
