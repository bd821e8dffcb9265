//! Store-ahead: pushing the next small files of a directory into the kernel before they are asked for.
//!
//! `cp -a`, `tar` and `rsync` read the files of a directory one after another, and each small file costs
//! a round trip. So when files are read in turn, their neighbours' bytes go to the page cache with
//! NOTIFY_STORE, and those reads never come here.
//!
//! Promises: starts only when files are *read* in turn, never because of a listing alone ([`super::turns`]): at the second read, if it is
//! one of the four files after the first; at the first one in a directory, if that is its first file and directories have just been
//! read so; and when a directory is listed by the very process that has just read others so. And a file is opened, and its beginning read
//! into the store's own cache, when it is looked up by a process that reads what it looks up ([`super::looked`]). No byte is asked of a
//! store for an inode that the kernel does not hold, and where it holds none of a batch, nobody is reading in turn: the run and the
//! momentum end. Stops by itself: a window of [`WINDOW`] files is pushed for a read and no more. One file in a window is left out (the
//! *marker*), so that its read tells how far the reader is before the window is used up, or that there is a reader at all. A reader who
//! overtakes is skipped ahead of, not run after. Bytes are read in the lanes, so a hung store stops only its own.
//!
//! Never changes what is read: content does not change under an inode number, so it does not matter who comes first.

use super::lane::{Lanes, Work};
use super::looked::Looked;
use super::page_cache::PageCache;
use super::turns::{Names, Order, Start, Turns, WINDOW};
use crate::model::{Kind, StoreId};
use crate::store::OpenFile;
use crate::view::{Content, Ino, Neighbours, Stat, Tree};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// Larger files are left to the kernel's own reading ahead.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Files above the first size are pushed up to the second one together in one window; so much may be read in vain.
const LARGE_BYTES: u64 = 64 << 10;
const LARGE_BYTES_MAX: u64 = 8 << 20;
/// What the kernel asks for at first of a file that it opens, as a rule.
const FIRST_BYTES: u64 = 128 << 10;
/// Files to one piece of work in a lane.
const BATCH: usize = 8;
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
    turns: Mutex<Turns>,
    looked: Mutex<Looked>,
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
            turns: Mutex::default(),
            looked: Mutex::default(),
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

    /// Is told of every read at offset 0, of how many bytes, and by which process. Never waits for a disk.
    pub(super) fn read(&self, ino: Ino, size_bytes: u32, pid: u32) {
        self.shared.looked().read(ino, pid);
        // Of a larger file more is asked for.
        if u64::from(size_bytes) > FILE_BYTES_MAX {
            return;
        }
        let order = self.shared.lock().note(ino, pid, Instant::now());
        if let Some(order) = order {
            // Full: the reader is faster than the catalog, and the next read orders again.
            if let Err(std::sync::mpsc::TrySendError::Full(Order::Push(run))) = self.orders.try_send(order) {
                self.shared.lock().runs.entry(run).and_modify(|r| r.is_ordered = false);
            }
        }
    }

    /// Is told of every look-up of a file, and by which process. Never waits for a disk.
    ///
    /// Of whoever reads what he looks up it has the store asked for the beginning: it is on its way while he still opens the file.
    pub(super) fn looked_up(&self, stat: &Stat, pid: u32) {
        if stat.kind != Kind::File || stat.size_bytes == 0 || !self.shared.looked().look_up(stat.ino, pid) {
            return;
        }
        let (tree, ino) = (Arc::clone(&self.shared.tree), stat.ino);
        // What cannot be had is reported when he reads it.
        let Ok(Content::Stored { store, .. }) = tree.content(ino) else { return };
        let work = move |_: &mut Vec<u8>| drop(tree.open(ino).map(|file| file.read_ahead(FIRST_BYTES)));
        self.shared.lanes.soon(store, Box::new(work));
    }

    /// Is told that a process goes on listing a directory, of whose names the kernel has these. Never waits for a disk.
    pub(super) fn listed(&self, dir: Ino, names: Names, pid: u32) {
        // Whoever asks for a few names at a time has too few to begin with.
        let are_enough = (names.are_all && names.count > 0) || names.count >= WINDOW;
        if are_enough && self.shared.lock().may_push_listed(dir, pid, Instant::now()) {
            // Full: its first read orders as well.
            let _ = self.orders.try_send(Order::Listed { dir, names, pid });
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.turns.lock().expect("no holder of the lock panics")
    }

    fn looked(&self) -> std::sync::MutexGuard<'_, Looked> {
        self.looked.lock().expect("no holder of the lock panics")
    }
}

/// The thread that asks the catalog for neighbours; ends when [`Ahead`] is dropped.
fn direct(shared: &Arc<Shared>, orders: &Receiver<Order>) {
    for order in orders {
        let run = match order {
            Order::Probe { ino, has_momentum } => {
                let neighbours = neighbours(shared, ino);
                let is_at_once = has_momentum && neighbours.is_first;
                let is_whole = neighbours.names < WINDOW;
                shared.lock().insert(Start { ino, neighbours, is_whole, is_at_once, lister: None }, Instant::now())
            }
            Order::Listed { dir, names, pid } => {
                let wanted = names.count.min(WINDOW);
                let neighbours = known(shared, dir, shared.tree.first_files(dir, wanted, FILE_BYTES_MAX));
                let is_whole = names.are_all && names.count == wanted;
                let start = Start { ino: dir, neighbours, is_whole, is_at_once: true, lister: Some(pid) };
                shared.lock().insert(start, Instant::now())
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
        let mut turns = shared.lock();
        let Some(run) = turns.runs.get_mut(&id) else { return };
        (run.take(), Arc::clone(&run.skip_to))
    };
    let mut batches: HashMap<StoreId, Vec<(usize, Ino)>> = HashMap::new();
    let hand_over = |store, files| {
        let batch = Batch { shared: Arc::clone(shared), run: id, files, skip_to: Arc::clone(&skip_to) };
        shared.lanes.ahead(store, batch.into_work());
    };
    let mut large_bytes = 0;
    for (index, ino) in window {
        if index < skip_to.load(Ordering::Relaxed) {
            continue;
        }
        // What cannot be had is reported when somebody reads it.
        let Ok(Content::Stored { store, size_bytes }) = shared.tree.content(ino) else { continue };
        if size_bytes > LARGE_BYTES {
            large_bytes += size_bytes;
            if large_bytes > LARGE_BYTES_MAX {
                continue;
            }
        }
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
        let turns = shared.lock();
        let Some(run) = turns.runs.get(&id) else { return };
        if run.is_whole || run.last_read + 1 + WINDOW < run.files.len() {
            return;
        }
        run.files.last().copied()
    };
    let Some(last) = last else { return };
    let found = neighbours(shared, last);
    let mut turns = shared.lock();
    let Turns { runs, places, .. } = &mut *turns;
    let Some(run) = runs.get_mut(&id) else { return };
    // Nothing but other kinds and larger files for a whole window: left to the next read.
    run.is_whole = found.names < WINDOW || found.files.is_empty();
    for ino in found.files {
        places.insert(ino, (id, run.files.len()));
        run.files.push(ino);
    }
}

fn neighbours(shared: &Shared, ino: Ino) -> Neighbours {
    known(shared, ino, shared.tree.neighbours(ino, WINDOW, FILE_BYTES_MAX))
}

fn known(shared: &Shared, ino: Ino, asked: Result<Neighbours, crate::view::Error>) -> Neighbours {
    asked.unwrap_or_else(|e| {
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
            let mut opened = Vec::with_capacity(BATCH);
            for (index, ino) in self.files {
                if index < self.skip_to.load(Ordering::Relaxed) {
                    continue;
                }
                asked += 1;
                if page_cache.holds(ino) {
                    held += 1;
                    opened.extend(open(&self.shared.tree, ino).map(|file| (index, ino, file)));
                }
            }
            if asked > 0 && held == 0 {
                self.shared.lock().give_up(self.run);
            }
            for (index, ino, file) in opened {
                // His read has them by now, or waits for the same disk.
                if index >= self.skip_to.load(Ordering::Relaxed) {
                    push(page_cache, ino, &file, buffer);
                }
            }
        })
    }
}

/// Opens one file and has its store bring its bytes meanwhile; what fails here is reported when somebody reads it.
fn open(tree: &Tree, ino: Ino) -> Option<Arc<OpenFile>> {
    let file = tree.open(ino).ok().filter(|file| (1..=FILE_BYTES_MAX).contains(&file.size_bytes()))?;
    file.read_ahead(FILE_BYTES_MAX);
    Some(file)
}

/// Pushes one file.
fn push(page_cache: &PageCache, ino: Ino, file: &OpenFile, buffer: &mut Vec<u8>) {
    let size = file.size_bytes() as usize;
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    if file.read_at(&mut buffer[..size], 0).is_ok() {
        // Forgotten in the meantime is no error; a mount that ends is.
        let _ = page_cache.store(ino, &buffer[..size]);
    }
}
