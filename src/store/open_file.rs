//! An open file of a backup, wherever its bytes are.
//!
//! Promises what the file of a copy and the file on a disk promise: all bytes inside the recorded size, or an error.

use super::Error;
use super::disk_file::DiskFile;
use super::place::Place;
use super::plain::PlainFile;
use crate::model::StoreId;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// An open file of a backup, checked to be the one that was indexed: a file of a copy, or runs of a disk.
#[derive(Debug)]
pub struct OpenFile(pub(super) Bytes);

#[derive(Debug)]
pub(super) enum Bytes {
    Plain(PlainFile),
    OnDisk(DiskFile),
}

/// Where an open file's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A file of a copy, as it was indexed.
    Copy(&'a Place),
    /// The disk with this key.
    Disk((i64, i64)),
}

impl OpenFile {
    /// Fills `buffer` from `offset` on, up to the recorded end of the file. Returns the number of bytes.
    ///
    /// **Cost:** one `pread(2)` and one `statx(2)` as a rule, of a file on a disk so many for each run; waits for the store.
    ///
    /// # Errors
    /// [`Error::Changed`] if it is no longer as it was when it was indexed; [`Error::Short`] if it ends before its
    /// recorded size; [`Error::Unreadable`].
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        match &self.0 {
            Bytes::Plain(file) => file.read_at(buffer, offset),
            Bytes::OnDisk(file) => file.read_at(buffer, offset),
        }
    }

    /// Does the same without waiting, or returns none if not all of it is in memory (or the file has changed).
    pub fn read_cached(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        match &self.0 {
            Bytes::Plain(file) => file.read_cached(buffer, offset),
            Bytes::OnDisk(file) => file.read_cached(buffer, offset),
        }
    }

    /// Has the kernel bring its first bytes into memory meanwhile, where it can.
    pub fn read_ahead(&self, bytes: u64) {
        match &self.0 {
            Bytes::Plain(file) => file.read_ahead(bytes),
            // Its runs are asked for one by one.
            Bytes::OnDisk(_) => {}
        }
    }

    /// Returns where the next stored byte at or after `offset` lies, none if only a hole follows.
    ///
    /// # Errors
    /// [`Error::Changed`] if it is no longer as it was when it was indexed; [`Error::Unreadable`].
    pub fn seek_data(&self, offset: u64) -> Result<Option<u64>, Error> {
        match &self.0 {
            Bytes::Plain(file) => file.seek_data(offset),
            Bytes::OnDisk(file) => Ok(file.seek_data(offset)),
        }
    }

    /// Returns where the next hole at or after `offset` begins (the end of the file is one), none if
    /// `offset` lies at or behind the end.
    ///
    /// # Errors
    /// As [`OpenFile::seek_data`].
    pub fn seek_hole(&self, offset: u64) -> Result<Option<u64>, Error> {
        match &self.0 {
            Bytes::Plain(file) => file.seek_hole(offset),
            Bytes::OnDisk(file) => Ok(file.seek_hole(offset)),
        }
    }

    /// Returns the recorded length in bytes.
    pub fn size_bytes(&self) -> u64 {
        match &self.0 {
            Bytes::Plain(file) => file.size_bytes(),
            Bytes::OnDisk(file) => file.size_bytes(),
        }
    }

    /// Fails if it is no longer as it was when it was indexed. Of a file on a disk that is asked at each read.
    ///
    /// # Errors
    /// [`Error::Changed`], [`Error::Unreadable`].
    pub fn check(&self) -> Result<(), Error> {
        match &self.0 {
            Bytes::Plain(file) => file.check(),
            Bytes::OnDisk(_) => Ok(()),
        }
    }

    /// Returns the descriptor, for the kernel to read from; none of a file on a disk, which has no one descriptor.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Bytes::Plain(file) => Some(file.as_fd()),
            Bytes::OnDisk(_) => None,
        }
    }

    /// Returns the store that is asked for them.
    pub fn store(&self) -> StoreId {
        match &self.0 {
            Bytes::Plain(file) => file.place().store,
            Bytes::OnDisk(file) => file.store(),
        }
    }

    /// Tells whether it is on a disk.
    pub(super) fn is_on_a_disk(&self) -> bool {
        matches!(self.0, Bytes::OnDisk(_))
    }

    /// Returns the directory of its copy, if that has another name since it was indexed.
    pub fn moved_to(&self) -> Option<&Path> {
        match &self.0 {
            Bytes::Plain(file) => Some(file.root.as_path()).filter(|root| *root != file.place().root),
            Bytes::OnDisk(_) => None,
        }
    }

    /// Returns where its bytes are.
    pub fn origin(&self) -> Origin<'_> {
        match &self.0 {
            Bytes::Plain(file) => Origin::Copy(file.place()),
            Bytes::OnDisk(file) => Origin::Disk(file.disk_key()),
        }
    }
}
