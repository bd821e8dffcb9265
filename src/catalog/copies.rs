//! What was seen of copies and of the stores that they lie in.
//!
//! Promises: whatever is written here was seen at the time that is written beside it. A copy whose generation was forgotten stays
//! known for as long as it is there: such a row is why it is not taken for a new one. Damage that was found once is not taken
//! back by a look at the root. Never looks at a disk.

use super::generation::GenerationWriter;
use super::generation_rows::Ids;
use super::reader::Reader;
use super::rows::read_root;
use super::tables::insert_odd_name;
use super::writer::Writer;
use super::{Error, SourceRow};
use crate::model::manifest::Edit;
use crate::model::{CopyId, CopyState, ObjectId, Reach, SeenCopy, SeenRoot, SourceId, StoreId, Time};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A copy as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCopy {
    /// Its row.
    pub id: CopyId,
    /// What lies there.
    pub object: ObjectId,
    /// The instant of the generation that it was indexed as.
    pub at: Time,
    /// Whether that generation was forgotten.
    pub forgotten: bool,
    /// The store that it lies in.
    pub store: StoreId,
    /// Where that is.
    pub store_path: PathBuf,
    /// The directory or file of the copy, absolute.
    pub path: PathBuf,
    /// What was last seen of it.
    pub state: CopyState,
    /// When it was last looked at; none: not since it was indexed.
    pub looked_at: Option<Time>,
    /// Its root; none: not looked at yet.
    pub root: Option<SeenRoot>,
    /// As [`SeenCopy::newest_ctime_ns`]; none: not walked by a program that notes it.
    pub newest_ctime_ns: Option<i64>,
    /// As [`SeenCopy::settled`].
    pub settled: bool,
    /// The mtime of its root, in whole seconds, as it was indexed; none where the generation is forgotten.
    pub root_mtime_s: Option<i64>,
    /// The nanoseconds of that mtime.
    pub root_mtime_ns: Option<u32>,
    /// What it has its other bytes in: an image that is on top of another one.
    pub parent: Option<ObjectId>,
}

impl KnownCopy {
    /// Returns its path below its store.
    pub fn below(&self) -> &Path {
        self.path.strip_prefix(&self.store_path).unwrap_or(Path::new(""))
    }
}

/// A store as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownStore {
    /// Its row.
    pub id: StoreId,
    /// Its directory, absolute.
    pub path: PathBuf,
    /// What it is known by; none: not looked at yet.
    pub mark: Option<Vec<u8>>,
}

/// What was seen of stores and copies at one moment.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// Stores, whether they could be looked at, and the mark of those that had none.
    pub stores: Vec<(StoreId, Reach, Option<Vec<u8>>)>,
    /// Copies in stores that could be looked at, and their roots where something of these was not known.
    pub copies: Vec<(CopyId, CopyState, Option<SeenRoot>)>,
}

impl Reader {
    /// Returns the copies of all generations of `source`, and of forgotten ones, oldest first.
    ///
    /// One query; a row a copy.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn known_copies(&self, source: &SourceRow) -> Result<Vec<KnownCopy>, Error> {
        self.run("reading what is known of copies", |c| known_copies(c, source))
    }

    /// Returns the stores that copies of `source` lie in, and those of `folders` that are stores.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn known_stores(&self, source: SourceId, folders: &[&Path]) -> Result<Vec<KnownStore>, Error> {
        self.run("reading what is known of stores", |c| known_stores(c, source, folders))
    }
}

fn known_stores(c: &Connection, source: SourceId, folders: &[&Path]) -> rusqlite::Result<Vec<KnownStore>> {
    let mut statement = c.prepare_cached("SELECT id, path, mark FROM store ORDER BY path")?;
    let mut stores: Vec<KnownStore> = statement.query_map([], known_store)?.collect::<Result<_, _>>()?;
    let mut statement =
        c.prepare_cached("SELECT DISTINCT c.store FROM object o JOIN copy c ON c.object = o.id WHERE o.source = ?1")?;
    let lived_in: HashSet<StoreId> =
        statement.query_map([source.0], |row| row.get(0).map(StoreId))?.collect::<Result<_, _>>()?;
    stores.retain(|store| lived_in.contains(&store.id) || folders.contains(&store.path.as_path()));
    Ok(stores)
}

fn known_store(row: &Row<'_>) -> rusqlite::Result<KnownStore> {
    Ok(KnownStore { id: StoreId(row.get(0)?), path: PathBuf::from(OsString::from_vec(row.get(1)?)), mark: row.get(2)? })
}

impl Writer {
    /// Returns what [`Reader::known_copies`] does.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn known_copies(&self, source: &SourceRow) -> Result<Vec<KnownCopy>, Error> {
        self.sql("reading what is known of copies", |c| known_copies(c, source))
    }

    /// Tells whether some file of a generation of `source` at `at` has its bytes in `object`.
    ///
    /// One query over the versions with bytes there, until one lives.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn has_bytes_in(&self, object: ObjectId, at: Time) -> Result<bool, Error> {
        self.sql("reading what an object holds", |c| {
            c.query_row(
                "SELECT EXISTS (SELECT 1 FROM inode i WHERE i.place = 2 AND i.content = ?1 AND i.born <= ?2 \
                 AND NOT EXISTS (SELECT 1 FROM inode l WHERE l.node = i.node AND l.born > i.born AND l.born <= ?2) \
                 AND EXISTS (SELECT 1 FROM dirent d WHERE d.node = i.node AND d.born <= ?2 AND d.died > ?2))",
                params![object.0, at.0],
                |row| row.get(0),
            )
        })
    }

    /// Writes down what was seen of stores and copies. A copy that is seen in another state than before has it since now.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`]; then nothing of it is written.
    pub fn write_looked(&mut self, looked: &Looked, now: Time) -> Result<(), Error> {
        self.change("writing what was seen of copies", |c| {
            let mut statement = c.prepare_cached(
                "UPDATE store SET reach = ?2, reach_at = ?3, mark = coalesce(?4, mark) WHERE id = ?1",
            )?;
            for (store, reach, mark) in &looked.stores {
                statement.execute(params![store.0, reach.word(), now.0, mark])?;
            }
            let mut statement = c.prepare_cached(
                "UPDATE copy SET state_since = CASE WHEN state = ?2 THEN coalesce(state_since, ?3) ELSE ?3 END, state = ?2, \
                 looked_at = ?3, root_ino = coalesce(?4, root_ino), root_btime = coalesce(?5, root_btime), \
                 root_ctime = coalesce(?6, root_ctime), root_filesystem = coalesce(?7, root_filesystem) WHERE id = ?1",
            )?;
            for (copy, state, root) in &looked.copies {
                let (inode, born, ctime, filesystem) = columns(*root);
                statement.execute(params![copy.0, state.word(), now.0, inode, born, ctime, filesystem])?;
            }
            Ok(())
        })
    }

    /// Writes down that a copy is at `path` below `store`, where `root` was seen, and with it the object that it had before it was
    /// indexed again, if that stayed.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn relocate_copy(&mut self, copy: CopyId, store: StoreId, path: &[u8], root: SeenRoot) -> Result<(), Error> {
        self.change("moving a copy", |c| {
            insert_odd_name(c, path)?;
            let (inode, born, ctime, filesystem) = columns(Some(root));
            c.execute(
                "UPDATE copy SET store = ?2, path = ?3, root_ino = ?4, root_btime = ?5, root_ctime = ?6, root_filesystem = ?7 WHERE id IN \
                 (SELECT c.id FROM copy me JOIN object mine ON mine.id = me.object \
                  JOIN object o ON o.source = mine.source AND o.at = mine.at JOIN copy c ON c.object = o.id \
                  WHERE me.id = ?1 AND c.store = me.store AND c.path = me.path)",
                params![copy.0, store.0, path, inode, born, ctime, filesystem],
            )
            .map(drop)
        })
    }

    /// Writes down what a walk saw of a copy that is as it was indexed.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn write_walked(&mut self, copy: CopyId, seen: &SeenCopy) -> Result<(), Error> {
        self.change("writing what was seen of a copy", |c| write_seen(c, "id", copy.0, seen))
    }

    /// Writes down that a copy was seen to be in `state`.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn set_copy_state(&mut self, copy: CopyId, state: CopyState, now: Time) -> Result<(), Error> {
        let looked = Looked { copies: vec![(copy, state, None)], ..Looked::default() };
        self.write_looked(&looked, now)
    }

    /// Lets go of a copy whose generation is forgotten: what is there, if anything, is a new copy from now on. An object that others
    /// have bytes in stays.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn drop_forgotten(&mut self, copy: &KnownCopy) -> Result<(), Error> {
        assert!(copy.forgotten, "the copy of a generation goes with it");
        self.change("letting go of a forgotten copy", |c| {
            c.execute("DELETE FROM copy WHERE id = ?1", [copy.id.0])?;
            c.execute(
                "DELETE FROM object WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM copy WHERE object = ?1) \
                 AND NOT EXISTS (SELECT 1 FROM inode WHERE place = 2 AND content = ?1) \
                 AND NOT EXISTS (SELECT 1 FROM object o WHERE o.parent = ?1)",
                [copy.object.0],
            )?;
            for table in ["object_path", "disk_layer", "disk_file"] {
                c.execute(
                    &format!(
                        "DELETE FROM {table} WHERE object = ?1 AND NOT EXISTS (SELECT 1 FROM object WHERE id = ?1)"
                    ),
                    [copy.object.0],
                )?;
            }
            Ok(())
        })
    }

    /// As [`Reader::known_stores`].
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn known_stores(&self, source: SourceId, folders: &[&Path]) -> Result<Vec<KnownStore>, Error> {
        self.sql("reading what is known of stores", |c| known_stores(c, source, folders))
    }

    /// Has the directory at `path` be taken for the store as it is when it is looked at next.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn drop_mark(&mut self, path: &Path) -> Result<(), Error> {
        self.change("changing a store", |c| {
            c.execute("UPDATE store SET mark = NULL WHERE path = ?1", [path.as_os_str().as_bytes()]).map(drop)
        })
    }
}

impl GenerationWriter<'_> {
    /// Says what the walk saw of the copy that this generation is of.
    pub fn walked(&mut self, seen: SeenCopy) {
        self.tee_later(&Edit::Walked(seen));
        self.walked = Some(seen);
    }

    /// Writes that down.
    pub(super) fn write_walked(&mut self, ids: Ids, seen: &SeenCopy) -> Result<(), Error> {
        self.write("writing what was seen of a copy", |c| write_seen(c, "object", ids.object.0, seen))
    }
}

fn write_seen(c: &Connection, key: &str, id: i64, seen: &SeenCopy) -> rusqlite::Result<()> {
    let (inode, born, ctime, filesystem) = columns(Some(seen.root));
    c.prepare_cached(&format!(
        "UPDATE copy SET state_since = CASE WHEN state IN ('present', 'damaged') THEN coalesce(state_since, ?2) ELSE ?2 END, \
         state = CASE state WHEN 'damaged' THEN state ELSE 'present' END, \
         looked_at = ?2, root_ino = ?3, root_btime = ?4, root_ctime = ?5, newest_ctime = ?6, settled = ?7, \
         root_filesystem = ?8 WHERE {key} = ?1"
    ))?
    .execute(params![id, seen.at.0, inode, born, ctime, seen.newest_ctime_ns, seen.settled, filesystem])
    .map(drop)
}

/// Inode number, birth time, ctime and file system.
type RootColumns = (Option<i64>, Option<i64>, Option<i64>, Option<i64>);

fn columns(root: Option<SeenRoot>) -> RootColumns {
    let filesystem = root.and_then(|r| r.filesystem).map(|id| id.0 as i64);
    (root.map(|r| r.inode as i64), root.map(|r| r.born_ns), root.map(|r| r.ctime_ns), filesystem)
}

fn known_copies(c: &Connection, source: &SourceRow) -> rusqlite::Result<Vec<KnownCopy>> {
    let mut statement = c.prepare_cached(
        "SELECT c.id, c.object, o.at, g.id IS NULL, c.store, t.path, c.path, c.state, c.looked_at, c.root_ino, c.root_btime, \
         c.root_ctime, c.root_filesystem, c.newest_ctime, c.settled, \
         (SELECT i.mtime FROM inode i WHERE g.id IS NOT NULL AND i.node = ?2 AND i.born <= o.at ORDER BY i.born DESC LIMIT 1), \
         o.parent, \
         (SELECT i.mtime_ns FROM inode i WHERE g.id IS NOT NULL AND i.node = ?2 AND i.born <= o.at ORDER BY i.born DESC LIMIT 1) \
         FROM object o JOIN copy c ON c.object = o.id JOIN store t ON t.id = c.store LEFT JOIN generation g ON g.id = o.generation \
         WHERE o.source = ?1 AND (g.id IS NULL OR g.status = 'published') ORDER BY o.at, c.id",
    )?;
    let rows = statement.query_map([source.id.0, source.root.0], |row| {
        let store_path = PathBuf::from(OsString::from_vec(row.get(5)?));
        let below: Vec<u8> = row.get(6)?;
        let path = if below.is_empty() { store_path.clone() } else { store_path.join(OsString::from_vec(below)) };
        let state: String = row.get(7)?;
        Ok(KnownCopy {
            id: CopyId(row.get(0)?),
            object: ObjectId(row.get(1)?),
            at: Time(row.get(2)?),
            forgotten: row.get(3)?,
            store: StoreId(row.get(4)?),
            store_path,
            path,
            state: CopyState::from_word(&state).ok_or_else(|| unknown_word(7))?,
            looked_at: row.get::<_, Option<i64>>(8)?.map(Time),
            root: read_root(row, 9)?,
            newest_ctime_ns: row.get(13)?,
            settled: row.get(14)?,
            root_mtime_s: row.get(15)?,
            parent: row.get::<_, Option<i64>>(16)?.map(ObjectId),
            root_mtime_ns: row.get(17)?,
        })
    })?;
    let mut copies: Vec<KnownCopy> = rows.collect::<rusqlite::Result<_>>()?;
    // What was indexed again has an object of its own; that of before may stay for the sake of others. A copy of another date that
    // was last seen under that name says nothing: names rotate.
    let key = |copy: &KnownCopy| (copy.at, copy.path.clone());
    let lived: HashSet<(Time, PathBuf)> = copies.iter().filter(|copy| !copy.forgotten).map(key).collect();
    copies.retain(|copy| !copy.forgotten || !lived.contains(&key(copy)));
    Ok(copies)
}

fn unknown_word(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, "no word of the catalog".into())
}
