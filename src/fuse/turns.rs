//! Who reads the files of directories in turn: what reads, listings and time tell of that, and which files are to be pushed for it.
//!
//! Promises: as [`super::ahead`] says. Asks nobody, and never waits: it is told what happened, and when. Memory is bounded: the files of
//! [`RUNS_MAX`] directories, as far as their readers have come.

use crate::view::{Ino, Neighbours};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Files ahead of the reader: 128 was as good as 32 with warm stores and better with cold ones.
pub(super) const WINDOW: usize = 128;
/// A read so few files after the last one is one in turn: tools skip what is larger, and read by number what was made anew.
const STEP_MAX: usize = 4;
/// After so many reads in turn the reader of a directory is taken to be reading them all.
const STEADY: u32 = 2;
/// Directories read in turn at one time.
const RUNS_MAX: usize = 16;
/// Processes that are known to read in turn.
const READERS_MAX: usize = 16;
/// A directory opened this soon after a run is taken for its continuation.
const MOMENTUM: Duration = Duration::from_secs(1);
/// Of so many directories pushed from their first file on without a read in turn, the next ones get a marker.
const UNCONFIRMED_MAX: u32 = 8;
/// After this many questions for neighbours in vain (random reads), only every [`SAMPLE`]th is asked.
const VAIN_MAX: u32 = 32;
const SAMPLE: u32 = 16;

#[derive(Default)]
pub(super) struct Turns {
    pub(super) runs: HashMap<u64, Run>,
    pub(super) places: HashMap<Ino, (u64, usize)>,
    next_run: u64,
    clock: u64,
    /// Of all who read.
    momentum: Momentum,
    /// Of each process that has read in turn, by its number.
    readers: HashMap<u32, Momentum>,
    in_vain: u32,
}

/// Whether directories are being read in turn, one after another.
#[derive(Clone, Copy, Default)]
struct Momentum {
    since: Option<Instant>,
    /// Directories whose files were pushed for it since a read in turn was last seen.
    unconfirmed: u32,
}

/// One directory (or part of it) that is being read in turn.
pub(super) struct Run {
    /// The first one is the file that was read when it began, or the directory that was listed.
    pub(super) files: Vec<Ino>,
    /// Shared with the pushers: files before this index are the reader's.
    pub(super) skip_to: Arc<AtomicUsize>,
    /// The first file that has not been ordered yet.
    pub(super) watermark: usize,
    /// Left out on purpose; its read is no sign of being overtaken.
    marker: Option<usize>,
    pub(super) last_read: usize,
    last_read_at: Instant,
    /// Reads in turn, one after another.
    in_turn: u32,
    used: u64,
    pub(super) is_ordered: bool,
    pub(super) is_whole: bool,
}

/// How a read follows the one before it in its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// In turn.
    Next,
    /// At what is being pushed, or right behind another reader: tells nothing.
    Within,
    /// From the beginning, long after the last one.
    Again,
    /// Anywhere else.
    Elsewhere,
}

pub(super) enum Order {
    /// Find the neighbours of a file; push them at once if there is momentum and it is the first one of its directory.
    Probe { ino: Ino, has_momentum: bool },
    /// Push the next window of a run.
    Push(u64),
    /// Push the first files of a directory that `pid` lists, and of which the kernel has `names`.
    Listed { dir: Ino, names: Names, pid: u32 },
}

/// How many names of a directory a kernel has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) count: usize,
    pub(super) are_all: bool,
}

/// What a run is made of.
pub(super) struct Start {
    /// The file that was read, or the directory that was listed.
    pub(super) ino: Ino,
    pub(super) neighbours: Neighbours,
    pub(super) is_whole: bool,
    /// Whether files are pushed before a second one was read.
    pub(super) is_at_once: bool,
    /// Who listed it.
    pub(super) lister: Option<u32>,
}

impl Momentum {
    fn is_there(&self, now: Instant) -> bool {
        self.since.is_some_and(|t| now.duration_since(t) < MOMENTUM)
    }

    /// Goes on at the first file of a directory. Returns whether its files get a marker, to see that somebody reads them.
    fn go_on(&mut self, now: Instant) -> bool {
        self.unconfirmed += 1;
        self.since = (self.unconfirmed <= 2 * UNCONFIRMED_MAX).then_some(now);
        self.unconfirmed > UNCONFIRMED_MAX
    }
}

impl Turns {
    pub(super) fn note(&mut self, ino: Ino, pid: u32, now: Instant) -> Option<Order> {
        self.clock += 1;
        let Some(&(id, index)) = self.places.get(&ino) else {
            let has_momentum = self.momentum.is_there(now);
            self.in_vain += 1;
            let ask = has_momentum || self.in_vain < VAIN_MAX || self.in_vain.is_multiple_of(SAMPLE);
            return ask.then_some(Order::Probe { ino, has_momentum });
        };
        let run = self.runs.get_mut(&id)?;
        run.used = self.clock;
        if run.read(index, now) == Step::Next {
            self.in_vain = 0;
        }
        let is_steady = run.in_turn >= STEADY;
        let low = run.watermark < index + 1 + WINDOW / 2;
        let more = run.watermark < run.files.len() || !run.is_whole;
        let is_wanted = run.in_turn > 0 && low && more && !run.is_ordered;
        run.is_ordered |= is_wanted;
        if is_steady {
            self.is_steady(pid, now);
        }
        is_wanted.then_some(Order::Push(id))
    }

    /// Notes that a process reads files in turn.
    fn is_steady(&mut self, pid: u32, now: Instant) {
        let fresh = Momentum { since: Some(now), unconfirmed: 0 };
        self.momentum = fresh;
        // 0: in another name space, or the kernel by itself.
        if pid == 0 {
            return;
        }
        if self.readers.len() >= READERS_MAX && !self.readers.contains_key(&pid) {
            let oldest = self.readers.iter().min_by_key(|(_, m)| m.since).map(|(pid, _)| *pid);
            oldest.and_then(|oldest| self.readers.remove(&oldest));
        }
        self.readers.insert(pid, fresh);
    }

    /// Tells whether the files of a directory that `pid` lists are to be pushed.
    pub(super) fn may_push_listed(&self, dir: Ino, pid: u32, now: Instant) -> bool {
        self.readers.get(&pid).is_some_and(|m| m.is_there(now)) && !self.places.contains_key(&dir)
    }

    /// Takes the neighbours of a file that was read, or the first files of a directory, for a run. Returns it if it is to be pushed at
    /// once.
    pub(super) fn insert(&mut self, start: Start, now: Instant) -> Option<u64> {
        let Start { ino, neighbours, is_whole, is_at_once, lister } = start;
        if neighbours.files.is_empty() || self.places.contains_key(&ino) {
            return None;
        }
        if self.runs.len() >= RUNS_MAX {
            let oldest = self.runs.iter().min_by_key(|(_, r)| r.used).map(|(id, _)| *id)?;
            self.remove(oldest);
        }
        let id = self.next_run;
        self.next_run += 1;
        let momentum = lister.map_or(Some(&mut self.momentum), |pid| self.readers.get_mut(&pid));
        let in_turn = match (is_at_once, momentum) {
            (false, _) => 0,
            (true, Some(momentum)) => {
                if momentum.go_on(now) {
                    1
                } else {
                    STEADY
                }
            }
            (true, None) => STEADY,
        };
        let files: Vec<_> = std::iter::once(ino).chain(neighbours.files).collect();
        for (index, ino) in files.iter().enumerate() {
            self.places.insert(*ino, (id, index));
        }
        let run = Run {
            files,
            skip_to: Arc::new(AtomicUsize::new(1)),
            watermark: 1,
            marker: None,
            last_read: 0,
            last_read_at: now,
            in_turn,
            used: self.clock,
            is_ordered: false,
            is_whole,
        };
        self.runs.insert(id, run);
        is_at_once.then_some(id)
    }

    fn remove(&mut self, id: u64) {
        let Some(run) = self.runs.remove(&id) else { return };
        for ino in run.files {
            if self.places.get(&ino).is_some_and(|place| place.0 == id) {
                self.places.remove(&ino);
            }
        }
    }

    /// Is told that the kernel holds nothing of what was to be pushed for a run.
    pub(super) fn give_up(&mut self, id: u64) {
        self.remove(id);
        self.momentum = Momentum::default();
        self.readers.clear();
    }
}

impl Run {
    fn step(&self, index: usize, now: Instant) -> Step {
        let is_soon = now.duration_since(self.last_read_at) <= MOMENTUM;
        let is_pushed = self.in_turn > 0 && index < self.watermark + STEP_MAX;
        match index {
            _ if self.marker == Some(index) => Step::Next,
            i if i + WINDOW < self.last_read || (i < self.last_read && !is_soon) => Step::Again,
            i if i <= self.last_read && i + STEP_MAX >= self.last_read => Step::Within,
            i if i < self.last_read => Step::Elsewhere,
            i if i <= self.last_read + STEP_MAX || (is_pushed && i >= self.watermark) => Step::Next,
            _ if is_pushed => Step::Within,
            _ => Step::Elsewhere,
        }
    }

    fn read(&mut self, index: usize, now: Instant) -> Step {
        let step = self.step(index, now);
        match step {
            Step::Next => self.in_turn += 1,
            Step::Within => {}
            // Another pass over the directory, and the kernel has dropped what it had.
            Step::Again => (self.in_turn, self.watermark) = (0, index + 1),
            Step::Elsewhere => self.in_turn = 0,
        }
        let is_again = step == Step::Again;
        if is_again || index + 1 > self.skip_to.load(Ordering::Relaxed) {
            self.skip_to.store(index + 1, Ordering::Relaxed);
        }
        self.last_read = if is_again { index } else { self.last_read.max(index) };
        self.last_read_at = now;
        step
    }

    /// Takes the next window: the files with their indexes, without the marker.
    pub(super) fn take(&mut self) -> Vec<(usize, Ino)> {
        let from = self.watermark.max(self.skip_to.load(Ordering::Relaxed)).min(self.files.len());
        let to = (self.last_read + 1 + WINDOW).clamp(from, self.files.len());
        self.watermark = to;
        self.is_ordered = false;
        let is_last = self.is_whole && to == self.files.len();
        self.marker = (!is_last || self.in_turn < STEADY).then_some(from.midpoint(to));
        (from..to).filter(|i| Some(*i) != self.marker).map(|i| (i, self.files[i])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: u32 = 4711;

    fn start(ino: Ino, neighbours: Neighbours, has_momentum: bool) -> Start {
        let is_at_once = has_momentum && neighbours.is_first;
        Start { ino, is_whole: neighbours.names < WINDOW, neighbours, is_at_once, lister: None }
    }

    /// The neighbours of a file: those with these numbers, in a directory that has others before it.
    fn files(inos: std::ops::RangeInclusive<u64>) -> Neighbours {
        let files: Vec<Ino> = inos.map(Ino).collect();
        Neighbours { names: files.len(), files, is_first: false }
    }

    fn indexes(window: &[(usize, Ino)]) -> (usize, usize, usize) {
        (window[0].0, window[window.len() - 1].0, window.len())
    }

    /// A run of the files 1 to `last`, the first of which was read.
    fn run_of(last: u64, now: Instant) -> (Turns, u64) {
        let mut state = Turns::default();
        state.insert(start(Ino(1), files(2..=last), false), now);
        (state, 0)
    }

    #[test]
    fn one_read_asks_for_neighbours_and_the_next_one_pushes() {
        let (mut state, now) = (Turns::default(), Instant::now());
        assert!(matches!(state.note(Ino(1), PID, now), Some(Order::Probe { ino: Ino(1), has_momentum: false })));
        assert_eq!(state.insert(start(Ino(1), files(2..=129), false), now), None);
        assert!(matches!(state.note(Ino(2), PID, now), Some(Order::Push(0))));
        // Ordered once, not again while the order is under way.
        assert!(state.note(Ino(3), PID, now).is_none());
        let run = state.runs.get_mut(&0).unwrap();
        // Index 2 was read last: the rest up to the window's end is pushed, but for the marker.
        assert_eq!(indexes(&run.take()), (3, 128, 125));
        assert_eq!(run.marker, Some(66));
    }

    #[test]
    fn a_second_read_further_on_or_further_back_pushes_nothing() {
        let now = Instant::now();
        for (read, then) in [(6, 9), (100, 20), (100, 200)] {
            let (mut state, _) = run_of(400, now);
            assert!(state.note(Ino(read), PID, now).is_none(), "{read}");
            assert!(!matches!(state.note(Ino(then + 50), PID, now), Some(Order::Push(_))), "{then}");
            assert!(!state.momentum.is_there(now));
        }
        // Four files on is still in turn.
        assert!(matches!(run_of(400, now).0.note(Ino(5), PID, now), Some(Order::Push(0))));
    }

    #[test]
    fn the_marker_orders_the_next_window_before_the_first_is_used_up() {
        let now = Instant::now();
        let (mut state, id) = run_of(400, now);
        state.note(Ino(2), PID, now);
        let run = state.runs.get_mut(&id).unwrap();
        assert_eq!(indexes(&run.take()), (2, 129, 127));
        let marker = run.marker.unwrap();
        let ino = run.files[marker];
        assert!(matches!(state.note(ino, PID, now), Some(Order::Push(_))));
        let run = state.runs.get_mut(&id).unwrap();
        assert_eq!(run.skip_to.load(Ordering::Relaxed), marker + 1);
        assert_eq!(indexes(&run.take()).0, 130);
    }

    #[test]
    fn a_reader_who_comes_to_the_end_of_what_was_pushed_goes_on_in_turn() {
        let now = Instant::now();
        let (mut state, id) = run_of(400, now);
        state.note(Ino(2), PID, now);
        let run = state.runs.get_mut(&id).unwrap();
        run.take();
        assert_eq!(run.step(130, now), Step::Next);
        assert_eq!(run.step(129, now), Step::Within, "he is faster than the store");
        assert_eq!(run.step(140, now), Step::Elsewhere);
    }

    #[test]
    fn a_directory_opened_right_after_a_run_is_pushed_from_its_first_file_on_and_from_no_other() {
        let now = Instant::now();
        let (mut state, id) = run_of(50, now);
        state.note(Ino(2), PID, now);
        assert!(!state.momentum.is_there(now), "one read in turn may be chance");
        state.note(Ino(3), PID, now);
        assert_eq!(state.runs[&id].in_turn, STEADY);
        assert!(matches!(state.note(Ino(1000), PID, now), Some(Order::Probe { has_momentum: true, .. })));
        assert_eq!(
            state.insert(start(Ino(1000), Neighbours { is_first: true, ..files(1001..=1009) }, true), now),
            Some(1)
        );
        assert_eq!(state.insert(start(Ino(2005), files(2006..=2009), true), now), None);
        let later = now + Duration::from_secs(2);
        assert!(matches!(state.note(Ino(3000), PID, later), Some(Order::Probe { has_momentum: false, .. })));
    }

    #[test]
    fn momentum_that_nobody_confirms_ends_and_a_marker_that_is_read_confirms_it() {
        let now = Instant::now();
        let first = |n: u64| Neighbours { is_first: true, ..files(n + 1..=n + 19) };
        for is_read in [true, false] {
            let (mut state, _) = run_of(50, now);
            state.note(Ino(2), PID, now);
            state.note(Ino(3), PID, now);
            let mut pushed = 0;
            for n in (1000..100_000).step_by(1000) {
                let has_momentum = state.momentum.is_there(now);
                let Some(id) = state.insert(start(Ino(n), first(n), has_momentum), now) else { continue };
                pushed += 1;
                let run = state.runs.get_mut(&id).unwrap();
                run.take();
                if let (Some(marker), true) = (run.marker, is_read) {
                    state.note(Ino(n + marker as u64), PID, now);
                }
            }
            assert_eq!(pushed, if is_read { 99 } else { 17 });
        }
    }

    #[test]
    fn who_has_read_in_turn_gets_the_files_of_a_directory_that_he_lists() {
        let now = Instant::now();
        let (mut state, _) = run_of(50, now);
        let (dir, other) = (Ino(9000), Ino(9100));
        let listed = |dir: Ino, lister| {
            let neighbours = files(dir.0 + 1..=dir.0 + 20);
            Start { ino: dir, neighbours, is_whole: true, is_at_once: true, lister: Some(lister) }
        };
        state.note(Ino(2), PID, now);
        assert!(!state.may_push_listed(dir, PID, now), "one read in turn may be chance");
        state.note(Ino(3), PID, now);
        assert!(state.may_push_listed(dir, PID, now));
        assert!(!state.may_push_listed(dir, PID + 1, now), "another one lists, and has read nothing");
        assert!(!state.may_push_listed(dir, 0, now));
        assert!(!state.may_push_listed(dir, PID, now + Duration::from_secs(2)));
        let id = state.insert(listed(dir, PID), now).unwrap();
        // All of them, from the first one on.
        assert_eq!(indexes(&state.runs.get_mut(&id).unwrap().take()), (1, 20, 20));
        assert!(!state.may_push_listed(dir, PID, now), "once");
        assert!(state.may_push_listed(other, PID, now));
        state.give_up(id);
        assert!(!state.may_push_listed(other, PID, now));
    }

    #[test]
    fn who_goes_on_listing_and_reads_nothing_gets_no_more_files_and_a_marker_that_is_read_confirms_him() {
        let now = Instant::now();
        for is_read in [true, false] {
            let (mut state, _) = run_of(50, now);
            state.note(Ino(2), PID, now);
            state.note(Ino(3), PID, now);
            let mut pushed = 0;
            for n in (1000..100_000).step_by(1000) {
                if !state.may_push_listed(Ino(n), PID, now) {
                    continue;
                }
                let neighbours = files(n + 1..=n + 20);
                let start = Start { ino: Ino(n), neighbours, is_whole: true, is_at_once: true, lister: Some(PID) };
                let id = state.insert(start, now).unwrap();
                pushed += 1;
                let run = state.runs.get_mut(&id).unwrap();
                run.take();
                if let (Some(marker), true) = (run.marker, is_read) {
                    state.note(Ino(n + marker as u64), PID, now);
                }
            }
            assert_eq!(pushed, if is_read { 99 } else { 17 });
        }
    }

    #[test]
    fn a_run_of_which_the_kernel_holds_nothing_ends_with_the_momentum() {
        let now = Instant::now();
        let (mut state, id) = run_of(50, now);
        state.note(Ino(2), PID, now);
        state.note(Ino(3), PID, now);
        state.give_up(id);
        assert!(state.runs.is_empty() && state.places.is_empty() && !state.momentum.is_there(now));
    }

    #[test]
    fn random_reads_soon_cost_one_question_in_sixteen() {
        let (mut state, now) = (Turns::default(), Instant::now());
        let asked = (0..1600).filter(|i| state.note(Ino(10_000 + i), PID, now).is_some()).count();
        assert_eq!(asked, 31 + 99);
    }

    #[test]
    fn an_overtaking_reader_is_skipped_ahead_of() {
        let now = Instant::now();
        let (mut state, id) = run_of(400, now);
        state.note(Ino(2), PID, now);
        state.runs.get_mut(&id).unwrap().take();
        state.note(Ino(41), PID, now);
        assert_eq!(state.runs[&id].skip_to.load(Ordering::Relaxed), 41);
    }

    #[test]
    fn a_second_pass_after_a_while_begins_anew() {
        let now = Instant::now();
        let (mut state, id) = run_of(50, now);
        state.note(Ino(2), PID, now);
        state.runs.get_mut(&id).unwrap().take();
        let later = now + Duration::from_secs(2);
        assert!(state.note(Ino(1), PID, later).is_none());
        assert!(matches!(state.note(Ino(2), PID, later), Some(Order::Push(_))));
        assert_eq!(indexes(&state.runs.get_mut(&id).unwrap().take()).0, 2);
    }

    #[test]
    fn the_least_recently_read_run_gives_way() {
        let (mut state, now) = (Turns::default(), Instant::now());
        for i in 0..=RUNS_MAX as u64 {
            state.clock += 1;
            state.insert(start(Ino(1000 * (i + 1)), files(1000 * (i + 1) + 1..=1000 * (i + 1) + 9), false), now);
        }
        assert_eq!(state.runs.len(), RUNS_MAX);
        assert!(!state.places.contains_key(&Ino(1000)));
        assert!(state.places.contains_key(&Ino(2000)));
    }
}
