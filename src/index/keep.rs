//! Taking the bytes of files into a generation's own copy, where the source is not a copy itself.
//!
//! Promises: of a file whose bytes an earlier generation holds nothing has to be read; a file whose bytes could not be
//! taken is recorded as lost, and one that is not there any more is not recorded at all. Never decides where a copy
//! is or how it is written: whoever implements [`Keep`] does.

use crate::catalog::GenerationWriter;
use crate::model::{Attrs, FileKey, RelPath, Time};

/// The origin of a file that the source did not tell of in this run.
pub const UNKNOWN_ORIGIN: u32 = u32::MAX;

/// A regular file that is about to be recorded.
#[derive(Debug)]
pub struct FileToKeep<'a> {
    /// Where it will be in the generation.
    pub path: &'a RelPath,
    /// Who it is in the source.
    pub key: FileKey,
    /// Which part of the source has it, or [`UNKNOWN_ORIGIN`].
    pub origin: u32,
    /// Its attributes; size and times are to be set to those of the bytes that were taken.
    pub attrs: &'a mut Attrs,
    /// The generation whose copies hold the same bytes, if there is one.
    pub held: Option<Time>,
    /// Where in these copies they are; none where that is not known, or [`Keep::looks_at_held`] says that nobody asks.
    pub held_at: Option<RelPath>,
}

/// What became of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The generation that held them does for this one too; only where there is one.
    Held,
    /// They are in the copy of the generation that is being indexed.
    Copied {
        /// How the file changed while it was read, if it did: its bytes may be of several moments.
        moved: Option<String>,
    },
    /// They could not be taken, for this reason.
    Lost(String),
    /// The file is not there any more.
    Gone,
}

/// Why nothing more can be taken: a full disk, a store that is gone.
pub type KeepError = Box<dyn std::error::Error + Send + Sync>;

/// Takes what is recorded into the copy of the generation, in the order in which it is recorded.
pub trait Keep {
    /// Takes the bytes of a file. A file with several names comes here once.
    ///
    /// # Errors
    /// What ends the run; trouble with one file is [`Kept::Lost`].
    fn file(&mut self, file: FileToKeep<'_>) -> Result<Kept, KeepError>;

    /// Tells whether [`FileToKeep::held_at`] is wanted. It costs some look-ups of names a file.
    fn looks_at_held(&self) -> bool {
        false
    }

    /// Tells whether [`Keep::file`] may wait for a disk or copies bytes: then the catalog is let go before each, and so are rows committed for each.
    fn may_wait(&self) -> bool {
        true
    }

    /// Notes a further name of a file that came to [`Keep::file`] in this run.
    ///
    /// # Errors
    /// What ends the run.
    fn link(&mut self, path: &RelPath, key: FileKey) -> Result<(), KeepError>;

    /// Notes what has no bytes: a directory, a symbolic link, a device. `is_new`: the generation before has it not.
    ///
    /// # Errors
    /// What ends the run.
    fn other(&mut self, path: &RelPath, attrs: &Attrs, is_new: bool) -> Result<(), KeepError>;

    /// Returns an instant if files whose bytes lie in copies of later generations are to come to [`Keep::file`] too, though
    /// nothing changed about them.
    fn wants_again_since(&self) -> Option<Time> {
        None
    }

    /// Makes the copy whole, durable and known by its name, and returns what the next generation of the source goes on
    /// from. The last call; `generation` has all its rows.
    ///
    /// # Errors
    /// What ends the run.
    fn seal(&mut self, generation: &GenerationWriter<'_>) -> Result<String, KeepError>;
}
