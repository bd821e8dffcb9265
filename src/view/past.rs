//! What was asked of histories and of differences in one snapshot, kept for the next question.
//!
//! Promises: memory is bounded, whatever was asked; what is kept goes with the snapshot, so it is never of what was published before or
//! after. Nobody waits for a comparison but who asks for that one. Never asks the catalog by itself.

use super::Ino;
use super::lock::lock;
use super::regime::Regime;
use super::stat::Stat;
use crate::catalog::{Differing, Scope, Stay};
use crate::model::{GenerationId, Kind, NodeId, SourceId, Time};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock};

/// Names of a directory over time that are read at once.
pub(super) const WINDOW: usize = 512;
/// Windows that are kept, at about 250 bytes a name.
const WINDOWS_KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// Paths whose history is kept.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// Names that differ and are kept one by one; of more there is a bit a node.
pub(super) const FEW_DIFFERING: usize = 65_536;
/// Comparisons that are kept, and the memory that they may take together.
const COMPARED_MAX: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
const COMPARED_BYTES: usize = 32 << 20;

/// What a path led to, in all generations.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) stays: Vec<Stay>,
    pub(super) regime: Regime,
    /// What it led to but for directories, the oldest first.
    pub(super) versions: OnceLock<Vec<Version>>,
}

impl Known {
    /// Tells whether it ever led to a directory.
    pub(super) fn was_directory(&self) -> bool {
        self.stays.iter().any(|stay| stay.kind == Kind::Directory)
    }

    /// Tells whether it ever led to anything else.
    pub(super) fn was_file(&self) -> bool {
        self.stays.iter().any(|stay| stay.kind != Kind::Directory)
    }
}

/// A version of what a path led to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    /// The first generation that has it.
    pub(super) since: Time,
    /// The first one after that which has not; none: the newest has it.
    pub(super) until: Option<Time>,
    pub(super) node: NodeId,
}

/// A name that was ever in a directory.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: crate::model::EntryName,
    pub(super) stat: Stat,
}

type Windows = LruCache<(Ino, usize), Arc<Vec<Child>>>;
/// One that is being made is waited for.
pub(super) type Compared = Arc<Mutex<Option<Arc<Differing>>>>;
type Pair = (GenerationId, GenerationId);

/// What is kept.
#[derive(Debug)]
pub(super) struct Past {
    scopes: Mutex<HashMap<SourceId, Arc<Scope>>>,
    known: Mutex<LruCache<Ino, Arc<Known>>>,
    windows: Mutex<Windows>,
    compared: Mutex<LruCache<Pair, Compared>>,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            scopes: Mutex::default(),
            known: Mutex::new(LruCache::new(KNOWN_MAX)),
            windows: Mutex::new(LruCache::new(WINDOWS_KEPT)),
            compared: Mutex::new(LruCache::new(COMPARED_MAX)),
        }
    }
}

impl Past {
    /// Forgets all: the snapshot is not that of now any more, and may be kept for its views.
    pub(super) fn clear(&self) {
        lock(&self.scopes).clear();
        lock(&self.known).clear();
        lock(&self.windows).clear();
        lock(&self.compared).clear();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.scopes).is_empty()
            && lock(&self.known).is_empty()
            && lock(&self.windows).is_empty()
            && lock(&self.compared).is_empty()
    }

    pub(super) fn scope(&self, source: SourceId) -> Option<Arc<Scope>> {
        lock(&self.scopes).get(&source).cloned()
    }

    pub(super) fn keep_scope(&self, scope: Scope) -> Arc<Scope> {
        lock(&self.scopes).entry(scope.source.id).or_insert_with(|| Arc::new(scope)).clone()
    }

    pub(super) fn known(&self, ino: Ino) -> Option<Arc<Known>> {
        lock(&self.known).get(&ino).cloned()
    }

    pub(super) fn keep_known(&self, ino: Ino, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        lock(&self.known).put(ino, Arc::clone(&known));
        known
    }

    pub(super) fn window(&self, dir: Ino, index: usize) -> Option<Arc<Vec<Child>>> {
        lock(&self.windows).get(&(dir, index)).cloned()
    }

    /// Returns the last window of the directory before window `index` that is kept, and its number.
    pub(super) fn last_window_before(&self, dir: Ino, index: usize) -> Option<(usize, Arc<Vec<Child>>)> {
        let windows = lock(&self.windows);
        let before = windows.iter().filter(|((of, number), _)| *of == dir && *number < index);
        before.max_by_key(|((_, number), _)| *number).map(|((_, number), window)| (*number, Arc::clone(window)))
    }

    pub(super) fn keep_window(&self, dir: Ino, index: usize, window: &Arc<Vec<Child>>) {
        lock(&self.windows).put((dir, index), Arc::clone(window));
    }

    /// Returns the comparison of two generations, which may have to be made.
    pub(super) fn compared(&self, pair: Pair) -> Compared {
        lock(&self.compared).get_or_insert(pair, Compared::default).clone()
    }

    /// Lets the comparisons go that were asked for longest ago, as long as they take too much memory together.
    pub(super) fn make_room(&self) {
        let mut compared = lock(&self.compared);
        // One that is being made is not counted, and nobody waits for it.
        let size = |compared: &Compared| {
            compared.try_lock().ok().and_then(|made| made.as_ref().map(|made| made.size_bytes())).unwrap_or(0)
        };
        let mut sum: usize = compared.iter().map(|(_, one)| size(one)).sum();
        while sum > COMPARED_BYTES && compared.len() > 1 {
            sum -= compared.pop_lru().map_or(0, |(_, one)| size(&one)).min(sum);
        }
    }
}
