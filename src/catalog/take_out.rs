//! Taking a generation out: the rows that only it shows go, and those of its neighbours are made to meet.
//!
//! `p`, `g` and `n` are the generation before, the one that goes, and the one after. Undoing an unfinished one is taking out the newest.
//! Bytes are not touched: the object stays, with where it lies, until nothing needs it; what others still read from it is pinned by path
//! first, since a generation that is gone cannot be asked for paths.
//!
//! Promises: what every other generation shows stays as it was, and rows are as if `g` had never been. Cost: what `g` changed (of the
//! oldest: what `n` changed), and one row for each version that others read from its object. One transaction, which is the caller's.

use super::generation_rows::{instants, neighbours};
use super::listing::hot_directories;
use super::notes::Subject;
use super::objects::{CopyRow, copies_of, object_of_generation};
use super::paths::path_at;
use super::rows::checked_name;
use super::runs::Beside;
use super::tables::{self, FullName, NameRow, Slot};
use super::versions::TakeOut;
use super::{doubt, settle};
use crate::model::{FOREVER, GenerationId, NodeId, ObjectId, Time};
use foldhash::HashSet;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;

/// A generation that was forgotten.
#[derive(Clone, Debug)]
pub struct Forgotten {
    /// Its number in its source.
    pub number: i64,
    /// What it held; its bytes stay.
    pub object: Option<ObjectId>,
    /// Where those lie.
    pub copies: Vec<CopyRow>,
}

/// Nodes of which rows were removed.
pub(super) enum Left {
    /// These.
    Nodes(Vec<NodeId>),
    /// All of the source.
    All,
}

/// Forgets the published generation of a source at an instant. What may be left of nodes ([`tidy`]) is for the caller: one that is told
/// again may have them.
pub(super) fn generation(
    c: &Connection,
    subject: &Subject,
    at: Time,
    hot: &HashSet<i64>,
    path: &Path,
) -> rusqlite::Result<(Forgotten, Left)> {
    let (id, number): (i64, i64) = c.query_row(
        "SELECT id, number FROM generation WHERE source = ?1 AND taken_at = ?2",
        [subject.source.0, at.0],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )?;
    let object = object_of_generation(c, id)?.map(ObjectId);
    let forget = Forget { c, subject, at, hot };
    let (previous, next) = neighbours(c, subject.source, at)?;
    if let Some(object) = object {
        forget.pin(object)?;
    }
    let mut left = match (previous, next) {
        (None, None) => forget.all()?,
        (Some(_), None) => forget.newest()?,
        (None, Some(next)) => forget.oldest(next)?,
        (Some(previous), Some(next)) => forget.middle(previous, next)?,
    };
    doubt::take_out(c, subject.source, Beside { at, before: previous, after: next })?;
    forget.generation_itself(id)?;
    // What follows and is in doubt keeps what is before it now.
    let settled = settle::behind(c, subject, (hot, path), &instants(c, subject.source, None)?, previous)?;
    if let Left::Nodes(nodes) = &mut left {
        nodes.extend(settled);
    }
    let copies = object.map_or(Ok(Vec::new()), |object| copies_of(c, object))?;
    Ok((Forgotten { number, object, copies }, left))
}

/// Removes what is left of nodes that have no version any more: who they are, that they had attributes; and digests that no version
/// names.
pub(super) fn tidy(c: &Connection, subject: &Subject, left: Left) -> rusqlite::Result<()> {
    match left {
        Left::Nodes(nodes) => nodes.into_iter().try_for_each(|node| tidy_node(c, subject.root, node)),
        Left::All => {
            c.execute(
                "DELETE FROM identity WHERE source = ?1 AND NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = identity.node)",
                [subject.source.0],
            )?;
            for (first, last) in tables::blocks(c, subject.source)? {
                for (table, node) in [("xattr_node", "node"), ("directory_history", "dir"), ("doubt", "node")] {
                    c.execute(
                        &format!(
                            "DELETE FROM {table} WHERE {node} BETWEEN ?1 AND ?2 AND NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = {table}.{node})"
                        ),
                        [first, last],
                    )?;
                }
                c.execute(
                    "DELETE FROM digest WHERE node BETWEEN ?1 AND ?2 \
                     AND NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = digest.node AND i.bytes = digest.bytes)",
                    [first, last],
                )?;
            }
            Ok(())
        }
    }
}

fn tidy_node(c: &Connection, root: NodeId, node: NodeId) -> rusqlite::Result<()> {
    tables::drop_digests(c, node)?;
    let is_known: bool = c
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM inode WHERE node = ?1) OR EXISTS(SELECT 1 FROM dirent INDEXED BY dirent_node WHERE node = ?1)",
        )?
        .query_row([node.0], |r| r.get(0))?;
    if is_known || node == root {
        return Ok(());
    }
    for statement in [
        "DELETE FROM identity WHERE node = ?1",
        "DELETE FROM xattr_node WHERE node = ?1",
        "DELETE FROM directory_history WHERE dir = ?1",
        "DELETE FROM doubt WHERE node = ?1",
    ] {
        c.prepare_cached(statement)?.execute([node.0])?;
    }
    Ok(())
}

/// Removes a generation that was never published. It is newer than all others of its source.
pub(super) fn undo(c: &Connection, subject: &Subject, (id, at): (GenerationId, Time)) -> rusqlite::Result<()> {
    let hot = hot_directories(c)?;
    let forget = Forget { c, subject, at, hot: &hot };
    let (previous, _) = neighbours(c, subject.source, at)?;
    match previous {
        Some(_) => {
            tidy(c, subject, forget.newest()?)?;
            forget.drop_new_identities()?;
        }
        None => {
            tidy(c, subject, forget.all()?)?;
            forget.begin_numbers_anew()?;
        }
    }
    if let Some(object) = object_of_generation(c, id.0)? {
        for table in ["disk_layer", "disk_file", "object_path", "copy"] {
            c.execute(&format!("DELETE FROM {table} WHERE object = ?1"), [object])?;
        }
        c.execute("DELETE FROM object WHERE id = ?1", [object])?;
    }
    forget.generation_itself(id.0)
}

struct Forget<'f> {
    c: &'f Connection,
    subject: &'f Subject,
    at: Time,
    hot: &'f HashSet<i64>,
}

impl Forget<'_> {
    fn versions(&self) -> TakeOut<'_> {
        TakeOut { c: self.c, subject: self.subject, at: self.at, keeps_content: false }
    }

    fn is_hot(&self, dir: NodeId) -> bool {
        self.hot.contains(&dir.0)
    }

    /// Sees to the versions that others read from `object`: a later full object that has the bytes takes them over, else the path is
    /// written down. Found by the index on places, not by notes: what `g` did not change may lie in its object too.
    fn pin(&self, object: ObjectId) -> rusqlite::Result<()> {
        let mut statement = self
            .c
            .prepare_cached("SELECT node, born FROM inode INDEXED BY inode_place WHERE place = 2 AND content = ?1")?;
        let rows: Vec<(i64, i64)> =
            statement.query_map([object.0], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for (node, born) in rows {
            let node = NodeId(node);
            let others = self.shown_at(node, born)?;
            if others.is_empty() {
                continue;
            }
            match others.iter().find_map(|(_, full)| *full) {
                Some(full) => tables::set_object(self.c, node, born, full)?,
                None => {
                    if let Some(path) = path_at(self.c, self.subject.root, node, self.at)? {
                        tables::pin_path(self.c, object, node, &path)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the other generations that show the version of `node` born at `born`, each with its object if that holds all bytes.
    fn shown_at(&self, node: NodeId, born: i64) -> rusqlite::Result<Vec<(Time, Option<ObjectId>)>> {
        let mut statement = self.c.prepare_cached(
            "SELECT g.taken_at, CASE WHEN o.is_full AND o.kind = 'tree' THEN o.id END FROM generation g \
             LEFT JOIN object o ON o.generation = g.id \
             WHERE g.source = ?1 AND g.status = 'published' AND g.taken_at >= ?2 AND g.taken_at <> ?3 \
             AND g.taken_at < coalesce((SELECT min(v.born) FROM inode v WHERE v.node = ?4 AND v.born > ?2), 253402300799) ORDER BY g.taken_at",
        )?;
        let rows = statement.query_map([self.subject.source.0, born, self.at.0, node.0], |r| {
            Ok((Time(r.get(0)?), r.get::<_, Option<i64>>(1)?.map(ObjectId)))
        })?;
        let mut shown = Vec::new();
        for row in rows {
            let (at, full) = row?;
            if node == self.subject.root || tables::has_name_at(self.c, node, at)? {
                shown.push((at, full));
            }
        }
        Ok(shown)
    }

    /// The only generation: all rows of the source go.
    fn all(&self) -> rusqlite::Result<Left> {
        tables::delete_versions(self.c, self.subject.source)?;
        Ok(Left::All)
    }

    /// Removes identities of nodes that never got a row: their numbers are above those of all that are there.
    fn drop_new_identities(&self) -> rusqlite::Result<()> {
        let blocks = tables::blocks(self.c, self.subject.source)?;
        let mut highest = self.subject.root.0;
        for (first, last) in &blocks {
            let sql = "SELECT max(node) FROM inode WHERE node BETWEEN ?1 AND ?2";
            let in_block: Option<i64> = self.c.query_row(sql, [first, last], |r| r.get(0))?;
            highest = highest.max(in_block.unwrap_or(0));
        }
        for (first, last) in blocks {
            let sql = "DELETE FROM identity INDEXED BY identity_node WHERE node BETWEEN ?1 AND ?2";
            self.c.execute(sql, [first.max(highest + 1), last])?;
        }
        Ok(())
    }

    /// Gives the node numbers of a source back: nobody ever saw one of them.
    fn begin_numbers_anew(&self) -> rusqlite::Result<()> {
        let source = [self.subject.source.0];
        self.c.execute("UPDATE source SET next_node = root + 1 WHERE id = ?1", source)?;
        self.c
            .execute(
                "DELETE FROM node_block WHERE source = ?1 AND block <> (SELECT root >> 16 FROM source WHERE id = ?1)",
                source,
            )
            .map(drop)
    }

    /// The newest: what it opened goes, what it closed is open.
    fn newest(&self) -> rusqlite::Result<Left> {
        let nodes = tables::noted(self.c, self.subject.source, self.at)?;
        for node in nodes.iter().copied() {
            for FullName { dir, name, row } in tables::names_ever(self.c, node)? {
                let slot = Slot { dir, name: name.as_bytes() };
                if row.born == self.at.0 {
                    tables::delete_name(self.c, slot, row.born)?;
                } else if row.died == self.at.0 {
                    tables::end_name(self.c, slot, row.born, FOREVER.0, self.is_hot(dir))?;
                }
            }
            self.versions().drop_version(node, self.at.0)?;
        }
        Ok(Left::Nodes(nodes))
    }

    /// The oldest: what `n` has not any more goes; births stay, and mean "since the oldest".
    fn oldest(&self, next: Time) -> rusqlite::Result<Left> {
        let nodes = tables::noted(self.c, self.subject.source, next)?;
        for node in nodes.iter().copied() {
            for FullName { dir, name, row } in tables::names_ever(self.c, node)? {
                if row.died <= next.0 {
                    tables::delete_name(self.c, Slot { dir, name: name.as_bytes() }, row.born)?;
                }
            }
            self.versions().oldest_version(node, next)?;
        }
        // All of the oldest is new.
        self.c.execute("DELETE FROM change WHERE source = ?1 AND at = ?2", [self.subject.source.0, next.0])?;
        self.c.execute(
            "UPDATE generation SET changed_nodes = entries WHERE source = ?1 AND taken_at = ?2",
            [self.subject.source.0, next.0],
        )?;
        Ok(Left::Nodes(nodes))
    }

    /// One in between.
    fn middle(&self, previous: Time, next: Time) -> rusqlite::Result<Left> {
        let nodes = tables::noted(self.c, self.subject.source, self.at)?;
        let mut slots = BTreeSet::new();
        for node in &nodes {
            for FullName { dir, name, row } in tables::names_ever(self.c, *node)? {
                if row.born == self.at.0 || row.died == self.at.0 {
                    slots.insert((dir, name.as_bytes().to_vec()));
                }
            }
        }
        // What lives before and after does not change by what is done here.
        let mut around = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let then = self.subject.living(self.c, *node, Some(previous))?;
            let later = self.subject.living(self.c, *node, Some(next))?;
            around.push((*node, then, later));
        }
        for (dir, name) in &slots {
            self.meet(Slot { dir: *dir, name: checked_name(name)?.as_bytes() }, next)?;
        }
        for (node, then, later) in around {
            self.versions().middle_version(node, next, then, later)?;
            self.subject.note(self.c, node, previous, next)?;
        }
        self.subject.count_notes(self.c, next)?;
        Ok(Left::Nodes(nodes))
    }

    /// Makes the rows of one name before and after `g` meet at `n`.
    fn meet(&self, slot: Slot<'_>, next: Time) -> rusqlite::Result<()> {
        let hot = self.is_hot(slot.dir);
        if let Some(row) = tables::name_born(self.c, slot, self.at.0)? {
            tables::delete_name(self.c, slot, row.born)?;
            if row.died > next.0 {
                tables::insert_name(self.c, slot, NameRow { born: next.0, ..row }, hot)?;
            }
        }
        let Some(row) = tables::name_died(self.c, slot, self.at.0)? else { return Ok(()) };
        let mut died = next.0;
        if let Some(after) = tables::name_born(self.c, slot, next.0)?.filter(|after| after.node == row.node) {
            died = after.died;
            tables::delete_name(self.c, slot, after.born)?;
        }
        tables::end_name(self.c, slot, row.born, died, hot)
    }

    /// Removes the rows that are the generation's own.
    fn generation_itself(&self, id: i64) -> rusqlite::Result<()> {
        let key = [self.subject.source.0, self.at.0];
        for table in ["change", "finding", "pin"] {
            self.c.execute(&format!("DELETE FROM {table} WHERE source = ?1 AND at = ?2"), key)?;
        }
        self.c.execute("DELETE FROM disk_volume WHERE generation = ?1", [id])?;
        self.c.execute("DELETE FROM generation WHERE id = ?1", [id])?;
        self.c
            .execute(
                "DELETE FROM instant_fork WHERE at = ?1 AND NOT EXISTS (SELECT 1 FROM generation WHERE taken_at = ?1)",
                [self.at.0],
            )
            .map(drop)
    }
}
