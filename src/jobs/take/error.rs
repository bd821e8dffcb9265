//! Why no generation was taken, of whatever kind of source.
//! A hint says what to do about it.

use super::block::{acquire, libvirt, still};
use super::gluster;
use crate::jobs::hooks;
use crate::model::{Hinted, SourceKind};
use crate::source;

/// Why no generation was taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source whose copies are made by others.
    #[error("source {name:?} is of kind {kind}: another tool makes its copies")]
    NotTaken {
        /// The source.
        name: String,
        /// Its kind.
        kind: SourceKind,
    },
    /// Something is asked that this kind of source has not.
    #[error("source {name:?} is {noun}: {what}")]
    NotOfThisKind {
        /// The source.
        name: String,
        /// What it is.
        noun: &'static str,
        /// What was asked, and what it is for.
        what: &'static str,
    },
    /// The settings of the source.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The command that is to run first did not do its work.
    #[error(transparent)]
    Pre(hooks::Error),
    /// What was held may be held still, after the run was ended by a signal.
    #[error(transparent)]
    NotReleased(still::Error),
    /// What libvirt ran may run still, after the run was ended by a signal.
    #[error(transparent)]
    NotEnded(libvirt::Error),
    /// The run could not be made to end in order.
    #[error("preparing for being told to end")]
    Prepare(#[source] std::io::Error),
    /// A volume.
    #[error("cannot take a generation of \"{name}\"")]
    Volume {
        /// The source.
        name: String,
        /// Why.
        #[source]
        source: Box<gluster::Error>,
    },
    /// A disk.
    #[error("cannot take a generation of \"{name}\"")]
    Disk {
        /// The source.
        name: String,
        /// Why.
        #[source]
        source: Box<acquire::Error>,
    },
}

/// What to do about a guest that was not let go.
pub(super) const NOT_RELEASED: &str =
    "the guest may be held still; the next asof take or index of the source runs it again";

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotTaken { name, .. } => Some(format!("asof index {name} indexes those that are there")),
            Self::Source(e) => e.hint(),
            Self::Pre(_) => Some("nothing was taken".to_owned()),
            Self::NotReleased(_) => Some(NOT_RELEASED.to_owned()),
            Self::Volume { source, .. } => source.hint(),
            Self::Disk { source, .. } => source.hint(),
            Self::NotOfThisKind { .. } | Self::NotEnded(_) | Self::Prepare(_) => None,
        }
    }
}
