//! Lanes: the threads that may wait for a store, apart for each store, with a deadline for every answer.
//!
//! Promises: handing over work never waits. Whoever asked gets an answer within the timeout (looked at
//! eight times in its course) even if the thread that works for him hangs for ever; what that thread
//! brings later is dropped. A hung store holds at most its own [`WORKERS_MAX`] threads, and once all of
//! them are overdue, new requests are refused at once until one comes back. Reading ahead never takes
//! more than [`AHEAD_MAX`] threads of a lane, so readers always find one.
//!
//! Never knows what the work is.

use crate::model::StoreId;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::{Builder, Thread};
use std::time::{Duration, Instant};

/// Threads of one store, those that read ahead included.
const WORKERS_MAX: usize = 8;
/// Of these, how many may read ahead: two, so that one can wait for a cold disk while the other pushes.
const AHEAD_MAX: usize = 2;
/// Requests that wait for a thread: one for each waiting process, and 1,024 that the kernel asks by itself. Who comes after so many is
/// refused at once, though the store may only be slow.
const QUEUE_MAX: usize = 32_768;
/// Pieces of reading ahead that wait; more than these would come too late anyway.
const AHEAD_QUEUE_MAX: usize = 64;
/// After that time without work a thread ends.
const IDLE: Duration = Duration::from_secs(10);

/// Work for a lane; the buffer is the thread's own and keeps its size between pieces of work.
pub(super) type Work = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// Why somebody gets an error in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The deadline passed.
    Timeout(Duration),
    /// All threads of the store are overdue.
    Hung,
    /// Too many wait already.
    Full,
    /// The process may start no thread, and there is none that works for the store.
    NoThread,
}

/// Somebody who waits for an answer.
pub(super) trait Asker: Send + Sync {
    /// Is told that no answer comes; may be called when the answer was already given, and is then silent.
    fn give_up(&self, why: Late);
}

/// The lanes of one mount.
pub(super) struct Lanes {
    inner: Arc<Inner>,
    watchdog: Thread,
}

struct Inner {
    timeout: Duration,
    lanes: Mutex<HashMap<StoreId, Arc<Lane>>>,
    /// Requests that have no answer yet, in all lanes.
    open: AtomicUsize,
    watchdog_sleeps: AtomicBool,
}

#[derive(Default)]
struct Lane {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    asked: VecDeque<Asked>,
    ahead: VecDeque<Work>,
    running: Vec<Running>,
    workers: usize,
    idle: usize,
    ahead_running: usize,
    next_ticket: u64,
}

struct Asked {
    since: Instant,
    asker: Arc<dyn Asker>,
    work: Work,
}

struct Running {
    ticket: u64,
    since: Instant,
    asker: Arc<dyn Asker>,
    overdue: bool,
}

enum Piece {
    Asked { ticket: u64, work: Work },
    Ahead(Work),
}

impl Lanes {
    /// Returns lanes in which every answer comes within `timeout`.
    ///
    /// # Errors
    /// If the thread that watches the deadlines cannot be started.
    pub(super) fn new(timeout: Duration) -> std::io::Result<Self> {
        let inner = Arc::new(Inner {
            timeout,
            lanes: Mutex::new(HashMap::new()),
            open: AtomicUsize::new(0),
            watchdog_sleeps: AtomicBool::new(false),
        });
        let watched = Arc::downgrade(&inner);
        let handle = Builder::new().name("deadlines".into()).spawn(move || watch(&watched))?;
        Ok(Self { inner, watchdog: handle.thread().clone() })
    }

    /// Hands over work that somebody waits for.
    pub(super) fn ask(&self, store: StoreId, asker: Arc<dyn Asker>, work: Work) {
        let lane = self.lane(store);
        let mut state = lane.lock();
        let refused = match (state.overdue() + state.ahead_running, state.asked.len()) {
            (stuck, _) if stuck >= WORKERS_MAX && state.overdue() > 0 => Some(Late::Hung),
            (_, waiting) if waiting >= QUEUE_MAX => Some(Late::Full),
            _ => None,
        };
        if let Some(why) = refused {
            drop(state);
            return asker.give_up(why);
        }
        self.inner.open.fetch_add(1, Ordering::SeqCst);
        state.asked.push_back(Asked { since: Instant::now(), asker, work });
        self.rouse(store, &lane, state, WORKERS_MAX);
        if self.inner.watchdog_sleeps.swap(false, Ordering::SeqCst) {
            self.watchdog.unpark();
        }
    }

    /// Hands over work that nobody waits for; forgotten if too much of it waits already.
    pub(super) fn ahead(&self, store: StoreId, work: Work) {
        let lane = self.lane(store);
        let mut state = lane.lock();
        if state.ahead.len() < AHEAD_QUEUE_MAX {
            state.ahead.push_back(work);
            self.rouse(store, &lane, state, AHEAD_MAX);
        }
    }

    fn lane(&self, store: StoreId) -> Arc<Lane> {
        let mut lanes = self.inner.lanes.lock().expect(UNPOISONED);
        Arc::clone(lanes.entry(store).or_default())
    }

    /// Wakes a thread of the lane or starts one, up to `workers_max`.
    fn rouse(&self, store: StoreId, lane: &Arc<Lane>, mut state: std::sync::MutexGuard<'_, State>, workers_max: usize) {
        if state.idle > 0 {
            lane.news.notify_one();
            return;
        }
        if state.workers >= workers_max {
            return;
        }
        state.workers += 1;
        drop(state);
        let (own_lane, inner) = (Arc::clone(lane), Arc::clone(&self.inner));
        let started = Builder::new().name(format!("store-{store}")).spawn(move || work(&own_lane, &inner));
        if let Err(e) = started {
            tracing::warn!("no thread for store {store}: {e}");
            for asker in lane.give_back() {
                self.inner.open.fetch_sub(1, Ordering::SeqCst);
                asker.give_up(Late::NoThread);
            }
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.watchdog.unpark();
        for lane in self.inner.lanes.lock().expect(UNPOISONED).values() {
            lane.news.notify_all();
        }
    }
}

impl Lane {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }

    /// Counts a thread out that could not be started. Where no other one works for the lane, nobody would ever come to what waits: returns
    /// who asked for it.
    fn give_back(&self) -> Vec<Arc<dyn Asker>> {
        let mut state = self.lock();
        state.workers -= 1;
        if state.workers > 0 {
            return Vec::new();
        }
        state.ahead.clear();
        state.asked.drain(..).map(|asked| asked.asker).collect()
    }
}

impl State {
    fn overdue(&self) -> usize {
        self.running.iter().filter(|r| r.overdue).count()
    }

    fn next(&mut self) -> Option<Piece> {
        if let Some(asked) = self.asked.pop_front() {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.running.push(Running { ticket, since: asked.since, asker: asked.asker, overdue: false });
            return Some(Piece::Asked { ticket, work: asked.work });
        }
        if self.ahead_running >= AHEAD_MAX {
            return None;
        }
        let work = self.ahead.pop_front()?;
        self.ahead_running += 1;
        Some(Piece::Ahead(work))
    }
}

const UNPOISONED: &str = "no holder of the lock panics";

/// One thread of a lane.
fn work(lane: &Lane, inner: &Inner) {
    let mut buffer = Vec::new();
    let mut state = lane.lock();
    loop {
        let Some(piece) = state.next() else {
            state.idle += 1;
            let (back, waited) = lane.news.wait_timeout(state, IDLE).expect(UNPOISONED);
            state = back;
            state.idle -= 1;
            if waited.timed_out() && state.asked.is_empty() {
                state.workers -= 1;
                return;
            }
            continue;
        };
        drop(state);
        // A panic is a bug, but not one that may take the lane along: the reply object answers EIO when dropped.
        let run = |work: Work, buffer: &mut Vec<u8>| drop(catch_unwind(AssertUnwindSafe(|| work(buffer))));
        match piece {
            Piece::Asked { ticket, work } => {
                run(work, &mut buffer);
                inner.open.fetch_sub(1, Ordering::SeqCst);
                state = lane.lock();
                state.running.retain(|r| r.ticket != ticket);
            }
            Piece::Ahead(work) => {
                run(work, &mut buffer);
                state = lane.lock();
                state.ahead_running -= 1;
            }
        }
    }
}

/// The thread that looks at deadlines; sleeps while nobody waits.
fn watch(inner: &Weak<Inner>) {
    loop {
        let Some(lanes) = inner.upgrade() else { return };
        if lanes.open.load(Ordering::SeqCst) == 0 {
            lanes.watchdog_sleeps.store(true, Ordering::SeqCst);
            if lanes.open.load(Ordering::SeqCst) == 0 {
                drop(lanes);
                std::thread::park_timeout(Duration::from_secs(60));
                continue;
            }
        }
        let (timeout, now) = (lanes.timeout, Instant::now());
        let all: Vec<_> = lanes.lanes.lock().expect(UNPOISONED).values().cloned().collect();
        for lane in all {
            for asker in overdue(&lane, &lanes, now) {
                asker.give_up(Late::Timeout(timeout));
            }
        }
        drop(lanes);
        std::thread::park_timeout((timeout / 8).clamp(Duration::from_millis(5), Duration::from_secs(1)));
    }
}

fn overdue(lane: &Lane, lanes: &Inner, now: Instant) -> Vec<Arc<dyn Asker>> {
    let is_late = |since: Instant| now.duration_since(since) >= lanes.timeout;
    let mut out = Vec::new();
    let mut state = lane.lock();
    while state.asked.front().is_some_and(|a| is_late(a.since)) {
        out.extend(state.asked.pop_front().map(|a| a.asker));
        lanes.open.fetch_sub(1, Ordering::SeqCst);
    }
    for running in state.running.iter_mut().filter(|r| !r.overdue && is_late(r.since)) {
        running.overdue = true;
        out.push(Arc::clone(&running.asker));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    struct Client(Mutex<Sender<Late>>);

    impl Asker for Client {
        fn give_up(&self, why: Late) {
            let _ = self.0.lock().unwrap().send(why);
        }
    }

    fn client() -> (Arc<Client>, Receiver<Late>) {
        let (sender, receiver) = channel();
        (Arc::new(Client(Mutex::new(sender))), receiver)
    }

    /// Hands over work that hangs until the returned sender is dropped.
    fn hang(lanes: &Lanes, store: StoreId) -> (Receiver<Late>, Sender<()>) {
        let (asker, told) = client();
        let (release, released) = channel::<()>();
        lanes.ask(store, asker, Box::new(move |_| _ = released.recv()));
        (told, release)
    }

    #[test]
    fn a_hung_store_delays_only_its_own_readers_and_they_get_an_answer() {
        let timeout = Duration::from_millis(80);
        let lanes = Lanes::new(timeout).unwrap();
        let hung: Vec<_> = (0..WORKERS_MAX + 3).map(|_| hang(&lanes, StoreId(1))).collect();
        let (done, is_done) = channel();
        let (asker, _told) = client();
        lanes.ask(StoreId(2), asker, Box::new(move |_| done.send(()).unwrap()));
        is_done.recv().unwrap();
        for (told, _) in &hung {
            assert_eq!(told.recv().unwrap(), Late::Timeout(timeout));
        }
        // Once all threads of the store are known to hang, the next one is not made to wait. On a busy machine some of the above waited for
        // a thread until they were late, and hold none.
        let mut more = Vec::new();
        loop {
            let (told, release) = hang(&lanes, StoreId(1));
            match told.recv().unwrap() {
                Late::Hung => break,
                why => assert_eq!(why, Late::Timeout(timeout)),
            }
            more.push(release);
            assert!(more.len() < 10 * WORKERS_MAX, "those that hang hold all threads by now");
        }
        // They come back: the store is asked again.
        drop((hung, more));
        let (done, is_done) = channel();
        while is_done.try_recv().is_err() {
            let (asker, _told) = client();
            let done = done.clone();
            lanes.ask(StoreId(1), asker, Box::new(move |_| _ = done.send(())));
            std::thread::yield_now();
        }
    }

    #[test]
    fn reading_ahead_leaves_threads_for_readers() {
        let lanes = Lanes::new(Duration::from_secs(60)).unwrap();
        let mut releases = Vec::new();
        for _ in 0..WORKERS_MAX {
            let (release, released) = channel::<()>();
            releases.push(release);
            lanes.ahead(StoreId(1), Box::new(move |_| _ = released.recv()));
        }
        let (done, is_done) = channel();
        let (asker, _told) = client();
        lanes.ask(StoreId(1), asker, Box::new(move |_| done.send(()).unwrap()));
        is_done.recv().unwrap();
    }

    #[test]
    fn a_full_queue_refuses() {
        let lanes = Lanes::new(Duration::from_secs(60)).unwrap();
        let all: Vec<_> = (0..WORKERS_MAX).map(|_| hang(&lanes, StoreId(1))).collect();
        let lane = lanes.lane(StoreId(1));
        while lane.lock().running.len() < WORKERS_MAX {
            std::thread::yield_now();
        }
        let waiting: Vec<_> = (0..QUEUE_MAX).map(|_| hang(&lanes, StoreId(1))).collect();
        let (told, _release) = hang(&lanes, StoreId(1));
        assert_eq!(told.recv().unwrap(), Late::Full);
        drop((all, waiting));
    }

    #[test]
    fn work_that_panics_does_not_end_the_lane() {
        let lanes = Lanes::new(Duration::from_secs(60)).unwrap();
        for _ in 0..WORKERS_MAX + 1 {
            let (asker, _told) = client();
            lanes.ask(StoreId(1), asker, Box::new(|_| panic!("a bug that this test makes")));
        }
        let (done, is_done) = channel();
        let (asker, _told) = client();
        lanes.ask(StoreId(1), asker, Box::new(move |_| done.send(()).unwrap()));
        is_done.recv().unwrap();
    }
}
