//! Doubts: a generation that could not list a directory keeps the names that the generation before has there.
//!
//! What a generation saw is a closed tree: whatever it names is below something that it names. A directory is *in doubt* if it could not be
//! listed, or is itself kept. **Kept** are the names that the generation before has in such a directory and this one did not see; but
//! for a directory that was seen elsewhere, which has one name. The name of a file that was seen elsewhere is kept: it may be a link.
//! Each kept name is marked (`kept`), since a name that was seen unchanged has the same row. A node with a name that was seen is
//! what was seen, and its links are the names that were seen; a node with kept names only is what it is in the generation before, and has no version
//! row of this one. The oldest generation keeps nothing. `tests/model/doubt.rs` is the specification.
//!
//! Here are the rows, and what is to be kept. They are told by `unseen`, and settled again by `settle` when what is before them changes.
//!
//! Promises: rows follow the algebra of all rows ([`super::runs`]). Memory is that of the names that are kept.

use super::kept::has_any;
use super::rows::KindNumber;
use super::runs::{self, Beside, Run};
use super::tables::{self, Slot};
use crate::model::{Kind, NodeId, SourceId, Time};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// Tells whether a generation of a source is in doubt of anything.
pub(super) fn is_in_doubt(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<bool> {
    // One that keeps names is in doubt of a directory.
    Ok(has_any(c)? && !doubts_at(c, source, at)?.is_empty())
}

/// A name of a directory, as a key.
pub(super) type Name = (NodeId, Vec<u8>);

/// Returns the names that the generation of a source at `at` keeps, in order.
pub(super) fn kept_at(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<Vec<Name>> {
    let mut statement = c.prepare_cached(
        "SELECT parent, name FROM kept WHERE parent BETWEEN ?1 AND ?2 AND born <= ?3 AND died > ?3 ORDER BY parent, name",
    )?;
    let mut names = Vec::new();
    for (first, last) in tables::blocks(c, source)? {
        let rows = statement.query_map([first, last, at.0], |r| Ok((NodeId(r.get(0)?), r.get(1)?)))?;
        for row in rows {
            names.push(row?);
        }
    }
    Ok(names)
}

/// Returns the directories that the generation of a source at `at` could not list, each with the reason, in order.
pub(super) fn doubts_at(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<Vec<(NodeId, String)>> {
    let mut statement = c.prepare_cached(
        "SELECT node, reason FROM doubt WHERE node BETWEEN ?1 AND ?2 AND born <= ?3 AND died > ?3 ORDER BY node",
    )?;
    let mut doubts = Vec::new();
    for (first, last) in tables::blocks(c, source)? {
        let rows = statement.query_map([first, last, at.0], |r| Ok((NodeId(r.get(0)?), r.get(1)?)))?;
        for row in rows {
            doubts.push(row?);
        }
    }
    Ok(doubts)
}

/// Returns the rows of a key before and after they were edited, those that differ.
pub(super) fn edited<V: Clone + PartialEq>(
    old: Vec<Run<V>>,
    edit: impl FnOnce(&mut Vec<Run<V>>),
) -> (Vec<Run<V>>, Vec<Run<V>>) {
    let mut new = old.clone();
    edit(&mut new);
    let gone = old.iter().filter(|run| !new.contains(run)).cloned().collect();
    (gone, new.into_iter().filter(|run| !old.contains(run)).collect())
}

/// Edits the rows of a kept name.
pub(super) fn edit_kept(
    c: &Connection,
    (dir, name): &Name,
    edit: impl FnOnce(&mut Vec<Run<()>>),
) -> rusqlite::Result<()> {
    let mut statement =
        c.prepare_cached("SELECT born, died FROM kept WHERE parent = ?1 AND name = ?2 ORDER BY born")?;
    let rows =
        statement.query_map(params![dir.0, name], |r| Ok(Run { born: r.get(0)?, died: r.get(1)?, value: () }))?;
    let (gone, new) = edited(rows.collect::<rusqlite::Result<_>>()?, edit);
    for run in gone {
        c.prepare_cached("DELETE FROM kept WHERE parent = ?1 AND name = ?2 AND born = ?3")?
            .execute(params![dir.0, name, run.born])?;
    }
    for run in new {
        c.prepare_cached("INSERT INTO kept(parent, name, born, died) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![dir.0, name, run.born, run.died])?;
    }
    Ok(())
}

/// Edits the rows of a directory in doubt.
pub(super) fn edit_doubt(
    c: &Connection,
    dir: NodeId,
    edit: impl FnOnce(&mut Vec<Run<String>>),
) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached("SELECT born, died, reason FROM doubt WHERE node = ?1 ORDER BY born")?;
    let rows = statement.query_map([dir.0], |r| Ok(Run { born: r.get(0)?, died: r.get(1)?, value: r.get(2)? }))?;
    let (gone, new) = edited(rows.collect::<rusqlite::Result<_>>()?, edit);
    for run in gone {
        c.prepare_cached("DELETE FROM doubt WHERE node = ?1 AND born = ?2")?.execute([dir.0, run.born])?;
    }
    for run in new {
        c.prepare_cached("INSERT INTO doubt(node, born, died, subtree, reason) VALUES (?1, ?2, ?3, 0, ?4)")?
            .execute(params![dir.0, run.born, run.died, run.value])?;
    }
    Ok(())
}

/// Takes out what a generation that is forgotten keeps and is in doubt of.
pub(super) fn take_out(c: &Connection, source: SourceId, beside: Beside) -> rusqlite::Result<()> {
    if !has_any(c)? {
        return Ok(());
    }
    let (mut names, mut dirs) = (BTreeSet::new(), BTreeSet::new());
    for at in [beside.before, Some(beside.at)].into_iter().flatten() {
        names.extend(kept_at(c, source, at)?);
        dirs.extend(doubts_at(c, source, at)?.into_iter().map(|(dir, _)| dir));
    }
    for name in names {
        edit_kept(c, &name, |runs| runs::take_out(runs, beside))?;
    }
    for dir in dirs {
        edit_doubt(c, dir, |runs| runs::take_out(runs, beside))?;
    }
    Ok(())
}

/// What a generation keeps, by name: what each leads to in the generation before.
pub(super) type Kept = BTreeMap<Name, (NodeId, KindNumber)>;

/// Returns what a generation keeps of the one before it, by its doubts and by what it saw: all its names but for those of `now_kept`.
pub(super) fn kept_of(
    c: &Connection,
    (at, before): (Time, Option<Time>),
    doubts: &[(NodeId, String)],
    now_kept: &dyn Fn(&Name) -> bool,
) -> rusqlite::Result<Kept> {
    let mut kept = Kept::new();
    let Some(before) = before else { return Ok(kept) };
    let mut todo: Vec<NodeId> = doubts.iter().map(|(dir, _)| *dir).collect();
    while let Some(dir) = todo.pop() {
        for (name, row) in tables::list_rows(c, dir, before)? {
            let key = (dir, name.as_bytes().to_vec());
            let slot = Slot { dir, name: &key.1 };
            if !now_kept(&key) && tables::lookup(c, slot, at)?.is_some() {
                continue; // it was seen
            }
            let is_directory = row.kind.0 == Kind::Directory;
            if is_directory && is_seen(c, row.node, at, now_kept)? {
                continue; // elsewhere
            }
            let is_new = kept.insert(key, (row.node, row.kind)).is_none();
            if is_directory && is_new {
                todo.push(row.node);
            }
        }
    }
    Ok(kept)
}

fn is_seen(c: &Connection, node: NodeId, at: Time, is_kept: &dyn Fn(&Name) -> bool) -> rusqlite::Result<bool> {
    Ok(tables::names_at(c, node, at)?.into_iter().any(|(dir, name)| !is_kept(&(NodeId(dir), name))))
}
