//! What people ask of the history of their files: how a path came to be what it is, what differs between two generations.
//!
//! Promises: each answer is a typed row in the form that `--json` prints and `docs/json.md` describes. Nothing is looked at but the
//! catalog, so what a row says of a file is what the generations say that are named in it.

pub mod amounts;
pub mod diff;
pub mod du;
pub mod find;
pub mod history;
mod row;
pub mod when;

pub use row::{Changed, Facts, InMount};
