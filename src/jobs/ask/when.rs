//! `when`: in which generation something happened to a path, or which files had a content.
//!
//! Promises: what is said of a path is said of its name; a name that is gone while its file has another one is told with that one.

use super::row::{InMount, text};
use crate::catalog::{Began, End, Error, Reader, Scope, Stay, Version};
use crate::model::{Kind, RelPath, Time};
use serde::Serialize;
use std::ops::ControlFlow;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct WhenRow {
    /// The source.
    pub source: String,
    /// The generation in which it shows first (RFC 3339).
    pub taken_at: String,
    /// The same in seconds.
    pub taken_at_unix: i64,
    /// `deleted`, `changed`, `content`.
    pub what: &'static str,
    /// The path.
    pub path: String,
    /// What differs, of what changed.
    pub fields: Vec<&'static str>,
    /// The last generation that has it as it was (of a content: as it is).
    pub last_seen: Option<String>,
    /// Of a name that is gone: another path of the same file in that generation.
    pub lives_as: Option<String>,
    /// Where it is in a mount, as it was in `last_seen`.
    pub restore_path: InMount,
}

fn row(scope: &Scope, what: &'static str, (at, last): (Time, Time), path: &RelPath) -> WhenRow {
    WhenRow {
        source: scope.source.name.clone(),
        taken_at: at.to_string(),
        taken_at_unix: at.0,
        what,
        path: text(path),
        fields: Vec::new(),
        last_seen: Some(last.to_string()),
        lives_as: None,
        restore_path: InMount::of(scope, last, path),
    }
}

/// Returns when a path led nowhere any more, each time; none: it never led anywhere.
///
/// # Errors
/// As [`Reader::stays`].
pub fn deleted(reader: &Reader, scope: &Scope, path: &RelPath) -> Result<Option<Vec<WhenRow>>, Error> {
    let stays = reader.stays(scope, path)?;
    let mut rows = Vec::new();
    for (number, stay) in stays.iter().enumerate() {
        let follows = stays.get(number + 1).map(|next| next.since);
        let (Some(gone), false) = (stay.until, stay.until == follows) else { continue };
        let Some(last) = scope.before(gone) else { continue };
        let mut row = row(scope, "deleted", (gone, last), path);
        row.lives_as = reader.path_of(scope.source.root, stay.node, gone)?.map(|path| text(&path));
        rows.push(row);
    }
    Ok((!stays.is_empty()).then_some(rows))
}

/// Returns when a path led to something that differs from the generation before; of a directory when anything below it did; none: it
/// never led anywhere.
///
/// # Errors
/// As [`Reader::story`].
pub fn changed(reader: &Reader, scope: &Scope, path: &RelPath) -> Result<Option<Vec<WhenRow>>, Error> {
    let stays = reader.stays(scope, path)?;
    let Some(last) = stays.last() else { return Ok(None) };
    let mut rows = Vec::new();
    if last.kind == Kind::Directory {
        let Stay { node, .. } = *last;
        reader.changes_below(scope, node, Time(i64::MIN), &mut |at, _| {
            rows.extend(scope.before(at).map(|before| row(scope, "changed", (at, before), path)));
            ControlFlow::Continue(())
        })?;
        return Ok(Some(rows));
    }
    for version in reader.story_of_name(scope, path)? {
        let is_change = matches!(version.began, Began::Changed | Began::Replaced);
        let Some(before) = scope.before(version.since).filter(|_| is_change) else { continue };
        let mut row = row(scope, "changed", (version.since, before), path);
        row.fields = version.fields.words();
        rows.push(row);
    }
    Ok(Some(rows))
}

/// Returns the versions of all files of a source, below `path`, whose content has this digest, by file and oldest first.
///
/// # Errors
/// As [`Reader::story`].
pub fn with_digest(reader: &Reader, scope: &Scope, path: &RelPath, digest: &[u8; 32]) -> Result<Vec<WhenRow>, Error> {
    let mut rows = Vec::new();
    for (node, bytes) in reader.with_digest(scope, digest)? {
        let has = |version: &Version| version.row.bytes == bytes && is_below(&version.path, path);
        for version in reader.story(scope, (node, Kind::File), &RelPath::root())?.iter().filter(|version| has(version))
        {
            let last = match version.end {
                End::Newest => scope.instants().next_back(),
                End::Changes(at) | End::Gone(at) => scope.before(at),
            };
            let last = last.unwrap_or(version.since);
            rows.push(row(scope, "content", (version.since, last), &version.path));
        }
    }
    Ok(rows)
}

fn is_below(path: &RelPath, top: &RelPath) -> bool {
    let mut names = path.names();
    top.names().all(|name| names.next() == Some(name))
}
