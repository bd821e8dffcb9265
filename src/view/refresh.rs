//! What a publication changes: the snapshot of now, what is kept of the one before, and what a kernel must forget.
//!
//! Promises: after an error the tree is as it was, and whether it is still that of the catalog at its path is asked first. A view of which a generation is gone is stale at once; one whose instant
//! has another view now is served on for [`GRACE_S`].

use super::answer::Refreshed;
use super::error::Error;
use super::ino::Ino;
use super::instant::instant_name;
use super::lock::lock;
use super::notes;
use super::retired::{GRACE_S, Retired};
use super::snapshot::Snapshot;
use super::tree::Tree;
use super::xattr::XattrNeed;
use crate::catalog::RegistrySource;
use crate::model::{Time, Timestamp};
use std::sync::{Arc, PoisonError};

/// Files that are remembered because a stand-in was read for them; then they are read anew.
const STAND_INS_MAX: usize = 65_536;

impl Tree {
    /// Sees what was published since the last call. Cheap when nothing was: one pragma.
    ///
    /// # Errors
    /// [`Error::Catalog`]; then the tree is as it was. [`Error::Replaced`]: it is the tree of a catalog that nobody writes to any more.
    pub fn refresh(&self) -> Result<Option<Refreshed>, Error> {
        self.refresh_after(|_| ())
    }

    /// Does so, and calls `prepare` with what a mount needs for it before any of it is shown.
    ///
    /// # Errors
    /// As [`Tree::refresh`].
    pub fn refresh_after(&self, prepare: impl FnOnce(XattrNeed)) -> Result<Option<Refreshed>, Error> {
        if self.files.are_replaced() {
            return Err(Error::Replaced { path: self.catalog.clone() });
        }
        let mut watcher = lock(&self.watcher);
        let version = watcher.0.data_version()?;
        if version == watcher.1 {
            let is_full = lock(&self.stand_ins).len() >= STAND_INS_MAX;
            return Ok(is_full.then(|| Refreshed { inodes: self.forget_stand_ins(), names: Vec::new() }));
        }
        let registry = watcher.0.registry()?;
        watcher.0.rest()?;
        let old = self.snapshot();
        if registry.same_views(&old.registry) {
            // The same trees; but copies may have moved, come or gone.
            self.readers.turn()?;
            self.ahead_readers.turn()?;
            self.copies.clear();
            watcher.1 = version;
            let inodes = self.forget_stand_ins();
            return Ok((!inodes.is_empty()).then_some(Refreshed { inodes, names: Vec::new() }));
        }
        prepare(XattrNeed::of(&registry));
        // Two of one second differ: by the time of a directory a kernel knows whether what it has of it is what there is.
        let nanos = (self.snapshot().read_at.nanos + 1) % 1_000_000_000;
        let read_at = Timestamp { seconds: self.clock.now().0, nanos };
        let new = Arc::new(Snapshot::new(registry, read_at));
        // From here on no reader asks inside a transaction that is older than what `new` shows.
        self.readers.turn()?;
        self.ahead_readers.turn()?;
        // Not earlier: after an error it is looked for again.
        watcher.1 = version;
        self.xattrs.clear();
        self.listings.clear();
        self.copies.clear();
        self.store.forget_disks();
        self.numbers.go_on_with(new.registry.catalog);
        let mut refreshed = self.stale(&old, &new);
        refreshed.inodes.extend(self.forget_stand_ins());
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
        old.past.clear();
        Ok(Some(refreshed))
    }

    /// Gives up what stands in for the bytes of files, and returns those files: a kernel must forget what it has of them. Their own copies
    /// may be there again, with other bytes.
    fn forget_stand_ins(&self) -> Vec<Ino> {
        let stand_ins = std::mem::take(&mut *lock(&self.stand_ins));
        stand_ins.values().for_each(|key| self.store.forget(*key));
        stand_ins.into_keys().collect()
    }

    /// Keeps what `new` no longer has and can still be shown, and tells what a kernel must forget.
    fn stale(&self, old: &Arc<Snapshot>, new: &Snapshot) -> Refreshed {
        let mut refreshed = Refreshed { inodes: vec![Ino::ROOT], names: Vec::new() };
        let is_other_catalog = old.registry.catalog != new.registry.catalog;
        let gone = old.generations().filter(|(id, _)| is_other_catalog || new.generation(*id).is_none());
        for key in gone.map(|(_, key)| key) {
            refreshed.names.extend(key.source.map(|id| (Ino::of_source(id), instant_name(key.at))));
        }
        refreshed.inodes.extend(self.reclosed(old, new));
        self.retire(old, new, &mut refreshed);
        for source in old.sources().iter().chain(new.sources()) {
            refreshed.inodes.push(Ino::of_source(source.id));
        }
        refreshed.inodes.extend(notes::all_inodes());
        refreshed.inodes.extend(self.made.histories());
        refreshed.inodes.sort_unstable();
        refreshed.inodes.dedup();
        refreshed.names.extend(self.moved_dates(new));
        refreshed
    }

    /// Returns the tops of sources, in views of all of them, that let in others now than before. Those views do not change otherwise.
    fn reclosed(&self, old: &Snapshot, new: &Snapshot) -> Vec<Ino> {
        let is_other = |source: &&RegistrySource| {
            old.source(source.id).is_some_and(|before| before.visible_to != source.visible_to)
        };
        let roots = new.sources().iter().filter(is_other).map(|source| source.root);
        let views = || self.numbers.all_known().into_iter().map(|(view, _)| view).chain(self.dates.at_the_top());
        roots.flat_map(|root| views().map(move |view| Ino::of_node(view, root))).collect()
    }

    /// Keeps the views of all sources that `new` no longer has, for a time, and forgets the numbers that nobody needs.
    ///
    /// One of which a generation is gone is stale at once: its rows are gone as well, and what is left would be
    /// another tree.
    fn retire(&self, old: &Arc<Snapshot>, new: &Snapshot, refreshed: &mut Refreshed) {
        let until = Time(self.clock.now().0.saturating_add(GRACE_S));
        let mut retired = self.retired.write().unwrap_or_else(PoisonError::into_inner);
        for (view, vector) in self.numbers.all_known() {
            match old.instant_of(vector) {
                _ if new.instant_of(vector).is_some() => drop(retired.remove(&view)),
                Some(at) => {
                    refreshed.names.push((Ino::ROOT, instant_name(at)));
                    retired.insert(view, Retired { snapshot: Arc::clone(old), at, until });
                }
                None => {}
            }
        }
        retired.retain(|_, retired| retired.snapshot.is_kept_by(retired.at, new));
        self.numbers.keep(|view, vector| new.instant_of(vector).is_some() || retired.contains_key(&view));
    }
}
