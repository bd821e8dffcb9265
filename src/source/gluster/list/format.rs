//! What a list is made of and how it is written.
//!
//! Promises: a change that was written encoded, NUL-terminated or as JSON is read back as it was.

use super::encoding::{decode, encode};
use crate::source::gluster::part::Text;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// A change, by paths below the top of the volume, without a slash at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A name that was not there.
    New(Vec<u8>),
    /// Bytes or attributes changed.
    Modify(Vec<u8>),
    /// A node that moved.
    Rename {
        /// The name that it had.
        from: Vec<u8>,
        /// The name that it has.
        to: Vec<u8>,
    },
    /// A name that is not there any more.
    Delete(Vec<u8>),
}

/// What a list looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lines, `%`, blank and line feed in names encoded: glusterfind's own.
    Encoded,
    /// Lines, names as they are: its `--no-encode`.
    Plain,
    /// NUL-terminated fields.
    Nul,
    /// JSON lines.
    Json,
}

/// How a list is written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pub(super) form: Form,
    pub(super) separator: Vec<u8>,
    prefix: Option<Vec<u8>>,
}

/// Why there can be no such format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Fields could not be told apart.
    #[error("the field separator is empty")]
    EmptySeparator,
    /// Records could not be told apart.
    #[error("the field separator holds a line feed")]
    LineFeed,
}

impl Format {
    /// Returns the format of glusterfind's options `--field-separator` (" " by default; lines only) and
    /// `--output-prefix` (none, or what stands before every path, with a slash in between).
    ///
    /// # Errors
    /// [`FormatError`] if `separator` cannot separate.
    pub fn new(form: Form, separator: &[u8], prefix: Option<&[u8]>) -> Result<Self, FormatError> {
        if separator.is_empty() {
            return Err(FormatError::EmptySeparator);
        }
        if separator.contains(&b'\n') {
            return Err(FormatError::LineFeed);
        }
        Ok(Self { form, separator: separator.to_owned(), prefix: prefix.map(<[u8]>::to_owned) })
    }

    /// Writes one record. Paths may not be empty, nor hold a NUL (no path does).
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write, change: &Change) -> io::Result<()> {
        let (word, first, second) = match change {
            Change::New(path) => (Word::New, path, None),
            Change::Modify(path) => (Word::Modify, path, None),
            Change::Rename { from, to } => (Word::Rename, from, Some(to)),
            Change::Delete(path) => (Word::Delete, path, None),
        };
        let (first, second) = (self.with_prefix(first), second.map(|path| self.with_prefix(path)));
        match self.form {
            Form::Json => {
                let (path, old_path) = match second {
                    Some(to) => (Text(to), Some(Text(first))),
                    None => (Text(first), None),
                };
                serde_json::to_writer(&mut *out, &Record { what: word, path, old_path })?;
                out.write_all(b"\n")
            }
            Form::Nul => {
                for field in [Some(word.bytes()), Some(&first), second.as_deref()].into_iter().flatten() {
                    out.write_all(field)?;
                    out.write_all(b"\0")?;
                }
                Ok(())
            }
            Form::Encoded | Form::Plain => {
                out.write_all(word.bytes())?;
                for path in [Some(first), second].into_iter().flatten() {
                    out.write_all(&self.separator)?;
                    match self.form {
                        Form::Encoded => out.write_all(&encode(&path))?,
                        Form::Plain | Form::Nul | Form::Json => out.write_all(&path)?,
                    }
                }
                out.write_all(b"\n")
            }
        }
    }

    /// Returns the bytes that `line`, a line that is the rest of a name of `change`, adds to that name: what follows the
    /// same word and the separator; none if it begins with another word, or with none.
    pub(in crate::source::gluster) fn rest_after_word(&self, change: &Change, line: &[u8]) -> Option<Vec<u8>> {
        let word = match change {
            Change::New(_) => Word::New,
            Change::Modify(_) => Word::Modify,
            Change::Rename { .. } => Word::Rename,
            Change::Delete(_) => Word::Delete,
        };
        Some(self.decoded(line.strip_prefix(word.bytes())?.strip_prefix(self.separator.as_slice())?))
    }

    /// Returns the path that a field of a line is.
    pub(in crate::source::gluster) fn decoded(&self, field: &[u8]) -> Vec<u8> {
        match self.form {
            Form::Encoded => decode(field).0,
            Form::Plain | Form::Nul | Form::Json => field.to_owned(),
        }
    }

    fn with_prefix(&self, path: &[u8]) -> Vec<u8> {
        match self.prefix.as_deref() {
            None => path.to_owned(),
            Some(prefix) => [prefix.strip_suffix(b"/").unwrap_or(prefix), b"/", path].concat(),
        }
    }

    /// Returns what follows the prefix; none if something else stands there.
    pub(super) fn without_prefix(&self, path: Vec<u8>) -> Option<Vec<u8>> {
        match self.prefix.as_deref() {
            None => Some(path),
            Some(prefix) => {
                let rest = path.strip_prefix(prefix.strip_suffix(b"/").unwrap_or(prefix))?;
                Some(rest.strip_prefix(b"/")?.to_owned())
            }
        }
    }
}

/// A JSON record.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) what: Word,
    pub(super) path: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) old_path: Option<Text>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    New,
    Modify,
    Rename,
    Delete,
}

impl Word {
    pub(super) const ALL: [Self; 4] = [Self::New, Self::Modify, Self::Rename, Self::Delete];

    pub(super) fn bytes(self) -> &'static [u8] {
        match self {
            Self::New => b"NEW",
            Self::Modify => b"MODIFY",
            Self::Rename => b"RENAME",
            Self::Delete => b"DELETE",
        }
    }

    /// How many paths follow it.
    pub(super) fn paths(self) -> usize {
        match self {
            Self::New | Self::Modify | Self::Delete => 1,
            Self::Rename => 2,
        }
    }
}
