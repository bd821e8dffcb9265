//! What can keep a generation of a volume from being taken.
//! A hint says what to do about it.

use crate::model::{Hinted, Time};
use crate::source::gluster::{client, collect as collecting, volume};
use crate::{catalog, index, source, store};
use std::path::PathBuf;

/// What can keep a generation from being taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// Indexing.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// The settings of the source.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// What the volume is made of.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// The bricks.
    #[error(transparent)]
    Collect(#[from] collecting::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The client mount.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The source has lists of another tool, and no volume to ask.
    #[error("source {0:?} has no volume: its generations come from lists")]
    ListsOnly(String),
    /// The store is not there.
    #[error("the store {path:?} is not there")]
    NoStore {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store holds nothing of the newest generation: it is not mounted, or it is another one.
    #[error("the copy {path:?} of the generation before, of {at}, is not there")]
    StoreIsAnother {
        /// The newest generation.
        at: Time,
        /// Its copy.
        path: PathBuf,
    },
    /// A volume that is not started has no clients, and its bricks may be anything.
    #[error("volume {0:?} is not started")]
    NotStarted(String),
    /// What the newest generation left cannot be read.
    #[error("cannot read where the generation of {at} says that the next one goes on")]
    State {
        /// The newest generation.
        at: Time,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The clock went back.
    #[error("the newest generation is of {newest}, and the clock says {now}")]
    ClockBehind {
        /// The newest generation.
        newest: Time,
        /// Now.
        now: Time,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Catalog(e) => return e.hint(),
            Self::Index(e) => return e.hint(),
            Self::Source(e) => return e.hint(),
            Self::Volume(e) => return e.hint(),
            Self::Collect(e) => return e.hint(),
            Self::Store(e) => return e.hint(),
            Self::ListsOnly(name) => {
                return Some(format!(
                    "asof index {name} --list LIST --data DIR --at DATE indexes what another tool copied"
                ));
            }
            Self::NotStarted(volume) => return Some(format!("gluster volume start {volume}")),
            Self::NoStore { .. } => "is it mounted? asof source show prints where it has to be",
            Self::ClockBehind { .. } => "set the clock, or wait: a generation is never older than one that is there",
            Self::Client(_) => "packages glusterfs-client and fuse are needed where a brick has no whole files",
            Self::StoreIsAnother { .. } => {
                "is the store mounted? asof take --full begins anew where it is gone for good"
            }
            Self::State { .. } => "asof take --full begins anew",
        };
        Some(text.to_owned())
    }
}
