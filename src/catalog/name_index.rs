//! An index of names over all time: which directories ever had a name with these letters in it.
//!
//! Promises: made when somebody asks for it, a part at a time, so nobody waits for it and a run that was killed is gone on with. From then on
//! every name that is new in its directory is noted in the transaction that writes it. It says where to look and never what is there: it may name a directory that has no such name any
//! more, and leaves out none that has one. A text is at most [`TEXT_NAMES`] names of one directory, cut into trigrams by FTS5.

use super::tables::Slot;
use super::{Error, Reader, Writer};
use crate::model::{NodeId, SourceId, folded};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Names in one text at most.
const TEXT_NAMES: usize = 1024;
/// How long a part of it may hold the catalog.
const TURN: Duration = Duration::from_millis(400);
/// New names that wait for a text at most, while a generation is written.
const NEW_MAX: i64 = 50_000;
/// Letters of a trigram.
const GRAM: usize = 3;

const OBJECTS: &str = include_str!("../../catalog-schema/names.sql");
const NOTE: &str = "INSERT INTO name_new(parent, name) SELECT ?1, ?2 \
     WHERE NOT EXISTS (SELECT 1 FROM dirent WHERE parent = ?1 AND name = ?2 AND born <> ?3)";
const EXISTS: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'name_fill'";
const DROP: &str = "DROP TABLE IF EXISTS name_text; DROP TABLE IF EXISTS name_doc; \
     DROP TABLE IF EXISTS name_new; DROP TABLE IF EXISTS name_fill;";

/// Creates the index, empty.
pub(super) fn create(c: &Connection) -> rusqlite::Result<()> {
    c.execute_batch(OBJECTS)
}

/// Tells whether there is an index.
pub(super) fn exists(c: &Connection) -> rusqlite::Result<bool> {
    c.prepare_cached(EXISTS)?.exists([])
}

/// Notes a name that is written, born then, if its directory never had it before.
pub(super) fn note(c: &Connection, slot: Slot<'_>, born: i64) -> rusqlite::Result<()> {
    c.prepare_cached(NOTE)?.execute(params![slot.dir.0, slot.name, born]).map(drop)
}

/// Puts new names into texts, once there are so many of them that they would make searches slow.
pub(super) fn keep_up(c: &Connection) -> rusqlite::Result<()> {
    if exists(c)? {
        let mut statement = c.prepare_cached("SELECT coalesce(max(id) - min(id), 0) FROM name_new")?;
        if statement.query_row([], |row| row.get::<_, i64>(0))? > NEW_MAX {
            put_new(c)?;
        }
    }
    Ok(())
}

/// Puts all new names into texts.
pub(super) fn settle(c: &Connection) -> rusqlite::Result<()> {
    if exists(c)? { put_new(c) } else { Ok(()) }
}

fn put_new(c: &Connection) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached("SELECT DISTINCT parent, name FROM name_new ORDER BY parent, name")?;
    let (mut rows, mut text) = (statement.query([])?, Text::new(c));
    while let Some(row) = rows.next()? {
        text.add(row.get(0)?, row.get_ref(1)?.as_blob()?)?;
    }
    text.end()?;
    drop(rows);
    c.execute_batch("DELETE FROM name_new")
}

/// A text that is being put together.
struct Text<'c> {
    c: &'c Connection,
    dir: i64,
    names: String,
    count: usize,
}

impl<'c> Text<'c> {
    fn new(c: &'c Connection) -> Self {
        Self { c, dir: 0, names: String::new(), count: 0 }
    }

    fn add(&mut self, dir: i64, name: &[u8]) -> rusqlite::Result<()> {
        if dir != self.dir || self.count == TEXT_NAMES {
            self.end()?;
            self.dir = dir;
        }
        self.names.extend(String::from_utf8_lossy(name).chars().map(folded));
        self.names.push('\n');
        self.count += 1;
        Ok(())
    }

    fn end(&mut self) -> rusqlite::Result<()> {
        if self.count > 0 {
            let id = self.c.prepare_cached("INSERT INTO name_doc(dir) VALUES (?1)")?.insert([self.dir])?;
            self.c
                .prepare_cached("INSERT INTO name_text(rowid, names) VALUES (?1, ?2)")?
                .execute(params![id, self.names])?;
        }
        self.names.clear();
        self.count = 0;
        Ok(())
    }
}

impl Writer {
    /// Makes the index of names, or goes on with one that was not finished; `anew`: an old one is dropped first. Calls `each` with the
    /// directories that are done after every part. Returns how many this call put in.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`]; then what is done stays, and the next call goes on from there.
    pub fn index_names(&mut self, anew: bool, each: &mut dyn FnMut(u64)) -> Result<u64, Error> {
        let doing = "making the index of names";
        self.change(doing, |c| {
            if anew {
                c.execute_batch(DROP)?;
            }
            if exists(c)? { Ok(()) } else { create(c) }
        })?;
        let mut directories = 0;
        while let Some(count) = self.change(doing, fill_part)? {
            directories += count;
            each(directories);
        }
        self.change(doing, put_new)?;
        Ok(directories)
    }

    /// Removes the index of names; returns whether there was one.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn drop_name_index(&mut self) -> Result<bool, Error> {
        self.change("removing the index of names", |c| {
            let was_there = exists(c)?;
            c.execute_batch(DROP)?;
            Ok(was_there)
        })
    }
}

/// Puts the names of some directories in; returns how many, none: nothing is left.
fn fill_part(c: &Connection) -> rusqlite::Result<Option<u64>> {
    let upto: Option<i64> = c.query_row("SELECT upto FROM name_fill", [], |row| row.get(0))?;
    let Some(mut upto) = upto else { return Ok(None) };
    let (began, mut directories) = (Instant::now(), 0);
    let mut text = Text::new(c);
    while began.elapsed() < TURN {
        let next = "SELECT min(parent) FROM dirent WHERE parent > ?1";
        let next: Option<i64> = c.prepare_cached(next)?.query_row([upto], |row| row.get(0))?;
        let Some(dir) = next else {
            text.end()?;
            c.execute("UPDATE name_fill SET upto = NULL", [])?;
            return Ok(Some(directories));
        };
        let mut statement = c.prepare_cached("SELECT DISTINCT name FROM dirent WHERE parent = ?1")?;
        let mut rows = statement.query([dir])?;
        while let Some(row) = rows.next()? {
            text.add(dir, row.get_ref(0)?.as_blob()?)?;
        }
        (upto, directories) = (dir, directories + 1);
    }
    text.end()?;
    c.execute("UPDATE name_fill SET upto = ?1", [upto])?;
    Ok(Some(directories))
}

impl Reader {
    /// Returns the directories of `source` that may ever have had a name in which all of `pieces` are, each of three letters or more, small
    /// ones; none if there is no index, or it is not finished.
    ///
    /// **Cost:** a look-up for each trigram, and the names that were written since the last generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn directories_with(&self, source: SourceId, pieces: &[String]) -> Result<Option<Vec<NodeId>>, Error> {
        let grams: BTreeSet<String> = pieces.iter().flat_map(|piece| grams(piece)).collect();
        if grams.is_empty() {
            return Ok(None);
        }
        self.run("looking names up", |c| {
            if !exists(c)? {
                return Ok(None);
            }
            let upto = c.query_row("SELECT upto FROM name_fill", [], |row| row.get::<_, Option<i64>>(0)).optional()?;
            if upto != Some(None) {
                return Ok(None);
            }
            let all = grams.iter().map(|gram| format!("\"{}\"", gram.replace('"', "\"\"")));
            let asked = all.collect::<Vec<_>>().join(" AND ");
            let mut found = BTreeSet::new();
            let mut statement = c.prepare_cached(WITH)?;
            let mut rows = statement.query(params![asked, source.0])?;
            while let Some(row) = rows.next()? {
                found.insert(NodeId(row.get(0)?));
            }
            let mut statement = c.prepare_cached(NEW)?;
            let mut rows = statement.query([source.0])?;
            while let Some(row) = rows.next()? {
                let name: String = String::from_utf8_lossy(row.get_ref(1)?.as_blob()?).chars().map(folded).collect();
                if pieces.iter().all(|piece| name.contains(piece.as_str())) {
                    found.insert(NodeId(row.get(0)?));
                }
            }
            Ok(Some(found.into_iter().collect()))
        })
    }
}

const WITH: &str = "SELECT d.dir FROM name_text t JOIN name_doc d ON d.id = t.rowid JOIN node_block b ON b.block = d.dir >> 16 \
     WHERE name_text MATCH ?1 AND b.source = ?2";
const NEW: &str =
    "SELECT n.parent, n.name FROM name_new n JOIN node_block b ON b.block = n.parent >> 16 WHERE b.source = ?1";

/// Returns the trigrams of a text.
fn grams(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.windows(GRAM).map(|gram| gram.iter().collect()).collect()
}
