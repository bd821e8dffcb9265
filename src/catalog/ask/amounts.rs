//! How a source grew and how much each generation changed: the views `growth` and `churn`, read for the command line.
//!
//! Promises: what is read are the views themselves, so a verb and SQL say the same; they leave all other sources out by a seek.

use super::scope::Scope;
use crate::catalog::{Error, Reader};
use crate::model::Time;

pub(super) const GROWTH: &str =
    "SELECT time, entries, size_bytes, more_entries, more_bytes FROM growth WHERE source = ?1 ORDER BY time";
pub(super) const CHURN: &str = "SELECT time, changed, created, deleted, modified, renamed, attributes, new_bytes, gone_bytes FROM churn \
     WHERE source = ?1 AND time >= ?2 ORDER BY time";

/// How much is in a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The generation.
    pub at: Time,
    /// Names in it.
    pub entries: i64,
    /// Content of its regular files.
    pub size_bytes: i64,
    /// More names than in the generation before; none: there is none before.
    pub more_entries: Option<i64>,
    /// More bytes than in the generation before.
    pub more_bytes: Option<i64>,
}

/// How much a generation changed against the one before it; each node counts once, as the first of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Churn {
    /// The generation.
    pub at: Time,
    /// How many nodes differ.
    pub changed: i64,
    /// Are new.
    pub created: i64,
    /// Are gone.
    pub deleted: i64,
    /// Have other content.
    pub modified: i64,
    /// Have other names.
    pub renamed: i64,
    /// Have other attributes alone.
    pub attributes: i64,
    /// Bytes of files that are created or modified.
    pub new_bytes: i64,
    /// Bytes that deleted and modified files had before.
    pub gone_bytes: i64,
}

impl Reader {
    /// Returns how much is in each generation of a source, the oldest first. Some rows a generation are read.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn growth(&self, scope: &Scope) -> Result<Vec<Growth>, Error> {
        self.run("reading the view growth", |c| {
            let mut statement = c.prepare_cached(GROWTH)?;
            let rows = statement.query_map([&scope.source.name], |row| {
                Ok(Growth {
                    at: Time(row.get(0)?),
                    entries: row.get(1)?,
                    size_bytes: row.get(2)?,
                    more_entries: row.get(3)?,
                    more_bytes: row.get(4)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Returns how much each generation of a source from `since` on changed, the oldest first; the first of all has none before it. Costs
    /// what they changed.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn churn(&self, scope: &Scope, since: Time) -> Result<Vec<Churn>, Error> {
        self.run("reading the view churn", |c| {
            let mut statement = c.prepare_cached(CHURN)?;
            let rows = statement.query_map(rusqlite::params![scope.source.name, since.0], |row| {
                Ok(Churn {
                    at: Time(row.get(0)?),
                    changed: row.get(1)?,
                    created: row.get(2)?,
                    deleted: row.get(3)?,
                    modified: row.get(4)?,
                    renamed: row.get(5)?,
                    attributes: row.get(6)?,
                    new_bytes: row.get(7)?,
                    gone_bytes: row.get(8)?,
                })
            })?;
            rows.collect()
        })
    }
}
