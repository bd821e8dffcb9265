//! The merge: a full listing of a copy, directory by directory, against the previous generation.
//!
//! Who a listed name is ("identity across copies"), by the rule of the source:
//!
//! - `path`: a name keeps its node while its type stays the same, in whatever order copies are indexed. Names that share an inode
//!   inside the copy (hard links) share a node: that of the first of them in the order of the walk (breadth first, names by their
//!   bytes). Inode numbers of different copies are never compared, so full copies and `--link-dest` farms give the same catalog.
//! - `inode`: the copies are snapshots of one file system, or the source gives its files an identity for life (gfid). The
//!   inode number and birth time tell the node, wherever it lies: a rename is a rename, and a renamed directory costs two rows. What lies on another file
//!   system than the copy's root (a btrfs subvolume inside a snapshot) is told by its path, but never taken for what its inode number tells:
//!   that has moved or is gone. Where something is mounted over a directory, nobody knows: it is the one that was there unless that is found
//!   elsewhere in the copy.
//!
//! A node's version is unchanged when type, rights, owner, extended attributes, link count and place
//! are equal and, for the bytes, size and mtime to the nanosecond (rsync's quick check). The ctime belongs
//! to the copy, not to what was copied: the first one seen is kept and not compared, except under `inode`,
//! where a changed ctime makes a new version.
//!
//! Where digests decide, every file is read, and a file that looks unchanged is another version if its digest is another one; one
//! that cannot be read counts as changed.
//!
//! Promises: one pass; memory grows with the number of hard-linked files in the copy and with the number of
//! directories not yet walked, not with the number of files. Never reads a copy itself.

use super::Error;
use super::keep::Keep;
use super::keep_file::{Doubt, Outcome, keep_file};
use crate::catalog::{DirEntry, GenerationWriter, NodeRow, Place, Written};
use crate::model::{
    EntryName, FileKey, Finding, FindingKind, Kind, ListedEntry, Listing, NodeId, RelPath, UNPROVEN_ORIGIN,
};
use crate::monitor::Monitor;
use crate::source::NoDigest;
use foldhash::{HashMap, HashSet};
use std::cmp::Ordering;

/// A directory that was named and not yet listed.
struct Pending {
    node: NodeId,
    /// Whether the previous generation has this node as a directory.
    was_there: bool,
}

/// A mount point where the generation before has a directory that its inode number tells.
struct Covered {
    dir: NodeId,
    before: DirEntry,
    entry: ListedEntry,
}

/// The names of one inode inside the copy.
struct Link {
    node: NodeId,
    names: u32,
}

/// What became of the bytes of an entry.
struct Kept {
    /// Where they are, if not at its own path.
    place: Option<Place>,
    written: Written,
}

/// Returns the digest of the file that was listed at a path.
pub(super) type DigestListed<'d> = dyn Fn(&RelPath, &ListedEntry) -> Result<[u8; 32], NoDigest> + 'd;

/// Reads bytes, where digests decide what is the same.
#[derive(Clone, Copy)]
pub(super) struct Digests<'m> {
    /// Of what is in the copy.
    pub(super) now: &'m DigestListed<'m>,
    /// Returns the digest of what a path holds in the copy of the generation before, if that is still this version.
    pub(super) before: &'m dyn Fn(&RelPath, &NodeRow) -> Option<[u8; 32]>,
}

/// The state of one merge.
pub(super) struct Merge<'m, 'w> {
    writer: &'m mut GenerationWriter<'w>,
    /// Whether inode numbers tell who a file is over all copies.
    by_inode: bool,
    /// Takes the bytes of files, where they are not in a copy already.
    keep: Option<&'m mut dyn Keep>,
    /// Asked about every file, where digests decide what is the same.
    digests: Option<Digests<'m>>,
    /// The directory that is being merged.
    path: RelPath,
    /// The file system of the copy's root.
    device: u64,
    monitor: &'m dyn Monitor,
    /// Where something is mounted in that directory.
    mount_points: Vec<RelPath>,
    /// None: a covered directory, of which nothing is listed.
    pending: HashMap<u64, Option<Pending>>,
    /// The number that the walk gives the next directory it names.
    next_directory: u64,
    links: HashMap<FileKey, Link>,
    /// Nodes that more than one inode of this copy could be, and the one that took it.
    claimed: HashMap<NodeId, FileKey>,
    covered: Vec<Covered>,
    /// Directories that are in this copy.
    seen: HashSet<NodeId>,
    base: Vec<DirEntry>,
    /// Entries that were seen.
    walked: u64,
}

impl<'m, 'w> Merge<'m, 'w> {
    pub(super) fn new(
        writer: &'m mut GenerationWriter<'w>,
        by_inode: bool,
        digests: Option<Digests<'m>>,
        keep: Option<&'m mut dyn Keep>,
        monitor: &'m dyn Monitor,
    ) -> Self {
        Self {
            writer,
            by_inode,
            keep,
            digests,
            path: RelPath::root(),
            device: 0,
            monitor,
            mount_points: Vec::new(),
            pending: HashMap::default(),
            next_directory: 1,
            links: HashMap::default(),
            claimed: HashMap::default(),
            covered: Vec::new(),
            seen: HashSet::default(),
            base: Vec::new(),
            walked: 0,
        }
    }

    /// Lets the catalog go while nothing is to be merged.
    pub(super) fn let_go(&mut self) -> Result<(), Error> {
        Ok(self.writer.let_go()?)
    }

    /// Merges one directory.
    pub(super) fn listing(&mut self, listing: Listing) -> Result<(), Error> {
        let here = match &listing.root {
            Some((key, attrs)) => Some(self.root(*key, attrs)?),
            None => self.pending.remove(&listing.number).expect("a directory is named before it is listed"),
        };
        for finding in &listing.findings {
            self.finding(finding)?;
        }
        let why = listing.findings.iter().find(|finding| finding.kind.is_loss() && finding.path == listing.path);
        let why = why.map_or_else(|| "some of it could not be read".to_owned(), |finding| finding.detail.clone());
        let Some(here) = here else { return Ok(()) };
        let mounts = listing.findings.into_iter().filter(|finding| finding.kind == FindingKind::Boundary);
        self.mount_points = mounts.map(|finding| finding.path).collect();
        self.path = listing.path;
        if !listing.complete {
            self.writer.doubt(here.node, &why)?;
        }
        self.walked += listing.entries.len() as u64;
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
    /// What an incomplete listing does not name is neither confirmed nor gone: it is kept as unknown, as the directory is in doubt.
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
        let base = self.writer.living(node)?;
        let row = self.writer.encode(attrs, false, base.as_ref())?;
        self.writer.put(node, base.as_ref(), row, Written::No)?;
        self.device = key.device;
        if self.by_inode {
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
        let by_inode = self.is_by_inode(&entry);
        if let Some(before) = before_same_kind
            && kind == Kind::Directory
            && !by_inode
            && self.mount_points.contains(&self.path.join(&entry.name))
            && self.is_told_by_inode(before.node)?
        {
            self.covered.push(Covered { dir, before: before.clone(), entry });
            self.pending.insert(self.next_directory, None);
            self.next_directory += 1;
            return Ok(());
        }
        let told = match (by_inode, linked.then(|| self.links.get(&key)).flatten()) {
            (_, Some(link)) => Some(link.node),
            (true, None) => match self.identified(&entry, kind)? {
                Some(node) => Some(node),
                None => self.adopted(&entry, before_same_kind)?,
            },
            (false, None) => self.by_path(dir, &entry.name, kind, before_same_kind)?,
        };
        let mut entry = entry;
        let is_further_link = linked && kind == Kind::File && self.links.contains_key(&key);
        let base = match (told, before) {
            (Some(node), Some(before)) if before.node == node => Some(before.row),
            // Its first name was compared; asking again for each of many names would cost their square.
            (Some(_), _) if is_further_link => None,
            (Some(node), _) => self.writer.living(node)?,
            (None, _) => None,
        };
        if let Some(base) = base.as_ref().filter(|_| entry.origin == UNPROVEN_ORIGIN) {
            entry.attrs = self.writer.decode(base)?;
        }
        let Some(kept) = self.keep(&mut entry, told.zip(base.as_ref()))? else {
            // It is not there any more, and was counted.
            self.walked -= 1;
            return before.map_or(Ok(()), |before| self.gone(dir, before));
        };
        let node = match told {
            Some(node) => node,
            None => self.created(&entry)?,
        };
        self.settle(dir, &entry, (node, base), before, kept)
    }

    /// Has the bytes of `entry` taken where they are not in a copy already, and returns where they are then if that is
    /// not at its own path. None: the file is not there any more.
    fn keep(&mut self, entry: &mut ListedEntry, base: Option<(NodeId, &NodeRow)>) -> Result<Option<Kept>, Error> {
        let in_place = Kept { place: None, written: Written::Unknown };
        let Some(keep) = &mut self.keep else { return Ok(Some(in_place)) };
        let path = self.path.join(&entry.name);
        if entry.attrs.kind() != Kind::File {
            keep.other(&path, &entry.attrs, base.is_none()).map_err(Error::Keep)?;
            return Ok(Some(in_place));
        }
        if self.links.contains_key(&entry.key) {
            keep.link(&path, entry.key).map_err(Error::Keep)?;
            return Ok(Some(in_place));
        }
        let what = (&path, entry.key, entry.origin);
        let doubt = if self.by_inode { Doubt::IfTouched } else { Doubt::None };
        match keep_file(*keep, self.writer, what, &mut entry.attrs, base, doubt)? {
            Outcome::Gone => Ok(None),
            Outcome::Recorded { place, written, finding } => {
                if let Some((kind, detail)) = finding {
                    self.finding(&Finding { kind, path, detail })?;
                }
                Ok(Some(Kept { place: Some(place), written }))
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
        kept: Kept,
    ) -> Result<(), Error> {
        let kind = entry.attrs.kind();
        let by_inode = self.is_by_inode(entry);
        match before {
            Some(before) if before.node == node => self.writer.saw(dir, &entry.name)?,
            Some(before) => {
                self.gone(dir, before)?;
                self.writer.link(dir, &entry.name, node, kind)?;
            }
            None => self.writer.link(dir, &entry.name, node, kind)?,
        }
        if kind == Kind::Directory {
            self.seen.insert(node);
            let was_there = base.is_some();
            self.pending.insert(self.next_directory, Some(Pending { node, was_there }));
            self.next_directory += 1;
            let row = self.writer.encode(&entry.attrs, entry.unreadable, base.as_ref())?;
            self.writer.put(node, base.as_ref(), row, Written::No)?;
            return Ok(());
        }
        let linked = entry.attrs.nlink > 1;
        if linked && let Some(link) = self.links.get_mut(&entry.key) {
            link.names += 1;
            if link.names == 2 && !by_inode {
                self.writer.define(dir, &entry.name, kind, node)?;
            }
            return Ok(());
        }
        // The file system may count names outside the copy (a link farm). Until the walk is over the count of
        // the previous generation is the best guess; `finish` mends the wrong ones.
        let nlink = if linked { base.map_or(1, |b| b.nlink) } else { 1 };
        let mut row = self.writer.encode(&entry.attrs, entry.unreadable, base.as_ref())?;
        row.nlink = nlink;
        row.place = kept.place.unwrap_or(row.place);
        let written = match kind {
            Kind::File => self.written((node, base.as_ref()), entry, kept.written)?,
            _ => Written::No,
        };
        self.writer.put(node, base.as_ref(), row, written)?;
        if linked {
            self.links.insert(entry.key, Link { node, names: 1 });
        }
        Ok(())
    }

    /// Returns what is known of a file's bytes: where digests decide, the digest; one that cannot be read equals nothing.
    fn written(
        &mut self,
        (node, base): (NodeId, Option<&NodeRow>),
        entry: &ListedEntry,
        told: Written,
    ) -> Result<Written, Error> {
        let Some(digests) = self.digests else { return Ok(told) };
        let path = self.path.join(&entry.name);
        let digest = match (digests.now)(&path, entry) {
            Ok(digest) => digest,
            Err(e) => {
                let (kind, detail) = match e {
                    NoDigest::Changed => (FindingKind::Changed, format!("{e}; its bytes count as changed")),
                    NoDigest::Io(_) => {
                        (FindingKind::Unreadable, format!("its bytes cannot be read, and count as changed: {e}"))
                    }
                };
                self.finding(&Finding { kind, path, detail })?;
                return Ok(Written::Yes);
            }
        };
        // A program of an older format wrote none down.
        if let Some(base) = base
            && self.writer.lacks_digest(node, base)?
            && let Some(path) = self.writer.previous_path(node)?
            && let Some(before) = (digests.before)(&path, base)
        {
            self.writer.add_digest(node, base, &before)?;
        }
        Ok(Written::Digest(digest))
    }

    /// Tells whether the inode number of an entry tells who it is.
    fn is_by_inode(&self, entry: &ListedEntry) -> bool {
        self.by_inode && entry.key.device == self.device
    }

    /// Returns the node that this name defines, in any generation ([`GenerationWriter::defined`]).
    fn by_path(
        &mut self,
        dir: NodeId,
        name: &EntryName,
        kind: Kind,
        before: Option<&DirEntry>,
    ) -> Result<Option<NodeId>, Error> {
        // Where inode numbers tell as well, a node of one name may have been named by its number.
        let base = before.map(|b| (b.node, kind == Kind::Directory || (b.row.nlink == 1 && !self.by_inode)));
        let Some(node) = self.writer.defined(dir, name, kind, base)? else { return Ok(None) };
        // Beside inode numbers a name may be that of a node that its number has told already, or will.
        let is_free = !self.by_inode || !self.claimed.contains_key(&node) && !self.writer.is_identified(node)?;
        Ok(is_free.then_some(node))
    }

    /// Tells whether `node` has an inode number of the copies' file system: what lies on another one is not it.
    fn is_told_by_inode(&self, node: NodeId) -> Result<bool, Error> {
        Ok(self.by_inode && self.writer.is_identified(node)?)
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
        if self.by_inode && entry.key.device == self.device {
            self.writer.identify(entry.key, node)?;
        }
        Ok(node)
    }

    fn gone(&mut self, dir: NodeId, entry: &DirEntry) -> Result<(), Error> {
        self.writer.unlink(dir, &entry.name)?;
        Ok(())
    }

    fn finding(&mut self, finding: &Finding) -> Result<(), Error> {
        self.monitor.finding(finding);
        Ok(self.writer.report(finding)?)
    }

    /// Settles who a mount point is, now that all is known that is elsewhere in the copy: the directory that was there, with all
    /// that was in it, or another one. What is in it is unknown.
    fn settle_covered(&mut self, Covered { dir, before, entry }: &Covered) -> Result<(), Error> {
        let (node, base) = if self.seen.contains(&before.node) {
            self.gone(*dir, before)?;
            let node = self.created(entry)?;
            self.writer.link(*dir, &entry.name, node, Kind::Directory)?;
            (node, None)
        } else {
            (before.node, Some(&before.row))
        };
        self.seen.insert(node);
        let row = self.writer.encode(&entry.attrs, entry.unreadable, base)?;
        self.writer.put(node, base, row, Written::No)?;
        Ok(self.writer.doubt(node, "another file system is mounted there")?)
    }

    /// Ends the merge: mount points, and what was below directories that are gone.
    pub(super) fn finish(mut self) -> Result<u64, Error> {
        for covered in std::mem::take(&mut self.covered) {
            self.settle_covered(&covered)?;
        }
        self.writer.bury()?;
        Ok(self.walked)
    }
}
