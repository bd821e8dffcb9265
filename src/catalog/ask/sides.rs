//! Two instants of one source beside each other, node by node: which names and which version a node has at each, and where those are.
//!
//! Promises: two seeks tell a node's names and two its versions; whether a directory lives, and where it is, is asked once. What has a
//! name and no version, or no path, is damage: it is told ([`Sides::broken`]) and ends the question.

use super::places::{PathsAt, up};
use super::scope::Scope;
use crate::catalog::paths::DEPTH_MAX;
use crate::catalog::rows::{KindNumber, NodeRow};
use crate::catalog::tables;
use crate::model::{Kind, NodeId, Time};
use foldhash::{HashMap, HashMapExt};
use rusqlite::Connection;
use std::cell::Cell;

pub(super) const NAMES_AT_BOTH: &str = "SELECT parent, name, kind, born <= ?2 AND died > ?2, born <= ?3 AND died > ?3 \
     FROM dirent INDEXED BY dirent_node WHERE node = ?1 AND ((born <= ?2 AND died > ?2) OR (born <= ?3 AND died > ?3))";

/// Directories that are remembered by [`Sides::lives_at`].
const LIVES_MAX: usize = 65_536;

/// One of the two instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first one.
    Before,
    /// The second one.
    After,
}

impl Side {
    /// Returns the other one.
    pub fn other(self) -> Self {
        match self {
            Self::Before => Self::After,
            Self::After => Self::Before,
        }
    }
}

/// A name that a node has at one of the instants.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) dir: NodeId,
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) is_before: bool,
    pub(super) is_after: bool,
}

/// Two instants of one source.
pub(super) struct Sides<'c> {
    pub(super) c: &'c Connection,
    pub(super) root: NodeId,
    before: Time,
    after: Time,
    paths_before: PathsAt,
    paths_after: PathsAt,
    lives: HashMap<NodeId, (bool, bool)>,
    /// What is damaged.
    pub(super) broken: &'c Cell<Option<(NodeId, Time)>>,
}

impl<'c> Sides<'c> {
    pub(super) fn new(
        c: &'c Connection,
        scope: &Scope,
        (before, after): (Time, Time),
        broken: &'c Cell<Option<(NodeId, Time)>>,
    ) -> Self {
        let root = scope.source.root;
        let (paths_before, paths_after) = (PathsAt::new(root, before), PathsAt::new(root, after));
        Self { c, root, before, after, paths_before, paths_after, lives: HashMap::new(), broken }
    }

    pub(super) fn at(&self, side: Side) -> Time {
        match side {
            Side::Before => self.before,
            Side::After => self.after,
        }
    }

    /// Returns the names that `node` has at either instant.
    pub(super) fn names(&self, node: NodeId) -> rusqlite::Result<Vec<Name>> {
        let mut statement = self.c.prepare_cached(NAMES_AT_BOTH)?;
        let names = statement.query_map([node.0, self.before.0, self.after.0], |row| {
            Ok(Name {
                dir: NodeId(row.get(0)?),
                name: row.get(1)?,
                kind: row.get::<_, KindNumber>(2)?.0,
                is_before: row.get(3)?,
                is_after: row.get(4)?,
            })
        })?;
        let mut names: Vec<Name> = names.collect::<rusqlite::Result<_>>()?;
        // A name may have died and be born again in between: it is there at both.
        if names.len() > 1 {
            names.sort_unstable_by(|a, b| (a.dir, &a.name).cmp(&(b.dir, &b.name)));
            names.dedup_by(|next, name| {
                let is_same = next.dir == name.dir && next.name == name.name;
                if is_same {
                    name.is_before |= next.is_before;
                    name.is_after |= next.is_after;
                }
                is_same
            });
        }
        Ok(names)
    }

    /// Tells at which of the instants a directory lives.
    pub(super) fn lives(&mut self, dir: NodeId) -> rusqlite::Result<(bool, bool)> {
        if dir == self.root {
            return Ok((true, true));
        }
        if let Some(known) = self.lives.get(&dir) {
            return Ok(*known);
        }
        let (mut before, mut after) = (false, false);
        for name in self.names(dir)? {
            before |= name.is_before;
            after |= name.is_after;
        }
        self.lives.insert(dir, (before, after));
        Ok((before, after))
    }

    /// Tells whether a directory lives at an instant. Of those that were asked about last nothing is asked again.
    pub(super) fn lives_at(&mut self, dir: NodeId, side: Side) -> rusqlite::Result<bool> {
        if self.lives.len() > LIVES_MAX {
            self.lives.clear();
        }
        let (before, after) = self.lives(dir)?;
        Ok(if side == Side::Before { before } else { after })
    }

    /// Returns the directory above a directory that lives at an instant, and its name there.
    pub(super) fn above(&self, dir: NodeId, side: Side) -> rusqlite::Result<(NodeId, Vec<u8>)> {
        let at = self.at(side);
        up(self.c, dir, at)?.ok_or_else(|| self.is_broken(dir, at))
    }

    /// Returns the version of a node that lives at an instant.
    pub(super) fn version(&self, node: NodeId, side: Side) -> rusqlite::Result<NodeRow> {
        let at = self.at(side);
        match tables::version_at(self.c, node, at)? {
            Some(row) => Ok(row),
            None => Err(self.is_broken(node, at)),
        }
    }

    /// Returns the path of a name at an instant.
    pub(super) fn path(&mut self, name: &Name, side: Side) -> rusqlite::Result<Vec<u8>> {
        let (c, at) = (self.c, self.at(side));
        let paths = match side {
            Side::Before => &mut self.paths_before,
            Side::After => &mut self.paths_after,
        };
        match paths.name(c, name.dir, &name.name)? {
            Some(path) => Ok(path),
            None => Err(self.is_broken(name.dir, at)),
        }
    }

    /// Returns the first directory upward from `dir`, itself among them, for which `is_top` holds.
    pub(super) fn top(
        &mut self,
        dir: NodeId,
        side: Side,
        is_top: &dyn Fn(&mut Self, NodeId, NodeId) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<NodeId> {
        let (mut here, at) = (dir, self.at(side));
        for _ in 0..DEPTH_MAX {
            let Some((parent, _)) = up(self.c, here, at)? else { break };
            if is_top(self, here, parent)? {
                return Ok(here);
            }
            here = parent;
        }
        Err(self.is_broken(dir, at))
    }

    fn is_broken(&self, node: NodeId, at: Time) -> rusqlite::Error {
        self.broken.set(Some((node, at)));
        rusqlite::Error::InvalidQuery
    }
}
