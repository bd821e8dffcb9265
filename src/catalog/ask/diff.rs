//! What differs between two generations of a source: one line for each thing that happened to a name.
//!
//! Promises: looks only at the nodes that the notes of the generations in between name, a few seeks each. A directory that came, went
//! or was renamed is one line; what came or went with it is counted there, and what else lies in it is no line. A file that lost a name
//! and got another was renamed, pairs in the order of their paths. That a directory has other times because names in it came and went,
//! or a file another number of links because it got or lost a name, is told by the lines of those names alone. Lines come in the order
//! of their paths (bytewise).

use super::fields::{Fields, fields};
use super::places::leads_to;
use super::scope::Scope;
use super::sides::{Name, Side, Sides};
use super::story::path_of;
use crate::catalog::notes::{differ, differ_across};
use crate::catalog::rows::{ChangeOps, NodeRow};
use crate::catalog::{Error, Reader};
use crate::model::{Kind, NodeId, RelPath, Rule, Time};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use rusqlite::Connection;
use std::cell::Cell;
use std::ops::AddAssign;

pub(super) const COUNT: &str = "SELECT count(*) FROM change WHERE source = ?1 AND at > ?2 AND at <= ?3";

/// What happened to a name; the words of the view `changes`, and `replaced`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// What the name leads to is new.
    Created,
    /// What the name led to is gone.
    Deleted,
    /// Other bytes.
    Modified,
    /// Other attributes.
    Attributes,
    /// It had another name.
    Renamed,
    /// Another name of a file that has others.
    Linked,
    /// The file has other names.
    Unlinked,
    /// Another file has the name.
    Replaced,
}

impl What {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Modified => "modified",
            Self::Attributes => "attributes",
            Self::Renamed => "renamed",
            Self::Linked => "linked",
            Self::Unlinked => "unlinked",
            Self::Replaced => "replaced",
        }
    }
}

/// Names that came or went with a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Together {
    /// How many.
    pub entries: u64,
    /// Bytes of the files that came or went, hard links counted once.
    pub size_bytes: u64,
}

impl AddAssign for Together {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.size_bytes = self.size_bytes.saturating_add(other.size_bytes);
    }
}

/// One thing that differs.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What happened.
    pub what: What,
    /// The path: of what is gone the one that it had, otherwise the one that it has.
    pub path: RelPath,
    /// Of what was renamed the path that it had.
    pub old_path: Option<RelPath>,
    /// The type.
    pub kind: Kind,
    /// The node; of what is gone the one that was there.
    pub node: NodeId,
    /// What differs between both versions, where there are two.
    pub fields: Fields,
    /// The version before, if there is one.
    pub before: Option<NodeRow>,
    /// The version after, if there is one.
    pub after: Option<NodeRow>,
    /// Of a directory that came or went: what came or went with it.
    pub below: Together,
}

/// Which part of a source is asked about: what lies at or below these paths.
#[derive(Clone, Debug)]
pub struct Within {
    /// The path in the first generation; none: nothing of it.
    pub before: Option<RelPath>,
    /// The path in the second one; none: nothing of it.
    pub after: Option<RelPath>,
}

impl Within {
    /// Returns the part at or below one path in both generations.
    pub fn path(path: &RelPath) -> Self {
        Self { before: Some(path.clone()), after: Some(path.clone()) }
    }

    /// Returns all of a source.
    pub fn all() -> Self {
        Self::path(&RelPath::root())
    }
}

/// Tells whether a path is another one, or below it.
fn is_at_or_below(path: &[u8], top: Option<&RelPath>) -> bool {
    let Some(top) = top.map(RelPath::as_bytes) else { return false };
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

impl Reader {
    /// Returns what differs in the generation at `times.1` from the one at `times.0`; both are published, and either may be the older one.
    ///
    /// **Cost:** the notes between them, and five seeks a node that they name; memory for a line each, and for the directories.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if a name has no version or no path; [`Error::Sqlite`] if SQLite fails.
    pub fn diff(&self, scope: &Scope, times: (Time, Time), within: &Within) -> Result<Vec<Difference>, Error> {
        let (older, newer) = (times.0.min(times.1), times.0.max(times.1));
        let nodes = self.changed_nodes(scope.source.id, older, newer)?;
        self.diff_of(scope, times, within, &nodes)
    }

    /// Returns how many notes there are between two generations: no diff of them has more lines for nodes that are there in both.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn count_of_changes(&self, scope: &Scope, times: (Time, Time)) -> Result<u64, Error> {
        let (older, newer) = (times.0.min(times.1), times.0.max(times.1));
        self.run("counting changes", |c| {
            let count = c
                .prepare_cached(COUNT)?
                .query_row([scope.source.id.0, older.0, newer.0], |row| row.get::<_, i64>(0))?;
            Ok(count.unsigned_abs())
        })
    }

    /// Returns what differs of these nodes, which must be all that differ.
    pub(super) fn diff_of(
        &self,
        scope: &Scope,
        times: (Time, Time),
        within: &Within,
        nodes: &[NodeId],
    ) -> Result<Vec<Difference>, Error> {
        let broken = Cell::new(None);
        let told = self.run("comparing two generations", |c| {
            let mut comparing = Comparing::new(c, scope, times, within, &broken)?;
            nodes.iter().try_for_each(|node| comparing.node(*node))?;
            comparing.finish()
        });
        match broken.get() {
            Some((node, at)) => Err(self.contradiction("no version or no path", node, at)),
            None => told,
        }
    }
}

/// A comparison that goes on.
struct Comparing<'c> {
    sides: Sides<'c>,
    rule: Rule,
    within: &'c Within,
    /// What the part begins with, where it is not the top.
    tops: (Option<NodeId>, Option<NodeId>),
    lines: Vec<Difference>,
    /// Directories of which times and links alone differ, and perhaps because names in them came and went.
    held: Vec<Difference>,
    /// Directories in which names came or went.
    touched: HashSet<NodeId>,
    created: HashMap<NodeId, Together>,
    deleted: HashMap<NodeId, Together>,
}

impl<'c> Comparing<'c> {
    fn new(
        c: &'c Connection,
        scope: &Scope,
        times: (Time, Time),
        within: &'c Within,
        broken: &'c Cell<Option<(NodeId, Time)>>,
    ) -> rusqlite::Result<Self> {
        let top = |path: Option<&RelPath>, at: Time| -> rusqlite::Result<Option<NodeId>> {
            let Some(path) = path else { return Ok(None) };
            Ok(leads_to(c, scope.source.root, path, at)?.map(|(node, _)| node))
        };
        let tops = (top(within.before.as_ref(), times.0)?, top(within.after.as_ref(), times.1)?);
        Ok(Self {
            sides: Sides::new(c, scope, times, broken),
            rule: scope.source.rule,
            within,
            tops,
            lines: Vec::new(),
            held: Vec::new(),
            touched: HashSet::new(),
            created: HashMap::new(),
            deleted: HashMap::new(),
        })
    }

    /// Compares one node.
    fn node(&mut self, node: NodeId) -> rusqlite::Result<()> {
        let names = self.sides.names(node)?;
        let is_root = node == self.sides.root;
        let lived = is_root || names.iter().any(|name| name.is_before);
        let lives = is_root || names.iter().any(|name| name.is_after);
        for name in names.iter().filter(|name| name.is_before != name.is_after) {
            self.touched.insert(name.dir);
        }
        match (lived, lives) {
            (false, false) => Ok(()),
            (false, true) => self.came_or_went(node, &names, Side::After),
            (true, false) => self.came_or_went(node, &names, Side::Before),
            (true, true) => self.stayed(node, &names),
        }
    }

    /// Tells whether what is in a directory is told with the directory: it came or went itself.
    fn is_told_with(&mut self, node: NodeId, dir: NodeId, side: Side) -> rusqlite::Result<bool> {
        let (before, after) = self.sides.lives(dir)?;
        Ok(match side {
            Side::After => !before && self.tops.1 != Some(node),
            Side::Before => !after && self.tops.0 != Some(node),
        })
    }

    /// Adds what lies in a directory that came or went itself to what is told with that.
    fn count(&mut self, dir: NodeId, side: Side, size_bytes: u64) {
        let told = match side {
            Side::After => &mut self.created,
            Side::Before => &mut self.deleted,
        };
        *told.entry(dir).or_default() += Together { entries: 1, size_bytes };
    }

    fn came_or_went(&mut self, node: NodeId, names: &[Name], side: Side) -> rusqlite::Result<()> {
        let row = self.sides.version(node, side)?;
        let mut size_bytes = if names.iter().any(|name| name.kind == Kind::File) { row.size_bytes } else { 0 };
        for name in names {
            if self.is_told_with(node, name.dir, side)? {
                self.count(name.dir, side, std::mem::take(&mut size_bytes));
                continue;
            }
            let (what, before, after) = match side {
                Side::After => (What::Created, None, Some(row)),
                Side::Before => (What::Deleted, Some(row), None),
            };
            self.line(node, what, name, side, (before, after))?;
        }
        Ok(())
    }

    fn stayed(&mut self, node: NodeId, names: &[Name]) -> rusqlite::Result<()> {
        let (old, new) = (self.sides.version(node, Side::Before)?, self.sides.version(node, Side::After)?);
        let rows = (Some(old), Some(new));
        let ops = differ(self.sides.c, node, &old, &new, self.rule)?;
        let differs = fields(self.sides.c, &old, &new, ops, self.rule.by_inode)?;
        let Moved { any: has_moved, to } = self.names_of_one_that_stayed(node, names, rows)?;
        let kind = match names.first() {
            Some(name) => name.kind,
            None => Kind::Directory,
        };
        let implied = match (kind, has_moved) {
            (Kind::Directory, _) => Fields::SIZE | Fields::MTIME | Fields::CTIME | Fields::LINKS,
            (_, true) => Fields::LINKS | Fields::CTIME,
            (_, false) => Fields::default(),
        };
        if ops.is_empty() || (kind != Kind::Directory && !ops.has(ChangeOps::CONTENT) && differs.is_in(implied)) {
            return Ok(());
        }
        let is_held = kind == Kind::Directory && differs.is_in(implied);
        if is_held && has_moved && differs.is_in(Fields::CTIME) {
            return Ok(());
        }
        let what = if ops.has(ChangeOps::CONTENT) { What::Modified } else { What::Attributes };
        let first = self.lines.len();
        if node == self.sides.root {
            let root = RelPath::root();
            if [&self.within.before, &self.within.after].into_iter().flatten().any(RelPath::is_root) {
                self.lines.push(line(what, root, kind, node, rows));
            }
        }
        for name in names.iter().filter(|name| name.is_after) {
            if name.is_before || to.contains(&(name.dir, name.name.as_slice())) {
                self.line(node, what, name, Side::After, rows)?;
            }
        }
        self.lines[first..].iter_mut().for_each(|line| line.fields = differs);
        if is_held {
            self.held.extend(self.lines.drain(first..));
        }
        Ok(())
    }

    /// Tells of the names that a node got or lost which lives at both instants.
    fn names_of_one_that_stayed<'n>(
        &mut self,
        node: NodeId,
        names: &'n [Name],
        rows: (Option<NodeRow>, Option<NodeRow>),
    ) -> rusqlite::Result<Moved<'n>> {
        let (mut lost, mut got) = (Vec::new(), Vec::new());
        for name in names {
            match (name.is_before, name.is_after) {
                (true, false) => lost.push((self.sides.path(name, Side::Before)?, name)),
                (false, true) => got.push((self.sides.path(name, Side::After)?, name)),
                _ => {}
            }
        }
        lost.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        got.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let pairs = lost.len().min(got.len());
        for ((old, _), (new, name)) in lost.iter().zip(&got) {
            if is_at_or_below(old, self.within.before.as_ref()) || is_at_or_below(new, self.within.after.as_ref()) {
                let mut line = line(What::Renamed, path_of(new)?, name.kind, node, rows);
                line.old_path = Some(path_of(old)?);
                self.lines.push(line);
            }
        }
        for (side, what, alone) in
            [(Side::Before, What::Unlinked, &lost[pairs..]), (Side::After, What::Linked, &got[pairs..])]
        {
            for (_, name) in alone {
                match self.is_told_with(node, name.dir, side)? {
                    true => self.count(name.dir, side, 0),
                    false => self.line(node, what, name, side, rows)?,
                }
            }
        }
        let to = got[..pairs].iter().map(|(_, name)| (name.dir, name.name.as_slice())).collect();
        Ok(Moved { any: !(lost.is_empty() && got.is_empty()), to })
    }

    /// Adds a line about a name, unless it is in another part.
    fn line(
        &mut self,
        node: NodeId,
        what: What,
        name: &Name,
        side: Side,
        rows: (Option<NodeRow>, Option<NodeRow>),
    ) -> rusqlite::Result<()> {
        let path = self.sides.path(name, side)?;
        let part = match side {
            Side::Before => self.within.before.as_ref(),
            Side::After => self.within.after.as_ref(),
        };
        if is_at_or_below(&path, part) {
            self.lines.push(line(what, path_of(&path)?, name.kind, node, rows));
        }
        Ok(())
    }

    fn finish(mut self) -> rusqlite::Result<Vec<Difference>> {
        let touched = std::mem::take(&mut self.touched);
        let held = std::mem::take(&mut self.held);
        self.lines.extend(held.into_iter().filter(|line| !touched.contains(&line.node)));
        for (side, what) in [(Side::After, What::Created), (Side::Before, What::Deleted)] {
            let below = self.below(side)?;
            for line in self.lines.iter_mut().filter(|line| line.what == what) {
                line.below = below.get(&line.node).copied().unwrap_or_default();
            }
        }
        let mut lines = self.lines;
        lines.sort_unstable_by(|a, b| (&a.path, a.what, a.node).cmp(&(&b.path, b.what, b.node)));
        replaced(self.sides.c, lines, self.rule)
    }

    /// Returns what came or went with the directories that have a line.
    fn below(&mut self, side: Side) -> rusqlite::Result<HashMap<NodeId, Together>> {
        let counted = std::mem::take(match side {
            Side::After => &mut self.created,
            Side::Before => &mut self.deleted,
        });
        let mut below: HashMap<NodeId, Together> = HashMap::new();
        let tops = self.tops;
        for (dir, together) in counted {
            let top = self.sides.top(dir, side, &|sides, node, parent| {
                let (before, after) = sides.lives(parent)?;
                Ok(match side {
                    Side::After => before || tops.1 == Some(node),
                    Side::Before => after || tops.0 == Some(node),
                })
            })?;
            *below.entry(top).or_default() += together;
        }
        Ok(below)
    }
}

/// What became of the names of a node that lives at both instants.
struct Moved<'n> {
    /// Whether it got or lost any.
    any: bool,
    /// The names that it has in place of others.
    to: Vec<(NodeId, &'n [u8])>,
}

fn line(
    what: What,
    path: RelPath,
    kind: Kind,
    node: NodeId,
    (before, after): (Option<NodeRow>, Option<NodeRow>),
) -> Difference {
    let (fields, below) = (Fields::default(), Together::default());
    Difference { what, path, old_path: None, kind, node, fields, before, after, below }
}

/// Joins the line of a file that came and that of one that went from the same path; lines are in the order of paths.
fn replaced(c: &Connection, lines: Vec<Difference>, rule: Rule) -> rusqlite::Result<Vec<Difference>> {
    let mut joined: Vec<Difference> = Vec::with_capacity(lines.len());
    for mut line in lines {
        let came = |what| matches!(what, What::Created | What::Linked);
        let went = |what| matches!(what, What::Deleted | What::Unlinked);
        let is_pair = |old: &Difference, new: &Difference| {
            ((came(old.what) && went(new.what)) || (went(old.what) && came(new.what)))
                && old.kind != Kind::Directory
                && new.kind != Kind::Directory
        };
        let same_path = joined.iter().rev().take_while(|other| other.path == line.path).count();
        let mut others = joined.len() - same_path..joined.len();
        let Some(other) = others.find(|other| is_pair(&joined[*other], &line)).map(|other| joined.remove(other)) else {
            joined.push(line);
            continue;
        };
        let (old, new) = if went(line.what) { (line, other) } else { (other, line) };
        line = new;
        (line.what, line.before) = (What::Replaced, old.before);
        if let (Some(before), Some(after)) = (&line.before, &line.after) {
            let ops = differ_across(c, (old.node, before), (line.node, after), rule)?;
            line.fields = fields(c, before, after, ops, false)?;
        }
        joined.push(line);
    }
    Ok(joined)
}
