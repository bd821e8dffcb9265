//! A list of another tool, and a directory with the files that the tool copied for it, as a generation.
//!
//! Lists of glusterfind are wrong in known ways, so the directory decides: what is in it is so, whatever the list says;
//! only of what is not in it is the list believed, and only that a name moved or is gone. So a wrong line costs a finding
//! of kind `anomaly`, and never a file that was copied.
//!
//! A full generation is what the directory holds. For another one:
//!
//! - `NEW`, `MODIFY`: what is there has these attributes and bytes; a name that is not there stays as it was.
//! - `RENAME p q`: the node moves, with all that is below it, unless `p` is in the directory.
//! - `DELETE p`: the name goes, unless `p` is in the directory; a directory goes with all that is left below it.
//! - What is in the directory and in no line is taken too. A directory that the catalog knows, and that is there only for
//!   what is in it, stays as it was: the tool may have made it up.
//!
//! Promises: the directory is indexed in place, nothing of it is copied or changed. Files with one inode number in it are
//! one file; of a file with several names of which some were copied apart, those that look alike stay one. Nodes are
//! found again by their paths. Never older than the newest generation; nothing is published on an error.

mod names;

use super::Error;
use super::keep::{FileToKeep, Keep, KeepError, Kept};
use super::run::{Done, Taken, Told, index_taken};
use crate::catalog::{GenerationWriter, Reader, Resume, SourceRow, Writer};
use crate::clock::Clock;
use crate::model::{
    Attrs, Changes, EntryName, FileKey, Finding, FindingKind, Kind, Level, ListedEntry, Listing, NodeState, RelPath,
    Scan, Time,
};
use crate::monitor::Monitor;
use crate::source::gluster::State;
use crate::source::gluster::list::{Change, Format, Item};
use crate::source::gluster::lists::{Hint, Tree, hints, load_items};
use crate::source::{self, nfs};
use names::{Names, Pointed, Slot};
use std::collections::{HashMap, HashSet};
use std::io::BufReader;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Why the next generation that looks at the source itself has to look at everything.
const WALK_NEXT: &str = "the generation before came from a list";

/// A list and a directory that are to become a generation.
#[derive(Clone, Copy, Debug)]
pub struct NewList<'a> {
    /// The source.
    pub source: &'a SourceRow,
    /// The list.
    pub list: &'a Path,
    /// What it looks like.
    pub format: &'a Format,
    /// The directory with the copied files, absolute; it is recorded as the copy.
    pub data: &'a Path,
    /// The instant of the generation.
    pub at: Time,
    /// Whether the directory holds everything. The first generation of a source always is so.
    pub full: bool,
    /// Whether the directory, and the list, may be empty.
    pub may_be_empty: bool,
}

/// What a run did.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// What was indexed.
    pub done: Done,
    /// How much of the source the directory holds.
    pub level: Level,
    /// Records of the list.
    pub lines: u64,
}

/// Indexes a list and a directory as the newest generation of a source.
///
/// **Cost:** one walk of the directory, and a few queries for each name in it and each line. Memory: the list, and for
/// other than full generations the names in the directory.
///
/// # Errors
/// [`Error`]; then the catalog is as before.
pub fn index_list(
    writer: &mut Writer,
    reader: &Reader,
    new: &NewList<'_>,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Listed, Error> {
    let before = writer.resume(new.source.id)?;
    if let Some(newest) = before.as_ref().filter(|newest| newest.at >= new.at) {
        return Err(Error::NotNewer { at: new.at, newest: newest.at });
    }
    let items = load(new)?;
    refuse_nonsense(new, &items, before.is_none())?;
    let level = if new.full || before.is_none() { Level::Full } else { Level::Incremental };
    let mut keep = InPlace { next: next_state(before.as_ref(), level, new.at)?.to_json() };
    let data = new.data.as_os_str().as_bytes();
    let store = new.data.parent().unwrap_or(new.data);
    let below = new.data.strip_prefix(store).map_or(data, |below| below.as_os_str().as_bytes());
    let taken = Taken { source: new.source, at: new.at, level, store, below };
    let done = match &before {
        Some(before) if level == Level::Incremental => {
            let changes = changes(reader, new, &items, before)?;
            // What was asked is not asked again; a reader that stays would keep the log from being folded back.
            reader.rest()?;
            let root = FileKey::of_node(new.source.root);
            let told = Told::Changes { changes, root, scan: Scan::List };
            index_taken(writer, &taken, told, &mut keep, clock, monitor)?
        }
        _ => {
            let mut findings = compare_full(new, &items);
            let mut walk = |each: &mut dyn FnMut(Listing) -> ControlFlow<()>| -> Result<(), source::Error> {
                let tell = &mut |mut listing: Listing| {
                    // With the root, which comes first.
                    listing.findings.splice(0..0, std::mem::take(&mut findings));
                    each(listing)
                };
                nfs::scan_tree(new.data, tell).map(drop)
            };
            index_taken(writer, &taken, Told::Copy(&mut walk), &mut keep, clock, monitor)?
        }
    };
    Ok(Listed { done, level, lines: items.len() as u64 })
}

fn load(new: &NewList<'_>) -> Result<Vec<Item>, Error> {
    let path = || new.list.to_owned();
    let file = std::fs::File::open(new.list).map_err(|source| Error::OpenList { path: path(), source })?;
    load_items(BufReader::new(file), new.format).map_err(|source| Error::List { path: path(), source })
}

/// Refuses what looks like a run of the other tool that failed.
fn refuse_nonsense(new: &NewList<'_>, items: &[Item], is_first: bool) -> Result<(), Error> {
    if let Some(Item::Anomaly(first)) = items.first()
        && items.iter().all(|item| matches!(item, Item::Anomaly(_)))
    {
        let (path, lines, why) = (new.list.to_owned(), items.len() as u64, first.why);
        return Err(Error::NotUnderstood { path, lines, why });
    }
    let copy = |source| source::Error::Copy { path: new.data.to_owned(), source };
    let is_empty = std::fs::read_dir(new.data).map_err(copy)?.next().is_none();
    let names_files =
        items.iter().any(|item| matches!(item, Item::Change { change: Change::New(_) | Change::Modify(_), .. }));
    if is_empty && !new.may_be_empty && (items.is_empty() || names_files || new.full || is_first) {
        return Err(Error::Empty { list: new.list.to_owned(), lines: items.len() as u64, data: new.data.to_owned() });
    }
    Ok(())
}

fn next_state(before: Option<&Resume>, level: Level, at: Time) -> Result<State, Error> {
    let mut state = match before {
        Some(Resume { at, state: Some(text), .. }) => {
            State::from_json(text).map_err(|source| Error::State { at: *at, source })?
        }
        _ => State::default(),
    };
    state.walk_next = Some(WALK_NEXT.to_owned());
    if level == Level::Full {
        state.full_at = at.0;
    }
    Ok(state)
}

fn anomaly(path: &RelPath, detail: String) -> Finding {
    Finding { kind: FindingKind::Anomaly, path: path.clone(), detail }
}

fn not_copied(path: &RelPath, line: u64, unsure: bool) -> Finding {
    let more = if unsure { "; the line is not encoded as the others are" } else { "" };
    anomaly(path, format!("line {line} says that it is new or modified, and it is not among the copied files{more}"))
}

/// Returns what lines say of a full generation that its directory does not.
fn compare_full(new: &NewList<'_>, items: &[Item]) -> Vec<Finding> {
    let has = |path: &RelPath| {
        let path = new.data.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
        std::fs::symlink_metadata(path).is_ok()
    };
    let mut is_there = |path: &RelPath, gone: bool| Ok::<_, std::convert::Infallible>(!gone && has(path));
    let Ok(hints) = hints(items, new.format, &mut is_there);
    let made = made_paths(&hints);
    let mut findings = Vec::new();
    for hint in &hints {
        match hint {
            Hint::There { line, path, unsure, .. } if !has(path) => findings.push(not_copied(path, *line, *unsure)),
            Hint::Moved { line, to, .. } if !has(to) => findings.push(not_copied(to, *line, false)),
            Hint::Gone { line, path } if !made.contains(path) && has(path) => findings.push(still_there(path, *line)),
            Hint::There { .. } | Hint::Moved { .. } | Hint::Gone { .. } => {}
            Hint::Amiss { path, detail } => findings.push(anomaly(path, detail.clone())),
        }
    }
    findings
}

fn still_there(path: &RelPath, line: u64) -> Finding {
    anomaly(path, format!("line {line} says that it was deleted, and it is among the copied files"))
}

/// Returns the paths at which lines say that there is something new.
fn made_paths(hints: &[Hint]) -> HashSet<RelPath> {
    let made = hints.iter().filter_map(|hint| match hint {
        Hint::There { path, new: true, .. } | Hint::Moved { to: path, .. } => Some(path.clone()),
        Hint::There { .. } | Hint::Gone { .. } | Hint::Amiss { .. } => None,
    });
    made.collect()
}

/// Returns what a list and its directory change of the generation before.
fn changes(reader: &Reader, new: &NewList<'_>, items: &[Item], before: &Resume) -> Result<Changes, Error> {
    let mut tree = Tree::load(new.data)?;
    let names = Names::new(reader, before.at, new.source.root);
    let mut is_there = |path: &RelPath, gone: bool| -> Result<bool, Error> {
        if !gone {
            return Ok(tree.has(path));
        }
        let Some(slot) = names.slot_of(path)? else { return Ok(false) };
        Ok(!tree.has(path) && names.before(&slot)?.is_some())
    };
    let hints = hints(items, new.format, &mut is_there)?;
    let entries = std::mem::take(&mut tree.entries);
    let findings = std::mem::take(&mut tree.findings);
    let mut reading = Reading {
        tree,
        names,
        made: made_paths(&hints),
        named: HashSet::new(),
        came: HashSet::new(),
        left: HashSet::new(),
        gone: HashSet::new(),
        findings,
    };
    reading.move_names(&hints)?;
    for hint in &hints {
        reading.believe(hint)?;
    }
    reading.look(entries)
}

/// A list that is being read.
struct Reading<'r> {
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

impl Reading<'_> {
    /// Moves what was renamed. A line whose paths are not known waits for the others: what it is about may be in a
    /// directory that a later line moves there.
    fn move_names(&mut self, hints: &[Hint]) -> Result<(), Error> {
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
    fn believe(&mut self, hint: &Hint) -> Result<(), Error> {
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
    fn look(mut self, entries: Vec<(RelPath, ListedEntry)>) -> Result<Changes, Error> {
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

/// The bytes are where they are: the walk that told of them has seen them in this run.
struct InPlace {
    next: String,
}

impl Keep for InPlace {
    fn file(&mut self, file: FileToKeep<'_>) -> Result<Kept, KeepError> {
        Ok(match file.held {
            Some(_) => Kept::Held,
            None => Kept::Copied { moved: None },
        })
    }

    fn link(&mut self, _path: &RelPath, _key: FileKey) -> Result<(), KeepError> {
        Ok(())
    }

    fn other(&mut self, _path: &RelPath, _attrs: &Attrs, _is_new: bool) -> Result<(), KeepError> {
        Ok(())
    }

    fn seal(&mut self, _generation: &GenerationWriter<'_>) -> Result<String, KeepError> {
        Ok(std::mem::take(&mut self.next))
    }
}
