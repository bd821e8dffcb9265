//! Listings and look-ups inside a generation.
//!
//! Promises: names come in bytewise order; an offset is the number of names before it, so it means the same
//! after a restart. A directory is read from the catalog in windows of [`WINDOW`] names, one query each,
//! which are kept for the next call of the same listing; memory is bounded whatever the directory's size.

use super::place::{Place, Spot};
use super::windows::{WINDOW, Window, read_window};
use super::{Error, Ino, Looked, Stat, Tree, Ttl};
use crate::catalog::{self, DirEntry};
use crate::model::{EntryName, Kind, Visibility};
use std::ops::ControlFlow;
use std::sync::Arc;

/// `.` and `..`.
pub(super) const DOTS: u64 = 2;

/// Takes one entry of a listing: its name, its attributes, the offset to go on after it, and how long the
/// attributes hold.
pub type EachEntry<'e> = dyn FnMut(&[u8], &Stat, u64, Ttl) -> ControlFlow<()> + 'e;

/// Returns how many names of a directory were told before `offset`, `.` and `..` apart.
pub fn names_before(offset: u64) -> usize {
    usize::try_from(offset.saturating_sub(DOTS)).unwrap_or(usize::MAX)
}

impl Tree {
    /// Calls `each` with every name in `dir` after `offset` (0: from the start), `.` and `..` included. Of a directory whose names are
    /// not all known these are the ones that were seen, and it ends with an error.
    ///
    /// Inside a generation one query for 4,096 names. Stops early, without error, when `each` breaks.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], [`Error::Unlisted`], [`Error::NoSuchView`], [`Error::Catalog`].
    pub fn list(&self, dir: Ino, offset: u64, each: &mut EachEntry<'_>) -> Result<(), Error> {
        let spot = self.spot(dir)?;
        if let Spot::Note(..) = spot {
            return Err(Error::NotADirectory(self.describe(dir)));
        }
        // A listing that goes on began here, and needs neither again.
        if offset < DOTS {
            let (own, ttl) = self.stat(dir)?;
            if own.kind != Kind::Directory {
                return Err(Error::NotADirectory(self.describe(dir)));
            }
            for (number, name) in [(1, b".".as_slice()), (DOTS, b"..")] {
                if offset < number && each(name, &own, number, ttl).is_break() {
                    return Ok(());
                }
            }
        }
        match spot {
            Spot::Node(place) => self.list_node(&place, offset.saturating_sub(DOTS), each),
            Spot::History(ino, dir) => self.list_history(&self.snapshot(), (ino, &dir), names_before(offset), each),
            Spot::Between(_, dir) => self.list_between(&self.snapshot(), &dir, names_before(offset), each),
            top => {
                let mut number = offset.max(DOTS);
                let skip = usize::try_from(number - DOTS).unwrap_or(usize::MAX);
                self.list_top(&top, skip, |name, ino| {
                    number += 1;
                    // A source whose root cannot be shown must not be left out: the listing fails.
                    let (stat, ttl) = self.stat(ino)?;
                    let ttl = if matches!(top, Spot::View(..)) { ttl } else { Ttl::Short };
                    Ok(each(&name, &stat, number, ttl).is_continue())
                })
            }
        }
    }

    fn list_node(&self, place: &Place, skip: u64, each: &mut EachEntry<'_>) -> Result<(), Error> {
        let is_in_doubt = self.is_in_doubt(place)?;
        let mut number = usize::try_from(skip).unwrap_or(usize::MAX);
        loop {
            let window = self.window(place, number / WINDOW)?;
            if number == 0 {
                let directories = window.iter().filter(|entry| entry.stat.kind == Kind::Directory);
                self.list_ahead.listed(place, directories.map(|entry| entry.node));
            }
            for entry in window.iter().skip(number % WINDOW) {
                number += 1;
                if is_in_doubt
                    && self.readers.with(|reader| reader.is_kept(place.node, entry.name.as_bytes(), place.at))?
                {
                    continue;
                }
                let stat = Stat { ino: Ino::of_node(place.view, entry.node), ..entry.stat };
                if each(entry.name.as_bytes(), &stat, number as u64 + DOTS, Ttl::Forever).is_break() {
                    return Ok(());
                }
            }
            if window.len() < WINDOW || !number.is_multiple_of(WINDOW) {
                return if is_in_doubt { Err(Error::Unlisted(self.describe_place(place))) } else { Ok(()) };
            }
        }
    }

    /// Returns window `index` of a directory, an empty one behind its end; those before it are read first where they are not known.
    pub(super) fn window(&self, place: &Place, index: usize) -> Result<Window, Error> {
        let key = |index| (place.generation, place.node, index);
        if let Some(window) = self.listings.get(key(index)) {
            return Ok(window);
        }
        // The offset comes from whoever asks (`lseek(2)`), and may be any.
        let mut known = self.listings.last_before(key(index));
        loop {
            let (next, after) = match &known {
                Some((i, window)) => match window.last() {
                    Some(last) if window.len() == WINDOW => (i + 1, Some(last.name.clone())),
                    // It ended there.
                    _ => return Ok(Arc::default()),
                },
                None => (0, None),
            };
            let window = self.readers.with(|reader| read_window(reader, place, after.as_ref()))?;
            self.listings.put(key(next), window.clone());
            if next == index {
                return Ok(window);
            }
            known = Some((next, window));
        }
    }

    /// Tells whether not all names in a directory are known: it could not be listed when it was indexed, or it lies below one that could
    /// not.
    pub(super) fn is_in_doubt(&self, place: &Place) -> Result<bool, Error> {
        if !place.has_losses {
            return Ok(false);
        }
        let is_lost = self.row_of(place)?.place == catalog::Place::Lost;
        Ok(is_lost || self.readers.with(|reader| reader.is_unknown(place.node, place.at))?)
    }

    pub(super) fn lookup_node(&self, place: &Place, name: &[u8]) -> Result<Looked, Error> {
        if name == b"." {
            return Ok(Looked::Found(self.node_stat(place)?, Ttl::Forever));
        }
        let age = self.copies.age();
        let found = self.readers.with(|reader| -> Result<_, Error> {
            let Some((node, kind)) = reader.lookup(place.node, name, place.at)? else { return Ok(None) };
            let row = reader.named_node(name, node, place.at)?;
            let perm = reader.perm(row.perm)?;
            let stat = Stat::of_row(Ino::of_node(place.view, node), kind, &row, &perm);
            let entry = EntryName::new(name).ok().map(|name| DirEntry { name, node, kind, row });
            Ok(Some((stat, entry)))
        })?;
        match found {
            Some((stat, entry)) => {
                entry.into_iter().for_each(|entry| self.keep_known(age, place, place.node, entry));
                Ok(Looked::Found(stat, Ttl::Forever))
            }
            // It may be there, and was not seen.
            None if self.is_in_doubt(place)? => Err(Error::Unlisted(self.describe_place(place))),
            None => Ok(Looked::Missing(Ttl::Forever)),
        }
    }

    pub(super) fn node_stat(&self, place: &Place) -> Result<Stat, Error> {
        self.readers.with(|reader| {
            let row = reader.node_of(place.generation, place.node, place.at)?;
            let ino = Ino::of_node(place.view, place.node);
            let Some(row) = row else {
                // What has a name and no version is damage, and not a number of another time.
                let lives = place.node == place.root || !reader.first_names(place.node, place.at, 1)?.is_empty();
                if lives {
                    reader.known_node(place.node, place.at)?;
                }
                return Err(Error::NoSuchNode { ino: ino.0, at: place.at });
            };
            let perm = reader.perm(row.perm)?;
            let kind = Kind::from_mode(perm.mode).ok_or(Error::NoSuchNode { ino: ino.0, at: place.at })?;
            Ok(Stat::of_row(ino, kind, &row, &perm).closed(&self.visibility(place)))
        })
    }

    /// Returns who is let in at `place` whatever was recorded of it.
    pub(super) fn visibility(&self, place: &Place) -> Visibility {
        if !place.is_among_all || place.node != place.root {
            return Visibility::Modes;
        }
        // Of a source that is gone nothing is shown any more.
        self.snapshot().source(place.source).map_or(Visibility::Root, |source| source.visible_to.clone())
    }
}
