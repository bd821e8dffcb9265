//! From a source to the catalog: what a backup left, merged with the generation before it.
//!
//! Promises: one walk of the copy, one ordered pass over the previous generation; nothing is visible before all
//! of it is written. Running it again finds nothing to do. One bad file does not stop a run: it is
//! recorded and counted. Never opens a file of a backup (the source does), never shows anything (the
//! monitor does).

mod merge;
mod run;

pub use merge::Rules;
pub use run::{Done, NewCopy, index_copy};

use crate::{catalog, source};
use std::path::PathBuf;

/// What can end an index run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The source.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// A path that cannot be a copy.
    #[error("copy {path:?} is not an absolute directory")]
    NotACopy {
        /// What was given.
        path: PathBuf,
    },
}
