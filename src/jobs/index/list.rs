//! A list of another tool, and what it copied for it, become a generation.
//!
//! Promises: lines that do not agree with what was copied are counted and kept as findings. A directory that is the copy of another
//! generation is refused: whoever filled it again took the bytes of that one away.

use super::super::report::{When, path_text};
use crate::catalog::{self, Reader, SourceRow, Writer};
use crate::clock::Clock;
use crate::index::{self, NewList};
use crate::model::{Hinted, SourceKind, Time};
use crate::monitor::Monitor;
use crate::source;
use crate::source::gluster::list::Format;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What is to become a generation.
#[derive(Clone, Debug)]
pub struct ListWish {
    /// The list.
    pub list: PathBuf,
    /// What it looks like.
    pub format: Format,
    /// The directory with the copied files.
    pub data: PathBuf,
    /// The instant.
    pub at: Time,
    /// Whether the directory holds everything.
    pub full: bool,
    /// Whether the directory, and the list, may be empty.
    pub may_be_empty: bool,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub struct ListReport {
    /// The source.
    pub source: String,
    /// The generation.
    #[serde(flatten)]
    pub when: When,
    /// The word of how much of the source the directory holds.
    pub level: &'static str,
    /// The directory.
    #[serde(serialize_with = "path_text")]
    pub path: PathBuf,
    /// Lines of the list.
    pub lines: u64,
    /// Names in the generation.
    pub entries: u64,
    /// Bytes of its regular files.
    pub size_bytes: u64,
    /// Nodes that differ from the generation before.
    pub changed: u64,
    /// What could not be read.
    pub losses: u64,
    /// Places in which the list and the files do not agree, and other findings.
    pub notices: u64,
    /// How long it took.
    pub index_ms: u64,
}

/// Why a list does not become a generation.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The source.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// A kind of source that has no lists.
    #[error("source {name:?} is of kind {kind}: its copies need no list")]
    NoLists {
        /// The source.
        name: String,
        /// Its kind.
        kind: SourceKind,
        /// What is indexed of it.
        at_path: &'static str,
    },
    /// The directory cannot be looked at.
    #[error("looking for the copied files in {path:?}")]
    Data {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is none.
    #[error("{path:?} holds no copied files: it is not a directory")]
    NotADirectory {
        /// What it is.
        path: PathBuf,
    },
    /// It is the copy of another generation.
    #[error("{path:?} is indexed already, as the copy of {at}")]
    Known {
        /// The directory.
        path: PathBuf,
        /// That generation.
        at: Time,
    },
    /// Indexing.
    #[error("cannot index generation {at} of \"{name}\"")]
    Index {
        /// The source.
        name: String,
        /// The generation.
        at: Time,
        /// Why.
        #[source]
        source: Box<index::Error>,
    },
}

impl Hinted for ListError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(e) => e.hint(),
            Self::Source(e) => e.hint(),
            Self::Index { source, .. } => source.hint(),
            Self::NoLists { name, at_path, .. } => Some(format!("asof index {name} PATH --at DATE indexes {at_path}")),
            Self::Known { .. } => {
                Some("every generation needs a directory of its own, which stays as it is".to_owned())
            }
            Self::Data { .. } | Self::NotADirectory { .. } => None,
        }
    }
}

/// Checks that sources of this kind have lists.
///
/// # Errors
/// [`ListError::NoLists`]; [`source::Error::UnknownKind`].
pub fn check_has_lists(source: &SourceRow) -> Result<(), ListError> {
    let kind = source::kind_of(&source.name, &source.kind)?;
    match source::description(kind).at_path {
        Some(at_path) => Err(ListError::NoLists { name: source.name.clone(), kind, at_path }),
        None => Ok(()),
    }
}

/// Indexes a list and the directory that was copied for it. The source is locked by the caller.
///
/// # Errors
/// [`ListError`]; then the catalog is as before.
pub fn index_list(
    writer: &mut Writer,
    reader: &Reader,
    source: &SourceRow,
    wish: &ListWish,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<ListReport, ListError> {
    check_has_lists(source)?;
    let fail = |e| ListError::Data { path: wish.data.clone(), source: e };
    let path = std::fs::canonicalize(&wish.data).map_err(fail)?;
    if !path.is_dir() {
        return Err(ListError::NotADirectory { path });
    }
    refuse_known(reader, source, &path)?;
    let (list, format, at) = (wish.list.as_path(), &wish.format, wish.at);
    let new = NewList { source, list, format, data: &path, at, full: wish.full, may_be_empty: wish.may_be_empty };
    monitor.begin(&format!("{} {at}", source.name), None);
    let listed = index::index_list(writer, reader, &new, clock, monitor);
    monitor.end();
    let listed = listed.map_err(|e| ListError::Index { name: source.name.clone(), at, source: Box::new(e) })?;
    let counts = &listed.done.counts;
    Ok(ListReport {
        source: source.name.clone(),
        when: When(listed.done.at),
        level: listed.level.word(),
        lines: listed.lines,
        entries: counts.entries,
        size_bytes: counts.size_bytes,
        changed: listed.done.changed_nodes,
        losses: counts.losses,
        notices: counts.notices,
        index_ms: counts.index_ms,
        path,
    })
}

fn refuse_known(reader: &Reader, source: &SourceRow, path: &Path) -> Result<(), ListError> {
    for generation in reader.generations(source.id)? {
        let at = generation.taken_at;
        if reader.copies(source.id, at)?.iter().any(|copy| copy.path == path) {
            return Err(ListError::Known { path: path.to_owned(), at });
        }
    }
    Ok(())
}
