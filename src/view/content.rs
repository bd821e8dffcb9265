//! Bytes: which copy of which generation has them, and the file opened there.
//!
//! Promises: a file opens only as the one that was indexed. The copies of the view's own generation (or of the one
//! that the catalog names) are tried first, in the order in which they were added; then, nearest in time first, those of other
//! generations that hold the same version (which is logged); else it fails and says what was tried. After
//! a file is open, reading it asks no catalog.

use super::copies::{CopyRows, Holder};
use super::lock::lock;
use super::place::{Place, Spot};
use super::{Content, Error, Ino, Tree, notes};
use crate::catalog::{self, CopyRow, NodeRow, ObjectRow, Reader};
use crate::model::{Kind, NodeId, ObjectId, RelPath, Time, chain};
use crate::store::{self, Identity, OpenFile, Origin, Runs};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

impl Tree {
    /// Returns where the bytes of `ino` come from: memory, or which store. Asks no store.
    ///
    /// # Errors
    /// [`Error::NotAFile`], [`Error::NoBytes`] if the generation has no copy, [`Error::Catalog`].
    pub fn content(&self, ino: Ino) -> Result<Content, Error> {
        match self.spot(ino)? {
            Spot::Note(view, index) => Ok(Content::Bytes(notes::text(self, view, index)?.into_bytes().into())),
            Spot::Node(place) => {
                let row = self.file_row(&place)?;
                if let catalog::Place::Inline(id) = row.place {
                    return Ok(Content::Bytes(self.readers.with(|reader| reader.inline(id))?.into()));
                }
                match self.copies_of(self.holder(&place, &row)?)?.first() {
                    Some(copy) => Ok(Content::Stored { store: copy.store }),
                    None => Err(Error::NoBytes {
                        what: self.describe_place(&place),
                        tried: "its generation has no copy".to_owned(),
                    }),
                }
            }
            _ => Err(Error::NotAFile(self.describe(ino))),
        }
    }

    /// Returns the open file of `ino`, if it was opened lately. Asks nobody.
    pub fn opened(&self, ino: Ino) -> Option<Arc<OpenFile>> {
        let Ok(Spot::Node(place)) = self.spot(ino) else { return None };
        self.store.cached(key(&place))
    }

    /// Opens the file `ino`, or returns the one that is open. May wait for a store.
    ///
    /// # Errors
    /// [`Error::NotAFile`], [`Error::NoBytes`], [`Error::Catalog`].
    pub fn open(&self, ino: Ino) -> Result<Arc<OpenFile>, Error> {
        let Spot::Node(place) = self.spot(ino)? else { return Err(Error::NotAFile(self.describe(ino))) };
        if let Some(file) = self.store.cached(key(&place)) {
            return Ok(file);
        }
        self.open_first(&place, None, Vec::new())
    }

    /// Opens the file `ino` in another copy than that of `bad`, which failed with `why`. May wait for a store.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub fn open_elsewhere(&self, ino: Ino, bad: &OpenFile, why: &store::Error) -> Result<Arc<OpenFile>, Error> {
        let Spot::Node(place) = self.spot(ino)? else { return Err(Error::NotAFile(self.describe(ino))) };
        self.store.forget(key(&place));
        self.open_first(&place, Some(bad.origin()), vec![chain(why)])
    }

    /// Opens the first copy that has the file as it was indexed, other than `bad`.
    fn open_first(
        &self,
        place: &Place,
        bad: Option<Origin<'_>>,
        mut tried: Vec<String>,
    ) -> Result<Arc<OpenFile>, Error> {
        let row = self.file_row(place)?;
        let first = match self.holder(place, &row)? {
            Holder::Object(object) => self.open_in_object(place, object, &row, bad, &mut tried)?,
            Holder::Generation(_, at) => self.open_at(place, at, &row, bad, &mut tried)?,
        };
        if let Some(file) = first {
            return Ok(file);
        }
        for at in self.same_version(place, &row)? {
            // What lies there now at the place that it had is another matter.
            if self.readers.with(|reader| reader.is_unknown(place.node, at))? {
                continue;
            }
            if let Some(file) = self.open_at(place, at, &row, bad, &mut tried)? {
                tracing::warn!(
                    "{} is read from the copy of {at}, which has the same version: {}",
                    self.describe_place(place),
                    tried.join("; ")
                );
                return Ok(file);
            }
        }
        Err(Error::NoBytes { what: self.describe_place(place), tried: tried.join("; ") })
    }

    /// Tries the copies of `object` in turn.
    fn open_in_object(
        &self,
        place: &Place,
        object: ObjectId,
        row: &NodeRow,
        bad: Option<Origin<'_>>,
        tried: &mut Vec<String>,
    ) -> Result<Option<Arc<OpenFile>>, Error> {
        let copies = self.copies_of(Holder::Object(object))?;
        let pinned = self.readers.with(|reader| reader.pinned(object, place.node))?;
        let known = self.readers.with(|reader| reader.object(object))?;
        let paths = match (pinned, known) {
            (Some(path), _) => vec![path],
            (None, Some(ObjectRow { at, has_generation: true, .. })) => self.paths(place, at)?,
            (None, _) => Vec::new(),
        };
        if copies.is_empty() || paths.is_empty() {
            tried.push(format!("nothing is known of where object {object} has it"));
        }
        Ok(self.open_there(place, &paths, &copies, row, bad, tried))
    }

    /// Tries the copies of the generation at `at` in turn.
    fn open_at(
        &self,
        place: &Place,
        at: Time,
        row: &NodeRow,
        bad: Option<Origin<'_>>,
        tried: &mut Vec<String>,
    ) -> Result<Option<Arc<OpenFile>>, Error> {
        if row.place.is_on_a_disk() {
            return self.open_on_disk(place, at, row, bad, tried);
        }
        let copies = self.copies_of(Holder::Generation(place.source, at))?;
        if copies.is_empty() {
            tried.push(format!("the generation of {at} has no copy"));
        }
        Ok(self.open_there(place, &self.paths(place, at)?, &copies, row, bad, tried))
    }

    /// Tries each of `paths` in each of `copies`.
    fn open_there(
        &self,
        place: &Place,
        paths: &[RelPath],
        copies: &[CopyRow],
        row: &NodeRow,
        bad: Option<Origin<'_>>,
        tried: &mut Vec<String>,
    ) -> Option<Arc<OpenFile>> {
        let identity = Identity { size_bytes: row.size_bytes, mtime: row.mtime };
        for path in paths {
            for copy in copies {
                let there = store::Place { store: copy.store, root: copy.path.clone(), path: path.clone() };
                if bad == Some(Origin::Copy(&there)) {
                    continue;
                }
                match self.store.open(key(place), &there, &identity) {
                    Ok(file) => return Some(file),
                    Err(e) => tried.push(chain(&e)),
                }
            }
        }
        None
    }

    /// Tries the disk of the generation at `at`. Asks no store yet.
    fn open_on_disk(
        &self,
        place: &Place,
        at: Time,
        row: &NodeRow,
        bad: Option<Origin<'_>>,
        tried: &mut Vec<String>,
    ) -> Result<Option<Arc<OpenFile>>, Error> {
        let disk_key = (at.0, place.source.0);
        if bad == Some(Origin::Disk(disk_key)) {
            return Ok(None);
        }
        let Some(copy) = self.copies_of(Holder::Generation(place.source, at))?.first().cloned() else {
            tried.push(format!("the generation of {at} has no copy"));
            return Ok(None);
        };
        let runs = match self.readers.with(|reader| reader.file_map(row))? {
            Some(map) => Runs::Extents(map.extents),
            None => Runs::WholeDisk,
        };
        let disk = match self.store.cached_disk(disk_key) {
            Some(disk) => disk,
            None => {
                let layers = self.readers.with(|reader| reader.disk_layers(place.source, at))?;
                if layers.is_empty() {
                    tried.push(format!("a generation that the disk of {at} rests on is not there"));
                    return Ok(None);
                }
                match self.store.open_disk(disk_key, &layers) {
                    Ok(disk) => disk,
                    Err(e) => {
                        tried.push(chain(&e));
                        return Ok(None);
                    }
                }
            }
        };
        Ok(Some(self.store.open_on_disk(key(place), copy.store, disk, (runs, row.size_bytes))))
    }

    /// Returns every path of the node at `at`: one, and one more for each further hard link.
    fn paths(&self, place: &Place, at: Time) -> Result<Vec<RelPath>, Error> {
        self.readers.with(|reader| {
            let mut paths = Vec::new();
            for (parent, name) in reader.seen_names(place.node, at)? {
                if let Some(path) = self.directory_path(reader, place, parent, at)? {
                    paths.push(path.join(&name));
                }
            }
            Ok(paths)
        })
    }

    /// Returns the path of the directory `dir` at `at`; the files of a directory are opened in turn, so it is kept.
    fn directory_path(&self, reader: &Reader, place: &Place, dir: NodeId, at: Time) -> Result<Option<RelPath>, Error> {
        let key = (place.source, at, dir);
        if let Some(path) = lock(&self.copies.paths).get(&key) {
            return Ok(Some(path.clone()));
        }
        let path = reader.path_of(place.root, dir, at)?;
        if let Some(path) = &path {
            lock(&self.copies.paths).put(key, path.clone());
        }
        Ok(path)
    }

    /// Returns the other generations in which the version holds, nearest first.
    fn same_version(&self, place: &Place, row: &NodeRow) -> Result<Vec<Time>, Error> {
        let until = self.readers.with(|reader| reader.version_until(place.node, row.born))?;
        let snapshot = self.snapshot();
        let instants = snapshot.instants(Some(place.source));
        let mut others: Vec<Time> = instants
            .iter()
            .copied()
            .filter(|t| t.0 >= row.born && *t < until && (row.place.is_in_an_object() || *t != place.at))
            .collect();
        others.sort_by_key(|t| (t.0 - place.at.0).abs());
        Ok(others)
    }

    fn copies_of(&self, holder: Holder) -> Result<CopyRows, Error> {
        if let Some(copies) = lock(&self.copies.rows).get(&holder) {
            return Ok(copies.clone());
        }
        let copies = Arc::new(self.readers.with(|reader| match holder {
            Holder::Generation(source, at) => reader.copies(source, at),
            Holder::Object(object) => reader.copies_of(object),
        })?);
        lock(&self.copies.rows).insert(holder, copies.clone());
        Ok(copies)
    }

    fn file_row(&self, place: &Place) -> Result<NodeRow, Error> {
        let row = self.readers.with(|reader| reader.known_node(place.node, place.at))?;
        match row.place {
            catalog::Place::OwnPath | catalog::Place::InObject(_) | catalog::Place::WholeDisk => Ok(row),
            // Directories of a disk have runs too.
            catalog::Place::OnDisk(_) | catalog::Place::Run(_) | catalog::Place::Inline(_) if self.is_file(&row)? => {
                Ok(row)
            }
            catalog::Place::Lost => Err(Error::Unread(self.describe_place(place), "content")),
            _ => Err(Error::NotAFile(self.describe_place(place))),
        }
    }

    fn is_file(&self, row: &NodeRow) -> Result<bool, Error> {
        let perm = self.readers.with(|reader| reader.perm(row.perm))?;
        Ok(Kind::from_mode(perm.mode) == Some(Kind::File))
    }

    /// Returns up to `max_files` regular files of up to `max_bytes_each` bytes that follow `ino` in its directory,
    /// in name order, each with its size. Two queries.
    ///
    /// # Errors
    /// [`Error::NoSuchView`], [`Error::Catalog`].
    pub fn neighbours(&self, ino: Ino, max_files: usize, max_bytes_each: u64) -> Result<Vec<(Ino, u64)>, Error> {
        let Spot::Node(place) = self.spot(ino)? else { return Ok(Vec::new()) };
        self.readers.with(|reader| {
            let Some((parent, name)) = reader.names(place.node, place.at)?.into_iter().next() else {
                return Ok(Vec::new());
            };
            let mut files = Vec::new();
            reader.list(parent, place.at, Some(name.as_bytes()), max_files, |entry| {
                if entry.kind == Kind::File && (1..=max_bytes_each).contains(&entry.row.size_bytes) {
                    files.push((Ino::of_node(place.view, entry.node), entry.row.size_bytes));
                }
                std::ops::ControlFlow::Continue(())
            })?;
            Ok(files)
        })
    }

    /// Returns the target of the symbolic link `ino`.
    ///
    /// # Errors
    /// [`Error::NotASymlink`], [`Error::Unread`], [`Error::Catalog`].
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>, Error> {
        let Spot::Node(place) = self.spot(ino)? else { return Err(Error::NotASymlink(self.describe(ino))) };
        let row = self.readers.with(|reader| reader.known_node(place.node, place.at))?;
        match row.place {
            catalog::Place::Inline(id) => Ok(self.readers.with(|reader| reader.inline(id))?),
            catalog::Place::Lost => Err(Error::Unread(self.describe_place(&place), "target")),
            _ => Err(Error::NotASymlink(self.describe_place(&place))),
        }
    }

    /// Returns what has the bytes of a version for sure; of what the generation did not see, the last one that did.
    fn holder(&self, place: &Place, row: &NodeRow) -> Result<Holder, Error> {
        Ok(match row.place {
            catalog::Place::InObject(object) => Holder::Object(object),
            _ if place.has_losses => {
                let seen_at = self.readers.with(|reader| reader.last_seen(place.source, place.node, place.at))?;
                Holder::Generation(place.source, seen_at)
            }
            _ => Holder::Generation(place.source, place.at),
        })
    }

    /// Returns the path of the file or directory in the first copy of its generation.
    pub(super) fn restore_source(&self, place: &Place) -> Result<Option<Vec<u8>>, Error> {
        let row = self.readers.with(|reader| reader.known_node(place.node, place.at))?;
        if row.place.is_on_a_disk() {
            // It is no file by itself.
            return Ok(None);
        }
        let holder = self.holder(place, &row)?;
        let copies = self.copies_of(holder)?;
        let path = self.readers.with(|reader| match holder {
            Holder::Generation(_, at) => reader.path_of(place.root, place.node, at),
            Holder::Object(object) => reader.path_in(object, place.root, place.node),
        })?;
        Ok(copies.first().zip(path).map(|(copy, path)| {
            let there = store::Place { store: copy.store, root: copy.path.clone(), path };
            there.full_path().as_os_str().as_bytes().to_vec()
        }))
    }
}

/// The name of an open file: its generation and node.
fn key(place: &Place) -> (i64, i64) {
    (place.generation.0, place.node.0)
}
