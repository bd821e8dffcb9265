//! Catalog readers for many threads: each question takes one, and nobody waits for another.
//!
//! Promises: a reader that is taken after [`Readers::turn`] sees everything that was committed before it;
//! an idle reader holds no read transaction for longer than the time between two turns. Cost of taking
//! one: a lock and a pop; opening happens as often as there are threads at once.

use crate::catalog::{Error, Reader};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The readers that nobody uses, each with the turn in which its transaction may have begun.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<(Reader, u64)>>,
    turn: AtomicU64,
    /// Queries of readers, summed up when they come back.
    queries: AtomicU64,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), turn: AtomicU64::new(0), queries: AtomicU64::new(0) }
    }

    /// Runs `ask` with a reader of its own.
    pub(super) fn with<T, E: From<Error>>(&self, ask: impl FnOnce(&Reader) -> Result<T, E>) -> Result<T, E> {
        let turn = self.turn.load(Ordering::Acquire);
        let taken = self.lock().pop();
        let (reader, began) = match taken {
            Some(taken) => taken,
            None => (Reader::open(&self.path)?, turn),
        };
        if began != turn {
            reader.rest()?;
        }
        let before = reader.query_count();
        let answer = ask(&reader);
        self.queries.fetch_add(reader.query_count() - before, Ordering::Relaxed);
        self.lock().push((reader, turn));
        answer
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
