//! How far numbers go: the bits of an inode number, and which numbers of views mean what.
//!
//! Promises: a range that is used up is an error that names it; nothing wraps.
//!
//! ```text
//! 1 .. 2^26                       a generation: generation.id
//! 2^26 .. 2^26 + 2^25 - 2^22      a vector, at its place in catalog.db-views
//! .. 2^26 + 2^25                  a vector, in memory alone
//! .. 2^26 + 2^25 + 2^24           given by a mount to what has no number for ever, and given anew later
//! .. 2^27                         with the bits of the node: a digest of what is made up
//! ```

use crate::catalog::error::Error;
use crate::model::{GenerationId, NodeId, ViewId};
use std::ops::Range;
use std::path::Path;

/// Bits of an inode number that tell the node; the [`VIEW_BITS`] above them tell the view, and the uppermost one stays 0.
pub const NODE_BITS: u32 = 36;
/// Bits of an inode number that tell the view.
pub const VIEW_BITS: u32 = 27;

const GENERATION_BITS: u32 = 26;
pub(super) const FIRST_VECTOR: i64 = 1 << GENERATION_BITS;
/// As many as a mount can need: a million publications that each change four views.
const FIRST_IN_MEMORY: i64 = FIRST_PASSING - (1 << 22);
pub(super) const FIRST_PASSING: i64 = FIRST_VECTOR + (1 << 25);

/// From here on the number of a view and that of a node are one number, [`MADE_BITS`] long: a digest of what it is the number of.
pub const FIRST_MADE: i64 = FIRST_PASSING + (1 << 24);
/// Bits of such a number.
pub const MADE_BITS: u32 = 24 + NODE_BITS;

/// Numbers that a mount gives to what has no number for ever.
pub const PASSING: Range<i64> = FIRST_PASSING..FIRST_MADE;
/// Numbers at places of the file.
pub(super) const IN_FILE: Range<i64> = FIRST_VECTOR..FIRST_IN_MEMORY;
pub(super) const IN_MEMORY: Range<i64> = FIRST_IN_MEMORY..FIRST_PASSING;

/// What a number of a view is the number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbered {
    /// One generation of one source.
    Generation(GenerationId),
    /// The generations that an instant resolves to.
    Vector,
    /// Whatever this mount gave it to.
    Passing,
    /// A part of the digest of what is made up.
    Made,
}

/// Returns what `view` is the number of, before anybody knows whether that exists.
pub fn numbered(view: ViewId) -> Numbered {
    match view.0 {
        ..FIRST_VECTOR => Numbered::Generation(GenerationId(view.0)),
        FIRST_VECTOR..FIRST_PASSING => Numbered::Vector,
        FIRST_PASSING..FIRST_MADE => Numbered::Passing,
        FIRST_MADE.. => Numbered::Made,
    }
}

/// Returns the number of the view that shows one generation.
pub fn view_of(generation: GenerationId) -> ViewId {
    ViewId(generation.0)
}

/// Refuses a node whose number does not fit into an inode number.
pub(in crate::catalog) fn check_node(catalog: &Path, node: i64) -> Result<NodeId, Error> {
    check(catalog, node, NODE_BITS, "nodes").map(NodeId)
}

/// Refuses a generation whose number does not fit into an inode number.
pub(in crate::catalog) fn check_generation(catalog: &Path, id: i64) -> Result<GenerationId, Error> {
    check(catalog, id, GENERATION_BITS, "generations").map(GenerationId)
}

fn check(catalog: &Path, number: i64, bits: u32, of: &'static str) -> Result<i64, Error> {
    if (0..1 << bits).contains(&number) {
        return Ok(number);
    }
    Err(Error::NumbersUsedUp { path: catalog.to_owned(), of, bits })
}
