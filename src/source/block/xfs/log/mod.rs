//! The log: what XFS has committed and not yet written to its place.
//!
//! Promises: the log is replayed as the kernel would when it mounts the file system, into memory; or it is refused, by
//! name, when that needs more than a reader can do. A log that was unmounted or frozen changes nothing.
//!
//! A log is a ring of 512-byte sectors. Records lie in it one after the other; the first four bytes of every sector are
//! the number of the round (the cycle) in which it was written, and what they hide is kept in the record's header. The
//! newest record is found by the cycles; it names the oldest one that is still needed. Records hold operations,
//! operations make up transactions, and a transaction counts only if its commit is there.
//!
//! Source: `fs/xfs/xfs_log_recover.c` and `fs/xfs/libxfs/xfs_log_format.h` of Linux 6.12.

mod buffer;
mod dinode;
mod ends;
mod items;
mod record;
mod transaction;

use super::super::Error;
use super::volume::Volume;
use items::Items;
use record::Log;
use transaction::{Transaction, Transactions};

/// Puts what the log of `volume` holds in its place, in memory.
///
/// # Errors
/// [`Error::Damaged`] if the log contradicts itself; [`Error::Unsupported`] if replaying it takes more than reading.
pub(super) fn replay(volume: &mut Volume) -> Result<(), Error> {
    let log = Log::new(volume);
    let Some(ends) = ends::find(&log)? else {
        return Ok(());
    };
    let mut items = Items::default();
    each_transaction(&log, ends, &mut |transaction| items.note(transaction))?;
    items.check_intents()?;
    each_transaction(&log, ends, &mut |transaction| items.apply(transaction, volume))
}

/// Calls `each` for every transaction that was committed, in the order of the commits.
fn each_transaction(
    log: &Log,
    ends: ends::Ends,
    each: &mut dyn FnMut(&Transaction) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut transactions = Transactions::default();
    let broken = log.walk(ends.tail, ends.head, &mut |record| transactions.add(record, each))?;
    broken
        .map_or(Ok(()), |sector| Err(Error::Damaged(format!("the log record at sector {sector} of the log is broken"))))
}
