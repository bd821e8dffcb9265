//! Why a daemon could not do its work, and what can be done about it.
//! Values only.

use crate::fuse;
use crate::model::Hinted;
use crate::view;
use std::path::PathBuf;

/// Why a daemon could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mounting or unmounting.
    #[error(transparent)]
    Fuse(#[from] fuse::Error),
    /// The catalog is not the one that was mounted any more.
    #[error(transparent)]
    View(#[from] view::Error),
    /// No runtime, no signal handlers.
    #[error("cannot set up the daemon")]
    Setup {
        /// Why.
        source: std::io::Error,
    },
    /// The log cannot be written.
    #[error("cannot open the log {path:?}")]
    Log {
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program could not be started again in the background.
    #[error("cannot start the daemon in the background")]
    Start {
        /// Why.
        source: std::io::Error,
    },
    /// The background process said why it could not mount.
    #[error("{text}")]
    Refused {
        /// In its own words.
        text: String,
        /// What it says can be done about it.
        hint: Option<String>,
    },
    /// The background process ended without a word.
    #[error("the daemon ended before the mount was ready ({status}), see \"{}\"", log.display())]
    Died {
        /// How it ended.
        status: std::process::ExitStatus,
        /// Where it may have said why.
        log: PathBuf,
    },
}

impl Error {
    /// Tells whether the log cannot be written where it was to be, and nothing else is wrong: the disk is read-only or full, or somebody
    /// else's, or something else has its name.
    pub fn is_of_log(&self) -> bool {
        matches!(self, Self::Log { .. })
    }
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Fuse(e) => e.hint(),
            Self::View(e) => e.hint(),
            Self::Log { .. } => Some("--log-file FILE has it written elsewhere".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
            Self::Setup { .. } | Self::Start { .. } | Self::Died { .. } => None,
        }
    }
}
