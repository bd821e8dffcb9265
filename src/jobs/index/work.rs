//! The work on one source, whichever kind it is of: what it is given, what it has said, and the look at its copies.
//!
//! Promises: after a failure what it left is removed before anything else is written. Whether a copy is gone, and why that
//! is a finding or not, is said once for each. Never writes to a copy.

use super::Error;
use super::recognise::Sight;
use super::report::{Event, Gone, Indexed, OneCopy, Outcome, SourceReport};
use super::seen::{Seen, see};
use super::wish::{Which, Wish};
use crate::catalog::{self, KnownCopy, Looked, Reader, SourceLock, SourceRow, Writer};
use crate::clock::Clock;
use crate::index::Done;
use crate::jobs::look;
use crate::jobs::patience::Patience;
use crate::jobs::report::When;
use crate::model::{CopyState, Reach, SourceKind, Time};
use crate::monitor::Monitor;
use crate::source::kind_of;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// A source, and its lock.
pub type Locked = (SourceRow, SourceLock);

/// What a run is given from outside.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The catalog.
    pub catalog: &'a Path,
    /// Locks the source of this name; nobody else changes it until the lock is dropped.
    pub lock: &'a dyn Fn(&str) -> Result<Locked, catalog::Error>,
    /// Opens the catalog for writing to a source that is locked, cleaned of what other runs left: at the beginning, and after a failure.
    pub open: &'a dyn Fn(&SourceRow) -> Result<Writer, catalog::Error>,
    /// The zone of dates without one.
    pub zone: &'a TimeZone,
    /// The time.
    pub clock: &'a dyn Clock,
    /// How long stores and other folders may be silent.
    pub patience: &'a Patience,
    /// Where progress goes.
    pub monitor: &'a dyn Monitor,
}

pub(super) const NOT_THERE: &str = "it is not there any more";

/// What is wrong with a file that a copy has bytes in.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) path: PathBuf,
    pub(super) why: &'static str,
}

/// What a look at copies whose places do not change means, where kinds differ.
pub(super) trait Fixed {
    /// Returns what is wrong with a copy that is there.
    fn fault(&self, copy: &KnownCopy, root: &look::Root, seen: &Seen, writer: &Writer) -> Result<Option<Fault>, Error>;
    /// Returns those that are not there because whoever makes them took them away.
    fn pruned(&self, known: &[KnownCopy], sights: &[Sight]) -> HashSet<usize>;
    /// Returns those that are there, have nothing wrong with them, and cannot be read because of the fault of a file that they need.
    fn cut_off(
        &self,
        known: &[KnownCopy],
        faults: &[Option<Fault>],
        seen: &Seen,
        writer: &Writer,
    ) -> Result<Vec<(usize, Fault)>, Error>;
}

/// Copies that this program made. What is on top of them needs them, so none is merely old.
struct Own;

impl Fixed for Own {
    fn fault(&self, _: &KnownCopy, _: &look::Root, _: &Seen, _: &Writer) -> Result<Option<Fault>, Error> {
        Ok(None)
    }

    fn pruned(&self, _: &[KnownCopy], _: &[Sight]) -> HashSet<usize> {
        HashSet::new()
    }

    fn cut_off(
        &self,
        _: &[KnownCopy],
        _: &[Option<Fault>],
        _: &Seen,
        _: &Writer,
    ) -> Result<Vec<(usize, Fault)>, Error> {
        Ok(Vec::new())
    }
}

/// The work on one source.
pub(in crate::jobs) struct Work<'w> {
    pub(super) inputs: &'w Inputs<'w>,
    pub(super) wish: &'w Wish,
    pub(super) source: &'w SourceRow,
    /// Nobody named the source: all are indexed.
    pub(super) is_one_of_all: bool,
    each: &'w mut dyn FnMut(&str, &Event),
    /// None after a failure, until the next one is opened.
    pub(super) writer: Option<Writer>,
    events: Vec<Event>,
    known: u64,
    pub(super) forgotten: u64,
    /// The disk of the catalog is full.
    pub(super) is_full: bool,
}

impl<'w> Work<'w> {
    pub(super) fn new(
        inputs: &'w Inputs<'w>,
        wish: &'w Wish,
        source: &'w SourceRow,
        each: &'w mut dyn FnMut(&str, &Event),
    ) -> Self {
        Self {
            inputs,
            wish,
            source,
            is_one_of_all: false,
            each,
            writer: None,
            events: Vec::new(),
            known: 0,
            forgotten: 0,
            is_full: false,
        }
    }

    pub(super) fn kind(&self) -> Result<SourceKind, Error> {
        Ok(kind_of(&self.source.name, &self.source.kind)?)
    }

    /// Refuses a generation that is named, where it is not said that it is to be indexed again.
    pub(super) fn check_asked_again(&self) -> Result<(), Error> {
        match self.wish.which {
            Which::Generation(at) if !self.wish.again => {
                Err(Error::IndexedAlready { name: self.source.name.clone(), at })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        (self.each)(&self.source.name, &event);
        self.events.push(event);
    }

    pub(super) fn open(&mut self) -> Result<(), Error> {
        self.writer = Some((self.inputs.open)(self.source)?);
        Ok(())
    }

    pub(super) fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("it is opened first, and again after each failure")
    }

    pub(super) fn now(&self) -> Time {
        self.inputs.clock.now()
    }

    /// Says that a copy failed, and has the catalog cleaned of what it left.
    ///
    /// # Errors
    /// [`Error::Catalog`] if that cannot be done: then nothing else can be written.
    pub(super) fn fail_copy(&mut self, copy: OneCopy, error: Error) -> Result<(), Error> {
        self.is_full |= error.is_full();
        self.emit(Event::Failed { copy: Some(copy), error });
        if self.is_full {
            return Ok(());
        }
        // After an error a writer is spent.
        self.writer = None;
        self.open()
    }

    /// Ends the work on one source of several, and returns whether the disk of the catalog is full.
    pub(super) fn end(mut self, done: Result<(), Error>) -> (SourceReport, bool) {
        if let Err(error) = done {
            self.is_full |= error.is_full();
            self.emit(Event::Failed { copy: None, error });
        }
        let is_full = self.is_full;
        (self.finish(), is_full)
    }

    pub(super) fn finish(self) -> SourceReport {
        let has = |is: fn(&Event) -> bool| self.events.iter().any(is);
        let is_failed = has(|event| matches!(event, Event::Failed { .. }));
        let result = if is_failed && !has(|event| matches!(event, Event::Indexed(_))) {
            Outcome::Failed
        } else if self.events.iter().any(Event::is_finding) {
            Outcome::Findings
        } else {
            Outcome::Done
        };
        SourceReport {
            source: self.source.name.clone(),
            kind: self.source.kind.clone(),
            result,
            known: self.known,
            forgotten: self.forgotten,
            events: self.events,
        }
    }

    /// Looks at all copies of the source and at `folders`, and returns what is known and what was seen.
    pub(super) fn see(&mut self, folders: &[&Path]) -> Result<(Vec<KnownCopy>, Seen), Error> {
        let reader = Reader::open(self.inputs.catalog)?;
        let known = reader.known_copies(self.source)?;
        let stores = reader.known_stores(self.source.id, folders)?;
        drop(reader);
        let seen = see(&known, &stores, folders, self.inputs.patience.within());
        self.known = known.iter().filter(|copy| !copy.forgotten).count() as u64;
        for (copy, seen) in known.iter().zip(&seen.copies) {
            if let Some(why) = &seen.why_not {
                let text = format!("cannot look at the copy {:?} of {}: {why}", copy.path, copy.at);
                self.emit(Event::Warning { text });
            }
        }
        Ok((known, seen))
    }

    /// Returns what is written down of stores. One that is new is known by its mark from now on.
    pub(super) fn looked_at_stores(&mut self, seen: &Seen) -> Result<Looked, Error> {
        let mut looked = Looked::default();
        for store in &seen.stores {
            let (id, reach) = match (store.id, &store.why_not) {
                (Some(id), Some(_)) => (id, Reach::Unreachable),
                (Some(id), None) => (id, Reach::Reachable),
                (None, None) => (self.writer().store_at(&store.path)?, Reach::Reachable),
                (None, Some(_)) => continue,
            };
            looked.stores.push((id, reach, store.mark.clone()));
        }
        Ok(looked)
    }

    /// Says which stores cannot be reached, of those that copies are in about which nothing else is known.
    pub(super) fn emit_unreachable(&mut self, known: &[KnownCopy], seen: &Seen, is_unknown: impl Fn(usize) -> bool) {
        for store in &seen.stores {
            let Some(why) = &store.why_not else { continue };
            // What was gone before is no news, and a folder that it alone was in may be gone as well.
            let is_there = |copy: &KnownCopy| !copy.forgotten && copy.state != CopyState::Gone;
            let in_it = |number: &usize| known[*number].store_path == store.path && is_there(&known[*number]);
            let unknown: Vec<usize> = (0..known.len()).filter(in_it).filter(|number| is_unknown(*number)).collect();
            if let Some(oldest) = unknown.first().map(|number| known[*number].at) {
                // Where the source still has its copies by its settings, its disk is only not mounted.
                let is_its_folder = self.source.settings.contains(&format!("{:?}", store.path));
                let has_another = !is_its_folder && seen.stores.iter().any(|other| other.why_not.is_none());
                let (hint, copies) = (has_another.then_some(oldest), unknown.len() as u64);
                self.emit(Event::Unreachable { store: store.path.clone(), why: why.clone(), copies, hint });
            }
        }
    }

    /// Looks at copies whose places do not change: those of volumes and disks.
    pub(super) fn look_at_fixed(
        &mut self,
        folders: &[&Path],
        kind: &dyn Fixed,
    ) -> Result<(Vec<KnownCopy>, Seen), Error> {
        let (known, seen) = self.see(folders)?;
        let sights: Vec<Sight> = seen.copies.iter().map(|copy| copy.sight).collect();
        let mut looked = self.looked_at_stores(&seen)?;
        let pruned = kind.pruned(&known, &sights);
        let mut faults = Vec::with_capacity(known.len());
        for (copy, here) in known.iter().zip(&seen.copies) {
            faults.push(match (here.sight, &here.root) {
                (Sight::There, Some(root)) => kind.fault(copy, root, &seen, self.writer())?,
                (Sight::Missing, _) => Some(Fault { path: copy.path.clone(), why: NOT_THERE }),
                _ => None,
            });
        }
        let cut_off = kind.cut_off(&known, &faults, &seen, self.writer())?;
        let is_cut_off: HashSet<usize> = cut_off.iter().map(|(number, _)| *number).collect();
        let (mut back, mut changed, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (copy, here)) in known.iter().zip(&seen.copies).enumerate() {
            if copy.forgotten {
                match here.sight {
                    Sight::Missing => self.writer().drop_forgotten(copy)?,
                    Sight::There | Sight::Unknown => self.forgotten += 1,
                }
                continue;
            }
            let one = OneCopy { when: When(copy.at), path: copy.path.clone() };
            match (here.sight, &here.root, &faults[number]) {
                (Sight::There, Some(root), fault) => {
                    let state = match fault {
                        Some(fault) => {
                            changed.push((OneCopy { path: fault.path.clone(), ..one }, fault.why));
                            CopyState::Changed
                        }
                        None if is_cut_off.contains(&number) => CopyState::Changed,
                        None => {
                            back.extend((copy.state == CopyState::Gone).then_some(one));
                            still_there(copy)
                        }
                    };
                    looked.copies.push((copy.id, state, Some(root.seen)));
                }
                (Sight::Missing, ..) => {
                    looked.copies.push((copy.id, CopyState::Gone, None));
                    gone.push((one, pruned.contains(&number), copy.state == CopyState::Gone));
                }
                _ => {}
            }
        }
        let now = self.now();
        self.writer().write_looked(&looked, now)?;
        self.emit_unreachable(&known, &seen, |number| sights[number] == Sight::Unknown);
        back.into_iter().for_each(|copy| self.emit(Event::Back(copy)));
        // What is indexed as it is now, and what is on top of it.
        let asked = |copy: &OneCopy| matches!(self.wish.which, Which::Generation(at) if at == copy.when.0);
        let (again, changed): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|(copy, why)| asked(copy) && *why != NOT_THERE);
        let cut_off = cut_off.into_iter().filter(|(_, fault)| !again.iter().any(|(copy, _)| copy.path == fault.path));
        let cut_off: Vec<_> = cut_off.collect();
        for (copy, why) in changed {
            self.emit(Event::Changed { copy, why: why.to_owned(), can_be_again: why != NOT_THERE });
        }
        self.emit_gone(gone);
        self.emit_cut_off(&known, cut_off);
        Ok((known, seen))
    }

    /// Says which copies cannot be read because of another file, by that file.
    fn emit_cut_off(&mut self, known: &[KnownCopy], cut_off: Vec<(usize, Fault)>) {
        let mut by_file: BTreeMap<PathBuf, (&'static str, Vec<OneCopy>)> = BTreeMap::new();
        for (number, fault) in cut_off {
            let copy = OneCopy { when: When(known[number].at), path: known[number].path.clone() };
            by_file.entry(fault.path).or_insert((fault.why, Vec::new())).1.push(copy);
        }
        for (path, (why, copies)) in by_file {
            self.emit(Event::CutOff { path, why: why.to_owned(), copies });
        }
    }

    /// Looks at the copies that this program made, where nothing else is to be done.
    pub(super) fn look_only(&mut self) -> Result<(), Error> {
        self.open()?;
        self.look_at_own()
    }

    /// Looks at the copies that this program made.
    pub(super) fn look_at_own(&mut self) -> Result<(), Error> {
        self.look_at_fixed(&[], &Own).map(drop)
    }

    /// Says which copies are gone; those that were pruned once.
    pub(super) fn emit_gone(&mut self, gone: Vec<(OneCopy, bool, bool)>) {
        let (mut pruned, mut lost) = (Vec::new(), Vec::new());
        for (copy, is_pruned, is_old_news) in gone {
            match (is_pruned, is_old_news) {
                (true, true) => {}
                (true, false) => pruned.push(copy),
                (false, _) => lost.push(copy),
            }
        }
        for (copies, pruned) in [(pruned, true), (lost, false)] {
            if !copies.is_empty() {
                self.emit(Event::Gone(Gone { pruned, copies }));
            }
        }
    }

    /// Returns the report of a copy that was indexed.
    pub(super) fn indexed(&self, copy: OneCopy, done: &Done, entries_before: Option<u64>) -> Indexed {
        let counts = &done.counts;
        Indexed {
            again: None,
            snapshot: None,
            parent: None,
            entries: counts.entries,
            size_bytes: counts.size_bytes,
            changed: done.changed_nodes,
            losses: counts.losses,
            notices: counts.notices,
            changed_while_indexed: done.unstable,
            settled: done.settled,
            suddenly_empty: counts.entries == 0 && entries_before.is_some_and(|entries| entries > 0),
            in_future: copy.when.0 > self.now(),
            index_ms: counts.index_ms,
            copy,
        }
    }
}

/// Returns the state of a copy that is there and was not found to be another one.
pub(super) fn still_there(copy: &KnownCopy) -> CopyState {
    match copy.state {
        CopyState::Damaged => CopyState::Damaged,
        CopyState::Present | CopyState::Changed | CopyState::Gone => CopyState::Present,
    }
}
