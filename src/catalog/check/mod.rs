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
mod looks;
mod names;
mod nodes;
pub(super) mod notes;
mod pages;
mod pass;
mod report;
mod rules;
mod source;
mod totals;
mod violation;

pub use report::PAGES;
pub use violation::{Checked, Checking, TOLD_MAX, Violation};

use super::{Error, Reader};
use report::Report;

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
        looks::check(&mut report)?;
        for source in report.or_told("listing sources", self.sources())?.unwrap_or_default() {
            source::check(&mut report, &source, deep)?;
            if deep {
                report.doubts(&source)?;
            }
        }
        Ok(report.finish())
    }
}
