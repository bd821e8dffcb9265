//! `diff` of two trees that have no history in common: a generation, and one of another source or a tree that lives.
//!
//! Promises: names are compared by their paths and nothing else, so what was renamed is gone here and new there. Bytes are the same where size
//! and mtime are, and the digests, if both were written down; no byte is read. Two directories are the same if their rights are, and their
//! times if the same names are in them: a size of a directory, a number of links and a ctime belong to a file system. What a directory
//! holds that could not be listed on either side is no difference, and such directories are counted. Memory is bounded by the
//! directories that wait for their turn, and by a line a difference.

use super::row::{Changed, Facts, InMount, text};
use crate::catalog::{self, DirEntry, Fields, NodeRow, Perm, Place, Reader, Scope};
use crate::jobs::report::When;
use crate::model::{Attrs, EntryName, FileKey, Hinted, Kind, Listing, NodeId, RelPath, Time, Timestamp, XattrSet};
use crate::source;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

/// Why two trees could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The tree that lives.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// What is asked for is a directory in one tree and none in the other.
    #[error("\"{path}\" is a directory in one of the trees and none in the other")]
    OtherKind {
        /// Where.
        path: RelPath,
    },
    /// Nobody can tell whether it is there.
    #[error("{dir:?} cannot be listed: whether \"{path}\" is there is not known")]
    Unlisted {
        /// The directory, in the tree that lives.
        dir: std::path::PathBuf,
        /// What is asked for.
        path: RelPath,
    },
    /// What is asked for is nowhere.
    #[error("there is no \"{path}\" in either tree")]
    Nowhere {
        /// Where.
        path: RelPath,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(e) => e.hint(),
            Self::Source(e) => e.hint(),
            Self::OtherKind { .. } => Some("compare the directory that it is in".to_owned()),
            Self::Nowhere { .. } | Self::Unlisted { .. } => None,
        }
    }
}

/// The other tree.
#[derive(Clone, Copy, Debug)]
pub enum Other<'a> {
    /// A generation.
    Generation(&'a Scope, Time),
    /// A directory, as it is now.
    Living(&'a Path, Time),
}

/// What differs between two trees.
#[derive(Debug, Default)]
pub struct Compared {
    /// The lines, in the order of their paths.
    pub rows: Vec<Changed>,
    /// Of each line the path, if both trees have a regular file there whose bytes may differ.
    pub files: Vec<Option<RelPath>>,
    /// Directories that one of them could not list.
    pub unlisted: u64,
}

/// Compares the generation of `scope` at `at` with `other`, at or below `path`.
///
/// **Cost:** one walk of both trees.
///
/// # Errors
/// [`Error`].
pub fn compare(
    reader: &Reader,
    (scope, at): (&Scope, Time),
    other: Other<'_>,
    path: &RelPath,
) -> Result<Compared, Error> {
    let (left, right) = (Side::new(reader, scope, at), right(reader, other));
    let mut comparing = Comparing::new(&left, other);
    let (was, kind) = (left.find(path)?, right.find(path)?);
    match (was, kind) {
        (None, None) => return Err(Error::Nowhere { path: path.clone() }),
        (Some((_, one)), Some(other)) if (one == Kind::Directory) != (other == Kind::Directory) => {
            return Err(Error::OtherKind { path: path.clone() });
        }
        (Some((node, Kind::Directory)), Some(_)) => comparing.open.push_back(Here::Both { node, held: None }),
        (was, _) => {
            let row = |(node, kind)| Ok::<_, Error>((node, left.seen(node, kind, &reader.known_node(node, at)?)?));
            comparing.entry(path.clone(), was.map(row).transpose()?, right.one(path)?)?;
        }
    }
    let mut trouble = Ok(());
    if kind == Some(Kind::Directory) {
        right.scan(path, &mut |heard| match comparing.listing(heard) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                trouble = Err(e);
                ControlFlow::Break(())
            }
        })?;
    }
    trouble?;
    let in_doubt = match other {
        Other::Generation(with, then) => reader.doubts_at(with, (then, then))?,
        Other::Living(..) => 0,
    };
    Ok(comparing.finish(in_doubt + reader.doubts_at(scope, (at, at))?))
}

/// What one of the trees says of a name.
#[derive(Clone, Debug)]
struct Seen {
    kind: Kind,
    facts: Facts,
    mtime: Timestamp,
    /// None: they could not be read.
    xattrs: Option<Rc<XattrSet>>,
    /// Of a symbolic link; none: it could not be read.
    target: Option<Vec<u8>>,
    device: u64,
    digest: Option<[u8; 32]>,
    /// Who it is, if it may have other names.
    key: Option<FileKey>,
    /// Nothing is known of it but what it is.
    is_unread: bool,
}

/// A directory, as one of the trees lists it.
struct Heard {
    path: RelPath,
    /// Of the first one, what it is itself.
    itself: Option<Seen>,
    /// In the order of their names.
    entries: Vec<(EntryName, Seen)>,
    is_complete: bool,
}

/// The other tree, whatever it is: its directories in the order in which they are named, breadth first.
trait Right {
    /// Returns what is at `path`.
    fn find(&self, path: &RelPath) -> Result<Option<Kind>, Error>;
    /// Returns what is told of the entry at `path`.
    fn one(&self, path: &RelPath) -> Result<Option<Seen>, Error>;
    /// Tells every directory at or below `path`, which is one.
    fn scan(&self, path: &RelPath, each: &mut dyn FnMut(Heard) -> ControlFlow<()>) -> Result<(), Error>;
}

fn right<'a>(reader: &'a Reader, other: Other<'a>) -> Box<dyn Right + 'a> {
    match other {
        Other::Generation(scope, at) => Box::new(Side::new(reader, scope, at)),
        Other::Living(top, _) => Box::new(Living(top)),
    }
}

/// A generation.
struct Side<'a> {
    reader: &'a Reader,
    scope: &'a Scope,
    at: Time,
    perms: RefCell<HashMap<i64, Perm>>,
    xattrs: RefCell<HashMap<i64, Rc<XattrSet>>>,
}

impl<'a> Side<'a> {
    fn new(reader: &'a Reader, scope: &'a Scope, at: Time) -> Self {
        Self { reader, scope, at, perms: RefCell::default(), xattrs: RefCell::default() }
    }

    fn find(&self, path: &RelPath) -> Result<Option<(NodeId, Kind)>, Error> {
        Ok(self.reader.leads_to(self.scope, path, self.at)?)
    }

    fn list(&self, dir: NodeId) -> Result<Vec<DirEntry>, Error> {
        let mut entries = Vec::new();
        self.reader.list(dir, self.at, None, usize::MAX, |entry| {
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    fn is_listed(&self, dir: NodeId) -> Result<bool, Error> {
        Ok(self.reader.known_node(dir, self.at)?.place != Place::Lost && !self.reader.is_unknown(dir, self.at)?)
    }

    fn seen(&self, node: NodeId, kind: Kind, row: &NodeRow) -> Result<Seen, Error> {
        let known = self.perms.borrow().get(&row.perm).copied();
        let perm = match known {
            Some(perm) => perm,
            None => {
                let perm = self.reader.perm(row.perm)?;
                self.perms.borrow_mut().insert(row.perm, perm);
                perm
            }
        };
        let target = match (kind, row.place) {
            (Kind::Symlink, Place::Inline(id)) => Some(self.reader.inline(id)?),
            (Kind::Symlink, _) => None,
            _ => Some(Vec::new()),
        };
        let device = if let Place::Device(number) = row.place { number } else { 0 };
        let digest = match kind {
            Kind::File => self.reader.digest(node, row.bytes)?,
            _ => None,
        };
        let key = (kind != Kind::Directory && row.nlink > 1).then(|| FileKey::of_node(node));
        let xattrs = self.xattrs_of(perm.xattr)?;
        let (facts, mtime) = (Facts::with(row, &perm), row.mtime);
        Ok(Seen { kind, facts, mtime, xattrs, target, device, digest, key, is_unread: false })
    }

    fn xattrs_of(&self, id: i64) -> Result<Option<Rc<XattrSet>>, Error> {
        if id == Perm::XATTRS_LOST {
            return Ok(None);
        }
        if let Some(known) = self.xattrs.borrow().get(&id) {
            return Ok(Some(Rc::clone(known)));
        }
        let set = Rc::new(if id == 0 { XattrSet::default() } else { self.reader.xattrs(id)? });
        self.xattrs.borrow_mut().insert(id, Rc::clone(&set));
        Ok(Some(set))
    }
}

impl Right for Side<'_> {
    fn find(&self, path: &RelPath) -> Result<Option<Kind>, Error> {
        Ok(Side::find(self, path)?.map(|found| found.1))
    }

    fn one(&self, path: &RelPath) -> Result<Option<Seen>, Error> {
        let Some((node, kind)) = Side::find(self, path)? else { return Ok(None) };
        self.seen(node, kind, &self.reader.known_node(node, self.at)?).map(Some)
    }

    fn scan(&self, path: &RelPath, each: &mut dyn FnMut(Heard) -> ControlFlow<()>) -> Result<(), Error> {
        let Some((top, kind)) = Side::find(self, path)? else { return Ok(()) };
        let itself = self.seen(top, kind, &self.reader.known_node(top, self.at)?)?;
        let mut open = VecDeque::from([(top, path.clone(), Some(itself))]);
        while let Some((dir, path, itself)) = open.pop_front() {
            let mut entries = Vec::new();
            for entry in self.list(dir)? {
                if entry.kind == Kind::Directory {
                    open.push_back((entry.node, path.join(&entry.name), None));
                }
                let seen = self.seen(entry.node, entry.kind, &entry.row)?;
                entries.push((entry.name, seen));
            }
            if each(Heard { path, itself, entries, is_complete: self.is_listed(dir)? }).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A tree that lives. Whatever is asked of it is below the directory that was named, by no link, and on its file system: its users may change
/// it meanwhile.
struct Living<'a>(&'a Path);

impl Living<'_> {
    fn seen(key: FileKey, attrs: Attrs, unreadable: bool) -> Seen {
        let kind = attrs.kind();
        Seen {
            kind,
            facts: Facts::of_attrs(&attrs),
            mtime: attrs.mtime,
            xattrs: (!unreadable).then(|| Rc::new(attrs.xattrs)),
            target: (kind != Kind::Symlink || !unreadable).then_some(attrs.target),
            device: attrs.rdev,
            digest: None,
            key: (kind != Kind::Directory && attrs.nlink > 1).then_some(key),
            // Of what another file system is mounted on, and was not asked, nothing is known.
            is_unread: unreadable || (attrs.mode & 0o7777 == 0 && attrs.mtime == Timestamp::default()),
        }
    }

    fn heard(listing: Listing) -> Heard {
        let entries = listing.entries.into_iter();
        Heard {
            path: listing.path,
            itself: listing.root.map(|(key, attrs)| Self::seen(key, attrs, false)),
            entries: entries.map(|e| (e.name, Self::seen(e.key, e.attrs, e.unreadable))).collect(),
            is_complete: listing.complete,
        }
    }
}

impl Right for Living<'_> {
    fn find(&self, path: &RelPath) -> Result<Option<Kind>, Error> {
        Ok(self.one(path)?.map(|seen| seen.kind))
    }

    fn one(&self, path: &RelPath) -> Result<Option<Seen>, Error> {
        let Some((above, name)) = path.split_last() else {
            let mut top = None;
            source::nfs::scan_tree(self.0, &mut |listing| {
                top = listing.root.map(|(key, attrs)| Self::seen(key, attrs, false));
                ControlFlow::Break(())
            })?;
            return Ok(top);
        };
        let (mut found, mut is_complete) = (None, true);
        source::nfs::scan_below(self.0, &above, &mut |listing| {
            let mut entries = listing.entries.into_iter();
            found = entries.find(|e| e.name.as_bytes() == name).map(|e| Self::seen(e.key, e.attrs, e.unreadable));
            is_complete = listing.complete;
            ControlFlow::Break(())
        })?;
        match found {
            None if !is_complete => {
                let dir = self.0.join(std::ffi::OsStr::from_bytes(above.as_bytes()));
                Err(Error::Unlisted { dir, path: path.clone() })
            }
            found => Ok(found),
        }
    }

    fn scan(&self, path: &RelPath, each: &mut dyn FnMut(Heard) -> ControlFlow<()>) -> Result<(), Error> {
        source::nfs::scan_below(self.0, path, &mut |listing| {
            let mut heard = Self::heard(listing);
            heard.path = path.append(&heard.path);
            each(heard)
        })?;
        Ok(())
    }
}

/// A directory of the other tree that has been named and not been listed yet.
enum Here {
    /// The generation has it, too; and the line about it, if its times alone differ.
    Both { node: NodeId, held: Option<Box<Changed>> },
    /// It is in one that is new as a whole, whose line this is.
    New(usize),
    /// It is in a directory of the generation that could not be listed.
    Unknown,
}

/// A comparison that goes on.
struct Comparing<'a> {
    left: &'a Side<'a>,
    other: Other<'a>,
    open: VecDeque<Here>,
    rows: Vec<(RelPath, Changed)>,
    unlisted: u64,
    /// Files with several names that were counted.
    met: HashSet<(u64, u64)>,
}

impl<'a> Comparing<'a> {
    fn new(left: &'a Side<'a>, other: Other<'a>) -> Self {
        Self { left, other, open: VecDeque::new(), rows: Vec::new(), unlisted: 0, met: HashSet::new() }
    }

    fn finish(mut self, in_doubt: u64) -> Compared {
        self.rows.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        let mut compared = Compared { unlisted: self.unlisted + in_doubt, ..Compared::default() };
        for (path, row) in self.rows {
            let is_file = row.kind == Kind::File.word() && row.what == "modified";
            compared.files.push(is_file.then_some(path));
            compared.rows.push(row);
        }
        compared
    }

    /// Takes the listing of the directory whose turn it is.
    fn listing(&mut self, heard: Heard) -> Result<(), Error> {
        // What was named as a directory may have become one only since.
        let here = self.open.pop_front().unwrap_or(Here::Unknown);
        let is_living = matches!(self.other, Other::Living(..));
        self.unlisted += u64::from(is_living && !heard.is_complete);
        let (node, mut held) = match here {
            Here::Both { node, held } => (node, held),
            Here::New(line) => {
                for (_, seen) in &heard.entries {
                    self.count(line, seen);
                    if seen.kind == Kind::Directory {
                        self.open.push_back(Here::New(line));
                    }
                }
                return Ok(());
            }
            Here::Unknown => {
                let dirs = heard.entries.iter().filter(|(_, seen)| seen.kind == Kind::Directory).count();
                self.open.extend(std::iter::repeat_with(|| Here::Unknown).take(dirs));
                return Ok(());
            }
        };
        if let Some(itself) = heard.itself {
            let was = self.left.seen(node, Kind::Directory, &self.left.reader.known_node(node, self.left.at)?)?;
            held = self.line_of(&heard.path, was, itself).map(Box::new);
        }
        let is_listed = self.left.is_listed(node)?;
        let mut old = self.left.list(node)?.into_iter().peekable();
        let mut is_touched = false;
        let came_before = |entry: &DirEntry, name: &EntryName| entry.name.as_bytes() < name.as_bytes();
        for (name, seen) in heard.entries {
            while let Some(gone) = old.next_if(|entry| came_before(entry, &name)) {
                is_touched |= self.gone(&heard.path, gone, heard.is_complete)?;
            }
            let path = heard.path.join(&name);
            match old.next_if(|entry| entry.name.as_bytes() == name.as_bytes()) {
                Some(entry) => {
                    let was = self.left.seen(entry.node, entry.kind, &entry.row)?;
                    is_touched |= was.kind != seen.kind;
                    self.entry(path, Some((entry.node, was)), Some(seen))?;
                }
                None if is_listed => {
                    is_touched = true;
                    self.entry(path, None, Some(seen))?;
                }
                None if seen.kind == Kind::Directory => self.open.push_back(Here::Unknown),
                None => {}
            }
        }
        for gone in old {
            is_touched |= self.gone(&heard.path, gone, heard.is_complete)?;
        }
        if let Some(line) = held
            && (!is_touched || line.fields != ["mtime"])
        {
            self.rows.push((heard.path, *line));
        }
        Ok(())
    }

    /// Notes what the other tree does not have, if it could list the directory.
    fn gone(&mut self, dir: &RelPath, entry: DirEntry, is_complete: bool) -> Result<bool, Error> {
        if !is_complete {
            return Ok(false);
        }
        let was = self.left.seen(entry.node, entry.kind, &entry.row)?;
        self.entry(dir.join(&entry.name), Some((entry.node, was)), None)?;
        Ok(true)
    }

    /// Compares what both trees have at `path`.
    fn entry(&mut self, path: RelPath, was: Option<(NodeId, Seen)>, is: Option<Seen>) -> Result<(), Error> {
        match (was, is) {
            (None, None) => {}
            (Some((node, was)), Some(is)) if was.kind == is.kind => {
                let is_directory = was.kind == Kind::Directory;
                // A directory of which nothing is known has a listing of its own that says so.
                self.unlisted += u64::from(is.is_unread && !is_directory);
                let line = self.line_of(&path, was, is);
                if is_directory {
                    self.open.push_back(Here::Both { node, held: line.map(Box::new) });
                } else if let Some(line) = line {
                    self.rows.push((path, line));
                }
            }
            (Some((_, was)), Some(is)) if was.kind != Kind::Directory && is.kind != Kind::Directory => {
                let row = self.row(&path, ("replaced", is.kind), (Some(was), Some(is)), Vec::new());
                self.rows.push((path, row));
            }
            (was, is) => {
                if let Some((node, was)) = was {
                    let kind = was.kind;
                    let mut row = self.row(&path, ("deleted", kind), (Some(was), None), Vec::new());
                    if kind == Kind::Directory {
                        (row.entries, row.entries_bytes) = self.below(node)?;
                    }
                    self.rows.push((path.clone(), row));
                }
                if let Some(is) = is {
                    if is.kind == Kind::Directory {
                        self.open.push_back(Here::New(self.rows.len()));
                    }
                    let row = self.row(&path, ("created", is.kind), (None, Some(is)), Vec::new());
                    self.rows.push((path, row));
                }
            }
        }
        Ok(())
    }

    /// Counts something in a directory that is new as a whole.
    fn count(&mut self, line: usize, seen: &Seen) {
        let is_counted = seen.kind == Kind::File && seen.key.is_none_or(|key| self.met.insert((key.device, key.inode)));
        let row = &mut self.rows[line].1;
        row.entries += 1;
        row.entries_bytes += if is_counted { seen.facts.size_bytes } else { 0 };
    }

    /// Counts what the generation has below a directory.
    fn below(&self, top: NodeId) -> Result<(u64, u64), Error> {
        let (mut open, mut entries, mut bytes, mut met) = (vec![top], 0, 0, HashSet::new());
        while let Some(dir) = open.pop() {
            for entry in self.left.list(dir)? {
                entries += 1;
                match entry.kind {
                    Kind::Directory => open.push(entry.node),
                    Kind::File if entry.row.nlink < 2 || met.insert(entry.node) => bytes += entry.row.size_bytes,
                    _ => {}
                }
            }
        }
        Ok((entries, bytes))
    }

    /// Returns the line about what both trees have, if it differs.
    fn line_of(&self, path: &RelPath, was: Seen, is: Seen) -> Option<Changed> {
        if is.is_unread {
            return None;
        }
        let is_directory = was.kind == Kind::Directory;
        let same_stamp = was.facts.size_bytes == is.facts.size_bytes && was.mtime == is.mtime;
        let other_bytes = was.digest.zip(is.digest).is_some_and(|(was, is)| was != is);
        let both = |was: Option<&[u8]>, is: Option<&[u8]>| was.zip(is).is_some_and(|(was, is)| was != is);
        let xattrs = was.xattrs.as_ref().zip(is.xattrs.as_ref());
        let differs = [
            (Fields::BYTES, same_stamp && other_bytes),
            (Fields::SIZE, !is_directory && was.facts.size_bytes != is.facts.size_bytes),
            (Fields::MTIME, was.mtime != is.mtime),
            (Fields::MODE, was.facts.mode != is.facts.mode),
            (Fields::OWNER, was.facts.uid != is.facts.uid),
            (Fields::GROUP, was.facts.gid != is.facts.gid),
            (Fields::XATTRS, xattrs.is_some_and(|(was, is)| was != is)),
            (Fields::TARGET, was.device != is.device || both(was.target.as_deref(), is.target.as_deref())),
        ];
        let fields =
            differs.into_iter().filter(|(_, differs)| *differs).fold(Fields::default(), |all, (one, _)| all | one);
        if fields.is_empty() {
            return None;
        }
        let is_file = was.kind == Kind::File;
        let contents = [Fields::BYTES, Fields::SIZE, Fields::TARGET];
        let is_modified = contents.iter().any(|one| one.is_in(fields)) || (is_file && Fields::MTIME.is_in(fields));
        let what = if is_modified { "modified" } else { "attributes" };
        let kind = is.kind;
        Some(self.row(path, (what, kind), (Some(was), Some(is)), fields.words()))
    }

    fn row(
        &self,
        path: &RelPath,
        (what, kind): (&'static str, Kind),
        (was, is): (Option<Seen>, Option<Seen>),
        fields: Vec<&'static str>,
    ) -> Changed {
        let left = (self.left.scope, self.left.at);
        let (source, at, restore_path) = match self.other {
            Other::Generation(scope, at) => {
                let (here, then) = if is.is_some() { (scope, at) } else { left };
                (&here.source.name, at, Some(InMount::of(here, then, path)))
            }
            // What lives is where it is; what it was is in the generation.
            Other::Living(_, now) => {
                (&left.0.source.name, now, was.is_some().then(|| InMount::of(left.0, left.1, path)))
            }
        };
        Changed {
            source: source.clone(),
            when: When(at),
            what,
            path: text(path),
            old_path: None,
            kind: kind.word(),
            fields,
            is: is.map(|seen| seen.facts),
            was: was.map(|seen| seen.facts),
            entries: 0,
            entries_bytes: 0,
            restore_path,
        }
    }
}
