//! A copy that was indexed, walked once more: is it what the catalog has?
//!
//! Equal is what a merge would call unchanged: names and types, owners, rights, extended attributes, targets, device numbers,
//! which names are one file; size and mtime of files, mtime of the rest. The size and link count of a directory belong to
//! its file system and are not compared, so a copy that was moved to another one is equal.
//!
//! Promises: one walk, one listing of the catalog a directory; ends at the first difference and names it. Memory grows as
//! that of a merge. Writes nothing, opens no file.

use super::Error;
use super::merge::DigestListed;
use super::watch::{self, ExpectedRoot, Watch};
use crate::catalog::{self, DirEntry, NodeRow, Perm, Place, Reader, SeenCopy, SourceRow};
use crate::clock::Clock;
use crate::model::{
    Attrs, FileKey, Key, Kind, ListedEntry, Listing, NodeId, RelPath, Time, Timestamp, Walked, XattrSet,
};
use crate::monitor::Monitor;
use crate::source::{FileStamp, Found, Source};
use foldhash::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// What a copy was indexed as.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its source.
    pub source: &'a SourceRow,
    /// The generation.
    pub at: Time,
    /// The newest ctime in it as of then ([`SeenCopy::newest_ctime_ns`]), where that is known.
    pub newest_ctime_ns: Option<i64>,
    /// The directory that it was found to be; none: whatever is at its path.
    pub root: Option<ExpectedRoot>,
}

/// What a walk of a known copy found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It is what the catalog has.
    Same(SeenCopy),
    /// It is not; the text names the first path that differs, and how.
    Differs(String),
    /// Something of it can be read no more: nobody knows whether it is what it was. The text names the first such path.
    Unreadable(String),
}

/// What ends a comparison.
enum End {
    Differs(String),
    Unreadable(String),
}

impl From<End> for Compared {
    fn from(end: End) -> Self {
        match end {
            End::Differs(text) => Self::Differs(text),
            End::Unreadable(text) => Self::Unreadable(text),
        }
    }
}

/// Walks the copy `found` and compares it with the generation that it was indexed as.
///
/// A copy that is as it was and does not change meanwhile is settled: what was still written to it would show. Under
/// [`Key::Digest`] bytes are what counts, so one in which anything was touched since differs.
///
/// # Errors
/// [`Error::Source`] if it cannot be walked; [`Error::Exchanged`]; [`Error::Catalog`].
pub fn compare_copy(
    catalog: &Reader,
    known: &Known<'_>,
    found: &Found,
    reader: &dyn Source,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Compared, Error> {
    let opened = watch::open(reader, found, known.root.as_ref())?;
    let digest = |path: &RelPath, entry: &ListedEntry| opened.digest(path, &FileStamp::of(entry));
    let mut compare = Compare {
        catalog,
        at: known.at,
        by_inode: known.source.rule.by_inode,
        pending: HashMap::from_iter([(0, known.source.root)]),
        next_directory: 1,
        links: HashMap::default(),
        xattrs: HashMap::from_iter([(0, XattrSet::default())]),
        digests: (known.source.rule.key == Key::Digest)
            .then_some(Digests { now: &digest, since_ns: known.newest_ctime_ns.unwrap_or(i64::MIN) }),
    };
    let (mut watch, mut ended) = (Watch::of(opened.top()), None);
    let stats = opened.scan(&mut |walked| {
        // Nobody waits for a reader.
        let Walked::Listing(listing) = walked else { return ControlFlow::Continue(()) };
        watch.see(&listing);
        monitor.advance(listing.entries.len() as u64);
        match compare.listing(&listing) {
            Ok(None) => ControlFlow::Continue(()),
            end => {
                ended = Some(end);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(end) = ended {
        return Ok(end?.expect("only a difference ends a walk").into());
    }
    if let Some(difference) = compare.links_differ() {
        return Ok(Compared::Differs(difference));
    }
    // Being what it was is what settles it, whatever its ctimes say.
    let seen = watch.seen(clock.now(), Duration::ZERO, stats.changed);
    if known.source.rule.key == Key::Digest && known.newest_ctime_ns != Some(seen.newest_ctime_ns) {
        return Ok(Compared::Differs("something in it was touched since, and its bytes are to be compared".to_owned()));
    }
    Ok(Compared::Same(SeenCopy { settled: !stats.changed, ..seen }))
}

/// The names of one inode inside the copy.
struct Link {
    node: NodeId,
    names: u32,
    /// How many the catalog has.
    expected: u32,
    path: RelPath,
}

/// How bytes are compared where they count: of files with several names, whose ctimes move with each link and say nothing.
struct Digests<'c> {
    now: &'c DigestListed<'c>,
    /// What was touched no later than this is as it was.
    since_ns: i64,
}

struct Compare<'c> {
    catalog: &'c Reader,
    at: Time,
    by_inode: bool,
    /// Directories that were named and not yet listed, by the number that the walk gives them.
    pending: HashMap<u64, NodeId>,
    next_directory: u64,
    links: HashMap<FileKey, Link>,
    xattrs: HashMap<i64, XattrSet>,
    digests: Option<Digests<'c>>,
}

impl Compare<'_> {
    /// Returns what differs in a directory, if anything does.
    fn listing(&mut self, listing: &Listing) -> Result<Option<End>, catalog::Error> {
        let dir = self.pending.remove(&listing.number).expect("a directory is named before it is listed");
        let row = self.catalog.known_node(dir, self.at)?;
        match (row.place != Place::Lost, listing.complete) {
            (true, false) => return unreadable(&listing.path, "cannot be listed"),
            (false, true) => return differs(&listing.path, "could not be listed before"),
            _ => {}
        }
        if let Some((_, attrs)) = &listing.root
            && let Some(how) = self.attributes(attrs, false, &row)?
        {
            return differs(&listing.path, how);
        }
        let mut expected = Vec::with_capacity(listing.entries.len());
        self.catalog.list(dir, self.at, None, usize::MAX, |entry| {
            expected.push(entry);
            ControlFlow::Continue(())
        })?;
        self.catalog.rest()?;
        // Of a directory that was not whole the catalog has what was there before as well.
        let is_whole = listing.complete;
        let mut expected = expected.iter().peekable();
        for entry in &listing.entries {
            while let Some(gone) = expected.next_if(|known| known.name < entry.name) {
                if is_whole {
                    return differs(&listing.path.join(&gone.name), GONE);
                }
            }
            let path = || listing.path.join(&entry.name);
            let Some(known) = expected.next_if(|known| known.name == entry.name) else {
                return differs(&path(), "is new");
            };
            if let Some(end) = self.entry(entry, known, path)? {
                return Ok(Some(end));
            }
        }
        match expected.next() {
            Some(gone) if is_whole => differs(&listing.path.join(&gone.name), GONE),
            _ => Ok(None),
        }
    }

    /// Returns what differs of an entry, if anything does.
    fn entry(
        &mut self,
        entry: &ListedEntry,
        known: &DirEntry,
        path: impl Fn() -> RelPath,
    ) -> Result<Option<End>, catalog::Error> {
        let kind = entry.attrs.kind();
        if kind != known.kind {
            return differs(&path(), "has another type");
        }
        if kind == Kind::Directory {
            self.pending.insert(self.next_directory, known.node);
            self.next_directory += 1;
        } else if entry.attrs.nlink > 1 {
            let expected = known.row.nlink;
            let new = || Link { node: known.node, names: 0, expected, path: path() };
            let link = self.links.entry(entry.key).or_insert_with(new);
            if link.node != known.node {
                return differs(&path(), "is another file");
            }
            link.names += 1;
        } else if known.row.nlink != 1 {
            return differs(&path(), "has no other name any more");
        }
        let was_unreadable = self.catalog.perm(known.row.perm)?.xattr == Perm::XATTRS_LOST;
        match (was_unreadable, entry.unreadable) {
            (false, true) => return unreadable(&path(), "cannot be read"),
            (true, false) => return differs(&path(), "could not be read before"),
            _ => {}
        }
        match self.attributes(&entry.attrs, entry.unreadable, &known.row)? {
            Some(how) => differs(&path(), how),
            None if self.has_other_bytes(entry, known, &path)? => differs(&path(), "has other bytes"),
            // That of the top directory moves with each new name.
            None if self.by_inode && known.row.ctime != entry.attrs.ctime => differs(&path(), "has another ctime"),
            None => Ok(None),
        }
    }

    /// Tells whether the bytes of a file with several names, touched since, are others, or cannot be read.
    fn has_other_bytes(
        &self,
        entry: &ListedEntry,
        known: &DirEntry,
        path: &impl Fn() -> RelPath,
    ) -> Result<bool, catalog::Error> {
        let Some(digests) = &self.digests else { return Ok(false) };
        let is_first_name = self.links.get(&entry.key).is_some_and(|link| link.names == 1);
        let was_touched = entry.attrs.ctime.ns_since(Timestamp::default()) > digests.since_ns;
        if entry.attrs.kind() != Kind::File || !is_first_name || !was_touched {
            return Ok(false);
        }
        let before = self.catalog.digest(known.node, known.row.bytes)?;
        Ok((digests.now)(&path(), entry).ok() != before)
    }

    /// Returns what differs between what was listed and a row of the catalog.
    fn attributes(
        &mut self,
        attrs: &Attrs,
        unreadable: bool,
        row: &NodeRow,
    ) -> Result<Option<&'static str>, catalog::Error> {
        let perm = self.catalog.perm(row.perm)?;
        if perm.mode != attrs.mode {
            return Ok(Some("has another mode"));
        }
        if (perm.uid, perm.gid) != (attrs.uid, attrs.gid) {
            return Ok(Some("has another owner"));
        }
        if !unreadable && !self.same_xattrs(perm.xattr, &attrs.xattrs)? {
            return Ok(Some("has other extended attributes"));
        }
        if attrs.kind() == Kind::File && row.size_bytes != attrs.size_bytes {
            return Ok(Some("has another size"));
        }
        if row.mtime != attrs.mtime {
            return Ok(Some("has another mtime"));
        }
        match row.place {
            Place::Device(number) if number != attrs.rdev => Ok(Some("has another device number")),
            Place::Inline(id) if attrs.kind() == Kind::Symlink && self.catalog.inline(id)? != attrs.target => {
                Ok(Some("has another target"))
            }
            _ => Ok(None),
        }
    }

    fn same_xattrs(&mut self, id: i64, listed: &XattrSet) -> Result<bool, catalog::Error> {
        if let Some(known) = self.xattrs.get(&id) {
            return Ok(known == listed);
        }
        let known = self.catalog.xattrs(id)?;
        Ok(self.xattrs.entry(id).or_insert(known) == listed)
    }

    /// Returns a file that has more names, or fewer, than it had.
    fn links_differ(&self) -> Option<String> {
        let mut wrong: Vec<&Link> = self.links.values().filter(|link| link.names != link.expected).collect();
        wrong.sort_unstable_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        let link = wrong.first()?;
        Some(format!("\"{}\" has {} names, not {}", link.path, link.names, link.expected))
    }
}

const GONE: &str = "is not there any more";

fn differs(path: &RelPath, how: &str) -> Result<Option<End>, catalog::Error> {
    Ok(Some(End::Differs(about(path, how))))
}

fn unreadable(path: &RelPath, how: &str) -> Result<Option<End>, catalog::Error> {
    Ok(Some(End::Unreadable(about(path, how))))
}

fn about(path: &RelPath, how: &str) -> String {
    if path.is_root() { format!("its top directory {how}") } else { format!("\"{path}\" {how}") }
}
