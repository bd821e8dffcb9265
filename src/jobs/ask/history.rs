//! `history`: how a path came to be what it is.
//!
//! Promises: of a file a row a version, oldest first, through its renames; of a directory a row for each thing that changed in it or
//! below it, generation by generation; of a name whatever it led to.

use super::row::{Changed, Facts, InMount, text};
use crate::catalog::{Error, Reader, Scope, Stay, Version};
use crate::model::{Kind, RelPath, Time};
use serde::Serialize;
use std::ops::ControlFlow;

/// A version of a file.
#[derive(Clone, Debug, Serialize)]
pub struct VersionRow {
    /// The source.
    pub source: String,
    /// The path that it has.
    pub path: String,
    /// How it began: `oldest`, `appeared`, `back`, `changed`, `replaced`.
    pub began: &'static str,
    /// What differs from the version before.
    pub fields: Vec<&'static str>,
    /// Whether the bytes are among that.
    pub other_content: bool,
    /// The path of the version before, where it is another one.
    pub old_path: Option<String>,
    /// The first generation that has it (RFC 3339).
    pub since: String,
    /// The same in seconds.
    pub since_unix: i64,
    /// The first generation after it that has not; none: the newest has it.
    pub until: Option<String>,
    /// The same in seconds.
    pub until_unix: Option<i64>,
    /// How it ended: `newest` (it did not), `changed`, `gone`.
    pub ended: &'static str,
    /// The word of SQL for its type.
    pub kind: &'static str,
    /// What `stat` says.
    #[serde(flatten)]
    pub facts: Facts,
    /// In how many of the generations that have it nobody saw it: its directory could not be listed.
    pub unseen: usize,
    /// The file.
    pub node: i64,
    /// Where it is in a mount.
    pub restore_path: InMount,
}

/// What a path is, whose history is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It never led anywhere.
    Nothing,
    /// It leads, or led, to what has versions.
    File(Stay),
    /// It leads, or led, to a directory.
    Directory(Stay),
}

/// Returns what `path` leads to in the generation at `at`; none: where it last led.
///
/// # Errors
/// As [`Reader::stays`].
pub fn asked(reader: &Reader, scope: &Scope, path: &RelPath, at: Option<Time>) -> Result<Asked, Error> {
    let stays = reader.stays(scope, path)?;
    let stay = match at {
        None => stays.last(),
        Some(at) => stays.iter().find(|stay| stay.since <= at && stay.until.is_none_or(|until| at < until)),
    };
    Ok(match stay {
        None => Asked::Nothing,
        Some(stay) if stay.kind == Kind::Directory => Asked::Directory(*stay),
        Some(stay) => Asked::File(*stay),
    })
}

/// Returns the versions of a file that was found at `path`, oldest first.
///
/// # Errors
/// As [`Reader::story`].
pub fn of_file(reader: &Reader, scope: &Scope, stay: Stay, path: &RelPath) -> Result<Vec<VersionRow>, Error> {
    rows(reader, scope, reader.story(scope, (stay.node, stay.kind), path)?)
}

/// Returns the versions of whatever `path` led to, oldest first.
///
/// # Errors
/// As [`Reader::story`].
pub fn of_name(reader: &Reader, scope: &Scope, path: &RelPath) -> Result<Vec<VersionRow>, Error> {
    rows(reader, scope, reader.story_of_name(scope, path)?)
}

/// Calls `each` with what changed in a directory and below it from `since` on, oldest first, until it breaks.
///
/// # Errors
/// As [`Reader::diff`].
pub fn of_directory(
    reader: &Reader,
    scope: &Scope,
    stay: Stay,
    since: Time,
    each: &mut dyn FnMut(Changed) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut trouble = None;
    reader.changes_below(scope, stay.node, since, &mut |at, differences| {
        let Some(before) = scope.before(at) else { return ControlFlow::Continue(()) };
        for difference in &differences {
            match Changed::of(reader, scope, (before, at), difference) {
                Ok(row) => each(row)?,
                Err(e) => {
                    trouble = Some(e);
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    trouble.map_or(Ok(()), Err)
}

fn rows(reader: &Reader, scope: &Scope, versions: Vec<Version>) -> Result<Vec<VersionRow>, Error> {
    versions.into_iter().map(|version| row(reader, scope, &version)).collect()
}

fn row(reader: &Reader, scope: &Scope, version: &Version) -> Result<VersionRow, Error> {
    let until = version.end.until();
    Ok(VersionRow {
        source: scope.source.name.clone(),
        path: text(&version.path),
        began: version.began.word(),
        fields: version.fields.words(),
        other_content: version.has_other_content,
        old_path: version.renamed_from.as_ref().map(text),
        since: version.since.to_string(),
        since_unix: version.since.0,
        until: until.map(|at| at.to_string()),
        until_unix: until.map(|at| at.0),
        ended: version.end.word(),
        kind: version.kind.word(),
        facts: Facts::of(reader, &version.row)?,
        unseen: version.unseen,
        node: version.node.0,
        restore_path: InMount::of(scope, version.since, &version.path),
    })
}
