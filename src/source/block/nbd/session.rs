//! A connection over which requests and answers go.
//! One request after the other has a number of its own.

use super::error::Error;
use super::export::Export;
use super::wire::Wire;

/// The connection once the export was agreed on.
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) export: Export,
    /// The number of the next request.
    pub(super) next_handle: u64,
}

impl Session {
    pub(super) fn check_range(&self, offset: u64, length: u64) -> Result<(), Error> {
        let size = self.export.size_bytes;
        match offset.checked_add(length) {
            Some(end) if end <= size => Ok(()),
            _ => Err(Error::Range { offset, length, size }),
        }
    }
}
