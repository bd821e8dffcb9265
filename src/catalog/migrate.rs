//! Brings a catalog of an older format up to date.
//!
//! Promises: the catalog is copied as it is before anything is changed, and the copy is kept; the change is one transaction, so
//! whoever is killed leaves the catalog in one format or the other. What a generation showed it shows afterwards. Rows that
//! would be lost are refused, with the first of them; what else is wrong is there afterwards for the check to find.
//!
//! Only whoever is about to write calls this; a reader never does.

use super::connect::{check_writable, connect, open_any_format, open_any_writing, open_immutable};
use super::error::Doing;
use super::files::{SIDE_FILES, beside, is_there, remove_with_side_files, sync_folder};
use super::{CatalogLock, Error, LockWait, numbers, older, schema, state};
use crate::sys::{group, lock};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The format since which steps only add tables and columns that nothing old needs.
const FORMAT_OF_ROWS: i64 = 5;

const BACKING_UP: Doing = Doing { with: "backing up", inside: "making a copy" };
const COPYING: Doing = Doing { with: "copying", inside: "making a copy before the format is changed" };

/// A catalog that was brought up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The format that it had.
    pub from: i64,
    /// The format that it has.
    pub to: i64,
    /// The catalog as it was.
    pub copy: PathBuf,
}

/// Brings the catalog at `path` to the present format; none if it has that already.
///
/// A copy of it as it is now is made first, `CATALOG.formatN` beside it, and kept. Cost: the size of the catalog, read and
/// written.
///
/// # Errors
/// [`Error::Busy`], [`Error::Full`]; [`Error::Torn`] if rows would be lost; as [`super::Writer::open_waiting`] otherwise. Then nothing was changed, and there is
/// no copy.
pub fn migrate(path: &Path, how: &LockWait<'_>) -> Result<Option<Migrated>, Error> {
    if check_writable(path)? == schema::FORMAT {
        return Ok(None);
    }
    let _locked = CatalogLock::acquire(path, how)?;
    match open_any_writing(path)? {
        // Somebody else was faster.
        (_, schema::FORMAT) => Ok(None),
        (connection, from) => bring_up_to_date(&connection, path, from).map(Some),
    }
}

fn bring_up_to_date(connection: &Connection, path: &Path, from: i64) -> Result<Migrated, Error> {
    let copy = keep_copy(connection, path, from)?;
    match change_format(connection, path) {
        Ok(()) => Ok(Migrated { from, to: schema::FORMAT, copy }),
        Err(e) => {
            // Nothing has changed: the next try makes its own.
            let _ = fs::remove_file(&copy);
            Err(e)
        }
    }
}

/// Copies the catalog as it is to a file beside it that is named after its format, and returns that.
fn keep_copy(connection: &Connection, path: &Path, format: i64) -> Result<PathBuf, Error> {
    let io = |e| COPYING.io(path, e);
    let real = fs::canonicalize(path).map_err(io)?;
    let like = fs::metadata(&real).map_err(io)?;
    let name = format!(".format{format}");
    // Under another name first: a run that is killed leaves nothing that looks like a copy.
    let draft = beside(&real, &format!("{name}.new"));
    remove_with_side_files(&draft).map_err(io)?;
    let made = copy_to(&draft, &like, connection, path, format).and_then(|()| {
        let copy = free_name(&beside(&real, &name)).map_err(io)?;
        fs::rename(&draft, &copy).map_err(io)?;
        sync_folder(&copy).map_err(|e| {
            let _ = fs::remove_file(&copy);
            io(e)
        })?;
        Ok(copy)
    });
    if made.is_err() {
        // The error that is told is the first one.
        let _ = remove_with_side_files(&draft);
    }
    made
}

/// Copies the catalog at `from` as it is at one moment to `to`, where nothing may be. Its owner's alone, as `from` is.
///
/// # Errors
/// [`Error::Exists`]; those of opening a catalog; [`Error::Io`]. Then there is no copy.
pub fn copy_catalog(from: &Path, to: &Path) -> Result<(), Error> {
    let io = |e| COPYING.io(to, e);
    if is_there(to).map_err(io)? {
        return Err(Error::Exists { path: to.to_owned() });
    }
    let (connection, format) = open_any_format(from)?;
    let like = fs::metadata(from).map_err(io)?;
    let draft = beside(to, ".new");
    remove_with_side_files(&draft).map_err(io)?;
    let copied = copy_to(&draft, &like, &connection, from, format).and_then(|()| {
        // Nobody's file is overwritten, whatever was made meanwhile.
        fs::hard_link(&draft, to).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: to.to_owned() },
            _ => io(e),
        })
    });
    // The error that is told is the first one.
    let removed = remove_with_side_files(&draft);
    copied?;
    removed.and_then(|()| sync_folder(to)).map_err(io)
}

/// Copies the catalog at `from` as it is at one moment to `to`, checks the copy, and has it take the place of an older one there.
/// Returns its size in bytes. Others read and write meanwhile.
///
/// # Errors
/// [`Error::NotACatalog`] if something else is at `to`; those of opening a catalog; [`Error::Io`]. Then what was there is as it was.
pub fn back_up(from: &Path, to: &Path) -> Result<u64, Error> {
    let io = |e| BACKING_UP.io(to, e);
    let sqlite = |e| BACKING_UP.sqlite(to, e);
    if is_there(to).map_err(io)? {
        if is_same_file(from, to).map_err(io)? {
            return Err(io(io::Error::other("it is the catalog itself")));
        }
        // Another's file is nothing that may be replaced.
        open_any_format(to)?;
    }
    let (connection, format) = open_any_format(from)?;
    let like = fs::metadata(from).map_err(io)?;
    let draft = beside(to, ".new");
    remove_with_side_files(&draft).map_err(io)?;
    let copied = copy_to(&draft, &like, &connection, from, format).and_then(|()| {
        let copy = open_immutable(&draft).map_err(sqlite)?;
        let words: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
        if words != "ok" {
            return Err(io(io::Error::other(format!("the copy is damaged, or the catalog is: {words}"))));
        }
        drop(copy);
        clear_log(to).map_err(io)?;
        fs::rename(&draft, to).map_err(io)
    });
    if copied.is_err() {
        // The error that is told is the first one.
        let _ = remove_with_side_files(&draft);
    }
    copied?;
    sync_folder(to).map_err(io)?;
    Ok(fs::metadata(to).map_err(io)?.len())
}

/// Takes away what SQLite left beside a copy that is replaced, and would take for that of the next one. A log with something in it is
/// of somebody who writes to the copy.
fn clear_log(copy: &Path) -> io::Result<()> {
    for file in SIDE_FILES.map(|end| beside(copy, end)) {
        match fs::metadata(&file) {
            Ok(log) if log.len() > 0 && !file.as_os_str().as_bytes().ends_with(b"-shm") => {
                return Err(io::Error::other(format!(
                    "{file:?} is there: somebody writes to the copy, or was killed while he did"
                )));
            }
            Ok(_) => fs::remove_file(&file)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn is_same_file(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

fn copy_to(draft: &Path, like: &fs::Metadata, from: &Connection, path: &Path, format: i64) -> Result<(), Error> {
    let sqlite = |e| COPYING.sqlite(path, e);
    let io = |e| COPYING.io(path, e);
    let made =
        lock::open_private_file(draft, like.uid()).and_then(|file| group::let_read(&file, group::reader_of(like)));
    made.map_err(io)?;
    let mut copy = connect(draft, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    // It is synced below, once, and removed if anything goes wrong.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(sqlite)?;
    let step = Backup::new(from, &mut copy).and_then(|backup| backup.step(-1)).map_err(sqlite)?;
    if step != StepResult::Done {
        return Err(io(io::ErrorKind::ResourceBusy.into()));
    }
    copy.close().map_err(|(_, e)| sqlite(e))?;
    let copied = open_immutable(draft).map_err(sqlite).and_then(|copy| schema::check(&copy, draft))?;
    if copied != format {
        return Err(io(io::Error::other(format!("the copy has format {copied}, not {format}"))));
    }
    File::open(draft).and_then(|file| file.sync_all()).map_err(io)
}

/// Returns `path`, or if that is taken the first of `path.2`, `path.3` ... that is free.
fn free_name(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.to_owned();
    let mut number = 2;
    while is_there(&name)? {
        name = beside(path, &format!(".{number}"));
        number += 1;
    }
    Ok(name)
}

/// Brings an older catalog to [`schema::FORMAT`], views included, in one transaction. One with too large numbers stays as it is.
fn change_format(connection: &Connection, path: &Path) -> Result<(), Error> {
    let doing = "bringing the format up to date";
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|e| Error::sqlite("reading the format", path, e))?;
    let steps = usize::try_from(found - 1).ok().and_then(|done| schema::STEPS.get(done..));
    let Some(steps) = steps else {
        let found = format!("its format is {found}, and the first is 1");
        return Err(Error::NotACatalog { path: path.to_owned(), found });
    };
    if steps.is_empty() {
        return Ok(());
    }
    // Format 5 was the last to change rows that were there.
    let before_rows = usize::try_from(FORMAT_OF_ROWS - found).unwrap_or(0);
    let (of_rows, further) = steps.split_at(before_rows);
    if !of_rows.is_empty() {
        check_numbers(connection, path)?;
    }
    // Tables that others refer to are rebuilt, and views that name them are in the way of that.
    let begun = connection
        .execute_batch("PRAGMA foreign_keys = OFF")
        .and_then(|()| old_views(connection))
        .and_then(|drop| connection.execute_batch(&format!("BEGIN IMMEDIATE; {drop}")));
    let migrated =
        begun.map_err(|e| Error::sqlite(doing, path, e)).and_then(|()| change(connection, path, of_rows, further));
    if migrated.is_err() {
        // The error that is told is the first one.
        let _ = connection.execute_batch("ROLLBACK");
    }
    migrated
}

/// Changes tables and rows by the steps that are left, inside a transaction, and ends it: those up to [`FORMAT_OF_ROWS`], and the `further`
/// ones, which only add.
fn change(connection: &Connection, path: &Path, of_rows: &[&str], further: &[&str]) -> Result<(), Error> {
    let sqlite = |e| Error::sqlite("bringing the format up to date", path, e);
    if let Some((last, before)) = of_rows.split_last() {
        connection.execute_batch(&before.concat()).map_err(sqlite)?;
        check_rows(connection, path)?;
        connection.execute_batch(last).map_err(sqlite)?;
    }
    connection.execute_batch(&format!("{} {}", further.concat(), schema::VIEWS)).map_err(sqlite)?;
    if !of_rows.is_empty() {
        older::say_anew(connection).map_err(sqlite)?;
        state::fill_missing(connection, path)?;
    }
    connection.execute_batch("COMMIT").map_err(sqlite)
}

/// What is wrong with rows of format 4, and the query that finds them: their texts.
///
/// These are the rows that [`schema::STEPS`] would lose, as they belong to nothing or refer to what is not there; all else that can be wrong is still there
/// afterwards, for the check to find.
const TORN: [(&str, &str); 7] = [
    (
        "a generation is of a source that is not there",
        "SELECT 'generation ' || g.id FROM generation g WHERE NOT EXISTS (SELECT 1 FROM source s WHERE s.id = g.source)",
    ),
    (
        "a copy is of a generation that is not there",
        "SELECT 'copy ' || c.id FROM copy c WHERE NOT EXISTS (SELECT 1 FROM generation g WHERE g.id = c.generation)",
    ),
    (
        "a layer of a disk is of a generation that is not there",
        "SELECT 'source ' || l.source || ', at ' || l.at FROM disk_layer l \
          WHERE NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = l.source AND g.taken_at = l.at)",
    ),
    (
        "a layer of a disk is based on one that is missing",
        "SELECT 'source ' || l.source || ', at ' || l.at || ', parent ' || l.parent FROM disk_layer l WHERE l.parent IS NOT NULL \
            AND NOT EXISTS (SELECT 1 FROM disk_layer p WHERE p.source = l.source AND p.at = l.parent)",
    ),
    (
        "a file of a disk is of a generation that is not there",
        "SELECT 'source ' || f.source || ', at ' || f.at FROM disk_file f \
          WHERE NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = f.source AND g.taken_at = f.at)",
    ),
    (
        "a volume of a disk is of a generation that is not there",
        "SELECT 'source ' || v.source || ', at ' || v.at FROM disk_volume v \
          WHERE NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = v.source AND g.taken_at = v.at)",
    ),
    (
        "the bytes of a version are in a generation that is not there",
        "SELECT 'node ' || i.node || ', born ' || i.born || ', bytes of ' || coalesce(i.content, 'none') FROM inode i WHERE i.place = 2 \
            AND NOT EXISTS (SELECT 1 FROM node_block b JOIN generation g ON g.source = b.source AND g.taken_at = i.content \
                             WHERE b.block = i.node >> 16)",
    ),
];

/// Refuses a catalog with rows that would be lost.
fn check_rows(connection: &Connection, path: &Path) -> Result<(), Error> {
    for (what, sql) in TORN {
        let found = connection.query_row(&format!("{sql} LIMIT 1"), [], |row| row.get(0)).optional();
        if let Some(detail) = found.map_err(|e| Error::sqlite("looking at its rows", path, e))? {
            return Err(Error::Torn { path: path.to_owned(), what, detail });
        }
    }
    Ok(())
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
    // Whoever wrote the catalog chose the names.
    names.map(|name| Ok(format!("DROP VIEW \"{}\"; ", name?.replace('"', "\"\"")))).collect()
}

#[cfg(test)]
mod tests {
    use super::schema::{BASE, FORMAT, STEPS, create};
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
        change_format(&old, Path::new("old")).unwrap();
        assert_eq!(tables(&old), tables(&new));
        let version = |c: &Connection| c.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0)).unwrap();
        assert_eq!((version(&old), version(&new)), (FORMAT, FORMAT));
        assert_eq!(old.query_row("SELECT count(*) FROM store", [], |r| r.get::<_, i64>(0)).unwrap(), 1);
        change_format(&old, Path::new("old")).unwrap();
    }

    #[test]
    fn a_catalog_of_format_5_does_not_know_the_file_systems_of_its_copies_and_keeps_its_rows() {
        let old = Connection::open_in_memory().unwrap();
        old.execute_batch(&format!("{BASE} {}", STEPS[..4].concat())).unwrap();
        old.execute_batch(
            "INSERT INTO store(id, path) VALUES (1, x'2f61'); \
             INSERT INTO object(id, source, at, generation, kind, is_full) VALUES (1, 1, 5, 1, 'tree', 1); \
             INSERT INTO copy(object, store, path, root_ino, root_btime, root_ctime) VALUES (1, 1, x'62', 2, 3, 4);",
        )
        .unwrap();
        change_format(&old, Path::new("old")).unwrap();
        let row = old.query_row("SELECT root_ino, root_btime, root_ctime, root_filesystem FROM copy", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
        });
        assert_eq!(row.unwrap(), (2_i64, 3_i64, 4_i64, None::<i64>));
        change_format(&old, Path::new("old")).unwrap();
    }

    /// Generations at 10, 20, 30 and 40; at 20 and 30 the directory 2 could not be listed, and the file 5 in it was seen at 20.
    #[test]
    fn a_catalog_of_format_4_keeps_what_could_not_be_listed_as_far_as_it_tells() {
        let old = Connection::open_in_memory().unwrap();
        old.execute_batch(&format!("{BASE} {}", STEPS[..3].concat())).unwrap();
        let node = |node: i64| 65536 + node;
        old.execute_batch(
            "INSERT INTO source(id, name, kind, settings, root, next_node, added_at) VALUES (1, 's', 'nfs', '{}', 65536, 65600, 0); \
             INSERT INTO node_block(block, source) VALUES (1, 1); \
             INSERT INTO perm(id, mode, uid, gid, xattr) VALUES (1, 16877, 0, 0, 0), (2, 33188, 0, 0, 0);",
        )
        .unwrap();
        for at in [10, 20, 30, 40] {
            old.execute(
                "INSERT INTO generation(source, taken_at, level, status, first_content) VALUES (1, ?1, 'full', 'available', 1)",
                [at],
            )
            .unwrap();
        }
        let end = 253_402_300_799_i64;
        let names =
            [(0, "d", 10, end, 2, 1), (2, "old", 10, end, 3, 0), (2, "seen", 10, end, 5, 0), (2, "sub", 10, end, 4, 1)];
        let below =
            [(4, "x", 10, 40, 6, 0), (2, "new", 20, end, 7, 0), (2, "link", 10, end, 8, 0), (0, "link", 10, end, 8, 0)];
        for (parent, name, born, died, id, kind) in names.into_iter().chain(below) {
            let row = rusqlite::params![node(parent), name.as_bytes(), born, died, node(id), kind];
            old.execute(
                "INSERT INTO dirent(parent, name, born, died, node, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                row,
            )
            .unwrap();
        }
        let versions =
            [(0, 10, 1, 0), (2, 10, 1, 0), (2, 20, 1, 9), (2, 40, 1, 0), (3, 10, 2, 1), (4, 10, 1, 0), (5, 10, 2, 1)];
        for (id, born, perm, place) in
            versions.into_iter().chain([(5, 20, 2, 1), (6, 10, 2, 1), (7, 20, 2, 1), (8, 10, 2, 1)])
        {
            old.execute(
                "INSERT INTO inode(node, born, perm, size, mtime, mtime_ns, ctime_ns, nlink, place) VALUES (?1, ?2, ?3, 0, 0, 0, 0, 1, ?4)",
                [node(id), born, perm, place],
            )
            .unwrap();
        }
        change_format(&old, Path::new("old")).unwrap();
        let rows = |sql: &str| -> Vec<String> {
            let mut statement = old.prepare(sql).unwrap();
            statement.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(rows("SELECT (node - 65536) || ' ' || born || ' ' || died FROM doubt"), ["2 20 40"]);
        // What was seen at 20 is, at 30, what did not change; what has a name elsewhere is not kept, since its links count all.
        assert_eq!(
            rows("SELECT (parent - 65536) || ' ' || CAST(name AS TEXT) || ' ' || born || ' ' || died FROM kept"),
            ["2 new 30 40", "2 old 20 40", "2 seen 30 40", "2 sub 20 40", "4 x 20 40"]
        );
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
            let refused = change_format(&old, Path::new("old")).err().map(|e| e.to_string());
            let text = |what| format!("catalog \"old\" has used up the numbers of {what}");
            assert_eq!(refused, expected.map(text), "{sql}");
            let version = old.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0)).unwrap();
            assert_eq!(version, if expected.is_some() { 4 } else { FORMAT }, "{sql}");
        }
    }
}
