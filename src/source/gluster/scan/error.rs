//! Why a request got no part.
//! What concerns one node or changelog is no error: it is in the part.

use crate::source::gluster::Gfid;
use crate::source::gluster::brick;
use crate::source::gluster::part::FORMAT;
use std::io;

/// Why a request got no part. What was written until then has no end mark.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request of another version of this program.
    #[error("the request is of format {found}, this program answers format {FORMAT}")]
    Format {
        /// Its format.
        found: u32,
    },
    /// The brick cannot be opened.
    #[error("cannot scan a brick of {volume:?}")]
    Brick {
        /// The volume.
        volume: String,
        /// What it is.
        #[source]
        source: brick::Error,
    },
    /// The directory is a brick of another volume.
    #[error("the brick {brick:?} is of the volume with the id {found}, expected {expected}")]
    OtherVolume {
        /// Its root.
        brick: String,
        /// The id that it carries.
        found: Gfid,
        /// The id of the request.
        expected: Gfid,
    },
    /// The part cannot be written.
    #[error("cannot write the part of the brick {brick:?}")]
    Write {
        /// The root of the brick.
        brick: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
