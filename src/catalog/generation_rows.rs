//! The rows of a generation itself: the ones that make it there, and where it stands among the others of its source.
//!
//! Promises: a generation that is added is seen by nobody until its status says so.

use super::tables;
use crate::model::{Counts, GenerationId, Level, ObjectId, SourceId, Status, StoreId, Time};
use rusqlite::{Connection, params};

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

/// Rows of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) generation: GenerationId,
    pub(super) object: ObjectId,
}

/// The rows of a generation itself.
pub(super) struct NewRows<'r> {
    pub(super) source: SourceId,
    pub(super) at: Time,
    pub(super) level: Level,
    pub(super) copy: (StoreId, &'r [u8]),
    pub(super) now: Time,
    pub(super) sequence: i64,
    pub(super) first_content: i64,
    /// Its number, if it takes the place of another; none: the next one.
    pub(super) number: Option<i64>,
}

/// Adds a generation that nobody sees yet, its object, and where that lies.
pub(super) fn insert_generation(c: &Connection, new: &NewRows<'_>) -> rusqlite::Result<Ids> {
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
