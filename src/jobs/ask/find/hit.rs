//! What was found, and how its path is written.
//!
//! A path is printed as `SOURCE:PATH`, which other verbs take; of the top directory as `SOURCE:.`.

use crate::catalog::{Error, NodeRow, Perm, Reader};
use crate::jobs::ask::row::{Facts, InMount, text};
use crate::model::{Kind, NodeId, RelPath, Time, mode_text};
use serde::Serialize;

/// What was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The name of the source.
    pub source: String,
    /// Where the search began.
    pub start: RelPath,
    /// The path.
    pub path: RelPath,
    /// The file.
    pub node: NodeId,
    /// Its type.
    pub kind: Kind,
    /// The version that fulfils the tests.
    pub row: NodeRow,
    /// Owner and mode of that.
    pub perm: Perm,
    /// The target of a symbolic link.
    pub target: Vec<u8>,
    /// Levels below the start.
    pub depth: usize,
    /// The generation in which it was found; over all time the last one.
    pub at: Time,
    /// The first generation after that which has no such path, if that is asked for.
    pub gone_in: Option<Time>,
    /// Where it is in a mount.
    pub restore_path: InMount,
}

/// A hit, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct HitRow {
    /// The source.
    pub source: String,
    /// The generation (RFC 3339).
    pub taken_at: String,
    /// The same in seconds.
    pub taken_at_unix: i64,
    /// The path.
    pub path: String,
    /// The word of SQL for its type.
    pub kind: &'static str,
    /// What `stat` says.
    #[serde(flatten)]
    pub facts: Facts,
    /// The file.
    pub node: i64,
    /// The first generation without it, if that is asked for.
    pub gone_in: Option<String>,
    /// Where it is in a mount.
    pub restore_path: InMount,
}

impl Hit {
    /// Returns the form that `--json` prints.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn row(&self, reader: &Reader) -> Result<HitRow, Error> {
        Ok(HitRow {
            source: self.source.clone(),
            taken_at: self.at.to_string(),
            taken_at_unix: self.at.0,
            path: text(&self.path),
            kind: self.kind.word(),
            facts: Facts::of(reader, &self.row)?,
            node: self.node.0,
            gone_in: self.gone_in.map(|at| at.to_string()),
            restore_path: self.restore_path.clone(),
        })
    }

    /// Returns the path as it is printed: `SOURCE:PATH`.
    pub(super) fn shown_path(&self) -> Vec<u8> {
        self.shown(self.path.as_bytes())
    }

    /// Returns another path of the source likewise.
    pub(super) fn shown(&self, path: &[u8]) -> Vec<u8> {
        let path = if path.is_empty() { b"." } else { path };
        [self.source.as_bytes(), b":", path].concat()
    }

    /// Returns the path below the start.
    pub(super) fn below(&self) -> &[u8] {
        let below = self.path.as_bytes().strip_prefix(self.start.as_bytes()).unwrap_or_default();
        below.strip_prefix(b"/").unwrap_or(below)
    }

    /// Returns type and mode as `ls -l` writes them.
    pub fn mode_text(&self) -> String {
        mode_text(self.perm.mode)
    }
}

pub(super) fn shown_path(source: &str, path: &RelPath) -> Vec<u8> {
    let path = if path.is_root() { b"." } else { path.as_bytes() };
    [source.as_bytes(), b":", path].concat()
}
