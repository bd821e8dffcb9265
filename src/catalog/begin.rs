//! Beginning a generation: where it lies among the others of its source, and its rows, which nobody sees yet.
//!
//! Promises: one that is newer than all others has its rows at once; one that lies before another has none until it is put in. Where it
//! cannot be begun nothing of it stays.

use super::doubt;
use super::draft::{Draft, Mode};
use super::error::Error;
use super::generation::GenerationWriter;
use super::generation_rows::{Ids, NewRows, insert_generation, neighbours};
use super::ledger::Ledger;
use super::listing::{hot_directories, list_sql};
use super::numbers::check_generation;
use super::objects::object_of;
use super::parts::Interned;
use super::rows::SourceRow;
use super::running::Running;
use super::tables::next_id;
use super::writer::Writer;
use crate::model::{Level, ObjectId, StoreId, Time};
use foldhash::{HashMap, HashSet};
use rusqlite::Connection;
use std::time::Instant;

/// A generation that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewGeneration<'a> {
    /// Its source.
    pub source: &'a SourceRow,
    /// Its instant.
    pub at: Time,
    /// How much of the source its object holds.
    pub level: Level,
    /// Where its bytes lie: a store, and the path below it.
    pub copy: (StoreId, &'a [u8]),
    /// Now.
    pub now: Time,
    /// Whether it takes the place of the published generation of this second, which is forgotten in the same transaction.
    pub again: bool,
}

impl Writer {
    /// Begins a generation. It may lie before, between or after those that are there.
    ///
    /// # Errors
    /// [`Error::GenerationExists`] if the source has one of this second and it is not to be told again; [`Error::NoSuchGeneration`] if it
    /// is and there is none; [`Error::Spent`] after an error; [`Error::Sqlite`].
    pub fn begin(&mut self, new: &NewGeneration<'_>) -> Result<GenerationWriter<'_>, Error> {
        self.check_unspent()?;
        self.undo_unfinished(new.source.id)?;
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
        self.tidy_manifests(source, at)?;
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
            notes_names: false,
            dead: HashMap::default(),
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
