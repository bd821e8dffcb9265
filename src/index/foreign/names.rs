//! Which name points to which node while a list is read: the generation before, and what was moved since.
//!
//! Promises: what was not touched costs nothing, what was is kept by name and by node; both always agree. A node that
//! lost its name to another one can still be moved, by the place that it had: lists do not order their lines by time.
//! Never writes.

use crate::catalog::{self, Reader};
use crate::model::{EntryName, FileKey, Kind, NodeId, RelPath, Time};
use std::collections::{HashMap, HashSet};

/// A name in a directory, by the directory's key.
pub(super) type Slot = (FileKey, EntryName);

/// What a name points to, and of what kind it is.
pub(super) type Pointed = (FileKey, Kind);

/// Deeper than any path, so a chain of parents that is longer is a loop.
const DEPTH_MAX: usize = 65_536;

pub(super) struct Names<'r> {
    reader: &'r Reader,
    /// The generation before.
    at: Time,
    root: FileKey,
    /// What touched names point to now.
    slots: HashMap<Slot, Option<FileKey>>,
    /// All names of touched nodes, and what kind they are.
    nodes: HashMap<FileKey, (Kind, Vec<Slot>)>,
    made: u64,
}

impl<'r> Names<'r> {
    pub(super) fn new(reader: &'r Reader, at: Time, root: NodeId) -> Self {
        let root = FileKey::of_node(root);
        Self { reader, at, root, slots: HashMap::new(), nodes: HashMap::new(), made: 0 }
    }

    pub(super) fn root(&self) -> FileKey {
        self.root
    }

    /// Returns a key for a node that the generation before has not.
    pub(super) fn make(&mut self, kind: Kind) -> FileKey {
        let key = FileKey::of_new(self.made);
        self.made += 1;
        self.nodes.insert(key, (kind, Vec::new()));
        key
    }

    /// Returns what `slot` pointed to in the generation before.
    pub(super) fn before(&self, slot: &Slot) -> Result<Option<Pointed>, catalog::Error> {
        let Some(dir) = slot.0.as_node() else { return Ok(None) };
        let found = self.reader.lookup(dir, slot.1.as_bytes(), self.at)?;
        Ok(found.map(|(node, kind)| (FileKey::of_node(node), kind)))
    }

    /// Returns what `slot` points to now.
    pub(super) fn now(&self, slot: &Slot) -> Result<Option<Pointed>, catalog::Error> {
        match self.slots.get(slot) {
            Some(None) => Ok(None),
            Some(Some(key)) => Ok(Some((*key, self.nodes[key].0))),
            None => self.before(slot),
        }
    }

    /// Returns the name that `path` ends with, in its directory: the one that is there now or, where there is none,
    /// the one of the generation before. None if there is none of either.
    pub(super) fn slot_of(&self, path: &RelPath) -> Result<Option<Slot>, catalog::Error> {
        match self.slot_by(path, &|slot| self.now(slot))? {
            Some(slot) => Ok(Some(slot)),
            None => self.slot_by(path, &|slot| self.before(slot)),
        }
    }

    fn slot_by(
        &self,
        path: &RelPath,
        look: &dyn Fn(&Slot) -> Result<Option<Pointed>, catalog::Error>,
    ) -> Result<Option<Slot>, catalog::Error> {
        let mut slot: Option<Slot> = None;
        for name in path.names() {
            let dir = match &slot {
                None => self.root,
                Some(above) => match look(above)? {
                    Some((dir, Kind::Directory)) => dir,
                    _ => return Ok(None),
                },
            };
            slot = Some((dir, EntryName::new(name).expect("a path is made of names")));
        }
        Ok(slot)
    }

    /// Returns the names of a node as they are now.
    pub(super) fn names_of(&self, key: FileKey) -> Result<Vec<Slot>, catalog::Error> {
        match self.nodes.get(&key) {
            Some((_, names)) => Ok(names.clone()),
            None => self.names_before(key),
        }
    }

    fn names_before(&self, key: FileKey) -> Result<Vec<Slot>, catalog::Error> {
        let Some(node) = key.as_node() else { return Ok(Vec::new()) };
        let names = self.reader.names(node, self.at)?;
        Ok(names.into_iter().map(|(dir, name)| (FileKey::of_node(dir), name)).collect())
    }

    /// Keeps the names of `key` from now on.
    fn touch(&mut self, key: FileKey, kind: Kind) -> Result<(), catalog::Error> {
        if !self.nodes.contains_key(&key) {
            let names = self.names_before(key)?;
            self.nodes.insert(key, (kind, names));
        }
        Ok(())
    }

    /// Takes a name away from what it points to.
    pub(super) fn clear(&mut self, slot: &Slot) -> Result<(), catalog::Error> {
        if let Some((key, kind)) = self.now(slot)? {
            self.touch(key, kind)?;
            let names = &mut self.nodes.get_mut(&key).expect("it was touched").1;
            names.retain(|name| name != slot);
        }
        self.slots.insert(slot.clone(), None);
        Ok(())
    }

    /// Lets a name point to `key`, whatever it pointed to.
    pub(super) fn set(&mut self, slot: &Slot, key: FileKey, kind: Kind) -> Result<(), catalog::Error> {
        self.clear(slot)?;
        self.touch(key, kind)?;
        self.nodes.get_mut(&key).expect("it was touched").1.push(slot.clone());
        self.slots.insert(slot.clone(), Some(key));
        Ok(())
    }

    /// Tells whether the directory `key` is `above`, or below it.
    pub(super) fn is_within(&self, key: FileKey, above: FileKey) -> Result<bool, catalog::Error> {
        let mut here = key;
        for _ in 0..DEPTH_MAX {
            if here == above {
                return Ok(true);
            }
            match self.names_of(here)?.into_iter().next() {
                Some((parent, _)) => here = parent,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Takes away names of nodes that are neither known nor `told`, and names in directories that have none themselves.
    pub(super) fn prune(&mut self, told: &HashSet<FileKey>) -> Result<(), catalog::Error> {
        let is_untold = |key: &FileKey| key.as_node().is_none() && !told.contains(key);
        let untold: Vec<Slot> = self
            .slots
            .iter()
            .filter(|(_, key)| key.as_ref().is_some_and(is_untold))
            .map(|(slot, _)| slot.clone())
            .collect();
        for slot in untold {
            self.clear(&slot)?;
        }
        // Names as they were before go with their directory when it does; these would stay behind.
        let mut opened: Vec<Slot> =
            self.slots.iter().filter(|(_, key)| key.is_some()).map(|(slot, _)| slot.clone()).collect();
        opened.sort_by(|a, b| a.1.cmp(&b.1));
        let mut alive: HashMap<FileKey, bool> = HashMap::from([(self.root, true)]);
        for slot in opened {
            if !self.is_alive(slot.0, &mut alive)? {
                self.clear(&slot)?;
            }
        }
        Ok(())
    }

    fn is_alive(&self, dir: FileKey, alive: &mut HashMap<FileKey, bool>) -> Result<bool, catalog::Error> {
        let mut chain = Vec::new();
        let mut seen = HashSet::new();
        let mut here = dir;
        let found = loop {
            if let Some(known) = alive.get(&here) {
                break *known;
            }
            if !seen.insert(here) {
                break false;
            }
            chain.push(here);
            match self.names_of(here)?.into_iter().next() {
                Some((parent, _)) => here = parent,
                None => break false,
            }
        };
        alive.extend(chain.into_iter().map(|key| (key, found)));
        Ok(found)
    }

    /// Returns the nodes of the generation before whose names are not as they were, in the order of their numbers, and
    /// their names.
    pub(super) fn moved(&self) -> Result<Vec<(FileKey, Vec<Slot>)>, catalog::Error> {
        let mut moved = Vec::new();
        for (key, (_, names)) in self.nodes.iter().filter(|(key, _)| key.as_node().is_some()) {
            let before = self.names_before(*key)?;
            if before.len() != names.len() || before.iter().any(|slot| !names.contains(slot)) {
                moved.push((*key, names.clone()));
            }
        }
        moved.sort_by_key(|(key, _)| key.inode);
        Ok(moved)
    }
}
