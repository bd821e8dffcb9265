//! The merge: a full listing of a copy, directory by directory, against the previous generation.
//!
//! Who a listed name is ("identity across copies"), by the rule of the source:
//!
//! - `path`: a name keeps its node while its type stays the same. Names that share an inode inside the copy
//!   (hard links) share a node: that of the first of them, in walk order, that had one in the previous
//!   generation and was not taken by another inode. Inode numbers of different copies are never compared,
//!   so full copies and `--link-dest` farms give the same catalog.
//! - `inode`: the copies are snapshots of one file system, or the source gives its files an identity for life (gfid). The
//!   inode number and birth time tell the node, wherever it lies: a rename is a rename, and a renamed directory costs two rows. What lies on another file
//!   system than the copy's root (a btrfs subvolume inside a snapshot) is told by its path.
//!
//! A node's version is unchanged when type, rights, owner, extended attributes, link count and place
//! are equal and, for the bytes, size and mtime to the nanosecond (rsync's quick check). The ctime belongs
//! to the copy, not to what was copied: the first one seen is kept and not compared, except under `inode`,
//! where a changed ctime makes a new version.
//!
//! With `checksum` a file that looks unchanged is compared byte by byte with the same path in a copy of the
//! previous generation, and another version if they differ; one that cannot be compared counts as changed.
//!
//! Promises: one pass; memory grows with the number of hard-linked files in the copy and with the number of
//! directories not yet walked, not with the number of files. Never reads a copy itself.

use super::Error;
use super::keep::{Doubt, Keep, Outcome, keep_file};
use crate::catalog::{ChangeOps, Counts, DirEntry, GenerationWriter, NodeRow, Place};
use crate::model::{EntryName, FileKey, Finding, Kind, ListedEntry, Listing, NodeId, RelPath};
use crate::monitor::Monitor;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// How a source tells that two copies hold the same file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Copies keep inode numbers (snapshots of one file system).
    pub inode_identity: bool,
    /// Compare the bytes of a file that looks unchanged with those in the previous copy.
    pub checksum: bool,
}

/// A directory that was named and not yet listed.
struct Pending {
    node: NodeId,
    /// Whether the previous generation has this node as a directory.
    was_there: bool,
}

/// The names of one inode inside the copy.
struct Link {
    node: NodeId,
    names: u32,
    /// The link count of the version that holds as of now.
    written: u32,
}

/// A new name of an inode whose node another name may still tell.
struct Deferred {
    dir: NodeId,
    path: RelPath,
    entry: ListedEntry,
}

/// Tells whether a path holds the same bytes as in the previous generation.
pub(super) type SameBytes<'m> = dyn Fn(&RelPath) -> std::io::Result<bool> + 'm;

/// The state of one merge.
pub(super) struct Merge<'m, 'w> {
    writer: &'m mut GenerationWriter<'w>,
    rules: Rules,
    /// Takes the bytes of files, where they are not in a copy already.
    keep: Option<&'m mut dyn Keep>,
    /// Asked about files that look unchanged.
    same_bytes: Option<&'m SameBytes<'m>>,
    /// The directory that is being merged.
    path: RelPath,
    /// The file system of the copy's root.
    device: u64,
    monitor: &'m dyn Monitor,
    pending: HashMap<u64, Pending>,
    /// The number that the walk gives the next directory it names.
    next_directory: u64,
    links: HashMap<FileKey, Link>,
    /// Nodes that more than one inode of this copy could be, and the one that took it.
    claimed: HashMap<NodeId, FileKey>,
    deferred: Vec<Deferred>,
    /// Directories that lost a name, and those that are in this copy: the difference is gone.
    lost: Vec<NodeId>,
    seen: HashSet<NodeId>,
    base: Vec<DirEntry>,
    counts: Counts,
}

impl<'m, 'w> Merge<'m, 'w> {
    pub(super) fn new(
        writer: &'m mut GenerationWriter<'w>,
        rules: Rules,
        same_bytes: Option<&'m SameBytes<'m>>,
        keep: Option<&'m mut dyn Keep>,
        monitor: &'m dyn Monitor,
    ) -> Self {
        Self {
            writer,
            rules,
            keep,
            same_bytes,
            path: RelPath::root(),
            device: 0,
            monitor,
            pending: HashMap::new(),
            next_directory: 1,
            links: HashMap::new(),
            claimed: HashMap::new(),
            deferred: Vec::new(),
            lost: Vec::new(),
            seen: HashSet::new(),
            base: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Merges one directory.
    pub(super) fn listing(&mut self, listing: Listing) -> Result<(), Error> {
        let here = match &listing.root {
            Some((key, attrs)) => self.root(*key, attrs)?,
            None => self.pending.remove(&listing.number).expect("a directory is named before it is listed"),
        };
        for finding in &listing.findings {
            self.finding(finding)?;
        }
        self.path = listing.path;
        if !listing.complete {
            self.lose_listing(here.node)?;
        }
        self.counts.entries += listing.entries.len() as u64;
        let mut base = std::mem::take(&mut self.base);
        base.clear();
        if here.was_there {
            self.writer.list_previous(here.node, |entry| base.push(entry))?;
        }
        let merged = listing.entries.len() as u64;
        self.directory(here.node, listing.entries, &base, listing.complete)?;
        self.base = base;
        self.monitor.advance(merged);
        Ok(())
    }

    /// Steps through the listing and the previous generation's side by side; both are in name order.
    ///
    /// What an incomplete listing does not name is neither confirmed nor gone: its rows stay, and since the
    /// directory is marked the view answers EIO.
    fn directory(
        &mut self,
        dir: NodeId,
        listed: Vec<ListedEntry>,
        base: &[DirEntry],
        complete: bool,
    ) -> Result<(), Error> {
        let mut old = base.iter().peekable();
        for entry in listed {
            let mut before = None;
            while let Some(candidate) = old.peek() {
                match candidate.name.cmp(&entry.name) {
                    Ordering::Less => {
                        if complete {
                            self.gone(dir, candidate)?;
                        }
                        old.next();
                    }
                    Ordering::Equal => before = old.next(),
                    Ordering::Greater => break,
                }
                if before.is_some() {
                    break;
                }
            }
            self.entry(dir, entry, before)?;
        }
        if complete { old.try_for_each(|entry| self.gone(dir, entry)) } else { Ok(()) }
    }

    fn root(&mut self, key: FileKey, attrs: &crate::model::Attrs) -> Result<Pending, Error> {
        let node = self.writer.root();
        let base = self.writer.previous_version(node)?;
        let row = self.writer.encode(attrs, false, base.as_ref())?;
        self.version(node, row, base.as_ref())?;
        self.device = key.device;
        if self.rules.inode_identity {
            self.writer.identify(key, node)?;
        }
        self.seen.insert(node);
        Ok(Pending { node, was_there: base.is_some() })
    }

    fn entry(&mut self, dir: NodeId, entry: ListedEntry, before: Option<&DirEntry>) -> Result<(), Error> {
        let kind = entry.attrs.kind();
        let key = entry.key;
        let linked = kind != Kind::Directory && entry.attrs.nlink > 1;
        let before_same_kind = before.filter(|b| b.kind == kind);
        // Inode numbers tell files apart on one file system only; below another one (a btrfs subvolume) paths do.
        let by_inode = self.rules.inode_identity && entry.key.device == self.device;
        let told = match (by_inode, linked.then(|| self.links.get(&key)).flatten()) {
            (_, Some(link)) => Some(link.node),
            (true, None) => match self.identified(&entry, kind)? {
                Some(node) => Some(node),
                None => self.adopted(&entry, before_same_kind)?,
            },
            (false, None) => self.by_path(dir, &entry.name, key, kind, before_same_kind)?,
        };
        // An inode with more names may have one that the previous generation knew, later in the walk.
        let may_be_known = linked && !by_inode && self.writer.previous().is_some();
        if told.is_none() && may_be_known {
            if let Some(before) = before {
                self.gone(dir, before)?;
            }
            self.deferred.push(Deferred { dir, path: self.path.clone(), entry });
            return Ok(());
        }
        let mut entry = entry;
        let base = match (told, before) {
            (Some(node), Some(before)) if before.node == node => Some(before.row),
            (Some(node), _) => self.writer.previous_version(node)?,
            (None, _) => None,
        };
        let Some(place) = self.keep(&mut entry, base.as_ref())? else {
            return before.map_or(Ok(()), |before| self.gone(dir, before));
        };
        let node = match told {
            Some(node) => node,
            None => self.created(&entry)?,
        };
        self.settle(dir, &entry, (node, base), before, place)
    }

    /// Has the bytes of `entry` taken where they are not in a copy already, and returns where they are then if that is
    /// not at its own path. None: the file is not there any more.
    fn keep(&mut self, entry: &mut ListedEntry, base: Option<&NodeRow>) -> Result<Option<Option<Place>>, Error> {
        let Some(keep) = &mut self.keep else { return Ok(Some(None)) };
        let path = self.path.join(&entry.name);
        if entry.attrs.kind() != Kind::File {
            keep.other(&path, &entry.attrs, base.is_none()).map_err(Error::Keep)?;
            return Ok(Some(None));
        }
        if self.links.contains_key(&entry.key) {
            keep.link(&path, entry.key).map_err(Error::Keep)?;
            return Ok(Some(None));
        }
        let what = (&path, entry.key, entry.origin);
        let doubt = if self.rules.inode_identity { Doubt::IfTouched } else { Doubt::None };
        match keep_file(*keep, self.writer, what, &mut entry.attrs, base, doubt)? {
            Outcome::Gone => Ok(None),
            Outcome::Recorded { place, finding } => {
                if let Some((kind, detail)) = finding {
                    self.finding(&Finding { kind, path, detail })?;
                }
                Ok(Some(Some(place)))
            }
        }
    }

    /// Writes what is known of `entry` now that its node is.
    fn settle(
        &mut self,
        dir: NodeId,
        entry: &ListedEntry,
        (node, base): (NodeId, Option<NodeRow>),
        before: Option<&DirEntry>,
        place: Option<Place>,
    ) -> Result<(), Error> {
        let kind = entry.attrs.kind();
        match before {
            Some(before) if before.node == node => {}
            Some(before) => {
                self.gone(dir, before)?;
                self.named(dir, &entry.name, node, kind)?;
            }
            None => self.named(dir, &entry.name, node, kind)?,
        }
        if kind == Kind::Directory {
            self.seen.insert(node);
            let was_there = base.is_some();
            self.pending.insert(self.next_directory, Pending { node, was_there });
            self.next_directory += 1;
            let row = self.writer.encode(&entry.attrs, entry.unreadable, base.as_ref())?;
            return self.version(node, row, base.as_ref());
        }
        let linked = entry.attrs.nlink > 1;
        if linked && let Some(link) = self.links.get_mut(&entry.key) {
            link.names += 1;
            return Ok(());
        }
        // The file system may count names outside the copy (a link farm). Until the walk is over the count of
        // the previous generation is the best guess; `finish` mends the wrong ones.
        let nlink = if linked { base.map_or(1, |b| b.nlink) } else { 1 };
        let mut row = self.writer.encode(&entry.attrs, entry.unreadable, base.as_ref())?;
        row.nlink = nlink;
        row.place = place.unwrap_or(row.place);
        let here = before.is_some_and(|b| b.node == node);
        match base {
            Some(base) if here && kind == Kind::File && ChangeOps::between(&base, &row).is_empty() => {
                self.unchanged(node, row, &base, &entry.name)?;
            }
            base => self.version(node, row, base.as_ref())?,
        }
        if linked {
            self.links.insert(entry.key, Link { node, names: 1, written: nlink });
        }
        if kind == Kind::File {
            self.counts.size_bytes += entry.attrs.size_bytes;
        }
        Ok(())
    }

    /// Returns the node that the previous generation (or, for a generation put in between, the next one)
    /// has at this path, unless another inode of this copy has taken it.
    fn by_path(
        &mut self,
        dir: NodeId,
        name: &EntryName,
        key: FileKey,
        kind: Kind,
        before: Option<&DirEntry>,
    ) -> Result<Option<NodeId>, Error> {
        let (node, several) = match before {
            // Of two generations a name of either may be another inode's: then every claim is kept.
            Some(before) => {
                let several = before.row.nlink > 1 || self.writer.is_late() || self.rules.inode_identity;
                (before.node, several)
            }
            None => match self.writer.lookup_next(dir, name)? {
                Some((node, next_kind)) if next_kind == kind => (node, true),
                _ => return Ok(None),
            },
        };
        if several && kind != Kind::Directory && *self.claimed.entry(node).or_insert(key) != key {
            return Ok(None);
        }
        Ok(Some(node))
    }

    /// Returns the node that had this inode number in an earlier generation.
    fn identified(&mut self, entry: &ListedEntry, kind: Kind) -> Result<Option<NodeId>, Error> {
        let Some(node) = self.writer.identified(entry.key)? else { return Ok(None) };
        // A file system that tells no birth time may have given the number to something else since.
        let known = self.writer.known_kind(node)?;
        if known != Some(kind) || (kind == Kind::Directory && self.seen.contains(&node)) {
            return Ok(None);
        }
        if *self.claimed.entry(node).or_insert(entry.key) != entry.key {
            return Ok(None);
        }
        Ok(Some(node))
    }

    /// Returns the node that the previous generation has at this path, if nothing is known of who it is: then a
    /// generation before was told by paths (a list of another tool), and this is the first that tells identities.
    ///
    /// Should this run end early, the identity stays: what it says is as true of the generations that are there.
    fn adopted(&mut self, entry: &ListedEntry, before: Option<&DirEntry>) -> Result<Option<NodeId>, Error> {
        let Some(before) = before.filter(|_| self.keep.is_some()) else { return Ok(None) };
        let node = before.node;
        if self.seen.contains(&node) || self.writer.is_identified(node)? {
            return Ok(None);
        }
        if *self.claimed.entry(node).or_insert(entry.key) != entry.key {
            return Ok(None);
        }
        self.writer.identify(entry.key, node)?;
        Ok(Some(node))
    }

    fn created(&mut self, entry: &ListedEntry) -> Result<NodeId, Error> {
        let node = self.writer.new_node()?;
        self.writer.note_change(node, ChangeOps::CREATED)?;
        if self.rules.inode_identity && entry.key.device == self.device {
            self.writer.identify(entry.key, node)?;
        }
        Ok(node)
    }

    fn named(&mut self, dir: NodeId, name: &EntryName, node: NodeId, kind: Kind) -> Result<(), Error> {
        self.writer.open_entry(dir, name, node, kind)?;
        Ok(self.writer.note_change(node, ChangeOps::LINKED)?)
    }

    fn gone(&mut self, dir: NodeId, entry: &DirEntry) -> Result<(), Error> {
        self.writer.close_entry(dir, &entry.name)?;
        self.writer.note_change(entry.node, ChangeOps::UNLINKED)?;
        if entry.kind == Kind::Directory {
            self.lost.push(entry.node);
        }
        Ok(())
    }

    fn version(&mut self, node: NodeId, row: NodeRow, base: Option<&NodeRow>) -> Result<(), Error> {
        let Some(base) = base else { return Ok(self.writer.set_version(node, row)?) };
        let mut ops = ChangeOps::between(base, &row);
        if self.rules.inode_identity && base.ctime != row.ctime {
            ops |= ChangeOps::ATTRIBUTES;
        }
        if ops.is_empty() {
            return Ok(());
        }
        self.writer.note_change(node, ops)?;
        Ok(self.writer.set_version(node, row)?)
    }

    /// A file that looks unchanged: is, unless its bytes are to be compared and differ.
    fn unchanged(&mut self, node: NodeId, row: NodeRow, base: &NodeRow, name: &EntryName) -> Result<(), Error> {
        let path = self.path.join(name);
        match self.same_bytes.map(|same| same(&path)) {
            None | Some(Ok(true)) => return self.version(node, row, Some(base)),
            Some(Ok(false)) => {}
            Some(Err(e)) => self.monitor.warn(&format!("counted as changed, cannot compare \"{path}\": {e}")),
        }
        self.writer.note_change(node, ChangeOps::CONTENT)?;
        Ok(self.writer.set_version(node, row)?)
    }

    fn lose_listing(&mut self, dir: NodeId) -> Result<(), Error> {
        let Some(row) = self.writer.current_version(dir)? else { return Ok(()) };
        if row.place == Place::Lost {
            return Ok(());
        }
        self.writer.note_change(dir, ChangeOps::ATTRIBUTES)?;
        Ok(self.writer.set_version(dir, NodeRow { place: Place::Lost, ..row })?)
    }

    fn finding(&mut self, finding: &Finding) -> Result<(), Error> {
        self.counts.count(finding.kind);
        self.monitor.finding(finding);
        Ok(self.writer.add_finding(finding)?)
    }

    /// Ends the merge: late names, link counts, and what was below directories that are gone.
    pub(super) fn finish(mut self) -> Result<Counts, Error> {
        for Deferred { dir, path, mut entry } in std::mem::take(&mut self.deferred) {
            let told = self.links.get(&entry.key).map(|link| link.node);
            let base = match told {
                Some(node) => self.writer.previous_version(node)?,
                None => None,
            };
            self.path = path;
            let Some(place) = self.keep(&mut entry, base.as_ref())? else { continue };
            let node = match told {
                Some(node) => node,
                None => self.created(&entry)?,
            };
            self.settle(dir, &entry, (node, base), None, place)?;
        }
        let mut wrong: Vec<(NodeId, u32)> =
            self.links.values().filter(|l| l.names != l.written).map(|l| (l.node, l.names)).collect();
        wrong.sort_unstable();
        for (node, names) in wrong {
            let row = self.writer.current_version(node)?.expect("a linked node was written or was there");
            self.writer.note_change(node, ChangeOps::ATTRIBUTES)?;
            self.writer.set_version(node, NodeRow { nlink: names, ..row })?;
        }
        while let Some(dir) = self.lost.pop() {
            if self.seen.contains(&dir) {
                continue;
            }
            let mut below = Vec::new();
            self.writer.list_previous(dir, |entry| below.push(entry))?;
            for entry in &below {
                self.gone(dir, entry)?;
            }
        }
        Ok(self.counts)
    }
}
