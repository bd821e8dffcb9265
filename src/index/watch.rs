//! What a walk of a copy shows beside its tree: whether anybody may still be writing it.
//!
//! A copy stands still when the ctimes of its directories, and of its files with one name, are older than the time that is asked
//! for. Files with more names do not count: in a link farm every new copy moves their ctime.
//!
//! Promises: notes a few numbers a walk; what is walked is the directory that was found, or nothing is. Never decides whether a copy
//! is indexed.

use super::Error;
use crate::catalog::{SeenCopy, SeenRoot};
use crate::model::{Attrs, Kind, Listing, Time, Timestamp};
use crate::source::{Found, OpenCopy, Source, TopDirectory};
use std::time::Duration;

/// The top directory of a copy, as it was when it was found: names may rotate between that and the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedRoot {
    /// What it is known by.
    pub seen: SeenRoot,
    /// Its mtime in whole seconds, where that is the date of the copy.
    pub mtime_s: Option<i64>,
}

impl ExpectedRoot {
    /// Tells whether a directory is it; its ctime may have moved since.
    pub fn is(&self, top: &TopDirectory) -> bool {
        self.seen.is_directory(&top.seen) && self.mtime_s.is_none_or(|expected| expected == top.mtime.seconds)
    }
}

/// Opens the copy `found`, and refuses another directory than the one that is expected there.
pub(super) fn open<'s>(
    reader: &'s dyn Source,
    found: &Found,
    expected: Option<&ExpectedRoot>,
) -> Result<Box<dyn OpenCopy + 's>, Error> {
    let copy = reader.open(found)?;
    match expected {
        Some(expected) if !expected.is(&copy.top()) => Err(Error::Exchanged { path: found.path.clone() }),
        _ => Ok(copy),
    }
}

/// Takes note of the listings of one walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    top: TopDirectory,
    newest: Timestamp,
}

impl Watch {
    /// Returns one that has seen the top directory.
    pub(super) fn of(top: TopDirectory) -> Self {
        Self { top, newest: Timestamp::default().plus_ns(top.seen.ctime_ns) }
    }

    /// Takes note of a listing.
    pub(super) fn see(&mut self, listing: &Listing) {
        let counts = |attrs: &Attrs| match attrs.kind() {
            Kind::Directory => true,
            _ => attrs.nlink == 1,
        };
        for entry in listing.entries.iter().filter(|entry| counts(&entry.attrs)) {
            self.newest = self.newest.max(entry.attrs.ctime);
        }
    }

    /// Returns what was seen by a walk as of `now`. A copy that changed meanwhile is not settled, nor is one whose ctimes lie in the
    /// future.
    pub(super) fn seen(&self, now: Time, settle: Duration, changed: bool) -> SeenCopy {
        // In whole seconds, as the time now is: else what changed in this second would lie in the future.
        let settle_s = i64::try_from(settle.as_secs()).unwrap_or(i64::MAX);
        SeenCopy {
            root: self.top.seen,
            newest_ctime_ns: self.newest.ns_since(Timestamp::default()),
            settled: !changed && self.newest.seconds <= now.0.saturating_sub(settle_s),
            at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntryName, FileKey, ListedEntry, RelPath, XattrSet};

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
        let seen = SeenRoot { inode: 2, born_ns: 3, ctime_ns: 100_000_000_000, ..SeenRoot::default() };
        let mut watch = Watch::of(TopDirectory { seen, mtime: Timestamp::default() });
        watch.see(&Listing {
            number: 0,
            path: RelPath::root(),
            root: Some((key, attrs(0o040_755, 2, 100))),
            entries: entries.collect(),
            complete: true,
            findings: Vec::new(),
        });
        watch.seen(Time(now_s), Duration::from_secs(900), changed)
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
