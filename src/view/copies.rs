//! What has the bytes of versions, and which of its copies and paths are known.
//! All of it is forgotten when something is published: copies may have been added or moved.

use super::lock::lock;
use crate::catalog::CopyRow;
use crate::model::{NodeId, ObjectId, RelPath, SourceId, Time};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

/// Directories whose paths are kept.
const PATHS_KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Where the bytes of the generations are that were read from.
pub(super) struct Copies {
    pub(super) rows: Mutex<HashMap<Holder, CopyRows>>,
    pub(super) paths: Mutex<LruCache<(SourceId, Time, NodeId), RelPath>>,
}

impl Default for Copies {
    fn default() -> Self {
        Self { rows: Mutex::default(), paths: Mutex::new(LruCache::new(PATHS_KEPT)) }
    }
}

pub(super) type CopyRows = Arc<Vec<CopyRow>>;

/// What has the bytes of a version for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// The copies of a generation, at the node's path there.
    Generation(SourceId, Time),
    /// An object, which may have outlived its generation.
    Object(ObjectId),
}

impl Copies {
    pub(super) fn clear(&self) {
        lock(&self.rows).clear();
        lock(&self.paths).clear();
    }
}
