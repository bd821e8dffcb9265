//! Where nodes are: the nodes that a path led to over time, the paths that a node had over time, and paths at one instant.
//!
//! Promises: one seek a level and span; directories whose path was found once are remembered. Directories may have swapped places over
//! time (a in b, later b in a), so a way up is followed within its span only, where it is no loop.

use super::scope::Scope;
use crate::catalog::paths::DEPTH_MAX;
use crate::catalog::rows::KindNumber;
use crate::catalog::tables::{Slot, lookup, rows_of};
use crate::catalog::timeline::common;
use crate::catalog::{Error, Reader};
use crate::model::{Kind, NodeId, RelPath, Time};
use foldhash::{HashMap, HashMapExt};
use rusqlite::{Connection, OptionalExtension};
use std::ops::Range;
use std::rc::Rc;

pub(super) const NAMES_EVER: &str =
    "SELECT parent, name, born, died FROM dirent INDEXED BY dirent_node WHERE node = ?1";
pub(super) const NAME_AT: &str =
    "SELECT parent, name FROM dirent INDEXED BY dirent_node WHERE node = ?1 AND born <= ?2 AND died > ?2 LIMIT 1";
pub(super) const KEPT: &str = "SELECT born, died FROM kept WHERE parent = ?1 AND name = ?2";

/// Returns what `path` leads to below `root` as of `at`: a seek a level.
pub(super) fn leads_to(
    c: &Connection,
    root: NodeId,
    path: &RelPath,
    at: Time,
) -> rusqlite::Result<Option<(NodeId, Kind)>> {
    let mut here = (root, Kind::Directory);
    for name in path.names() {
        match lookup(c, Slot { dir: here.0, name }, at)? {
            Some(row) if here.1 == Kind::Directory => {
                let KindNumber(kind) = row.kind;
                here = (row.node, kind);
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(here))
}

impl Reader {
    /// Returns what `path` leads to in a source as of `at`; none: nothing, as far as is known. A seek a level.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn leads_to(&self, scope: &Scope, path: &RelPath, at: Time) -> Result<Option<(NodeId, Kind)>, Error> {
        self.run("following a path", |c| leads_to(c, scope.source.root, path, at))
    }
}

/// What a path led to over a span of places.
#[derive(Clone, Debug)]
pub(super) struct Led {
    pub(super) span: Range<usize>,
    pub(super) node: NodeId,
    pub(super) kind: Kind,
}

/// Returns what `path` led to, in the order of time; spans in which it led nowhere are left out.
pub(super) fn led(c: &Connection, scope: &Scope, path: &RelPath) -> rusqlite::Result<Vec<Led>> {
    let mut found = vec![Led { span: scope.all(), node: scope.source.root, kind: Kind::Directory }];
    found.retain(|led| !led.span.is_empty());
    for name in path.names() {
        found = led_below(c, scope, &found, name)?;
    }
    Ok(found)
}

/// Returns what `name` led to in directories, each of which a path led to over a span.
pub(super) fn led_below(c: &Connection, scope: &Scope, dirs: &[Led], name: &[u8]) -> rusqlite::Result<Vec<Led>> {
    let mut below: Vec<Led> = Vec::new();
    for dir in dirs.iter().filter(|led| led.kind == Kind::Directory) {
        for row in rows_of(c, Slot { dir: dir.node, name })? {
            let span = common(&dir.span, &scope.span(row.born, row.died));
            if !span.is_empty() {
                let KindNumber(kind) = row.kind;
                below.push(Led { span, node: row.node, kind });
            }
        }
    }
    below.sort_unstable_by_key(|led| led.span.start);
    below.dedup_by(|next, led| {
        let goes_on = led.node == next.node && led.span.end == next.span.start;
        if goes_on {
            led.span.end = next.span.end;
        }
        goes_on
    });
    Ok(below)
}

/// A name that a node had.
struct Name {
    dir: NodeId,
    name: Vec<u8>,
    span: Range<usize>,
}

fn names_ever(c: &Connection, scope: &Scope, node: NodeId) -> rusqlite::Result<Vec<Name>> {
    let mut statement = c.prepare_cached(NAMES_EVER)?;
    let names = statement.query_map([node.0], |row| {
        let span = scope.span(row.get(2)?, row.get(3)?);
        Ok(Name { dir: NodeId(row.get(0)?), name: row.get(1)?, span })
    })?;
    names.filter(|name| name.as_ref().map_or(true, |name| !name.span.is_empty())).collect()
}

/// Returns the paths that `node` had, each with a span of places; of the root the empty path.
pub(super) fn paths_ever(
    c: &Connection,
    scope: &Scope,
    node: NodeId,
) -> rusqlite::Result<Vec<(Range<usize>, Vec<u8>)>> {
    let mut known: HashMap<NodeId, Rc<Vec<Name>>> = HashMap::new();
    let mut open = vec![(node, scope.all(), Vec::new(), 0)];
    let mut found = Vec::new();
    while let Some((here, span, below, depth)) = open.pop() {
        if here == scope.source.root {
            found.push((span, below));
            continue;
        }
        // Deeper than any tree is a loop: damage, which has no path.
        if depth == DEPTH_MAX {
            continue;
        }
        let names = match known.get(&here) {
            Some(names) => Rc::clone(names),
            None => {
                let names = Rc::new(names_ever(c, scope, here)?);
                known.insert(here, Rc::clone(&names));
                names
            }
        };
        for name in names.iter() {
            let span = common(&span, &name.span);
            if !span.is_empty() {
                open.push((name.dir, span, joined(&name.name, &below), depth + 1));
            }
        }
    }
    Ok(found)
}

/// Returns at which places no name of `node` was seen: all that it has are kept from the generation before.
pub(super) fn unseen(c: &Connection, scope: &Scope, node: NodeId) -> rusqlite::Result<Vec<bool>> {
    let mut seen = vec![false; scope.len()];
    let mut lives = vec![false; scope.len()];
    for name in names_ever(c, scope, node)? {
        let mut is_kept = vec![false; scope.len()];
        let mut statement = c.prepare_cached(KEPT)?;
        let mut rows = statement.query(rusqlite::params![name.dir.0, name.name])?;
        while let Some(row) = rows.next()? {
            is_kept[scope.span(row.get(0)?, row.get(1)?)].fill(true);
        }
        for place in name.span {
            lives[place] = true;
            seen[place] |= !is_kept[place];
        }
    }
    Ok(lives.into_iter().zip(seen).map(|(lives, seen)| lives && !seen).collect())
}

/// Returns two parts of a path with a slash between them.
pub(super) fn joined(above: &[u8], below: &[u8]) -> Vec<u8> {
    match (above, below) {
        ([], _) => below.to_vec(),
        (_, []) => above.to_vec(),
        _ => [above, b"/", below].concat(),
    }
}

/// Returns the directory that a node is in as of `at`, and its name there; of several names one.
pub(super) fn up(c: &Connection, node: NodeId, at: Time) -> rusqlite::Result<Option<(NodeId, Vec<u8>)>> {
    c.prepare_cached(NAME_AT)?.query_row([node.0, at.0], |row| Ok((NodeId(row.get(0)?), row.get(1)?))).optional()
}

/// The paths of directories as of one instant.
pub(super) struct PathsAt {
    root: NodeId,
    at: Time,
    known: HashMap<NodeId, Option<Rc<[u8]>>>,
}

impl PathsAt {
    pub(super) fn new(root: NodeId, at: Time) -> Self {
        Self { root, at, known: HashMap::new() }
    }

    /// Returns the path of a directory; none if no way leads to the top.
    pub(super) fn directory(&mut self, c: &Connection, dir: NodeId) -> rusqlite::Result<Option<Rc<[u8]>>> {
        let (mut here, mut chain) = (dir, Vec::new());
        let mut path: Option<Rc<[u8]>> = loop {
            if here == self.root {
                break Some(Rc::from([]));
            }
            if let Some(known) = self.known.get(&here) {
                break known.clone();
            }
            match up(c, here, self.at)? {
                Some((parent, name)) if chain.len() < DEPTH_MAX => {
                    chain.push((here, name));
                    here = parent;
                }
                _ => break None,
            }
        };
        for (node, name) in chain.into_iter().rev() {
            path = path.map(|above| joined(&above, &name).into());
            self.known.insert(node, path.clone());
        }
        Ok(path)
    }

    /// Returns the path of a name in a directory.
    pub(super) fn name(&mut self, c: &Connection, dir: NodeId, name: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
        Ok(self.directory(c, dir)?.map(|above| joined(&above, name)))
    }
}
