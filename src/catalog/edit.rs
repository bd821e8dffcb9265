//! The edits: all that can be said of a generation. Whoever indexes says these and nothing else.
//!
//! | edit | before | after |
//! |---|---|---|
//! | `link(dir, name, node)` | the name is free | the name points to the node |
//! | `unlink(dir, name)` | the name is there | the name is free |
//! | `put(node, base, version)` | `base` is what the node is at the base, if it lives there | the node is this version |
//! | `identify(key, node)` | | the source knows the node by this key, for ever |
//! | `doubt(dir, reason)`, `saw(dir, name)` | `dir` was seen | what the base has in it and nobody saw is kept as unknown |
//! | `report(finding)` | | the finding is one of this generation |
//! | `hold(disk)`, `add_volume` | | the object holds this layer |
//! | `resume(scan, state)` | | the next generation goes on from there |
//!
//! An edit is one call that writes its rows, its note and its counts together; a chunk is committed only between edits. A generation newer
//! than all others of its source is written as it is told, born at an instant that no reader asks for; the edits of any other are kept in
//! a [`Draft`](super::draft) and put in by one transaction ([`super::insert`]).
//!
//! Promises: what changed is worked out here: an edit that changes nothing leaves no row and no note. Names and versions may be told in
//! any order; what was told last counts.

use super::draft::Mode;
use super::ledger::Half;
use super::name_index;
use super::notes;
use super::rows::{ChangeOps, KindNumber, NodeRow, Place};
use super::tables::{self, NameRow, Slot, insert_digest, insert_finding};
use super::{Error, GenerationWriter};
use crate::model::manifest::{Edit, Written};
use crate::model::{
    DiskRow, EntryName, FOREVER, FileKey, Finding, Key, Kind, NodeId, Rule, Scan, VolumeRow, printable,
};

/// Rows between two commits of a generation that nobody can see yet.
const CHUNK_ROWS: u32 = 50_000;
/// Rows between two looks at the clock.
const CLOCK_ROWS: u32 = 64;

impl GenerationWriter<'_> {
    /// Says that `name` in `dir`, which is free, points to `node`.
    ///
    /// # Errors
    /// [`Error::Sqlite`], also where the name is not free.
    pub fn link(&mut self, dir: NodeId, name: &EntryName, node: NodeId, kind: Kind) -> Result<(), Error> {
        self.tee(&Edit::Link { dir, name: name.as_bytes(), node, kind })?;
        let kind = KindNumber(kind);
        self.ledger.linked(dir, node);
        self.see(dir, name)?;
        if let Mode::Aside(draft) = &self.mode {
            let done = draft.point(dir, name, Some((node, kind)));
            return self.noted_aside(done);
        }
        self.count_running(|running, c| running.link(c, (dir, name), node, kind.0))?;
        let slot = Slot { dir, name: name.as_bytes() };
        let (at, hot, previous, source) = (self.at, self.hot.contains(&dir.0), self.previous, self.source);
        let back = self.write("adding a name", |c| {
            if previous.is_some()
                && let Some(closed) = tables::name_died(c, slot, at.0)?
                && closed.node == node
            {
                // It was taken away in this generation, and is as it was.
                tables::end_name(c, slot, closed.born, FOREVER.0, hot)?;
                return Ok(true);
            }
            tables::insert_name(c, slot, NameRow { born: at.0, died: FOREVER.0, node, kind }, hot)?;
            tables::insert_odd_name(c, slot.name)?;
            if previous.is_some() {
                tables::add_note(c, source, at, node, ChangeOps::LINKED)?;
            }
            Ok(false)
        })?;
        if !back && self.notes_names {
            self.write("keeping the index of names up", |c| name_index::note(c, slot, at.0))?;
        }
        if back {
            self.ledger.again.insert(node);
        }
        self.wrote(2)
    }

    /// Says that `name` in `dir` points to nothing any more, and returns what it pointed to; none if it pointed to nothing.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn unlink(&mut self, dir: NodeId, name: &EntryName) -> Result<Option<(NodeId, Kind)>, Error> {
        let Some((node, kind)) = self.lookup_current(dir, name)? else { return Ok(None) };
        self.tee(&Edit::Unlink { dir, name: name.as_bytes() })?;
        self.ledger.names -= 1;
        self.ledger.linked.insert(node);
        if kind == Kind::Directory {
            self.ledger.lost.push(node);
        }
        if let Mode::Aside(draft) = &self.mode {
            let done = draft.point(dir, name, None);
            self.noted_aside(done)?;
            return Ok(Some((node, kind)));
        }
        self.count_running(|running, c| running.make_odd(c, node))?;
        let slot = Slot { dir, name: name.as_bytes() };
        let (at, hot, source) = (self.at, self.hot.contains(&dir.0), self.source);
        let taken_back = self.write("closing a name", |c| {
            if tables::name_born(c, slot, at.0)?.is_some() {
                tables::delete_name(c, slot, at.0)?;
                return Ok(true);
            }
            let row = tables::lookup(c, slot, at)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            tables::end_name(c, slot, row.born, at.0, hot)?;
            tables::add_note(c, source, at, node, ChangeOps::UNLINKED)?;
            Ok(false)
        })?;
        if taken_back {
            self.ledger.again.insert(node);
        } else {
            *self.dead.entry(dir.0).or_default() += 1;
        }
        self.wrote(2)?;
        Ok(Some((node, kind)))
    }

    /// Says that what is left below directories that lost their names is gone with them. After the last name was told.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn bury(&mut self) -> Result<(), Error> {
        self.keep_unseen()?;
        while let Some(dir) = self.ledger.lost.pop() {
            if self.has_name(dir)? {
                continue;
            }
            for name in self.names_in(dir)? {
                self.unlink(dir, &name)?;
            }
        }
        Ok(())
    }

    /// Makes the link counts of what got or lost a name the number of its names. A disk says itself how many names its files have.
    pub(super) fn count_links(&mut self) -> Result<(), Error> {
        if self.disk.is_some() {
            return Ok(());
        }
        let mut nodes: Vec<NodeId> = self.ledger.named().chain(self.ledger.linked.iter().copied()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        for node in nodes {
            let names = self.seen_names(node)?;
            let Some(row) = self.current_version(node)? else { continue };
            let nlink = u32::try_from(names).unwrap_or(u32::MAX);
            // That of a directory is not its names.
            if names > 0 && row.nlink != nlink && self.kind_of(&row)? != Some(Kind::Directory) {
                self.amend(node, NodeRow { nlink, ..row })?;
            }
        }
        Ok(())
    }

    /// Says that `node` is this version, and returns whether it is another one than `base`: what the node is at the base, if it
    /// lives there ([`GenerationWriter::living`]).
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn put(&mut self, node: NodeId, base: Option<&NodeRow>, row: NodeRow, written: Written) -> Result<bool, Error> {
        let row = NodeRow { born: self.at.0, bytes: if row.place.holds_a_file() { self.sequence } else { 0 }, ..row };
        let (row, ops) = match base {
            Some(base) => self.against(node, base, row, written)?,
            None => (row, ChangeOps::CREATED),
        };
        let is_new = base.is_none() && node != self.root;
        let has_links = row.nlink != 1 && !self.interned.is_directory(row.perm);
        self.ledger.put(node, has_links, is_new);
        let is_file = self.interned.is_file(row.perm);
        if is_file {
            self.ledger.size_bytes += i128::from(row.size_bytes) - base.map_or(0, |base| i128::from(base.size_bytes));
        }
        let other_digest = match written {
            Written::Digest(digest) if row.bytes == self.sequence => Some(digest),
            _ => None,
        };
        if ops.is_empty() {
            return Ok(false);
        }
        self.tee_version(false, node, &row, written)?;
        // What is new is noted with its name. Until it has one, the note of its version is what undoes it.
        let is_nameless = is_new && self.ledger.half.get(node) == Some(Half::Version);
        let noted = if base.is_some() || is_nameless { ops } else { ChangeOps::default() };
        if let Some(before) = self.put_row(node, row, noted)? {
            // A walk met it twice: what moves from one directory to another may be seen in both.
            self.ledger.linked.insert(node);
            self.ledger.again.insert(node);
            if before.place != row.place {
                self.write("removing bytes", |c| tables::drop_content(c, node, before.place))?;
            }
            if is_file {
                let of_base = base.map_or(0, |base| i128::from(base.size_bytes));
                self.ledger.size_bytes += of_base - i128::from(before.size_bytes);
            }
        }
        if let Some(digest) = other_digest {
            self.put_digest(node, &digest)?;
        }
        Ok(true)
    }

    /// Returns `row` with the number of its bytes, and what differs from `base`.
    fn against(
        &self,
        node: NodeId,
        base: &NodeRow,
        row: NodeRow,
        written: Written,
    ) -> Result<(NodeRow, ChangeOps), Error> {
        self.sql("comparing versions", |c| {
            let same_place = notes::same_place(c, base.place, row.place)?;
            let same_bytes = match written {
                Written::Unknown | Written::No => true,
                Written::Yes => false,
                Written::Digest(digest) => notes::digest(c, node, base.bytes)? == Some(digest),
            };
            let same_bytes = same_bytes || !row.place.holds_a_file();
            let ops = notes::between(base, &row, self.compares(), same_place, same_bytes);
            let is_same = row.place.holds_a_file() && !ops.has(ChangeOps::CONTENT);
            Ok((NodeRow { bytes: if is_same { base.bytes } else { row.bytes }, ..row }, ops))
        })
    }

    /// Says again what `node` is, after something was put: what follows from the rest of the walk (a link count, a listing that is
    /// lost). `row` is what [`GenerationWriter::current_version`] gave, changed.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn amend(&mut self, node: NodeId, row: NodeRow) -> Result<(), Error> {
        let row = NodeRow { born: self.at.0, bytes: if row.place.holds_a_file() { row.bytes } else { 0 }, ..row };
        self.tee_version(true, node, &row, Written::Unknown)?;
        self.ledger.linked.insert(node);
        self.ledger.again.insert(node);
        // Nothing may be noted of it so far. What it comes to is worked out in the end; should the run be killed, this note undoes it.
        self.put_row(node, row, ChangeOps::ATTRIBUTES).map(drop)
    }

    /// Writes a version, and returns the one that this generation wrote of the node before, where it did.
    fn put_row(&mut self, node: NodeId, row: NodeRow, ops: ChangeOps) -> Result<Option<NodeRow>, Error> {
        let (at, source) = (self.at, self.source);
        let noted = self.previous.is_some() && !ops.is_empty();
        // What may have attributes is known before any row says so: an answer "none" may be given from memory.
        let xattrs = self.interned.has_xattrs(row.perm);
        if let Mode::Aside(draft) = &self.mode {
            let done = draft.put(node, &row);
            let before = *done.as_ref().unwrap_or(&None);
            self.noted_aside(done.map(drop))?;
            return Ok(before);
        }
        self.count_running(|running, c| running.put(c, node, &row))?;
        let before = self.write("writing attributes", |c| {
            if xattrs {
                tables::put_xattr_node(c, node)?;
            }
            let before = tables::exchange_version(c, node, &row)?;
            if noted {
                tables::add_note(c, source, at, node, ops)?;
            }
            Ok(before)
        })?;
        self.wrote(2)?;
        Ok(before)
    }

    fn put_digest(&mut self, node: NodeId, digest: &[u8; 32]) -> Result<(), Error> {
        if let Mode::Aside(draft) = &self.mode {
            let done = draft.put_digest(node, digest);
            return self.noted_aside(done);
        }
        let (bytes, seen_at) = (self.sequence, self.now);
        self.write("recording a digest", |c| insert_digest(c, node, bytes, digest, seen_at))?;
        self.wrote(1)
    }

    /// Tells whether nobody has read the bytes of `version` of `node`, where digests tell whether bytes are the same: a program
    /// of an older format, which compared bytes with each other, wrote it.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn lacks_digest(&self, node: NodeId, version: &NodeRow) -> Result<bool, Error> {
        let is_wanted = self.needs_digests() && version.place == Place::OwnPath;
        Ok(is_wanted && self.sql("looking for a digest", |c| notes::digest(c, node, version.bytes))?.is_none())
    }

    /// Records the digest of the bytes of `version` of `node`, which another generation wrote.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn add_digest(&mut self, node: NodeId, version: &NodeRow, digest: &[u8; 32]) -> Result<(), Error> {
        let (bytes, seen_at) = (version.bytes, self.now);
        self.write("recording a digest", |c| insert_digest(c, node, bytes, digest, seen_at))?;
        self.wrote(1)
    }

    /// Records that `key` is `node`.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn identify(&mut self, key: FileKey, node: NodeId) -> Result<(), Error> {
        self.tee(&Edit::Identify { node, inode: key.inode, born_ns: key.born_ns })?;
        self.put_identity(key.inode as i64, key.born_ns, node)
    }

    fn put_identity(&mut self, inode: i64, born_ns: i64, node: NodeId) -> Result<(), Error> {
        if let Mode::Aside(draft) = &self.mode {
            let done = draft.identify(inode, born_ns, node);
            return self.noted_aside(done);
        }
        let source = self.source;
        self.write("recording who a node is", |c| tables::put_identity(c, source, (inode, born_ns), node))?;
        self.wrote(1)
    }

    /// Says that `node`, which a walk by paths met under another name before, has the name `name` in `dir` too: so from now on it has to be
    /// known which of its names defines it, the first in the order of the walk.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn define(&mut self, dir: NodeId, name: &EntryName, kind: Kind, node: NodeId) -> Result<(), Error> {
        let source = self.source;
        let is_defined = self.ledger.defined.contains_key(&node)
            || self.sql("asking which name defines a file", |c| tables::is_defined(c, source, node))?;
        if is_defined {
            return Ok(());
        }
        // It never had two names before: what else it has is the first.
        let names = self.current_names(node)?;
        let Some((first_dir, first)) = names.iter().find(|(other, text)| (*other, text) != (dir, name)) else {
            return Ok(());
        };
        self.tee(&Edit::Define { dir, name: name.as_bytes(), kind, node })?;
        let key = tables::name_key(Slot { dir: *first_dir, name: first.as_bytes() }, KindNumber(kind));
        // With a first generation that is undone all identities of its source go.
        if matches!(self.mode, Mode::Append) && self.previous.is_some() {
            self.ledger.defined.insert(node, key);
            return Ok(());
        }
        self.put_identity(key, tables::NAMED, node)
    }

    /// Writes which names define nodes.
    pub(super) fn write_defined(&mut self) -> Result<(), Error> {
        let (source, defined) = (self.source, std::mem::take(&mut self.ledger.defined));
        self.write("recording who a node is", |c| {
            defined.iter().try_for_each(|(node, key)| tables::put_identity(c, source, (*key, tables::NAMED), *node))
        })
    }

    /// Counts one thing that was found amiss, and records it unless there are very many of its kind: what stands for those is recorded when
    /// the generation is published.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn report(&mut self, finding: &Finding) -> Result<(), Error> {
        // Other tools than asof print it, too.
        let finding = &Finding { detail: printable(&finding.detail).into_owned(), ..finding.clone() };
        if self.ledger.count_finding(finding) { self.keep_finding(finding) } else { Ok(()) }
    }

    /// Records what stands for findings that are not kept.
    pub(super) fn keep_more_findings(&mut self) -> Result<(), Error> {
        self.ledger.take_more_findings().iter().try_for_each(|finding| self.keep_finding(finding))
    }

    fn keep_finding(&mut self, finding: &Finding) -> Result<(), Error> {
        self.tee(&Edit::Report { kind: finding.kind, path: finding.path.as_bytes(), detail: &finding.detail })?;
        self.findings += 1;
        let number = self.findings;
        if let Mode::Aside(draft) = &self.mode {
            let done = draft.report(number, finding);
            return self.noted_aside(done);
        }
        let (source, at) = (self.source.0, self.at.0);
        self.write("recording a finding", |c| insert_finding(c, (source, at), number, finding))?;
        self.wrote(1)
    }

    /// Records what this generation holds of its disk.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn hold(&mut self, disk: &DiskRow) -> Result<(), Error> {
        self.tee(&Edit::Hold { disk: 0, row: disk })?;
        self.disk = Some(disk.clone());
        Ok(())
    }

    /// Records a volume of this generation's disk.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn add_volume(&mut self, volume: &VolumeRow) -> Result<(), Error> {
        self.tee(&Edit::Volume { disk: 0, row: volume })?;
        self.volumes.push(volume.clone());
        Ok(())
    }

    /// Leaves `state` for the next generation of this source; what it says is the source's own.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn resume(&mut self, scan: Scan, state: &str) -> Result<(), Error> {
        self.tee(&Edit::Resume { scan, state })?;
        self.resume = Some((scan, state.to_owned()));
        Ok(())
    }

    /// Says that the ctimes of this generation are those of a copy, though the source's files have their own.
    pub fn leave_ctimes(&mut self) {
        self.tee_later(&Edit::LeaveCtimes);
        self.ctimes_count = false;
    }

    fn compares(&self) -> Rule {
        let rule = self.subject.rule;
        Rule { by_inode: rule.by_inode && self.ctimes_count, ..rule }
    }

    /// Tells whether versions of this source need a digest to be compared.
    pub fn needs_digests(&self) -> bool {
        self.subject.rule.key == Key::Digest
    }

    fn noted_aside(&mut self, done: rusqlite::Result<()>) -> Result<(), Error> {
        done.map_err(|e| Error::sqlite("keeping a generation aside in SQLite's temporary folder", self.path, e))?;
        // Parts that versions share may have been written to the catalog.
        if self.is_long() { self.commit_chunk() } else { Ok(()) }
    }

    fn wrote(&mut self, rows: u32) -> Result<(), Error> {
        let before = self.chunk_rows;
        self.chunk_rows += rows;
        // The clock is asked now and then: it costs as much as a row.
        let is_asked = before / CLOCK_ROWS != self.chunk_rows / CLOCK_ROWS;
        if self.chunk_rows >= CHUNK_ROWS || (is_asked && self.is_long()) { self.commit_chunk() } else { Ok(()) }
    }
}
