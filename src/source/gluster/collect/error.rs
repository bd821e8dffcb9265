//! Why a volume cannot be scanned.
//! A hint says what becomes of what changed meanwhile.

use crate::model::Hinted;
use crate::source::gluster::part::Request;
use crate::source::gluster::{exec, part_reader};
use std::path::PathBuf;

/// How often bricks are asked about nodes that others named: where they disagree on the names of directories, once more for
/// each directory above.
pub(super) const ROUNDS_MAX: u32 = 32;

/// Why a volume cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An agent cannot be run at all.
    #[error("cannot run the agent of brick {brick}")]
    Agent {
        /// `host:path`.
        brick: String,
        /// Why.
        #[source]
        source: Box<exec::Error>,
    },
    /// All of a replica set failed, and all is needed.
    #[error("no brick of replica set {set} answered, and a full scan is needed ({why}): {said}")]
    Uncovered {
        /// The number of the set, from 1.
        set: u32,
        /// Why a walk is needed.
        why: String,
        /// What the bricks said.
        said: String,
    },
    /// Nobody answered: there is nothing to tell.
    #[error("no brick that is believed answered: {0}")]
    Silent(String),
    /// An answer cannot be read again.
    #[error(transparent)]
    Part(#[from] part_reader::Error),
    /// Parts were brought, and their bricks have to tell more.
    #[error("the parts name {nodes} nodes that other bricks have to tell, too")]
    ToAsk {
        /// How many.
        nodes: usize,
        /// The requests for them, by the number of the brick, from 1.
        requests: Vec<(u32, Request)>,
    },
    /// Parts that do not belong together, or are none that can be brought.
    #[error("{path:?} {why}")]
    Stray {
        /// The part.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Bricks keep naming nodes that others have to tell.
    #[error("bricks named {left} nodes that no brick tells, after {ROUNDS_MAX} rounds")]
    Endless {
        /// Nodes without an answer.
        left: usize,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Agent { source, .. } => source.hint(),
            Self::Uncovered { .. } => {
                Some("nothing was recorded; run it again when one brick of the set is up".to_owned())
            }
            Self::Silent(_) => Some("nothing was recorded; the next run finds what changed meanwhile".to_owned()),
            Self::Stray { .. } => {
                Some("asof gluster requests writes the requests; asof gluster scan-brick answers one".to_owned())
            }
            Self::Part(_) | Self::ToAsk { .. } | Self::Endless { .. } => None,
        }
    }
}
