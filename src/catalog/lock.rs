//! The catalog's lock: one process writes at a time.
//!
//! Promises: it goes with its owner, whatever ends that. Never held by a child of its owner.

use super::Error;
use std::fs::File;
use std::io::{Read, Seek, Write as _};
use std::path::{Path, PathBuf};

/// The catalog's lock. Let go by name: a descriptor that a child process of another thread inherited, between `fork` and
/// `exec`, would hold it on.
pub(super) struct CatalogLock(File);

impl Drop for CatalogLock {
    fn drop(&mut self) {
        // Else it goes with the last descriptor.
        let _ = self.0.unlock();
    }
}

pub(super) fn take_lock(path: &Path) -> Result<CatalogLock, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let io = |source| Error::Io { doing: "locking", path: path.to_owned(), source };
    let mut lock = File::options().read(true).write(true).create(true).truncate(false).open(&name).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() { "?" } else { holder };
            return Err(Error::Busy { path: path.to_owned(), holder: holder.to_owned() });
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(io(e)),
    }
    // Who holds it is for the message only: on a full disk the lock holds all the same.
    let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(CatalogLock(lock))
}
