//! The top directory of a copy: opened, and told apart from any other that has its name by now.
//!
//! Promises: it is opened beneath its store, no link is followed below that, and mounts are crossed: a copy may be one. It is
//! the directory that was indexed by its inode number (of a btrfs subvolume: the number of that), its birth time and its file system, as
//! far as its file system has them for life, and the kernel tells which that is. Never looks at what is in it.

use super::Error;
use super::place::Place;
use crate::model::{Kind, SeenRoot, Timestamp};
use crate::sys::mount;
use crate::sys::read::{self, Numbers};
use crate::sys::walk::{self, FileAt, Whereabouts};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The open top directory of a copy.
#[derive(Debug)]
pub(super) struct CopyRoot {
    descriptor: OwnedFd,
    /// Whether closing a file in it never waits for another machine.
    pub(super) is_local: bool,
    /// What the kernel knows it by, for as long as it is open.
    here: Here,
    whereabouts: Whereabouts,
    /// What it is known by for life, as the catalog has it.
    seen: SeenRoot,
    numbers: Numbers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Here {
    mount: Option<u64>,
    device: u64,
    inode: u64,
    born: Option<Timestamp>,
}

impl Here {
    fn of(stat: &walk::Stat) -> Self {
        Self { mount: stat.mount, device: stat.device, inode: stat.inode, born: stat.born }
    }
}

impl CopyRoot {
    /// Opens what is at the root of `place` now.
    ///
    /// # Errors
    /// [`Error::NoCopy`], [`Error::LinkedCopy`].
    pub(super) fn open(place: &Place) -> Result<Self, Error> {
        let no_copy = |source| Error::NoCopy { root: place.root.clone(), source };
        let descriptor = open_beneath_store(&place.folder, &place.root).map_err(|e| {
            let is_link = read::is_link(&e)
                || walk::stat_path(&place.root).is_ok_and(|it| Kind::from_mode(it.mode) == Some(Kind::Symlink));
            if is_link { Error::LinkedCopy { root: place.root.clone() } } else { no_copy(e) }
        })?;
        expect_no_stranger(place, descriptor.as_fd()).map_err(no_copy)?;
        let stat = walk::stat_fd(descriptor.as_fd()).map_err(no_copy)?;
        Ok(Self {
            is_local: read::is_local(descriptor.as_fd()).map_err(no_copy)?,
            here: Here::of(&stat),
            whereabouts: stat.whereabouts(),
            seen: walk::seen_root(descriptor.as_fd(), c"", &stat, None).map_err(no_copy)?,
            numbers: read::numbers(descriptor.as_fd()).map_err(no_copy)?,
            descriptor,
        })
    }

    /// Tells whether it is what stands at `path` now.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        // What is mounted over it since may never answer.
        walk::whereabouts_of_path(path).is_ok_and(|there| !there.is_beyond(&self.whereabouts))
            && walk::stat_path(path).is_ok_and(|there| Here::of(&there) == self.here)
    }

    /// Fails if it is another directory than the one that was indexed as `place`.
    ///
    /// # Errors
    /// [`Error::OtherDirectory`].
    pub(super) fn check(&self, place: &Place) -> Result<(), Error> {
        match place.seen {
            Some(was) if !is_same(was, self.seen, self.numbers) => {
                Err(Error::OtherDirectory { root: place.root.clone(), found: self.seen, expected: was })
            }
            _ => Ok(()),
        }
    }

    /// Tells whether what `stat` tells of lies on the mount on which the copy begins, where the kernel tells (Linux 5.8).
    pub(super) fn is_on_its_mount(&self, stat: &walk::Stat) -> bool {
        stat.mount == self.here.mount
    }
}

impl AsFd for CopyRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Fails if the copy is a file system that a user mounted in the store; the store itself was named by the admin.
fn expect_no_stranger(place: &Place, root: BorrowedFd<'_>) -> io::Result<()> {
    if place.folder == place.root {
        return Ok(());
    }
    let folder = read::open_folder(&place.folder)?;
    mount::expect_no_stranger(FileAt::Held(root), walk::whereabouts(FileAt::Held(folder.as_fd()))?)
}

/// Opens the directory `path` in the store `folder`, or that itself, as a place to start from.
pub(super) fn open_beneath_store(folder: &Path, path: &Path) -> io::Result<OwnedFd> {
    match path.strip_prefix(folder) {
        Ok(below) if !below.as_os_str().is_empty() => {
            let folder = read::open_folder(folder)?;
            read::open_place_beneath(folder.as_fd(), below.as_os_str().as_bytes())
        }
        // The store is the copy.
        _ => read::open_place(path),
    }
}

/// Tells whether both are one directory, as far as that can be known.
fn is_same(was: SeenRoot, is: SeenRoot, numbers: Numbers) -> bool {
    if was.is_on_another_filesystem_than(&is) {
        return false;
    }
    let has_births = was.born_ns != 0 && is.born_ns != 0;
    let is_same_birth = was.born_ns == is.born_ns;
    match numbers {
        Numbers::OfAMoment if has_births => is_same_birth,
        Numbers::OfAMount if !has_births => was.ctime_ns == is.ctime_ns,
        // A number that a file system without birth times gave to another directory since is not noticed.
        Numbers::ForLife | Numbers::OfAMount | Numbers::OfAMoment => {
            was.inode == is.inode && (!has_births || is_same_birth)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FilesystemId;

    #[test]
    fn a_directory_is_known_by_what_its_file_system_has_for_life() {
        let root = |inode, born_ns, ctime_ns| SeenRoot { inode, born_ns, ctime_ns, filesystem: None };
        let was = root(7, 100, 200);
        for (is, numbers, expected) in [
            (root(7, 100, 999), Numbers::ForLife, true),
            (root(8, 100, 200), Numbers::ForLife, false),
            (root(7, 101, 200), Numbers::ForLife, false),
            // The same disk by way of a server that tells no birth times.
            (root(7, 0, 200), Numbers::ForLife, true),
            (root(8, 0, 200), Numbers::ForLife, false),
            (root(8, 100, 200), Numbers::OfAMount, false),
            (root(8, 0, 200), Numbers::OfAMount, true),
            (root(7, 0, 201), Numbers::OfAMount, false),
            (root(8, 100, 200), Numbers::OfAMoment, true),
            (root(7, 101, 200), Numbers::OfAMoment, false),
        ] {
            assert_eq!(is_same(was, is, numbers), expected, "{is:?} {numbers:?}");
        }
    }

    #[test]
    fn a_directory_of_another_file_system_is_another_one_and_what_is_not_known_is_not_compared() {
        let on = |id: Option<u64>| SeenRoot { inode: 2, born_ns: 100, ctime_ns: 200, filesystem: id.map(FilesystemId) };
        for numbers in [Numbers::ForLife, Numbers::OfAMount, Numbers::OfAMoment] {
            assert!(!is_same(on(Some(1)), on(Some(2)), numbers));
            for (was, is) in [(Some(1), Some(1)), (None, Some(1)), (Some(1), None), (None, None)] {
                assert!(is_same(on(was), on(is), numbers), "{was:?} {is:?}");
            }
        }
        let text = |found, expected| Error::OtherDirectory { root: "/c".into(), found, expected }.to_string();
        assert_eq!(
            text(SeenRoot { born_ns: 0, ..on(Some(1)) }, SeenRoot { born_ns: 0, ..on(Some(0xab)) }),
            "copy \"/c\" is another directory than the one that was indexed: found inode 2 on file system \
             0000000000000001, expected inode 2 on file system 00000000000000ab"
        );
    }
}
