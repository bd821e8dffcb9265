//! When two versions are the same, and what changed about a node from one instant to another: said here and nowhere else.
//!
//! Two versions are the same if type, rights, owner, attributes, link count, target, device, size and mtime are equal, the ctime too
//! where files keep their own ([`Rule::by_inode`]), and their bytes are the same by the source's one key ([`Key`]). What belongs to the
//! copy (`allocated`, a copy's ctime, which object holds the bytes) is left out.
//!
//! Promises: the note of a generation about a node is the difference between the generation before and it, whatever was said in
//! between. Never writes a version or a name.

use super::rows::{ChangeOps, NodeRow, Place};
use super::tables;
use crate::model::{Key, NodeId, Rule, SourceId, Time};
use rusqlite::{Connection, OptionalExtension};

/// Returns what differs between two versions of one node, given whether their places hold the same bytes as far as places tell
/// ([`same_place`]) and whether their bytes are the same by the source's key ([`same_bytes`]).
pub(super) fn between(old: &NodeRow, new: &NodeRow, rule: Rule, same_place: bool, same_bytes: bool) -> ChangeOps {
    let mut ops = ChangeOps::default();
    let same_stamp = old.size_bytes == new.size_bytes && old.mtime == new.mtime;
    // A link has other bytes where its target differs; of a directory size and mtime are attributes.
    let is_file = new.place.holds_a_file();
    // A directory that could not be listed, or can be again: nobody saw other bytes.
    let other_listing = matches!((old.place, new.place), (Place::None, Place::Lost) | (Place::Lost, Place::None));
    if (!same_place && !other_listing)
        || !same_bytes
        || (is_file && old.size_bytes != new.size_bytes)
        || (new.place.is_in_a_copy() && !same_stamp)
    {
        ops |= ChangeOps::CONTENT;
    }
    let other_stamp = !same_stamp && !new.place.is_in_a_copy();
    if other_listing
        || old.perm != new.perm
        || old.nlink != new.nlink
        || other_stamp
        || (rule.by_inode && old.ctime != new.ctime)
    {
        ops |= ChangeOps::ATTRIBUTES;
    }
    ops
}

/// Tells whether two places are the same as far as they tell: equal, or in a copy both, or equal bytes in the catalog.
pub(super) fn same_place(c: &Connection, a: Place, b: Place) -> rusqlite::Result<bool> {
    let (one, other) = match (a, b) {
        (Place::Inline(one), Place::Inline(other)) | (Place::OnDisk(Some(one)), Place::OnDisk(Some(other))) => {
            (one, other)
        }
        _ => return Ok(a == b || (a.is_in_a_copy() && b.is_in_a_copy())),
    };
    if one == other {
        return Ok(true);
    }
    let mut statement =
        c.prepare_cached("SELECT a.bytes = b.bytes FROM content a JOIN content b WHERE a.id = ?1 AND b.id = ?2")?;
    Ok(statement.query_row([one, other], |r| r.get(0)).optional()?.unwrap_or(false))
}

/// Tells whether two versions of `node` are the same bytes by the key of their source.
pub(super) fn same_bytes(c: &Connection, node: NodeId, a: &NodeRow, b: &NodeRow, key: Key) -> rusqlite::Result<bool> {
    if !a.place.holds_a_file() || !b.place.holds_a_file() || a.bytes == b.bytes {
        return Ok(true);
    }
    match key {
        Key::Stamp => Ok(true),
        Key::Write => Ok(false),
        Key::Digest => Ok(match (digest(c, node, a.bytes)?, digest(c, node, b.bytes)?) {
            (Some(a), Some(b)) => a == b,
            // What was not read equals nothing.
            _ => false,
        }),
    }
}

/// Returns the digest of the bytes that `node` has under this number.
pub(super) fn digest(c: &Connection, node: NodeId, bytes: i64) -> rusqlite::Result<Option<[u8; 32]>> {
    c.prepare_cached("SELECT blake3 FROM digest WHERE node = ?1 AND bytes = ?2")?
        .query_row([node.0, bytes], |r| r.get(0))
        .optional()
}

/// Returns what differs between two versions of `node`; nothing: they are the same.
pub(super) fn differ(
    c: &Connection,
    node: NodeId,
    old: &NodeRow,
    new: &NodeRow,
    rule: Rule,
) -> rusqlite::Result<ChangeOps> {
    let place = same_place(c, old.place, new.place)?;
    Ok(between(old, new, rule, place, same_bytes(c, node, old, new, rule.key)?))
}

/// Returns what differs between a version of one node and one of another node of the same source; their ctimes are their own.
pub(super) fn differ_across(
    c: &Connection,
    (old_node, old): (NodeId, &NodeRow),
    (new_node, new): (NodeId, &NodeRow),
    rule: Rule,
) -> rusqlite::Result<ChangeOps> {
    let place = same_place(c, old.place, new.place)?;
    let has_bytes = old.place.holds_a_file() && new.place.holds_a_file();
    let bytes = match rule.key {
        _ if !has_bytes => true,
        Key::Stamp => true,
        // Numbers of generations say what was written to one file.
        Key::Write => false,
        Key::Digest => match (digest(c, old_node, old.bytes)?, digest(c, new_node, new.bytes)?) {
            (Some(old), Some(new)) => old == new,
            _ => false,
        },
    };
    Ok(between(old, new, Rule { by_inode: false, ..rule }, place, bytes))
}

/// A source, as far as its notes go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) source: SourceId,
    pub(super) root: NodeId,
    pub(super) rule: Rule,
}

impl Subject {
    /// Returns the version of `node` at `at`, if it lives then.
    pub(super) fn living(&self, c: &Connection, node: NodeId, at: Option<Time>) -> rusqlite::Result<Option<NodeRow>> {
        match at {
            Some(at) if node == self.root || tables::has_name_at(c, node, at)? => tables::version_at(c, node, at),
            _ => Ok(None),
        }
    }

    /// Returns what changed about `node` from instant `a` to instant `b`.
    pub(super) fn compare(&self, c: &Connection, node: NodeId, a: Time, b: Time) -> rusqlite::Result<ChangeOps> {
        let (before, after) = (tables::names_at(c, node, a)?, tables::names_at(c, node, b)?);
        let mut ops = ChangeOps::default();
        if after.difference(&before).next().is_some() {
            ops |= ChangeOps::LINKED;
        }
        if before.difference(&after).next().is_some() {
            ops |= ChangeOps::UNLINKED;
        }
        match (node == self.root || !before.is_empty(), node == self.root || !after.is_empty()) {
            (false, true) => ops |= ChangeOps::CREATED,
            (true, true) => {
                if let (Some(old), Some(new)) = (tables::version_at(c, node, a)?, tables::version_at(c, node, b)?) {
                    ops |= differ(c, node, &old, &new, self.rule)?;
                }
            }
            (_, false) => {}
        }
        Ok(ops)
    }

    /// Writes down what the generation at `b` did to `node`, compared with the one at `a`.
    pub(super) fn note(&self, c: &Connection, node: NodeId, a: Time, b: Time) -> rusqlite::Result<()> {
        let ops = self.compare(c, node, a, b)?;
        tables::set_note(c, self.source, b, node, ops)
    }

    /// Counts anew what the generation at `at` changed.
    pub(super) fn count_notes(&self, c: &Connection, at: Time) -> rusqlite::Result<()> {
        c.execute(
            "UPDATE generation SET changed_nodes = (SELECT count(*) FROM change WHERE source = ?1 AND at = ?2) WHERE source = ?1 AND taken_at = ?2",
            [self.source.0, at.0],
        )
        .map(drop)
    }
}
