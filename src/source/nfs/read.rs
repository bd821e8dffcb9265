//! Walks a copy breadth first: threads read directories ahead, the caller gets them in order.
//!
//! Promises: listings are handed over on the calling thread, strictly in the order of their numbers, while
//! [`WALKERS`] threads read the next ones. Memory is bounded by the names of all directories, by [`WINDOW`]
//! entries read ahead, and by one directory per thread, however large that is. When the caller breaks off or
//! panics the threads stop. Never skips a directory that a listing has named.

use super::bytes;
use super::directory::{Copy, Reader};
use super::mark::Mark;
use super::out::Read;
use crate::model::{Kind, RelPath, Timestamp, Walked};
use crate::source::{Error, FileStamp, NoDigest, OpenCopy, ScanStats, TopDirectory};
use crate::sys::mount;
use crate::sys::read;
use crate::sys::walk as sys;
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Threads that read directories.
const WALKERS: usize = 2;
/// Entries that may wait for the caller.
const WINDOW: usize = 65_536;
/// What a listing without entries counts in the window.
const LISTING_WEIGHT: usize = 4;
/// Entries that must be ready before the caller is woken while there is more to read: waking it for each
/// small directory costs as much as reading one.
const WAKE_AT: usize = 1024;
/// Entries that the caller takes at once.
const BATCH: usize = 4096;

/// A directory tree that is open.
#[derive(Debug)]
pub(super) struct OpenTree {
    path: PathBuf,
    copy: Copy,
    top: TopDirectory,
}

impl OpenTree {
    /// Opens the directory `path`.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Copy { path: path.to_owned(), source };
        let began = next_stamp();
        mount::expect_no_stranger_in_folder(path).map_err(fail)?;
        let root = sys::open_root(path).map_err(fail)?;
        let copy = Copy::new(root, began).map_err(fail)?;
        let top = copy.top().map_err(fail)?;
        Ok(Self { path: path.to_owned(), copy, top })
    }

    /// Opens a directory of it that no link and no mount leads to; none if no directory is there.
    pub(super) fn below(&self, below: &RelPath) -> Result<Option<Self>, Error> {
        let path = self.path.join(std::ffi::OsStr::from_bytes(below.as_bytes()));
        let fail = |source| Error::Copy { path: path.clone(), source };
        let dir = match self.copy.open_directory(below) {
            Ok(dir) => dir,
            Err(e) if is_no_directory(&e) => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        let copy = Copy::new(dir, next_stamp()).map_err(fail)?;
        let top = copy.top().map_err(fail)?;
        Ok(Some(Self { copy, top, path }))
    }
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) || read::is_link(error)
}

impl OpenCopy for OpenTree {
    fn top(&self) -> TopDirectory {
        self.top
    }

    fn scan(&self, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<ScanStats, Error> {
        let (copy, queue) = (&self.copy, Queue::new(self.copy.root_mark()));
        thread::scope(|scope| {
            let _stop = StopOnDrop(&queue);
            for number in 0..WALKERS {
                let started =
                    thread::Builder::new().name(format!("walk-{number}")).spawn_scoped(scope, || walk(copy, &queue));
                match started {
                    Err(source) if number == 0 => return Err(Error::Thread { path: self.path.clone(), source }),
                    // One thread walks as well, only slower.
                    Err(_) => break,
                    Ok(_) => {}
                }
            }
            Ok(deliver(&queue, each))
        })
    }

    fn digest(&self, path: &RelPath, file: &FileStamp) -> Result<[u8; 32], NoDigest> {
        bytes::digest(&self.copy, path, file)
    }
}

/// Returns a stamp that no file carries yet: waits, 1 to 20 ms, until the clock that file systems use has passed
/// the real time at the call. Else a file written just before the walk would look as if it changed during
/// it: that clock stands still between ticks and is behind at a tick, while Linux 6.13 and later stamp some
/// files with the real time (multigrain timestamps).
pub(super) fn next_stamp() -> Timestamp {
    let called = sys::real_clock();
    for _ in 0..200 {
        let now = sys::stamp_clock();
        if now > called {
            return now;
        }
        thread::sleep(Duration::from_micros(500));
    }
    called
}

fn deliver(queue: &Queue, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> ScanStats {
    let mut stats = ScanStats::default();
    loop {
        let mut batch = queue.take_ready();
        if batch.is_empty() {
            if each(Walked::Waiting).is_break() {
                return stats;
            }
            batch = queue.wait_ready();
        }
        if batch.is_empty() {
            return stats;
        }
        for read in batch {
            stats.directories += 1;
            stats.entries += read.listing.entries.len() as u64;
            stats.findings += read.listing.findings.len() as u64;
            stats.changed |= read.changed;
            if each(Walked::Listing(Box::new(read.listing))).is_break() {
                return stats;
            }
        }
    }
}

fn walk(copy: &Copy, queue: &Queue) {
    let _stop = StopOnPanic(queue);
    let mut reader = Reader::new(copy);
    while let Some(task) = queue.take_task() {
        let path = RelPath::parse(&task.path).expect("a path of names from listings is made of names");
        queue.put(reader.read(task.number as u64, path, task.mark));
    }
}

/// The next directory to read.
struct Task {
    number: usize,
    path: Vec<u8>,
    mark: Mark,
}

/// All directories named so far: number to parent and name, with the marks of those not yet taken.
///
/// Flat tables and not a tree of allocations: about 28 bytes and the name for each directory.
#[derive(Default)]
struct Frontier {
    parents: Vec<usize>,
    name_ends: Vec<usize>,
    names: Vec<u8>,
    taken: usize,
    marks: VecDeque<Mark>,
}

impl Frontier {
    fn add(&mut self, parent: usize, name: &[u8], mark: Mark) {
        self.parents.push(parent);
        self.names.extend_from_slice(name);
        self.name_ends.push(self.names.len());
        self.marks.push_back(mark);
    }

    fn take(&mut self) -> Option<Task> {
        let mark = self.marks.pop_front()?;
        let number = self.taken;
        self.taken += 1;
        Some(Task { number, path: self.path(number), mark })
    }

    fn path(&self, number: usize) -> Vec<u8> {
        let mut chain = Vec::new();
        let mut at = number;
        while at != 0 {
            chain.push(at);
            at = self.parents[at];
        }
        let mut path = Vec::with_capacity(chain.len() * 16);
        for at in chain.into_iter().rev() {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&self.names[self.name_ends[at - 1]..self.name_ends[at]]);
        }
        path
    }
}

struct State {
    frontier: Frontier,
    /// Listings read out of turn; the first place is for the number `in_order`.
    early: VecDeque<Option<Read>>,
    /// How many listings have had their turn: their directories are in the frontier.
    in_order: usize,
    /// Listings that wait for the caller, in order, and what they weigh.
    ready: VecDeque<Read>,
    ready_weight: usize,
    /// What waits in `early` and `ready`.
    held_weight: usize,
    caller_waits: bool,
    walkers_wait: usize,
    stopped: bool,
}

impl State {
    /// Tells whether every directory that was named has been read.
    fn is_all_read(&self) -> bool {
        self.in_order == self.frontier.parents.len()
    }
}

/// The place where walkers and caller meet.
struct Queue {
    state: Mutex<State>,
    to_read: Condvar,
    to_deliver: Condvar,
}

impl Queue {
    fn new(root: Mark) -> Self {
        let mut frontier = Frontier::default();
        frontier.add(0, b"", root);
        let state = State {
            frontier,
            early: VecDeque::new(),
            in_order: 0,
            ready: VecDeque::new(),
            ready_weight: 0,
            held_weight: 0,
            caller_waits: false,
            walkers_wait: 0,
            stopped: false,
        };
        Self { state: Mutex::new(state), to_read: Condvar::new(), to_deliver: Condvar::new() }
    }

    /// Locks. A panic of another thread is seen by `stopped`; the state itself is whole between calls.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next directory to read, waits for one, or returns none when there will be no more.
    ///
    /// Directories are taken in order, so the one that all others wait for is always being read.
    fn take_task(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.is_all_read() {
                return None;
            }
            if state.held_weight < WINDOW
                && let Some(task) = state.frontier.take()
            {
                return Some(task);
            }
            self.wake_caller(&mut state, 1);
            state.walkers_wait += 1;
            state = self.to_read.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.walkers_wait -= 1;
        }
    }

    /// Takes in what was read.
    fn put(&self, read: Read) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.held_weight += weight(&read);
        let place = usize::try_from(read.listing.number).expect("it was a usize") - state.in_order;
        if state.early.len() <= place {
            state.early.resize_with(place + 1, || None);
        }
        state.early[place] = Some(read);
        while let Some(Some(_)) = state.early.front() {
            let Some(Some(read)) = state.early.pop_front() else { break };
            let directories = read.listing.entries.iter().filter(|e| e.attrs.kind() == Kind::Directory);
            for (entry, mark) in directories.zip(&read.marks) {
                state.frontier.add(state.in_order, entry.name.as_bytes(), *mark);
            }
            state.in_order += 1;
            state.ready_weight += weight(&read);
            state.ready.push_back(read);
        }
        if state.walkers_wait > 0 {
            self.to_read.notify_all();
        }
        let enough = if state.is_all_read() { 0 } else { WAKE_AT };
        self.wake_caller(state, enough);
    }

    fn wake_caller(&self, state: &mut State, enough: usize) {
        if state.caller_waits && state.ready_weight >= enough {
            state.caller_waits = false;
            self.to_deliver.notify_one();
        }
    }

    /// Returns the listings that are ready, in order.
    fn take_ready(&self) -> Vec<Read> {
        self.take_batch(&mut self.lock())
    }

    /// Returns the next listings in order, waits for them, or returns none when all were handed over.
    fn wait_ready(&self) -> Vec<Read> {
        let mut guard = self.lock();
        while guard.ready.is_empty() && !guard.stopped && !guard.is_all_read() {
            guard.caller_waits = true;
            guard = self.to_deliver.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        guard.caller_waits = false;
        self.take_batch(&mut guard)
    }

    fn take_batch(&self, state: &mut State) -> Vec<Read> {
        let mut batch = Vec::new();
        let mut taken = 0;
        while taken < BATCH
            && let Some(read) = state.ready.pop_front()
        {
            taken += weight(&read);
            batch.push(read);
        }
        state.ready_weight -= taken;
        state.held_weight -= taken;
        if state.walkers_wait > 0 {
            self.to_read.notify_all();
        }
        batch
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.to_read.notify_all();
        self.to_deliver.notify_all();
    }
}

fn weight(read: &Read) -> usize {
    read.listing.entries.len() + LISTING_WEIGHT
}

/// Stops the walkers when the caller is done, by whatever way it leaves.
struct StopOnDrop<'q>(&'q Queue);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Lets the caller go when a walker panics; the scope then passes the panic on.
struct StopOnPanic<'q>(&'q Queue);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}
