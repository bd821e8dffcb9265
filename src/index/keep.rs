//! Taking the bytes of files into a generation's own copy, where the source is not a copy itself.
//!
//! Promises: of a file whose bytes an earlier generation holds nothing has to be read; a file whose bytes could not be
//! taken is recorded as lost, and one that is not there any more is not recorded at all. Never decides where a copy
//! is or how it is written: whoever implements [`Keep`] does.

use super::Error;
use crate::catalog::{GenerationWriter, NodeRow, Place, Written};
use crate::model::{Attrs, FileKey, FindingKind, Kind, RelPath, Time};

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

/// When a file whose size and mtime are as before still may have other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Never: the source said what changed, and did not name its bytes.
    None,
    /// If its ctime is another one: the source said that its bytes changed, or nothing.
    IfTouched,
}

/// What is to be recorded of a file.
pub(super) enum Outcome {
    Recorded { place: Place, written: Written, finding: Option<(FindingKind, String)> },
    Gone,
}

/// Has the bytes of one file taken, or leaves them where `base` has them.
pub(super) fn keep_file(
    keep: &mut dyn Keep,
    writer: &mut GenerationWriter<'_>,
    (path, key, origin): (&RelPath, FileKey, u32),
    attrs: &mut Attrs,
    base: Option<&NodeRow>,
    doubt: Doubt,
) -> Result<Outcome, Error> {
    debug_assert_eq!(attrs.kind(), Kind::File);
    let same = |row: &NodeRow| {
        row.size_bytes == attrs.size_bytes
            && row.mtime == attrs.mtime
            && (doubt == Doubt::None || row.ctime == attrs.ctime)
    };
    let held = base.filter(|row| same(row)).and_then(|row| match row.place {
        Place::InObject(held) => Some(held),
        _ => None,
    });
    let held = match held {
        Some(object) => writer.object_at(object)?.map(|at| (object, at)),
        None => None,
    };
    // A copy may take long: whoever waits for the catalog comes in.
    writer.let_go()?;
    let kept = keep.file(FileToKeep { path, key, origin, attrs, held: held.map(|(_, at)| at) }).map_err(Error::Keep)?;
    Ok(match (kept, held) {
        (Kept::Held, Some((object, _))) => {
            Outcome::Recorded { place: Place::InObject(object), written: Written::No, finding: None }
        }
        (Kept::Copied { moved }, _) => {
            let finding = moved.map(|how| (FindingKind::Changed, how));
            Outcome::Recorded { place: Place::InObject(writer.object()), written: Written::Yes, finding }
        }
        (Kept::Lost(why), _) => {
            let finding = Some((FindingKind::Unreadable, why));
            Outcome::Recorded { place: Place::Lost, written: Written::Yes, finding }
        }
        (Kept::Gone, _) => Outcome::Gone,
        (Kept::Held, None) => unreachable!("nobody holds the bytes of \"{path}\""),
    })
}
