//! A lock that is taken whatever became of its last holder.
//! What it guards can be used at any moment: caches, and the reader that looks for publications.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
