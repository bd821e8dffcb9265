//! `diff`: what differs between two generations of a source.
//!
//! Promises: rows come in the order of their paths. Says of each generation how many directories could not be listed when it was
//! indexed: what is in those is as in the generation before, so nothing of it differs.

use super::row::Changed;
use crate::catalog::{Difference, Error, Reader, Scope, What, Within};
use crate::model::{Kind, RelPath, Time};

/// What differs between two generations.
#[derive(Debug)]
pub struct Compared {
    /// The lines.
    pub rows: Vec<Changed>,
    /// Of each line where the file was and is, if both are regular files whose bytes may differ.
    pub files: Vec<Option<(RelPath, RelPath)>>,
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
    let files = differences.iter().map(|one| files(reader, scope, times.0, one)).collect::<Result<_, _>>()?;
    Ok(Compared { rows, files, in_doubt: reader.doubts_at(scope, times)? })
}

fn files(
    reader: &Reader,
    scope: &Scope,
    before: Time,
    difference: &Difference,
) -> Result<Option<(RelPath, RelPath)>, Error> {
    let path = &difference.path;
    let leads_here = |at| -> Result<bool, Error> {
        Ok(reader.leads_to(scope, path, at)?.is_some_and(|(node, _)| node == difference.node))
    };
    let was = match difference.what {
        _ if difference.kind != Kind::File || difference.before.is_none_or(|was| !was.place.holds_a_file()) => None,
        What::Modified if leads_here(before)? => Some(path.clone()),
        What::Modified => reader.path_of(scope.source.root, difference.node, before)?,
        What::Replaced => Some(path.clone()),
        _ => None,
    };
    Ok(was.map(|was| (was, path.clone())))
}
