//! What can end an index run.
//! Every text names what was given or found, and what of it cannot be used; causes come as the source.

use super::keep::KeepError;
use crate::model::{EntryName, FileKey, Hinted, Time};
use crate::source::gluster::list;
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
    /// What was walked is not the directory that was found.
    #[error("{path:?} is another directory than when this run began, or has another date; nothing of it was indexed")]
    Exchanged {
        /// The copy.
        path: PathBuf,
    },
    /// Nothing more can be taken into the copy.
    #[error("cannot take files into the copy")]
    Keep(#[source] KeepError),
    /// A directory came from nowhere: what is in it is not told. A walk has to find out.
    #[error("the directory {directory:?} is new, and nothing recorded that it was made")]
    UntoldDirectory {
        /// The directory.
        directory: FileKey,
    },
    /// What changed is not told in full: a walk has to find out.
    #[error(
        "the name {name} is in a directory that neither the generation before nor the changes know ({directory:?})"
    )]
    UnknownDirectory {
        /// The name.
        name: EntryName,
        /// The directory.
        directory: FileKey,
    },
    /// A list that is not there, or not to be read.
    #[error("cannot open the list {path:?}")]
    OpenList {
        /// The list.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A list that ends early.
    #[error("cannot read the list {path:?}")]
    List {
        /// The list.
        path: PathBuf,
        /// Why.
        #[source]
        source: list::Error,
    },
    /// Something else than a list, or a list of another form.
    #[error("none of {lines} lines of the list {path:?} is understood; the first one {why}")]
    NotUnderstood {
        /// The list.
        path: PathBuf,
        /// How many lines it has.
        lines: u64,
        /// What is wrong with the first one.
        why: list::Why,
    },
    /// Nothing was copied; glusterfind leaves an empty list, and says that all is well, when it fails.
    #[error("no file was copied: {data:?} is empty, and the list {list:?} has {lines} lines")]
    Empty {
        /// The list.
        list: PathBuf,
        /// How many lines it has.
        lines: u64,
        /// The directory with the copied files.
        data: PathBuf,
    },
    /// A list tells what changed since the newest generation.
    #[error("the generation would be of {at}, and the newest one is of {newest}: a list goes on from the newest")]
    NotNewer {
        /// What was asked for.
        at: Time,
        /// The newest generation.
        newest: Time,
    },
    /// What the newest generation left cannot be read.
    #[error("cannot read where the generation of {at} says that the next one goes on")]
    State {
        /// The newest generation.
        at: Time,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Catalog(e) => return e.hint(),
            Self::Source(e) => return e.hint(),
            Self::NotUnderstood { .. } => "--list-format, --field-separator and --output-prefix describe its format",
            Self::Empty { .. } => "glusterfind leaves an empty list when it fails; --empty, if it is so",
            Self::NotNewer { .. } => "give it a later --at; asof source remove forgets a source, to index it anew",
            Self::State { .. } => "asof take --full begins anew",
            Self::Exchanged { .. } => "the next run examines it again",
            Self::NotACopy { .. }
            | Self::Keep(_)
            | Self::UntoldDirectory { .. }
            | Self::UnknownDirectory { .. }
            | Self::OpenList { .. }
            | Self::List { .. } => return None,
        };
        Some(text.to_owned())
    }
}
