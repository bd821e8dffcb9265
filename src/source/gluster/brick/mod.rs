//! One brick on a local file system: who is where in it, and how a client would see each node.
//!
//! Promises: reads only, with no access time changed where the kernel permits that. No symbolic link is followed, also
//! not those that Gluster keeps as handles of directories: chains of them are walked by hand, so they may be of any depth
//! and a loop in them ends. What a handle or a `trusted.gfid2path.*` says is believed only after the name was found
//! where it is said to be. Never crosses a mount, and never shows what is internal to Gluster.
//!
//! A node can be [`Look::Unsure`]: its names do not add up, because the brick changed that very moment, attributes are
//! of before Gluster 3.12, or a crash left a handle behind. Look again; then [`Reader::find`] all of them in one walk.

mod error;
mod look;
mod names;
mod reader;
mod root;
mod search;
mod shards;
mod state;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use look::{Look, Occupant, Sight};
pub(super) use names::{is_fixed_internal, is_internal_name, join, shard_base};
pub use reader::Reader;
pub use root::Brick;
