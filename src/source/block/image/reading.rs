//! Reads a file that may be an image, and says what is wrong with it.
//! Nothing past the end of the file is ever taken for zeros.

use super::error::Error;
use super::gate::Opened;
use crate::source::block;
use std::io;
use std::path::PathBuf;

/// The largest disk: places in files are signed (`off_t`), and no sum of two of them overflows.
const DISK_BYTES_MAX: u64 = i64::MAX as u64;

/// What is wrong with the file that is being read, with its name.
impl Opened {
    fn image(&self) -> PathBuf {
        self.file.path.clone()
    }

    pub(super) fn read(&self, at: u64, length: u64) -> Result<Vec<u8>, Error> {
        let size_bytes = self.device.size_bytes;
        if at.checked_add(length).is_none_or(|end| end > size_bytes) {
            return Err(self.cut(format!("{length} bytes at byte {at} are needed")));
        }
        block::bytes::read(&self.device, at, length).map_err(|error| self.trouble(error))
    }

    pub(super) fn check_disk(&self, size_bytes: u64) -> Result<(), Error> {
        if size_bytes > DISK_BYTES_MAX {
            return Err(self.damaged(format!("it describes a disk of {size_bytes} bytes")));
        }
        Ok(())
    }

    pub(super) fn trouble(&self, error: block::Error) -> Error {
        match error {
            block::Error::Read { at, length, source } => self.unread(at, length, source),
            block::Error::NotInUse(_) => self.damaged(error.to_string()),
            block::Error::Damaged(what) => self.damaged(what),
            block::Error::Unsupported(what) => self.unsupported(what),
        }
    }

    pub(super) fn unread(&self, at: u64, length: u64, source: io::Error) -> Error {
        Error::Read { image: self.image(), at, length, source }
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged { image: self.image(), what: what.into() }
    }

    pub(super) fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { image: self.image(), what: what.into() }
    }

    pub(super) fn cut(&self, what: impl Into<String>) -> Error {
        Error::Cut { image: self.image(), what: what.into(), size_bytes: self.device.size_bytes }
    }
}
