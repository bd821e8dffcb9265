//! The generation that is being written: its transactions, the node numbers that it gives out, and giving it up.
//!
//! Promises: nobody sees what is committed before it is published. What fails spends the writer; one that is abandoned leaves nothing,
//! and one that is dropped is removed by the next writer. Beside other writers the catalog's lock is held while a transaction is open,
//! and no longer.

use super::draft::Mode;
use super::error::Error;
use super::generation_rows::Ids;
use super::ledger::Ledger;
use super::lock::{CatalogLock, Locking};
use super::name_index;
use super::notes::Subject;
use super::numbers::check_node;
use super::parts::Interned;
use super::running::Running;
use super::tables::{self, BLOCK_BITS, next_block};
use super::take_out;
use super::tee::Tee;
use super::unknown::Unknown;
use super::writer::in_transaction;
use crate::model::{DiskRow, Level, NodeId, ObjectId, Scan, SeenCopy, SourceId, StoreId, Time, VolumeRow};
use foldhash::{HashMap, HashSet};
use rusqlite::Connection;
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a chunk holds the catalog's lock; whoever waits for it looks every 20 ms.
const CHUNK_LONGEST: Duration = Duration::from_millis(500);

/// Writes one generation. It is told the state at its instant, as edits against the generation before.
pub struct GenerationWriter<'w> {
    pub(super) connection: &'w Connection,
    pub(super) path: &'w Path,
    pub(super) spent: &'w Cell<bool>,
    pub(super) locking: &'w Locking,
    /// The lock of the catalog, while a transaction is open.
    pub(super) turn: Option<CatalogLock>,
    /// When that was begun.
    pub(super) began: Instant,
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
    pub(super) expected: Option<[u8; 32]>,
    pub(super) sequence: i64,
    pub(super) next_node: i64,
    pub(super) first_content: i64,
    pub(super) hot: HashSet<i64>,
    pub(super) mode: Mode,
    pub(super) list_sql: String,
    pub(super) chunk_rows: u32,
    pub(super) in_transaction: bool,
    /// Whether there is an index of names that is to be kept up, as of the present transaction.
    pub(super) notes_names: bool,
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
    pub(super) ended: bool,
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
            self.notes_names = self.sql(doing, name_index::exists)?;
            self.began = Instant::now();
        }
        self.sql(doing, act)
    }

    /// Ends the transaction of the present chunk.
    pub(super) fn commit(&mut self, doing: &'static str, sql: &str) -> Result<(), Error> {
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
        if self.in_transaction && self.notes_names {
            self.sql("keeping the index of names up", name_index::keep_up)?;
        }
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
    pub(super) fn flush(&mut self) -> Result<(), Error> {
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

    /// Returns how many names the generation has by its rows, and how many bytes: those of the base, and what was told.
    pub(super) fn totals(&self) -> Result<(i64, i64), Error> {
        let (names, size_bytes) = (self.ledger.names, self.ledger.size_bytes);
        let Some(previous) = self.previous else { return Ok((names, tables::at_most(size_bytes))) };
        self.sql("counting names", |c| {
            let (entries, before): (i64, i64) = c.query_row(
                "SELECT coalesce(entries, 0), coalesce(size_bytes, 0) FROM generation WHERE source = ?1 AND taken_at = ?2",
                [self.source.0, previous.0],
                |r| Ok((r.get(0)?, r.get(1)?)),
            )?;
            Ok((entries + names, tables::bytes_after(c, self.source, self.at, before, size_bytes)?))
        })
    }

    /// Removes everything that was written of this generation.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`]; then the next [`super::Writer::open`] does it, and this writer is spent.
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
                if is_there { take_out::undo(c, &subject, (ids.generation, at)) } else { Ok(()) }
            })
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
