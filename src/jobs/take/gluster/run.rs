//! What is asked of a run that takes a volume, and what it did.
//! Nothing is done here.

use crate::index::Done;
use crate::model::{Level, Time};
use crate::store::WriterCounts;
use std::path::PathBuf;

/// Which bytes a generation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Those that changed since the generation before.
    Changed,
    /// All.
    All,
    /// Those that changed since this full generation.
    SinceFull(Time),
}

/// What is asked of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Copy everything.
    pub full: bool,
    /// Copy what changed since the last full generation, not only since the last one.
    pub differential: bool,
    /// Look at everything, also where changelogs tell what changed.
    pub rescan: bool,
}

/// What a run did.
#[derive(Debug)]
pub struct Report {
    /// What was indexed.
    pub done: Done,
    /// What was copied.
    pub written: WriterCounts,
    /// How much of the source the copy holds.
    pub level: Level,
    /// Why everything was looked at; none: what changelogs name was.
    pub walked: Option<String>,
    /// Where the copy is; empty where no bytes were taken.
    pub copy: PathBuf,
    /// The next run has to look at everything, for this reason.
    pub walk_next: Option<String>,
}
