//! What a question is asked of: one source, and the instants of its published generations.
//!
//! Promises: instants are in order. Births and deaths of rows are turned into places among them, so a birth older than the oldest
//! generation is "since the oldest", and what an unfinished generation wrote holds nowhere.

use crate::catalog::history::Instants;
use crate::catalog::{Error, Reader, SourceRow};
use crate::model::{FOREVER, SourceId, Time};
use rusqlite::Connection;
use std::ops::Range;

pub(super) const PUBLISHED: &str =
    "SELECT taken_at FROM generation WHERE source = ?1 AND status = 'published' ORDER BY taken_at";

const DOUBTS: &str = "SELECT count(DISTINCT d.node) FROM doubt d JOIN node_block b ON b.block = d.node >> 16 \
     WHERE b.source = ?1 AND ((d.born <= ?2 AND d.died > ?2) OR (d.born <= ?3 AND d.died > ?3))";

/// One source, and the instants of its published generations.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The source.
    pub source: SourceRow,
    pub(super) instants: Instants,
}

impl Scope {
    /// Returns what can be asked of a source as far as these generations go; their instants are in order. Rows of others show nowhere.
    pub fn of(source: SourceRow, instants: &[Time]) -> Self {
        Self { source, instants: Instants::new(instants.iter().map(|at| at.0).collect()) }
    }

    /// Returns the instants of the generations, oldest first.
    pub fn instants(&self) -> impl DoubleEndedIterator<Item = Time> {
        (0..self.instants.len()).map(|place| self.at(place))
    }

    /// Returns the newest generation up to `at`.
    pub fn newest(&self, at: Time) -> Option<Time> {
        self.instants.place(at.0.saturating_add(1)).checked_sub(1).map(|place| self.at(place))
    }

    /// Returns the generation before the one at `at`.
    pub fn before(&self, at: Time) -> Option<Time> {
        self.instants.place(at.0).checked_sub(1).map(|place| self.at(place))
    }

    /// Returns how many generations there are.
    pub(super) fn len(&self) -> usize {
        self.instants.len()
    }

    /// Returns all places.
    pub(super) fn all(&self) -> Range<usize> {
        0..self.len()
    }

    /// Returns the instant at `place`, which is one of them.
    pub(super) fn at(&self, place: usize) -> Time {
        self.instants.at(place).map_or(FOREVER, Time)
    }

    /// Returns the place of the generation at `at`.
    pub(super) fn place(&self, at: Time) -> usize {
        self.instants.place(at.0)
    }

    /// Returns the first generation after a span of places; none if the span reaches to the newest.
    pub(super) fn end(&self, span: &Range<usize>) -> Option<Time> {
        self.instants.at(span.end).map(Time)
    }

    /// Returns the places at which a row holds.
    pub(super) fn span(&self, born: i64, died: i64) -> Range<usize> {
        self.instants.span(born, died)
    }
}

fn published(c: &Connection, source: SourceId) -> rusqlite::Result<Instants> {
    let mut statement = c.prepare_cached(PUBLISHED)?;
    Ok(Instants::new(statement.query_map([source.0], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?))
}

impl Reader {
    /// Returns what can be asked of a source. One range of an index, 8 bytes a generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn scope(&self, source: SourceRow) -> Result<Scope, Error> {
        let instants = self.run("listing generations", |c| published(c, source.id))?;
        Ok(Scope { source, instants })
    }

    /// Returns how many directories of the source could not be listed when one of two generations was indexed. No query where nothing in
    /// the catalog is in doubt.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn doubts_at(&self, scope: &Scope, (one, other): (Time, Time)) -> Result<u64, Error> {
        if !self.has_kept()? {
            return Ok(0);
        }
        self.run("counting doubts", |c| {
            c.prepare_cached(DOUBTS)?
                .query_row([scope.source.id.0, one.0, other.0], |row| row.get::<_, i64>(0))
                .map(|n| n as u64)
        })
    }

    /// Returns what can be asked of the source called `name`.
    ///
    /// # Errors
    /// [`Error::NoSuchSource`] with the names that there are.
    pub fn scope_of(&self, name: &str) -> Result<Scope, Error> {
        self.scope(self.source(name)?)
    }
}
