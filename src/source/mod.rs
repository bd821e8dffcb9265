//! What is backed up, and how its copies are found and walked: one folder per kind of source, and one list of them.
//!
//! Promises: a source reads and never writes; it finds the copies of its generations and tells one of them
//! as a stream of [`crate::model::Listing`]s, breadth first, whatever the kind. After that nobody asks what kind it was.
//! Trouble with one path is a finding inside its listing and does not stop the walk. Never sees the
//! catalog: what is new or known is for the indexer.
//!
//! # Rooms of a kind
//!
//! | | `nfs` | `gluster` | `block` |
//! |---|---|---|---|
//! | `settings`: what the catalog keeps | `settings` | `settings` | `settings` |
//! | `discover`: what generations are there | `discover` | in the store only | `discover` |
//! | `read`: what is in one | `read`, `directory`, `bytes` | `brick`, `changelog`, `history`, `scan`, `merge`, `lists`, `list` | `image`, `volumes`, `ext4`, `xfs` |
//! | `take`: where new ones come from | other tools | `volume`, `exec`, `collect`, `client` | `nbd`, `location` |
//! | `describe`: what differs from other kinds | `describe` | `describe` | `describe` |

pub mod block;
mod copies;
mod describe;
mod error;
pub mod gluster;
mod instant;
mod kinds;
pub mod nfs;
#[cfg(test)]
pub(crate) mod told;

pub use copies::{
    Discovered, FileStamp, Found, LeftAside, NoCopy, NoDigest, OpenCopy, ScanStats, Source, TopDirectory,
};
pub use describe::{CommandsOf, Description, FolderOf, OpenCopies, SetBy, WithoutCommands};
pub use error::Error;
pub use kinds::{description, kind_of, open, own_folder};
