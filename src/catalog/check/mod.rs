//! The catalog against itself: what one table says is compared with what another one says, row by row.
//!
//! Promises: everything that a view shows is compared with something that does not depend on it; what is damaged is reported,
//! whatever it is, and the rest is checked all the same. Costs what the tables hold, not what the generations show together; holds no
//! more in memory than the rows of one node, some numbers a generation and the owners and rights. Sees one
//! moment a step: between two steps the log can be folded back. Generations that are being made, or that a killed run left, are
//! not violations.
//!
//! The invariants are in `catalog-schema/README.md`, each under the name of its check ([`Violation::check`]).
//!
//! Never writes, never opens a file of a backup: bytes are compared by whoever reads them.

mod doubts;
pub(super) mod notes;
mod pages;
mod pass;
mod report;
mod rules;

use super::{Error, Reader};
use report::Report;

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
    pub at: Option<crate::model::Time>,
    /// The path below the source, escaped, or the node where there is none; empty: the top directory.
    pub path: Option<String>,
    /// What is wrong; the same text for all that is wrong in the same way.
    pub what: &'static str,
    /// What was found against what was expected, and where no path tells it, the row.
    pub detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

impl Reader {
    /// Checks the catalog against its invariants. `deep`: state hashes, what generations changed and what they keep as unknown are
    /// counted anew, too.
    ///
    /// Calls `tell` with each violation when it is found, the first [`TOLD_MAX`] of each kind.
    ///
    /// **Cost:** every page is read twice; `deep` adds a digest a name and version.
    ///
    /// # Errors
    /// What keeps a file from being read at all: [`Error::Sqlite`] of a busy or unreadable file. Damage is no error.
    pub fn check(&self, deep: bool, tell: &mut dyn FnMut(Checking<'_>)) -> Result<Checked, Error> {
        let mut report = Report::new(self, tell);
        pages::check(&mut report)?;
        rules::check(&mut report)?;
        for source in report.step("listing sources", |_, _| Ok(self.sources()))?.transpose()?.unwrap_or_default() {
            pass::check(&mut report, &source, deep)?;
            if deep {
                report.doubts(&source)?;
            }
        }
        Ok(report.finish())
    }
}
