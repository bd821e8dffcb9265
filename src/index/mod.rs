//! From a source to the catalog: what a backup left, merged with the generation before it.
//!
//! Promises: one walk of the copy, one ordered pass over the previous generation; nothing is visible before all
//! of it is written. Running it again finds nothing to do. One bad file does not stop a run: it is
//! recorded and counted. Never opens a file of a backup (the source does), never shows anything (the
//! monitor does).

mod changes;
mod compare;
mod disk;
mod error;
mod foreign;
mod keep;
mod keep_file;
mod merge;
mod run;
mod watch;

pub use compare::{Compared, Known, compare_copy};
pub use disk::{DiskBefore, GuestDisk, GuestDisks, NewDisk, index_disk};
pub use error::Error;
pub use foreign::{Listed, NewList, index_list};
pub use keep::{FileToKeep, Keep, KeepError, Kept, UNKNOWN_ORIGIN};
pub use run::{Done, NewCopy, Taken, Told, Walk, index_copy, index_taken};
pub use watch::ExpectedRoot;
