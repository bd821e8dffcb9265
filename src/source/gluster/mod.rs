//! A GlusterFS volume: its bricks are looked at directly, through their changelogs and their present state.
//!
//! Promises: nothing below a brick is ever changed. What a scan tells is the present state of the nodes that
//! changelogs name (or of all, for a walk), never what a record says that happened: so records need no order,
//! may be read twice, and may come from every replica. What cannot be read is a gap or a finding, never silence.
//! Never trusts HTIME for the list of changelogs, glusterfind, or the times of a brick's inode.
//!
//! # From a brick to listings
//!
//! ```text
//!  changelog ── history ── scan (beside the brick) ── part (a file) ── merge (at the coordinator) ── Listing | NodeState
//!                brick ──┘                              exec (runs the agents)    volume (which bricks there are)
//!                                                        collect (asks all of them)   client (bytes that no brick has)
//! ```
//!
//! Formats: `xlators/features/changelog`, `xlators/storage/posix`, `xlators/cluster/{dht,afr,ec}` and
//! `xlators/features/shard` of the GlusterFS sources, as of 10.3, checked on real volumes.

pub mod brick;
pub mod changelog;
pub mod client;
pub mod collect;
mod describe;
pub mod exec;
mod gfid;
pub mod history;
pub mod list;
pub mod lists;
#[cfg(test)]
mod made_brick;
pub mod merge;
mod noted;
pub mod part;
pub mod part_reader;
pub mod scan;
mod settings;
mod state;
pub mod volume;

pub use describe::DESCRIPTION;
pub use gfid::{Gfid, GfidError};
pub use settings::{RESCAN_EVERY_S, Settings};
pub use state::{BrickSeen, State};
