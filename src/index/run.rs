//! One index run: a copy walked, merged and published, or nothing of it kept.
//!
//! Promises: on any error the generation is removed again (or, where the disk is too full even for that, by
//! the next run); the error that is told is the first one. Never decides which copies there are.

use super::merge::{Merge, SameBytes};
use super::{Error, Rules};
use crate::catalog::{Counts, SourceRow, Writer};
use crate::clock::Clock;
use crate::model::{Level, RelPath, Time};
use crate::monitor::Monitor;
use crate::source::{Found, Source};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// A copy that is to become a generation.
#[derive(Clone, Debug)]
pub struct NewCopy<'a> {
    /// The source that it is a copy of.
    pub source: &'a SourceRow,
    /// Where it is and when it was taken.
    pub found: &'a Found,
    /// The directory that is recorded as its store: one of its parents, or itself.
    pub store: &'a Path,
}

/// What a run did.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// The generation.
    pub at: Time,
    /// What was counted.
    pub counts: Counts,
    /// Nodes that differ from the generation before; all, for a first one.
    pub changed_nodes: u64,
    /// Whether the copy changed while it was walked.
    pub unstable: bool,
}

/// Indexes one copy as a generation of its source and publishes it.
///
/// # Errors
/// [`Error`]; then the catalog is as before.
pub fn index_copy(
    writer: &mut Writer,
    copy: &NewCopy<'_>,
    reader: &dyn Source,
    rules: Rules,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Done, Error> {
    let path = &copy.found.path;
    let below = path.strip_prefix(copy.store).map_err(|_| Error::NotACopy { path: path.clone() })?;
    let store = writer.store_at(copy.store)?;
    let at = copy.found.taken_at;
    let started = Instant::now();
    let mut generation =
        writer.begin(copy.source, at, Level::Full, (store, below.as_os_str().as_bytes()), clock.now())?;
    let base = generation.previous_copy()?;
    let same_bytes = |base: &Path| {
        let base = base.to_owned();
        move |path: &RelPath| reader.same_bytes(&base, &copy.found.path, path)
    };
    let compare = base.as_deref().filter(|_| rules.checksum).map(same_bytes);
    let compare = compare.as_ref().map(|c| c as &SameBytes<'_>);
    let merged = merge_copy(Merge::new(&mut generation, rules, compare, monitor), copy.found, reader);
    let (mut counts, unstable) = match merged {
        Ok(merged) => merged,
        Err(e) => {
            // The first error is the one that matters; what this one leaves, the next run removes.
            let _ = generation.abandon();
            return Err(e);
        }
    };
    counts.index_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let changed_nodes = generation.publish(&counts)?;
    Ok(Done { at, counts, changed_nodes, unstable })
}

fn merge_copy(mut merge: Merge<'_, '_>, found: &Found, reader: &dyn Source) -> Result<(Counts, bool), Error> {
    let mut trouble = None;
    let stats = reader.scan(found, &mut |listing| match merge.listing(listing) {
        Ok(()) => ControlFlow::Continue(()),
        Err(e) => {
            trouble = Some(e);
            ControlFlow::Break(())
        }
    })?;
    match trouble {
        Some(e) => Err(e.into()),
        None => Ok((merge.finish()?, stats.changed)),
    }
}
