//! What a check says: what is wrong, what it looks at meanwhile, and how it ended.
//!
//! Promises: all that is wrong in one way has one text, so that it can be counted. Never looks anything up.

use crate::model::Time;
use std::fmt;

/// At most so many violations of one kind are told one by one; the rest is counted.
pub const TOLD_MAX: u64 = 20;

/// One thing that is wrong in a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The check that found it: the name of the invariant in `catalog-schema/README.md`.
    pub check: &'static str,
    /// The source.
    pub source: Option<String>,
    /// The instant, where it is wrong at one; the first one, if at several.
    pub at: Option<Time>,
    /// The path below the source, escaped, or the node where there is none; empty: the top directory.
    pub path: Option<String>,
    /// What is wrong; the same text for all that is wrong in the same way.
    pub what: &'static str,
    /// What was found against what was expected, and where no path tells it, the row.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.check)?;
        if let Some(source) = &self.source {
            match self.path.as_deref() {
                None | Some("") => write!(f, "\"{source}\"")?,
                Some(path) => write!(f, "\"{source}/{path}\"")?,
            }
            if let Some(at) = self.at {
                write!(f, " as of {at}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(self.what)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// What happens during a check.
#[derive(Clone, Copy, Debug)]
pub enum Checking<'a> {
    /// A part begins: what it is, and of how many names, if that is known.
    Begin(&'a str, Option<u64>),
    /// So many more names were checked.
    Names(u64),
    /// This is wrong.
    Found(&'a Violation),
}

/// What a check looked at, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Sources.
    pub sources: u64,
    /// Published generations.
    pub generations: u64,
    /// Rows of names, those of the past among them.
    pub names: u64,
    /// Violations, those that were only counted among them.
    pub violations: u64,
    /// Those that were only counted: check, what is wrong, how many more.
    pub untold: Vec<(&'static str, &'static str, u64)>,
    /// Published generations without a state hash: an older program made them, and nothing says whether they are what it wrote.
    pub uncounted: u64,
}
