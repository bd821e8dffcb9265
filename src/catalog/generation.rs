//! The life of a generation: begun, told, proved, published; or abandoned, and nothing of it kept.
//!
//! Promises: [`Writer::open`] first removes what killed runs left. A generation is invisible until
//! [`GenerationWriter::publish`] has committed its last transaction, which is synced to disk; it is not published if what was told does
//! not hold together ([`super::proof`]). A writer that met an error is spent: nothing else can be begun on it, so nothing is built on
//! what it may have left. Never reads a file of a backup.

use super::doubt;
use super::draft::Draft;
use super::edit::{Half, Ledger, Mode, NewGeneration};
use super::forget;
use super::holder::Busy;
use super::insert::Insertion;
use super::intern::Interned;
use super::listing::{hot_directories, list_sql};
use super::lock::{CatalogLock, CatalogLockFile, LockWait, Locking};
use super::notes::Subject;
use super::numbers::{check_generation, check_node};
use super::objects::{object_of, replace_object};
use super::running::Running;
use super::state::{StateSum, States};
use super::tables::BLOCK_BITS;
use super::tee::Tee;
use super::unknown::Unknown;
use super::{Error, connect, interval, parts, proof, tables};
use crate::model::manifest::Recorder;
use crate::model::{
    Counts, DiskRow, GenerationId, Kind, Level, NodeId, ObjectId, Scan, SeenCopy, SourceId, Status, StoreId, Time,
    VolumeRow,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A directory turns hot when its dead names outnumber the living `HOT_RATIO` times and by `HOT_MIN` more:
/// a dead row costs a scan 48 ns and a living one an inode seek of about 1.5 us, so up to there an index
/// would not pay.
const HOT_RATIO: i64 = 32;
const HOT_MIN: i64 = 1024;
/// How long a chunk holds the catalog's lock; whoever waits for it looks every 20 ms.
const CHUNK_LONGEST: Duration = Duration::from_millis(500);

/// What was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// What it holds.
    pub counts: Counts,
    /// Nodes that differ from the generation before; of a first one: entries.
    pub changed_nodes: u64,
    /// Its state hash.
    pub state_hash: [u8; 32],
}

/// The one writer of a catalog.
pub struct Writer {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    cleaned: Vec<(String, Time)>,
    /// What keeps manifests; none: there are none.
    pub(super) recorder: Option<Box<dyn Recorder + Send>>,
    /// Whether something went wrong after which nothing else may be begun.
    spent: Cell<bool>,
    pub(super) locking: Locking,
}

impl Writer {
    /// Makes a new, empty catalog at `path`.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NetworkFilesystem`], [`Error::Io`], [`Error::Sqlite`].
    pub fn create(path: &Path) -> Result<(), Error> {
        connect::create(path)
    }

    /// Opens the catalog at `path` for writing and removes what killed runs left in it; does not wait for another writer.
    ///
    /// # Errors
    /// As [`Writer::open_waiting`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_waiting(path, &LockWait::refuse(""))
    }

    /// Opens the catalog at `path` for writing by this process alone, once nobody else writes it, and removes what killed runs left in it. One of an
    /// older format is refused; [`super::migrate()`] brings it up to date.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process writes for longer than is waited; [`Error::ReadOnly`]; as [`super::Reader::open`]
    /// otherwise.
    pub fn open_waiting(path: &Path, how: &LockWait<'_>) -> Result<Self, Error> {
        // Before anything is made beside it: what is not a catalog gets no lock file.
        connect::check_writable(path)?;
        let lock = CatalogLock::acquire(path, how)?;
        let connection = connect::open_writing(path, &lock)?;
        let mut writer = Self::new(connection, path, Locking::Whole { _lock: lock });
        for source in writer.sources_with_leftovers()? {
            writer.clean_up(source)?;
        }
        Ok(writer)
    }

    /// Opens the catalog at `path` for writing beside others: its lock is held for one transaction at a time, and `report` is told
    /// for whom a turn is waited for. Whoever writes rows of a source holds that source's lock.
    ///
    /// # Errors
    /// As [`Writer::open_waiting`].
    pub fn open_by_turns(path: &Path, how: &LockWait<'_>, report: fn(&Busy)) -> Result<Self, Error> {
        connect::check_writable(path)?;
        let file = CatalogLockFile::open(path)?;
        let lock = file.lock(how)?;
        let connection = connect::open_writing(path, &lock)?;
        drop(lock);
        let (wait, verb, now) = (how.wait, how.verb.to_owned(), how.now);
        Ok(Self::new(
            connection,
            path,
            Locking::ByTurns { file, wait, verb, now, report, reported: RefCell::default() },
        ))
    }

    fn new(connection: Connection, path: &Path, locking: Locking) -> Self {
        let (path, cleaned, spent) = (path.to_owned(), Vec::new(), Cell::new(false));
        Self { connection, path, cleaned, recorder: None, spent, locking }
    }

    /// Returns the unfinished generations that were removed: source and instant.
    pub fn cleaned(&self) -> &[(String, Time)] {
        &self.cleaned
    }

    fn sources_with_leftovers(&self) -> Result<Vec<SourceId>, Error> {
        self.sql("looking for unfinished generations", |c| {
            let mut statement = c.prepare("SELECT DISTINCT source FROM generation WHERE status <> 'published'")?;
            statement.query_map([], |r| r.get(0).map(SourceId))?.collect()
        })
    }

    /// Removes what killed runs left of a source, whose lock is held.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn clean_up(&mut self, source: SourceId) -> Result<(), Error> {
        let doing = "removing an unfinished generation";
        let unfinished: Vec<(i64, i64, String)> = self.sql(doing, |c| {
            let mut statement = c.prepare(
                "SELECT g.id, g.taken_at, s.name FROM generation g JOIN source s ON s.id = g.source \
                 WHERE g.source = ?1 AND g.status <> 'published'",
            )?;
            statement.query_map([source.0], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect()
        })?;
        for (generation, at, name) in unfinished {
            let subject = self.subject(source)?;
            let ids = (GenerationId(generation), Time(at));
            self.change(doing, |c| forget::undo(c, &subject, ids))?;
            self.cleaned.push((name, Time(at)));
        }
        Ok(())
    }

    /// Changes the catalog in a transaction of its own; on an error nothing of it stays.
    pub(super) fn change<T>(
        &self,
        doing: &'static str,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let _turn = self.locking.take()?;
        self.sql(doing, |c| in_transaction(c, act))
    }

    pub(super) fn sql<T>(
        &self,
        doing: &'static str,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        act(&self.connection).map_err(|e| Error::sqlite(doing, &self.path, e))
    }

    /// Returns what the algebra needs to know of a source.
    pub(super) fn subject(&self, source: SourceId) -> Result<Subject, Error> {
        self.sql("reading a source", |c| {
            c.query_row("SELECT root, rule, by_inode FROM source WHERE id = ?1", [source.0], |r| {
                Ok(Subject { source, root: NodeId(r.get(0)?), rule: super::rows::read_rule(r, 1)? })
            })
        })
    }

    /// Tells whether the published generation of `source` at `at` could not list all of its directories.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn is_in_doubt(&self, source: SourceId, at: Time) -> Result<bool, Error> {
        self.sql("reading what is unknown", |c| doubt::is_in_doubt(c, source, at))
    }

    /// Refuses to go on after an error.
    pub(super) fn check_unspent(&self) -> Result<(), Error> {
        if self.spent.get() { Err(Error::Spent { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Begins a generation. It may lie before, between or after those that are there.
    ///
    /// # Errors
    /// [`Error::GenerationExists`] if the source has one of this second and it is not to be told again; [`Error::NoSuchGeneration`] if it
    /// is and there is none; [`Error::Spent`] after an error; [`Error::Sqlite`].
    pub fn begin(&mut self, new: &NewGeneration<'_>) -> Result<GenerationWriter<'_>, Error> {
        self.check_unspent()?;
        self.clean_up(new.source.id)?;
        let doing = "beginning a generation";
        let (source, at) = (new.source.id, new.at);
        let there = self.sql(doing, |c| {
            c.query_row(
                "SELECT EXISTS(SELECT 1 FROM generation WHERE source = ?1 AND taken_at = ?2)",
                [source.0, at.0],
                |r| r.get::<_, bool>(0),
            )
        })?;
        match (there, new.again) {
            (true, false) => return Err(Error::GenerationExists { source_name: new.source.name.clone(), at }),
            (false, true) => return Err(Error::NoSuchGeneration { source_name: new.source.name.clone(), at }),
            _ => {}
        }
        check_generation(&self.path, self.sql(doing, |c| next_id(c, "generation"))?)?;
        let (previous, next) = self.sql(doing, |c| neighbours(c, source, at))?;
        let subject = self.subject(source)?;
        let is_append = next.is_none() && !new.again;
        let mode = if is_append {
            Mode::Append
        } else {
            Mode::Aside(self.sql("making a temporary file for a generation", |_| Draft::new())?)
        };
        // Chunked commits of the append are not synced one by one; what must not be torn is synced whole.
        self.sql(doing, |c| {
            c.execute_batch(if is_append { "PRAGMA synchronous = NORMAL" } else { "PRAGMA synchronous = FULL" })
        })?;
        let begun = self.change(doing, |c| begin_rows(c, new, is_append))?;
        let mut generation = GenerationWriter {
            connection: &self.connection,
            path: &self.path,
            spent: &self.spent,
            locking: &self.locking,
            turn: None,
            began: Instant::now(),
            source,
            root: new.source.root,
            subject,
            at,
            previous,
            next,
            now: new.now,
            level: new.level,
            copy: (new.copy.0, new.copy.1.to_owned()),
            again: new.again,
            ids: begun.ids,
            object: begun.object,
            expected: None,
            sequence: begun.sequence,
            next_node: begun.next_node,
            first_content: begun.first_content,
            hot: begun.hot,
            mode,
            list_sql: list_sql(),
            chunk_rows: 0,
            in_transaction: false,
            dead: HashMap::new(),
            interned: Interned::default(),
            ledger: Ledger::default(),
            findings: 0,
            disk: None,
            volumes: Vec::new(),
            resume: None,
            walked: None,
            ctimes_count: true,
            running: (is_append && previous.is_none()).then(|| Running::new(&self.path, new.source.root, new.at)),
            unknown: None,
            base_has_doubts: begun.base_has_doubts,
            tee: None,
            ended: false,
        };
        if let Some(recorder) = &mut self.recorder
            && let Err(e) = generation.begin_manifest(&mut **recorder)
        {
            // The error that is told is the first one; what this one leaves, the next writer removes.
            let _ = generation.abandon();
            return Err(e);
        }
        Ok(generation)
    }
}

/// What [`Writer::begin`] wrote and read.
struct Begun {
    ids: Option<Ids>,
    object: Option<ObjectId>,
    sequence: i64,
    next_node: i64,
    first_content: i64,
    hot: HashSet<i64>,
    base_has_doubts: bool,
}

/// Rows of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) generation: GenerationId,
    pub(super) object: ObjectId,
}

fn begin_rows(c: &Connection, new: &NewGeneration<'_>, is_append: bool) -> rusqlite::Result<Begun> {
    let source = new.source.id;
    let first_content: i64 = c.query_row("SELECT coalesce(max(id), 0) + 1 FROM content", [], |r| r.get(0))?;
    let (sequence, next_node): (i64, i64) = c.query_row(
        "UPDATE source SET last_sequence = last_sequence + 1 WHERE id = ?1 RETURNING last_sequence, next_node",
        [source.0],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )?;
    let ids = match is_append {
        true => {
            let NewGeneration { at, level, copy, now, .. } = *new;
            let rows = NewRows { source, at, level, copy, now, sequence, first_content, number: None };
            Some(insert_generation(c, &rows)?)
        }
        false => None,
    };
    let object = match (ids, new.again) {
        (Some(ids), _) => Some(ids.object),
        (None, true) => object_of(c, source, new.at)?,
        (None, false) => None,
    };
    let base_has_doubts = match neighbours(c, source, new.at)? {
        (Some(previous), _) => doubt::is_in_doubt(c, source, previous)?,
        _ => false,
    };
    Ok(Begun { ids, object, sequence, next_node, first_content, hot: hot_directories(c)?, base_has_doubts })
}

/// The rows of a generation itself.
struct NewRows<'r> {
    source: SourceId,
    at: Time,
    level: Level,
    copy: (StoreId, &'r [u8]),
    now: Time,
    sequence: i64,
    first_content: i64,
    /// Its number, if it takes the place of another; none: the next one.
    number: Option<i64>,
}

/// Adds a generation that nobody sees yet, its object, and where that lies.
fn insert_generation(c: &Connection, new: &NewRows<'_>) -> rusqlite::Result<Ids> {
    let (source, at) = (new.source.0, new.at.0);
    let number = new.number;
    let number = match number {
        Some(number) => number,
        None => c.query_row(
            "UPDATE source SET last_number = last_number + 1 WHERE id = ?1 RETURNING last_number",
            [source],
            |r| r.get(0),
        )?,
    };
    c.execute(
        "INSERT INTO generation(source, taken_at, number, sequence, level, status, indexed_at, first_content) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            source,
            at,
            number,
            new.sequence,
            new.level.word(),
            Status::Creating.word(),
            new.now.0,
            new.first_content
        ],
    )?;
    let generation = GenerationId(c.last_insert_rowid());
    c.execute(
        "INSERT INTO object(source, at, generation, kind, is_full) VALUES (?1, ?2, ?3, 'tree', ?4)",
        params![source, at, generation.0, new.level == Level::Full],
    )?;
    let object = ObjectId(c.last_insert_rowid());
    let (store, path) = new.copy;
    tables::insert_odd_name(c, path)?;
    c.execute(
        "INSERT INTO copy(object, store, path, state_since, looked_at) VALUES (?1, ?2, ?3, ?4, ?4)",
        params![object.0, store.0, path, new.now.0],
    )?;
    Ok(Ids { generation, object })
}

/// Returns the published generations of a source right before and right after an instant.
pub(super) fn neighbours(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<(Option<Time>, Option<Time>)> {
    c.prepare_cached(
        "SELECT max(CASE WHEN taken_at < ?2 THEN taken_at END), min(CASE WHEN taken_at > ?2 THEN taken_at END) \
         FROM generation WHERE source = ?1 AND status = 'published'",
    )?
    .query_row([source.0, at.0], |r| Ok((r.get::<_, Option<i64>>(0)?.map(Time), r.get::<_, Option<i64>>(1)?.map(Time))))
}

/// Returns the instants of the published generations of a source, and of one that is about to be published, in order.
pub(super) fn instants(c: &Connection, source: SourceId, with: Option<Time>) -> rusqlite::Result<Vec<Time>> {
    let mut statement = c.prepare_cached(
        "SELECT taken_at FROM generation WHERE source = ?1 AND (status = 'published' OR taken_at = ?2) ORDER BY taken_at",
    )?;
    statement.query_map(params![source.0, with.map(|at| at.0)], |r| r.get(0).map(Time))?.collect()
}

/// Writes one generation. It is told the state at its instant, as edits against the generation before.
pub struct GenerationWriter<'w> {
    pub(super) connection: &'w Connection,
    pub(super) path: &'w Path,
    pub(super) spent: &'w Cell<bool>,
    locking: &'w Locking,
    /// The lock of the catalog, while a transaction is open.
    turn: Option<CatalogLock>,
    /// When that was begun.
    began: Instant,
    pub(super) source: SourceId,
    pub(super) root: NodeId,
    pub(super) subject: Subject,
    pub(super) at: Time,
    pub(super) previous: Option<Time>,
    pub(super) next: Option<Time>,
    pub(super) now: Time,
    pub(super) level: Level,
    pub(super) copy: (StoreId, Vec<u8>),
    pub(super) again: bool,
    pub(super) ids: Option<Ids>,
    /// What holds its bytes; of one that takes the place of another, until it is put in, what holds those of that.
    pub(super) object: Option<ObjectId>,
    /// The state that it must have to be published; none: any.
    expected: Option<[u8; 32]>,
    pub(super) sequence: i64,
    next_node: i64,
    first_content: i64,
    pub(super) hot: HashSet<i64>,
    pub(super) mode: Mode,
    pub(super) list_sql: String,
    pub(super) chunk_rows: u32,
    in_transaction: bool,
    pub(super) dead: HashMap<i64, i64>,
    pub(super) interned: Interned,
    pub(super) ledger: Ledger,
    pub(super) findings: i64,
    pub(super) disk: Option<DiskRow>,
    pub(super) volumes: Vec<VolumeRow>,
    pub(super) resume: Option<(Scan, String)>,
    pub(super) walked: Option<SeenCopy>,
    pub(super) ctimes_count: bool,
    /// The state hash so far, of a first generation that is written as it is told.
    pub(super) running: Option<Running>,
    /// What it does not know, if there is anything.
    pub(super) unknown: Option<Unknown>,
    /// Whether the generation before keeps names that it did not see.
    pub(super) base_has_doubts: bool,
    pub(super) tee: Option<Tee>,
    ended: bool,
}

impl GenerationWriter<'_> {
    /// Reads; what fails spends the writer.
    pub(super) fn sql<T>(
        &self,
        doing: &'static str,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        act(self.connection).map_err(|e| {
            self.spent.set(true);
            Error::sqlite(doing, self.path, e)
        })
    }

    /// Lets the running state see an edit that is about to be written.
    pub(super) fn count_running(
        &mut self,
        see: impl FnOnce(&mut Running, &Connection) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let seen = see(running, self.connection);
        if !running.is_worth_it() {
            self.running = None;
        }
        seen.inspect_err(|_| self.spent.set(true))
    }

    /// Writes, inside the transaction of the present chunk.
    pub(super) fn write<T>(
        &mut self,
        doing: &'static str,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        if !self.in_transaction {
            self.turn = self.locking.take().inspect_err(|_| self.spent.set(true))?;
            self.sql(doing, |c| c.execute_batch("BEGIN IMMEDIATE"))?;
            self.in_transaction = true;
            self.began = Instant::now();
        }
        self.sql(doing, act)
    }

    /// Ends the transaction of the present chunk.
    fn commit(&mut self, doing: &'static str, sql: &str) -> Result<(), Error> {
        self.sql(doing, |c| c.execute_batch(sql))?;
        self.in_transaction = false;
        self.turn = None;
        Ok(())
    }

    /// Tells whether the present chunk has been open for so long that others should have a turn.
    pub(super) fn is_long(&self) -> bool {
        self.in_transaction && self.began.elapsed() > CHUNK_LONGEST
    }

    /// Commits what was written so far: rows that no reader sees, and parts that versions share.
    pub(super) fn commit_chunk(&mut self) -> Result<(), Error> {
        self.chunk_rows = 0;
        self.flush()?;
        self.commit("committing a chunk", "COMMIT")
    }

    /// Lets the catalog go before something that may take long: whatever was written is committed, and whoever waits comes in.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn let_go(&mut self) -> Result<(), Error> {
        if self.in_transaction { self.commit_chunk() } else { Ok(()) }
    }

    /// Writes the counters that are kept in memory between commits.
    fn flush(&mut self) -> Result<(), Error> {
        let dead = std::mem::take(&mut self.dead);
        let (source, next_node) = (self.source.0, self.next_node);
        self.write("counting dead names", |c| {
            c.prepare_cached("UPDATE source SET next_node = ?2 WHERE id = ?1")?.execute([source, next_node])?;
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
    /// [`Error::NumbersUsedUp`], [`Error::Sqlite`].
    pub fn new_node(&mut self) -> Result<NodeId, Error> {
        if self.next_node & ((1 << BLOCK_BITS) - 1) == 0 {
            // The block is used up (its first number is the root's or was given out when it was taken).
            let source = self.source.0;
            self.next_node = self.write("numbering nodes", |c| {
                let block = next_block(c)?;
                c.execute("INSERT INTO node_block(block, source) VALUES (?1, ?2)", [block, source])?;
                Ok(block << BLOCK_BITS)
            })?;
        }
        let node = check_node(self.path, self.next_node)?;
        self.next_node += 1;
        if let Some(running) = &mut self.running {
            running.numbered(node);
        }
        Ok(node)
    }

    /// Hears that `node`, of which nothing was told yet, is new: that of a first generation which is told again from its manifest.
    pub fn renumbered(&mut self, node: NodeId) {
        if let Some(running) = &mut self.running {
            running.numbered(node);
        }
    }

    /// Has the generation published only if its state has this hash.
    pub fn expect_state(&mut self, hash: [u8; 32]) {
        self.expected = Some(hash);
    }

    /// Proves the generation and makes it visible and durable. `walked`: the entries that a full walk saw; `index_ms`: how long it took.
    ///
    /// # Errors
    /// [`Error::Unproved`] if what was told does not hold together; [`Error::Full`] or [`Error::Sqlite`]. Then nothing of the
    /// generation can be seen, and the writer is spent.
    pub fn publish(mut self, walked: Option<u64>, index_ms: u64) -> Result<Published, Error> {
        let published = self.publish_rows(walked, index_ms);
        match published {
            Ok(published) => {
                self.ended = true;
                Ok(published)
            }
            Err(e) => {
                // The error that is told is the first one; what this one leaves, the next writer removes.
                self.spent.set(true);
                self.withdraw_manifest();
                let _ = self.abandon();
                Err(e)
            }
        }
    }

    fn publish_rows(&mut self, walked: Option<u64>, index_ms: u64) -> Result<Published, Error> {
        // Whoever told it may have had the last word after this was worked out.
        self.keep_unseen()?;
        self.count_links_of_kept()?;
        self.count_links()?;
        self.flush()?;
        match std::mem::replace(&mut self.mode, Mode::Append) {
            Mode::Append => {
                self.drop_nameless()?;
                proof::prove(self, walked)?;
                self.commit_chunk()?;
                self.sql("publishing a generation", |c| c.execute_batch("PRAGMA synchronous = FULL"))?;
                self.record_unknown()?;
                self.correct_notes()?;
            }
            Mode::Aside(draft) => {
                self.commit_chunk()?;
                self.put_in(&draft)?;
                self.record_unknown()?;
                self.settle_behind()?;
                self.drop_nameless()?;
                proof::prove(self, walked)?;
            }
        }
        let ids = self.ids.expect("a generation has its rows when it is published");
        self.heat_directories()?;
        self.write_details(ids)?;
        let published = self.finish_rows(ids, index_ms)?;
        self.finish_manifest(&published)?;
        self.commit("publishing a generation", "COMMIT; PRAGMA synchronous = NORMAL")?;
        Ok(published)
    }

    /// Puts in what was kept aside: one transaction, which is still open afterwards.
    fn put_in(&mut self, draft: &Draft) -> Result<(), Error> {
        // Away from `self`, which is written to.
        let (path, hot) = (std::mem::take(&mut self.copy.1), std::mem::take(&mut self.hot));
        let mut new = NewRows {
            source: self.source,
            at: self.at,
            level: self.level,
            copy: (self.copy.0, &path),
            now: self.now,
            sequence: self.sequence,
            first_content: self.first_content,
            number: None,
        };
        let (subject, previous, next) = (self.subject, self.previous, self.next);
        let (again, catalog) = (self.again, self.path);
        let ids = self.write("putting a generation in", |c| {
            let replaced = if again { Some(forget::generation(c, &subject, new.at, &hot, catalog)?) } else { None };
            new.number = replaced.as_ref().map(|(old, _)| old.number);
            let ids = insert_generation(c, &new)?;
            if let Some(old) = replaced.as_ref().and_then(|(old, _)| old.object) {
                replace_object(c, old.0, ids.object.0)?;
                draft.replace_object(old, ids.object)?;
            }
            let (at, sequence, seen_at) = (new.at, new.sequence, new.now);
            Insertion { c, subject, at, previous, next, sequence, seen_at, hot: &hot, draft }.run()?;
            if let Some((_, left)) = replaced {
                forget::tidy(c, &subject, left)?;
            }
            Ok(ids)
        })?;
        (self.ids, self.object) = (Some(ids), Some(ids.object));
        self.hot = hot;
        Ok(())
    }

    /// Has the generations behind this one, which was put in, keep what is before them now.
    fn settle_behind(&mut self) -> Result<(), Error> {
        let (subject, at, path) = (self.subject, self.at, self.path);
        let hot = std::mem::take(&mut self.hot);
        self.write("keeping what is unknown", |c| {
            let instants = instants(c, subject.source, Some(at))?;
            let nodes = subject.settle_behind(c, (&hot, path), &instants, Some(at))?;
            forget::tidy(c, &subject, forget::Left::Nodes(nodes.into_iter().collect()))
        })
    }

    /// Returns how many names the generation has by its rows, and how many bytes: those of the base, and what was told.
    pub(super) fn totals(&self) -> Result<(i64, i64), Error> {
        let (names, size_bytes) = (self.ledger.names, self.ledger.size_bytes);
        let Some(previous) = self.previous else { return Ok((names, size_bytes)) };
        self.sql("counting names", |c| {
            c.query_row(
                "SELECT coalesce(entries, 0), coalesce(size_bytes, 0) FROM generation WHERE source = ?1 AND taken_at = ?2",
                [self.source.0, previous.0],
                |r| Ok((r.get::<_, i64>(0)? + names, r.get::<_, i64>(1)? + size_bytes)),
            )
        })
    }

    /// Removes versions of nodes that no name leads to, which nobody can see, and takes the bytes of dead files off the sum.
    fn drop_nameless(&mut self) -> Result<(), Error> {
        let only_put = self.ledger.half.iter().filter(|(_, half)| **half == Half::Version).map(|(node, _)| *node);
        // One of the base may have lost its last name after something was put.
        let nameless: BTreeSet<NodeId> =
            only_put.chain(self.ledger.linked.iter().copied()).filter(|node| *node != self.root).collect();
        let (at, previous, subject) = (self.at, self.previous, self.subject);
        for node in nameless {
            let dead_bytes = self.write("removing what no name leads to", |c| {
                if tables::has_name_at(c, node, at)? {
                    return Ok(0);
                }
                let Some(row) = tables::version_at(c, node, at)? else { return Ok(0) };
                let is_counted = row.born == at.0 || subject.living(c, node, previous)?.is_some();
                let is_file = Kind::from_mode(parts::perm(c, row.perm)?.mode) == Some(Kind::File);
                if row.born == at.0 {
                    tables::delete_version(c, node, at.0)?;
                    tables::drop_content(c, node, row.place)?;
                    tables::drop_digests(c, node)?;
                }
                Ok(if is_counted && is_file { row.size_bytes as i64 } else { 0 })
            })?;
            self.ledger.size_bytes -= dead_bytes;
            if self.ledger.half.remove(&node) == Some(Half::Version) {
                self.ledger.again.insert(node);
            }
        }
        Ok(())
    }

    /// Makes the notes of an appended generation the difference between the one before and it.
    fn correct_notes(&mut self) -> Result<(), Error> {
        let Some(previous) = self.previous else { return Ok(()) };
        let again = std::mem::take(&mut self.ledger.again);
        let (subject, at) = (self.subject, self.at);
        self.write("publishing a generation", |c| {
            // A node that an older or a newer generation knows, and the previous one has not, is new here; and what is new differs
            // from none.
            c.execute(
                "UPDATE change SET op = (op | 1) & ~6 WHERE source = ?1 AND at = ?2 AND op & 8 \
                 AND NOT EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node \
                 WHERE d.node = change.node AND d.born <= ?3 AND d.died > ?3)",
                [subject.source.0, at.0, previous.0],
            )?;
            // One that lost its last name has only lost it.
            c.execute(
                "UPDATE change SET op = 16 WHERE source = ?1 AND at = ?2 AND op & 16 AND op <> 16 AND node <> ?3 \
                 AND NOT EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node \
                 WHERE d.node = change.node AND d.born <= ?2 AND d.died > ?2)",
                [subject.source.0, at.0, subject.root.0],
            )?;
            for node in again {
                // What was told again may be what the base says.
                if let (Some(then), Some(now)) =
                    (subject.living(c, node, Some(previous))?, tables::version_at(c, node, at)?)
                    && now.born == at.0
                    && then.born != at.0
                    && super::notes::differ(c, node, &then, &now, subject.rule)?.is_empty()
                {
                    tables::delete_version(c, node, at.0)?;
                    tables::drop_content(c, node, now.place)?;
                    tables::drop_digests(c, node)?;
                }
                subject.note(c, node, previous, at)?;
            }
            Ok(())
        })
    }

    /// Writes what was told of the generation itself.
    fn write_details(&mut self, ids: Ids) -> Result<(), Error> {
        if let Some(disk) = self.disk.take() {
            self.write_disk(ids, &disk)?;
        }
        for volume in std::mem::take(&mut self.volumes) {
            self.write_volume(ids.generation, &volume)?;
        }
        if let Some(seen) = self.walked.take() {
            self.write_walked(ids, &seen)?;
        }
        if let Some((scan, state)) = self.resume.take() {
            self.write("recording where the next generation goes on", |c| {
                c.execute(
                    "UPDATE generation SET scan = ?2, resume = ?3 WHERE id = ?1",
                    params![ids.generation.0, scan.word(), state],
                )
            })?;
        }
        Ok(())
    }

    /// Counts, and makes the generation one that is asked for.
    fn finish_rows(&mut self, ids: Ids, index_ms: u64) -> Result<Published, Error> {
        let (source, at, previous) = (self.source, self.at, self.previous);
        let (entries, size_bytes) = self.totals()?;
        let state = self.state()?.to_bytes();
        if self.expected.is_some_and(|expected| expected != state) {
            let what = "what was told gives another state than it must have".to_owned();
            return Err(Error::Unproved { at: self.at, path: String::new(), what });
        }
        let counts = Counts {
            entries: u64::try_from(entries).unwrap_or(0),
            size_bytes: u64::try_from(size_bytes).unwrap_or(0),
            losses: self.ledger.losses,
            notices: self.ledger.notices,
            gaps: self.ledger.gaps,
            index_ms,
        };
        self.write("publishing a generation", |c| {
            let changed: i64 = match previous {
                None => entries,
                Some(_) => c.query_row("SELECT count(*) FROM change WHERE source = ?1 AND at = ?2", [source.0, at.0], |r| r.get(0))?,
            };
            c.execute(
                "UPDATE generation SET status = ?2, index_ms = ?3, entries = ?4, size_bytes = ?5, changed_nodes = ?6, losses = ?7, notices = ?8, gaps = ?9, \
                 state_hash = ?10 WHERE id = ?1",
                params![
                    ids.generation.0,
                    Status::Published.word(),
                    counts.index_ms as i64,
                    counts.entries as i64,
                    counts.size_bytes as i64,
                    changed,
                    counts.losses as i64,
                    counts.notices as i64,
                    counts.gaps as i64,
                    state
                ],
            )?;
            let mut statement = c.prepare_cached("INSERT OR IGNORE INTO instant_fork(at, fork) VALUES (?1, ?2)")?;
            let mut forks = Vec::new();
            interval::path(at.0, |fork| forks.push(fork));
            forks.into_iter().try_for_each(|fork| statement.execute([at.0, fork]).map(drop))?;
            Ok(Published { counts, changed_nodes: changed as u64, state_hash: state })
        })
    }

    /// Returns the state of this generation: that of the one before it, and what is noted as changed.
    fn state(&mut self) -> Result<StateSum, Error> {
        if let Some(running) = self.running.take() {
            return running.end(self.connection).inspect_err(|_| self.spent.set(true));
        }
        let mut states = States::new(self.path);
        let (subject, at) = (self.subject, self.at);
        let before = match self.previous {
            Some(previous) => {
                self.sql("reading a state", |c| state_at(c, &subject, previous))?.map(|sum| (previous, sum))
            }
            None => None,
        };
        let Some((previous, mut sum)) = before else {
            return states.sum_of(self.connection, subject.source, subject.root, at);
        };
        for node in self.sql("reading what changed", |c| tables::noted(c, subject.source, at))? {
            states.delta(self.connection, (node, subject.root), Some(previous), at, &mut sum)?;
        }
        Ok(sum)
    }

    /// Removes everything that was written of this generation.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`]; then the next [`Writer::open`] does it, and this writer is spent.
    pub fn abandon(mut self) -> Result<(), Error> {
        self.ended = true;
        // In an error SQLite may have rolled back by itself; a second ROLLBACK says so and is harmless.
        let _ = self.connection.execute_batch("ROLLBACK");
        self.in_transaction = false;
        self.turn = None;
        // With what was written of its manifest.
        self.tee = None;
        let Some(ids) = self.ids else { return Ok(()) };
        let (subject, at) = (self.subject, self.at);
        let _turn = self.locking.take()?;
        self.sql("removing an unfinished generation", |c| {
            in_transaction(c, |c| {
                // Of one that was kept aside the roll-back left nothing.
                let is_there = c.query_row(
                    "SELECT EXISTS(SELECT 1 FROM generation WHERE id = ?1 AND status <> 'published')",
                    [ids.generation.0],
                    |r| r.get::<_, bool>(0),
                )?;
                if is_there { forget::undo(c, &subject, (ids.generation, at)) } else { Ok(()) }
            })
        })
    }

    /// Turns directories hot whose dead names outnumber the living too much.
    fn heat_directories(&mut self) -> Result<(), Error> {
        self.write("indexing churning directories", |c| {
            let mut statement = c.prepare_cached("SELECT dir FROM directory_history WHERE NOT hot AND dead > ?1")?;
            let candidates: Vec<i64> =
                statement.query_map([HOT_MIN], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
            for dir in candidates {
                let (rows, live): (i64, i64) = c
                    .prepare_cached("SELECT count(*), coalesce(sum(died = ?2), 0) FROM dirent WHERE parent = ?1")?
                    .query_row([dir, crate::model::FOREVER.0], |r| Ok((r.get(0)?, r.get(1)?)))?;
                if rows - live > HOT_RATIO * live + HOT_MIN {
                    tables::heat(c, dir)?;
                }
            }
            Ok(())
        })
    }
}

impl Drop for GenerationWriter<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // Chunks of it may be there: only the next writer removes them.
            self.spent.set(true);
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

/// Returns the state hash of the generation of a source at `at`, if it was counted.
fn state_at(c: &Connection, subject: &Subject, at: Time) -> rusqlite::Result<Option<StateSum>> {
    let mut statement = c.prepare_cached("SELECT state_hash FROM generation WHERE source = ?1 AND taken_at = ?2")?;
    let hash: Option<[u8; 32]> = statement.query_row([subject.source.0, at.0], |r| r.get(0))?;
    Ok(hash.map(StateSum::from_bytes))
}

/// Returns the number of the next block of node numbers; the caller inserts it.
pub(super) fn next_block(c: &Connection) -> rusqlite::Result<i64> {
    next_id(c, "node_block")
}

/// Returns the number that the next row of a table will have.
fn next_id(c: &Connection, table: &str) -> rusqlite::Result<i64> {
    // SQLite keeps the highest number ever used of an AUTOINCREMENT table, those of deleted rows included.
    let highest: Option<i64> = c
        .query_row("SELECT max(seq) FROM sqlite_sequence WHERE name = ?1", [table], |r| r.get(0))
        .optional()?
        .flatten();
    Ok(highest.unwrap_or(0) + 1)
}

/// Runs `act` in a transaction of its own; on an error nothing of it stays.
pub(super) fn in_transaction<T>(
    c: &Connection,
    act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    c.execute_batch("BEGIN IMMEDIATE")?;
    match act(c).and_then(|value| c.execute_batch("COMMIT").map(|()| value)) {
        Ok(value) => Ok(value),
        Err(e) => {
            let _ = c.execute_batch("ROLLBACK");
            Err(e)
        }
    }
}
