//! Where a file is looked for in copies, and what was tried in vain.
//!
//! Promises: memory is bounded whatever the number of names of a file and the length of their paths.

use crate::model::{EntryName, NodeId, RelPath, Time, chain};
use crate::store;

/// Names of a file that are tried in a generation. Whoever may link may give a file 60,000, each with a path of 4 KB; they all lead
/// to one file, so that only names that were removed one by one since make a further one worth a try.
pub(super) const NAMES_TRIED_MAX: usize = 256;
/// Reasons that are told of one file; of the others the number.
const TEXTS_MAX: usize = 8;

/// Where a file is in a copy.
pub(super) enum Paths {
    One(RelPath),
    /// The names that it has as of a generation, each in its directory.
    Of {
        at: Time,
        names: Vec<(NodeId, EntryName)>,
        has_more: bool,
    },
}

impl Default for Paths {
    fn default() -> Self {
        Self::Of { at: Time(0), names: Vec::new(), has_more: false }
    }
}

impl Paths {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Of { names, .. } if names.is_empty())
    }
}

/// What was tried in vain.
#[derive(Default)]
pub(super) struct Tried {
    texts: Vec<String>,
    /// How many besides them.
    untold: usize,
    /// A copy was not where it was.
    pub(super) has_moved: bool,
    /// Anything else was wrong.
    has_others: bool,
}

impl Tried {
    pub(super) fn of(failed: &[String]) -> Self {
        Self { texts: failed.to_vec(), has_others: !failed.is_empty(), ..Self::default() }
    }

    pub(super) fn add(&mut self, text: String) {
        self.keep(text);
        self.has_others = true;
    }

    pub(super) fn keep(&mut self, text: String) {
        if self.texts.len() < TEXTS_MAX { self.texts.push(text) } else { self.untold += 1 }
    }

    /// Returns all that is told.
    pub(super) fn text(&self) -> String {
        let told = self.texts.join("; ");
        if self.untold == 0 { told } else { format!("{told}; and {} more", self.untold) }
    }

    pub(super) fn add_error(&mut self, error: &store::Error) {
        self.keep(chain(error));
        if error.is_moved_copy() { self.has_moved = true } else { self.has_others = true }
    }

    pub(super) fn is_all_moved(&self) -> bool {
        self.has_moved && !self.has_others
    }
}
