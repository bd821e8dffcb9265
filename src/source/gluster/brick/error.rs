//! Why a brick or a node in it cannot be looked at.
//! Each text says what was found against what was expected.

use crate::source::gluster::Gfid;
use std::io;
use std::path::PathBuf;

/// Why a brick or a node in it cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root or `.glusterfs` cannot be opened or read.
    #[error("cannot open the brick {path:?}")]
    Open {
        /// The root.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory that carries no mark of a brick: not a brick, not mounted, or the reader is not root.
    #[error("{path:?} is no brick: it shows no {attribute} (root alone sees it, and the brick's disk must be mounted)")]
    Unmarked {
        /// The directory.
        path: PathBuf,
        /// The attribute.
        attribute: &'static str,
    },
    /// A mark with a value that no brick has.
    #[error("{path:?} is no brick: its {attribute} is {found}, expected {expected}")]
    Mark {
        /// The directory.
        path: PathBuf,
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// A node cannot be read.
    #[error("cannot look at {gfid}")]
    Node {
        /// The node.
        gfid: Gfid,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A handle that is not what its name says.
    #[error("handle {handle:?} is {found}, expected {gfid}")]
    Handle {
        /// Its path below the brick.
        handle: String,
        /// What is there.
        found: String,
        /// What its name says.
        gfid: Gfid,
    },
    /// A node that is somewhere in what the walk for lost names could not read, or nowhere.
    #[error("cannot determine where {gfid} is: {why}, and {unread:?} could not be searched")]
    Nowhere {
        /// The node.
        gfid: Gfid,
        /// Why its names do not add up.
        why: String,
        /// The first directory that the walk could not read.
        unread: String,
    },
}
