//! How often stores are asked, counted by all who ask them.
//! Counts only rise, and are read without stopping anybody.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was asked of stores since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) opens: AtomicU64,
    pub(super) reads: AtomicU64,
}

/// How often stores were asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCost {
    /// Files opened, or tried to.
    pub opens: u64,
    /// Calls to read, answered from the page cache or not.
    pub reads: u64,
}

impl Counts {
    /// Returns the counts of this moment.
    pub(super) fn cost(&self) -> StoreCost {
        StoreCost { opens: self.opens.load(Ordering::Relaxed), reads: self.reads.load(Ordering::Relaxed) }
    }
}
