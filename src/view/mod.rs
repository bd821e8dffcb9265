//! All sources as of any instant, as one tree, without FUSE: names to nodes, nodes to attributes and bytes.
//!
//! Promises: what is below a generation never changes ([`Ttl::Forever`]); only the top does, when
//! something is published. Look-ups and listings ask the local catalog and memory, never a store. A listing
//! that was not complete when it was indexed fails; a file whose bytes are not to be had as they were
//! indexed fails; nothing is ever shortened or made up. What is of several generations (a history, what differs) lets in whom each of
//! them lets in. Numbers mean the same after a restart and in every mount
//! ([`crate::catalog::numbers`]), those of dates that are not listed apart; offsets mean the same after a restart.
//!
//! ```text
//! /                  one directory per instant of any source, one per source, `.asof`; any date can be looked up
//! /@INSTANT/SOURCE   the tree of the newest generation at or before the instant
//! /SOURCE/@INSTANT   the tree of that generation
//! /SOURCE/@history   every name and every version of all generations, by path
//! /SOURCE/@A..@B     what differs between the generations of two dates
//! ```
//!
//! Writes nothing but numbers of views; never knows which kind a source is of.

mod answer;
mod between;
mod caller;
mod content;
mod copies;
mod dates;
mod error;
mod events;
mod history;
mod ino;
mod instant;
mod list_ahead;
mod listing;
mod lock;
mod made;
mod neighbours;
mod notes;
mod past;
mod place;
mod readers;
mod refresh;
mod regime;
mod replaced;
mod retired;
mod snapshot;
mod stat;
mod top;
mod tree;
mod tried;
mod windows;
mod xattr;
mod xattr_cache;

pub use answer::{Content, Looked, Neighbours, Refreshed, Ttl, Usage};
pub use caller::Caller;
pub use error::{Error, ErrorClass};
pub use ino::Ino;
pub use listing::{EachEntry, names_before};
pub use stat::{Stat, Xattrs};
pub use tree::Tree;
pub use xattr::XattrNeed;

#[cfg(test)]
mod tests;
