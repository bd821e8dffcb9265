//! A list that is read beside its directory: which nodes moved, are gone, or have other attributes and bytes.
//!
//! Promises: the directory decides, and lines are believed only of what is not in it; a line that cannot be so is a
//! finding. Asks the generation before for names only, and never writes.

use super::findings::{anomaly, not_copied, still_there};
use super::names::{Names, Pointed, Slot};
use crate::index::Error;
use crate::model::{Attrs, Changes, EntryName, FileKey, Finding, Kind, ListedEntry, NodeState, RelPath};
use crate::source::gluster::lists::{Hint, Tree};
use std::collections::{HashMap, HashSet};

/// A list that is being read.
pub(super) struct Reading<'r> {
    tree: Tree,
    names: Names<'r>,
    /// Where lines say that there is something new: what was deleted or renamed there was another node.
    made: HashSet<RelPath>,
    /// Where lines say that there is something new or modified.
    named: HashSet<RelPath>,
    /// Names that nodes were moved to.
    came: HashSet<Slot>,
    /// Names of the generation before whose nodes were moved from there.
    left: HashSet<Slot>,
    /// Paths that were deleted.
    gone: HashSet<RelPath>,
    findings: Vec<Finding>,
}

fn state(key: FileKey, entry: ListedEntry) -> NodeState {
    let ListedEntry { attrs, unreadable, .. } = entry;
    NodeState { key, attrs, unreadable, origin: 0, names: Vec::new(), data: true, made: true }
}

/// What a copied file looks like; two names of one file that were copied apart are equal in it.
type Looks = (Kind, u64, crate::model::Timestamp, u32, u32, u32);

fn looks(attrs: &Attrs) -> Looks {
    (attrs.kind(), attrs.size_bytes, attrs.mtime, attrs.mode, attrs.uid, attrs.gid)
}

impl<'r> Reading<'r> {
    /// Begins with what the directory has, the names of the generation before, and the paths at which lines say that there
    /// is something new.
    pub(super) fn new(tree: Tree, names: Names<'r>, made: HashSet<RelPath>, findings: Vec<Finding>) -> Self {
        Self {
            tree,
            names,
            made,
            named: HashSet::new(),
            came: HashSet::new(),
            left: HashSet::new(),
            gone: HashSet::new(),
            findings,
        }
    }

    /// Moves what was renamed. A line whose paths are not known waits for the others: what it is about may be in a
    /// directory that a later line moves there.
    pub(super) fn move_names(&mut self, hints: &[Hint]) -> Result<(), Error> {
        let mut waiting: Vec<(u64, &RelPath, &RelPath)> = Vec::new();
        for hint in hints {
            if let Hint::Moved { line, from, to } = hint {
                self.named.insert(to.clone());
                waiting.push((*line, from, to));
            }
        }
        let mut makes_way = false;
        while !waiting.is_empty() {
            let mut left = Vec::new();
            let count = waiting.len();
            for (line, from, to) in waiting {
                if !makes_way && (self.movable(from)?.is_none() || self.names.slot_of(to)?.is_none()) {
                    left.push((line, from, to));
                } else {
                    self.move_name(line, from, to)?;
                }
            }
            makes_way = left.len() == count;
            waiting = left;
        }
        Ok(())
    }

    /// Takes a line's word where the directory does not say otherwise.
    pub(super) fn believe(&mut self, hint: &Hint) -> Result<(), Error> {
        match hint {
            Hint::There { line, path, unsure, .. } => {
                if !self.tree.has(path) {
                    self.findings.push(not_copied(path, *line, *unsure));
                }
                self.named.insert(path.clone());
                Ok(())
            }
            Hint::Moved { .. } => Ok(()),
            Hint::Gone { line, path } => self.remove_name(*line, path),
            Hint::Amiss { path, detail } => {
                self.findings.push(anomaly(path, detail.clone()));
                Ok(())
            }
        }
    }

    fn move_name(&mut self, line: u64, from: &RelPath, to: &RelPath) -> Result<(), Error> {
        let amiss = |path: &RelPath, what: String| {
            anomaly(path, format!("line {line} says that \"{from}\" was renamed to \"{to}\", {what}"))
        };
        if self.tree.has(from) && !self.made.contains(from) {
            let still = "and the old name is among the copied files: both were kept".to_owned();
            self.findings.push(amiss(from, still));
            return Ok(());
        }
        let Some((slot, node)) = self.movable(from)? else {
            if !self.tree.has(to) {
                let nowhere = "and neither the old name was known nor the new one is among the copied files";
                self.findings.push(amiss(to, nowhere.to_owned()));
            }
            return Ok(());
        };
        self.make_way(to)?;
        let Some(target) = self.names.slot_of(to)? else {
            self.findings.push(amiss(to, "into a directory that is not known: it was left where it was".to_owned()));
            return Ok(());
        };
        if node.1 == Kind::Directory && self.names.is_within(target.0, node.0)? {
            self.findings.push(amiss(to, "which is below itself".to_owned()));
            return Ok(());
        }
        if slot != target {
            // Where another node came meanwhile the name is that one's.
            if self.names.now(&slot)?.is_some_and(|(key, _)| key == node.0) {
                self.names.clear(&slot)?;
            }
            self.names.set(&target, node.0, node.1)?;
            self.left.insert(slot);
            self.came.insert(target);
        }
        Ok(())
    }

    /// Returns what a rename of `from` moves: what the generation before had there, if it was not moved yet (lists tell
    /// of each node only where it was and where it is, in no order), else what came there since.
    fn movable(&self, from: &RelPath) -> Result<Option<(Slot, Pointed)>, Error> {
        let Some(slot) = self.names.slot_of(from)? else { return Ok(None) };
        let node = match self.names.before(&slot)? {
            Some(node) if !self.left.contains(&slot) => Some(node),
            _ => self.names.now(&slot)?,
        };
        // A directory that was made for another line was nowhere before.
        Ok(node.filter(|(key, _)| key.as_node().is_some()).map(|node| (slot, node)))
    }

    fn remove_name(&mut self, line: u64, path: &RelPath) -> Result<(), Error> {
        let has = self.tree.has(path);
        if has && !self.made.contains(path) {
            self.findings.push(still_there(path, line));
            return Ok(());
        }
        let slot = self.names.slot_of(path)?;
        let known = match &slot {
            Some(slot) => self.names.now(slot)?.is_some(),
            None => false,
        };
        let Some(slot) = slot.filter(|_| known) else {
            // Lists repeat themselves: one line for each part of a volume that had the name.
            if !self.gone.contains(path) {
                let detail = format!("line {line} says that it was deleted, and there was no such name");
                self.findings.push(anomaly(path, detail));
            }
            return Ok(());
        };
        // What was moved onto the name, or made there, is not what was deleted there, unless nothing else can be.
        let is_made = self.names.now(&slot)?.is_some_and(|(key, _)| key.as_node().is_none());
        let is_other = is_made || self.came.contains(&slot) && (has || self.names.before(&slot)?.is_some());
        if !is_other {
            self.names.clear(&slot)?;
        }
        self.gone.insert(path.clone());
        Ok(())
    }

    /// Makes those directories on the way to `path` that are in the directory and that nobody knew.
    fn make_way(&mut self, path: &RelPath) -> Result<(), Error> {
        let (mut dir, mut here) = (self.names.root(), RelPath::root());
        for name in path.names() {
            let slot: Slot = (dir, EntryName::new(name).expect("a path is made of names"));
            here.push(&slot.1);
            dir = match self.names.now(&slot)? {
                Some((key, Kind::Directory)) => key,
                _ if here != *path && self.tree.is_filled(&here) => self.replace(&slot, Kind::Directory)?,
                _ => return Ok(()),
            };
        }
        Ok(())
    }

    /// Lets the directory speak, and returns what came of it all.
    pub(super) fn look(mut self, entries: Vec<(RelPath, ListedEntry)>) -> Result<Changes, Error> {
        let mut directories: HashMap<RelPath, FileKey> = HashMap::from([(RelPath::root(), self.names.root())]);
        let mut nodes: Vec<NodeState> = Vec::new();
        let mut files: Vec<(Slot, ListedEntry)> = Vec::new();
        for (dir, entry) in entries {
            let path = dir.join(&entry.name);
            let slot: Slot = (directories[&dir], entry.name.clone());
            let is_directory = entry.attrs.kind() == Kind::Directory;
            let is_for_others = is_directory && self.tree.is_filled(&path);
            let is_named = self.named.contains(&path);
            if !is_named && !is_for_others {
                self.findings.push(anomaly(&path, "it is among the copied files, and not in the list".to_owned()));
            }
            if !is_directory {
                files.push((slot, entry));
                continue;
            }
            let key = match self.known(&slot, Kind::Directory)? {
                Some(key) => key,
                None => self.replace(&slot, Kind::Directory)?,
            };
            directories.insert(path, key);
            if is_named || !is_for_others || key.as_node().is_none() {
                nodes.push(state(key, entry));
            }
        }
        self.look_at_files(files, &mut nodes)?;
        let told: HashSet<FileKey> = nodes.iter().map(|node| node.key).collect();
        self.names.prune(&told)?;
        for node in &mut nodes {
            node.names = self.names.names_of(node.key)?;
        }
        let mut changes = Changes { nodes, findings: self.findings, ..Changes::default() };
        for (key, names) in self.names.moved()?.into_iter().filter(|(key, _)| !told.contains(key)) {
            if names.is_empty() {
                changes.gone.push(key);
            } else {
                changes.moved.push((key, names));
            }
        }
        Ok(changes)
    }

    /// Finds the nodes of what is no directory.
    fn look_at_files(&mut self, files: Vec<(Slot, ListedEntry)>, nodes: &mut Vec<NodeState>) -> Result<(), Error> {
        // An inode with a name that the generation before knew is that node, whichever of its names comes first.
        let mut by_inode: HashMap<FileKey, FileKey> = HashMap::new();
        let mut claimed: HashMap<FileKey, (FileKey, Looks)> = HashMap::new();
        for (slot, entry) in files.iter().filter(|(_, entry)| entry.attrs.nlink > 1) {
            if let Some(key) = self.known(slot, entry.attrs.kind())?
                && !by_inode.contains_key(&entry.key)
                && !claimed.contains_key(&key)
            {
                claimed.insert(key, (entry.key, looks(&entry.attrs)));
                by_inode.insert(entry.key, key);
            }
        }
        let mut told: HashSet<FileKey> = HashSet::new();
        for (slot, entry) in files {
            let kind = entry.attrs.kind();
            let known = self.known(&slot, kind)?;
            let key = match (by_inode.get(&entry.key), known) {
                (Some(key), _) => *key,
                (None, Some(key)) => match claimed.get(&key) {
                    None => key,
                    // Another name of it was copied as another file: the tool may not know hard links.
                    Some((_, other)) if *other == looks(&entry.attrs) => {
                        by_inode.insert(entry.key, key);
                        continue;
                    }
                    Some(_) => self.replace(&slot, kind)?,
                },
                (None, None) => self.replace(&slot, kind)?,
            };
            if self.known(&slot, kind)? != Some(key) {
                self.names.set(&slot, key, kind)?;
            }
            claimed.entry(key).or_insert_with(|| (entry.key, looks(&entry.attrs)));
            by_inode.insert(entry.key, key);
            if told.insert(key) {
                nodes.push(state(key, entry));
            }
        }
        Ok(())
    }

    /// Returns what a name points to now, if that is of this kind.
    fn known(&self, slot: &Slot, kind: Kind) -> Result<Option<FileKey>, Error> {
        Ok(self.names.now(slot)?.filter(|(_, known)| *known == kind).map(|(key, _)| key))
    }

    fn replace(&mut self, slot: &Slot, kind: Kind) -> Result<FileKey, Error> {
        let key = self.names.make(kind);
        self.names.set(slot, key, kind)?;
        Ok(key)
    }
}
