//! Catalog readers for many threads: each question takes one, and nobody waits for another.
//!
//! Promises: a reader that is taken after [`Readers::turn`] sees everything that was committed before it;
//! an idle reader holds no read transaction for longer than the time between two turns. Cost of taking
//! one: a lock and a pop; opening happens as often as there are threads at once. Where no further one can be opened (there are too few
//! descriptors, say) a thread waits for one that is in use.

use crate::catalog::{Error, Reader};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// How long one is waited for that is in use.
const WAIT: Duration = Duration::from_secs(10);

/// The readers that nobody uses, each with the turn in which its transaction may have begun.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<(Reader, u64)>>,
    /// One came back.
    back: Condvar,
    /// How many are in use.
    used: AtomicUsize,
    /// How many threads wait for one of them. Telling nobody is a system call, too.
    waiting: AtomicUsize,
    turn: AtomicU64,
    /// Queries of readers, summed up when they come back.
    queries: AtomicU64,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::default(),
            back: Condvar::new(),
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            turn: AtomicU64::new(0),
            queries: AtomicU64::new(0),
        }
    }

    /// Runs `ask` with a reader of its own.
    pub(super) fn with<T, E: From<Error>>(&self, ask: impl FnOnce(&Reader) -> Result<T, E>) -> Result<T, E> {
        let turn = self.turn.load(Ordering::Acquire);
        let (reader, began) = self.take(turn)?;
        let used = Used::one(self);
        if began != turn {
            reader.rest()?;
        }
        let before = reader.query_count();
        let answer = ask(&reader);
        self.queries.fetch_add(reader.query_count() - before, Ordering::Relaxed);
        self.lock().push((reader, turn));
        drop(used);
        answer
    }

    fn take(&self, turn: u64) -> Result<(Reader, u64), Error> {
        let taken = self.lock().pop();
        if let Some(taken) = taken {
            return Ok(taken);
        }
        let error = match Reader::open(&self.path) {
            Ok(reader) => return Ok((reader, turn)),
            Err(e) => e,
        };
        let is_none = |idle: &mut Vec<_>| idle.is_empty() && self.used.load(Ordering::SeqCst) > 0;
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waited = self.back.wait_timeout_while(self.lock(), WAIT, is_none);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let (mut idle, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        idle.pop().ok_or(error)
    }

    /// Ends the transactions of all idle readers, and of the others before they are used again.
    pub(super) fn turn(&self) -> Result<(), Error> {
        let turn = self.turn.fetch_add(1, Ordering::AcqRel) + 1;
        self.lock().iter_mut().try_for_each(|(reader, began)| {
            *began = turn;
            reader.rest()
        })
    }

    /// Returns how many queries were run through these readers.
    pub(super) fn query_count(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Reader, u64)>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A reader that is in use, to be counted.
struct Used<'r>(&'r Readers);

impl<'r> Used<'r> {
    fn one(readers: &'r Readers) -> Self {
        readers.used.fetch_add(1, Ordering::SeqCst);
        Self(readers)
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            // With the lock: who has looked and does not wait yet would miss it.
            let _idle = self.0.lock();
            self.0.back.notify_all();
        }
    }
}
