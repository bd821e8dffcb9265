//! The list of kinds for jobs: how each kind is indexed and taken.
//! What is known of a kind without a catalog is in `source::Description`.

use super::index::{self, Work, disk, replay, share};
use super::take::{self, Run, block, gluster};
use crate::model::SourceKind;

/// Takes a generation.
pub(super) type Take = fn(&mut Run<'_>) -> Result<take::Report, take::Error>;

/// What is done with the sources of a kind.
pub(super) struct Jobs {
    /// Does what the wish of the work asks for.
    pub(super) index: fn(&mut Work<'_>) -> Result<(), index::Error>,
    /// Takes a generation; none: others make the copies.
    pub(super) take: Option<Take>,
}

/// Returns what is done with the sources of a kind.
pub(super) fn jobs_of(kind: SourceKind) -> Jobs {
    match kind {
        SourceKind::Nfs => Jobs { index: share::run, take: None },
        SourceKind::Gluster => Jobs { index: replay::run, take: Some(gluster::job::take) },
        SourceKind::Block => Jobs { index: disk::run, take: Some(block::job::take) },
    }
}
