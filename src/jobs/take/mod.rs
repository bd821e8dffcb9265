//! Taking a generation: what a source is now, its bytes into a copy of its own, indexed and published.
//!
//! Promises: a generation is published when its copy is whole and on the disk, with the cursor from which the next one
//! goes on, in one transaction; a run that ends before that leaves the catalog as it was, and the next one goes on
//! with what it had copied. Nothing of the source is changed. Never decides when: whoever calls does.

pub mod block;
mod error;
pub mod gluster;
mod inputs;
mod report;

pub use error::Error;
pub(in crate::jobs) use inputs::Run;
pub use inputs::{Inputs, Wish};
pub use report::{Report, Taken, TakenDisk, TakenVolume, Trouble};

use super::kinds::jobs_of;
use crate::catalog::{SourceRow, Writer};
use crate::source::kind_of;

/// Takes a generation of `source`, which the caller has locked.
///
/// # Errors
/// [`Error`]; then the catalog is as before, and what was held still was let go if that was possible.
pub fn take(writer: &mut Writer, source: &SourceRow, wish: &Wish, inputs: &Inputs<'_>) -> Result<Report, Error> {
    let kind = kind_of(&source.name, &source.kind)?;
    let take = jobs_of(kind).take.ok_or_else(|| Error::NotTaken { name: source.name.clone(), kind })?;
    take(&mut Run { writer, source, wish, inputs })
}
