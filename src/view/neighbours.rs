//! The small files of a directory, for whoever reads them in turn.
//!
//! Promises: names are in the order of a listing; what is told of a file here is known when it is opened a moment later. Asks the catalog,
//! never a store.

use super::copies::KnownFile;
use super::place::{Place, Spot};
use super::{Error, Ino, Neighbours, Tree};
use crate::catalog::{self, DirEntry, Reader};
use crate::model::{EntryName, Kind, NodeId};
use std::ops::{ControlFlow, RangeInclusive};

/// Which files of a directory are asked for.
struct Wanted<'n> {
    dir: NodeId,
    after: Option<&'n EntryName>,
    max_names: usize,
    bytes_each: RangeInclusive<u64>,
}

impl Wanted<'_> {
    fn takes(&self, entry: &DirEntry) -> bool {
        entry.kind == Kind::File && self.bytes_each.contains(&entry.row.size_bytes)
    }
}

impl Tree {
    /// Returns the regular files of up to `max_bytes_each` bytes among the `max_names` names that follow `ino` in its directory, and
    /// whether it is the first such file there itself. Three queries.
    ///
    /// # Errors
    /// [`Error::NoSuchView`], [`Error::Catalog`].
    pub fn neighbours(&self, ino: Ino, max_names: usize, max_bytes_each: u64) -> Result<Neighbours, Error> {
        let Spot::Node(place) = self.spot(ino)? else { return Ok(Neighbours::default()) };
        let age = self.copies.age();
        self.readers.with(|reader| {
            let Some((dir, name)) = reader.first_names(place.node, place.at, 1)?.into_iter().next() else {
                return Ok(Neighbours::default());
            };
            let wanted = Wanted { dir, after: Some(&name), max_names, bytes_each: 1..=max_bytes_each };
            let mut is_first = false;
            reader.list(dir, place.at, None, max_names, |entry| {
                if !wanted.takes(&entry) {
                    return ControlFlow::Continue(());
                }
                is_first = entry.node == place.node;
                ControlFlow::Break(())
            })?;
            Ok(Neighbours { is_first, ..self.small_files(reader, age, &place, &wanted)? })
        })
    }

    /// Returns those among the first `max_names` names of the directory `dir`. One query.
    ///
    /// # Errors
    /// [`Error::NoSuchView`], [`Error::Catalog`].
    pub fn first_files(&self, dir: Ino, max_names: usize, max_bytes_each: u64) -> Result<Neighbours, Error> {
        let Spot::Node(place) = self.spot(dir)? else { return Ok(Neighbours::default()) };
        let age = self.copies.age();
        let wanted = Wanted { dir: place.node, after: None, max_names, bytes_each: 1..=max_bytes_each };
        Ok(self.readers.with(|reader| self.small_files(reader, age, &place, &wanted))?)
    }

    fn small_files(
        &self,
        reader: &Reader,
        age: u64,
        place: &Place,
        wanted: &Wanted<'_>,
    ) -> Result<Neighbours, catalog::Error> {
        let mut found = Neighbours::default();
        let after = wanted.after.map(EntryName::as_bytes);
        reader.list(wanted.dir, place.at, after, wanted.max_names, |entry| {
            found.names += 1;
            if wanted.takes(&entry) {
                found.files.push(Ino::of_node(place.view, entry.node));
                self.keep_known(age, place, wanted.dir, entry);
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Keeps what is known of a file whose bytes are in copies, in the view of `place`.
    pub(super) fn keep_known(&self, age: u64, place: &Place, parent: NodeId, entry: DirEntry) {
        if entry.kind == Kind::File && entry.row.place.is_in_a_copy() {
            let known = KnownFile { row: entry.row, parent, name: entry.name };
            self.copies.keep_file(age, (place.generation, entry.node), known);
        }
    }
}
