//! Walks copies of a share again that may have changed, and indexes what is new or not what it was.
//!
//! Promises: a copy that is as it was indexed is only noted as such; one that cannot be read stays as it was read. A full
//! disk ends the work.

use super::Share;
use super::places::store_of;
use crate::catalog::{KnownCopy, Reader};
use crate::index::{self, Compared, ExpectedRoot, Known, NewCopy, compare_copy, index_copy};
use crate::jobs::index::recognise::{Sight, Verdict};
use crate::jobs::index::wish::Which;
use crate::jobs::index::{Error, Event, Indexed, OneCopy};
use crate::jobs::look::root_at;
use crate::jobs::report::{MovedCopy, When};
use crate::model::{CopyState, chain};
use crate::source::{Found, TopDirectory};
use std::collections::HashSet;

impl Share<'_, '_> {
    /// Walks the copies again that may have changed, and indexes those anew that have.
    pub(super) fn attend(&mut self) -> Result<(), Error> {
        let asked: HashSet<usize> = match &self.work.wish.which {
            Which::All => (0..self.known.len()).collect(),
            Which::Named(..) => {
                let places = self.named.iter().filter_map(|path| self.places.at(path));
                places.filter_map(|place| self.copy_at(place)).collect()
            }
            Which::Generation(at) => (0..self.known.len()).filter(|number| self.known[*number].at == *at).collect(),
        };
        let is_explicit = !matches!(self.work.wish.which, Which::All);
        for number in (0..self.known.len()).filter(|number| asked.contains(number)) {
            let (copy, verdict) = (&self.known[number], self.verdicts[number]);
            let Some(place) = verdict.place().filter(|_| !copy.forgotten) else { continue };
            let may_differ = match verdict {
                Verdict::Here { touched, .. } => touched || !copy.settled || copy.state == CopyState::Changed,
                Verdict::Moved { .. } => {
                    !copy.settled || copy.state == CopyState::Changed || self.has_other_mtime(copy, place)
                }
                _ => true,
            };
            let is_asked_again = self.work.wish.again && (is_explicit || self.partial.contains(&copy.at));
            if may_differ || is_asked_again {
                self.walk(number, place)?;
            } else if is_explicit {
                let path = self.places.all[place].path.clone();
                self.work.emit(Event::Known(OneCopy { when: When(copy.at), path }));
            }
            if self.work.is_full {
                break;
            }
        }
        Ok(())
    }

    /// Tells whether the root of a copy that moved has another mtime than it had: its ctime moves with it, its mtime does not.
    pub(super) fn has_other_mtime(&self, copy: &KnownCopy, place: usize) -> bool {
        let mtime = self.places.all[place].root.mtime;
        copy.root_mtime_s.is_some_and(|was| was != mtime.seconds)
            || copy.root_mtime_ns.is_some_and(|was| was != mtime.nanos)
    }

    /// Walks a known copy, and indexes it anew if it is not what it was.
    fn walk(&mut self, number: usize, place: usize) -> Result<(), Error> {
        let (copy, verdict) = (&self.known[number], self.verdicts[number]);
        let found = Found { taken_at: copy.at, path: self.places.all[place].path.clone() };
        let one = OneCopy { when: When(copy.at), path: found.path.clone() };
        if let Err(e) = self.check_still_there(&found) {
            return self.work.fail_copy(one, e);
        }
        let why = if self.work.wish.again {
            "it was asked for".to_owned()
        } else {
            match self.compare(copy, &found) {
                Ok(Compared::Same(seen)) => {
                    if let Verdict::Copied { place } = verdict {
                        self.relocate(copy, place)?;
                        let (from, to) = (copy.path.clone(), found.path);
                        let copies = vec![MovedCopy { when: When(copy.at), from, to }];
                        self.work.emit(Event::Moved { copies });
                    }
                    self.work.writer().write_walked(copy.id, &seen)?;
                    let is_asked = !matches!(self.work.wish.which, Which::All);
                    self.work.emit(if is_asked { Event::Known(one) } else { Event::Same(one) });
                    return Ok(());
                }
                Ok(Compared::Differs(why)) => why,
                // What was read once stays as it was read until somebody says otherwise.
                Ok(Compared::Unreadable(why)) => {
                    let text =
                        format!("cannot determine whether the copy of {}, {:?}, changed: {why}", copy.at, one.path);
                    self.work.emit(Event::Warning { text });
                    return Ok(());
                }
                Err(Error::Catalog(e)) => return Err(e.into()),
                Err(e @ Error::Exchanged { .. }) => return self.work.fail_copy(one, e),
                Err(e) => {
                    let text = format!(
                        "cannot determine whether the copy of {}, {:?}, changed: {}",
                        copy.at,
                        one.path,
                        chain(&e)
                    );
                    self.work.emit(Event::Warning { text });
                    return Ok(());
                }
            }
        };
        if matches!(verdict, Verdict::Copied { .. }) && self.sights[number] == Sight::Unknown && !self.work.wish.again {
            let why = format!("it is not what was indexed from {:?}, which cannot be read: {why}", copy.path);
            self.work.emit(Event::Changed { copy: one, why, can_be_again: false });
            return Ok(());
        }
        let now = self.work.now();
        self.work.writer().set_copy_state(copy.id, CopyState::Changed, now)?;
        let why = if self.work.wish.again { why } else { format!("it was not what was indexed before: {why}") };
        self.index(&found, Some(why)).map(drop)
    }

    fn compare(&self, copy: &KnownCopy, found: &Found) -> Result<Compared, Error> {
        let inputs = self.work.inputs;
        let reader = Reader::open(inputs.catalog)?;
        let root = self.expected_root(found);
        let known = Known { source: self.work.source, at: copy.at, newest_ctime_ns: copy.newest_ctime_ns, root };
        inputs.monitor.begin(&format!("{} {}", self.work.source.name, copy.at), self.entries_before);
        let compared = compare_copy(&reader, &known, found, self.copies, inputs.clock, inputs.monitor);
        inputs.monitor.end();
        compared.map_err(|e| match e {
            index::Error::Catalog(e) => e.into(),
            e => e.into(),
        })
    }

    /// Refuses a copy whose directory is another one than when the run began, or has another date: names may rotate meanwhile.
    fn check_still_there(&self, found: &Found) -> Result<(), Error> {
        let Some(expected) = self.expected_root(found) else { return Ok(()) };
        let looking = |source| Error::Io { doing: "looking at the copy", path: found.path.clone(), source };
        let now = root_at(&found.path).map_err(looking)?;
        let is_same = now.is_some_and(|now| expected.is(&TopDirectory { seen: now.seen, mtime: now.mtime }));
        if is_same { Ok(()) } else { Err(Error::Exchanged { path: found.path.clone() }) }
    }

    /// Returns what the directory of a copy must be when it is walked.
    fn expected_root(&self, found: &Found) -> Option<ExpectedRoot> {
        let place = &self.places.all[self.places.at(&found.path)?];
        let (root, mtime_s) = (place.root.seen, place.root.mtime.seconds);
        let is_dated_by_mtime = place.date.is_some_and(|date| date.0 == mtime_s);
        Some(ExpectedRoot { seen: root, mtime_s: is_dated_by_mtime.then_some(mtime_s) })
    }

    pub(super) fn index_new(&mut self, new: &[Found]) -> Result<(), Error> {
        for found in new {
            if self.work.is_full {
                break;
            }
            let is_done = self.index(found, None)?;
            let forgotten = self.places.at(&found.path).and_then(|place| self.copy_at(place));
            if let (true, Some(number)) = (is_done, forgotten) {
                // It was asked for by its path.
                self.work.writer().drop_forgotten(&self.known[number])?;
                self.work.forgotten -= 1;
            }
        }
        Ok(())
    }

    /// Indexes a copy: as a new generation, or in place of the one that it was, `again` saying why. Returns whether that was done.
    fn index(&mut self, found: &Found, again: Option<String>) -> Result<bool, Error> {
        let one = OneCopy { when: When(found.taken_at), path: found.path.clone() };
        if let Err(e) = self.check_still_there(found) {
            return self.work.fail_copy(one, e).map(|()| false);
        }
        let (inputs, source, settle, copies) = (self.work.inputs, self.work.source, self.settle, self.copies);
        let store = store_of(&found.path, &self.folder);
        let root = self.expected_root(found);
        let copy = NewCopy { source, found, store: &store, again: again.is_some(), settle, root };
        inputs.monitor.begin(&format!("{} {}", source.name, found.taken_at), self.entries_before);
        let done = index_copy(self.work.writer(), &copy, copies, inputs.clock, inputs.monitor);
        inputs.monitor.end();
        match done {
            Ok(done) => {
                let indexed = Indexed { again, ..self.work.indexed(one, &done, self.entries_before) };
                self.entries_before = Some(done.counts.entries);
                self.work.emit(Event::Indexed(indexed));
                Ok(true)
            }
            Err(e) => self.work.fail_copy(one, e.into()).map(|()| false),
        }
    }
}
