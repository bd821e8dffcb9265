//! Putting a generation in between two others, or before the oldest: its edits against the one before become rows, and the rows of the
//! one after are made to say what they said.
//!
//! `p`, `t` and `n` are the generation before, the one that is put in, and the one after; either neighbour may be missing. Births older
//! than the oldest generation mean "since the oldest", so putting one in before it raises the births of what it has not.
//!
//! Promises: what every other generation shows stays as it was; rows are those that indexing in the order of time gives. Rows are written
//! only for what differs between `p` and `t` or between `t` and `n`. One transaction, which is the caller's.

use super::draft::{Draft, Pointed};
use super::name_index;
use super::notes::{self, Subject};
use super::parts;
use super::rows::{KindNumber, NodeRow};
use super::runs::Beside;
use super::tables::{self, NameRow, Slot, insert_digest, insert_finding};
use super::versions::put_versions;
use crate::model::{FOREVER, Key, NodeId, Time};
use foldhash::HashSet;
use rusqlite::Connection;

/// One generation that is put in.
pub(super) struct Insertion<'i> {
    pub(super) c: &'i Connection,
    pub(super) subject: Subject,
    pub(super) at: Time,
    pub(super) previous: Option<Time>,
    pub(super) next: Option<Time>,
    /// The number of the bytes that it brings.
    pub(super) sequence: i64,
    pub(super) seen_at: Time,
    pub(super) hot: &'i HashSet<i64>,
    pub(super) draft: &'i Draft,
    /// Whether there is an index of names that is to be kept up.
    pub(super) notes_names: bool,
}

impl Insertion<'_> {
    /// Writes the rows.
    pub(super) fn run(&self) -> rusqlite::Result<()> {
        self.draft.names(|dir, name, now| self.name(Slot { dir, name }, now))?;
        if let (None, Some(next)) = (self.previous, self.next) {
            self.raise_others(next)?;
        }
        self.draft.touch_versions()?;
        // The top directory has no name.
        self.draft.touch(self.subject.root)?;
        self.draft.touched(|node| self.node(node))?;
        self.draft.identities(|inode, born_ns, node| {
            // Of a node that got no name after all nothing stays.
            let lives = node == self.subject.root || tables::has_name_at(self.c, node, self.at)?;
            if lives { tables::put_identity(self.c, self.subject.source, (inode, born_ns), node) } else { Ok(()) }
        })?;
        if let Some(next) = self.next {
            self.subject.count_notes(self.c, next)?;
        }
        self.draft
            .findings(|number, finding| insert_finding(self.c, (self.subject.source.0, self.at.0), number, &finding))
    }

    /// Puts in one name: `now` is what it points to at `t`.
    fn name(&self, slot: Slot<'_>, now: Pointed) -> rusqlite::Result<()> {
        let before = self.holds(slot, self.previous)?;
        let after = self.holds(slot, self.next)?;
        let node = |row: Option<NameRow>| row.map(|row| row.node);
        let now_node = now.map(|(node, _)| node);
        for touched in [node(before), now_node].into_iter().flatten() {
            self.draft.touch(touched)?;
        }
        if self.previous.is_none()
            && let Some(after) = node(after)
        {
            self.draft.touch(after)?;
        }
        if let Some(before) = before.filter(|row| Some(row.node) != now_node) {
            self.close(slot, before)?;
        }
        match now {
            Some((opened, kind)) if node(before) != Some(opened) => self.open(slot, (opened, kind), after),
            None if before.is_none() => self.raise(slot, after),
            _ => Ok(()),
        }
    }

    fn holds(&self, slot: Slot<'_>, at: Option<Time>) -> rusqlite::Result<Option<NameRow>> {
        at.map_or(Ok(None), |at| tables::lookup(self.c, slot, at))
    }

    /// Ends a name at `t`; where it holds at `n` it begins again there.
    fn close(&self, slot: Slot<'_>, row: NameRow) -> rusqlite::Result<()> {
        let hot = self.hot.contains(&slot.dir.0);
        tables::end_name(self.c, slot, row.born, self.at.0, hot)?;
        tables::count_dead(self.c, slot.dir, 1)?;
        match self.next {
            Some(next) if row.died > next.0 => tables::insert_name(self.c, slot, NameRow { born: next.0, ..row }, hot),
            _ => Ok(()),
        }
    }

    /// Begins a name at `t`; where `n` has the same it is one row with that.
    fn open(&self, slot: Slot<'_>, (node, kind): (NodeId, KindNumber), after: Option<NameRow>) -> rusqlite::Result<()> {
        let mut died = self.next.unwrap_or(FOREVER).0;
        match after {
            Some(after) if after.node == node => {
                if after.born <= self.at.0 {
                    // It says so since the oldest.
                    return Ok(());
                }
                died = after.died;
                tables::delete_name(self.c, slot, after.born)?;
            }
            after => self.raise(slot, after)?,
        }
        let hot = self.hot.contains(&slot.dir.0);
        tables::insert_name(self.c, slot, NameRow { born: self.at.0, died, node, kind }, hot)?;
        if self.notes_names {
            name_index::note(self.c, slot, self.at.0)?;
        }
        tables::insert_odd_name(self.c, slot.name)
    }

    /// Makes a row that said "since the oldest" begin at `n`: the oldest is `t` now, and has it not.
    fn raise(&self, slot: Slot<'_>, after: Option<NameRow>) -> rusqlite::Result<()> {
        let (None, Some(next), Some(row)) = (self.previous, self.next, after) else { return Ok(()) };
        if row.born >= next.0 {
            return Ok(());
        }
        tables::delete_name(self.c, slot, row.born)?;
        tables::insert_name(self.c, slot, NameRow { born: next.0, ..row }, self.hot.contains(&slot.dir.0))
    }

    /// Raises the names that `n` has and nothing was said of, and has all nodes of `n` compared.
    fn raise_others(&self, next: Time) -> rusqlite::Result<()> {
        for (first, last) in tables::blocks(self.c, self.subject.source)? {
            let mut after = first - 1;
            // One directory at a time: rows are changed while they are looked at, and not all fit in memory.
            while let Some(dir) = tables::next_directory(self.c, after, last)? {
                after = dir.0;
                for (name, row) in tables::list_rows(self.c, dir, next)? {
                    self.draft.touch(row.node)?;
                    if row.born < next.0 && self.draft.pointed(dir, name.as_bytes())?.is_none() {
                        self.raise(Slot { dir, name: name.as_bytes() }, Some(row))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts in one node: its version at `t`, that at `n`, and what both generations did to it.
    fn node(&self, node: NodeId) -> rusqlite::Result<()> {
        let (c, subject) = (self.c, &self.subject);
        let then = subject.living(c, node, self.previous)?;
        let later = subject.living(c, node, self.next)?;
        let lives = node == subject.root || tables::has_name_at(c, node, self.at)?;
        let drafted = self.draft.version(node)?;
        let now = match (lives, drafted) {
            (false, _) => None,
            (true, Some(row)) => {
                if parts::perm(c, row.perm)?.xattr != 0 {
                    tables::put_xattr_node(c, node)?;
                }
                Some(self.settle(node, row, later.as_ref())?)
            }
            (true, None) => then,
        };
        let beside = Beside { at: self.at, before: self.previous, after: self.next };
        put_versions(c, subject, (node, beside), then, now, later)?;
        if let (None, Some(row)) = (now, drafted) {
            tables::drop_content(c, node, row.place)?;
        }
        if subject.rule.key == Key::Digest {
            // The version at `n` may have gone, and one here may not be needed after all.
            tables::drop_digests(c, node)?;
        }
        if let Some(previous) = self.previous {
            subject.note(c, node, previous, self.at)?;
        }
        if let Some(next) = self.next {
            subject.note(c, node, self.at, next)?;
        }
        Ok(())
    }

    /// Returns a drafted version as it is to be compared: with the number and the place of `n`'s, where that is the same.
    fn settle(&self, node: NodeId, row: NodeRow, later: Option<&NodeRow>) -> rusqlite::Result<NodeRow> {
        let c = self.c;
        let mut row = row;
        if let Some(later) = later
            && row.place != later.place
            && !row.place.is_in_a_copy()
            && notes::same_place(c, row.place, later.place)?
        {
            let own = std::mem::replace(&mut row.place, later.place);
            tables::drop_content(c, node, own)?;
        }
        if row.bytes != self.sequence {
            return Ok(row);
        }
        let digest = self.draft.digest(node)?;
        if let Some(later) = later.filter(|later| later.place.holds_a_file()) {
            let same_stamp = later.size_bytes == row.size_bytes && later.mtime == row.mtime;
            let is_same = match self.subject.rule.key {
                Key::Stamp => same_stamp,
                Key::Digest => same_stamp && digest.is_some() && notes::digest(c, node, later.bytes)? == digest,
                Key::Write => false,
            };
            if is_same {
                return Ok(NodeRow { bytes: later.bytes, ..row });
            }
        }
        if let Some(digest) = digest {
            insert_digest(c, node, self.sequence, &digest, self.seen_at)?;
        }
        Ok(row)
    }
}
