//! What people ask of the history of their files: how a path came to be what it is, what differs between two generations.
//!
//! Promises: each answer is a typed row in the form that `--json` prints and `docs/json.md` describes. Nothing is looked at but the
//! catalog, so what a row says of a file is what the generations say that are named in it; but for a tree that lives ([`trees`]) and for
//! lines of text ([`patch`]).

pub mod amounts;
pub mod diff;
pub mod du;
pub mod find;
pub mod history;
pub mod patch;
mod row;
pub mod trees;
pub mod when;

pub use row::{Changed, Facts, InMount};
