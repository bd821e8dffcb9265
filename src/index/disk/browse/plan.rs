//! What changed of a file system since the generation before, which was read without a fault: found out first, and written then.
//!
//! A directory whose record, map and names are the same bytes as then, and to which names lead now, has the names that it had, and they lead to
//! the same inode numbers. So what has to be listed are the directories that changed and can be reached, and those in which a name leads
//! to a number that is another node now; and of what they name all that did not live then, with everything below it. They are listed
//! from the top down: what is left on the disk of a directory that is gone is not looked at.
//!
//! Promises: nothing is written until all is known. Where anything is amiss (an inode or a listing that cannot be read, a directory with
//! two names, a loop) there is no plan, and the file system is read whole.

use super::stale::Stale;
use super::whole::Listed;
use super::{Browse, Known};
use crate::catalog::NodeRow;
use crate::index::Error;
use crate::index::disk::rows::Names;
use crate::model::{Kind, NodeId};
use crate::source::block::Records;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How often the directories that lead nowhere are looked at once more: each time something was listed that may lead to them.
const ROUNDS_MAX: usize = 32;

/// What is to be written.
pub(super) struct Plan {
    /// Inodes to be read and written.
    inodes: BTreeSet<u64>,
    /// Directories and their names now, the upper ones first.
    listed: Vec<(u64, Listed)>,
    /// Files of which nothing but bytes changed.
    files: Vec<(NodeId, NodeRow)>,
    /// Nodes that are as they were, by their numbers.
    before: HashMap<u64, Option<Known>>,
}

/// That something is amiss, or the catalog cannot be read.
enum Stop {
    Amiss,
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<crate::catalog::Error> for Stop {
    fn from(error: crate::catalog::Error) -> Self {
        Self::Error(error.into())
    }
}

/// What becomes of a directory of the generation before.
enum Fate {
    /// Names lead to it from the top on.
    Reached,
    /// None do, as far as is known.
    Gone,
    /// This one above it has to be listed first.
    After(u64),
}

struct Planner<'p, 'b, 'a, 'w> {
    browse: &'p Browse<'b, 'a, 'w>,
    /// Directories of the generation before whose names may be others.
    pending: BTreeSet<u64>,
    /// Where in `plan.listed` a directory is.
    listed: HashMap<u64, usize>,
    /// Directories that a listed one has a name of, with that.
    claims: HashMap<u64, u64>,
    parents: HashMap<u64, Option<u64>>,
    plan: Plan,
}

impl Browse<'_, '_, '_> {
    /// Finds out what is to be written; none if the file system has to be read whole.
    pub(super) fn plan(&self, records: &dyn Records) -> Result<Option<Plan>, Error> {
        let Stale { records: stale, files } = self.find_stale(records)?;
        let plan = Plan { inodes: BTreeSet::new(), listed: Vec::new(), files, before: HashMap::new() };
        let (pending, listed) = (BTreeSet::new(), HashMap::new());
        let (claims, parents) = (HashMap::new(), HashMap::new());
        let planner = Planner { browse: self, pending, listed, claims, parents, plan };
        match planner.run(records, &stale) {
            Ok(plan) => Ok(Some(plan)),
            Err(Stop::Amiss) => Ok(None),
            Err(Stop::Error(e)) => Err(e),
        }
    }

    /// Writes it.
    pub(super) fn carry_out(&mut self, plan: Plan) -> Result<(), Error> {
        for number in plan.inodes {
            self.resolve(number)?;
            self.index.monitor.advance(1);
        }
        let known = |nodes: &HashMap<u64, Known>, number: u64| {
            let before = || plan.before.get(&number).copied().flatten();
            nodes.get(&number).copied().or_else(before).expect("it was found out")
        };
        for (number, names) in plan.listed {
            let dir = known(&self.nodes, number).node;
            let mut kept = Names::new();
            for (name, inode) in names {
                let Known { node, kind } = known(&self.nodes, inode);
                kept.insert(name, (node, kind));
            }
            self.index.names(dir, &kept, true)?;
        }
        for (node, row) in plan.files {
            self.index.version(node, row, Some(&row), true)?;
        }
        Ok(())
    }
}

impl Planner<'_, '_, '_, '_> {
    fn run(mut self, records: &dyn Records, stale: &BTreeMap<u64, NodeId>) -> Result<Plan, Stop> {
        let root = self.browse.fs.root();
        let is_there = self.before(root)?.is_some_and(|known| known.kind == Kind::Directory);
        if !is_there || records.check_tables().is_err() {
            return Err(Stop::Amiss);
        }
        for (number, node) in stale {
            self.look_at(*number, *node)?;
        }
        self.list_pending()?;
        self.check_names()?;
        Ok(self.plan)
    }

    /// Finds out whether what has a number is still the node that had it.
    fn look_at(&mut self, number: u64, node: NodeId) -> Result<(), Stop> {
        match self.browse.as_now(number, node)? {
            Some(kind) => {
                self.plan.inodes.insert(number);
                if kind == Kind::Directory {
                    self.pending.insert(number);
                }
            }
            // It is gone, or another one, or cannot be read: whatever it was called tells.
            None => {
                self.plan.before.insert(number, None);
                for (dir, _) in self.browse.index.writer.previous_names(node)? {
                    let dir = self.browse.number_of(dir)?.ok_or(Stop::Amiss)?;
                    self.pending.insert(dir);
                }
            }
        }
        Ok(())
    }

    /// Lists the directories that changed and can be reached.
    fn list_pending(&mut self) -> Result<(), Stop> {
        for _ in 0..ROUNDS_MAX {
            let mut progress = false;
            for number in self.pending.clone() {
                while self.pending.contains(&number) {
                    match self.fate(number)? {
                        Fate::Reached => self.list_down(number)?,
                        Fate::After(above) => self.list_down(above)?,
                        Fate::Gone => break,
                    }
                    progress = true;
                }
            }
            if !progress {
                return Ok(());
            }
        }
        Err(Stop::Amiss)
    }

    /// Tells what becomes of a directory, by what is above it.
    fn fate(&mut self, number: u64) -> Result<Fate, Stop> {
        let (mut here, mut above) = (number, None);
        while here != self.browse.fs.root() && !self.claims.contains_key(&here) {
            let Some(parent) = self.parent(here)?.filter(|parent| !self.listed.contains_key(parent)) else {
                return Ok(Fate::Gone);
            };
            if self.pending.contains(&parent) {
                above = Some(parent);
            }
            here = parent;
        }
        Ok(above.map_or(Fate::Reached, Fate::After))
    }

    /// Lists a directory that can be reached, and all below it that was not there.
    fn list_down(&mut self, number: u64) -> Result<(), Stop> {
        let mut next = vec![number];
        while let Some(number) = next.pop() {
            self.pending.remove(&number);
            let inode = self.browse.fs.inode(number).map_err(|_| Stop::Amiss)?;
            let (names, why) = self.browse.read_names(&inode);
            if why.is_some() || self.listed.insert(number, self.plan.listed.len()).is_some() {
                return Err(Stop::Amiss);
            }
            self.remember(number, &names)?;
            for (_, child) in &names {
                let (kind, is_new) = self.resolve(*child)?;
                if kind != Kind::Directory {
                    continue;
                }
                if *child == self.browse.fs.root() || self.claims.insert(*child, number).is_some() {
                    return Err(Stop::Amiss);
                }
                if is_new {
                    next.push(*child);
                }
            }
            self.plan.listed.push((number, names));
        }
        Ok(())
    }

    /// Takes note of what the names of a directory led to before: one look at it, and not one for each.
    fn remember(&mut self, number: u64, names: &Listed) -> Result<(), Stop> {
        let Some(dir) = self.before(number)? else { return Ok(()) };
        let mut before = HashMap::new();
        self.browse.index.writer.list_previous(dir.node, |entry| {
            before.insert(entry.name, Known { node: entry.node, kind: entry.kind });
        })?;
        for (name, child) in names {
            if let Some(known) = before.get(name)
                && !self.plan.before.contains_key(child)
                && self.browse.number_of(known.node)? == Some(*child)
            {
                self.plan.before.insert(*child, Some(*known));
            }
        }
        Ok(())
    }

    /// Returns the type of what a number is now, and whether nothing is known of it from before.
    fn resolve(&mut self, number: u64) -> Result<(Kind, bool), Stop> {
        if let Some(known) = self.before(number)? {
            return Ok((known.kind, false));
        }
        let inode = self.browse.fs.inode(number).map_err(|_| Stop::Amiss)?;
        let kind = Kind::from_mode(inode.attrs.mode).ok_or(Stop::Amiss)?;
        self.plan.inodes.insert(number);
        Ok((kind, true))
    }

    /// Checks that no directory which was listed anew has its name from before as well.
    fn check_names(&mut self) -> Result<(), Stop> {
        for (child, dir) in self.claims.clone() {
            if self.before(child)?.is_none() {
                continue;
            }
            let Some(parent) = self.parent(child)? else { continue };
            if parent != dir && !self.listed.contains_key(&parent) && matches!(self.fate(parent)?, Fate::Reached) {
                return Err(Stop::Amiss);
            }
        }
        Ok(())
    }

    /// Returns the node that had a number in the generation before.
    fn before(&mut self, number: u64) -> Result<Option<Known>, Stop> {
        if let Some(known) = self.plan.before.get(&number) {
            return Ok(*known);
        }
        let known = self.browse.live_node(number)?;
        self.plan.before.insert(number, known);
        Ok(known)
    }

    /// Returns the directory that had a directory in the generation before.
    fn parent(&mut self, number: u64) -> Result<Option<u64>, Stop> {
        if let Some(parent) = self.parents.get(&number) {
            return Ok(*parent);
        }
        let mut parent = None;
        if let Some(Known { node, .. }) = self.before(number)? {
            for (dir, _) in self.browse.index.writer.previous_names(node)? {
                parent = self.browse.number_of(dir)?;
            }
        }
        self.parents.insert(number, parent);
        Ok(parent)
    }
}
