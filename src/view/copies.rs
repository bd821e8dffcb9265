//! What has the bytes of versions, which of its copies, paths and files are known, and which copies were found not to be where they were.
//! All but the last is forgotten when something is written to the catalog: copies may have been added or moved.

use super::lock::lock;
use crate::catalog::{CopyRow, NodeRow};
use crate::model::{CopyId, EntryName, GenerationId, NodeId, ObjectId, RelPath, SourceId, Time};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Directories whose paths are kept.
const PATHS_KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Files that were looked up a moment ago, at about 300 bytes each; whoever reads one asks for it next.
const FILES_KEPT: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Where the bytes of the generations are that were read from.
pub(super) struct Copies {
    rows: Mutex<HashMap<Holder, CopyRows>>,
    paths: Mutex<LruCache<Directory, RelPath>>,
    files: Mutex<LruCache<FileKey, KnownFile>>,
    /// How often they were forgotten.
    age: AtomicU64,
    /// Copies that are not where they were, each with what was said of it.
    moved: Mutex<HashMap<CopyId, String>>,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            rows: Mutex::default(),
            paths: Mutex::new(LruCache::new(PATHS_KEPT)),
            files: Mutex::new(LruCache::new(FILES_KEPT)),
            age: AtomicU64::new(0),
            moved: Mutex::default(),
        }
    }
}

pub(super) type CopyRows = Arc<Vec<CopyRow>>;

/// A directory in the copies of a generation.
type Directory = (SourceId, Time, NodeId);

/// A node as of a generation.
type FileKey = (GenerationId, NodeId);

/// A file whose bytes are in copies, with one of its names there.
#[derive(Clone, Debug)]
pub(super) struct KnownFile {
    pub(super) row: NodeRow,
    pub(super) parent: NodeId,
    pub(super) name: EntryName,
}

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
        self.age.fetch_add(1, Ordering::SeqCst);
        lock(&self.rows).clear();
        lock(&self.paths).clear();
        lock(&self.files).clear();
    }

    /// Returns what is to be given to `keep_rows`, `keep_path` and `keep_file` with what is read from now on.
    pub(super) fn age(&self) -> u64 {
        self.age.load(Ordering::SeqCst)
    }

    pub(super) fn rows(&self, holder: Holder) -> Option<CopyRows> {
        lock(&self.rows).get(&holder).cloned()
    }

    /// Keeps what was read at `age`, unless all was forgotten meanwhile.
    pub(super) fn keep_rows(&self, age: u64, holder: Holder, rows: &CopyRows) {
        let mut kept = lock(&self.rows);
        if self.age() == age {
            kept.insert(holder, Arc::clone(rows));
        }
    }

    pub(super) fn path(&self, directory: Directory) -> Option<RelPath> {
        lock(&self.paths).get(&directory).cloned()
    }

    /// Does the same for a path.
    pub(super) fn keep_path(&self, age: u64, directory: Directory, path: &RelPath) {
        let mut kept = lock(&self.paths);
        if self.age() == age {
            kept.put(directory, path.clone());
        }
    }

    pub(super) fn file(&self, file: FileKey) -> Option<KnownFile> {
        lock(&self.files).get(&file).cloned()
    }

    /// Does the same for a file.
    pub(super) fn keep_file(&self, age: u64, file: FileKey, known: KnownFile) {
        let mut kept = lock(&self.files);
        if self.age() == age {
            kept.put(file, known);
        }
    }

    /// Notes that a copy is not where it was, and tells whether `text` was not said of it last.
    pub(super) fn is_new_of(&self, copy: CopyId, text: &str) -> bool {
        lock(&self.moved).insert(copy, text.to_owned()).as_deref() != Some(text)
    }

    /// Notes that a copy is where it was.
    pub(super) fn found(&self, copy: CopyId) {
        lock(&self.moved).remove(&copy);
    }
}
