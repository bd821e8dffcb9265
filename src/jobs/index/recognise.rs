//! Which directory is which copy: what the catalog knows against what is there now.
//!
//! A directory is known by its inode number and birth time, under whatever name. Where these say nothing (no birth times, or
//! snapshots that all have those of their origin) it is known by its place and its date. A date that its name or mtime gives
//! decides where a name stands for another backup now: names that rotate, and copies that are refreshed in place.
//!
//! Promises: pure; every copy gets one verdict, and no directory is two copies. What cannot be looked at is neither there
//! nor gone.

use super::super::look::Root;
use crate::catalog::KnownCopy;
use crate::model::{Kind, SeenRoot, Time};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Something that is there: in the folder of copies, at the path of a known copy, or named by the admin.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) root: Root,
    /// The date that its name or mtime gives; none: they give none, or are not asked.
    pub(super) date: Option<Time>,
}

/// What can be said of the path at which a copy was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Something is there: a [`Place`].
    There,
    /// Nothing is.
    Missing,
    /// It could not be looked at.
    Unknown,
}

/// What became of a copy; places by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Where it was. `touched`: its root's ctime moved.
    Here { place: usize, touched: bool },
    /// Another directory is there under its name.
    Replaced { place: usize },
    /// It is elsewhere.
    Moved { place: usize },
    /// Another directory, elsewhere, has its date.
    Copied { place: usize },
    /// Its directory has another date now: another backup was written over it.
    Overwritten,
    /// It is nowhere.
    Gone,
    /// Its store cannot be looked at, and it is nowhere else.
    Unknown,
}

impl Verdict {
    /// Returns the place that is this copy.
    pub(super) fn place(self) -> Option<usize> {
        match self {
            Self::Here { place, .. } | Self::Replaced { place } | Self::Moved { place } | Self::Copied { place } => {
                Some(place)
            }
            Self::Overwritten | Self::Gone | Self::Unknown => None,
        }
    }
}

/// Returns a verdict for each of `known`; `sights` are of their paths, in the same order.
pub(super) fn recognise(known: &[KnownCopy], sights: &[Sight], places: &[Place]) -> Vec<Verdict> {
    let mut table = Table::new(known, sights, places);
    for number in 0..known.len() {
        table.where_it_was(number);
    }
    for number in 0..known.len() {
        table.same_directory_elsewhere(number);
    }
    for number in 0..known.len() {
        table.same_date_elsewhere(number);
    }
    (0..known.len()).map(|number| table.rest(number)).collect()
}

struct Table<'t> {
    known: &'t [KnownCopy],
    sights: &'t [Sight],
    places: &'t [Place],
    by_path: HashMap<&'t Path, usize>,
    /// Places by inode number and birth time; more than one where these say nothing, unless their file systems do.
    by_identity: HashMap<(u64, i64), Vec<usize>>,
    by_date: HashMap<Time, Vec<usize>>,
    /// Which places are copies already.
    taken: Vec<bool>,
    verdicts: Vec<Option<Verdict>>,
}

impl<'t> Table<'t> {
    fn new(known: &'t [KnownCopy], sights: &'t [Sight], places: &'t [Place]) -> Self {
        let mut table = Self {
            known,
            sights,
            places,
            by_path: HashMap::new(),
            by_identity: HashMap::new(),
            by_date: HashMap::new(),
            taken: vec![false; places.len()],
            verdicts: vec![None; known.len()],
        };
        let directories = places.iter().enumerate().filter(|(_, place)| place.root.kind == Some(Kind::Directory));
        for (number, place) in directories {
            table.by_path.insert(&place.path, number);
            let seen = place.root.seen;
            if seen.born_ns != 0 {
                table.by_identity.entry((seen.inode, seen.born_ns)).or_default().push(number);
            }
            if let Some(date) = place.date {
                table.by_date.entry(date).or_default().push(number);
            }
        }
        table
    }

    fn take(&mut self, copy: usize, place: usize, verdict: Verdict) {
        self.taken[place] = true;
        self.verdicts[copy] = Some(verdict);
    }

    /// Returns the directory at the path of a copy, if one is there.
    fn at_its_path(&self, copy: usize) -> Option<usize> {
        match self.sights[copy] {
            Sight::There => self.by_path.get(self.known[copy].path.as_path()).copied(),
            Sight::Missing | Sight::Unknown => None,
        }
    }

    /// Returns whether a place is the directory that a copy was; none: its file system does not say.
    fn is_same_directory(&self, copy: usize, place: usize) -> Option<bool> {
        let (was, is) = (self.known[copy].root?, self.places[place].root.seen);
        if was.is_on_another_filesystem_than(&is) {
            return Some(false);
        }
        if was.born_ns == 0 || is.born_ns == 0 || self.places_like(&is).count() > 1 {
            return None;
        }
        Some(was.is_directory(&is))
    }

    /// Returns the places that a directory may be, by what it is known by.
    fn places_like<'r>(&'r self, root: &'r SeenRoot) -> impl Iterator<Item = usize> + 'r {
        let places = self.by_identity.get(&(root.inode, root.born_ns)).into_iter().flatten().copied();
        places.filter(|place| root.is_directory(&self.places[*place].root.seen))
    }

    /// Returns whether a place has the inode number that a copy had, beside where it was. What was brought to another file system has
    /// another one, and may have other times: that is for a walk to find out.
    fn has_its_number(&self, copy: usize, place: usize) -> bool {
        let (copy, place) = (&self.known[copy], &self.places[place]);
        let is_its = |root: SeenRoot| {
            root.inode == place.root.seen.inode && !root.is_on_another_filesystem_than(&place.root.seen)
        };
        copy.root.is_some_and(is_its) && copy.path.parent() == place.path.parent()
    }

    /// Returns whether the mtime of a place, and not its name, gives another date than that of a copy that had its date from it.
    fn has_another_date_by_mtime(&self, copy: usize, place: usize) -> bool {
        let (copy, place) = (&self.known[copy], &self.places[place]);
        let by_mtime = place.date.is_some_and(|date| date != copy.at && date.0 == place.root.mtime.seconds);
        // One that was given its date by hand never date it.
        let had_it = copy.root_mtime_s == Some(copy.at.0);
        // Of a forgotten one nobody knows any more where its date came from; this is asked of what was touched since.
        by_mtime && (had_it || copy.forgotten)
    }

    /// A copy stays at its path unless the directory there is another one, or by its date another backup.
    fn where_it_was(&mut self, number: usize) {
        let Some(place) = self.at_its_path(number).filter(|place| !self.taken[*place]) else { return };
        let (copy, there) = (&self.known[number], &self.places[place]);
        let touched = copy.root.is_some_and(|root| root.ctime_ns != there.root.seen.ctime_ns);
        match self.is_same_directory(number, place) {
            Some(false) if there.date == Some(copy.at) && !copy.forgotten => {
                self.take(number, place, Verdict::Replaced { place });
            }
            Some(false) => {}
            Some(true) | None => {
                let is_untouched = copy.root.is_some_and(|root| root.inode == there.root.seen.inode) && !touched;
                if is_untouched || !self.has_another_date_by_mtime(number, place) {
                    self.take(number, place, Verdict::Here { place, touched });
                }
            }
        }
    }

    fn same_directory_elsewhere(&mut self, number: usize) {
        if self.verdicts[number].is_some() {
            return;
        }
        let copy = &self.known[number];
        let Some(root) = copy.root else { return };
        let mut places = self.places_like(&root);
        let (Some(place), None) = (places.next(), places.next()) else { return };
        drop(places);
        let there = &self.places[place];
        // It may have had the date of its mtime all along, where it was given another one by hand.
        let is_as_before = |date: Time| {
            date == copy.at
                || (date.0 == there.root.mtime.seconds && copy.root_mtime_s == Some(there.root.mtime.seconds))
        };
        if !self.taken[place] && there.path != copy.path && there.date.is_none_or(is_as_before) {
            self.take(number, place, Verdict::Moved { place });
        }
    }

    fn same_date_elsewhere(&mut self, number: usize) {
        let copy = &self.known[number];
        if self.verdicts[number].is_some() {
            return;
        }
        let Some(places) = self.by_date.get(&copy.at) else { return };
        // Of a forgotten one, whose store cannot be looked at, nobody will read whether it is the same: its name has to be, too.
        let has_to_be_called_so = copy.forgotten && self.sights[number] == Sight::Unknown;
        let is_free = |place: &usize| {
            let path = &self.places[*place].path;
            let is_called_so = path.file_name() == copy.path.file_name();
            !self.taken[*place] && *path != copy.path && (is_called_so || !has_to_be_called_so)
        };
        let Some(place) = places.iter().copied().find(is_free) else { return };
        let is_same = self.is_same_directory(number, place).unwrap_or_else(|| self.has_its_number(number, place));
        self.take(number, place, if is_same { Verdict::Moved { place } } else { Verdict::Copied { place } });
    }

    fn rest(&mut self, number: usize) -> Verdict {
        if let Some(verdict) = self.verdicts[number] {
            return verdict;
        }
        let (copy, sight) = (&self.known[number], self.sights[number]);
        let Some(place) = self.at_its_path(number) else {
            return if sight == Sight::Unknown { Verdict::Unknown } else { Verdict::Gone };
        };
        let there = &self.places[place];
        let same_number = copy.root.is_some_and(|root| root.inode == there.root.seen.inode);
        match self.is_same_directory(number, place) {
            Some(true) => Verdict::Overwritten,
            None if same_number => Verdict::Overwritten,
            _ if self.taken[place] || copy.forgotten => Verdict::Gone,
            // Where mtimes give dates, a directory with another one is another backup.
            _ if there.date.is_some_and(|date| date.0 == there.root.mtime.seconds) => Verdict::Gone,
            _ => {
                self.taken[place] = true;
                Verdict::Replaced { place }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CopyId, CopyState, FilesystemId, ObjectId, StoreId, Timestamp};

    /// A directory: path, inode number, ctime, mtime.
    type Dir = (&'static str, u64, i64, i64);

    fn root((_, inode, ctime, mtime): Dir, born_ns: i64) -> Root {
        Root {
            kind: Some(Kind::Directory),
            seen: SeenRoot { inode, born_ns, ctime_ns: ctime, filesystem: None },
            size_bytes: 0,
            mtime: Timestamp { seconds: mtime, nanos: 0 },
        }
    }

    /// A copy that was indexed as of `at` when it was `dir`.
    fn copy(dir: Dir, at: i64) -> KnownCopy {
        KnownCopy {
            id: CopyId(0),
            object: ObjectId(0),
            at: Time(at),
            forgotten: false,
            store: StoreId(0),
            store_path: "/copies".into(),
            path: Path::new("/copies").join(dir.0),
            state: CopyState::Present,
            looked_at: None,
            root: Some(root(dir, 7).seen),
            newest_ctime_ns: None,
            settled: true,
            root_mtime_s: Some(dir.3),
            root_mtime_ns: Some(0),
            parent: None,
        }
    }

    fn forgotten(dir: Dir, at: i64) -> KnownCopy {
        KnownCopy { forgotten: true, root_mtime_s: None, ..copy(dir, at) }
    }

    fn place(dir: Dir, date: Option<i64>) -> Place {
        Place { path: Path::new("/copies").join(dir.0), root: root(dir, 7), date: date.map(Time) }
    }

    /// A place whose mtime gives its date.
    fn by_mtime(dir: Dir) -> Place {
        place(dir, Some(dir.3))
    }

    fn without_birth_times(known: &mut [KnownCopy], places: &mut [Place]) {
        known.iter_mut().filter_map(|copy| copy.root.as_mut()).for_each(|root| root.born_ns = 0);
        places.iter_mut().for_each(|place| place.root.seen.born_ns = 0);
    }

    fn verdicts(known: &[KnownCopy], places: &[Place]) -> Vec<Verdict> {
        let is_there = |copy: &KnownCopy| places.iter().any(|place| place.path == copy.path);
        let sight = |copy: &KnownCopy| if is_there(copy) { Sight::There } else { Sight::Missing };
        recognise(known, &known.iter().map(sight).collect::<Vec<_>>(), places)
    }

    #[test]
    fn a_copy_that_nobody_touched_is_where_it_was() {
        let dir = ("2026-11-20", 1, 50, 40);
        assert_eq!(
            verdicts(&[copy(dir, 1000)], &[place(dir, Some(1000))]),
            [Verdict::Here { place: 0, touched: false }]
        );
    }

    #[test]
    fn a_ctime_that_moved_is_a_touch_of_the_same_copy() {
        let now = ("2026-11-20", 1, 60, 40);
        let known = copy(("2026-11-20", 1, 50, 40), 1000);
        assert_eq!(verdicts(&[known], &[place(now, Some(1000))]), [Verdict::Here { place: 0, touched: true }]);
    }

    #[test]
    fn rotation_moves_every_copy_and_loses_the_oldest() {
        let known =
            [copy(("daily.2", 1, 51, 10), 10), copy(("daily.1", 2, 52, 20), 20), copy(("daily.0", 3, 53, 30), 30)];
        let now =
            [by_mtime(("daily.0", 4, 60, 40)), by_mtime(("daily.1", 3, 61, 30)), by_mtime(("daily.2", 2, 62, 20))];
        let expected = [Verdict::Gone, Verdict::Moved { place: 2 }, Verdict::Moved { place: 1 }];
        assert_eq!(verdicts(&known, &now), expected);
        let (mut known, mut now) = (known, now);
        without_birth_times(&mut known, &mut now);
        assert_eq!(verdicts(&known, &now), expected);
    }

    #[test]
    fn a_promoted_copy_is_known_in_another_level() {
        let known =
            [copy(("daily.0", 1, 51, 10), 10), copy(("hourly.1", 2, 52, 20), 20), copy(("hourly.0", 3, 53, 30), 30)];
        let now = [
            by_mtime(("daily.1", 1, 60, 10)),
            by_mtime(("daily.0", 2, 60, 20)),
            by_mtime(("hourly.1", 3, 60, 30)),
            by_mtime(("hourly.0", 4, 60, 40)),
        ];
        let moved = |place| Verdict::Moved { place };
        assert_eq!(verdicts(&known, &now), [moved(0), moved(1), moved(2)]);
    }

    #[test]
    fn a_directory_that_is_refreshed_in_place_after_it_was_linked_away_is_the_new_copy() {
        // cp -al daily.0 daily.1, then rsync into daily.0.
        let known = [copy(("daily.0", 1, 51, 10), 10)];
        let now = [by_mtime(("daily.0", 1, 60, 20)), by_mtime(("daily.1", 2, 60, 10))];
        assert_eq!(verdicts(&known, &now), [Verdict::Copied { place: 1 }]);
    }

    #[test]
    fn a_directory_that_has_another_date_and_was_not_kept_elsewhere_is_overwritten() {
        let known = [copy(("current", 1, 51, 10), 10)];
        assert_eq!(verdicts(&known, &[by_mtime(("current", 1, 60, 20))]), [Verdict::Overwritten]);
    }

    #[test]
    fn a_copy_made_again_under_its_name_is_replaced() {
        let known = [copy(("2026-11-20", 1, 50, 40), 1000)];
        let now = ("2026-11-20", 2, 60, 40);
        assert_eq!(verdicts(&known, &[place(now, Some(1000))]), [Verdict::Replaced { place: 0 }]);
        // Also where the one before was put aside.
        let aside = place(("2026-11-20.bad", 1, 61, 40), None);
        assert_eq!(verdicts(&known, &[aside, place(now, Some(1000))]), [Verdict::Replaced { place: 1 }]);
    }

    #[test]
    fn a_copy_whose_date_was_given_by_hand_keeps_it_under_any_name() {
        let known = [copy(("daily.0", 1, 51, 10), 1000)];
        let moved = by_mtime(("daily.1", 1, 60, 10));
        assert_eq!(verdicts(&known, &[moved, by_mtime(("daily.0", 2, 60, 20))]), [Verdict::Moved { place: 0 }]);
        let touched = by_mtime(("daily.0", 1, 60, 30));
        assert_eq!(verdicts(&known, &[touched]), [Verdict::Here { place: 0, touched: true }]);
        let named = place(("daily.0", 1, 60, 30), Some(2000));
        assert_eq!(verdicts(&known, &[named]), [Verdict::Here { place: 0, touched: true }]);
    }

    #[test]
    fn snapshots_that_share_the_number_of_their_root_are_known_by_place_and_date() {
        let known = [copy(("2026-11-19", 256, 50, 40), 900), copy(("2026-11-20", 256, 50, 40), 1000)];
        let now = [place(("2026-11-20", 256, 50, 40), Some(1000)), place(("2026-11-21", 256, 50, 40), Some(1100))];
        assert_eq!(verdicts(&known, &now), [Verdict::Gone, Verdict::Here { place: 0, touched: false }]);
        // One alone is not taken for the one that was there before it.
        assert_eq!(verdicts(&known[..1], &now[1..]), [Verdict::Gone]);
    }

    /// File systems that were made in one second, each mounted as a copy.
    #[test]
    fn copies_whose_roots_differ_in_their_file_system_alone_are_told_apart() {
        let on = |place: Place, id| {
            let seen = SeenRoot { filesystem: Some(FilesystemId(id)), ..place.root.seen };
            Place { root: Root { seen, ..place.root }, ..place }
        };
        let was = |name, at, id| {
            let known = copy((name, 2, 50, 40), at);
            KnownCopy { root: known.root.map(|root| SeenRoot { filesystem: id, ..root }), ..known }
        };
        let (one, two) = (Some(FilesystemId(1)), Some(FilesystemId(2)));
        let known = [was("2026-11-19", 900, one), was("2026-11-20", 1000, two)];
        let now = |ids: [u64; 2]| {
            [
                on(place(("2026-11-19", 2, 50, 40), Some(900)), ids[0]),
                on(place(("2026-11-20", 2, 50, 40), Some(1000)), ids[1]),
            ]
        };
        let here = |place| Verdict::Here { place, touched: false };
        assert_eq!(verdicts(&known, &now([1, 2])), [here(0), here(1)]);
        assert_eq!(verdicts(&known, &now([2, 1])), [Verdict::Replaced { place: 0 }, Verdict::Replaced { place: 1 }]);
        // Under another name, without a date of its own.
        let moved = on(place(("other", 2, 50, 40), None), 1);
        assert_eq!(verdicts(&known[..1], &[moved]), [Verdict::Moved { place: 0 }]);
        // An older program did not write it down.
        let older = [was("2026-11-19", 900, None), was("2026-11-20", 1000, None)];
        assert_eq!(verdicts(&older, &now([2, 1])), [here(0), here(1)]);
    }

    #[test]
    fn a_copy_on_another_file_system_is_known_by_its_date() {
        let known = [copy(("2026-11-20", 1, 50, 40), 1000)];
        let elsewhere = Place { path: "/new/2026-11-20".into(), ..place(("x", 9, 60, 40), Some(1000)) };
        assert_eq!(
            recognise(&known, &[Sight::Unknown], std::slice::from_ref(&elsewhere)),
            [Verdict::Copied { place: 0 }]
        );
        let same = Place { path: "/new/2026-11-20".into(), ..place(("x", 1, 60, 40), Some(1000)) };
        assert_eq!(recognise(&known, &[Sight::Missing], &[same]), [Verdict::Moved { place: 0 }]);
    }

    #[test]
    fn a_forgotten_copy_on_a_new_disk_is_known_by_its_name_and_its_date() {
        let known = [forgotten(("2026-11-20", 1, 50, 40), 1000)];
        let on_new_disk =
            |name: &str, date| Place { path: Path::new("/new").join(name), ..place(("x", 9, 60, 40), Some(date)) };
        let verdict = |place| recognise(&known, &[Sight::Unknown], &[place]);
        assert_eq!(verdict(on_new_disk("2026-11-20", 1000)), [Verdict::Copied { place: 0 }]);
        assert_eq!(verdict(on_new_disk("20261120", 1000)), [Verdict::Unknown]);
        assert_eq!(verdict(on_new_disk("2026-11-20", 1001)), [Verdict::Unknown]);
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_gone() {
        let known = [copy(("2026-11-20", 1, 50, 40), 1000)];
        assert_eq!(recognise(&known, &[Sight::Unknown], &[]), [Verdict::Unknown]);
        assert_eq!(recognise(&known, &[Sight::Missing], &[]), [Verdict::Gone]);
    }

    #[test]
    fn a_forgotten_copy_is_known_where_it_is_and_where_it_moves_to() {
        let known = [forgotten(("daily.0", 1, 51, 10), 10)];
        let here = by_mtime(("daily.0", 1, 51, 10));
        assert_eq!(verdicts(&known, &[here]), [Verdict::Here { place: 0, touched: false }]);
        let now = [by_mtime(("daily.0", 2, 60, 20)), by_mtime(("daily.1", 1, 60, 10))];
        assert_eq!(verdicts(&known, &now), [Verdict::Moved { place: 1 }]);
        // One that was forgotten since its date was wrong does not come back under the right one.
        let wrong = [forgotten(("2026-11-20", 1, 51, 10), 5000)];
        let right = place(("2026-11-20", 1, 60, 10), Some(1000));
        assert_eq!(verdicts(&wrong, &[right]), [Verdict::Here { place: 0, touched: true }]);
    }

    #[test]
    fn a_forgotten_copy_that_is_made_again_is_a_new_one() {
        let known = [forgotten(("2026-11-20", 1, 51, 10), 1000)];
        assert_eq!(verdicts(&known, &[place(("2026-11-20", 2, 60, 10), Some(1000))]), [Verdict::Gone]);
    }
}
