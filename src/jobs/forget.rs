//! `forget`: one generation leaves the catalog; nothing that was backed up is deleted.
//!
//! Its copy stays known for as long as it is there, so that the next run does not index it again.

use super::look::is_there;
use super::report::{When, paths_text};
use crate::catalog::{self, SourceRow, Writer};
use crate::model::{SourceKind, Time};
use crate::source::{self, Description};
use serde::Serialize;
use std::path::PathBuf;

/// What was forgotten.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The source.
    pub source: String,
    /// The generation.
    #[serde(flatten)]
    pub when: When,
    /// The number that it had among those of its source.
    pub number: i64,
    /// Where its bytes lie, now as before.
    #[serde(serialize_with = "paths_text")]
    pub copies: Vec<PathBuf>,
    /// Those of them that are not there now, or cannot be looked at.
    #[serde(serialize_with = "paths_text")]
    pub missing: Vec<PathBuf>,
    /// Whether this program made them, and deletes them some day.
    pub own: bool,
    /// Whether `asof index` takes it back by the path of a copy.
    pub indexed_by_path: bool,
}

/// Forgets the generation of `source` at `at`. The source is locked by the caller.
///
/// # Errors
/// [`catalog::Error::NoSuchGeneration`] and others; then nothing was changed.
pub fn forget(writer: &mut Writer, source: &SourceRow, at: Time) -> Result<Report, catalog::Error> {
    let forgotten = writer.forget(source, at)?;
    let described = SourceKind::from_word(&source.kind).map(source::description);
    // Settings that cannot be read name no folder.
    let has_own = |kind: &Description| matches!((kind.own_folder)(&source.settings, &source.name), Ok(Some(_)));
    let copies: Vec<PathBuf> = forgotten.copies.iter().map(|copy| copy.path.clone()).collect();
    let is_there = forgotten.copies.iter().map(|copy| is_there(&copy.store_path, &copy.path));
    let missing = copies.iter().zip(is_there).filter(|(_, is_there)| !is_there).map(|(path, _)| path.clone()).collect();
    Ok(Report {
        when: When(at),
        number: forgotten.number,
        copies,
        missing,
        own: described.is_some_and(|kind| kind.keeps_bytes && has_own(kind)),
        indexed_by_path: described.is_some_and(|kind| kind.at_path.is_some()),
        source: source.name.clone(),
    })
}
