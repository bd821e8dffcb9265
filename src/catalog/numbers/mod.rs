//! The numbers that a mount makes inode numbers of: which tree each number of a view means, for all mounts of a catalog.
//!
//! Promises: a number of a view means one tree for ever. That of one generation is its row id, a pure function of the
//! catalog. That of all sources as of an instant belongs to a *vector*, the generations that the instant resolves to:
//! the first mount that needs it gives it and writes it to `catalog.db-views` (`file`), so that every mount has the
//! same one, also after a restart. Where that file cannot be written, numbers are given in memory alone, from a range
//! that is never in the file and at a place that the vector decides: other mounts mostly find the same one. How far
//! numbers go is in `ranges`.

mod file;
mod ranges;
mod vector;

pub use ranges::{FIRST_MADE, MADE_BITS, NODE_BITS, Numbered, PASSING, VIEW_BITS, numbered, view_of};
pub(super) use ranges::{check_generation, check_node};
pub use vector::{CatalogId, Vector};

use super::error::Error;
use crate::model::{ViewId, chain};
use ranges::{FIRST_PASSING, FIRST_VECTOR, IN_FILE, IN_MEMORY};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// How long another mount may hold the file: it writes a few records and syncs them.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The numbers of the views of all sources of one catalog. Shared by all threads.
pub struct Numbers {
    catalog: PathBuf,
    known: RwLock<Known>,
    /// Held by who gives numbers: one at a time, and nobody who only looks one up waits for a disk.
    giving: Mutex<Giving>,
    in_memory: Range<i64>,
    lock_wait: Duration,
}

/// What this process knows of numbers.
#[derive(Default)]
struct Known {
    of: CatalogId,
    views: HashMap<Vector, ViewId>,
    vectors: HashMap<ViewId, Vector>,
    /// Every number that was given in memory alone; without a vector: by a catalog that was here before.
    in_memory: HashMap<ViewId, Option<Vector>>,
}

impl Known {
    fn insert(&mut self, vector: Vector, view: ViewId) {
        self.views.insert(vector, view);
        self.vectors.insert(view, vector);
    }

    /// Gives `vector` the first number in `range` that no other vector has, from the place that it decides.
    fn give_in_memory(&mut self, vector: Vector, range: &Range<i64>) -> Option<ViewId> {
        let size = range.end - range.start;
        let first = vector.place() % size;
        let mut from_there = (first..size).chain(0..first).map(|place| ViewId(range.start + place));
        let view = from_there.find(|view| self.in_memory.get(view).is_none_or(|of| *of == Some(vector)))?;
        self.in_memory.insert(view, Some(vector));
        Some(view)
    }
}

/// What is known of the file.
struct Giving {
    /// Numbers of the file that this process has not seen given.
    free: Range<i64>,
    /// Why the file could not be used the last time, as it was logged.
    trouble: Option<String>,
    /// How many damaged records were logged.
    damaged: usize,
}

impl Numbers {
    /// Returns the numbers of the catalog at `path`, which is `of`. Opens nothing yet.
    pub fn of(path: &Path, of: CatalogId) -> Self {
        Self {
            catalog: path.to_owned(),
            known: RwLock::new(Known { of, ..Known::default() }),
            giving: Mutex::new(Giving { free: IN_FILE, trouble: None, damaged: 0 }),
            in_memory: IN_MEMORY,
            lock_wait: LOCK_WAIT,
        }
    }

    /// Goes on with the numbers of another catalog in the place of this one, above all that were given.
    pub fn go_on_with(&self, of: CatalogId) {
        // What is being given is of the catalog that was there when it began.
        let _giving = self.giving();
        let mut known = self.write();
        if known.of != of {
            let in_memory = known.in_memory.keys().map(|view| (*view, None)).collect();
            *known = Known { of, in_memory, ..Known::default() };
        }
    }

    /// Forgets the vectors that `is_needed` refuses. A number that is in the file is found there when its vector comes back.
    pub fn keep(&self, mut is_needed: impl FnMut(ViewId, Vector) -> bool) {
        let mut known = self.write();
        known.views.retain(|vector, view| is_needed(*view, *vector));
        let Known { views, vectors, .. } = &mut *known;
        vectors.retain(|_, vector| views.contains_key(vector));
    }

    /// Returns every number that this process knows, with its vector.
    pub fn all_known(&self) -> Vec<(ViewId, Vector)> {
        self.read().vectors.iter().map(|(view, vector)| (*view, *vector)).collect()
    }

    /// Returns the number of `vector` if this process knows it. From memory.
    pub fn known(&self, vector: Vector) -> Option<ViewId> {
        self.read().views.get(&vector).copied()
    }

    /// Returns the number of `vector`, which gets one if it has none. From memory, or as [`Numbers::give`].
    ///
    /// # Errors
    /// As [`Numbers::give`].
    pub fn view(&self, vector: Vector) -> Result<ViewId, Error> {
        match self.known(vector) {
            Some(view) => Ok(view),
            None => Ok(self.give(&[vector])?[0]),
        }
    }

    /// Returns the vector that has the number `view`; none if no mount ever gave it. From memory, or the first
    /// time two reads of the file.
    pub fn vector(&self, view: ViewId) -> Option<Vector> {
        let (known, of) = {
            let known = self.read();
            (known.vectors.get(&view).copied(), known.of)
        };
        if known.is_some() || !IN_FILE.contains(&view.0) {
            return known;
        }
        let found = file::vector(&self.catalog, of, view).unwrap_or_else(|e| {
            tracing::debug!("number {view} of a view is not known: {}", chain(&e));
            None
        })?;
        let mut known = self.write();
        if known.of == of {
            known.vectors.insert(view, found);
            known.views.entry(found).or_insert(view);
        }
        Some(found)
    }

    /// Returns the number of each of `vectors`; those that have none get one, which is on the disk when this returns.
    /// No vector is in it twice.
    ///
    /// One pass over the file, one write and one sync, however many they are; nothing when all are known. Where the file
    /// cannot be used, numbers are given in memory alone, and the log says why.
    ///
    /// # Errors
    /// [`Error::NumbersUsedUp`] when there are none in memory either.
    pub fn give(&self, vectors: &[Vector]) -> Result<Vec<ViewId>, Error> {
        let mut giving = self.giving();
        let (missing, of) = {
            let known = self.read();
            let missing: Vec<Vector> = vectors.iter().filter(|v| !known.views.contains_key(v)).copied().collect();
            (missing, known.of)
        };
        let mut in_file = HashMap::new();
        if !missing.is_empty() {
            let given = file::give(&self.catalog, of, &missing, giving.free.clone(), self.lock_wait);
            giving.take_note_of(&given);
            in_file = given.views;
        }
        let mut known = self.write();
        let mut views = Vec::with_capacity(vectors.len());
        for vector in vectors {
            let view = match known.views.get(vector).or_else(|| in_file.get(vector)) {
                Some(view) => *view,
                None => known.give_in_memory(*vector, &self.in_memory).ok_or_else(|| self.used_up())?,
            };
            known.insert(*vector, view);
            views.push(view);
        }
        Ok(views)
    }

    fn used_up(&self) -> Error {
        let bits = (FIRST_PASSING - FIRST_VECTOR).ilog2();
        Error::NumbersUsedUp { path: self.catalog.clone(), of: "views of all sources", bits }
    }

    fn giving(&self) -> MutexGuard<'_, Giving> {
        self.giving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Giving {
    /// Remembers what the file was found to be, and logs what is new about it.
    fn take_note_of(&mut self, given: &file::Given) {
        self.free.start = self.free.start.max(given.next);
        let trouble = given.trouble.as_ref().map(|e| chain(e));
        if let Some(why) = &trouble
            && self.trouble != trouble
        {
            tracing::warn!("new numbers of views are in memory alone and may be other ones in the next mount: {why}");
        }
        self.trouble = trouble;
        if given.damaged > self.damaged {
            tracing::warn!("{} records of view numbers are damaged: what they were of gets other ones", given.damaged);
            self.damaged = given.damaged;
        }
    }
}

#[cfg(test)]
mod tests;
