//! The part of the tree that no backup has: the top, the instants of a source, dates of any form.
//!
//! Promises: a date is resolved when it is looked up, by [`crate::model::parse_date`]; what is no date, or
//! lies before every generation, is not there. A directory for a date has a number of its own (a directory
//! has one parent), given out downward from the largest at run time; it shows the view that the date meant
//! then, and a later look-up that means another view gives another number. Never lists a date.

use super::ino::VIEW_MAX;
use super::snapshot::Snapshot;
use super::{Error, Ino, Looked, Spot, Stat, Tree, Ttl, lock, notes};
use crate::model::{AsOf, Fold, SourceId, Time, Timestamp, ViewId, parse_date};
use std::collections::HashMap;
use std::sync::Mutex;

/// Dates are given numbers down to here; catalogs reach it after 16 million publications.
const DATES_MAX: usize = 1 << 20;

/// The directories of dates that were looked up.
#[derive(Default)]
pub(super) struct Dates(Mutex<DatesInner>);

#[derive(Default)]
struct DatesInner {
    numbers: HashMap<(Option<SourceId>, Vec<u8>, ViewId), ViewId>,
    targets: Vec<ViewId>,
}

impl Dates {
    /// Returns the view that a date's directory shows; none if `view` is no date's.
    pub(super) fn target(&self, view: ViewId) -> Option<ViewId> {
        let index = usize::try_from(VIEW_MAX - view.0).ok().filter(|i| *i < DATES_MAX)?;
        lock(&self.0).targets.get(index).copied()
    }

    /// Returns the number of the directory `name` of `source` (or of the top) that shows `target`.
    fn number(&self, source: Option<SourceId>, name: &[u8], target: ViewId) -> Option<ViewId> {
        let mut inner = lock(&self.0);
        let key = (source, name.to_owned(), target);
        if let Some(number) = inner.numbers.get(&key) {
            return Some(*number);
        }
        if inner.targets.len() == DATES_MAX {
            return None;
        }
        let number = ViewId(VIEW_MAX - inner.targets.len() as i64);
        inner.targets.push(target);
        inner.numbers.insert(key, number);
        Some(number)
    }

    /// Returns every name that was given a number, with its directory.
    pub(super) fn names(&self) -> Vec<(Ino, Vec<u8>)> {
        let inner = lock(&self.0);
        let parent = |source: Option<SourceId>| source.map_or(Some(Ino::ROOT), Ino::of_source);
        inner.numbers.keys().filter_map(|(source, name, _)| parent(*source).map(|p| (p, name.clone()))).collect()
    }
}

impl Tree {
    /// Returns what `name` in `parent` is.
    ///
    /// Two queries inside a generation, none above.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], [`Error::Unlisted`], [`Error::NoSuchView`], [`Error::Catalog`].
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Looked, Error> {
        let snapshot = self.snapshot();
        match self.spot(parent)? {
            Spot::Root => Ok(self.lookup_root(&snapshot, name)),
            Spot::Source(id) => Ok(self.lookup_instant(&snapshot, Some(id), name)),
            Spot::View(view, _) => self.lookup_in_view(parent, view, name),
            Spot::Notes(view) => Ok(match notes::index_of(name) {
                Some(index) => Looked::Found(self.note_stat(view, index)?, Ttl::Short),
                None => Looked::Missing(Ttl::Short),
            }),
            Spot::Note(..) => Err(Error::NotADirectory(self.describe(parent))),
            Spot::Node(place) => self.lookup_node(&place, name),
        }
    }

    fn lookup_root(&self, snapshot: &Snapshot, name: &[u8]) -> Looked {
        if name == notes::DIRECTORY {
            return Looked::Found(self.made_directory(Ino::of_notes(ViewId(0)), snapshot.read_at), Ttl::Short);
        }
        match snapshot.source_named(name).and_then(|source| Ino::of_source(source.id)) {
            Some(ino) => Looked::Found(self.made_directory(ino, snapshot.read_at), Ttl::Short),
            None => self.lookup_instant(snapshot, None, name),
        }
    }

    /// A listed instant is found by its name; any other date is resolved.
    fn lookup_instant(&self, snapshot: &Snapshot, source: Option<SourceId>, name: &[u8]) -> Looked {
        let missing = Looked::Missing(Ttl::Short);
        let Some((b'@', date)) = name.split_first() else { return missing };
        let Ok(date) = std::str::from_utf8(date) else { return missing };
        let Ok(as_of) = parse_date(date, self.clock.now(), &self.zone, Fold::Later) else { return missing };
        let instants = snapshot.instants(source);
        let at = match as_of {
            AsOf::Latest => instants.last().copied(),
            AsOf::Oldest => instants.first().copied(),
            AsOf::At(at) => snapshot.newest(source, at),
        };
        let Some(at) = at else { return missing };
        let Some(target) = snapshot.number(source, at) else { return missing };
        let listed = date == at.view_name();
        let view = if listed { Some(target) } else { self.dates.number(source, name, target) };
        match view {
            Some(view) => {
                self.view_root(snapshot, source, view, at).map_or(missing, |stat| Looked::Found(stat, Ttl::Short))
            }
            None => missing,
        }
    }

    /// Returns the attributes of the directory that a view begins with.
    fn view_root(&self, snapshot: &Snapshot, source: Option<SourceId>, view: ViewId, at: Time) -> Option<Stat> {
        match source {
            None => Some(self.made_directory(Ino::of_view(view), instant_stamp(at))),
            Some(id) => {
                let root = snapshot.source(id)?.root;
                match self.stat(Ino::of_node(view, root)) {
                    Ok((stat, _)) => Some(stat),
                    Err(e) => {
                        tracing::error!("cannot show {} of source {id}: {e}", at);
                        None
                    }
                }
            }
        }
    }

    fn lookup_in_view(&self, parent: Ino, view: ViewId, name: &[u8]) -> Result<Looked, Error> {
        if name == notes::DIRECTORY {
            return Ok(Looked::Found(self.made_directory(Ino::of_notes(view), Timestamp::default()), Ttl::Short));
        }
        let (snapshot, key) = self.view(parent, view)?;
        let source = snapshot.source_named(name).filter(|s| snapshot.resolve(key, s).is_some());
        match source {
            Some(source) => {
                let (stat, ttl) = self.stat(Ino::of_node(view, source.root))?;
                Ok(Looked::Found(stat, ttl))
            }
            None => Ok(Looked::Missing(Ttl::Short)),
        }
    }

    /// Returns the attributes of `ino` and how long they hold. One query inside a generation, none above.
    ///
    /// # Errors
    /// [`Error::NoSuchView`], [`Error::NoSuchNode`], [`Error::Catalog`].
    pub fn stat(&self, ino: Ino) -> Result<(Stat, Ttl), Error> {
        let changed = self.snapshot().read_at;
        match self.spot(ino)? {
            Spot::Root | Spot::Source(_) | Spot::Notes(ViewId(0)) => {
                Ok((self.made_directory(ino, changed), Ttl::Short))
            }
            Spot::Notes(_) => Ok((self.made_directory(ino, Timestamp::default()), Ttl::Short)),
            Spot::View(_, key) => Ok((self.made_directory(ino, instant_stamp(key.at)), Ttl::Forever)),
            Spot::Note(view, index) => Ok((self.note_stat(view, index)?, Ttl::Short)),
            Spot::Node(place) => Ok((self.node_stat(&place)?, Ttl::Forever)),
        }
    }

    fn made_directory(&self, ino: Ino, changed: Timestamp) -> Stat {
        Stat::of_made_directory(ino, changed)
    }

    /// Calls `each` with the names of a directory that the mount makes up, in the order in which it lists them.
    pub(super) fn list_top(
        &self,
        spot: &Spot,
        mut each: impl FnMut(Vec<u8>, Ino) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let snapshot = self.snapshot();
        let instants = |source| snapshot.instants(source).iter().map(move |at| (*at, source));
        let mut names: Vec<(Vec<u8>, Ino)> = Vec::new();
        match spot {
            Spot::Root => {
                names.push((notes::DIRECTORY.to_vec(), Ino::of_notes(ViewId(0))));
                for source in snapshot.sources() {
                    names.extend(Ino::of_source(source.id).map(|ino| (source.name.clone().into_bytes(), ino)));
                }
                for (at, source) in instants(None) {
                    let view = snapshot.number(source, at);
                    names.extend(view.map(|view| (instant_name(at), Ino::of_view(view))));
                }
            }
            Spot::Source(id) => {
                let root = snapshot.source(*id).map(|s| s.root);
                for (at, source) in instants(Some(*id)) {
                    let view = snapshot.number(source, at);
                    names.extend(view.zip(root).map(|(view, root)| (instant_name(at), Ino::of_node(view, root))));
                }
            }
            Spot::View(view, key) => {
                let snapshot = self.view(Ino::of_view(*view), *view)?.0;
                for source in snapshot.sources().iter().filter(|s| snapshot.resolve(*key, s).is_some()) {
                    names.push((source.name.clone().into_bytes(), Ino::of_node(*view, source.root)));
                }
            }
            Spot::Notes(view) => {
                for (index, name) in notes::names().enumerate() {
                    names.push((name.to_vec(), Ino::of_note(*view, index)));
                }
            }
            Spot::Note(..) | Spot::Node(_) => {}
        }
        for (name, ino) in names {
            if !each(name, ino)? {
                break;
            }
        }
        Ok(())
    }
}

fn instant_name(at: Time) -> Vec<u8> {
    format!("@{}", at.view_name()).into_bytes()
}

pub(super) fn instant_stamp(at: Time) -> Timestamp {
    Timestamp { seconds: at.0, nanos: 0 }
}
