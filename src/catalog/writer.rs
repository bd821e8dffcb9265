//! Writing the catalog: one writer at a time, one generation at a time, invisible until published.
//!
//! Promises: [`Writer::open`] holds the catalog's lock for as long as it lives and first removes what a
//! killed run left. A generation newer than all others is written in chunks of commits: its rows are born
//! at an instant that no reader asks for, and a name that it closes still lives at every older one. A
//! generation put in between two others is written in one transaction, since the rows of the newer one are
//! split. [`GenerationWriter::publish`] is one small transaction, synced to disk.
//! A dropped [`GenerationWriter`] rolls back what it had not committed; [`GenerationWriter::abandon`]
//! removes the rest at once, the next [`Writer::open`] otherwise.
//! Never reads a file of a backup.

use super::rows::{KindNumber, NodeRow, Perm, Place};
use super::{CopyRow, DirEntry, Error, SourceRow, connect, interval, reader};
use crate::model::{
    Attrs, EntryName, FOREVER, FileKey, Finding, FindingKind, GenerationId, Kind, Level, NodeId, ObjectId, RelPath,
    Scan, SourceId, SourceKind, Status, StoreId, Time, escape_bytes,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, Write as _};
use std::ops::{BitOr, BitOrAssign};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Node numbers are given out to sources in blocks of 2^16.
const BLOCK_BITS: u32 = 16;
/// Node numbers stay below 2^40: the upper 24 bits of an inode number are the view.
const NODE_MAX: i64 = 1 << 40;
/// Rows between two commits of a generation that nobody can see yet.
const CHUNK_ROWS: u32 = 50_000;
/// A directory turns hot when its dead names outnumber the living `HOT_RATIO` times and by `HOT_MIN` more:
/// a dead row costs a scan 48 ns and a living one an inode seek of about 1.5 us, so up to there an index
/// would not pay.
const HOT_RATIO: i64 = 32;
const HOT_MIN: i64 = 1024;

/// What a generation did to a node, as the bits of `change.op`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeOps(pub i64);

impl ChangeOps {
    /// The node is new.
    pub const CREATED: Self = Self(1);
    /// Its bytes changed, as far as size, time and place tell.
    pub const CONTENT: Self = Self(2);
    /// Owner, rights, attributes or link count changed.
    pub const ATTRIBUTES: Self = Self(4);
    /// It got a name.
    pub const LINKED: Self = Self(8);
    /// It lost a name.
    pub const UNLINKED: Self = Self(16);

    /// Returns what differs between two versions of one node.
    pub fn between(old: &NodeRow, new: &NodeRow) -> Self {
        let mut ops = Self::default();
        if !old.same_content(new) {
            ops |= Self::CONTENT;
        }
        if !old.same_attributes(new) {
            ops |= Self::ATTRIBUTES;
        }
        ops
    }

    /// Tells whether nothing changed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for ChangeOps {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ChangeOps {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A source to be added.
#[derive(Clone, Debug)]
pub struct NewSource<'a> {
    /// Its directory name in every view.
    pub name: &'a str,
    /// Its kind.
    pub kind: SourceKind,
    /// JSON that its kind understands.
    pub settings: &'a str,
    /// Now.
    pub added_at: Time,
}

/// What an index run counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Names, without the root.
    pub entries: u64,
    /// Bytes of regular files, hard links counted once.
    pub size_bytes: u64,
    /// Findings that make the generation partial.
    pub losses: u64,
    /// Other findings.
    pub notices: u64,
    /// Those of them that are gaps.
    pub gaps: u64,
    /// How long it took, in milliseconds.
    pub index_ms: u64,
}

impl Counts {
    /// Counts a finding of this kind.
    pub fn count(&mut self, kind: FindingKind) {
        if kind.is_loss() {
            self.losses += 1;
        } else {
            self.notices += 1;
        }
        self.gaps += u64::from(kind == FindingKind::Gap);
    }
}

/// The newest published generation of a source, for the one that comes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Its instant.
    pub at: Time,
    /// What it left for the next one ([`GenerationWriter::set_resume`]).
    pub state: Option<String>,
    /// Names in it.
    pub entries: u64,
    /// Bytes of its regular files.
    pub size_bytes: u64,
}

/// The one writer of a catalog.
pub struct Writer {
    connection: Connection,
    path: PathBuf,
    cleaned: Vec<(String, Time)>,
    /// Locked while the writer lives.
    _lock: Lock,
}

/// The catalog's lock. Let go by name: a descriptor that a child process of another thread inherited, between `fork` and
/// `exec`, would hold it on.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Else it goes with the last descriptor.
        let _ = self.0.unlock();
    }
}

impl Writer {
    /// Makes a new, empty catalog at `path`.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NetworkFilesystem`], [`Error::Io`], [`Error::Sqlite`].
    pub fn create(path: &Path) -> Result<(), Error> {
        connect::create(path)
    }

    /// Opens the catalog at `path` for writing and removes what killed runs left in it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process writes; as [`super::Reader::open`] otherwise.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Before anything is made beside it: what is not a catalog gets no lock file.
        drop(connect::open_read_only(path)?);
        let lock = take_lock(path)?;
        let connection = connect::open_writing(path)?;
        let mut writer = Self { connection, path: path.to_owned(), cleaned: Vec::new(), _lock: lock };
        writer.clean_up()?;
        Ok(writer)
    }

    /// Returns the unfinished generations that [`Writer::open`] removed: source and instant.
    pub fn cleaned(&self) -> &[(String, Time)] {
        &self.cleaned
    }

    fn clean_up(&mut self) -> Result<(), Error> {
        let doing = "removing an unfinished generation";
        let unfinished: Vec<(i64, i64, i64, String)> = self.sql(doing, |c| {
            let mut statement = c.prepare(
                "SELECT g.id, g.source, g.taken_at, s.name FROM generation g JOIN source s ON s.id = g.source WHERE g.status = 'creating'",
            )?;
            statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?.collect()
        })?;
        for (generation, source, at, name) in unfinished {
            self.sql(doing, |c| in_transaction(c, |c| undo(c, generation, source, at)))?;
            self.cleaned.push((name, Time(at)));
        }
        Ok(())
    }

    pub(super) fn sql<T>(
        &self,
        doing: &'static str,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        act(&self.connection).map_err(|e| Error::sqlite(doing, &self.path, e))
    }

    /// Adds a source and returns its id.
    ///
    /// # Errors
    /// [`Error::SourceName`], [`Error::SourceExists`], [`Error::Sqlite`].
    pub fn add_source(&mut self, new: &NewSource<'_>) -> Result<SourceId, Error> {
        check_source_name(new.name)?;
        let taken = self.sql("adding a source", |c| {
            c.query_row("SELECT EXISTS(SELECT 1 FROM source WHERE name = ?1)", [new.name], |r| r.get::<_, bool>(0))
        })?;
        if taken {
            return Err(Error::SourceExists { name: new.name.to_owned() });
        }
        self.sql("adding a source", |c| {
            in_transaction(c, |c| {
                let block = next_block(c)?;
                let root = block << BLOCK_BITS;
                c.execute(
                    "INSERT INTO source(uuid, name, kind, settings, root, next_node, added_at) VALUES (randomblob(16), ?1, ?2, ?3, ?4, ?5, ?6)",
                    params![new.name, new.kind.word(), new.settings, root, root + 1, new.added_at.0],
                )?;
                let id = c.last_insert_rowid();
                c.execute("INSERT INTO node_block(block, source) VALUES (?1, ?2)", [block, id])?;
                Ok(SourceId(id))
            })
        })
    }

    /// Replaces the settings of a source.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn set_settings(&mut self, source: SourceId, settings: &str) -> Result<(), Error> {
        self.sql("changing a source", |c| {
            c.execute("UPDATE source SET settings = ?2 WHERE id = ?1", params![source.0, settings]).map(drop)
        })
    }

    /// Forgets a source and all its generations; their copies are not touched.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn remove_source(&mut self, source: SourceId) -> Result<(), Error> {
        self.sql("removing a source", |c| {
            in_transaction(c, |c| {
                delete_tree(c, source.0, None)?;
                c.execute("DELETE FROM identity WHERE source = ?1", [source.0])?;
                for table in ["change", "finding", "pin"] {
                    c.execute(&format!("DELETE FROM {table} WHERE source = ?1"), [source.0])?;
                }
                for table in ["object_path", "disk_layer", "disk_file", "copy"] {
                    c.execute(
                        &format!("DELETE FROM {table} WHERE object IN (SELECT id FROM object WHERE source = ?1)"),
                        [source.0],
                    )?;
                }
                c.execute("DELETE FROM object WHERE source = ?1", [source.0])?;
                c.execute(
                    "DELETE FROM disk_volume WHERE generation IN (SELECT id FROM generation WHERE source = ?1)",
                    [source.0],
                )?;
                c.execute("DELETE FROM generation WHERE source = ?1", [source.0])?;
                // Its node numbers are not given out again.
                c.execute("DELETE FROM node_block WHERE source = ?1", [source.0])?;
                c.execute("DELETE FROM source WHERE id = ?1", [source.0]).map(drop)
            })
        })
    }

    /// Returns the store at the absolute directory `path`, adding it if it is new.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn store_at(&mut self, path: &Path) -> Result<StoreId, Error> {
        self.sql("adding a store", |c| store_at(c, path))
    }

    /// Records that the copy of the generation of `source` at `at` now lies at `path` in `store` and nowhere else.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn move_copy(&mut self, source: SourceId, at: Time, store: StoreId, path: &[u8]) -> Result<(), Error> {
        self.sql("moving a copy", |c| {
            in_transaction(c, |c| {
                let object: i64 = c.query_row(
                    "SELECT o.id FROM generation g JOIN object o ON o.generation = g.id WHERE g.source = ?1 AND g.taken_at = ?2",
                    [source.0, at.0],
                    |r| r.get(0),
                )?;
                c.execute("DELETE FROM copy WHERE object = ?1", [object])?;
                insert_odd_name(c, path)?;
                c.execute("INSERT INTO copy(object, store, path) VALUES (?1, ?2, ?3)", params![object, store.0, path])
                    .map(drop)
            })
        })
    }

    /// Returns the newest published generation of `source`, and where it says that the next one goes on.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn resume(&self, source: SourceId) -> Result<Option<Resume>, Error> {
        self.sql("finding where a source goes on", |c| {
            c.query_row(
                "SELECT taken_at, resume, entries, size_bytes FROM generation \
                 WHERE source = ?1 AND status = 'published' ORDER BY taken_at DESC LIMIT 1",
                [source.0],
                |r| {
                    Ok(Resume {
                        at: Time(r.get(0)?),
                        state: r.get(1)?,
                        entries: r.get::<_, Option<i64>>(2)?.unwrap_or(0) as u64,
                        size_bytes: r.get::<_, Option<i64>>(3)?.unwrap_or(0) as u64,
                    })
                },
            )
            .optional()
        })
    }

    /// Returns the instants of the published generations of `source`, oldest first.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn instants(&self, source: SourceId) -> Result<Vec<Time>, Error> {
        self.sql("listing generations", |c| {
            let mut statement = c.prepare_cached(
                "SELECT taken_at FROM generation WHERE source = ?1 AND status = 'published' ORDER BY taken_at",
            )?;
            statement.query_map([source.0], |r| r.get(0).map(Time))?.collect()
        })
    }

    /// Returns the copies of the generation of `source` at `at`, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn copies(&self, source: SourceId, at: Time) -> Result<Vec<CopyRow>, Error> {
        self.sql("finding copies", |c| reader::copies(c, source, at))
    }

    /// Begins the generation of `source` at `at`, whose bytes lie at `path` in `store`.
    ///
    /// It may lie before, between or after the generations that are there.
    ///
    /// # Errors
    /// [`Error::GenerationExists`] if the source has one of this second; [`Error::Sqlite`].
    pub fn begin(
        &mut self,
        source: &SourceRow,
        at: Time,
        level: Level,
        copy: (StoreId, &[u8]),
        now: Time,
    ) -> Result<GenerationWriter<'_>, Error> {
        let doing = "beginning a generation";
        let taken = self.sql(doing, |c| {
            c.query_row(
                "SELECT EXISTS(SELECT 1 FROM generation WHERE source = ?1 AND taken_at = ?2)",
                [source.id.0, at.0],
                |r| r.get::<_, bool>(0),
            )
        })?;
        if taken {
            return Err(Error::GenerationExists { source_name: source.name.clone(), at });
        }
        let neighbour = |pick: &str| {
            self.sql(doing, |c| {
                c.query_row(
                    &format!("SELECT {pick} FROM generation WHERE source = ?1 AND status = 'published'"),
                    [source.id.0, at.0],
                    |r| r.get::<_, Option<i64>>(0),
                )
            })
        };
        let previous = neighbour("max(CASE WHEN taken_at < ?2 THEN taken_at END)")?.map(Time);
        let next = neighbour("min(CASE WHEN taken_at > ?2 THEN taken_at END)")?.map(Time);
        // Chunked commits of the append are not synced one by one; what must not be torn is synced whole.
        let synchronous = if next.is_some() { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
        self.sql(doing, |c| c.execute_batch(synchronous))?;
        self.sql(doing, |c| c.execute_batch("BEGIN IMMEDIATE"))?;
        let begun = self.sql(doing, |c| {
            let first_content: i64 = c.query_row("SELECT coalesce(max(id), 0) + 1 FROM content", [], |r| r.get(0))?;
            let (number, sequence): (i64, i64) = c.query_row(
                "UPDATE source SET last_number = last_number + 1, last_sequence = last_sequence + 1 WHERE id = ?1 \
                 RETURNING last_number, last_sequence",
                [source.id.0],
                |r| Ok((r.get(0)?, r.get(1)?)),
            )?;
            c.execute(
                "INSERT INTO generation(source, taken_at, number, sequence, level, status, indexed_at, first_content) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    source.id.0,
                    at.0,
                    number,
                    sequence,
                    level.word(),
                    Status::Creating.word(),
                    now.0,
                    first_content
                ],
            )?;
            let generation = c.last_insert_rowid();
            insert_odd_name(c, copy.1)?;
            c.execute(
                "INSERT INTO object(source, at, generation, kind, is_full) VALUES (?1, ?2, ?3, 'tree', ?4)",
                params![source.id.0, at.0, generation, level == Level::Full],
            )?;
            let object = c.last_insert_rowid();
            c.execute("INSERT INTO copy(object, store, path) VALUES (?1, ?2, ?3)", params![object, copy.0.0, copy.1])?;
            let next_node: i64 =
                c.query_row("SELECT next_node FROM source WHERE id = ?1", [source.id.0], |r| r.get(0))?;
            let hot = reader::hot_directories(c)?;
            Ok((generation, ObjectId(object), sequence, next_node, hot))
        });
        let (generation, object, sequence, next_node, hot) = match begun {
            Ok(begun) => begun,
            Err(e) => {
                // The error that is told is the first one.
                let _ = self.connection.execute_batch("ROLLBACK");
                return Err(e);
            }
        };
        let mut writer = GenerationWriter {
            connection: &self.connection,
            path: &self.path,
            source: source.id,
            root: source.root,
            generation: GenerationId(generation),
            object,
            sequence,
            at,
            previous,
            next,
            list_sql: reader::list_sql(),
            next_node,
            chunk_rows: 0,
            hot,
            dead: HashMap::new(),
            perms: HashMap::new(),
            perms_with_xattrs: HashSet::new(),
            xattrs: HashMap::new(),
            findings: 0,
            keeps_ctime: false,
            ended: false,
        };
        writer.commit_if_unseen()?;
        Ok(writer)
    }
}

/// Writes one generation. Every method is told the state at this generation's instant; what it means for
/// the neighbours in time is worked out here.
pub struct GenerationWriter<'w> {
    pub(super) connection: &'w Connection,
    pub(super) path: &'w Path,
    pub(super) source: SourceId,
    root: NodeId,
    pub(super) generation: GenerationId,
    pub(super) object: ObjectId,
    sequence: i64,
    pub(super) at: Time,
    pub(super) previous: Option<Time>,
    next: Option<Time>,
    list_sql: String,
    next_node: i64,
    chunk_rows: u32,
    hot: HashSet<i64>,
    dead: HashMap<i64, i64>,
    perms: HashMap<Perm, i64>,
    perms_with_xattrs: HashSet<i64>,
    xattrs: HashMap<[u8; 32], i64>,
    findings: i64,
    /// Whether copies keep the ctime: then a changed one is a changed attribute.
    keeps_ctime: bool,
    ended: bool,
}

impl GenerationWriter<'_> {
    /// Returns the top directory of the source.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// Returns the object that holds the bytes of this generation.
    pub fn object(&self) -> ObjectId {
        self.object
    }

    /// Returns the instant that `object` was made for, if it is there.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn object_at(&self, object: ObjectId) -> Result<Option<Time>, Error> {
        self.sql("reading an object", |c| Ok(reader::object(c, object)?.map(|row| row.at)))
    }

    /// Returns the instant of this generation.
    pub fn at(&self) -> Time {
        self.at
    }

    /// Returns the instant of the published generation before this one, the base of all comparisons.
    pub fn previous(&self) -> Option<Time> {
        self.previous
    }

    /// Returns the directory of the first copy of the previous generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_copy(&self) -> Result<Option<PathBuf>, Error> {
        let Some(previous) = self.previous else { return Ok(None) };
        let copies = self.sql("finding copies", |c| reader::copies(c, self.source, previous))?;
        Ok(copies.into_iter().next().map(|copy| copy.path))
    }

    /// Tells whether a published generation comes after this one.
    pub fn is_late(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn sql<T>(
        &self,
        doing: &'static str,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        act(self.connection).map_err(|e| Error::sqlite(doing, self.path, e))
    }

    fn wrote(&mut self, rows: u32) -> Result<(), Error> {
        self.chunk_rows += rows;
        if self.chunk_rows >= CHUNK_ROWS { self.commit_if_unseen() } else { Ok(()) }
    }

    /// Commits what was written so far where no reader can see it; in between two generations it waits.
    fn commit_if_unseen(&mut self) -> Result<(), Error> {
        self.chunk_rows = 0;
        if self.is_late() {
            return Ok(());
        }
        self.flush()?;
        self.sql("committing a chunk", |c| c.execute_batch("COMMIT; BEGIN IMMEDIATE"))
    }

    /// Writes the counters that are kept in memory between commits.
    fn flush(&mut self) -> Result<(), Error> {
        let dead = std::mem::take(&mut self.dead);
        self.sql("counting dead names", |c| {
            c.prepare_cached("UPDATE source SET next_node = ?2 WHERE id = ?1")?.execute([self.source.0, self.next_node])?;
            let mut statement = c.prepare_cached(
                "INSERT INTO directory_history(dir, dead) VALUES (?1, ?2) ON CONFLICT(dir) DO UPDATE SET dead = dead + excluded.dead",
            )?;
            for (dir, count) in dead {
                statement.execute([dir, count])?;
            }
            Ok(())
        })
    }

    /// Returns a number for a node that no generation has had.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn new_node(&mut self) -> Result<NodeId, Error> {
        if self.next_node & ((1 << BLOCK_BITS) - 1) == 0 {
            // The block is used up (its first number is the root's or was given out when it was taken).
            self.next_node = self.sql("numbering nodes", |c| {
                let block = next_block(c)?;
                c.execute("INSERT INTO node_block(block, source) VALUES (?1, ?2)", [block, self.source.0])?;
                Ok(block << BLOCK_BITS)
            })?;
        }
        let node = self.next_node;
        assert!(node < NODE_MAX, "a catalog holds 2^40 nodes");
        self.next_node += 1;
        Ok(NodeId(node))
    }

    /// Calls `each` for every entry of `dir` as of the previous generation, in name order.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn list_previous(&self, dir: NodeId, each: impl FnMut(DirEntry)) -> Result<(), Error> {
        match self.previous {
            Some(previous) => self.list_at(dir, previous, each),
            None => Ok(()),
        }
    }

    fn list_at(&self, dir: NodeId, at: Time, mut each: impl FnMut(DirEntry)) -> Result<(), Error> {
        self.sql("listing a directory", |c| {
            let mut statement = c.prepare_cached(&self.list_sql)?;
            let mut rows = statement.query(params![dir.0, at.0, b"".as_slice(), i64::MAX])?;
            while let Some(row) = rows.next()? {
                each(DirEntry::read(row)?);
            }
            Ok(())
        })
    }

    /// Returns what `name` in `dir` points to in the generation after this one, if there is such a generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn lookup_next(&self, dir: NodeId, name: &EntryName) -> Result<Option<(NodeId, Kind)>, Error> {
        let Some(next) = self.next else { return Ok(None) };
        self.sql("looking a name up", |c| {
            let found = lookup(c, dir, name.as_bytes(), next)?;
            Ok(found.map(|row| (row.node, row.kind.0)))
        })
    }

    /// Returns the version of `node` as of `at`.
    fn version_at(&self, node: NodeId, at: Time) -> Result<Option<NodeRow>, Error> {
        self.sql("reading attributes", |c| version_at(c, node, at))
    }

    /// Returns the version of `node` as of the previous generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_version(&self, node: NodeId) -> Result<Option<NodeRow>, Error> {
        match self.previous {
            Some(previous) => self.version_at(node, previous),
            None => Ok(None),
        }
    }

    /// Returns the version of `node` as of this generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn current_version(&self, node: NodeId) -> Result<Option<NodeRow>, Error> {
        self.version_at(node, self.at)
    }

    /// Returns `attrs` as a version born at this generation. Shared parts (rights, attribute sets, link
    /// targets) are added to the catalog where they are new; a target equal to that of `base` is not.
    ///
    /// `unreadable` says that the extended attributes, or the target, could not be read.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn encode(&mut self, attrs: &Attrs, unreadable: bool, base: Option<&NodeRow>) -> Result<NodeRow, Error> {
        let xattr = match (unreadable, attrs.xattrs.is_empty()) {
            (true, _) => Perm::XATTRS_LOST,
            (false, true) => 0,
            (false, false) => self.intern_xattrs(attrs)?,
        };
        let perm = self.intern_perm(Perm { mode: attrs.mode, uid: attrs.uid, gid: attrs.gid, xattr })?;
        let place = match attrs.kind() {
            Kind::File => Place::OwnPath,
            Kind::Symlink if attrs.target.is_empty() => Place::Lost,
            Kind::Symlink => {
                let target = &attrs.target;
                self.sql("adding a link target", |c| insert_odd_name(c, target))?;
                self.place_inline(target, base)?
            }
            Kind::CharDevice | Kind::BlockDevice => Place::Device(attrs.rdev),
            Kind::Directory | Kind::Fifo | Kind::Socket => Place::None,
        };
        Ok(NodeRow {
            born: self.at.0,
            perm,
            size_bytes: attrs.size_bytes,
            allocated_bytes: attrs.allocated_bytes,
            mtime: attrs.mtime,
            ctime: attrs.ctime,
            nlink: attrs.nlink,
            place,
            bytes: 0,
        })
    }

    fn intern_perm(&mut self, perm: Perm) -> Result<i64, Error> {
        if let Some(id) = self.perms.get(&perm) {
            return Ok(*id);
        }
        let id = self.sql("adding rights", |c| {
            let key = params![perm.mode, perm.uid, perm.gid, perm.xattr];
            let known = c
                .prepare_cached("SELECT id FROM perm WHERE mode = ?1 AND uid = ?2 AND gid = ?3 AND xattr = ?4")?
                .query_row(key, |r| r.get(0))
                .optional()?;
            if let Some(id) = known {
                return Ok(id);
            }
            c.prepare_cached("INSERT INTO perm(mode, uid, gid, xattr) VALUES (?1, ?2, ?3, ?4)")?.execute(key)?;
            Ok(c.last_insert_rowid())
        })?;
        self.perms.insert(perm, id);
        if perm.xattr != 0 {
            self.perms_with_xattrs.insert(id);
        }
        Ok(id)
    }

    fn intern_xattrs(&mut self, attrs: &Attrs) -> Result<i64, Error> {
        let mut hasher = blake3::Hasher::new();
        for (name, value) in attrs.xattrs.iter() {
            for part in [name, value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        let digest = *hasher.finalize().as_bytes();
        if let Some(id) = self.xattrs.get(&digest) {
            return Ok(*id);
        }
        let id = self.sql("adding extended attributes", |c| {
            let known = c
                .prepare_cached("SELECT id FROM xattr_set WHERE digest = ?1")?
                .query_row([&digest[..]], |r| r.get(0))
                .optional()?;
            if let Some(id) = known {
                return Ok(id);
            }
            let has_acl = attrs.xattrs.iter().any(|(name, _)| name.starts_with(b"system.posix_acl_"));
            c.prepare_cached("INSERT INTO xattr_set(digest, has_acl) VALUES (?1, ?2)")?
                .execute(params![&digest[..], has_acl])?;
            let id = c.last_insert_rowid();
            let mut statement = c.prepare_cached("INSERT INTO xattr_item(xattr, name, value) VALUES (?1, ?2, ?3)")?;
            for (name, value) in attrs.xattrs.iter() {
                statement.execute(params![id, name, value])?;
            }
            Ok(id)
        })?;
        self.xattrs.insert(digest, id);
        Ok(id)
    }

    /// Returns a row of `content` with these bytes: `known`, if it has them, else a new one.
    pub(super) fn intern_bytes(&mut self, bytes: &[u8], known: Option<i64>) -> Result<i64, Error> {
        self.sql("adding bytes", |c| {
            if let Some(id) = known {
                let mut statement = c.prepare_cached("SELECT bytes = ?2 FROM content WHERE id = ?1")?;
                if statement.query_row(params![id, bytes], |r| r.get(0)).optional()? == Some(true) {
                    return Ok(id);
                }
            }
            c.prepare_cached("INSERT INTO content(bytes) VALUES (?1)")?.execute([bytes])?;
            Ok(c.last_insert_rowid())
        })
    }

    /// Says that as of this generation `name` in `dir` points to `node`, which the previous one has not there.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn open_entry(&mut self, dir: NodeId, name: &EntryName, node: NodeId, kind: Kind) -> Result<(), Error> {
        let mut row = DirentRow { born: self.at.0, died: FOREVER.0, node, kind: KindNumber(kind) };
        let hot = self.hot.contains(&dir.0);
        let next = self.next;
        self.sql("adding a name", |c| {
            if let Some(next) = next {
                // In between: it lives until the next generation, or for as long as the same name there.
                row.died = next.0;
                if let Some(after) = lookup(c, dir, name.as_bytes(), next)?
                    && after.born == next.0
                    && after.node == node
                {
                    row.died = after.died;
                    delete_dirent(c, dir, name, after.born)?;
                }
            }
            insert_dirent(c, dir, name, row, hot)?;
            insert_odd_name(c, name.as_bytes())
        })?;
        self.wrote(1)
    }

    /// Says that as of this generation `name` in `dir` no longer points to what it did in the previous one.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn close_entry(&mut self, dir: NodeId, name: &EntryName) -> Result<(), Error> {
        let previous = self.previous.expect("only a name of a previous generation is closed");
        let (at, next) = (self.at, self.next);
        let hot = self.hot.contains(&dir.0);
        self.sql("closing a name", |c| {
            let Some(row) = lookup(c, dir, name.as_bytes(), previous)? else { return Ok(()) };
            let fork = fork_of(hot, row.born, at.0);
            c.prepare_cached("UPDATE dirent SET died = ?4, fork = ?5 WHERE parent = ?1 AND name = ?2 AND born = ?3")?
                .execute(params![dir.0, name.as_bytes(), row.born, at.0, fork])?;
            match next {
                // In between: it comes back with the next generation.
                Some(next) if row.died > next.0 => insert_dirent(c, dir, name, DirentRow { born: next.0, ..row }, hot),
                _ => Ok(()),
            }
        })?;
        *self.dead.entry(dir.0).or_default() += 1;
        self.wrote(1)
    }

    /// Says that as of this generation `node` has the version `row`. May be said again, the last one counts.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn set_version(&mut self, node: NodeId, row: NodeRow) -> Result<(), Error> {
        let row = NodeRow { born: self.at.0, ..row };
        let (at, next, root) = (self.at, self.next, self.root);
        // A row of an earlier run has rights that this run did not meet; then its node is known already.
        let xattrs = self.perms_with_xattrs.contains(&row.perm);
        self.sql("writing attributes", |c| {
            let mut row = row;
            if let Some(next) = next {
                row.place = share_target(c, node, next, row.place)?;
                make_room(c, node, root, at, next, &row)?;
            }
            insert_version(c, node, &row)?;
            if xattrs {
                c.prepare_cached("INSERT OR IGNORE INTO xattr_node(node) VALUES (?1)")?.execute([node.0])?;
            }
            Ok(())
        })?;
        self.wrote(1)
    }

    /// Notes what this generation did to `node`; told more than once, all counts.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn note_change(&mut self, node: NodeId, ops: ChangeOps) -> Result<(), Error> {
        if self.previous.is_none() {
            // All of a first generation is new; when it is put before others, `publish` sees to them.
            return Ok(());
        }
        self.sql("noting a change", |c| {
            c.prepare_cached(
                "INSERT INTO change(source, at, node, op) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT(source, at, node) DO UPDATE SET op = op | excluded.op",
            )?
            .execute([self.source.0, self.at.0, node.0, ops.0])
            .map(drop)
        })?;
        self.wrote(1)
    }

    /// Records one thing that was found amiss.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn add_finding(&mut self, finding: &Finding) -> Result<(), Error> {
        self.findings += 1;
        self.sql("recording a finding", |c| {
            let path = finding.path.as_bytes();
            insert_odd_name(c, path)?;
            c.prepare_cached(
                "INSERT INTO finding(source, at, number, kind, path, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![self.source.0, self.at.0, self.findings, finding.kind.word(), path, finding.detail])
            .map(drop)
        })?;
        self.wrote(1)
    }

    /// Returns the node that had `key` in an earlier generation, where copies keep inode numbers.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn identified(&self, key: FileKey) -> Result<Option<NodeId>, Error> {
        self.sql("finding a node by its inode number", |c| {
            c.prepare_cached("SELECT node FROM identity WHERE source = ?1 AND inode = ?2 AND born_ns = ?3")?
                .query_row([self.source.0, key.inode as i64, key.born_ns], |r| r.get(0).map(NodeId))
                .optional()
        })
    }

    /// Tells whether it is known who `node` is ([`GenerationWriter::identify`]).
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn is_identified(&self, node: NodeId) -> Result<bool, Error> {
        self.sql("finding out who a node is", |c| {
            c.prepare_cached("SELECT EXISTS(SELECT 1 FROM identity WHERE node = ?1)")?.query_row([node.0], |r| r.get(0))
        })
    }

    /// Returns the type of `node`, by its newest version.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn known_kind(&self, node: NodeId) -> Result<Option<Kind>, Error> {
        self.sql("reading the type of a node", |c| {
            let mode = c
                .prepare_cached(
                    "SELECT p.mode FROM inode i JOIN perm p ON p.id = i.perm WHERE i.node = ?1 ORDER BY i.born DESC LIMIT 1",
                )?
                .query_row([node.0], |r| r.get(0))
                .optional()?;
            Ok(mode.and_then(Kind::from_mode))
        })
    }

    /// Returns the names of `node` as of the previous generation: directory and name.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_names(&self, node: NodeId) -> Result<Vec<(NodeId, EntryName)>, Error> {
        match self.previous {
            Some(previous) => self.names(node, previous),
            None => Ok(Vec::new()),
        }
    }

    /// Tells whether `node` has a name as of the previous generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn had_name(&self, node: NodeId) -> Result<bool, Error> {
        match self.previous {
            Some(previous) => self.has_name_at(node, previous),
            None => Ok(false),
        }
    }

    /// Tells whether `node` has a name as of this generation, as far as it is written.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn has_name(&self, node: NodeId) -> Result<bool, Error> {
        self.has_name_at(node, self.at)
    }

    fn has_name_at(&self, node: NodeId, at: Time) -> Result<bool, Error> {
        self.sql("finding the names of a node", |c| c.prepare_cached(reader::NAMES)?.exists([node.0, at.0]))
    }

    /// Returns the names of `node` as of this generation, as far as it is written.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn current_names(&self, node: NodeId) -> Result<Vec<(NodeId, EntryName)>, Error> {
        self.names(node, self.at)
    }

    fn names(&self, node: NodeId, at: Time) -> Result<Vec<(NodeId, EntryName)>, Error> {
        let names = self.sql("finding the names of a node", |c| names_at(c, node, at))?;
        let checked = |name: &[u8]| EntryName::new(name).expect("a name was checked when it was written");
        Ok(names.into_iter().map(|(parent, name)| (NodeId(parent), checked(&name))).collect())
    }

    /// Returns what `name` in `dir` points to as of this generation, as far as it is written.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn lookup_current(&self, dir: NodeId, name: &EntryName) -> Result<Option<(NodeId, Kind)>, Error> {
        self.sql("looking a name up", |c| {
            Ok(lookup(c, dir, name.as_bytes(), self.at)?.map(|row| (row.node, row.kind.0)))
        })
    }

    /// Calls `each` for every entry of `dir` as of this generation, as far as it is written, in name order.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn list_current(&self, dir: NodeId, each: impl FnMut(DirEntry)) -> Result<(), Error> {
        self.list_at(dir, self.at, each)
    }

    /// Returns the path of `node` as of this generation, as far as it is written; none if it has no name.
    ///
    /// **Cost:** one query a level.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if directories form a loop.
    pub fn current_path(&self, node: NodeId) -> Result<Option<RelPath>, Error> {
        let mut names = Vec::new();
        let mut here = node;
        while here != self.root {
            let Some((parent, name)) = self.current_names(here)?.into_iter().next() else { return Ok(None) };
            if names.len() == reader::DEPTH_MAX {
                let (path, what) = (self.path.to_owned(), "a loop among the directories");
                return Err(Error::Contradiction { path, what, node, at: self.at });
            }
            names.push(name);
            here = parent;
        }
        let mut path = RelPath::root();
        names.iter().rev().for_each(|name| path.push(name));
        Ok(Some(path))
    }

    /// Tells whether the directories above `node` lead back to it, as of this generation.
    ///
    /// **Cost:** one query a level.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn hangs_in_a_loop(&self, node: NodeId) -> Result<bool, Error> {
        let (mut here, mut passed) = (node, HashSet::new());
        while here != self.root && passed.insert(here) {
            let Some((parent, _)) = self.current_names(here)?.into_iter().next() else { return Ok(false) };
            here = parent;
        }
        Ok(here != self.root)
    }

    /// Takes back that this generation gave `dir` the name `name`.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn drop_entry(&mut self, dir: NodeId, name: &EntryName) -> Result<(), Error> {
        let born = self.at.0;
        self.sql("taking a name back", |c| delete_dirent(c, dir, name, born))
    }

    /// Returns the nodes whose bytes changed, or that were made, in generations after `since` up to this one, with the key
    /// of each; in the order of nodes.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn changed_since(&self, since: Time) -> Result<Vec<(NodeId, FileKey)>, Error> {
        self.sql("finding what changed", |c| {
            let mut statement = c.prepare_cached(
                "SELECT DISTINCT h.node, i.inode, i.born_ns FROM change h JOIN identity i INDEXED BY identity_node ON i.node = h.node \
                 WHERE h.source = ?1 AND h.at > ?2 AND h.op & 11 ORDER BY h.node",
            )?;
            let rows = statement.query_map([self.source.0, since.0], |r| {
                let key = FileKey { device: 0, inode: r.get::<_, i64>(1)? as u64, born_ns: r.get(2)? };
                Ok((NodeId(r.get(0)?), key))
            })?;
            rows.collect()
        })
    }

    /// Returns the attributes of a version; a symlink without its target.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn decode(&self, row: &NodeRow) -> Result<Attrs, Error> {
        let (perm, xattrs) = self.sql("reading rights", |c| {
            let perm = reader::perm(c, row.perm)?;
            Ok((perm, reader::xattrs(c, perm.xattr)?))
        })?;
        Ok(Attrs {
            mode: perm.mode,
            uid: perm.uid,
            gid: perm.gid,
            size_bytes: row.size_bytes,
            allocated_bytes: row.allocated_bytes,
            mtime: row.mtime,
            ctime: row.ctime,
            nlink: row.nlink,
            rdev: if let Place::Device(number) = row.place { number } else { 0 },
            xattrs,
            target: Vec::new(),
        })
    }

    /// Leaves `state` for the next generation of this source; what it says is the source's own.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn set_resume(&mut self, scan: Scan, state: &str) -> Result<(), Error> {
        self.sql("recording where the next generation goes on", |c| {
            c.execute(
                "UPDATE generation SET scan = ?2, resume = ?3 WHERE id = ?1",
                params![self.generation.0, scan.word(), state],
            )
            .map(drop)
        })
    }

    /// Records that `key` is `node`.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn identify(&mut self, key: FileKey, node: NodeId) -> Result<(), Error> {
        self.keeps_ctime = true;
        self.sql("recording an inode number", |c| {
            c.prepare_cached("INSERT OR REPLACE INTO identity(source, inode, born_ns, node) VALUES (?1, ?2, ?3, ?4)")?
                .execute([self.source.0, key.inode as i64, key.born_ns, node.0])
                .map(drop)
        })?;
        self.wrote(1)
    }

    /// Returns the instant after this one, if a published generation lies there.
    pub fn next(&self) -> Option<Time> {
        self.next
    }

    /// Makes the generation visible and durable; returns the number of nodes that it changed.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`]; then nothing of the generation can be seen.
    pub fn publish(mut self, counts: &Counts) -> Result<u64, Error> {
        self.flush()?;
        self.heat_directories()?;
        if let Some(next) = self.next {
            self.sql("comparing with the next generation", |c| {
                recount_changes(c, self.source, self.root, self.previous, self.at, next, self.keeps_ctime)
            })?;
        } else {
            self.sql("committing a chunk", |c| c.execute_batch("COMMIT; PRAGMA synchronous = FULL; BEGIN IMMEDIATE"))?;
        }
        let changed = self.sql("publishing a generation", |c| {
            if let Some(previous) = self.previous {
                // A node that an older or a newer generation knows, and the previous one has not, is new here; and
                // what is new differs from none.
                c.execute(
                    "UPDATE change SET op = (op | 1) & ~6 WHERE source = ?1 AND at = ?2 AND op & 8 \
                     AND (op & 1 OR NOT EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node \
                     WHERE d.node = change.node AND d.born <= ?3 AND d.died > ?3))",
                    [self.source.0, self.at.0, previous.0],
                )?;
            }
            let changed: i64 = match self.previous {
                None => i64::try_from(counts.entries).unwrap_or(i64::MAX),
                Some(_) => c.query_row(
                    "SELECT count(*) FROM change WHERE source = ?1 AND at = ?2",
                    [self.source.0, self.at.0],
                    |r| r.get(0),
                )?,
            };
            c.execute(
                "UPDATE generation SET status = ?2, index_ms = ?3, entries = ?4, size_bytes = ?5, changed_nodes = ?6, losses = ?7, notices = ?8, gaps = ?9 \
                 WHERE id = ?1",
                params![
                    self.generation.0,
                    Status::Published.word(),
                    counts.index_ms as i64,
                    counts.entries as i64,
                    counts.size_bytes as i64,
                    changed,
                    counts.losses as i64,
                    counts.notices as i64,
                    counts.gaps as i64
                ],
            )?;
            let mut statement = c.prepare_cached("INSERT OR IGNORE INTO instant_fork(at, fork) VALUES (?1, ?2)")?;
            let mut forks = Vec::new();
            interval::path(self.at.0, |fork| forks.push(fork));
            forks.into_iter().try_for_each(|fork| statement.execute([self.at.0, fork]).map(drop))?;
            drop(statement);
            c.execute_batch("COMMIT; PRAGMA synchronous = NORMAL")?;
            Ok(changed as u64)
        })?;
        self.ended = true;
        Ok(changed)
    }

    /// Removes everything that was written of this generation.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`]; then the next [`Writer::open`] does it.
    pub fn abandon(mut self) -> Result<(), Error> {
        self.ended = true;
        // In an error SQLite may have rolled back by itself; a second ROLLBACK says so and is harmless.
        let _ = self.connection.execute_batch("ROLLBACK");
        if self.is_late() {
            return Ok(());
        }
        self.sql("removing an unfinished generation", |c| {
            in_transaction(c, |c| undo(c, self.generation.0, self.source.0, self.at.0))
        })
    }

    /// Turns directories hot whose dead names outnumber the living too much.
    fn heat_directories(&mut self) -> Result<(), Error> {
        self.sql("indexing churning directories", |c| {
            let mut statement = c.prepare_cached("SELECT dir FROM directory_history WHERE NOT hot AND dead > ?1")?;
            let candidates: Vec<i64> =
                statement.query_map([HOT_MIN], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
            for dir in candidates {
                let (rows, live): (i64, i64) = c
                    .prepare_cached("SELECT count(*), coalesce(sum(died = ?2), 0) FROM dirent WHERE parent = ?1")?
                    .query_row([dir, FOREVER.0], |r| Ok((r.get(0)?, r.get(1)?)))?;
                if rows - live > HOT_RATIO * live + HOT_MIN {
                    heat(c, dir)?;
                }
            }
            Ok(())
        })
    }
}

impl Drop for GenerationWriter<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

pub(super) fn take_lock(path: &Path) -> Result<Lock, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let io = |source| Error::Io { doing: "locking", path: path.to_owned(), source };
    let mut lock = File::options().read(true).write(true).create(true).truncate(false).open(&name).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() { "?" } else { holder };
            return Err(Error::Busy { path: path.to_owned(), holder: holder.to_owned() });
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(io(e)),
    }
    // Who holds it is for the message only: on a full disk the lock holds all the same.
    let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(Lock(lock))
}

fn check_source_name(name: &str) -> Result<(), Error> {
    let refuse = |why| Err(Error::SourceName { name: name.to_owned(), why });
    match name.as_bytes() {
        [] => refuse("it is empty"),
        [b'@', ..] => refuse("names with @ are dates"),
        [b'.', ..] => refuse("names with a leading dot are hidden"),
        [b'-', ..] => refuse("names with a leading dash are options"),
        bytes if bytes.len() > 255 => refuse("it is longer than 255 bytes"),
        bytes if bytes.iter().any(|b| !(b.is_ascii_alphanumeric() || b"._-".contains(b))) => {
            refuse("it may hold letters, digits, dots, dashes and underscores")
        }
        _ => Ok(()),
    }
}

fn in_transaction<T>(c: &Connection, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    c.execute_batch("BEGIN IMMEDIATE")?;
    match act(c).and_then(|value| c.execute_batch("COMMIT").map(|()| value)) {
        Ok(value) => Ok(value),
        Err(e) => {
            let _ = c.execute_batch("ROLLBACK");
            Err(e)
        }
    }
}

fn store_at(c: &Connection, path: &Path) -> rusqlite::Result<StoreId> {
    let bytes = path.as_os_str().as_bytes();
    insert_odd_name(c, bytes)?;
    c.execute("INSERT OR IGNORE INTO store(path) VALUES (?1)", [bytes])?;
    c.query_row("SELECT id FROM store WHERE path = ?1", [bytes], |r| r.get(0).map(StoreId))
}

#[derive(Clone, Copy)]
struct DirentRow {
    born: i64,
    died: i64,
    node: NodeId,
    kind: KindNumber,
}

/// Returns the row of `name` in `dir` that holds at `at`.
fn lookup(c: &Connection, dir: NodeId, name: &[u8], at: Time) -> rusqlite::Result<Option<DirentRow>> {
    let mut statement = c.prepare_cached(
        "SELECT born, died, node, kind FROM dirent WHERE parent = ?1 AND name = ?2 AND born <= ?3 ORDER BY born DESC LIMIT 1",
    )?;
    let row = statement
        .query_row(params![dir.0, name, at.0], |r| {
            Ok(DirentRow { born: r.get(0)?, died: r.get(1)?, node: NodeId(r.get(2)?), kind: r.get(3)? })
        })
        .optional()?;
    Ok(row.filter(|r| r.died > at.0))
}

/// Returns the number of the next block of node numbers; the caller inserts it.
fn next_block(c: &Connection) -> rusqlite::Result<i64> {
    // SQLite keeps the highest number ever used of an AUTOINCREMENT table, those of deleted rows included.
    c.query_row("SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'node_block'", [], |r| r.get(0))
}

fn fork_of(hot: bool, born: i64, died: i64) -> Option<i64> {
    hot.then(|| if died == FOREVER.0 { interval::LIVE } else { interval::fork(born, died - 1) })
}

fn insert_dirent(c: &Connection, dir: NodeId, name: &EntryName, row: DirentRow, hot: bool) -> rusqlite::Result<()> {
    let fork = fork_of(hot, row.born, row.died);
    c.prepare_cached(
        "INSERT INTO dirent(parent, name, born, died, fork, node, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![dir.0, name.as_bytes(), row.born, row.died, fork, row.node.0, row.kind])
    .map(drop)
}

fn delete_dirent(c: &Connection, dir: NodeId, name: &EntryName, born: i64) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM dirent WHERE parent = ?1 AND name = ?2 AND born = ?3")?
        .execute(params![dir.0, name.as_bytes(), born])
        .map(drop)
}

/// Records the text of a name, path or link target that views could not show as it is.
pub(super) fn insert_odd_name(c: &Connection, name: &[u8]) -> rusqlite::Result<()> {
    let std::borrow::Cow::Owned(text) = escape_bytes(name) else { return Ok(()) };
    c.prepare_cached("INSERT OR IGNORE INTO odd_name(name, text) VALUES (?1, ?2)")?
        .execute(params![name, text])
        .map(drop)
}

fn version_at(c: &Connection, node: NodeId, at: Time) -> rusqlite::Result<Option<NodeRow>> {
    c.prepare_cached(reader::NODE)?.query_row([node.0, at.0], |row| NodeRow::read(row, 0)).optional()
}

fn insert_version(c: &Connection, node: NodeId, row: &NodeRow) -> rusqlite::Result<()> {
    let (place, content) = row.place.columns();
    c.prepare_cached(
        "INSERT OR REPLACE INTO inode(node, born, perm, size, allocated, mtime, mtime_ns, ctime_ns, nlink, place, content, bytes) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        node.0,
        row.born,
        row.perm,
        row.size_bytes as i64,
        row.allocated_bytes.map(|n| n as i64),
        row.mtime.seconds,
        row.mtime.nanos,
        row.ctime.ns_since(row.mtime),
        row.nlink,
        place,
        content,
        (row.bytes != 0).then_some(row.bytes)
    ])
    .map(drop)
}

fn delete_version(c: &Connection, node: NodeId, born: i64) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM inode WHERE node = ?1 AND born = ?2")?.execute([node.0, born]).map(drop)
}

fn names_at(c: &Connection, node: NodeId, at: Time) -> rusqlite::Result<BTreeSet<(i64, Vec<u8>)>> {
    let mut statement = c.prepare_cached(reader::NAMES)?;
    statement.query_map([node.0, at.0], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
}

/// Returns the target that `node` has at `at` in place of `place` where both are the same bytes: equal targets of
/// neighbours are one row, so that they compare equal.
fn share_target(c: &Connection, node: NodeId, at: Time, place: Place) -> rusqlite::Result<Place> {
    let Place::Inline(id) = place else { return Ok(place) };
    let Some(NodeRow { place: Place::Inline(known), .. }) = version_at(c, node, at)? else { return Ok(place) };
    let mut statement =
        c.prepare_cached("SELECT a.bytes = b.bytes FROM content a JOIN content b WHERE a.id = ?1 AND b.id = ?2")?;
    let same = statement.query_row([id, known], |r| r.get(0))?;
    Ok(if same { Place::Inline(known) } else { place })
}

/// Prepares `inode` for a version `row` of `node` at `at`, before the published instant `next`: what holds at
/// `next` still holds there afterwards, by a row of its own where it differs from `row`. Where the node is not there at
/// `next` and is again later, the same goes for that later instant: its version may be one from before `at`.
fn make_room(c: &Connection, node: NodeId, root: NodeId, at: Time, next: Time, row: &NodeRow) -> rusqlite::Result<()> {
    let lives = node == root || !names_at(c, node, next)?.is_empty();
    let next = if lives { Some(next) } else { named_again(c, node, next)? };
    let Some(next) = next else { return Ok(()) };
    let Some(holds) = version_at(c, node, next)? else { return Ok(()) };
    let same = NodeRow { born: row.born, ..holds } == *row;
    match (holds.born == next.0, same) {
        (true, true) => delete_version(c, node, next.0),
        (true, false) | (false, true) => Ok(()),
        // An earlier version (or one said before at `at` itself) reaches over `next`.
        (false, false) => insert_version(c, node, &NodeRow { born: next.0, ..holds }),
    }
    .and_then(|()| if holds.born == at.0 { delete_version(c, node, at.0) } else { Ok(()) })
}

/// Returns when `node` first gets a name after `at`.
fn named_again(c: &Connection, node: NodeId, at: Time) -> rusqlite::Result<Option<Time>> {
    c.prepare_cached("SELECT min(born) FROM dirent INDEXED BY dirent_node WHERE node = ?1 AND born > ?2")?
        .query_row([node.0, at.0], |r| r.get::<_, Option<i64>>(0).map(|born| born.map(Time)))
}

/// Returns what changed about `node` from instant `a` to instant `b`.
fn compare(
    c: &Connection,
    node: NodeId,
    root: NodeId,
    a: Time,
    b: Time,
    keeps_ctime: bool,
) -> rusqlite::Result<ChangeOps> {
    let (before, after) = (names_at(c, node, a)?, names_at(c, node, b)?);
    let mut ops = ChangeOps::default();
    if after.difference(&before).next().is_some() {
        ops |= ChangeOps::LINKED;
    }
    if before.difference(&after).next().is_some() {
        ops |= ChangeOps::UNLINKED;
    }
    let (lived, lives) = (node == root || !before.is_empty(), node == root || !after.is_empty());
    match (lived, lives) {
        (false, true) => ops |= ChangeOps::CREATED,
        (true, true) => {
            if let (Some(old), Some(new)) = (version_at(c, node, a)?, version_at(c, node, b)?) {
                // The same target may be two rows where the node was not there in between.
                let new = NodeRow { place: share_target(c, node, a, new.place)?, ..new };
                ops |= ChangeOps::between(&old, &new);
                if keeps_ctime && old.ctime != new.ctime {
                    ops |= ChangeOps::ATTRIBUTES;
                }
            }
        }
        (_, false) => {}
    }
    Ok(ops)
}

/// Writes anew what `next` changed, now that `at` comes before it and no longer `previous`.
fn recount_changes(
    c: &Connection,
    source: SourceId,
    root: NodeId,
    previous: Option<Time>,
    at: Time,
    next: Time,
    keeps_ctime: bool,
) -> rusqlite::Result<()> {
    let nodes: Vec<i64> = match previous {
        Some(_) => {
            let mut statement = c.prepare_cached("SELECT node FROM change WHERE source = ?1 AND at = ?2")?;
            statement.query_map([source.0, at.0], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?
        }
        // `next` was the first generation and had no rows: every node of either must be compared.
        None => {
            let mut statement = c.prepare_cached(
                "SELECT DISTINCT d.node FROM node_block b CROSS JOIN dirent d \
                 ON d.parent BETWEEN b.block * 65536 AND b.block * 65536 + 65535 \
                 WHERE b.source = ?1 AND ((d.born <= ?2 AND d.died > ?2) OR (d.born <= ?3 AND d.died > ?3))",
            )?;
            let mut nodes: Vec<i64> =
                statement.query_map([source.0, at.0, next.0], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
            nodes.push(root.0);
            nodes
        }
    };
    for node in nodes {
        let ops = compare(c, NodeId(node), root, at, next, keeps_ctime)?;
        if ops.is_empty() {
            c.prepare_cached("DELETE FROM change WHERE source = ?1 AND at = ?2 AND node = ?3")?
                .execute([source.0, next.0, node])?;
        } else {
            c.prepare_cached("INSERT OR REPLACE INTO change(source, at, node, op) VALUES (?1, ?2, ?3, ?4)")?
                .execute([source.0, next.0, node, ops.0])?;
        }
    }
    c.execute(
        "UPDATE generation SET changed_nodes = (SELECT count(*) FROM change WHERE source = ?1 AND at = ?2) WHERE source = ?1 AND taken_at = ?2",
        [source.0, next.0],
    )
    .map(drop)
}

fn heat(c: &Connection, dir: i64) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached("SELECT name, born, died FROM dirent WHERE parent = ?1 AND fork IS NULL")?;
    let rows: Vec<(Vec<u8>, i64, i64)> =
        statement.query_map([dir], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut statement =
        c.prepare_cached("UPDATE dirent SET fork = ?4 WHERE parent = ?1 AND name = ?2 AND born = ?3")?;
    for (name, born, died) in rows {
        statement.execute(params![dir, name, born, fork_of(true, born, died)])?;
    }
    c.execute("UPDATE directory_history SET hot = 1 WHERE dir = ?1", [dir]).map(drop)
}

/// Deletes names and versions in the blocks of `source`: all, or all but the root's row of numbers.
fn delete_tree(c: &Connection, source: i64, first_content: Option<i64>) -> rusqlite::Result<()> {
    let mut statement = c.prepare("SELECT block FROM node_block WHERE source = ?1")?;
    let blocks: Vec<i64> = statement.query_map([source], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
    for block in blocks {
        let range = [block << BLOCK_BITS, ((block + 1) << BLOCK_BITS) - 1];
        if first_content.is_none() {
            c.execute(
                "DELETE FROM content WHERE id IN (SELECT content FROM inode WHERE node BETWEEN ?1 AND ?2 AND place IN (3, 4))",
                range,
            )?;
        }
        c.execute("DELETE FROM dirent WHERE parent BETWEEN ?1 AND ?2", range)?;
        c.execute("DELETE FROM inode WHERE node BETWEEN ?1 AND ?2", range)?;
        c.execute("DELETE FROM xattr_node WHERE node BETWEEN ?1 AND ?2", range)?;
        c.execute("DELETE FROM directory_history WHERE dir BETWEEN ?1 AND ?2", range)?;
    }
    Ok(())
}

/// Removes all rows of an unfinished generation. It is newer than every published one of its source, or it
/// could not have committed anything, so every name that it closed was alive.
fn undo(c: &Connection, generation: i64, source: i64, at: i64) -> rusqlite::Result<()> {
    let first: bool = c.query_row(
        "SELECT NOT EXISTS(SELECT 1 FROM generation WHERE source = ?1 AND status = 'published')",
        [source],
        |r| r.get(0),
    )?;
    let first_content: i64 =
        c.query_row("SELECT first_content FROM generation WHERE id = ?1", [generation], |r| r.get(0))?;
    if first {
        delete_tree(c, source, Some(first_content))?;
        c.execute("DELETE FROM identity WHERE source = ?1", [source])?;
        c.execute("UPDATE source SET next_node = root + 1 WHERE id = ?1", [source])?;
        c.execute(
            "DELETE FROM node_block WHERE source = ?1 AND block <> (SELECT root >> 16 FROM source WHERE id = ?1)",
            [source],
        )?;
    } else {
        let mut statement = c.prepare("SELECT node, op FROM change WHERE source = ?1 AND at = ?2")?;
        let nodes: Vec<(i64, i64)> =
            statement.query_map([source, at], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for (node, op) in nodes {
            undo_node(c, node, at)?;
            // Created may also be what came back after a time without a name; its history stays.
            let is_new = op & ChangeOps::CREATED.0 != 0
                && c.prepare_cached("SELECT NOT EXISTS(SELECT 1 FROM inode WHERE node = ?1)")?
                    .query_row([node], |r| r.get(0))?;
            if is_new {
                c.prepare_cached("DELETE FROM identity WHERE node = ?1")?.execute([node])?;
                c.prepare_cached("DELETE FROM xattr_node WHERE node = ?1")?.execute([node])?;
            }
        }
    }
    c.execute("DELETE FROM content WHERE id >= ?1", [first_content])?;
    for table in ["change", "finding"] {
        c.execute(&format!("DELETE FROM {table} WHERE source = ?1 AND at = ?2"), [source, at])?;
    }
    for table in ["disk_layer", "disk_file", "copy"] {
        c.execute(
            &format!("DELETE FROM {table} WHERE object IN (SELECT id FROM object WHERE generation = ?1)"),
            [generation],
        )?;
    }
    for table in ["disk_volume", "object"] {
        c.execute(&format!("DELETE FROM {table} WHERE generation = ?1"), [generation])?;
    }
    c.execute("DELETE FROM generation WHERE id = ?1", [generation]).map(drop)
}

fn undo_node(c: &Connection, node: i64, at: i64) -> rusqlite::Result<()> {
    let mut statement =
        c.prepare_cached("SELECT parent, name, born, died, fork IS NOT NULL FROM dirent INDEXED BY dirent_node WHERE node = ?1 AND (born = ?2 OR died = ?2)")?;
    type Row = (i64, Vec<u8>, i64, i64, bool);
    let rows: Vec<Row> = statement
        .query_map([node, at], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (parent, name, born, died, hot) in rows {
        if born == at {
            c.prepare_cached("DELETE FROM dirent WHERE parent = ?1 AND name = ?2 AND born = ?3")?
                .execute(params![parent, name, born])?;
        } else {
            debug_assert_eq!(died, at);
            c.prepare_cached("UPDATE dirent SET died = ?4, fork = ?5 WHERE parent = ?1 AND name = ?2 AND born = ?3")?
                .execute(params![parent, name, born, FOREVER.0, fork_of(hot, born, FOREVER.0)])?;
        }
    }
    c.prepare_cached("DELETE FROM inode WHERE node = ?1 AND born = ?2")?.execute([node, at]).map(drop)
}

#[cfg(test)]
mod tests;
