//! Bytes put into the kernel's page cache before they are asked for: FUSE_NOTIFY_STORE, written to the device by ourselves.
//!
//! Promises: tells an inode that the kernel does not hold (ENOENT) from one that it does. `fuser::Notifier::store` takes both for
//! success, so whoever uses it reads bytes that nobody takes.
//!
//! Never touches what is read: content does not change under an inode number.

use crate::view::Ino;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::BorrowedFd;

/// `enum fuse_notify_code` of `include/uapi/linux/fuse.h`.
const FUSE_NOTIFY_STORE: i32 = 4;
/// `struct fuse_out_header` and `struct fuse_notify_store_out` (ibid.).
const HEADERS_BYTES: usize = 16 + 24;

/// The page cache of one mount.
pub(super) struct PageCache(File);

impl PageCache {
    /// Returns that of the mount which is served through `device`.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub(super) fn of(device: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(device.try_clone_to_owned()?.into()))
    }

    /// Tells whether the kernel holds `ino`: whether somebody has looked it up or listed it, and it was not forgotten since.
    pub(super) fn holds(&self, ino: Ino) -> bool {
        // Of no bytes: the kernel looks for the inode and does nothing else.
        self.store(ino, &[]).map_or_else(|e| e.kind() != io::ErrorKind::NotFound, |()| true)
    }

    /// Puts `bytes` in as the beginning of the file `ino`. Not to be called by a thread that answers the kernel.
    ///
    /// # Errors
    /// `ENOENT` if the kernel does not hold it, `ENODEV` when nothing is mounted any more.
    pub(super) fn store(&self, ino: Ino, bytes: &[u8]) -> io::Result<()> {
        let whole = u32::try_from(HEADERS_BYTES + bytes.len()).map_err(io::Error::other)?;
        let mut headers = Vec::with_capacity(HEADERS_BYTES);
        headers.extend(whole.to_ne_bytes());
        headers.extend(FUSE_NOTIFY_STORE.to_ne_bytes());
        // `unique`: no answer to anything.
        headers.extend(0_u64.to_ne_bytes());
        headers.extend(ino.0.to_ne_bytes());
        // `offset`.
        headers.extend(0_u64.to_ne_bytes());
        headers.extend((bytes.len() as u32).to_ne_bytes());
        // `padding`.
        headers.extend(0_u32.to_ne_bytes());
        // The device takes a message whole or not at all.
        (&self.0).write_vectored(&[IoSlice::new(&headers), IoSlice::new(bytes)]).map(drop)
    }
}
