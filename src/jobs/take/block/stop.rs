//! What tells a run to end, from whatever thread.
//! Who is told ends in order: nothing is cut off here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What tells a run to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Tells it.
    pub fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether it was told.
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
