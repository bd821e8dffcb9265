//! The tables of the catalog and their versions.
//!
//! Promises: a catalog of another format is told from a broken one; a newer one is refused with both
//! versions named. The text of the tables is in `catalog-schema/`, nowhere else.

use super::Error;
use rusqlite::Connection;
use std::path::Path;

/// The format that this program writes, as `PRAGMA user_version`.
pub(super) const FORMAT: i64 = 7;

/// `PRAGMA application_id` of a catalog: the bytes "asof".
const APPLICATION_ID: i64 = 0x6173_6f66;

pub(super) const BASE: &str = include_str!("../../catalog-schema/0001_base.sql");
/// What brings format N + 1 to format N + 2, at place N.
pub(super) const STEPS: [&str; 6] = [
    include_str!("../../catalog-schema/0002_own_copies.sql"),
    include_str!("../../catalog-schema/0003_disks.sql"),
    include_str!("../../catalog-schema/0004_places.sql"),
    include_str!("../../catalog-schema/0005_objects.sql"),
    include_str!("../../catalog-schema/0006_filesystems.sql"),
    include_str!("../../catalog-schema/0007_views.sql"),
];
pub(super) const VIEWS: &str =
    concat!(include_str!("../../catalog-schema/views.sql"), include_str!("../../catalog-schema/columns.sql"));

/// Creates all tables and views in an empty database.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    // 4 KiB pages: a change dirties whole pages, and at 32 KiB the log of a change is 3.6 times as long.
    connection.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF;")?;
    connection.execute_batch(&format!("BEGIN; {BASE} {} {VIEWS} COMMIT;", STEPS.concat()))
}

/// Tells a catalog of a format that can be read, or brought up to date, from everything else, and returns its format.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<i64, Error> {
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
    match found {
        1..=FORMAT => Ok(found),
        ..1 => {
            let found = format!("its format is {found}, and the first is 1");
            Err(Error::NotACatalog { path: path.to_owned(), found })
        }
        _ => Err(Error::TooNew { path: path.to_owned(), found, supported: FORMAT }),
    }
}
