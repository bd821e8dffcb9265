//! The list of kinds for jobs: how each kind is indexed.
//! What is known of a kind without a catalog is in `source::Description`.

use super::index::{self, Work, disk, replay, share};
use crate::model::SourceKind;

/// What is done with the sources of a kind.
pub(super) struct Jobs {
    /// Does what the wish of the work asks for.
    pub(super) index: fn(&mut Work<'_>) -> Result<(), index::Error>,
}

/// Returns what is done with the sources of a kind.
pub(super) fn jobs_of(kind: SourceKind) -> Jobs {
    match kind {
        SourceKind::Nfs => Jobs { index: share::run },
        SourceKind::Gluster => Jobs { index: replay::run },
        SourceKind::Block => Jobs { index: disk::run },
    }
}
