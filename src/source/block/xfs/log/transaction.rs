//! Transactions, put together from the operations of records: one may begin in one record and end in another, among others.
//!
//! Promises: only transactions whose commit is there are given out, with all that was logged for them.

use super::super::super::Error;
use super::super::super::bytes::Fields;
use super::record::LogRecord;
use std::collections::HashMap;

const OPERATION_BYTES: usize = 12;
const START: u8 = 0x01;
const COMMIT: u8 = 0x02;
const CONTINUED: u8 = 0x04;
const CONTINUES: u8 = 0x08;
const END: u8 = 0x10;
const UNMOUNT: u8 = 0x20;
/// `XFS_TRANSACTION` and `XFS_LOG`.
const CLIENTS: [u8; 2] = [0x69, 0xaa];
/// `XFS_TRANS_HEADER_MAGIC`.
const MAGIC: u32 = 0x5452_414e;
const HEADER_BYTES: usize = 16;
/// `XLOG_MAX_REGIONS_IN_ITEM`.
const REGIONS_MAX: usize = 257;
/// The most that is held of transactions without a commit; the kernel holds all of a checkpoint too, which is at most
/// a quarter of the log.
const HELD_MAX_BYTES: usize = 256 << 20;
/// What a region, or a transaction, costs besides its bytes.
const REGION_OVERHEAD_BYTES: usize = 64;

/// One thing that a transaction changes.
#[derive(Debug, Default)]
pub(super) struct Item {
    total: usize,
    /// What was logged for it: first what it is, then the new bytes.
    pub(super) regions: Vec<Vec<u8>>,
}

/// What was changed at once.
#[derive(Debug)]
pub(super) struct Transaction {
    /// The place of the record that it begins in.
    pub(super) lsn: u64,
    header: Vec<u8>,
    /// What it changes.
    pub(super) items: Vec<Item>,
    held_bytes: usize,
}

/// The transactions whose commit has not come yet.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: HashMap<u32, Transaction>,
    held_bytes: usize,
}

impl Transactions {
    /// Takes the operations of a record, and calls `each` for every transaction that is complete with them.
    pub(super) fn add(
        &mut self,
        record: &LogRecord,
        each: &mut dyn FnMut(&Transaction) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let fields = Fields { bytes: &record.data, what: "log record" };
        let mut at = 0;
        for _ in 0..record.header.operations {
            if at >= record.data.len() {
                break;
            }
            let length = fields.be32(at + 4)? as usize;
            if !CLIENTS.contains(&fields.byte(at + 8)?) {
                return Err(damaged("an operation of an unknown client"));
            }
            let (id, flags) = (fields.be32(at)?, fields.byte(at + 9)?);
            let data = fields.slice(at + OPERATION_BYTES, length)?;
            self.add_operation(id, flags, data, record.header.lsn, each)?;
            at += OPERATION_BYTES + length;
        }
        Ok(())
    }

    /// Takes one operation (`xlog_recover_process_ophdr`). What belongs to no open transaction is left over from one that
    /// began before the tail and is in place.
    fn add_operation(
        &mut self,
        id: u32,
        flags: u8,
        data: &[u8],
        lsn: u64,
        each: &mut dyn FnMut(&Transaction) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(transaction) = self.open.get_mut(&id) else {
            if flags & START != 0 {
                let held_bytes = REGION_OVERHEAD_BYTES;
                self.open.insert(id, Transaction { lsn, header: Vec::new(), items: Vec::new(), held_bytes });
                return self.hold(held_bytes);
            }
            return Ok(());
        };
        let flags = flags & !END & if flags & CONTINUES != 0 { !CONTINUED } else { !0 };
        match flags {
            0 | CONTINUED => transaction.add_region(data)?,
            CONTINUES => transaction.continue_region(data)?,
            COMMIT | UNMOUNT => {
                let transaction = self.open.remove(&id).expect("it was found");
                self.held_bytes -= transaction.held_bytes;
                return if flags == COMMIT { each(&transaction) } else { Ok(()) };
            }
            _ => return Err(damaged(&format!("an operation with the flags {flags:#x}"))),
        }
        let cost = data.len() + REGION_OVERHEAD_BYTES;
        transaction.held_bytes += cost;
        self.hold(cost)
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        self.held_bytes += bytes;
        if self.held_bytes > HELD_MAX_BYTES {
            let most = HELD_MAX_BYTES >> 20;
            return Err(Error::Unsupported(format!(
                "the log has transactions of more than {most} MiB; freeze the guest"
            )));
        }
        Ok(())
    }
}

impl Transaction {
    /// Takes the beginning of a region, or of the header that comes before all regions.
    fn add_region(&mut self, data: &[u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        if self.header.is_empty() {
            let is_header = data.len() <= HEADER_BYTES && data.starts_with(&MAGIC.to_le_bytes());
            self.header.extend_from_slice(data);
            return if is_header { Ok(()) } else { Err(damaged("a transaction without its header")) };
        }
        if self.items.last().is_none_or(|item| item.regions.len() == item.total) {
            let total = usize::from(Fields { bytes: data, what: "log item" }.le16(2)?);
            if !(1..=REGIONS_MAX).contains(&total) {
                return Err(damaged(&format!("an item of {total} regions")));
            }
            self.items.push(Item { total, regions: Vec::new() });
        }
        let item = self.items.last_mut().expect("there is one now");
        item.regions.push(data.to_vec());
        Ok(())
    }

    /// Takes more of the last region, or of the header.
    fn continue_region(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.header.len() < HEADER_BYTES {
            self.header.extend_from_slice(data);
            let fits = self.header.len() <= HEADER_BYTES;
            return if fits { Ok(()) } else { Err(damaged("a transaction with too long a header")) };
        }
        let region = self.items.last_mut().and_then(|item| item.regions.last_mut());
        region.ok_or_else(|| damaged("the rest of a region without its beginning"))?.extend_from_slice(data);
        Ok(())
    }
}

impl Item {
    /// Tells whether all its regions are there.
    pub(super) fn is_complete(&self) -> bool {
        self.regions.len() == self.total
    }
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("the log has {what}"))
}
