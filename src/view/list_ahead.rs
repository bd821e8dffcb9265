//! Reading the next directories of a walk from the catalog before the kernel asks for them.
//!
//! A cold `find` is the kernel making inodes in its own time (7 us a name) and, between two directories, the
//! daemon reading names (3 us each) while the kernel waits. A thread that is one or two directories ahead lets
//! the two overlap on two processors.
//!
//! Promises: only into the windows that are kept anyway, a few directories ahead of a walk that goes through
//! directories in the order in which they are listed; a walk that does not costs at most [`FIRST`] small
//! queries for each directory listed. Nobody waits for it: what is not there yet is read as usual. Never
//! asks a store.

use super::lock::lock;
use super::place::Place;
use super::readers::Readers;
use super::windows::{Key, Listings, read_window};
use crate::model::{GenerationId, NodeId};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};

/// Subdirectories that are read ahead when their directory is listed: where a walk goes first.
const FIRST: usize = 2;
/// How far ahead of the one that is listed its next sisters are read.
const AHEAD: usize = 3;
/// Directories whose sisters are remembered.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// Directories that may wait to be read; more are let go.
const QUEUE: usize = 64;

/// The subdirectories of one directory, in the order in which it lists them.
type Sisters = Arc<[NodeId]>;

/// What is known of the walks that are under way.
pub(super) struct ListAhead {
    queue: OnceLock<SyncSender<Place>>,
    known: Mutex<LruCache<(GenerationId, NodeId), (Sisters, usize)>>,
}

impl Default for ListAhead {
    fn default() -> Self {
        Self { queue: OnceLock::new(), known: Mutex::new(LruCache::new(KNOWN_MAX)) }
    }
}

impl ListAhead {
    /// Starts the thread; it ends when the tree is dropped. Once is enough.
    pub(super) fn start(&self, readers: Arc<Readers>, listings: Arc<Listings>) {
        let (sender, receiver) = sync_channel::<Place>(QUEUE);
        if self.queue.set(sender).is_err() {
            return;
        }
        let work = move || {
            for place in receiver {
                let key: Key = (place.generation, place.node, 0);
                if listings.get(key).is_some() {
                    continue;
                }
                match readers.with(|reader| read_window(reader, &place, None)) {
                    Ok(window) => listings.put(key, window),
                    // Whoever lists it gets the error.
                    Err(e) => tracing::debug!("nothing is read ahead: {e}"),
                }
            }
        };
        if let Err(e) = std::thread::Builder::new().name("list-ahead".to_owned()).spawn(work) {
            tracing::debug!("nothing is read ahead: {e}");
        }
    }

    /// Tells that a kernel began to list `place`, which has these subdirectories.
    pub(super) fn listed(&self, place: &Place, subdirectories: impl Iterator<Item = NodeId>) {
        let Some(queue) = self.queue.get() else { return };
        let mut next = Vec::with_capacity(FIRST + AHEAD);
        {
            let mut known = lock(&self.known);
            if let Some((sisters, index)) = known.get(&(place.generation, place.node)) {
                next.extend(sisters.iter().skip(index + 1).take(AHEAD).copied());
            }
            let children: Sisters = subdirectories.collect();
            for (index, child) in children.iter().enumerate() {
                known.put((place.generation, *child), (children.clone(), index));
            }
            // The way down comes before the next sister.
            next.splice(0..0, children.iter().take(FIRST).copied());
        }
        for node in next {
            // A full queue means that the walk is faster than this: then it must not be slowed.
            let _ = queue.try_send(Place { node, ..place.clone() });
        }
    }
}
