//! `diff`: what differs between two generations of a source.
//!
//! Promises: rows come in the order of their paths. Says of each generation how many directories could not be listed when it was
//! indexed: what is in those is as in the generation before, so nothing of it differs.

use super::row::Changed;
use crate::catalog::{Error, Reader, Scope, Within};
use crate::model::{RelPath, Time};

/// What differs between two generations.
#[derive(Debug)]
pub struct Compared {
    /// The lines.
    pub rows: Vec<Changed>,
    /// Directories in doubt in either generation.
    pub in_doubt: u64,
}

/// Compares the generations at `times`, at or below `path`.
///
/// # Errors
/// As [`Reader::diff`].
pub fn diff(reader: &Reader, scope: &Scope, times: (Time, Time), path: &RelPath) -> Result<Compared, Error> {
    let differences = reader.diff(scope, times, &Within::path(path))?;
    let rows = differences.iter().map(|one| Changed::of(reader, scope, times, one)).collect::<Result<_, _>>()?;
    Ok(Compared { rows, in_doubt: reader.doubts_at(scope, times)? })
}
