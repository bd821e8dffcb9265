//! Views of all sources that the newest snapshot no longer has.
//! Each is served on for a time, from the last snapshot that had it.

use super::snapshot::Snapshot;
use crate::model::Time;
use std::sync::Arc;

/// How long a view of all sources is served on after a publication gave its instant another one, in seconds. Nobody can
/// know who is inside: the kernel opens and closes by itself.
pub(super) const GRACE_S: i64 = 3600;

/// A view that is not there any more.
pub(super) struct Retired {
    /// The last one that had it.
    pub(super) snapshot: Arc<Snapshot>,
    /// As of when.
    pub(super) at: Time,
    /// From then on it is stale.
    pub(super) until: Time,
}
