//! What a walk of a copy shows beside its tree: whether anybody may still be writing it.
//!
//! A copy stands still when the ctimes of its directories, and of its files with one name, are older than the time that is asked
//! for. Files with more names do not count: in a link farm every new copy moves their ctime.
//!
//! Promises: notes a few numbers a walk. Never decides whether a copy is indexed.

use crate::catalog::{SeenCopy, SeenRoot};
use crate::model::{Attrs, FileKey, Kind, Listing, Time, Timestamp};
use crate::source::ScanStats;
use std::time::Duration;

/// The top directory of a copy, as it was when it was found: names may rotate between that and the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedRoot {
    /// Its inode number; of a subvolume of btrfs the number of that.
    pub inode: u64,
    /// Its birth time, ns since the epoch; 0 where unknown.
    pub born_ns: i64,
    /// Its mtime in whole seconds, where that is the date of the copy.
    pub mtime_s: Option<i64>,
}

impl ExpectedRoot {
    /// Tells whether a directory of this number, birth time and mtime is it; an mtime that is not known is not asked.
    pub fn is(&self, inode: u64, born_ns: i64, mtime_s: Option<i64>) -> bool {
        (inode, born_ns) == (self.inode, self.born_ns)
            && self.mtime_s.zip(mtime_s).is_none_or(|(expected, found)| expected == found)
    }
}

/// Takes note of the listings of one walk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// Key, ctime and mtime of the top directory.
    root: Option<(FileKey, Timestamp, Timestamp)>,
    newest: Timestamp,
}

impl Watch {
    /// Takes note of a listing.
    pub(super) fn see(&mut self, listing: &Listing) {
        if let Some((key, attrs)) = &listing.root {
            self.root = Some((*key, attrs.ctime, attrs.mtime));
            self.newest = attrs.ctime;
        }
        let counts = |attrs: &Attrs| match attrs.kind() {
            Kind::Directory => true,
            _ => attrs.nlink == 1,
        };
        for entry in listing.entries.iter().filter(|entry| counts(&entry.attrs)) {
            self.newest = self.newest.max(entry.attrs.ctime);
        }
    }

    /// Tells whether the top directory is not the one that was expected.
    pub(super) fn is_other_than(&self, expected: &ExpectedRoot, stats: &ScanStats) -> bool {
        self.root.is_some_and(|(key, _, mtime)| {
            !expected.is(stats.subvolume.unwrap_or(key.inode), key.born_ns, Some(mtime.seconds))
        })
    }

    /// Returns what was seen by a walk as of `now`; none if it did not get to the root. A copy that changed meanwhile is not
    /// settled, nor is one whose ctimes lie in the future. The top directory of a subvolume is known by the number of that.
    pub(super) fn seen(&self, now: Time, settle: Duration, stats: &ScanStats) -> Option<SeenCopy> {
        let (key, ctime, _) = self.root?;
        let ns = |stamp: Timestamp| stamp.ns_since(Timestamp::default());
        // In whole seconds, as the time now is: else what changed in this second would lie in the future.
        let settle_s = i64::try_from(settle.as_secs()).unwrap_or(i64::MAX);
        Some(SeenCopy {
            root: SeenRoot { inode: stats.subvolume.unwrap_or(key.inode), born_ns: key.born_ns, ctime_ns: ns(ctime) },
            newest_ctime_ns: ns(self.newest),
            settled: !stats.changed && self.newest.seconds <= now.0.saturating_sub(settle_s),
            at: now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntryName, ListedEntry, RelPath, XattrSet};

    fn attrs(mode: u32, nlink: u32, ctime_s: i64) -> Attrs {
        let stamp = Timestamp { seconds: ctime_s, nanos: 0 };
        Attrs {
            mode,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            allocated_bytes: None,
            mtime: Timestamp::default(),
            ctime: stamp,
            nlink,
            rdev: 0,
            xattrs: XattrSet::default(),
            target: Vec::new(),
        }
    }

    fn seen(entries: &[Attrs], now_s: i64, changed: bool) -> SeenCopy {
        let key = FileKey { device: 1, inode: 2, born_ns: 3 };
        let entries = entries.iter().enumerate().map(|(number, attrs)| ListedEntry {
            name: EntryName::new(number.to_string().as_bytes()).unwrap(),
            key,
            attrs: attrs.clone(),
            unreadable: false,
            origin: 0,
        });
        let mut watch = Watch::default();
        watch.see(&Listing {
            number: 0,
            path: RelPath::root(),
            root: Some((key, attrs(0o040_755, 2, 100))),
            entries: entries.collect(),
            complete: true,
            findings: Vec::new(),
        });
        watch
            .seen(Time(now_s), Duration::from_secs(900), &ScanStats { changed, ..ScanStats::default() })
            .expect("the root was listed")
    }

    #[test]
    fn a_copy_is_settled_once_its_directories_and_files_with_one_name_are_old() {
        let file = attrs(0o100_644, 1, 5_000);
        assert!(!seen(std::slice::from_ref(&file), 5_899, false).settled);
        assert!(seen(&[file], 5_900, false).settled);
        assert!(!seen(&[attrs(0o040_755, 2, 5_000)], 5_899, false).settled);
    }

    #[test]
    fn a_file_that_newer_copies_were_linked_to_is_not_asked() {
        let seen = seen(&[attrs(0o100_644, 7, 5_000)], 5_001, false);
        assert!(seen.settled);
        assert_eq!(seen.newest_ctime_ns, 100_000_000_000);
    }

    #[test]
    fn a_copy_that_changed_meanwhile_or_lies_in_the_future_is_not_settled() {
        assert!(!seen(&[], 5_000, true).settled);
        assert!(!seen(&[attrs(0o100_644, 1, 10_000)], 5_000, false).settled);
    }
}
