//! Copies that have another name since they were indexed: names rotate, and the run that follows them comes later.
//!
//! Promises: what is found is the very directory that was indexed, by its inode number (of a btrfs subvolume: the number of that),
//! its time of birth, where the file system has both for life, and its file system; and it lies beside the place that it had, in the same store. Where one
//! of these is not to be had nothing is found. A folder is listed once a second at most for each copy that is not found.

use super::copy_root::open_beneath_store;
use super::place::Place;
use crate::model::{Kind, SeenRoot};
use crate::sys::mount;
use crate::sys::read::{self, Numbers};
use crate::sys::walk::{self, FileAt};
use lru::LruCache;
use std::ffi::CString;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Copies that are remembered.
const KEPT: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

const UNPOISONED: &str = "no holder of the lock panics";

/// Where copies were found.
#[derive(Debug)]
pub(super) struct Moved(Mutex<LruCache<(PathBuf, SeenRoot), Look>>);

#[derive(Clone, Debug)]
struct Look {
    /// None: nowhere.
    found: Option<PathBuf>,
    /// As the store counts time.
    looked_at: u64,
}

impl Default for Moved {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Moved {
    /// Returns where the copy of `place` was found last.
    pub(super) fn known(&self, place: &Place) -> Option<PathBuf> {
        let mut looks = self.0.lock().expect(UNPOISONED);
        looks.get(&(place.root.clone(), place.seen?))?.found.clone()
    }

    /// Looks for the copy of `place` beside the place that it had, unless that was done at `now` already. May wait for the store.
    pub(super) fn look(&self, place: &Place, now: u64) -> Option<PathBuf> {
        let seen = place.seen.filter(|seen| seen.born_ns != 0)?;
        let key = (place.root.clone(), seen);
        let last = self.0.lock().expect(UNPOISONED).get(&key).cloned();
        if last.is_some_and(|last| last.looked_at == now && last.found.is_none()) {
            return None;
        }
        let found = find(place, seen).unwrap_or_else(|e| {
            tracing::debug!("cannot look for {:?}: {e}", place.root);
            None
        });
        self.0.lock().expect(UNPOISONED).put(key, Look { found: found.clone(), looked_at: now });
        found
    }
}

fn find(place: &Place, seen: SeenRoot) -> io::Result<Option<PathBuf>> {
    // A store that is the copy itself has no siblings.
    let Some(parent) = place.root.parent().filter(|parent| parent.starts_with(&place.folder)) else { return Ok(None) };
    let folder = open_beneath_store(&place.folder, parent)?;
    let near = walk::whereabouts(FileAt::Held(folder.as_fd()))?;
    for entry in std::fs::read_dir(path_of(&folder))? {
        let name = entry?.file_name();
        let c_name = CString::new(name.as_bytes())?;
        let at = FileAt::Named(folder.as_fd(), &c_name);
        // Deleted meanwhile, or closed to us, or a user's own.
        let Ok(stat) = mount::expect_no_stranger(at, near).and_then(|()| walk::stat_of(at)) else { continue };
        let is_born_then = stat.born.is_some_and(|born| born.ns_since(Default::default()) == seen.born_ns);
        if !is_born_then || Kind::from_mode(stat.mode) != Some(Kind::Directory) {
            continue;
        }
        let there = walk::seen_root(folder.as_fd(), &c_name, &stat, None);
        let is_it = there.is_ok_and(|there| there.is_directory(&seen));
        let opened = read::open_place_beneath(folder.as_fd(), name.as_bytes());
        if is_it && opened.and_then(|opened| read::numbers(opened.as_fd())).is_ok_and(|n| n == Numbers::ForLife) {
            return Ok(Some(parent.join(name)));
        }
    }
    Ok(None)
}

fn path_of(folder: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string())
}
