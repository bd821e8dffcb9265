//! `growth` and `churn`: how much is in each generation, and how much each one changed.
//!
//! Promises: a whole source is told from what was counted when it was indexed, by the views of SQL; a directory in it is counted as `du`
//! counts, generation by generation.

use super::du::du;
use super::find::Searched;
use super::row::{InMount, text};
use crate::catalog::{Churn, Error, Reader, Scope};
use crate::model::{RelPath, Time};
use serde::Serialize;
use std::ops::ControlFlow;

/// How much is in a generation, or in a directory of it.
#[derive(Clone, Debug, Serialize)]
pub struct GrowthRow {
    /// The source.
    pub source: String,
    /// The generation (RFC 3339).
    pub taken_at: String,
    /// The same in seconds.
    pub taken_at_unix: i64,
    /// The path; `.` for the whole source.
    pub path: String,
    /// Names.
    pub entries: i64,
    /// Bytes: of a whole source those of its files, of a path as `du` counts.
    pub size_bytes: i64,
    /// More names than in the generation before; none: that has none, or there is none before.
    pub more_entries: Option<i64>,
    /// More bytes.
    pub more_bytes: Option<i64>,
    /// Where it is in a mount.
    pub restore_path: InMount,
}

/// How much a generation changed against the one before it.
#[derive(Clone, Debug, Serialize)]
pub struct ChurnRow {
    /// The source.
    pub source: String,
    /// The generation (RFC 3339).
    pub taken_at: String,
    /// The same in seconds.
    pub taken_at_unix: i64,
    /// How many files, directories and so on differ; the sum of the next five.
    pub changed: i64,
    /// Are new.
    pub created: i64,
    /// Are gone.
    pub deleted: i64,
    /// Have other content.
    pub modified: i64,
    /// Have other names and the same content.
    pub renamed: i64,
    /// Have other attributes alone.
    pub attributes: i64,
    /// Bytes of the files that are created or modified.
    pub new_bytes: i64,
    /// Bytes that the deleted and modified ones had before.
    pub gone_bytes: i64,
    /// Where the generation is in a mount.
    pub restore_path: InMount,
}

/// Calls `each` with how much is at `path` in each generation from `since` on that has it, the oldest first, until it breaks; returns what
/// was searched for it, or none of a whole source, for which nothing is.
///
/// # Errors
/// As [`du`].
pub fn growth(
    reader: &Reader,
    scope: &Scope,
    path: &RelPath,
    since: Time,
    each: &mut dyn FnMut(GrowthRow) -> ControlFlow<()>,
) -> Result<Option<Searched>, Error> {
    let row = |at: Time, (entries, size_bytes): (i64, i64), more: Option<(i64, i64)>| GrowthRow {
        source: scope.source.name.clone(),
        taken_at: at.to_string(),
        taken_at_unix: at.0,
        path: text(path),
        entries,
        size_bytes,
        more_entries: more.map(|(entries, _)| entries),
        more_bytes: more.map(|(_, bytes)| bytes),
        restore_path: InMount::of(scope, at, path),
    };
    if path.is_root() {
        for one in reader.growth(scope)?.iter().filter(|one| one.at >= since) {
            let more = one.more_entries.zip(one.more_bytes);
            if each(row(one.at, (one.entries, one.size_bytes), more)).is_break() {
                break;
            }
        }
        return Ok(None);
    }
    let stays = reader.stays(scope, path)?;
    let mut searched = Searched { is_there: !stays.is_empty(), in_doubt: 0 };
    let mut before: Option<(i64, i64)> = None;
    // The one before the first is counted, too: the first is compared with it.
    let first = scope.before(since).unwrap_or(since);
    for at in scope.instants().filter(|at| *at >= first) {
        if !stays.iter().any(|stay| stay.since <= at && stay.until.is_none_or(|until| at < until)) {
            before = None;
            continue;
        }
        let mut here = (0, 0);
        let found = du(reader, scope, (path, at), 0, &mut |usage| {
            let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            here = (number(usage.entries), number(usage.size_bytes));
            ControlFlow::Continue(())
        })?;
        if at >= since {
            searched.in_doubt = searched.in_doubt.max(found.in_doubt);
            let more = before.map(|before| (here.0 - before.0, here.1 - before.1));
            if each(row(at, here, more)).is_break() {
                break;
            }
        }
        before = Some(here);
    }
    Ok(Some(searched))
}

/// Returns how much each generation of a source from `since` on changed, the oldest first; the first one of all has none before it.
///
/// # Errors
/// As [`Reader::churn`].
pub fn churn(reader: &Reader, scope: &Scope, since: Time) -> Result<Vec<ChurnRow>, Error> {
    let row = |one: Churn| ChurnRow {
        source: scope.source.name.clone(),
        taken_at: one.at.to_string(),
        taken_at_unix: one.at.0,
        changed: one.changed,
        created: one.created,
        deleted: one.deleted,
        modified: one.modified,
        renamed: one.renamed,
        attributes: one.attributes,
        new_bytes: one.new_bytes,
        gone_bytes: one.gone_bytes,
        restore_path: InMount::of(scope, one.at, &RelPath::root()),
    };
    Ok(reader.churn(scope, since)?.into_iter().map(row).collect())
}
