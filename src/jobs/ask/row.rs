//! What rows of several answers have in common: the facts of a version, and a line of what differs.
//!
//! Paths are text, escaped as in SQL where they are not plain; `restore_path` leads into a mount, below the mount point.

use crate::catalog::{Difference, Error, NodeRow, Perm, Reader, Scope, What};
use crate::jobs::report::When;
use crate::model::{Attrs, RelPath, Time, escape_bytes};
use serde::{Serialize, Serializer};

/// What `stat` says of a version.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Bytes.
    pub size_bytes: u64,
    /// RFC 3339, with nanoseconds.
    pub mtime: String,
    /// As octal digits.
    pub mode: String,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Names inside the generation.
    pub nlink: u32,
}

impl Facts {
    pub(super) fn of(reader: &Reader, row: &NodeRow) -> Result<Self, Error> {
        Ok(Self::with(row, &reader.perm(row.perm)?))
    }

    pub(super) fn with(row: &NodeRow, perm: &Perm) -> Self {
        Self {
            size_bytes: row.size_bytes,
            mtime: row.mtime.to_string(),
            mode: mode(perm.mode),
            uid: perm.uid,
            gid: perm.gid,
            nlink: row.nlink,
        }
    }

    pub(super) fn of_attrs(attrs: &Attrs) -> Self {
        Self {
            size_bytes: attrs.size_bytes,
            mtime: attrs.mtime.to_string(),
            mode: mode(attrs.mode),
            uid: attrs.uid,
            gid: attrs.gid,
            nlink: attrs.nlink,
        }
    }
}

fn mode(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}

/// One thing that a generation changed, or that differs between two.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// The source.
    pub source: String,
    /// The generation that has it.
    #[serde(flatten)]
    pub when: When,
    /// `created`, `deleted`, `modified`, `attributes`, `renamed`, `linked`, `unlinked`, `replaced`.
    pub what: &'static str,
    /// Where it is; of what is gone, where it was.
    pub path: String,
    /// Where it was, of what was renamed.
    pub old_path: Option<String>,
    /// The word of SQL for its type.
    pub kind: &'static str,
    /// What differs: `size`, `mtime`, `mode` and so on.
    pub fields: Vec<&'static str>,
    /// What it is; none: it is gone.
    pub is: Option<Facts>,
    /// What it was; none: it is new.
    pub was: Option<Facts>,
    /// Of a directory that came or went: names that came or went with it.
    pub entries: u64,
    /// Bytes of their files.
    pub entries_bytes: u64,
    /// Where it is in a mount; of what is gone, where it is still there; none: in no generation that was asked about.
    pub restore_path: Option<InMount>,
}

impl Changed {
    pub(super) fn of(
        reader: &Reader,
        scope: &Scope,
        (before, after): (Time, Time),
        difference: &Difference,
    ) -> Result<Self, Error> {
        let is_gone = matches!(difference.what, What::Deleted | What::Unlinked);
        let facts = |row: &Option<NodeRow>| row.as_ref().map(|row| Facts::of(reader, row)).transpose();
        Ok(Self {
            source: scope.source.name.clone(),
            when: When(after),
            what: difference.what.word(),
            path: text(&difference.path),
            old_path: difference.old_path.as_ref().map(text),
            kind: difference.kind.word(),
            fields: difference.fields.words(),
            is: facts(&difference.after)?,
            was: facts(&difference.before)?,
            entries: difference.below.entries,
            entries_bytes: difference.below.size_bytes,
            restore_path: Some(InMount::of(scope, if is_gone { before } else { after }, &difference.path)),
        })
    }
}

/// Returns a path as text; of the top directory `.`.
pub(super) fn text(path: &RelPath) -> String {
    if path.is_root() { ".".to_owned() } else { escape_bytes(path.as_bytes()).into_owned() }
}

/// Where something is in a mount of all sources, below the mount point; as text it is escaped as in SQL.
#[derive(Clone, Debug)]
pub struct InMount(Vec<u8>);

impl InMount {
    pub(super) fn of(scope: &Scope, at: Time, path: &RelPath) -> Self {
        let slash = if path.is_root() { "" } else { "/" };
        let above = format!("@{}/{}{slash}", at.view_name(), scope.source.name);
        Self([above.as_bytes(), path.as_bytes()].concat())
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for InMount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape_bytes(&self.0))
    }
}
