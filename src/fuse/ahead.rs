//! Store-ahead: pushing the next small files of a directory into the kernel before they are asked for.
//!
//! `cp -a`, `tar` and `rsync` read the files of a directory one after another, and each small file costs
//! a round trip. So when files are read in turn, their neighbours' bytes go to the page cache with
//! NOTIFY_STORE, and those reads never come here.
//!
//! Promises: starts only when files are *read* in turn (the second read among neighbours, or the first
//! in the directory after one that was read so), never because of a listing. Stops by itself: a window
//! of [`WINDOW`] files is pushed for a read and no more. One file in each window is left out (the
//! *marker*), so that its read tells how far the reader is before the window is used up. A reader who
//! overtakes is skipped ahead of, not run after. Bytes are read in the lanes, so a hung store stops only its own.
//!
//! Never changes what is read: content does not change under an inode number, so it does not matter who comes first.

use super::lane::{Lanes, Work};
use crate::model::StoreId;
use crate::view::{Content, Ino, Tree};
use fuser::{INodeNo, Notifier};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Larger files are left to the kernel's own reading ahead.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 10;
/// Files ahead of the reader: 128 was as good as 32 with warm stores and better with cold ones.
const WINDOW: usize = 128;
/// How far behind an overtaking reader pushing goes on; what he reads next would come too late.
const MARGIN: usize = 3;
/// Directories read in turn at one time.
const RUNS_MAX: usize = 16;
/// Files to one piece of work in a lane.
const BATCH: usize = 8;
/// A directory opened this soon after a run is taken for its continuation.
const MOMENTUM: Duration = Duration::from_secs(1);
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
    notifier: OnceLock<Notifier>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runs: HashMap<u64, Run>,
    places: HashMap<Ino, (u64, usize)>,
    next_run: u64,
    clock: u64,
    last_in_turn: Option<Instant>,
    in_vain: u32,
}

/// One directory (or part of it) that is being read in turn.
struct Run {
    files: Vec<(Ino, u64)>,
    /// Shared with the pushers: files before this index are the reader's.
    skip_to: Arc<AtomicUsize>,
    /// The first file that has not been ordered yet.
    watermark: usize,
    /// Left out on purpose; its read is no sign of being overtaken.
    marker: Option<usize>,
    last_read: usize,
    last_read_at: Instant,
    used: u64,
    is_ordered: bool,
    is_whole: bool,
}

enum Order {
    /// Find the neighbours of a file; push them at once if `start`.
    Probe { ino: Ino, start: bool },
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
            notifier: OnceLock::new(),
            state: Mutex::default(),
        });
        let (orders, receiver) = sync_channel(ORDERS_MAX);
        let own = Arc::clone(&shared);
        std::thread::Builder::new().name("ahead".into()).spawn(move || direct(&own, &receiver))?;
        Ok(Self { shared, orders })
    }

    /// Tells through what to push; before that nothing is pushed.
    pub(super) fn connect(&self, notifier: Notifier) {
        let _ = self.shared.notifier.set(notifier);
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

impl State {
    fn note(&mut self, ino: Ino, now: Instant) -> Option<Order> {
        self.clock += 1;
        let Some(&(id, index)) = self.places.get(&ino) else {
            let momentum = self.last_in_turn.is_some_and(|t| now.duration_since(t) < MOMENTUM);
            self.in_vain += 1;
            let ask = momentum || self.in_vain < VAIN_MAX || self.in_vain.is_multiple_of(SAMPLE);
            return ask.then_some(Order::Probe { ino, start: momentum });
        };
        let run = self.runs.get_mut(&id)?;
        self.in_vain = 0;
        self.last_in_turn = Some(now);
        run.used = self.clock;
        run.read(index, now);
        let low = run.watermark < index + 1 + WINDOW / 2;
        let more = run.watermark < run.files.len() || !run.is_whole;
        if low && more && !run.is_ordered {
            run.is_ordered = true;
            return Some(Order::Push(id));
        }
        None
    }

    fn insert(&mut self, ino: Ino, files: Vec<(Ino, u64)>, is_whole: bool, now: Instant) -> Option<u64> {
        if files.is_empty() || self.places.contains_key(&ino) {
            return None;
        }
        if self.runs.len() >= RUNS_MAX {
            let oldest = self.runs.iter().min_by_key(|(_, r)| r.used).map(|(id, _)| *id)?;
            self.runs.remove(&oldest);
            self.places.retain(|_, place| place.0 != oldest);
        }
        let id = self.next_run;
        self.next_run += 1;
        let files: Vec<_> = std::iter::once((ino, 0)).chain(files).collect();
        for (index, (ino, _)) in files.iter().enumerate() {
            self.places.insert(*ino, (id, index));
        }
        let run = Run {
            files,
            skip_to: Arc::new(AtomicUsize::new(1 + MARGIN)),
            watermark: 1,
            marker: None,
            last_read: 0,
            last_read_at: now,
            used: self.clock,
            is_ordered: false,
            is_whole,
        };
        self.runs.insert(id, run);
        Some(id)
    }
}

impl Run {
    fn read(&mut self, index: usize, now: Instant) {
        let again = index + WINDOW < self.last_read
            || (index < self.last_read && now.duration_since(self.last_read_at) > MOMENTUM);
        if again {
            // Another pass over the directory, and the kernel has dropped what it had.
            self.watermark = index + 1;
        }
        let skip_to = if self.marker == Some(index) { index + 1 } else { index + 1 + MARGIN };
        if again || skip_to > self.skip_to.load(Ordering::Relaxed) {
            self.skip_to.store(skip_to, Ordering::Relaxed);
        }
        self.last_read = if again { index } else { self.last_read.max(index) };
        self.last_read_at = now;
    }

    /// Takes the next window: the files with their indexes, without the marker.
    fn take(&mut self) -> Vec<(usize, Ino)> {
        let from = self.watermark.max(self.skip_to.load(Ordering::Relaxed)).min(self.files.len());
        let to = (self.last_read + 1 + WINDOW).clamp(from, self.files.len());
        self.watermark = to;
        self.is_ordered = false;
        let is_last = self.is_whole && to == self.files.len();
        self.marker = (!is_last).then_some(from.midpoint(to));
        (from..to).filter(|i| Some(*i) != self.marker).map(|i| (i, self.files[i].0)).collect()
    }
}

/// The thread that asks the catalog for neighbours; ends when [`Ahead`] is dropped.
fn direct(shared: &Shared, orders: &Receiver<Order>) {
    for order in orders {
        let run = match order {
            Order::Probe { ino, start } => {
                let files = neighbours(shared, ino);
                let is_whole = files.len() < WINDOW;
                let id = shared.lock().insert(ino, files, is_whole, Instant::now());
                id.filter(|_| start)
            }
            Order::Push(id) => Some(id),
        };
        if let Some(id) = run {
            push_window(shared, id);
        }
    }
}

fn push_window(shared: &Shared, id: u64) {
    let Some(notifier) = shared.notifier.get() else { return };
    extend(shared, id);
    let (window, skip_to) = {
        let mut state = shared.lock();
        let Some(run) = state.runs.get_mut(&id) else { return };
        (run.take(), Arc::clone(&run.skip_to))
    };
    let mut batches: HashMap<StoreId, Vec<(usize, Ino)>> = HashMap::new();
    for (index, ino) in window {
        if index < skip_to.load(Ordering::Relaxed) {
            continue;
        }
        // What cannot be had is reported when somebody reads it.
        let Ok(Content::Stored { store }) = shared.tree.content(ino) else { continue };
        let batch = batches.entry(store).or_default();
        batch.push((index, ino));
        if batch.len() == BATCH {
            let batch = std::mem::take(batch);
            shared.lanes.ahead(store, push_batch(shared, notifier, batch, &skip_to));
        }
    }
    for (store, batch) in batches {
        shared.lanes.ahead(store, push_batch(shared, notifier, batch, &skip_to));
    }
}

/// Fetches more neighbours if the next window reaches the end of those known.
fn extend(shared: &Shared, id: u64) {
    let last = {
        let state = shared.lock();
        let Some(run) = state.runs.get(&id) else { return };
        if run.is_whole || run.last_read + 1 + WINDOW < run.files.len() {
            return;
        }
        run.files.last().map(|f| f.0)
    };
    let Some(last) = last else { return };
    let files = neighbours(shared, last);
    let mut state = shared.lock();
    let State { runs, places, .. } = &mut *state;
    let Some(run) = runs.get_mut(&id) else { return };
    run.is_whole = files.len() < WINDOW;
    for file in files {
        places.insert(file.0, (id, run.files.len()));
        run.files.push(file);
    }
}

fn neighbours(shared: &Shared, ino: Ino) -> Vec<(Ino, u64)> {
    match shared.tree.neighbours(ino, WINDOW, FILE_BYTES_MAX) {
        Ok(files) => files,
        Err(e) => {
            tracing::debug!("no neighbours of {}: {}", shared.tree.describe(ino), crate::model::chain(&e));
            Vec::new()
        }
    }
}

fn push_batch(shared: &Shared, notifier: &Notifier, batch: Vec<(usize, Ino)>, skip_to: &Arc<AtomicUsize>) -> Work {
    let (tree, notifier, skip_to) = (Arc::clone(&shared.tree), notifier.clone(), Arc::clone(skip_to));
    Box::new(move |buffer| {
        for (index, ino) in batch {
            if index >= skip_to.load(Ordering::Relaxed) {
                push(&tree, &notifier, ino, buffer);
            }
        }
    })
}

/// Pushes one file; what fails here is reported when somebody reads it.
fn push(tree: &Tree, notifier: &Notifier, ino: Ino, buffer: &mut Vec<u8>) {
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
        // An inode that the kernel does not hold is no error; a mount that ends is.
        let _ = notifier.store(INodeNo(ino.0), 0, &buffer[..size]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(inos: std::ops::RangeInclusive<u64>) -> Vec<(Ino, u64)> {
        inos.map(|i| (Ino(i), 4096)).collect()
    }

    fn indexes(window: &[(usize, Ino)]) -> (usize, usize, usize) {
        (window[0].0, window[window.len() - 1].0, window.len())
    }

    #[test]
    fn one_read_asks_for_neighbours_and_the_second_one_pushes() {
        let (mut state, now) = (State::default(), Instant::now());
        assert!(matches!(state.note(Ino(1), now), Some(Order::Probe { ino: Ino(1), start: false })));
        let id = state.insert(Ino(1), files(2..=129), false, now).unwrap();
        assert!(matches!(state.note(Ino(2), now), Some(Order::Push(i)) if i == id));
        // Ordered once, not again while the order is under way.
        assert!(state.note(Ino(3), now).is_none());
        let run = state.runs.get_mut(&id).unwrap();
        // Index 2 was read last: what comes next is the reader's, the rest up to the window's end is pushed.
        assert_eq!(indexes(&run.take()), (6, 128, 122));
        assert_eq!(run.marker, Some(67));
    }

    #[test]
    fn the_marker_orders_the_next_window_before_the_first_is_used_up() {
        let (mut state, now) = (State::default(), Instant::now());
        let id = state.insert(Ino(1), files(2..=400), false, now).unwrap();
        state.note(Ino(2), now);
        let run = state.runs.get_mut(&id).unwrap();
        assert_eq!(indexes(&run.take()), (5, 129, 124));
        let marker = run.marker.unwrap();
        let ino = run.files[marker].0;
        assert!(matches!(state.note(ino, now), Some(Order::Push(_))));
        let run = state.runs.get_mut(&id).unwrap();
        assert_eq!(run.skip_to.load(Ordering::Relaxed), marker + 1);
        assert_eq!(indexes(&run.take()).0, 130);
    }

    #[test]
    fn a_directory_opened_right_after_a_run_is_pushed_at_its_first_read() {
        let (mut state, now) = (State::default(), Instant::now());
        state.insert(Ino(1), files(2..=50), true, now);
        state.note(Ino(2), now);
        assert!(matches!(state.note(Ino(1000), now), Some(Order::Probe { start: true, .. })));
        let later = now + Duration::from_secs(2);
        assert!(matches!(state.note(Ino(2000), later), Some(Order::Probe { start: false, .. })));
    }

    #[test]
    fn random_reads_soon_cost_one_question_in_sixteen() {
        let (mut state, now) = (State::default(), Instant::now());
        let asked = (0..1600).filter(|i| state.note(Ino(10_000 + i), now).is_some()).count();
        assert_eq!(asked, 31 + 99);
    }

    #[test]
    fn an_overtaking_reader_is_skipped_ahead_of() {
        let (mut state, now) = (State::default(), Instant::now());
        let id = state.insert(Ino(1), files(2..=400), false, now).unwrap();
        state.note(Ino(2), now);
        state.runs.get_mut(&id).unwrap().take();
        state.note(Ino(41), now);
        assert_eq!(state.runs[&id].skip_to.load(Ordering::Relaxed), 40 + 1 + MARGIN);
    }

    #[test]
    fn the_least_recently_read_run_gives_way() {
        let (mut state, now) = (State::default(), Instant::now());
        for i in 0..=RUNS_MAX as u64 {
            state.clock += 1;
            state.insert(Ino(1000 * (i + 1)), files(1000 * (i + 1) + 1..=1000 * (i + 1) + 9), true, now);
        }
        assert_eq!(state.runs.len(), RUNS_MAX);
        assert!(!state.places.contains_key(&Ino(1000)));
        assert!(state.places.contains_key(&Ino(2000)));
    }
}
