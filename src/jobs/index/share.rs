//! Copies of a share: looked at, walked again where they may have changed, indexed where they are new.
//!
//! What is asked for and cannot be is said before anything is done.

mod attend;
mod places;

use super::super::report::{MovedCopy, When};
use super::gone::is_pruned;
use super::recognise::{Place, Sight, Verdict, recognise};
use super::seen::Seen;
use super::wish::Which;
use super::work::{Work, still_there};
use super::{Error, Event, OneCopy};
use crate::catalog::{KnownCopy, Reader};
use crate::model::{CopyState, Kind, SeenRoot, Time};
use crate::source::nfs::{SETTLE_S, Settings};
use crate::source::{self, Discovered, Found, LeftAside, NoCopy, Source};
use places::{Places, left, series_of, store_of};
use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(in crate::jobs) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    work.open()?;
    let settings = Settings::from_json(&work.source.settings)?;
    let copies = source::open(work.kind()?, &work.source.settings, work.inputs.zone)?;
    let named = named(&work.wish.which)?;
    let stores: Vec<PathBuf> = named.iter().map(|path| store_of(path, &settings.copies)).collect();
    let folders: Vec<&Path> = std::iter::once(&settings.copies).chain(&stores).map(PathBuf::as_path).collect();
    let (known, seen) = work.see(&folders)?;
    let folder = seen.store(&settings.copies);
    let has_copies_there = known.iter().any(|copy| !copy.forgotten && copy.store_path == settings.copies);
    let discovered = match &folder.why_not {
        None => copies.generations()?,
        Some(why) if !has_copies_there && matches!(work.wish.which, Which::All) => {
            // Nothing is known of it, so there is nothing else to say.
            let source = std::io::Error::other(why.clone());
            return Err(source::Error::Copies { path: settings.copies.clone(), source }.into());
        }
        Some(_) => Discovered::default(),
    };
    let sights: Vec<Sight> = seen.copies.iter().map(|copy| copy.sight).collect();
    let places = Places::of(work, &*copies, &known, &seen.copies, &discovered, &named)?;
    let verdicts = recognise(&known, &sights, &places.all);
    let generations = Reader::open(work.inputs.catalog)?.generations(work.source.id)?;
    let mut share = Share {
        settle: work.wish.settle.unwrap_or(Duration::from_secs(settings.settle_s.unwrap_or(SETTLE_S))),
        folder: settings.copies,
        copies: &*copies,
        known: &known,
        sights: &sights,
        verdicts: &verdicts,
        places: &places,
        named: &named,
        entries_before: generations.last().map(|newest| newest.entries as u64),
        partial: generations.iter().filter(|one| one.losses > 0).map(|one| one.taken_at).collect(),
        work,
    };
    // What is asked for that cannot be is said before anything is done.
    let (new, seconds) = share.new_copies()?;
    share.check_generation(&seen)?;
    share.write_down(&seen)?;
    share.emit_known(&seen, &new);
    share.emit_left_aside(&discovered, &seconds);
    share.attend()?;
    share.index_new(&new)
}

/// Returns the paths that the admin named, as they are.
fn named(which: &Which) -> Result<Vec<PathBuf>, Error> {
    let Which::Named(paths, _) = which else { return Ok(Vec::new()) };
    let mut named = Vec::with_capacity(paths.len());
    for given in paths {
        let fail = |source| Error::Io { doing: "looking for the copy", path: given.clone(), source };
        let path = std::fs::canonicalize(given).map_err(fail)?;
        if !path.is_dir() {
            return Err(Error::NotADirectory { path });
        }
        named.push(path);
    }
    Ok(named)
}

/// A directory of a second of which there is a copy already.
struct Second {
    found: Found,
    /// That copy.
    first: PathBuf,
}

struct Share<'s, 'w> {
    work: &'s mut Work<'w>,
    folder: PathBuf,
    copies: &'s dyn Source,
    settle: Duration,
    known: &'s [KnownCopy],
    sights: &'s [Sight],
    verdicts: &'s [Verdict],
    places: &'s Places,
    /// The paths that the admin named.
    named: &'s [PathBuf],
    /// Entries of the newest generation, for what to expect of the next one.
    entries_before: Option<u64>,
    /// Generations of which something could not be read.
    partial: HashSet<Time>,
}

impl Share<'_, '_> {
    /// Returns the number of the copy that a place is.
    fn copy_at(&self, place: usize) -> Option<usize> {
        self.verdicts.iter().position(|verdict| verdict.place() == Some(place))
    }

    /// Returns the copies that are to be indexed, oldest first, and those of a second that is taken, each with the path of
    /// the copy that has it.
    ///
    /// # Errors
    /// What is wrong with those that the admin named.
    fn new_copies(&self) -> Result<(Vec<Found>, Vec<Second>), Error> {
        let mut new = match &self.work.wish.which {
            Which::All => self.untaken(),
            Which::Named(_, at) => self.new_of_named(*at)?,
            Which::Generation(_) => Vec::new(),
        };
        new.sort_by(|a, b| (a.taken_at, &a.path).cmp(&(b.taken_at, &b.path)));
        let is_named = matches!(self.work.wish.which, Which::Named(..));
        let name = || self.work.source.name.clone();
        let mut taken: HashMap<Time, PathBuf> = HashMap::new();
        for (copy, verdict) in self.known.iter().zip(self.verdicts).filter(|(copy, _)| !copy.forgotten) {
            let path = verdict.place().map_or(&copy.path, |place| &self.places.all[place].path);
            taken.entry(copy.at).or_insert_with(|| path.clone());
        }
        let mut seconds = Vec::new();
        let known_dates: HashSet<Time> = taken.keys().copied().collect();
        let mut kept = Vec::with_capacity(new.len());
        for found in new {
            match taken.get(&found.taken_at) {
                None => {
                    taken.insert(found.taken_at, found.path.clone());
                    kept.push(found);
                }
                Some(first) if !is_named => {
                    let first = first.clone();
                    seconds.push(Second { found, first });
                }
                Some(first) if known_dates.contains(&found.taken_at) => {
                    let (at, first, path) = (found.taken_at, first.clone(), found.path);
                    return Err(Error::SecondOne { name: name(), at, first, path });
                }
                Some(first) => {
                    let (first, second, at) = (first.clone(), found.path, found.taken_at);
                    return Err(Error::SameDate { first, second, at });
                }
            }
        }
        Ok((kept, seconds))
    }

    /// Returns what has a date and is no known copy.
    fn untaken(&self) -> Vec<Found> {
        let taken: HashSet<usize> = self.verdicts.iter().filter_map(|verdict| verdict.place()).collect();
        let is_directory = |place: &Place| place.root.kind == Some(Kind::Directory);
        let places = self.places.all.iter().enumerate();
        let untaken = places.filter(|(number, place)| !taken.contains(number) && is_directory(place));
        untaken.filter_map(|(_, place)| Some(Found { taken_at: place.date?, path: place.path.clone() })).collect()
    }

    /// Returns those of the copies that the admin named that have no generation; forgotten ones are taken back.
    fn new_of_named(&self, at: Option<Time>) -> Result<Vec<Found>, Error> {
        let mut new = Vec::new();
        for path in self.named {
            let copy = self.places.at(path).and_then(|place| self.copy_at(place)).map(|number| &self.known[number]);
            match copy {
                Some(copy) if !copy.forgotten => {
                    if let Some(wanted) = at.filter(|at| *at != copy.at) {
                        let (name, path) = (self.work.source.name.clone(), path.clone());
                        return Err(Error::OtherDate { name, path, known: copy.at, wanted });
                    }
                }
                _ => {
                    let taken_at = at.map_or_else(|| self.copies.instant_of(path), Ok)?;
                    new.push(Found { taken_at, path: path.clone() });
                }
            }
        }
        Ok(new)
    }

    /// Refuses a generation that is not there, or whose copy is not.
    fn check_generation(&self, seen: &Seen) -> Result<(), Error> {
        let Which::Generation(at) = self.work.wish.which else { return Ok(()) };
        let name = self.work.source.name.clone();
        let of_it: Vec<usize> =
            (0..self.known.len()).filter(|n| self.known[*n].at == at && !self.known[*n].forgotten).collect();
        match of_it.first() {
            None => Err(Error::NoGeneration { name, at }),
            Some(first) if of_it.iter().all(|number| self.verdicts[*number].place().is_none()) => {
                let path = self.known[*first].path.clone();
                let why = seen.store(&self.known[*first].store_path).why_not.clone();
                let why = why.or_else(|| seen.copies[*first].why_not.clone());
                Err(match why {
                    Some(why) => Error::NotReached { name, at, path, why },
                    None => Error::NotThere { name, at, path },
                })
            }
            Some(_) => Ok(()),
        }
    }

    /// Writes down what was seen.
    fn write_down(&mut self, seen: &Seen) -> Result<(), Error> {
        let mut looked = self.work.looked_at_stores(seen)?;
        for (copy, verdict) in self.known.iter().zip(self.verdicts) {
            let root = |place: usize| {
                let seen = self.places.all[place].root.seen;
                match copy.root {
                    None => Some(seen),
                    // Older programs did not write it down.
                    Some(was) if was.filesystem.is_none() => Some(SeenRoot { filesystem: seen.filesystem, ..was }),
                    Some(_) => None,
                }
            };
            match verdict {
                Verdict::Here { place, .. } => {
                    let state = match copy.state {
                        // Until it was walked.
                        CopyState::Changed => CopyState::Changed,
                        _ => still_there(copy),
                    };
                    looked.copies.push((copy.id, state, root(*place)));
                }
                // Where it is now is written down before it is walked: should the run end in between, the next one would see it there
                // untouched.
                Verdict::Moved { place } if self.has_other_mtime(copy, *place) => {
                    looked.copies.push((copy.id, CopyState::Changed, None));
                }
                Verdict::Moved { .. } => looked.copies.push((copy.id, still_there(copy), None)),
                Verdict::Replaced { .. } | Verdict::Overwritten => {
                    looked.copies.push((copy.id, CopyState::Changed, None));
                }
                Verdict::Gone => looked.copies.push((copy.id, CopyState::Gone, None)),
                // Until it was walked nobody knows whether it is the copy.
                Verdict::Copied { .. } | Verdict::Unknown => {}
            }
        }
        let now = self.work.now();
        self.work.writer().write_looked(&looked, now)?;
        for (copy, verdict) in self.known.iter().zip(self.verdicts) {
            match verdict {
                Verdict::Moved { place } => self.relocate(copy, *place)?,
                Verdict::Copied { place } if copy.forgotten => {
                    self.relocate(copy, *place)?;
                    let (now, was, name) = (&self.places.all[*place].path, &copy.path, &self.work.source.name);
                    let text = format!(
                        "{now:?} is taken for the copy of the forgotten generation of {}, which was in {was:?}, and is not indexed; asof index \
                         {name} {now:?} takes it back",
                        copy.at
                    );
                    self.work.emit(Event::Note { text });
                }
                Verdict::Gone | Verdict::Overwritten if copy.forgotten => self.work.writer().drop_forgotten(copy)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn relocate(&mut self, copy: &KnownCopy, place: usize) -> Result<(), Error> {
        let place = &self.places.all[place];
        let folder = store_of(&place.path, &self.folder);
        let store = self.work.writer().store_at(&folder)?;
        let below = place.path.strip_prefix(&folder).unwrap_or(Path::new(""));
        Ok(self.work.writer().relocate_copy(copy.id, store, below.as_os_str().as_bytes(), place.root.seen)?)
    }

    /// Says what became of the copies that are known.
    fn emit_known(&mut self, seen: &Seen, new: &[Found]) {
        let (mut moved, mut back, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let left = left(self.known, self.verdicts, (self.copies, self.places), new);
        for (copy, verdict) in self.known.iter().zip(self.verdicts) {
            let is_there = verdict.place().is_some();
            if copy.forgotten {
                self.work.forgotten += u64::from(is_there || *verdict == Verdict::Unknown);
                continue;
            }
            let one = |path: &Path| OneCopy { when: When(copy.at), path: path.to_owned() };
            match verdict {
                Verdict::Moved { place } => {
                    let to = self.places.all[*place].path.clone();
                    moved.push(MovedCopy { when: When(copy.at), from: copy.path.clone(), to });
                }
                Verdict::Here { .. } if copy.state == CopyState::Gone => back.push(one(&copy.path)),
                Verdict::Gone => {
                    let is_old_news = copy.state == CopyState::Gone;
                    gone.push((one(&copy.path), is_pruned(series_of(self.copies, copy), copy.at, &left), is_old_news));
                }
                _ => {}
            }
        }
        if !moved.is_empty() {
            self.work.emit(Event::Moved { copies: moved });
        }
        back.into_iter().for_each(|copy| self.work.emit(Event::Back(copy)));
        self.work.emit_gone(gone);
        for (copy, _) in self.known.iter().zip(self.verdicts).filter(|(_, verdict)| **verdict == Verdict::Overwritten) {
            if !copy.forgotten {
                let why = format!(
                    "another backup was written over it; let every copy have a directory of its own (asof forget {}@{} removes the \
                     generation, whose bytes are gone)",
                    self.work.source.name,
                    copy.at.view_name()
                );
                let copy = OneCopy { when: When(copy.at), path: copy.path.clone() };
                self.work.emit(Event::Changed { copy, why, can_be_again: false });
            }
        }
        let (sights, verdicts) = (self.sights, self.verdicts);
        let is_unknown = |number: usize| sights[number] == Sight::Unknown && verdicts[number] == Verdict::Unknown;
        self.work.emit_unreachable(self.known, seen, is_unknown);
    }

    fn emit_left_aside(&mut self, discovered: &Discovered, seconds: &[Second]) {
        if !matches!(self.work.wish.which, Which::All) {
            return;
        }
        let mut lacks_dates = false;
        for LeftAside { path, why } in &discovered.left_aside {
            let is_known = self.places.at(path).is_some_and(|place| self.copy_at(place).is_some());
            let is_trouble = match why {
                // A copy that was indexed by hand, with --at, needs no date of its own.
                NoCopy::NoDate(_) | NoCopy::BadDate(_) => !is_known,
                NoCopy::Link { .. } | NoCopy::Unreadable(_) => true,
                // Unless it stands where a copy was.
                NoCopy::Alias { .. } | NoCopy::Housekeeping => is_known,
            };
            if is_trouble {
                lacks_dates |= matches!(why, NoCopy::NoDate(_));
                self.work.emit(Event::LeftAside { path: path.clone(), why: why.to_string() });
            }
        }
        if lacks_dates {
            let text = format!(
                "hint: asof source set {} --name-pattern \"backup-%Y%m%d\" says how names tell dates, --instant-from mtime asks for times",
                self.work.source.name
            );
            self.work.emit(Event::Note { text });
        }
        for Second { found, first } in seconds {
            let why = format!(
                "{first:?} is the copy of {} already; asof index {} PATH --at DATE gives it another second",
                found.taken_at, self.work.source.name
            );
            self.work.emit(Event::LeftAside { path: found.path.clone(), why });
        }
    }
}
