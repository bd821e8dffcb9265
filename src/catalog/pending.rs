//! Runs that have begun something outside of the catalog and are not known to have ended: what the next run has to look after.
//!
//! Promises: what is noted is on the disk when the call returns. A run that was killed stays open here, whatever became of its source
//! or of the folder that it wrote to. What a note says is its writer's business.

use super::{Error, Reader, Writer};
use crate::model::{SourceId, Time};
use rusqlite::{Connection, params};

/// A run that has not ended, or was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRun {
    /// Its row.
    pub id: i64,
    /// The source that it is of; its row may be gone.
    pub source: Option<SourceId>,
    /// What it noted.
    pub note: String,
}

impl Writer {
    /// Notes that a run of `verb` begins something, and returns its row.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn begin_run(&mut self, verb: &str, source: SourceId, note: &str, now: Time) -> Result<i64, Error> {
        self.durably("noting a run", |c| {
            c.execute(
                "INSERT INTO run(verb, source, began, counts) VALUES (?1, ?2, ?3, ?4)",
                params![verb, source.0, now.0, note],
            )?;
            Ok(c.last_insert_rowid())
        })
    }

    /// Notes what a run that goes on has begun meanwhile, in place of what it noted before.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn note_run(&mut self, run: i64, note: &str) -> Result<(), Error> {
        self.durably("noting a run", |c| {
            c.execute("UPDATE run SET counts = ?2 WHERE id = ?1", params![run, note]).map(drop)
        })
    }

    /// Notes that runs have ended, and what came of them: nothing of them is left to look after.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`].
    pub fn end_runs(&mut self, runs: &[i64], result: &str, now: Time) -> Result<(), Error> {
        self.durably("noting the end of a run", |c| {
            for run in runs {
                c.execute("UPDATE run SET ended = ?2, result = ?3 WHERE id = ?1", params![run, now.0, result])?;
            }
            Ok(())
        })
    }

    /// Returns the runs of `verb` that have not ended, the oldest first, those of sources that are gone among them.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn open_runs(&self, verb: &str) -> Result<Vec<OpenRun>, Error> {
        self.sql("reading which runs have not ended", |c| open_runs(c, verb))
    }

    fn durably<T>(
        &self,
        doing: &'static str,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.sql(doing, |c| c.execute_batch("PRAGMA synchronous = FULL"))?;
        let done = self.change(doing, act);
        self.sql(doing, |c| c.execute_batch("PRAGMA synchronous = NORMAL"))?;
        done
    }
}

impl Reader {
    /// As [`Writer::open_runs`].
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn open_runs(&self, verb: &str) -> Result<Vec<OpenRun>, Error> {
        self.run("reading which runs have not ended", |c| open_runs(c, verb))
    }
}

fn open_runs(c: &Connection, verb: &str) -> rusqlite::Result<Vec<OpenRun>> {
    let mut statement = c.prepare_cached(
        "SELECT id, source, coalesce(counts, '') FROM run WHERE verb = ?1 AND ended IS NULL ORDER BY id",
    )?;
    let read = |r: &rusqlite::Row<'_>| {
        Ok(OpenRun { id: r.get(0)?, source: r.get::<_, Option<i64>>(1)?.map(SourceId), note: r.get(2)? })
    };
    statement.query_map([verb], read)?.collect()
}
