//! Opens files of copies and disks, and keeps the last used ones open.
//!
//! Promises: what is given out is the file that was indexed, in the directory that was; links are never followed, and nothing outside of
//! a copy's directory is opened. No lock is held while a disk or a network is asked. What nobody uses is closed.

use super::Error;
use super::copy_root::CopyRoot;
use super::cost::{Counts, StoreCost};
use super::disk::{Disk, DiskMap};
use super::disk_file::{DiskFile, Runs};
use super::moved::Moved;
use super::open_file::{Bytes, OpenFile};
use super::place::{Identity, Place};
use super::plain::PlainFile;
use crate::model::{Kind, Layer, StoreId};
use crate::sys::read::{self, Mounts};
use crate::sys::walk;
use lru::LruCache;
use std::collections::HashMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

/// Descriptors of copy directories that are kept, at most, and one for so many files; more than one, because versions come from many
/// copies.
const PLACES_MAX: usize = 64;
const FILES_FOR_A_PLACE: usize = 4;

/// Disks whose maps are kept: one of 4,000 extents takes 200 KB.
const DISKS_MAX: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");

/// Opens files of copies and keeps the last used ones open.
#[derive(Debug)]
pub struct Store {
    files: Mutex<LruCache<(i64, i64), Kept<OpenFile>>>,
    places: Mutex<LruCache<PathBuf, Kept<CopyRoot>>>,
    disks: Mutex<LruCache<(i64, i64), Kept<Disk>>>,
    closers: Mutex<HashMap<StoreId, Sender<File>>>,
    moved: Moved,
    /// Counts the calls of [`Store::rest`]; the age of what is kept is measured in them.
    rests: AtomicU64,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    used_at: u64,
}

impl Store {
    /// Returns a store that keeps at most `max_open_files` files open (at least one).
    pub fn new(max_open_files: usize) -> Self {
        let max = NonZeroUsize::new(max_open_files).unwrap_or(NonZeroUsize::MIN);
        let places = NonZeroUsize::new(max_open_files / FILES_FOR_A_PLACE).unwrap_or(NonZeroUsize::MIN);
        let places = places.min(NonZeroUsize::new(PLACES_MAX).expect("not zero"));
        Self {
            files: Mutex::new(LruCache::new(max)),
            places: Mutex::new(LruCache::new(places)),
            disks: Mutex::new(LruCache::new(DISKS_MAX)),
            closers: Mutex::new(HashMap::new()),
            moved: Moved::default(),
            rests: AtomicU64::new(0),
            counts: Arc::default(),
        }
    }

    /// Returns how often stores were asked since the start.
    pub fn cost(&self) -> StoreCost {
        self.counts.cost()
    }

    /// Returns the file kept under `key`, if it still is. Never waits.
    pub fn cached(&self, key: (i64, i64)) -> Option<Arc<OpenFile>> {
        let now = self.rests.load(Ordering::Relaxed);
        let mut files = self.files.lock().expect(UNPOISONED);
        let kept = files.get_mut(&key)?;
        kept.used_at = now;
        Some(Arc::clone(&kept.value))
    }

    /// Opens the file at `place`, checks that it is the one that `identity` tells, and keeps it under `key`.
    ///
    /// `key` stands for these very bytes: the caller never gives it to others. **Cost:** one `openat2(2)` and two
    /// `statx(2)`, of the copy's directory and of the file; none if the file is kept; waits for the store.
    ///
    /// # Errors
    /// [`Error`], each naming the full path.
    pub fn open(&self, key: (i64, i64), place: &Place, identity: &Identity) -> Result<Arc<OpenFile>, Error> {
        if let Some(file) = self.cached(key) {
            return Ok(file);
        }
        self.counts.opens.fetch_add(1, Ordering::Relaxed);
        let (file, root, now) = match self.open_place(place) {
            Err(e) if e.lacks_descriptors() => {
                self.give_back();
                self.open_place(place)?
            }
            opened => opened?,
        };
        let now = now.as_ref().unwrap_or(place);
        check_identity(&file, &root, now, identity)?;
        let opened = PlainFile {
            file: Some(file),
            identity: *identity,
            place: place.clone(),
            root: now.root.clone(),
            closer: if root.is_local { None } else { self.closer(place.store) },
            counts: Arc::clone(&self.counts),
        };
        Ok(self.keep_open(key, OpenFile(Bytes::Plain(opened))))
    }

    /// Keeps runs of a disk, whose image files lie in `store`, as an open file.
    pub fn open_on_disk(&self, key: (i64, i64), store: StoreId, disk: Arc<Disk>, file: (Runs, u64)) -> Arc<OpenFile> {
        let (runs, size_bytes) = file;
        self.keep_open(key, OpenFile(Bytes::OnDisk(DiskFile::new(store, disk, runs, size_bytes))))
    }

    /// Returns the disk with this key, if it was opened lately.
    pub fn cached_disk(&self, key: (i64, i64)) -> Option<Arc<Disk>> {
        let now = self.rests.load(Ordering::Relaxed);
        let mut disks = self.disks.lock().expect(UNPOISONED);
        let kept = disks.get_mut(&key)?;
        kept.used_at = now;
        Some(Arc::clone(&kept.value))
    }

    /// Makes a disk of its layers, the newest first, and keeps it. Opens no file yet.
    ///
    /// # Errors
    /// [`Error::TooManyFiles`].
    pub fn open_disk(&self, key: (i64, i64), layers: &[Layer]) -> Result<Arc<Disk>, Error> {
        Ok(self.keep_disk(key, DiskMap::of(layers)?))
    }

    /// Does so if the disk that is kept under `key` is made of others; else returns none.
    ///
    /// # Errors
    /// [`Error::TooManyFiles`].
    pub fn open_other_disk(&self, key: (i64, i64), layers: &[Layer]) -> Result<Option<Arc<Disk>>, Error> {
        let map = DiskMap::of(layers)?;
        let is_other = self.cached_disk(key).is_none_or(|kept| *kept.map() != map);
        Ok(is_other.then(|| self.keep_disk(key, map)))
    }

    /// Gives up all disks, and the open files on them: what they were made of may be told otherwise now.
    pub fn forget_disks(&self) {
        let disks = drain(&self.disks);
        let mut files = self.files.lock().expect(UNPOISONED);
        let on_disks: Vec<_> =
            files.iter().filter(|(_, kept)| kept.value.is_on_a_disk()).map(|(key, _)| *key).collect();
        let on_disks: Vec<_> = on_disks.iter().filter_map(|key| files.pop(key)).collect();
        drop(files);
        // Closed here, with the locks given back.
        drop((disks, on_disks));
    }

    fn keep_disk(&self, key: (i64, i64), map: DiskMap) -> Arc<Disk> {
        let disk = Arc::new(Disk::new(key, map, Arc::clone(&self.counts)));
        let kept = Kept { value: Arc::clone(&disk), used_at: self.rests.load(Ordering::Relaxed) };
        let displaced = self.disks.lock().expect(UNPOISONED).push(key, kept);
        // Closed here, with the lock given back.
        drop(displaced);
        disk
    }

    fn keep_open(&self, key: (i64, i64), opened: OpenFile) -> Arc<OpenFile> {
        let opened = Arc::new(opened);
        let kept = Kept { value: Arc::clone(&opened), used_at: self.rests.load(Ordering::Relaxed) };
        let displaced = self.files.lock().expect(UNPOISONED).push(key, kept);
        // Closed here, with the lock given back.
        drop(displaced);
        opened
    }

    /// Gives up the open file with this key, so that the next [`Store::open`] opens one anew.
    pub fn forget(&self, key: (i64, i64)) {
        let forgotten = self.files.lock().expect(UNPOISONED).pop(&key);
        // Closed here, with the lock given back.
        drop(forgotten);
    }

    /// Closes what nobody has used during the last `calls` calls of this function.
    ///
    /// To be called each second: a descriptor that is kept for ever would keep the store from being
    /// unmounted.
    pub fn rest(&self, calls: u64) {
        let now = self.rests.fetch_add(1, Ordering::Relaxed) + 1;
        let files = idle(&self.files, now, calls);
        let places = idle(&self.places, now, calls);
        let disks = idle(&self.disks, now, calls);
        drop((files, places, disks));
    }

    /// Closes all that is kept and that nobody uses at this moment: there are too few descriptors.
    pub fn give_back(&self) {
        let disks = drain(&self.disks);
        let files = drain(&self.files);
        let places = drain(&self.places);
        // Closed here, with the locks given back.
        drop((disks, files, places));
    }

    /// Opens the file at `place`, or in the directory that was indexed where that is by now: then that is returned, too.
    fn open_place(&self, place: &Place) -> Result<(File, Arc<CopyRoot>, Option<Place>), Error> {
        let at = |root| Place { root, ..place.clone() };
        let gone = match self.open_in_root(place) {
            Ok((file, root)) => return Ok((file, root, None)),
            Err(e) if e.may_be_renamed() => e,
            Err(e) => return Err(e),
        };
        if let Some(now) = self.moved.known(place).map(at) {
            match self.open_in_root(&now) {
                Ok((file, root)) => return Ok((file, root, Some(now))),
                Err(e) if e.may_be_renamed() => {}
                Err(e) => return Err(e),
            }
        }
        let Some(now) = self.moved.look(place, self.rests.load(Ordering::Relaxed)).map(at) else { return Err(gone) };
        self.open_in_root(&now).map(|(file, root)| (file, root, Some(now)))
    }

    fn open_in_root(&self, place: &Place) -> Result<(File, Arc<CopyRoot>), Error> {
        // Names rotate: another directory may be at its path by now, with files of the same names.
        let kept = self.kept_root(place).filter(|root| root.is_at(&place.root));
        let from_before = kept.is_some();
        let root = match kept {
            Some(root) => root,
            None => self.open_root(place)?,
        };
        root.check(place)?;
        let open = |root: &CopyRoot| read::open_beneath(root.as_fd(), place.path.as_bytes(), Mounts::Refused);
        let (result, root) = match open(&root) {
            // The kept directory may have been renamed away since, unmounted, its server restarted.
            Err(e) if from_before && read::is_stale(&e) => {
                let root = self.open_root(place)?;
                root.check(place)?;
                (open(&root), root)
            }
            other => (other, root),
        };
        match result {
            Ok(file) => Ok((file, root)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::Missing { path: place.full_path() }),
            Err(e) if read::is_link(&e) => Err(Error::NotAFile { path: place.full_path(), found: Some(Kind::Symlink) }),
            Err(e) if read::is_elsewhere(&e) => Err(Error::Covered { path: place.full_path() }),
            Err(source) => Err(Error::Unreadable { path: place.full_path(), source }),
        }
    }

    fn kept_root(&self, place: &Place) -> Option<Arc<CopyRoot>> {
        let now = self.rests.load(Ordering::Relaxed);
        let mut places = self.places.lock().expect(UNPOISONED);
        let kept = places.get_mut(&place.root)?;
        kept.used_at = now;
        Some(Arc::clone(&kept.value))
    }

    fn open_root(&self, place: &Place) -> Result<Arc<CopyRoot>, Error> {
        let root = Arc::new(CopyRoot::open(place)?);
        let kept = Kept { value: Arc::clone(&root), used_at: self.rests.load(Ordering::Relaxed) };
        let displaced = self.places.lock().expect(UNPOISONED).push(place.root.clone(), kept);
        // Closed here, with the lock given back.
        drop(displaced);
        Ok(root)
    }

    /// Returns the way to the thread that closes files of `store`.
    ///
    /// Closing a file of a hung server waits (FUSE sends FLUSH, NFS may send CLOSE), and the last holder
    /// of a file may be anybody, the thread that answers the kernel included. One thread per store,
    /// started when its first file that is not on a local file system is opened, ends with [`Store`].
    fn closer(&self, store: StoreId) -> Option<Sender<File>> {
        let mut closers = self.closers.lock().expect(UNPOISONED);
        if let Some(closer) = closers.get(&store) {
            return Some(closer.clone());
        }
        let (sender, receiver) = channel::<File>();
        std::thread::Builder::new()
            .name(format!("close-{store}"))
            .spawn(move || receiver.iter().for_each(drop))
            .ok()?;
        closers.insert(store, sender.clone());
        Some(sender)
    }
}

const UNPOISONED: &str = "no holder of the lock panics";

fn check_identity(file: &File, root: &CopyRoot, place: &Place, identity: &Identity) -> Result<(), Error> {
    let path = || place.full_path();
    let stat = walk::stat_fd(file.as_fd()).map_err(|source| Error::Unreadable { path: path(), source })?;
    match Kind::from_mode(stat.mode) {
        Some(Kind::File) => {}
        found => return Err(Error::NotAFile { path: path(), found }),
    }
    // Where openat2(2) is missing nobody has asked yet.
    if !root.is_on_its_mount(&stat) {
        return Err(Error::Covered { path: path() });
    }
    let found = identity.of(&stat);
    if found != *identity {
        return Err(Error::Changed { path: path(), found, expected: *identity });
    }
    Ok(())
}

/// Takes out all; returned so that it is closed without the lock.
fn drain<K: std::hash::Hash + Eq, T>(kept: &Mutex<LruCache<K, Kept<T>>>) -> Vec<Kept<T>> {
    let mut kept = kept.lock().expect(UNPOISONED);
    std::iter::from_fn(|| kept.pop_lru().map(|(_, kept)| kept)).collect()
}

/// Takes out what has not been used for `calls` rests; returned so that it is closed without the lock.
fn idle<K: std::hash::Hash + Eq, T>(kept: &Mutex<LruCache<K, Kept<T>>>, now: u64, calls: u64) -> Vec<Kept<T>> {
    let mut kept = kept.lock().expect(UNPOISONED);
    let mut out = Vec::new();
    while kept.peek_lru().is_some_and(|(_, k)| k.used_at + calls < now) {
        out.extend(kept.pop_lru().map(|(_, k)| k));
    }
    out
}

#[cfg(test)]
mod tests;
