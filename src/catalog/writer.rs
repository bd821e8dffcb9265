//! The one writer of a catalog: opened, rid of what killed runs left, and spent after an error.
//!
//! Promises: [`Writer::open`] first removes what killed runs left. A writer that met an error is spent: nothing else can be begun on it,
//! so nothing is built on what it may have left. Never reads a file of a backup.

use super::error::Error;
use super::holder::Busy;
use super::lock::{CatalogLock, CatalogLockFile, LockWait, Locking};
use super::notes::Subject;
use super::{connect, doubt, rows, take_out};
use crate::model::manifest::Recorder;
use crate::model::{GenerationId, NodeId, SourceId, Time};
use rusqlite::Connection;
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

/// The one writer of a catalog.
pub struct Writer {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    cleaned: Vec<(String, Time)>,
    /// What keeps manifests; none: there are none.
    pub(super) recorder: Option<Box<dyn Recorder + Send>>,
    /// Whether something went wrong after which nothing else may be begun.
    pub(super) spent: Cell<bool>,
    pub(super) locking: Locking,
}

impl Writer {
    /// Makes a new, empty catalog at `path`.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NetworkFilesystem`], [`Error::Io`], [`Error::Sqlite`].
    pub fn create(path: &Path) -> Result<(), Error> {
        connect::create(path, None)
    }

    /// Makes one that the group `gid` may read, too.
    ///
    /// # Errors
    /// As [`Writer::create`].
    pub fn create_for_group(path: &Path, gid: u32) -> Result<(), Error> {
        connect::create(path, Some(gid))
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

    /// Removes what killed runs left of a source, whose lock is held: in the catalog, and of its manifests where these are kept. Second places
    /// of manifests get what they lack.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn clean_up(&mut self, source: SourceId) -> Result<(), Error> {
        self.undo_unfinished(source)?;
        // What cannot be removed now is told to whoever begins a generation, or forgets one.
        let _ = self.tidy_manifests(source, Time(0));
        self.copy_manifests(source)
    }

    /// Removes the unfinished generations of a source, whose lock is held.
    pub(super) fn undo_unfinished(&mut self, source: SourceId) -> Result<(), Error> {
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
            self.change(doing, |c| take_out::undo(c, &subject, ids))?;
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
                Ok(Subject { source, root: NodeId(r.get(0)?), rule: rows::read_rule(r, 1)? })
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
