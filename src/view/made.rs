//! Directories that no generation has as they are shown: those of histories, and those of what differs between two generations.
//!
//! Promises: their inode numbers are digests of what they show, so they mean the same in every mount and after a restart, and none ever
//! means something else (60 bits: of a hundred million directories that are in use at once, two share one with a chance of 1 in 200; the
//! second one is then an error). What a number means is known of the directories that were looked up lately, up to [`KEPT_BYTES`] of them:
//! a kernel is told to ask for their names each time, so that whoever comes by path finds them; who stands in one while tens of thousands of
//! others were looked up has to come in again. Those that have nothing but versions of a file in them, of which there are most, make room for
//! each other alone. Look-ups of what is not there leave nothing.

use super::ino::Ino;
use super::lock::lock;
use crate::catalog::Side;
use crate::catalog::numbers::CatalogId;
use crate::model::{GenerationId, NodeId, RelPath, SourceId};
use lru::LruCache;
use std::sync::Mutex;

/// Memory for what numbers mean, of each of two kinds: tens of thousands of directories.
const KEPT_BYTES: usize = 8 << 20;
/// What one takes besides its path.
const EACH_BYTES: usize = 160;

/// A directory of the history of a source: what a path led to, in all generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HistoryDir {
    pub(super) source: SourceId,
    pub(super) path: RelPath,
}

/// A directory of what differs between two generations, as it is in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BetweenDir {
    pub(super) source: SourceId,
    pub(super) before: GenerationId,
    pub(super) after: GenerationId,
    pub(super) side: Side,
    pub(super) node: NodeId,
    /// Whether all that is in it differs: the path to it leads elsewhere in the other generation. It follows from the rest.
    pub(super) is_whole: bool,
}

impl BetweenDir {
    /// Returns the generation in which it is shown.
    pub(super) fn generation(&self) -> GenerationId {
        match self.side {
            Side::Before => self.before,
            Side::After => self.after,
        }
    }
}

/// A directory that is made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MadeDir {
    History(HistoryDir),
    Between(BetweenDir),
}

impl MadeDir {
    /// Returns its number in mounts of a catalog.
    pub(super) fn number(&self, catalog: CatalogId) -> Ino {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&catalog.uuid);
        match self {
            Self::History(dir) => {
                hasher.update(b"history").update(&dir.source.0.to_le_bytes()).update(dir.path.as_bytes());
            }
            Self::Between(dir) => {
                let side = match dir.side {
                    Side::Before => 0,
                    Side::After => 1,
                };
                hasher.update(b"between");
                for number in [dir.source.0, dir.before.0, dir.after.0, side, dir.node.0] {
                    hasher.update(&number.to_le_bytes());
                }
            }
        }
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        Ino::of_made(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    fn size_bytes(&self) -> usize {
        EACH_BYTES
            + match self {
                Self::History(dir) => dir.path.as_bytes().len(),
                Self::Between(_) => 0,
            }
    }
}

/// What numbers mean.
pub(super) struct Made {
    kept_bytes: usize,
    /// Of directories that lead on.
    kept: Mutex<Kept>,
    /// Of those that have versions alone.
    leaves: Mutex<Kept>,
}

struct Kept {
    dirs: LruCache<Ino, MadeDir>,
    size_bytes: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { dirs: LruCache::unbounded(), size_bytes: 0 }
    }
}

impl Default for Made {
    fn default() -> Self {
        Self::keeping(KEPT_BYTES)
    }
}

impl Made {
    fn keeping(kept_bytes: usize) -> Self {
        Self { kept_bytes, kept: Mutex::default(), leaves: Mutex::default() }
    }

    /// Returns what a number means, if that was put in lately.
    pub(super) fn get(&self, ino: Ino) -> Option<MadeDir> {
        let known = |kept: &Mutex<Kept>| lock(kept).dirs.get(&ino).cloned();
        known(&self.kept).or_else(|| known(&self.leaves))
    }

    /// Keeps what a number means; tells whether it means nothing else. `is_leaf`: it has nothing but versions in it.
    pub(super) fn put(&self, ino: Ino, dir: &MadeDir, is_leaf: bool) -> bool {
        let mut kept = lock(if is_leaf { &self.leaves } else { &self.kept });
        if let Some(known) = kept.dirs.get(&ino) {
            return known == dir;
        }
        kept.size_bytes += dir.size_bytes();
        kept.dirs.put(ino, dir.clone());
        while kept.size_bytes > self.kept_bytes && kept.dirs.len() > 1 {
            let gone = kept.dirs.pop_lru().map_or(0, |(_, gone)| gone.size_bytes());
            kept.size_bytes -= gone;
        }
        true
    }

    /// Returns the numbers of directories of histories, whose names change with what is published.
    pub(super) fn histories(&self) -> Vec<Ino> {
        let histories = |kept: &Mutex<Kept>| -> Vec<Ino> {
            let kept = lock(kept);
            kept.dirs.iter().filter(|(_, dir)| matches!(dir, MadeDir::History(_))).map(|(ino, _)| *ino).collect()
        };
        [histories(&self.kept), histories(&self.leaves)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const CATALOG: CatalogId = CatalogId { uuid: [7; 16], incarnation: 1 };

    fn history(source: i64, path: &str) -> MadeDir {
        MadeDir::History(HistoryDir { source: SourceId(source), path: RelPath::parse(path.as_bytes()).unwrap() })
    }

    fn between(before: i64, after: i64, side: Side, node: i64) -> MadeDir {
        let (before, after) = (GenerationId(before), GenerationId(after));
        let (source, node) = (SourceId(1), NodeId(node));
        MadeDir::Between(BetweenDir { source, before, after, side, node, is_whole: false })
    }

    #[test]
    fn each_directory_has_a_number_of_its_own_in_every_mount_of_its_catalog() {
        let all = [
            history(1, ""),
            history(1, "a"),
            history(1, "a/b"),
            history(2, "a"),
            between(1, 2, Side::After, 65_536),
            between(1, 2, Side::Before, 65_536),
            between(2, 1, Side::After, 65_536),
            between(1, 2, Side::After, 65_537),
        ];
        let numbers: HashSet<Ino> = all.iter().map(|dir| dir.number(CATALOG)).collect();
        assert_eq!(numbers.len(), all.len());
        assert!(numbers.iter().all(|ino| ino.is_made()));
        assert_eq!(history(1, "a").number(CATALOG), history(1, "a").number(CatalogId { incarnation: 2, ..CATALOG }));
        assert_ne!(history(1, "a").number(CATALOG), history(1, "a").number(CatalogId { uuid: [8; 16], ..CATALOG }));
    }

    #[test]
    fn a_million_directories_take_no_more_memory_than_they_may_and_the_last_ones_are_known() {
        let made = Made::keeping(1 << 20);
        let dirs: Vec<MadeDir> = (0..1_000_000).map(|n| history(1, &format!("dir/{n}"))).collect();
        for dir in &dirs {
            assert!(made.put(dir.number(CATALOG), dir, false));
        }
        let (count, size) = {
            let kept = lock(&made.kept);
            (kept.dirs.len(), kept.size_bytes)
        };
        assert!((6000..7000).contains(&count) && size <= 1 << 20, "{count} {size}");
        let last = &dirs[dirs.len() - 1];
        assert_eq!(made.get(last.number(CATALOG)).as_ref(), Some(last));
        assert_eq!(made.get(dirs[0].number(CATALOG)), None);
        assert!(made.put(last.number(CATALOG), last, false), "it is there already");
        assert!(!made.put(last.number(CATALOG), &dirs[0], false), "the number is another one's");
        // A million files take no directory away.
        for dir in &dirs {
            made.put(dir.number(CATALOG), dir, true);
        }
        assert_eq!(made.get(last.number(CATALOG)).as_ref(), Some(last));
        assert_eq!(lock(&made.kept).dirs.len(), count);
    }
}
