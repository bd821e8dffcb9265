//! Which functions and quick views there are.
//!
//! Promises: they are made for one connection, and nothing of them is in the catalog.

use super::over::{Dates, Over};
use super::rows::{Diff, History};
use super::table::{add_function, add_view};
use rusqlite::{Connection, Result};
use std::path::Path;
use std::sync::Arc;

/// Makes the functions and the quick views known to a connection for questions, before it refuses to write; a diff may take `memory_bytes`.
pub(in crate::catalog) fn register(c: &Connection, path: &Path, dates: &Dates, memory_bytes: u64) -> Result<()> {
    add_function(c, "files_at", Arc::new(Over::files_at(c, path, dates)?))?;
    add_function(c, "history", Arc::new(History::new(path)))?;
    add_function(c, "diff", Arc::new(Diff::new(path, dates, memory_bytes)))?;
    ["files", "versions"].into_iter().try_for_each(|view| add_view(c, view, Arc::new(Over::view(c, path, view)?)))
}
