//! Publishing a generation: what was told is put in, proved and counted, and made visible by its last transaction.
//!
//! Promises: a generation is invisible until [`GenerationWriter::publish`] has committed its last transaction, which is synced to disk;
//! it is not published if what was told does not hold together ([`super::proof`]), or its manifest cannot be kept.

use super::draft::{Draft, Mode};
use super::error::Error;
use super::generation::GenerationWriter;
use super::generation_rows::{Ids, NewRows, Published, insert_generation, instants};
use super::insert::Insertion;
use super::ledger::Half;
use super::objects::replace_object;
use super::state::{StateSum, States, state_at};
use super::{interval, name_index, notes, parts, proof, settle, tables, take_out};
use crate::model::{Counts, Kind, NodeId, Status};
use rusqlite::params;
use std::collections::BTreeSet;

/// A directory turns hot when its dead names outnumber the living `HOT_RATIO` times and by `HOT_MIN` more:
/// a dead row costs a scan 48 ns and a living one an inode seek of about 1.5 us, so up to there an index
/// would not pay.
const HOT_RATIO: i64 = 32;
const HOT_MIN: i64 = 1024;

impl GenerationWriter<'_> {
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
                self.manifest_is_published();
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
        self.keep_more_findings()?;
        // Whoever told it may have had the last word after this was worked out.
        self.keep_unseen()?;
        self.count_links_of_kept()?;
        self.count_links()?;
        self.flush()?;
        match std::mem::replace(&mut self.mode, Mode::Append) {
            Mode::Append => {
                self.drop_nameless(None)?;
                proof::prove(self, walked)?;
                self.commit_chunk()?;
                self.sql("publishing a generation", |c| c.execute_batch("PRAGMA synchronous = FULL"))?;
                self.record_unknown()?;
                self.write_defined()?;
                self.correct_notes()?;
            }
            Mode::Aside(draft) => {
                self.commit_chunk()?;
                self.put_in(&draft)?;
                self.record_unknown()?;
                self.settle_behind()?;
                self.drop_nameless(Some(&draft))?;
                proof::prove(self, walked)?;
            }
        }
        let ids = self.ids.expect("a generation has its rows when it is published");
        self.heat_directories()?;
        self.write_details(ids)?;
        let published = self.finish_rows(ids, index_ms)?;
        self.write("keeping the index of names up", name_index::settle)?;
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
            let notes_names = name_index::exists(c)?;
            let replaced = if again { Some(take_out::generation(c, &subject, new.at, &hot, catalog)?) } else { None };
            new.number = replaced.as_ref().map(|(old, _)| old.number);
            let ids = insert_generation(c, &new)?;
            if let Some(old) = replaced.as_ref().and_then(|(old, _)| old.object) {
                replace_object(c, old.0, ids.object.0)?;
                draft.replace_object(old, ids.object)?;
            }
            let (at, sequence, seen_at) = (new.at, new.sequence, new.now);
            Insertion { c, subject, at, previous, next, sequence, seen_at, hot: &hot, draft, notes_names }.run()?;
            if let Some((_, left)) = replaced {
                take_out::tidy(c, &subject, left)?;
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
            let nodes = settle::behind(c, &subject, (&hot, path), &instants, Some(at))?;
            take_out::tidy(c, &subject, take_out::Left::Nodes(nodes.into_iter().collect()))
        })
    }

    /// Removes versions of nodes that no name leads to, which nobody can see, and takes the bytes of dead files off the sum. Those that were
    /// kept aside were counted, and got no row.
    fn drop_nameless(&mut self, draft: Option<&Draft>) -> Result<(), Error> {
        let only_put = self.ledger.half.only(Half::Version);
        // One of the base may have lost its last name after something was put.
        let nameless: BTreeSet<NodeId> =
            only_put.chain(self.ledger.linked.iter().copied()).filter(|node| *node != self.root).collect();
        let (at, previous, subject) = (self.at, self.previous, self.subject);
        for node in nameless {
            let dead_bytes = self.write("removing what no name leads to", |c| {
                if tables::has_name_at(c, node, at)? {
                    return Ok(0);
                }
                let told = draft.map_or(Ok(None), |draft| draft.version(node))?;
                let Some(row) = told.map_or_else(|| tables::version_at(c, node, at), |told| Ok(Some(told)))? else {
                    return Ok(0);
                };
                let is_file = Kind::from_mode(parts::perm(c, row.perm)?.mode) == Some(Kind::File);
                if told.is_some() {
                    return Ok(if is_file { i128::from(row.size_bytes) } else { 0 });
                }
                let is_counted = row.born == at.0 || subject.living(c, node, previous)?.is_some();
                if row.born == at.0 {
                    tables::delete_version(c, node, at.0)?;
                    tables::drop_content(c, node, row.place)?;
                    // Also who it is: no generation may have anything else of it.
                    take_out::tidy(c, &subject, take_out::Left::Nodes(vec![node]))?;
                }
                Ok(if is_counted && is_file { i128::from(row.size_bytes) } else { 0 })
            })?;
            self.ledger.size_bytes -= dead_bytes;
            // One that has a name and no attributes stays for the proof.
            if self.ledger.half.get(node) == Some(Half::Version) {
                self.ledger.half.remove(node);
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
                    && notes::differ(c, node, &then, &now, subject.rule)?.is_empty()
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
            let what = "the edits give another state than expected".to_owned();
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
                self.sql("reading a state", |c| state_at(c, subject.source, previous))?.map(|sum| (previous, sum))
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

    /// Turns directories of this source hot whose dead names outnumber the living too much. Runs of other sources write to theirs as they
    /// were when these runs began. `dead` says when to count and no more, for rows decide: nothing takes off it what a run counted that was
    /// undone, or rows of a generation that was forgotten.
    fn heat_directories(&mut self) -> Result<(), Error> {
        let source = self.source.0;
        self.write("indexing churning directories", |c| {
            let mut statement = c.prepare_cached(
                "SELECT h.dir FROM directory_history h JOIN node_block b ON b.block = h.dir >> 16 \
                 WHERE NOT h.hot AND h.dead > ?1 AND b.source = ?2",
            )?;
            let candidates: Vec<i64> =
                statement.query_map([HOT_MIN, source], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
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
