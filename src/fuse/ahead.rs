//! Store-ahead: pushing the next small files of a directory into the kernel before they are asked for.
//!
//! `cp -a`, `tar` and `rsync` read the files of a directory one after another, and each small file costs
//! a round trip. So when files are read in turn, their neighbours' bytes go to the page cache with
//! NOTIFY_STORE, and those reads never come here.
//!
//! Promises: starts only when files are *read* in turn, never because of a listing: at the second read, if it is one of the
//! [`STEP_MAX`] files after the first; and at the first one in a directory, if that is its first file and directories
//! have just been read so ([`Momentum`]). No byte is asked of a store for an inode that the kernel does not hold, and where it
//! holds none of a batch, nobody is reading in turn: the run and the momentum end. Stops by itself: a window of [`WINDOW`] files is pushed for
//! a read and no more. One file in a window is left out (the *marker*), so that its read tells how far the reader is before
//! the window is used up, or that there is a reader at all. A reader who overtakes is skipped ahead of, not run after. Bytes are
//! read in the lanes, so a hung store stops only its own.
//!
//! Never changes what is read: content does not change under an inode number, so it does not matter who comes first.

use super::lane::{Lanes, Work};
use super::page_cache::PageCache;
use crate::model::StoreId;
use crate::view::{Content, Ino, Neighbours, Tree};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Larger files are left to the kernel's own reading ahead.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 10;
/// Files ahead of the reader: 128 was as good as 32 with warm stores and better with cold ones.
const WINDOW: usize = 128;
/// A read so few files after the last one is one in turn: tools skip what is larger, and read by number what was made anew.
const STEP_MAX: usize = 4;
/// After so many reads in turn the reader of a directory is taken to be reading them all.
const STEADY: u32 = 2;
/// Directories read in turn at one time.
const RUNS_MAX: usize = 16;
/// Files to one piece of work in a lane.
const BATCH: usize = 8;
/// A directory opened this soon after a run is taken for its continuation.
const MOMENTUM: Duration = Duration::from_secs(1);
/// Of so many directories pushed from their first file on without a read in turn, the next ones get a marker.
const UNCONFIRMED_MAX: u32 = 8;
/// After this many questions for neighbours in vain (random reads), only every [`SAMPLE`]th is asked.
const VAIN_MAX: u32 = 32;
const SAMPLE: u32 = 16;
const ORDERS_MAX: usize = 64;

/// Watches reads and has neighbours pushed.
pub(super) struct Ahead {
    shared: Arc<Shared>,
    orders: SyncSender<Order>,
}

struct Shared {
    tree: Arc<Tree>,
    lanes: Arc<Lanes>,
    page_cache: OnceLock<PageCache>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runs: HashMap<u64, Run>,
    places: HashMap<Ino, (u64, usize)>,
    next_run: u64,
    clock: u64,
    momentum: Momentum,
    in_vain: u32,
}

/// Whether directories are being read in turn, one after another.
#[derive(Default)]
struct Momentum {
    since: Option<Instant>,
    /// Directories whose files were pushed for it since a read in turn was last seen.
    unconfirmed: u32,
}

/// One directory (or part of it) that is being read in turn.
struct Run {
    files: Vec<Ino>,
    /// Shared with the pushers: files before this index are the reader's.
    skip_to: Arc<AtomicUsize>,
    /// The first file that has not been ordered yet.
    watermark: usize,
    /// Left out on purpose; its read is no sign of being overtaken.
    marker: Option<usize>,
    last_read: usize,
    last_read_at: Instant,
    /// Reads in turn, one after another.
    in_turn: u32,
    used: u64,
    is_ordered: bool,
    is_whole: bool,
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

enum Order {
    /// Find the neighbours of a file; push them at once if there is momentum and it is the first one of its directory.
    Probe { ino: Ino, has_momentum: bool },
    /// Push the next window of a run.
    Push(u64),
}

impl Ahead {
    /// Starts the thread that finds neighbours.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn new(tree: &Arc<Tree>, lanes: &Arc<Lanes>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            tree: Arc::clone(tree),
            lanes: Arc::clone(lanes),
            page_cache: OnceLock::new(),
            state: Mutex::default(),
        });
        let (orders, receiver) = sync_channel(ORDERS_MAX);
        let own = Arc::clone(&shared);
        std::thread::Builder::new().name("ahead".into()).spawn(move || direct(&own, &receiver))?;
        Ok(Self { shared, orders })
    }

    /// Tells through what to push; before that nothing is pushed.
    pub(super) fn connect(&self, page_cache: PageCache) {
        let _ = self.shared.page_cache.set(page_cache);
    }

    /// Is told of every read at offset 0 of a file that may be small. Never waits for a disk.
    pub(super) fn note(&self, ino: Ino) {
        let order = self.shared.lock().note(ino, Instant::now());
        if let Some(order) = order {
            // Full: the reader is faster than the catalog, and the next read orders again.
            if let Err(std::sync::mpsc::TrySendError::Full(Order::Push(run))) = self.orders.try_send(order) {
                self.shared.lock().runs.entry(run).and_modify(|r| r.is_ordered = false);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
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

impl State {
    fn note(&mut self, ino: Ino, now: Instant) -> Option<Order> {
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
        if run.in_turn >= STEADY {
            self.momentum = Momentum { since: Some(now), unconfirmed: 0 };
        }
        let low = run.watermark < index + 1 + WINDOW / 2;
        let more = run.watermark < run.files.len() || !run.is_whole;
        if run.in_turn > 0 && low && more && !run.is_ordered {
            run.is_ordered = true;
            return Some(Order::Push(id));
        }
        None
    }

    /// Takes the neighbours of a file that was read for a run. Returns it if it is to be pushed at once.
    fn insert(&mut self, ino: Ino, neighbours: Neighbours, has_momentum: bool, now: Instant) -> Option<u64> {
        if neighbours.files.is_empty() || self.places.contains_key(&ino) {
            return None;
        }
        if self.runs.len() >= RUNS_MAX {
            let oldest = self.runs.iter().min_by_key(|(_, r)| r.used).map(|(id, _)| *id)?;
            self.remove(oldest);
        }
        let id = self.next_run;
        self.next_run += 1;
        let is_start = has_momentum && neighbours.is_first;
        let in_turn = match is_start {
            false => 0,
            true if self.momentum.go_on(now) => 1,
            true => STEADY,
        };
        let is_whole = neighbours.names < WINDOW;
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
        is_start.then_some(id)
    }

    fn remove(&mut self, id: u64) {
        self.runs.remove(&id);
        self.places.retain(|_, place| place.0 != id);
    }

    /// Is told that the kernel holds nothing of what was to be pushed for a run.
    fn give_up(&mut self, id: u64) {
        self.remove(id);
        self.momentum = Momentum::default();
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
    fn take(&mut self) -> Vec<(usize, Ino)> {
        let from = self.watermark.max(self.skip_to.load(Ordering::Relaxed)).min(self.files.len());
        let to = (self.last_read + 1 + WINDOW).clamp(from, self.files.len());
        self.watermark = to;
        self.is_ordered = false;
        let is_last = self.is_whole && to == self.files.len();
        self.marker = (!is_last || self.in_turn < STEADY).then_some(from.midpoint(to));
        (from..to).filter(|i| Some(*i) != self.marker).map(|i| (i, self.files[i])).collect()
    }
}

/// The thread that asks the catalog for neighbours; ends when [`Ahead`] is dropped.
fn direct(shared: &Arc<Shared>, orders: &Receiver<Order>) {
    for order in orders {
        let run = match order {
            Order::Probe { ino, has_momentum } => {
                let neighbours = neighbours(shared, ino);
                shared.lock().insert(ino, neighbours, has_momentum, Instant::now())
            }
            Order::Push(id) => Some(id),
        };
        if let Some(id) = run {
            push_window(shared, id);
        }
    }
}

fn push_window(shared: &Arc<Shared>, id: u64) {
    if shared.page_cache.get().is_none() {
        return;
    }
    extend(shared, id);
    let (window, skip_to) = {
        let mut state = shared.lock();
        let Some(run) = state.runs.get_mut(&id) else { return };
        (run.take(), Arc::clone(&run.skip_to))
    };
    let mut batches: HashMap<StoreId, Vec<(usize, Ino)>> = HashMap::new();
    let hand_over = |store, files| {
        let batch = Batch { shared: Arc::clone(shared), run: id, files, skip_to: Arc::clone(&skip_to) };
        shared.lanes.ahead(store, batch.into_work());
    };
    for (index, ino) in window {
        if index < skip_to.load(Ordering::Relaxed) {
            continue;
        }
        // What cannot be had is reported when somebody reads it.
        let Ok(Content::Stored { store }) = shared.tree.content(ino) else { continue };
        let batch = batches.entry(store).or_default();
        batch.push((index, ino));
        if batch.len() == BATCH {
            hand_over(store, std::mem::take(batch));
        }
    }
    batches.into_iter().for_each(|(store, files)| hand_over(store, files));
}

/// Fetches more neighbours if the next window reaches the end of those known.
fn extend(shared: &Shared, id: u64) {
    let last = {
        let state = shared.lock();
        let Some(run) = state.runs.get(&id) else { return };
        if run.is_whole || run.last_read + 1 + WINDOW < run.files.len() {
            return;
        }
        run.files.last().copied()
    };
    let Some(last) = last else { return };
    let found = neighbours(shared, last);
    let mut state = shared.lock();
    let State { runs, places, .. } = &mut *state;
    let Some(run) = runs.get_mut(&id) else { return };
    // Nothing but other kinds and larger files for a whole window: left to the next read.
    run.is_whole = found.names < WINDOW || found.files.is_empty();
    for ino in found.files {
        places.insert(ino, (id, run.files.len()));
        run.files.push(ino);
    }
}

fn neighbours(shared: &Shared, ino: Ino) -> Neighbours {
    shared.tree.neighbours(ino, WINDOW, FILE_BYTES_MAX).unwrap_or_else(|e| {
        tracing::debug!("no neighbours of {}: {}", shared.tree.describe(ino), crate::model::chain(&e));
        Neighbours::default()
    })
}

/// Some files of a run that lie in one store.
struct Batch {
    shared: Arc<Shared>,
    run: u64,
    files: Vec<(usize, Ino)>,
    skip_to: Arc<AtomicUsize>,
}

impl Batch {
    fn into_work(self) -> Work {
        Box::new(move |buffer| {
            let Some(page_cache) = self.shared.page_cache.get() else { return };
            let (mut asked, mut held) = (0, 0);
            for (index, ino) in self.files {
                if index < self.skip_to.load(Ordering::Relaxed) {
                    continue;
                }
                asked += 1;
                if page_cache.holds(ino) {
                    held += 1;
                    push(&self.shared.tree, page_cache, ino, buffer);
                }
            }
            if asked > 0 && held == 0 {
                self.shared.lock().give_up(self.run);
            }
        })
    }
}

/// Pushes one file; what fails here is reported when somebody reads it.
fn push(tree: &Tree, page_cache: &PageCache, ino: Ino, buffer: &mut Vec<u8>) {
    let Ok(file) = tree.open(ino) else { return };
    let size = file.size_bytes();
    if size == 0 || size > FILE_BYTES_MAX {
        return;
    }
    let size = size as usize;
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    if file.read_at(&mut buffer[..size], 0).is_ok() {
        // Forgotten in the meantime is no error; a mount that ends is.
        let _ = page_cache.store(ino, &buffer[..size]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The neighbours of a file: those with these numbers, in a directory that has others before it.
    fn files(inos: std::ops::RangeInclusive<u64>) -> Neighbours {
        let files: Vec<Ino> = inos.map(Ino).collect();
        Neighbours { names: files.len(), files, is_first: false }
    }

    fn indexes(window: &[(usize, Ino)]) -> (usize, usize, usize) {
        (window[0].0, window[window.len() - 1].0, window.len())
    }

    /// A run of the files 1 to `last`, the first of which was read.
    fn run_of(last: u64, now: Instant) -> (State, u64) {
        let mut state = State::default();
        state.insert(Ino(1), files(2..=last), false, now);
        (state, 0)
    }

    #[test]
    fn one_read_asks_for_neighbours_and_the_next_one_pushes() {
        let (mut state, now) = (State::default(), Instant::now());
        assert!(matches!(state.note(Ino(1), now), Some(Order::Probe { ino: Ino(1), has_momentum: false })));
        assert_eq!(state.insert(Ino(1), files(2..=129), false, now), None);
        assert!(matches!(state.note(Ino(2), now), Some(Order::Push(0))));
        // Ordered once, not again while the order is under way.
        assert!(state.note(Ino(3), now).is_none());
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
            assert!(state.note(Ino(read), now).is_none(), "{read}");
            assert!(!matches!(state.note(Ino(then + 50), now), Some(Order::Push(_))), "{then}");
            assert!(!state.momentum.is_there(now));
        }
        // Four files on is still in turn.
        assert!(matches!(run_of(400, now).0.note(Ino(5), now), Some(Order::Push(0))));
    }

    #[test]
    fn the_marker_orders_the_next_window_before_the_first_is_used_up() {
        let now = Instant::now();
        let (mut state, id) = run_of(400, now);
        state.note(Ino(2), now);
        let run = state.runs.get_mut(&id).unwrap();
        assert_eq!(indexes(&run.take()), (2, 129, 127));
        let marker = run.marker.unwrap();
        let ino = run.files[marker];
        assert!(matches!(state.note(ino, now), Some(Order::Push(_))));
        let run = state.runs.get_mut(&id).unwrap();
        assert_eq!(run.skip_to.load(Ordering::Relaxed), marker + 1);
        assert_eq!(indexes(&run.take()).0, 130);
    }

    #[test]
    fn a_reader_who_comes_to_the_end_of_what_was_pushed_goes_on_in_turn() {
        let now = Instant::now();
        let (mut state, id) = run_of(400, now);
        state.note(Ino(2), now);
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
        state.note(Ino(2), now);
        assert!(!state.momentum.is_there(now), "one read in turn may be chance");
        state.note(Ino(3), now);
        assert_eq!(state.runs[&id].in_turn, STEADY);
        assert!(matches!(state.note(Ino(1000), now), Some(Order::Probe { has_momentum: true, .. })));
        assert_eq!(state.insert(Ino(1000), Neighbours { is_first: true, ..files(1001..=1009) }, true, now), Some(1));
        assert_eq!(state.insert(Ino(2005), files(2006..=2009), true, now), None);
        let later = now + Duration::from_secs(2);
        assert!(matches!(state.note(Ino(3000), later), Some(Order::Probe { has_momentum: false, .. })));
    }

    #[test]
    fn momentum_that_nobody_confirms_ends_and_a_marker_that_is_read_confirms_it() {
        let now = Instant::now();
        let first = |n: u64| Neighbours { is_first: true, ..files(n + 1..=n + 19) };
        for is_read in [true, false] {
            let (mut state, _) = run_of(50, now);
            state.note(Ino(2), now);
            state.note(Ino(3), now);
            let mut pushed = 0;
            for n in (1000..100_000).step_by(1000) {
                let has_momentum = state.momentum.is_there(now);
                let Some(id) = state.insert(Ino(n), first(n), has_momentum, now) else { continue };
                pushed += 1;
                let run = state.runs.get_mut(&id).unwrap();
                run.take();
                if let (Some(marker), true) = (run.marker, is_read) {
                    state.note(Ino(n + marker as u64), now);
                }
            }
            assert_eq!(pushed, if is_read { 99 } else { 17 });
        }
    }

    #[test]
    fn a_run_of_which_the_kernel_holds_nothing_ends_with_the_momentum() {
        let now = Instant::now();
        let (mut state, id) = run_of(50, now);
        state.note(Ino(2), now);
        state.note(Ino(3), now);
        state.give_up(id);
        assert!(state.runs.is_empty() && state.places.is_empty() && !state.momentum.is_there(now));
    }

    #[test]
    fn random_reads_soon_cost_one_question_in_sixteen() {
        let (mut state, now) = (State::default(), Instant::now());
        let asked = (0..1600).filter(|i| state.note(Ino(10_000 + i), now).is_some()).count();
        assert_eq!(asked, 31 + 99);
    }

    #[test]
    fn an_overtaking_reader_is_skipped_ahead_of() {
        let now = Instant::now();
        let (mut state, id) = run_of(400, now);
        state.note(Ino(2), now);
        state.runs.get_mut(&id).unwrap().take();
        state.note(Ino(41), now);
        assert_eq!(state.runs[&id].skip_to.load(Ordering::Relaxed), 41);
    }

    #[test]
    fn a_second_pass_after_a_while_begins_anew() {
        let now = Instant::now();
        let (mut state, id) = run_of(50, now);
        state.note(Ino(2), now);
        state.runs.get_mut(&id).unwrap().take();
        let later = now + Duration::from_secs(2);
        assert!(state.note(Ino(1), later).is_none());
        assert!(matches!(state.note(Ino(2), later), Some(Order::Push(_))));
        assert_eq!(indexes(&state.runs.get_mut(&id).unwrap().take()).0, 2);
    }

    #[test]
    fn the_least_recently_read_run_gives_way() {
        let (mut state, now) = (State::default(), Instant::now());
        for i in 0..=RUNS_MAX as u64 {
            state.clock += 1;
            state.insert(Ino(1000 * (i + 1)), files(1000 * (i + 1) + 1..=1000 * (i + 1) + 9), false, now);
        }
        assert_eq!(state.runs.len(), RUNS_MAX);
        assert!(!state.places.contains_key(&Ino(1000)));
        assert!(state.places.contains_key(&Ino(2000)));
    }
}
