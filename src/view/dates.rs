//! Numbers of the directories that are named by a date other than the listed ones.
//!
//! The kernel knows a directory under one name: when another name leads to the same number, it moves the directory
//! there (`d_splice_alias`, fs/dcache.c). A process that stood in `@2026-11-19T000000Z` was in `@latest`, says `/proc`,
//! once somebody else had looked that up, and in `@latest (deleted)` after the next publication (Linux 6.18). So each
//! spelling has a number of its own, as long as there is room.
//!
//! Promises: a number shows the view that its name meant when it was given; a later look-up that means another view
//! gives another number. Memory is bounded, and nothing is used up: with [`KEPT_MAX`] directories in use, those that
//! nobody asked for in [`GRACE_S`] make room, and where there are none a new spelling has the number of its view
//! itself, which shows the same. A number is given anew when all others of the range were, which takes 42 days
//! of look-ups as fast as room is made.

use super::Ino;
use super::retired::GRACE_S;
use crate::catalog::numbers::PASSING;
use crate::model::{SourceId, Time, ViewId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Directories that are kept: some 200 bytes each.
const KEPT_MAX: usize = 16_384;

/// The directories of dates that were looked up.
pub(super) struct Dates {
    kept_max: usize,
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The number that each name has now, by the source in whose directory it is, or none at the top.
    names: HashMap<Option<SourceId>, HashMap<Box<[u8]>, ViewId>>,
    directories: HashMap<ViewId, Directory>,
    /// Where in the range the next number is looked for.
    next: i64,
    /// Until then nothing makes room, in unix seconds.
    full_until: i64,
}

struct Directory {
    source: Option<SourceId>,
    name: Box<[u8]>,
    target: ViewId,
    /// When anything in it was last asked for, in unix seconds.
    used_at: AtomicI64,
}

impl Default for Dates {
    fn default() -> Self {
        Self::keeping(KEPT_MAX)
    }
}

impl Dates {
    fn keeping(kept_max: usize) -> Self {
        Self { kept_max, kept: RwLock::default() }
    }

    /// Returns the view that the directory with this number shows, if there is such a directory.
    pub(super) fn target(&self, view: ViewId, now: Time) -> Option<ViewId> {
        self.read().directories.get(&view).map(|directory| directory.used(now))
    }

    /// Returns the number of the directory `name` of `source` (or of the top) that shows `target`.
    pub(super) fn number(&self, source: Option<SourceId>, name: &[u8], target: ViewId, now: Time) -> ViewId {
        if let Some(view) = self.read().known(source, name, target, now) {
            return view;
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if let Some(view) = kept.known(source, name, target, now) {
            return view;
        }
        if kept.directories.len() >= self.kept_max && !kept.make_room(self.kept_max, now) {
            return target;
        }
        let view = kept.free_number();
        let directory = Directory { source, name: name.into(), target, used_at: AtomicI64::new(now.0) };
        kept.directories.insert(view, directory);
        kept.names.entry(source).or_default().insert(name.into(), view);
        view
    }

    /// Returns the numbers of the directories at the top.
    pub(super) fn at_the_top(&self) -> Vec<ViewId> {
        let kept = self.read();
        kept.directories.iter().filter(|(_, directory)| directory.source.is_none()).map(|(view, _)| *view).collect()
    }

    /// Returns every name that does not mean what it meant any more, with its directory. `means` tells whether one means
    /// this view.
    pub(super) fn moved(&self, mut means: impl FnMut(Option<SourceId>, &[u8], ViewId) -> bool) -> Vec<(Ino, Vec<u8>)> {
        let kept = self.read();
        let current = kept.names.values().flat_map(HashMap::values).filter_map(|view| kept.directories.get(view));
        let moved = current.filter(|directory| !means(directory.source, &directory.name, directory.target));
        moved.map(|directory| (directory.source.map_or(Ino::ROOT, Ino::of_source), directory.name.to_vec())).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn known(&self, source: Option<SourceId>, name: &[u8], target: ViewId, now: Time) -> Option<ViewId> {
        let view = *self.names.get(&source)?.get(name)?;
        (self.directories.get(&view)?.target == target).then(|| {
            self.directories[&view].used(now);
            view
        })
    }

    /// Lets the directories go that nobody has asked for, and tells whether there is room now.
    fn make_room(&mut self, kept_max: usize, now: Time) -> bool {
        if now.0 < self.full_until {
            return false;
        }
        let ends = |directory: &Directory| directory.used_at.load(Ordering::Relaxed).saturating_add(GRACE_S);
        self.directories.retain(|_, directory| ends(directory) > now.0);
        let directories = &self.directories;
        self.names.values_mut().for_each(|names| names.retain(|_, view| directories.contains_key(view)));
        self.names.retain(|_, names| !names.is_empty());
        self.full_until = self.directories.values().map(ends).min().unwrap_or(now.0);
        self.directories.len() < kept_max
    }

    /// Returns the next number that no directory has; there are far more than directories that are kept.
    fn free_number(&mut self) -> ViewId {
        loop {
            let view = ViewId(PASSING.start + self.next);
            self.next = (self.next + 1) % (PASSING.end - PASSING.start);
            if !self.directories.contains_key(&view) {
                return view;
            }
        }
    }
}

impl Directory {
    fn used(&self, now: Time) -> ViewId {
        self.used_at.store(now.0, Ordering::Relaxed);
        self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const TOP: Option<SourceId> = None;
    const NOW: Time = Time(1_795_262_400);
    const SHOWN: ViewId = ViewId(7);

    fn later(seconds: i64) -> Time {
        Time(NOW.0 + seconds)
    }

    #[test]
    fn each_spelling_has_a_number_of_its_own_as_long_as_it_means_the_same() {
        let dates = Dates::keeping(8);
        let latest = dates.number(TOP, b"@latest", SHOWN, NOW);
        assert_eq!(dates.number(TOP, b"@latest", SHOWN, later(5)), latest);
        let others = [
            dates.number(TOP, b"@now", SHOWN, NOW),
            dates.number(Some(SourceId(1)), b"@latest", SHOWN, NOW),
            dates.number(TOP, b"@latest", ViewId(8), NOW),
        ];
        assert_eq!(HashSet::from(others).len(), 3);
        assert!(!others.contains(&latest));
        assert_eq!(dates.target(latest, NOW), Some(SHOWN), "the old number goes on");
        assert_eq!(dates.number(TOP, b"@latest", ViewId(8), NOW), others[2]);
    }

    #[test]
    fn only_names_that_mean_something_else_have_moved() {
        let dates = Dates::keeping(8);
        dates.number(TOP, b"@latest", SHOWN, NOW);
        dates.number(TOP, b"@yesterday", SHOWN, NOW);
        dates.number(Some(SourceId(1)), b"@latest", SHOWN, NOW);
        let means = |source, name: &[u8], view| source == TOP && name == b"@yesterday" && view == SHOWN;
        let mut moved = dates.moved(means);
        moved.sort();
        assert_eq!(moved, [(Ino::ROOT, b"@latest".to_vec()), (Ino::of_source(SourceId(1)), b"@latest".to_vec())]);
    }

    /// Somebody looks up a million dates while another one works in a directory that was named by a date.
    #[test]
    fn a_million_dates_use_nothing_up_and_take_no_directory_away() {
        let dates = Dates::default();
        let inside = dates.number(TOP, b"@2026-11-20", SHOWN, NOW);
        let mut own_numbers = 0;
        for n in 0..1_000_000 {
            // A thousand in a second, for a quarter of an hour.
            let now = later(n / 1000);
            assert_eq!(dates.target(inside, now), Some(SHOWN));
            let view = dates.number(TOP, format!("@-{n}s").as_bytes(), ViewId(n % 100 + 1), now);
            own_numbers += i64::from(view != ViewId(n % 100 + 1));
        }
        assert_eq!(own_numbers, KEPT_MAX as i64 - 1);
        assert_eq!(dates.read().directories.len(), KEPT_MAX);
        assert_eq!(dates.number(TOP, b"@tomorrow", SHOWN, later(1000)), SHOWN, "it shows the right view all the same");
        let after = later(1000 + GRACE_S);
        assert_eq!(dates.target(inside, later(GRACE_S)), Some(SHOWN));
        let new = dates.number(TOP, b"@tomorrow", SHOWN, after);
        assert!(PASSING.contains(&new.0), "there is room again");
        assert_eq!(dates.read().directories.len(), 2, "who is inside has his place");
        assert_eq!(dates.target(inside, after), Some(SHOWN));
    }

    #[test]
    fn a_directory_that_made_room_is_gone_and_its_number_comes_again_after_all_others() {
        let dates = Dates::keeping(1);
        let first = dates.number(TOP, b"@latest", SHOWN, NOW);
        assert_eq!(dates.number(TOP, b"@now", SHOWN, later(GRACE_S - 1)), SHOWN);
        let second = dates.number(TOP, b"@now", SHOWN, later(GRACE_S));
        assert_eq!((first.0, second.0), (PASSING.start, PASSING.start + 1));
        assert_eq!(dates.target(first, later(GRACE_S)), None);
        dates.kept.write().unwrap().next = PASSING.end - 1 - PASSING.start;
        let ends = [2, 3].map(|n| dates.number(TOP, b"@today", SHOWN, later(n * GRACE_S)).0);
        assert_eq!(ends, [PASSING.end - 1, PASSING.end - 1], "it is still in use");
        assert_eq!(dates.number(TOP, b"@oldest", SHOWN, later(4 * GRACE_S)).0, PASSING.start);
    }
}
