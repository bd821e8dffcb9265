//! Settling again: a generation that is in doubt is what the one before it is now, after that was put in, forgotten, or settled itself.
//!
//! The generations behind are settled in order, until one has no doubt or comes out as it was.
//!
//! Promises: what was seen stays as it was. Rows are written only for what is kept otherwise than before.

use super::doubt::{Kept, Name, doubts_at, edit_kept, edited, kept_at, kept_of};
use super::kept::has_any;
use super::notes::Subject;
use super::parts;
use super::rows::{KindNumber, NodeRow};
use super::runs::{self, Beside, Run};
use super::state::{StateSum, States};
use super::tables::{self, Slot};
use super::versions::{TakeOut, put_versions};
use crate::model::{Kind, NodeId, Time};
use foldhash::HashSet;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use std::path::Path;

/// Settles the generations of `instants`, all that there are, behind `from` (none: all of them); returns the nodes that are others in
/// any of them. `path` is the catalog, which errors name.
pub(super) fn behind(
    c: &Connection,
    subject: &Subject,
    (hot, path): (&HashSet<i64>, &Path),
    instants: &[Time],
    from: Option<Time>,
) -> rusqlite::Result<BTreeSet<NodeId>> {
    Settle { c, subject, hot, path }.behind(instants, from)
}

/// Lets generations keep what the ones before them have now.
struct Settle<'s> {
    c: &'s Connection,
    subject: &'s Subject,
    hot: &'s HashSet<i64>,
    /// The catalog, which errors name.
    path: &'s Path,
}

/// A node that may not be what it was.
struct Around {
    node: NodeId,
    names: BTreeSet<(i64, Vec<u8>)>,
    then: Option<NodeRow>,
    was: Option<NodeRow>,
    later: Option<NodeRow>,
}

impl Settle<'_> {
    /// Settles the generations behind `from` (none: all of `instants`), and returns the nodes that are others in any of them.
    fn behind(&self, instants: &[Time], from: Option<Time>) -> rusqlite::Result<BTreeSet<NodeId>> {
        let mut all = BTreeSet::new();
        if !has_any(self.c)? {
            return Ok(all);
        }
        let first = instants.partition_point(|at| from.is_some_and(|from| *at <= from));
        for place in first..instants.len() {
            let before = place.checked_sub(1).map(|before| instants[before]);
            let beside = Beside { at: instants[place], before, after: instants.get(place + 1).copied() };
            let nodes = self.generation(beside)?;
            if nodes.is_empty() {
                break;
            }
            all.extend(nodes);
        }
        Ok(all)
    }

    /// Settles one generation, and returns the nodes that came out otherwise.
    ///
    /// What it saw is what its rows say but for the kept names. The names that come out otherwise, and the nodes that do, are forgotten at
    /// this generation and put in again by the same edits as whole generations.
    fn generation(&self, beside: Beside) -> rusqlite::Result<Vec<NodeId>> {
        let Beside { at, before, after } = beside;
        let (c, source) = (self.c, self.subject.source);
        let doubts = doubts_at(c, source, at)?;
        if doubts.is_empty() {
            return Ok(Vec::new());
        }
        let mut old = Kept::new();
        for name in kept_at(c, source, at)? {
            let row = tables::lookup(c, Slot { dir: name.0, name: &name.1 }, at)?;
            let row = row.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            old.insert(name, (row.node, row.kind));
        }
        let new = kept_of(c, (at, before), &doubts, &|name| old.contains_key(name))?;
        let nodes = self.may_differ(at, &old, &new)?;
        let mut around = Vec::with_capacity(nodes.len());
        for node in nodes {
            around.push(Around {
                node,
                names: tables::names_at(c, node, at)?,
                then: self.subject.living(c, node, before)?,
                was: self.subject.living(c, node, Some(at))?,
                later: self.subject.living(c, node, after)?,
            });
        }
        let was = self.sum(&around, at)?;
        self.names(beside, &old, &new)?;
        let mut edited = Vec::new();
        let mut size_bytes = 0_i128;
        for one in &around {
            size_bytes -= self.size_of(one.was.as_ref())?;
            if self.node(beside, one, &new)? {
                edited.push(one.node);
            }
            size_bytes += self.size_of(self.subject.living(c, one.node, Some(at))?.as_ref())?;
        }
        if edited.is_empty() {
            return Ok(edited);
        }
        let is = self.sum(&around, at)?;
        self.count(beside, new.len() as i64 - old.len() as i64, size_bytes, (was, is))?;
        Ok(edited)
    }

    /// Returns the nodes of which a name or the version may have to change.
    fn may_differ(&self, at: Time, old: &Kept, new: &Kept) -> rusqlite::Result<BTreeSet<NodeId>> {
        let mut own_row = self.c.prepare_cached("SELECT 1 FROM inode WHERE node = ?1 AND born = ?2")?;
        let mut nodes = BTreeSet::new();
        for (name, (node, _)) in old {
            if new.get(name).is_none_or(|(other, _)| other != node) || own_row.exists([node.0, at.0])? {
                nodes.insert(*node);
            }
        }
        for (name, (node, _)) in new {
            if old.get(name).is_none_or(|(other, _)| other != node) {
                nodes.insert(*node);
            }
        }
        Ok(nodes)
    }

    /// Edits the rows of names, and the marks.
    fn names(&self, beside: Beside, old: &Kept, new: &Kept) -> rusqlite::Result<()> {
        let names: BTreeSet<&Name> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (was, is) = (old.get(name), new.get(name));
            if was == is {
                continue;
            }
            let slot = Slot { dir: name.0, name: &name.1 };
            self.name(slot, beside, is.copied())?;
            if was.is_some() != is.is_some() {
                edit_kept(self.c, name, |runs| {
                    runs::take_out(runs, beside);
                    runs::put_in(runs, beside, is.map(drop));
                })?;
            }
        }
        Ok(())
    }

    fn name(&self, slot: Slot<'_>, beside: Beside, now: Option<(NodeId, KindNumber)>) -> rusqlite::Result<()> {
        let hot = self.hot.contains(&slot.dir.0);
        let rows = tables::rows_of(self.c, slot)?.into_iter();
        let old = rows.map(|row| Run { born: row.born, died: row.died, value: (row.node, row.kind) }).collect();
        let (gone, new) = edited(old, |runs| {
            runs::take_out(runs, beside);
            runs::put_in(runs, beside, now);
        });
        for run in gone {
            tables::delete_name(self.c, slot, run.born)?;
        }
        for Run { born, died, value: (node, kind) } in new {
            tables::insert_name(self.c, slot, tables::NameRow { born, died, node, kind }, hot)?;
        }
        Ok(())
    }

    /// Edits the versions and notes of one node, whose names are right; tells whether anything about it changed.
    fn node(&self, beside: Beside, one: &Around, new: &Kept) -> rusqlite::Result<bool> {
        let Beside { at, before, after } = beside;
        let (c, node) = (self.c, one.node);
        let names = tables::names_at(c, node, at)?;
        let is_seen = node == self.subject.root
            || names.iter().any(|(dir, name)| !new.contains_key(&(NodeId(*dir), name.clone())));
        let is = match (is_seen, names.is_empty()) {
            (true, _) => one.was,
            (false, false) => one.then,
            (false, true) => None,
        };
        let born = |row: &Option<NodeRow>| row.map(|row| row.born);
        let is_same = born(&one.was) == born(&is);
        if is_same && names == one.names {
            return Ok(false);
        }
        if !is_same {
            let places = tables::places(c, node)?;
            // What the rows name stays until they are what they shall be.
            let out = TakeOut { c, subject: self.subject, at, keeps_content: true };
            out.version(node, (before, after), one.then.as_ref(), one.later.as_ref())?;
            put_versions(c, self.subject, (node, beside), one.then, is, one.later)?;
            places.into_iter().try_for_each(|place| tables::drop_content(c, node, place))?;
            tables::drop_digests(c, node)?;
        }
        if let Some(before) = before {
            self.subject.note(c, node, before, at)?;
        }
        if let Some(after) = after {
            self.subject.note(c, node, at, after)?;
        }
        Ok(true)
    }

    /// Returns the bytes that a version counts for.
    fn size_of(&self, row: Option<&NodeRow>) -> rusqlite::Result<i128> {
        let Some(row) = row else { return Ok(0) };
        let is_file = Kind::from_mode(parts::perm(self.c, row.perm)?.mode) == Some(Kind::File);
        Ok(if is_file { i128::from(row.size_bytes) } else { 0 })
    }

    /// Returns what nodes add to the state at `at`.
    fn sum(&self, around: &[Around], at: Time) -> rusqlite::Result<StateSum> {
        let mut states = States::new(self.path);
        let mut sum = StateSum::default();
        for one in around {
            states
                .delta(self.c, (one.node, self.subject.root), None, at, &mut sum)
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
        }
        Ok(sum)
    }

    /// Corrects what the generation and the one after it say of themselves.
    fn count(
        &self,
        beside: Beside,
        names: i64,
        size_bytes: i128,
        (was, is): (StateSum, StateSum),
    ) -> rusqlite::Result<()> {
        let (c, source) = (self.c, self.subject.source.0);
        let key = [source, beside.at.0];
        let said: Option<(Option<[u8; 32]>, Option<i64>)> = c
            .prepare_cached("SELECT state_hash, size_bytes FROM generation WHERE source = ?1 AND taken_at = ?2")?
            .query_row(key, |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()?;
        let (state, before) = said.unwrap_or_default();
        let size_bytes = before
            .map(|before| tables::bytes_after(c, self.subject.source, beside.at, before, size_bytes))
            .transpose()?;
        let state = state.map(|state| {
            let mut state = StateSum::from_bytes(state);
            state.sub(&was.to_bytes());
            state += is;
            state.to_bytes()
        });
        c.execute(
            "UPDATE generation SET entries = entries + ?3, size_bytes = ?4, state_hash = ?5 WHERE source = ?1 AND taken_at = ?2",
            params![source, beside.at.0, names, size_bytes, state],
        )?;
        match beside.before {
            Some(_) => self.subject.count_notes(c, beside.at)?,
            // All of the oldest is new.
            None => drop(
                c.execute("UPDATE generation SET changed_nodes = entries WHERE source = ?1 AND taken_at = ?2", key)?,
            ),
        }
        beside.after.map_or(Ok(()), |after| self.subject.count_notes(c, after))
    }
}
