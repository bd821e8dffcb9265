//! What an index run is to do: which copies, and what is asked of them.
//! Values only, from whoever starts the run.

use crate::model::{Consistency, Time};
use crate::source::block::Location;
use std::path::PathBuf;
use std::time::Duration;

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Which copies.
    pub which: Which,
    /// Index what was indexed before anew, without asking whether it changed.
    pub again: bool,
    /// How long nothing in a copy must have changed for it to be whole, where that is not for the settings to say.
    pub settle: Option<Duration>,
    /// What holds for disks alone.
    pub disk: DiskWish,
}

/// Which copies are meant.
#[derive(Clone, Debug, Default)]
pub enum Which {
    /// Those that are new, young or touched.
    #[default]
    All,
    /// These, of this date if one is given.
    Named(Vec<PathBuf>, Option<Time>),
    /// The one of a generation.
    Generation(Time),
}

/// What holds for disks alone.
#[derive(Clone, Debug, Default)]
pub struct DiskWish {
    /// The images are increments that do not say what they are on top of: the first one is on top of this one.
    pub base: Option<PathBuf>,
    /// How much the data was at rest, where the caller knows.
    pub consistency: Option<Consistency>,
    /// Where the bytes came from, where the caller knows.
    pub location: Option<Location>,
}
