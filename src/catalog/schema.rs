//! The tables of the catalog and their versions.
//!
//! Promises: a catalog of another format is told from a broken one; a newer one is refused with both
//! versions named; an older one is brought up to date in one transaction, by whoever asks for it. The text of the tables is in
//! `catalog-schema/`, nowhere else.

use super::{Error, numbers};
use rusqlite::Connection;
use std::path::Path;

/// The format that this program writes, as `PRAGMA user_version`.
pub(super) const FORMAT: i64 = 5;

/// `PRAGMA application_id` of a catalog: the bytes "asof".
const APPLICATION_ID: i64 = 0x6173_6f66;

const BASE: &str = include_str!("../../catalog-schema/0001_base.sql");
/// What brings format N + 1 to format N + 2, at place N.
const STEPS: [&str; 4] = [
    include_str!("../../catalog-schema/0002_own_copies.sql"),
    include_str!("../../catalog-schema/0003_disks.sql"),
    include_str!("../../catalog-schema/0004_places.sql"),
    include_str!("../../catalog-schema/0005_objects.sql"),
];
const VIEWS: &str = include_str!("../../catalog-schema/views.sql");

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

/// Brings an older catalog to [`FORMAT`], views included, in one transaction. One with too large numbers stays as it is.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), Error> {
    let doing = "bringing the format up to date";
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|e| Error::sqlite("reading the format", path, e))?;
    let steps = usize::try_from(found - 1).ok().and_then(|done| STEPS.get(done..));
    let Some(steps) = steps else {
        let found = format!("its format is {found}, and the first is 1");
        return Err(Error::NotACatalog { path: path.to_owned(), found });
    };
    if steps.is_empty() {
        return Ok(());
    }
    check_numbers(connection, path)?;
    // Tables that others refer to are rebuilt, and views that name them are in the way of that.
    let migrated =
        connection.execute_batch("PRAGMA foreign_keys = OFF").and_then(|()| old_views(connection)).and_then(|drop| {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {drop} {} {VIEWS} COMMIT;", steps.concat()))
        });
    migrated.map_err(|e| {
        // The error that is told is the first one.
        let _ = connection.execute_batch("ROLLBACK");
        Error::sqlite(doing, path, e)
    })
}

/// Refuses a catalog of an older format whose nodes or views have numbers for which format 5 has no room: they had 40
/// bits, and the views were not counted.
fn check_numbers(connection: &Connection, path: &Path) -> Result<(), Error> {
    let highest = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(|e| Error::sqlite("looking at its numbers", path, e))
    };
    // Blocks of 2^16 nodes.
    numbers::check_node(path, highest("SELECT coalesce(max(block), 0) << 16 FROM node_block")?)?;
    // Generations are numbered anew above all views, beginning with this one (0005_objects.sql).
    let views =
        "SELECT coalesce(max(seq), 0) + (SELECT count(*) FROM generation) FROM sqlite_sequence WHERE name = 'instant'";
    numbers::check_generation(path, highest(views)?).map(drop)
}

/// Returns the statements that drop the views of an older format.
fn old_views(connection: &Connection) -> rusqlite::Result<String> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'view'")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| Ok(format!("DROP VIEW \"{}\"; ", name?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_of_format_1_is_brought_to_the_present_tables_and_views() {
        let tables = |c: &Connection| -> Vec<(String, String)> {
            let mut statement = c
                .prepare(
                    "SELECT m.name, x.name FROM sqlite_schema m JOIN pragma_table_info(m.name) x ORDER BY 1, x.cid",
                )
                .unwrap();
            statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().map(Result::unwrap).collect()
        };
        let (old, new) = (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
        old.execute_batch(BASE).unwrap();
        old.execute_batch("CREATE VIEW gone AS SELECT 1; INSERT INTO store(path) VALUES (x'2f61')").unwrap();
        create(&new).unwrap();
        migrate(&old, Path::new("old")).unwrap();
        assert_eq!(tables(&old), tables(&new));
        let version = |c: &Connection| c.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0)).unwrap();
        assert_eq!((version(&old), version(&new)), (FORMAT, FORMAT));
        assert_eq!(old.query_row("SELECT count(*) FROM store", [], |r| r.get::<_, i64>(0)).unwrap(), 1);
        migrate(&old, Path::new("old")).unwrap();
    }

    /// They had 40 bits for nodes, and views were not counted.
    #[test]
    fn a_catalog_of_format_4_with_numbers_that_are_too_large_is_refused_and_stays_as_it_is() {
        let cases = [
            ("INSERT INTO node_block(block, source) VALUES ((1 << 20) - 1, 1)", None),
            ("INSERT INTO node_block(block, source) VALUES (1 << 20, 1)", Some("nodes, of which there are 2^36")),
            ("INSERT INTO instant(id, source, at) VALUES ((1 << 26) - 2, 1, 5)", None),
            (
                "INSERT INTO instant(id, source, at) VALUES ((1 << 26) - 1, 1, 5)",
                Some("generations, of which there are 2^26"),
            ),
        ];
        for (sql, expected) in cases {
            let old = Connection::open_in_memory().unwrap();
            old.execute_batch(&format!("{BASE} {}", STEPS[..3].concat())).unwrap();
            let one = "INSERT INTO source(id, name, kind, settings, root, next_node, added_at) VALUES (1, 's', 'nfs', '{}', 65536, 65537, 0); \
                       INSERT INTO generation(source, taken_at, level, status, first_content) VALUES (1, 5, 'full', 'available', 1)";
            old.execute_batch(&format!("{one}; {sql}")).unwrap();
            let refused = migrate(&old, Path::new("old")).err().map(|e| e.to_string());
            let text = |what| format!("catalog \"old\" has used up the numbers of {what}");
            assert_eq!(refused, expected.map(text), "{sql}");
            let version = old.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0)).unwrap();
            assert_eq!(version, if expected.is_some() { 4 } else { FORMAT }, "{sql}");
        }
    }
}
