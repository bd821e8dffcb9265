//! A file of a copy, open for reading.
//!
//! Promises: it is the one that was indexed (size and mtime), after each read as it was when it was opened. A
//! descriptor whose closing may wait for a server is closed by another thread.

use super::Error;
use super::cost::Counts;
use super::place::{Identity, Place};
use crate::sys::{read, walk};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;

/// A regular file of a copy, open for reading and checked to be the one that was indexed.
#[derive(Debug)]
pub(super) struct PlainFile {
    /// None only while being dropped.
    pub(super) file: Option<File>,
    pub(super) identity: Identity,
    pub(super) place: Place,
    /// Where the directory of the copy was found, under another name perhaps.
    pub(super) root: PathBuf,
    /// Closes the descriptor elsewhere, where closing may wait for a server; see `Store::closer`.
    pub(super) closer: Option<Sender<File>>,
    pub(super) counts: Arc<Counts>,
}

impl PlainFile {
    /// Fills `buffer` from `offset` on, up to the recorded end of the file. Returns the number of bytes.
    ///
    /// **Cost:** one `pread(2)` and one `statx(2)` as a rule; waits for the store.
    ///
    /// # Errors
    /// [`Error::Changed`] if it is no longer as it was when it was indexed; [`Error::Short`] if it ends before its
    /// recorded size; [`Error::Unreadable`].
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let wanted = self.wanted(buffer.len(), offset);
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        let mut done = 0;
        while done < wanted {
            match self.file().read_at(&mut buffer[done..wanted], offset + done as u64) {
                Ok(0) => return Err(self.short(offset + done as u64)),
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Unreadable { path: self.path(), source }),
            }
        }
        // After the bytes: a write moves the mtime before it moves them.
        self.check()?;
        Ok(wanted)
    }

    /// Fails unless it has the size and mtime that were recorded. Whose it is was asked when it was opened.
    ///
    /// # Errors
    /// [`Error::Changed`], [`Error::Unreadable`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let now = walk::stat_fd(self.file().as_fd());
        let now = now.map_err(|source| Error::Unreadable { path: self.path(), source })?;
        if self.has_recorded_times(&now) {
            return Ok(());
        }
        let found = self.identity.of(&now);
        Err(Error::Changed { path: self.path(), found, expected: self.identity })
    }

    /// Does the same without waiting, or returns none if not all of it is in memory (or the file has changed).
    pub(super) fn read_cached(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        let wanted = self.wanted(buffer.len(), offset);
        if wanted == 0 {
            return Some(0);
        }
        let n = read::read_without_waiting(self.file().as_fd(), &mut buffer[..wanted], offset).ok()?;
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        let now = walk::stat_without_waiting(walk::FileAt::Open(self.file().as_fd())).ok()?;
        (n == wanted && self.has_recorded_times(&now)).then_some(n)
    }

    /// Has the kernel bring its first bytes into memory meanwhile, where it can.
    pub(super) fn read_ahead(&self, bytes: u64) {
        read::read_ahead(self.file().as_fd(), 0, bytes.min(self.identity.size_bytes));
    }

    /// Returns where the next stored byte at or after `offset` lies, none if only a hole follows.
    ///
    /// # Errors
    /// [`Error::Changed`] if it is no longer as it was when it was indexed: what was bytes may be a hole by now; [`Error::Unreadable`].
    pub(super) fn seek_data(&self, offset: u64) -> Result<Option<u64>, Error> {
        if offset >= self.identity.size_bytes {
            return Ok(None);
        }
        let found = self.seek(read::Seek::Data, offset, Some(offset))?;
        Ok(found.filter(|at| *at < self.identity.size_bytes))
    }

    /// Returns where the next hole at or after `offset` begins (the end of the file is one), none if
    /// `offset` lies at or behind the end.
    ///
    /// # Errors
    /// As [`PlainFile::seek_data`].
    pub(super) fn seek_hole(&self, offset: u64) -> Result<Option<u64>, Error> {
        if offset >= self.identity.size_bytes {
            return Ok(None);
        }
        let found = self.seek(read::Seek::Hole, offset, Some(self.identity.size_bytes))?;
        Ok(Some(found.map_or(self.identity.size_bytes, |at| at.min(self.identity.size_bytes))))
    }

    /// Returns the recorded length in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.identity.size_bytes
    }

    /// Returns the descriptor, for the kernel to read from.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file().as_fd()
    }

    /// Returns where the file was indexed.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// A file system that does not know holes has none: `otherwise` is then the answer.
    fn seek(&self, what: read::Seek, offset: u64, otherwise: Option<u64>) -> Result<Option<u64>, Error> {
        let found = match read::seek(self.file().as_fd(), what, offset) {
            Ok(found) => found,
            Err(e) if read::is_unknown_seek(&e) => otherwise,
            Err(source) => return Err(Error::Unreadable { path: self.path(), source }),
        };
        // As after bytes that were read: whoever is told of a hole takes it for zeros, and reads nothing there.
        self.check()?;
        Ok(found)
    }

    fn has_recorded_times(&self, now: &walk::Stat) -> bool {
        (now.size_bytes, now.mtime) == (self.identity.size_bytes, self.identity.mtime)
    }

    fn wanted(&self, room: usize, offset: u64) -> usize {
        let left = self.identity.size_bytes.saturating_sub(offset);
        usize::try_from(left).map_or(room, |left| room.min(left))
    }

    fn short(&self, found: u64) -> Error {
        Error::Short { path: self.path(), found_bytes: found, expected_bytes: self.identity.size_bytes }
    }

    fn path(&self) -> PathBuf {
        self.root.join(OsStr::from_bytes(self.place.path.as_bytes()))
    }

    fn file(&self) -> &File {
        self.file.as_ref().expect("the file is there until drop")
    }
}

impl Drop for PlainFile {
    fn drop(&mut self) {
        if let (Some(closer), Some(file)) = (self.closer.take(), self.file.take()) {
            // A closer that is gone gives the file back, and it is closed here.
            let _ = closer.send(file);
        }
    }
}
