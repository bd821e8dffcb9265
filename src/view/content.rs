//! Bytes: which copy of which generation has them, and the file opened there.
//!
//! Promises: a file opens only as the one that was indexed, in the directory that was indexed as the copy. The copies of the view's own generation (or of the one
//! that the catalog names) are tried first, in the order in which they were added; then, nearest in time first, those of other
//! generations that hold the same version (which is logged, and forgotten when something is written to the catalog, where bytes were not
//! compared); else it fails and says what was tried. After
//! a file is open, reading it asks no catalog.

use super::copies::{CopyRows, Holder};
use super::lock::lock;
use super::place::{Place, Spot};
use super::tried::{NAMES_TRIED_MAX, Paths, Tried};
use super::{Content, Error, Ino, Tree, notes};
use crate::catalog::{self, CopyRow, NodeRow, ObjectRow, Reader};
use crate::model::{CopyState, Key, Kind, NodeId, ObjectId, RelPath, Time, chain};
use crate::store::{self, Identity, OpenFile, Origin, Owner, Runs};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
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
                    Some(copy) => Ok(Content::Stored { store: copy.store, size_bytes: row.size_bytes }),
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
        self.open_first(&place, None, &[])
    }

    /// Opens the file `ino` in another copy than that of `bad`, which failed with `why`. May wait for a store.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub fn open_elsewhere(&self, ino: Ino, bad: &OpenFile, why: &store::Error) -> Result<Arc<OpenFile>, Error> {
        let Spot::Node(place) = self.spot(ino)? else { return Err(Error::NotAFile(self.describe(ino))) };
        if why.lacks_descriptors() {
            self.store.give_back();
            return self.open_first(&place, None, &[]);
        }
        self.store.forget(key(&place));
        self.open_first(&place, Some(bad.origin()), &[chain(why)])
    }

    /// Asks the copy of `ino` that is open, or else another one that has the same version. May wait for stores.
    ///
    /// # Errors
    /// As [`Tree::open`]; what the last copy said.
    pub fn ask<T>(&self, ino: Ino, mut ask: impl FnMut(&OpenFile) -> Result<T, store::Error>) -> Result<T, Error> {
        let file = self.open(ino)?;
        match ask(&file) {
            Ok(answer) => Ok(answer),
            Err(bad) => Ok(ask(&*self.open_elsewhere(ino, &file, &bad)?)?),
        }
    }

    /// Opens the first copy that has the file as it was indexed, other than `bad`.
    fn open_first(&self, place: &Place, bad: Option<Origin<'_>>, failed: &[String]) -> Result<Arc<OpenFile>, Error> {
        let mut tried = Tried::of(failed);
        if let Some(file) = self.open_anywhere(place, bad, &mut tried)? {
            return Ok(file);
        }
        // An index run may have found a moment ago where they are now.
        if tried.has_moved && self.has_news()? {
            self.readers.turn()?;
            self.copies.clear();
            tried = Tried::of(failed);
            if let Some(file) = self.open_anywhere(place, bad, &mut tried)? {
                return Ok(file);
            }
        }
        let (what, copies) = (self.describe_place(place), tried.text());
        if tried.is_all_moved() {
            return Err(Error::Moved { what, tried: copies, name: self.name_of(place) });
        }
        Err(Error::NoBytes { what, tried: copies })
    }

    fn open_anywhere(
        &self,
        place: &Place,
        bad: Option<Origin<'_>>,
        tried: &mut Tried,
    ) -> Result<Option<Arc<OpenFile>>, Error> {
        let row = self.file_row(place)?;
        let first = match self.holder(place, &row)? {
            Holder::Object(object) => self.open_in_object(place, object, &row, bad, tried)?,
            Holder::Generation(_, at) => self.open_at(place, at, &row, bad, tried)?,
        };
        if first.is_some() {
            return Ok(first);
        }
        for at in self.same_version(place, &row)? {
            // A version is the last one also where the file has no name any more: what is there then is something else.
            if !self.readers.with(|reader| reader.lives(place.node, at))? {
                continue;
            }
            // What lies there now at the place that it had is another matter.
            if self.readers.with(|reader| reader.is_unknown(place.node, at))? {
                continue;
            }
            if let Some(file) = self.open_at(place, at, &row, bad, tried)? {
                // By size and mtime the bytes are taken for the same; only another rule has compared them, or was told.
                let is_by_stamp = self.snapshot().source(place.source).is_some_and(|s| s.rule.key == Key::Stamp);
                if is_by_stamp {
                    lock(&self.stand_ins).insert(Ino::of_node(place.view, place.node), key(place));
                }
                tracing::warn!(
                    "{} is read from the copy of {at}, which has {}: {}",
                    self.describe_place(place),
                    if is_by_stamp { "the same size and mtime, bytes not compared" } else { "the same version" },
                    tried.text()
                );
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Tries the copies of `object` in turn.
    fn open_in_object(
        &self,
        place: &Place,
        object: ObjectId,
        row: &NodeRow,
        bad: Option<Origin<'_>>,
        tried: &mut Tried,
    ) -> Result<Option<Arc<OpenFile>>, Error> {
        let copies = self.copies_of(Holder::Object(object))?;
        let pinned = self.readers.with(|reader| reader.pinned(object, place.node))?;
        let known = self.readers.with(|reader| reader.object(object))?;
        let paths = match (pinned, known) {
            (Some(path), _) => Paths::One(path),
            (None, Some(ObjectRow { at, has_generation: true, .. })) => self.paths(place, at)?,
            (None, _) => Paths::default(),
        };
        if copies.is_empty() || paths.is_empty() {
            tried.add(format!("nothing is known of where object {object} has it"));
        }
        self.open_there(place, paths, &copies, row, bad, tried)
    }

    /// Tries the copies of the generation at `at` in turn.
    fn open_at(
        &self,
        place: &Place,
        at: Time,
        row: &NodeRow,
        bad: Option<Origin<'_>>,
        tried: &mut Tried,
    ) -> Result<Option<Arc<OpenFile>>, Error> {
        if row.place.is_on_a_disk() {
            return self.open_on_disk(place, at, row, bad, tried);
        }
        let copies = self.copies_of(Holder::Generation(place.source, at))?;
        if copies.is_empty() {
            tried.add(format!("the generation of {at} has no copy"));
        }
        // Most files are where they were looked up a moment ago; what is said of one that is not comes from its names.
        if at == place.at
            && let Some(paths) = self.known_path(place)
            && let Some(file) = self.open_there(place, paths, &copies, row, bad, &mut Tried::default())?
        {
            return Ok(Some(file));
        }
        self.open_there(place, self.paths(place, at)?, &copies, row, bad, tried)
    }

    /// Tries each of `paths` in each of `copies`. Each path is made when its turn comes: most files are served by the first.
    fn open_there(
        &self,
        place: &Place,
        paths: Paths,
        copies: &[CopyRow],
        row: &NodeRow,
        bad: Option<Origin<'_>>,
        tried: &mut Tried,
    ) -> Result<Option<Arc<OpenFile>>, Error> {
        let identity = self.identity(row)?;
        let mut copies = copies.iter().collect();
        let (at, names, has_more) = match paths {
            Paths::One(path) => return Ok(self.open_path(place, &path, &mut copies, &identity, bad, tried)),
            Paths::Of { at, names, has_more } => (at, names, has_more),
        };
        for (parent, name) in names {
            let age = self.copies.age();
            let dir = self.readers.with(|reader| self.directory_path(reader, age, place, (parent, at)))?;
            let Some(dir) = dir else { continue };
            let opened = self.open_path(place, &dir.join(&name), &mut copies, &identity, bad, tried);
            if opened.is_some() {
                return Ok(opened);
            }
        }
        if has_more {
            tried.keep(format!("it has more names there than the {NAMES_TRIED_MAX} that were tried"));
        }
        Ok(None)
    }

    /// Tries `path` in each of `copies`, of which those are taken out that are not where they were.
    fn open_path(
        &self,
        place: &Place,
        path: &RelPath,
        copies: &mut Vec<&CopyRow>,
        identity: &Identity,
        bad: Option<Origin<'_>>,
        tried: &mut Tried,
    ) -> Option<Arc<OpenFile>> {
        let mut opened = None;
        copies.retain(|copy| {
            let there = store::Place {
                store: copy.store,
                folder: copy.store_path.clone(),
                root: copy.path.clone(),
                seen: copy.root,
                path: path.clone(),
            };
            if opened.is_some() || bad == Some(Origin::Copy(&there)) {
                return true;
            }
            match self.store.open(key(place), &there, identity) {
                Ok(file) => {
                    match file.moved_to() {
                        Some(now) => self.report_renamed(place, copy, now),
                        None => self.copies.found(copy.id),
                    }
                    opened = Some(file);
                }
                Err(e) => {
                    tried.add_error(&e);
                    if e.is_moved_copy() {
                        self.report_moved(place, copy, &e);
                        return false;
                    }
                }
            }
            true
        });
        opened
    }

    /// Returns what a file must look like. A copy that is read where another tool made it was indexed with owner and mode; one that
    /// is written here may lie where these cannot be kept.
    fn identity(&self, row: &NodeRow) -> Result<Identity, Error> {
        let owner = match row.place {
            catalog::Place::OwnPath => {
                let perm = self.readers.with(|reader| reader.perm(row.perm))?;
                Some(Owner { mode: perm.mode, uid: perm.uid, gid: perm.gid })
            }
            _ => None,
        };
        Ok(Identity { size_bytes: row.size_bytes, mtime: row.mtime, owner })
    }

    /// Says once that a copy is not where it was, and not for each file that is asked for.
    fn report_moved(&self, place: &Place, copy: &CopyRow, error: &store::Error) {
        let text = chain(error);
        if self.copies.is_new_of(copy.id, &text) {
            let name = self.name_of(place);
            tracing::error!(
                "{text}; nothing of it is served until asof index {name} has found where its copies are now"
            );
        }
    }

    /// Says once that a copy is read under another name than it was indexed by.
    fn report_renamed(&self, place: &Place, copy: &CopyRow, now: &Path) {
        let text =
            format!("the copy that was indexed as {:?} has the name {now:?} by now, and is read there", copy.path);
        if self.copies.is_new_of(copy.id, &text) {
            tracing::warn!("{text}; asof index {} writes that down", self.name_of(place));
        }
    }

    /// Tells whether something was written to the catalog since the last refresh.
    fn has_news(&self) -> Result<bool, Error> {
        let watcher = lock(&self.watcher);
        Ok(watcher.0.data_version()? != watcher.1)
    }

    /// Tries the disk of the generation at `at`. Asks no store yet.
    fn open_on_disk(
        &self,
        place: &Place,
        at: Time,
        row: &NodeRow,
        bad: Option<Origin<'_>>,
        tried: &mut Tried,
    ) -> Result<Option<Arc<OpenFile>>, Error> {
        let disk_key = (at.0, place.source.0);
        let is_bad = bad == Some(Origin::Disk(disk_key));
        let Some(copy) = self.copies_of(Holder::Generation(place.source, at))?.first().cloned() else {
            tried.add(format!("the generation of {at} has no copy"));
            return Ok(None);
        };
        let runs = match (row.place.begin_of_disk(), self.readers.with(|reader| reader.file_map(row))?) {
            (Some(begin), _) => Runs::WholeDisk { begin },
            (None, Some(map)) => Runs::Extents(map.extents),
            (None, None) => Runs::WholeDisk { begin: 0 },
        };
        let disk = match self.store.cached_disk(disk_key).filter(|_| !is_bad) {
            Some(disk) => disk,
            None => {
                let layers = self.readers.with(|reader| reader.disk_layers(place.source, at))?;
                if layers.is_empty() {
                    tried.add(format!(
                        "a generation that the disk of {at} is based on is missing, or was indexed again after it"
                    ));
                    return Ok(None);
                }
                // Its images may have moved, or have been indexed again.
                let opened = match is_bad {
                    true => self.store.open_other_disk(disk_key, &layers),
                    false => self.store.open_disk(disk_key, &layers).map(Some),
                };
                match opened {
                    Ok(Some(disk)) => disk,
                    Ok(None) => return Ok(None),
                    Err(e) => {
                        tried.add(chain(&e));
                        return Ok(None);
                    }
                }
            }
        };
        Ok(Some(self.store.open_on_disk(key(place), copy.store, disk, (runs, row.size_bytes))))
    }

    /// Returns where the node is at `at`: one path, and one more for each further hard link, up to [`NAMES_TRIED_MAX`].
    fn paths(&self, place: &Place, at: Time) -> Result<Paths, Error> {
        let mut names = self.readers.with(|reader| reader.seen_names(place.node, at, NAMES_TRIED_MAX + 1))?;
        let has_more = names.len() > NAMES_TRIED_MAX;
        names.truncate(NAMES_TRIED_MAX);
        Ok(Paths::Of { at, names, has_more })
    }

    /// Returns the name by which the node was looked up or listed a moment ago. Not where some names of the generation were not seen.
    fn known_path(&self, place: &Place) -> Option<Paths> {
        let known = self.copies.file((place.generation, place.node)).filter(|_| !place.has_losses)?;
        Some(Paths::Of { at: place.at, names: vec![(known.parent, known.name)], has_more: false })
    }

    /// Returns the path of the directory `dir` at `at`; the files of a directory are opened in turn, so it is kept.
    ///
    /// `age` is that of [`super::copies::Copies`] before `reader` was taken.
    fn directory_path(
        &self,
        reader: &Reader,
        age: u64,
        place: &Place,
        (dir, at): (NodeId, Time),
    ) -> Result<Option<RelPath>, Error> {
        let key = (place.source, at, dir);
        if let Some(path) = self.copies.path(key) {
            return Ok(Some(path));
        }
        let path = reader.path_of(place.root, dir, at)?;
        if let Some(path) = &path {
            self.copies.keep_path(age, key, path);
        }
        Ok(path)
    }

    /// Returns the other generations in which the version holds if the file lives there, nearest first.
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
        if let Some(copies) = self.copies.rows(holder) {
            return Ok(copies);
        }
        let age = self.copies.age();
        let copies = Arc::new(self.readers.with(|reader| match holder {
            Holder::Generation(source, at) => reader.copies(source, at),
            Holder::Object(object) => reader.copies_of(object),
        })?);
        self.copies.keep_rows(age, holder, &copies);
        Ok(copies)
    }

    fn file_row(&self, place: &Place) -> Result<NodeRow, Error> {
        if let Some(known) = self.copies.file((place.generation, place.node)) {
            return Ok(known.row);
        }
        let row = self.row_of(place)?;
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

    /// Returns the version that a place shows. A reader may see more than the snapshot that the place is of: where another generation
    /// has its second by now, its bytes would come under the attributes of the one before.
    pub(super) fn row_of(&self, place: &Place) -> Result<NodeRow, Error> {
        let of_it = self.readers.with(|reader| reader.node_of(place.generation, place.node, place.at))?;
        if let Some(row) = of_it {
            return Ok(row);
        }
        if !self.readers.with(|reader| reader.is_published(place.generation))? {
            return Err(Error::NoSuchNode { ino: Ino::of_node(place.view, place.node).0, at: place.at });
        }
        // What is published and has no version is damage.
        Ok(self.readers.with(|reader| reader.known_node(place.node, place.at))?)
    }

    fn is_file(&self, row: &NodeRow) -> Result<bool, Error> {
        let perm = self.readers.with(|reader| reader.perm(row.perm))?;
        Ok(Kind::from_mode(perm.mode) == Some(Kind::File))
    }

    /// Returns the target of the symbolic link `ino`.
    ///
    /// # Errors
    /// [`Error::NotASymlink`], [`Error::Unread`], [`Error::Catalog`].
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>, Error> {
        let Spot::Node(place) = self.spot(ino)? else { return Err(Error::NotASymlink(self.describe(ino))) };
        let row = self.row_of(&place)?;
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

    /// Returns the path of the file or directory in a copy that was there when it was last looked at: in one of its own generation if there
    /// is one, else in the nearest that holds the same version. Asks no store.
    pub(super) fn restore_source(&self, place: &Place) -> Result<Option<Vec<u8>>, Error> {
        let row = self.row_of(place)?;
        if row.place.is_on_a_disk() {
            // It is no file by itself.
            return Ok(None);
        }
        let others = self.same_version(place, &row)?;
        let others = others.into_iter().map(|at| Holder::Generation(place.source, at));
        for holder in std::iter::once(self.holder(place, &row)?).chain(others) {
            let copies = self.copies_of(holder)?;
            let Some(copy) = copies.iter().find(|copy| copy.state == CopyState::Present) else { continue };
            let path = self.readers.with(|reader| match holder {
                Holder::Generation(_, at) => reader.path_of(place.root, place.node, at),
                Holder::Object(object) => reader.path_in(object, place.root, place.node),
            })?;
            if let Some(path) = path {
                return Ok(Some(copy.path.join(OsStr::from_bytes(path.as_bytes())).into_os_string().into_vec()));
            }
        }
        Ok(None)
    }
}

/// The name of an open file: its generation and node.
fn key(place: &Place) -> (i64, i64) {
    (place.generation.0, place.node.0)
}
