//! Windows of directories: so many names in a row, read with one query and kept for the next call of the listing.
//!
//! Promises: names are in bytewise order; memory is bounded whatever a directory's size. What is kept goes by the
//! generation, and is forgotten when something is published.

use super::lock::lock;
use super::place::Place;
use super::{Error, Ino, Stat};
use crate::catalog::{self, Reader};
use crate::model::{EntryName, GenerationId, NodeId};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

/// Names read from the catalog at once.
pub(super) const WINDOW: usize = 4096;
/// Names kept in memory, at about 200 bytes each.
const NAMES_KEPT: usize = 32 * WINDOW;
/// Windows kept in memory; most directories have far fewer names than a window.
const WINDOWS_KEPT: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");

/// One entry of a window; its number is the node, the view is put in when it is told.
pub(super) struct Entry {
    pub(super) name: EntryName,
    pub(super) node: NodeId,
    pub(super) stat: Stat,
}

pub(super) type Window = Arc<Vec<Entry>>;
/// Generation, directory, number of the window.
pub(super) type Key = (GenerationId, NodeId, usize);

/// Windows that were read lately.
pub(super) struct Listings(Mutex<Kept>);

struct Kept {
    windows: LruCache<Key, Window>,
    names: usize,
}

impl Default for Listings {
    fn default() -> Self {
        Self(Mutex::new(Kept { windows: LruCache::new(WINDOWS_KEPT), names: 0 }))
    }
}

impl Listings {
    /// Forgets all windows: something was published, and a generation that was put in before one may lend it its rows.
    pub(super) fn clear(&self) {
        let mut kept = lock(&self.0);
        kept.windows.clear();
        kept.names = 0;
    }

    pub(super) fn get(&self, key: Key) -> Option<Window> {
        lock(&self.0).windows.get(&key).cloned()
    }

    /// Returns the last window of the directory before window `index` that is kept, and its number. Looks at what is kept, however large
    /// `index` is.
    pub(super) fn last_before(&self, (generation, node, index): Key) -> Option<(usize, Window)> {
        let mut kept = lock(&self.0);
        let is_before = |key: &&Key| (key.0, key.1) == (generation, node) && key.2 < index;
        // A listing goes on from the one before.
        let before = index.checked_sub(1).map(|before| (generation, node, before));
        let last = before
            .filter(|before| kept.windows.contains(before))
            .or_else(|| kept.windows.iter().map(|(key, _)| key).filter(is_before).max_by_key(|key| key.2).copied())?;
        Some((last.2, kept.windows.get(&last)?.clone()))
    }

    pub(super) fn put(&self, key: Key, window: Window) {
        let mut kept = lock(&self.0);
        kept.names += window.len();
        if let Some((_, old)) = kept.windows.push(key, window) {
            kept.names -= old.len();
        }
        while kept.names > NAMES_KEPT && kept.windows.len() > 1 {
            let (_, old) = kept.windows.pop_lru().expect("more than one is kept");
            kept.names -= old.len();
        }
    }
}

pub(super) fn read_window(reader: &Reader, place: &Place, after: Option<&EntryName>) -> Result<Window, Error> {
    let mut rows = Vec::new();
    reader.list(place.node, place.at, after.map(EntryName::as_bytes), WINDOW, |entry| {
        rows.push(entry);
        ControlFlow::Continue(())
    })?;
    let entries = rows.into_iter().map(|entry| {
        let perm = reader.perm(entry.row.perm)?;
        let stat = Stat::of_row(Ino::of_node(place.view, entry.node), entry.kind, &entry.row, &perm);
        Ok(Entry { name: entry.name, node: entry.node, stat })
    });
    Ok(Arc::new(entries.collect::<Result<_, catalog::Error>>()?))
}
