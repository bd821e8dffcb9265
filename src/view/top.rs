//! The part of the tree that no backup has: the top, the instants of a source, dates of any form.
//!
//! Promises: a date is resolved when it is looked up, by [`crate::model::parse_date`]; what is no date, or
//! lies before every generation, is not there. A source that is not for everybody is closed in two places, at its directory at the top and
//! at its own top in a view of all sources, to whom it is now, whatever the date; below the first one its own top has the
//! attributes that were recorded. A listed instant is the directory of its view; any other spelling has
//! a number of its own ([`super::dates`]) and shows that view. Views of all sources get their numbers here: one that is
//! looked up gets one, and a listing gives one to all that it has, in one go: the kernel asks for names and attributes
//! at once (READDIRPLUS), and an entry of that answer without a number has none in `readdir(3)` either, which
//! leaves it out. Never lists a date.

use super::between::is_between;
use super::caller::Caller;
use super::events::is_event;
use super::history::HISTORY;
use super::instant::{instant_name, instant_stamp};
use super::place::Spot;
use super::snapshot::{Snapshot, view_at};
use super::{Error, Ino, Looked, Stat, Tree, Ttl, notes};
use crate::catalog::RegistrySource;
use crate::model::{AsOf, Fold, SourceId, Time, Timestamp, ViewId, parse_date};

impl Tree {
    /// Returns what `name` in `parent` is, for root.
    ///
    /// # Errors
    /// As [`Tree::lookup_for`].
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Looked, Error> {
        self.lookup_for(Caller::ROOT, parent, name)
    }

    /// Returns what `name` in `parent` is. Who asks matters only where a name has a path in it; everywhere else the kernel decides.
    ///
    /// Two queries inside a generation, none above.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], [`Error::Unlisted`], [`Error::NoSuchView`], [`Error::Catalog`].
    pub fn lookup_for(&self, caller: Caller, parent: Ino, name: &[u8]) -> Result<Looked, Error> {
        let snapshot = self.snapshot();
        match self.spot(parent)? {
            Spot::Root if is_event(name) => self.lookup_event(&snapshot, None, name, caller),
            Spot::Root => self.lookup_root(&snapshot, name),
            Spot::Source(id) if is_event(name) => self.lookup_event(&snapshot, Some(id), name, caller),
            Spot::Source(id) if name == HISTORY => self.lookup_history_top(&snapshot, id),
            Spot::Source(id) if is_between(name) => self.lookup_between_top(&snapshot, id, name),
            Spot::Source(id) => self.lookup_instant(&snapshot, Some(id), name),
            Spot::History(ino, dir) => self.lookup_history(&snapshot, (ino, &dir), name),
            Spot::Between(_, dir) => self.lookup_between(&snapshot, &dir, name),
            Spot::View(view, _) => self.lookup_in_view(parent, view, name),
            Spot::Notes(view) => Ok(match notes::index_of(name) {
                Some(index) => Looked::Found(self.note_stat(view, index)?, Ttl::Short),
                None => Looked::Missing(Ttl::Short),
            }),
            Spot::Note(..) => Err(Error::NotADirectory(self.describe(parent))),
            Spot::Node(place) => self.lookup_node(&place, name),
        }
    }

    fn lookup_root(&self, snapshot: &Snapshot, name: &[u8]) -> Result<Looked, Error> {
        let made = |ino| Ok(Looked::Found(Stat::of_made_directory(ino, snapshot.read_at), Ttl::Short));
        if name == notes::DIRECTORY {
            return made(Ino::of_notes(ViewId(0)));
        }
        match snapshot.source_named(name) {
            Some(source) => Ok(Looked::Found(source_stat(snapshot, source), Ttl::Short)),
            None => self.lookup_instant(snapshot, None, name),
        }
    }

    /// A listed instant is found by its name; any other date is resolved.
    fn lookup_instant(&self, snapshot: &Snapshot, source: Option<SourceId>, name: &[u8]) -> Result<Looked, Error> {
        match self.instant_meant(snapshot, source, name) {
            Some(at) => self.show_instant(snapshot, source, name, at, Ttl::Short),
            None => Ok(Looked::Missing(Ttl::Short)),
        }
    }

    /// Returns the directory `name` of a source, or at the top, that shows exactly this instant.
    pub(super) fn show_instant(
        &self,
        snapshot: &Snapshot,
        source: Option<SourceId>,
        name: &[u8],
        at: Time,
        ttl: Ttl,
    ) -> Result<Looked, Error> {
        let view = self.view_as_of(snapshot, source, at)?;
        let is_listed = name == instant_name(at);
        let view = if is_listed { view } else { self.dates.number(source, name, view, self.clock.now()) };
        let stat = match source.and_then(|id| snapshot.source(id)) {
            Some(source) => self.stat(Ino::of_node(view, source.root))?.0,
            None => Stat::of_made_directory(Ino::of_view(view), instant_stamp(at)),
        };
        Ok(Looked::Found(stat, ttl))
    }

    /// Returns the instant that `name` means in the directory of `source`, or at the top; none if it is no date, or one
    /// before every generation.
    pub(super) fn instant_meant(&self, snapshot: &Snapshot, source: Option<SourceId>, name: &[u8]) -> Option<Time> {
        let date = std::str::from_utf8(name.strip_prefix(b"@")?).ok()?;
        let now = self.clock.now();
        match parse_date(date, now, &self.zone, Fold::Later).ok()? {
            // One that lies in the future is not the latest yet.
            AsOf::Latest => snapshot.newest(source, now),
            AsOf::Oldest => snapshot.instants(source).first().copied(),
            AsOf::At(at) => snapshot.newest(source, at),
        }
    }

    /// Returns the number of the view of exactly this instant, which must be one of the source's, or of any.
    fn view_as_of(&self, snapshot: &Snapshot, source: Option<SourceId>, at: Time) -> Result<ViewId, Error> {
        let is_instant = "a date was resolved to an instant of this snapshot";
        match source.and_then(|id| snapshot.source(id)) {
            Some(source) => Ok(view_at(source, source.instants.binary_search(&at).expect(is_instant))),
            None => Ok(self.numbers.view(snapshot.vector(at).expect(is_instant))?),
        }
    }

    /// Returns the names, each with its directory, of dates that do not mean in `new` what they meant when they were
    /// looked up.
    pub(super) fn moved_dates(&self, new: &Snapshot) -> Vec<(Ino, Vec<u8>)> {
        let meant = |source: Option<SourceId>, name: &[u8]| {
            let at = self.instant_meant(new, source, name)?;
            match source.and_then(|id| new.source(id)) {
                Some(source) => source.instants.binary_search(&at).ok().map(|place| view_at(source, place)),
                None => new.vector(at).and_then(|vector| self.numbers.known(vector)),
            }
        };
        // A kernel asks for the name of an event each time.
        self.dates.moved(|source, name, view| is_event(name) || meant(source, name) == Some(view))
    }

    fn lookup_in_view(&self, parent: Ino, view: ViewId, name: &[u8]) -> Result<Looked, Error> {
        if name == notes::DIRECTORY {
            let stat = Stat::of_made_directory(Ino::of_notes(view), Timestamp::default());
            return Ok(Looked::Found(stat, Ttl::Short));
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
        let snapshot = self.snapshot();
        match self.spot(ino)? {
            Spot::Root | Spot::Notes(ViewId(0)) => Ok((Stat::of_made_directory(ino, snapshot.read_at), Ttl::Short)),
            Spot::Source(id) => match snapshot.source(id) {
                Some(source) => Ok((source_stat(&snapshot, source), Ttl::Short)),
                None => Err(Error::NoSuchView { ino: ino.0, view: ViewId(0) }),
            },
            Spot::Notes(_) => Ok((Stat::of_made_directory(ino, Timestamp::default()), Ttl::Short)),
            Spot::View(_, key) => Ok((Stat::of_made_directory(ino, instant_stamp(key.at)), Ttl::Forever)),
            Spot::Note(view, index) => Ok((self.note_stat(view, index)?, Ttl::Short)),
            Spot::Node(place) => Ok((self.node_stat(&place)?, Ttl::Forever)),
            Spot::History(ino, dir) => Ok((self.history_stat(&snapshot, (ino, &dir))?, Ttl::None)),
            Spot::Between(ino, dir) => Ok((self.between_stat((ino, &dir))?, Ttl::Forever)),
        }
    }

    /// Returns the directory that the directory `ino` is in; the top is in itself. One query inside a generation.
    ///
    /// # Errors
    /// [`Error::NoSuchView`], [`Error::NoSuchNode`], [`Error::Catalog`].
    pub fn parent(&self, ino: Ino) -> Result<Ino, Error> {
        Ok(match self.spot(ino)? {
            Spot::Root | Spot::Source(_) | Spot::View(..) | Spot::Notes(ViewId(0)) => Ino::ROOT,
            Spot::Notes(view) => Ino::of_view(view),
            Spot::Note(view, _) => Ino::of_notes(view),
            Spot::History(_, dir) => match self.above_history(&self.snapshot(), &dir)? {
                Some(above) => above,
                None => Ino::of_source(dir.source),
            },
            Spot::Between(_, dir) => match self.above_between(&self.snapshot(), &dir)? {
                Some(above) => above,
                None => Ino::of_source(dir.source),
            },
            Spot::Node(place) if place.node == place.root => match self.view(ino, place.view)?.1.source {
                Some(source) => Ino::of_source(source),
                None => Ino::of_view(place.view),
            },
            Spot::Node(place) => {
                let names = self.readers.with(|reader| reader.first_names(place.node, place.at, 1))?;
                let (parent, _) = names.first().ok_or(Error::NoSuchNode { ino: ino.0, at: place.at })?;
                Ino::of_node(place.view, *parent)
            }
        })
    }

    /// Calls `each` with the names of a directory that the mount makes up, in the order in which it lists them, without
    /// the first `skip` of them.
    pub(super) fn list_top(
        &self,
        spot: &Spot,
        skip: usize,
        mut each: impl FnMut(Vec<u8>, Ino) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let snapshot = self.snapshot();
        match spot {
            Spot::Root => {
                let (sources, instants) = (snapshot.sources(), snapshot.instants(None));
                for place in skip..1 + sources.len() + instants.len() {
                    let (name, ino) = match place.checked_sub(1) {
                        None => (notes::DIRECTORY.to_vec(), Ino::of_notes(ViewId(0))),
                        Some(n) if n < sources.len() => (sources[n].name.clone().into(), Ino::of_source(sources[n].id)),
                        Some(n) => {
                            let place = n - sources.len();
                            (instant_name(instants[place]), Ino::of_view(self.listed_view(&snapshot, place)?))
                        }
                    };
                    if !each(name, ino)? {
                        break;
                    }
                }
            }
            Spot::Source(id) => {
                let Some(source) = snapshot.source(*id) else { return Ok(()) };
                for (place, at) in source.instants.iter().enumerate().skip(skip) {
                    if !each(instant_name(*at), Ino::of_node(view_at(source, place), source.root))? {
                        break;
                    }
                }
            }
            Spot::View(view, key) => {
                let snapshot = self.view(Ino::of_view(*view), *view)?.0;
                let is_there = |source: &&RegistrySource| snapshot.resolve(*key, source).is_some();
                for source in snapshot.sources().iter().filter(is_there).skip(skip) {
                    if !each(source.name.clone().into(), Ino::of_node(*view, source.root))? {
                        break;
                    }
                }
            }
            Spot::Notes(view) => {
                for (index, name) in notes::names().enumerate().skip(skip) {
                    if !each(name.to_vec(), Ino::of_note(*view, index))? {
                        break;
                    }
                }
            }
            Spot::Note(..) | Spot::Node(_) | Spot::History(..) | Spot::Between(..) => {}
        }
        Ok(())
    }

    /// Returns the number of the view of all sources at an instant; the first one that has none gives one to all.
    fn listed_view(&self, snapshot: &Snapshot, place: usize) -> Result<ViewId, Error> {
        let vectors = snapshot.all_vectors();
        match self.numbers.known(vectors[place]) {
            Some(view) => Ok(view),
            None => Ok(self.numbers.give(vectors)?[place]),
        }
    }
}

/// Returns the attributes of the directory of a source at the top.
fn source_stat(snapshot: &Snapshot, source: &RegistrySource) -> Stat {
    Stat::of_made_directory(Ino::of_source(source.id), snapshot.read_at).closed(&source.visible_to)
}
