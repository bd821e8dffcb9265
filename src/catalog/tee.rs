//! Where the edits of a generation go besides the catalog, and the tombstones of those that are forgotten.
//! What is written there is made in [`super::manifest`].

use super::rows::Perm;
use crate::model::manifest::{Edit, Header, Recorder, Recording};
use crate::model::{SourceId, XattrSet};
use foldhash::HashMap;
use rusqlite::Connection;
use std::io;
use std::path::PathBuf;

/// Where the edits of one generation go.
pub(super) struct Tee {
    pub(super) recording: Box<dyn Recording>,
    /// Permissions that were met.
    pub(super) perms: HashMap<i64, (Perm, XattrSet)>,
    /// What went wrong with an edit that cannot say so.
    pub(super) failed: Option<io::Error>,
}

impl Tee {
    /// Writes an edit, or says what went wrong with one before it.
    pub(super) fn edit(&mut self, edit: &Edit<'_>) -> io::Result<()> {
        match self.failed.take() {
            Some(e) => Err(e),
            None => self.recording.edit(edit),
        }
    }
}

/// Has it written down that a generation is forgotten by the transaction that is open on `c`; returns where.
pub(super) fn record_forgotten(
    recorder: &mut (dyn Recorder + Send),
    c: &Connection,
    source: SourceId,
    header: &Header,
) -> rusqlite::Result<io::Result<PathBuf>> {
    let after: i64 = c.query_row("SELECT last_sequence FROM source WHERE id = ?1", [source.0], |r| r.get(0))?;
    Ok(recorder.forget(header, after as u64))
}
