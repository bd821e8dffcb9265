//! What is asked of a run that takes a generation, and what it is given from outside.
//! Nothing is done here.

use super::block::Ending;
use super::block::acquire::DiskWish;
use crate::catalog::{SourceRow, Writer};
use crate::clock::Clock;
use crate::monitor::Monitor;
use std::io;
use std::path::Path;

/// What is asked of a run.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Copy everything.
    pub full: bool,
    /// Of a volume: copy what changed since the last full generation, not only since the last one.
    pub differential: bool,
    /// Of a volume: look at everything, also where changelogs tell what changed.
    pub rescan: bool,
    /// What is asked of disks alone.
    pub disk: DiskWish,
}

/// What a run is given from outside.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// This program, for agents on this machine.
    pub program: &'a Path,
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Hears what happens.
    pub monitor: &'a dyn Monitor,
    /// Called once before anything is held that has to be let go (a guest): has the run end in order when the process is told to end.
    pub on_hold: &'a dyn Fn(Ending) -> io::Result<()>,
}

/// A run.
pub(in crate::jobs) struct Run<'r> {
    pub(super) writer: &'r mut Writer,
    /// Locked.
    pub(super) source: &'r SourceRow,
    pub(super) wish: &'r Wish,
    pub(super) inputs: &'r Inputs<'r>,
}
