//! Which names differ between two generations, for whoever walks both trees side by side: by directory, and without a line for each.
//!
//! Promises: looks only at the nodes that the notes of the generations in between name, as [`super::diff`] does, and by the same rules.
//! Memory is bounded whatever differs: so many names as the caller wants are told by directory; of more there is a bit a node, in blocks of
//! 65,536, and whoever asks goes through the names of a directory. What lies in a directory that only one of the generations has is not told: all
//! of it differs.

use super::fields::{Fields, fields};
use super::scope::Scope;
use super::sides::{Name, Side, Sides};
use crate::catalog::notes::differ;
use crate::catalog::rows::ChangeOps;
use crate::catalog::{Error, Reader};
use crate::model::{Kind, NodeId, Time};
use foldhash::HashMap;
use rusqlite::Connection;
use std::cell::Cell;

pub(super) const NOTED: &str = "SELECT node FROM change WHERE source = ?1 AND at > ?2 AND at <= ?3";
const BLOCK_BITS: u32 = 16;

/// A name that differs, or a directory below which one does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// The directory that it is in.
    pub dir: NodeId,
    /// The name.
    pub name: Box<[u8]>,
    /// What it leads to.
    pub node: NodeId,
    /// The type of that.
    pub kind: Kind,
}

/// What differs between two generations.
#[derive(Debug, Default)]
pub struct Differing {
    before: Half,
    after: Half,
    /// Nodes that both have, in versions that differ.
    others: Nodes,
    is_many: bool,
}

/// What one of them has, and the other has not.
#[derive(Debug, Default)]
struct Half {
    /// In order; only as long as they are few.
    names: Vec<Named>,
    /// Nodes with a name that leads elsewhere, or nowhere, in the other one.
    moved: Nodes,
    /// Directories with something below them that differs.
    above: Nodes,
}

/// A set of nodes: a bit each.
#[derive(Debug, Default)]
struct Nodes(HashMap<i64, Box<[u64]>>);

impl Nodes {
    /// Adds one, and tells whether it is new.
    fn insert(&mut self, node: NodeId) -> bool {
        let (block, word, bit) = Self::place(node);
        let words = self.0.entry(block).or_insert_with(|| vec![0; 1 << (BLOCK_BITS - 6)].into());
        let was = words[word] & bit;
        words[word] |= bit;
        was == 0
    }

    fn has(&self, node: NodeId) -> bool {
        let (block, word, bit) = Self::place(node);
        self.0.get(&block).is_some_and(|words| words[word] & bit != 0)
    }

    fn place(node: NodeId) -> (i64, usize, u64) {
        let within = (node.0 & ((1 << BLOCK_BITS) - 1)) as usize;
        (node.0 >> BLOCK_BITS, within / 64, 1 << (within % 64))
    }

    fn size_bytes(&self) -> usize {
        self.0.len() << (BLOCK_BITS - 3)
    }
}

impl Differing {
    /// Returns the names in `dir` at one instant that differ, or below which something does, in order (bytewise); none: there are too many
    /// to tell ([`Differing::may_differ`]).
    pub fn named(&self, side: Side, dir: NodeId) -> Option<&[Named]> {
        if self.is_many {
            return None;
        }
        let names = &self.half(side).names;
        let begin = names.partition_point(|named| named.dir < dir);
        let count = names[begin..].partition_point(|named| named.dir == dir);
        Some(&names[begin..begin + count])
    }

    /// Tells whether the name of a node differs; none: only if it leads to another node, or nowhere, at the other instant.
    pub fn may_differ(&self, side: Side, node: NodeId) -> Option<bool> {
        let half = self.half(side);
        if self.others.has(node) || half.above.has(node) {
            return Some(true);
        }
        (!half.moved.has(node)).then_some(false)
    }

    /// Returns about how much memory it takes.
    pub fn size_bytes(&self) -> usize {
        let halves = [&self.before, &self.after].into_iter();
        let halves = halves.map(|half| half.names.len() * 100 + half.moved.size_bytes() + half.above.size_bytes());
        halves.sum::<usize>() + self.others.size_bytes()
    }

    fn half(&self, side: Side) -> &Half {
        match side {
            Side::Before => &self.before,
            Side::After => &self.after,
        }
    }

    fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Before => &mut self.before,
            Side::After => &mut self.after,
        }
    }

    /// Adds a name to what is told one by one.
    fn tell(&mut self, side: Side, few_max: usize, named: Named) {
        self.is_many |= self.before.names.len() + self.after.names.len() >= few_max;
        if self.is_many {
            self.before.names = Vec::new();
            self.after.names = Vec::new();
        } else {
            self.half_mut(side).names.push(named);
        }
    }

    /// Adds a name that differs, and the directories above it.
    fn add(
        &mut self,
        sides: &Sides<'_>,
        (side, few_max): (Side, usize),
        node: NodeId,
        name: &Name,
    ) -> rusqlite::Result<()> {
        self.tell(side, few_max, Named { dir: name.dir, name: name.name.as_slice().into(), node, kind: name.kind });
        let mut here = name.dir;
        while self.half_mut(side).above.insert(here) && here != sides.root {
            let (dir, name) = sides.above(here, side)?;
            self.tell(side, few_max, Named { dir, name: name.into(), node: here, kind: Kind::Directory });
            here = dir;
        }
        Ok(())
    }

    fn finish(mut self) -> Self {
        for half in [&mut self.before, &mut self.after] {
            half.names.sort_unstable();
            half.names.dedup();
            half.names.shrink_to_fit();
            if !self.is_many {
                (half.moved, half.above) = (Nodes::default(), Nodes::default());
            }
        }
        if !self.is_many {
            self.others = Nodes::default();
        }
        self
    }
}

impl Reader {
    /// Returns which names differ between the generations at two instants, both published; either may be the older one. Up to `few_max`
    /// are told by directory, at about 100 bytes each.
    ///
    /// **Cost:** the notes between them, and four seeks a node that they name. Memory: see [`Differing::size_bytes`], and half as much again.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if a name has no version or no path; [`Error::Sqlite`] if SQLite fails.
    pub fn differing(&self, scope: &Scope, times: (Time, Time), few_max: usize) -> Result<Differing, Error> {
        let broken = Cell::new(None);
        let told = self.run("comparing two generations", |c| differing(c, scope, (times, few_max), &broken));
        match broken.get() {
            Some((node, at)) => Err(self.contradiction("no version or no path", node, at)),
            None => told,
        }
    }
}

fn differing(
    c: &Connection,
    scope: &Scope,
    (times, few_max): ((Time, Time), usize),
    broken: &Cell<Option<(NodeId, Time)>>,
) -> rusqlite::Result<Differing> {
    let mut sides = Sides::new(c, scope, times, broken);
    let (mut found, mut met) = (Differing::default(), Nodes::default());
    let mut statement = c.prepare(NOTED)?;
    let (older, newer) = (times.0.min(times.1), times.0.max(times.1));
    let mut rows = statement.query([scope.source.id.0, older.0, newer.0])?;
    while let Some(row) = rows.next()? {
        let node = NodeId(row.get(0)?);
        if !met.insert(node) {
            continue;
        }
        let names = sides.names(node)?;
        let differs = differs(&sides, scope, node, &names)?;
        if differs {
            found.others.insert(node);
        }
        for name in &names {
            if name.is_before && name.is_after && !differs {
                continue;
            }
            for (side, is_there, is_elsewhere) in
                [(Side::Before, name.is_before, name.is_after), (Side::After, name.is_after, name.is_before)]
            {
                // All that is in a directory that the other one lacks differs.
                if !is_there || !sides.lives_at(name.dir, side.other())? {
                    continue;
                }
                if !is_elsewhere {
                    found.half_mut(side).moved.insert(node);
                }
                found.add(&sides, (side, few_max), node, name)?;
            }
        }
    }
    Ok(found.finish())
}

/// Tells whether a node lives at both instants, in versions that differ: by the rules of `diff`, but that times and sizes of directories
/// are nothing by themselves.
fn differs(sides: &Sides<'_>, scope: &Scope, node: NodeId, names: &[Name]) -> rusqlite::Result<bool> {
    let is_at_both = names.iter().any(|name| name.is_before) && names.iter().any(|name| name.is_after);
    let Some(kind) = names.first().map(|name| name.kind).filter(|_| is_at_both) else { return Ok(false) };
    let (old, new) = (sides.version(node, Side::Before)?, sides.version(node, Side::After)?);
    let rule = scope.source.rule;
    let ops = differ(sides.c, node, &old, &new, rule)?;
    if ops.is_empty() {
        return Ok(false);
    }
    let implied = match kind {
        Kind::Directory => Fields::SIZE | Fields::MTIME | Fields::CTIME | Fields::LINKS,
        // It got or lost a name, which differs itself.
        _ if names.iter().any(|name| name.is_before != name.is_after) => Fields::LINKS | Fields::CTIME,
        _ => Fields::default(),
    };
    let is_told = kind != Kind::Directory && ops.has(ChangeOps::CONTENT);
    Ok(is_told || !fields(sides.c, &old, &new, ops, rule.by_inode)?.is_in(implied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_in_a_set_once_it_was_put_in() {
        let mut nodes = Nodes::default();
        let last = NodeId((1 << 36) - 1);
        for node in [NodeId(65_536), NodeId(65_599), NodeId(131_071), last] {
            assert!(!nodes.has(node));
            assert!(nodes.insert(node));
            assert!(!nodes.insert(node) && nodes.has(node));
        }
        assert!(!nodes.has(NodeId(65_537)) && !nodes.has(NodeId(131_072)));
        assert_eq!(nodes.size_bytes(), 2 * 8192);
    }
}
