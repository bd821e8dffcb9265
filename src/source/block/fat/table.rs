//! The table that says which cluster follows which: the first copy, as in the kernel.
//!
//! Promises: a bounded part of it is in memory. Where there is a second copy, what is read is held against it.

use super::boot::{Shape, Width};
use crate::source::block::{Device, Error, bytes};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PAGE_BYTES: u64 = 64 << 10;
/// 8 MiB.
const PAGES_MAX: usize = 128;

/// What comes after a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one; whether there is one of this number is not said.
    Cluster(u32),
    /// Nothing: the chain ends.
    End,
    /// Nothing: the cluster is in no chain.
    Free,
    /// Nothing: the cluster must not be used.
    Bad,
}

pub(super) struct Table {
    device: Arc<dyn Device>,
    at: u64,
    length: u64,
    width: Width,
    is_mirrored: bool,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    by_number: HashMap<u64, Vec<u8>>,
    /// Whether the second copy had other bytes anywhere.
    differs: bool,
}

impl Table {
    pub(super) fn new(device: Arc<dyn Device>, shape: &Shape) -> Self {
        Self {
            device,
            at: shape.table_at,
            length: shape.table_bytes,
            width: shape.width,
            is_mirrored: shape.is_mirrored,
            pages: Mutex::default(),
        }
    }

    /// Returns what follows a cluster that there is.
    ///
    /// # Errors
    /// If the table cannot be read there.
    pub(super) fn next(&self, cluster: u32) -> Result<Next, Error> {
        let number = u64::from(cluster);
        let (entry, bad) = match self.width {
            Width::Twelve => {
                let at = number + number / 2;
                let pair = u32::from(self.byte(at)?) | u32::from(self.byte(at + 1)?) << 8;
                (if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }, 0xff7)
            }
            Width::Sixteen => (u32::from(u16::from_le_bytes(self.bytes(number * 2)?)), 0xfff7),
            Width::ThirtyTwo => (u32::from_le_bytes(self.bytes(number * 4)?) & 0x0fff_ffff, 0x0fff_fff7),
        };
        Ok(match entry {
            0 => Next::Free,
            entry if entry == bad => Next::Bad,
            entry if entry > bad => Next::End,
            entry => Next::Cluster(entry),
        })
    }

    /// Tells whether the second copy had other bytes than the first, where that was read.
    pub(super) fn differs(&self) -> bool {
        self.pages().differs
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn byte(&self, at: u64) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.bytes(at)?))
    }

    /// Returns bytes of the table that do not go over the end of a page.
    fn bytes<const N: usize>(&self, at: u64) -> Result<[u8; N], Error> {
        let mut pages = self.pages();
        let (number, from) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
        if !pages.by_number.contains_key(&number) {
            let page = self.read_page(number, &mut pages.differs)?;
            if pages.by_number.len() == PAGES_MAX {
                pages.by_number.clear();
            }
            pages.by_number.insert(number, page);
        }
        let bytes = pages.by_number[&number].get(from..from + N);
        let outside = || Error::Damaged(format!("the table has {} bytes, and byte {at} is needed", self.length));
        Ok(bytes.ok_or_else(outside)?.try_into().expect("as many as asked for"))
    }

    fn read_page(&self, number: u64, differs: &mut bool) -> Result<Vec<u8>, Error> {
        let from = number * PAGE_BYTES;
        let length = self.length.saturating_sub(from).min(PAGE_BYTES);
        let page = bytes::read(&*self.device, self.at + from, length)?;
        if self.is_mirrored && !*differs {
            let copy = bytes::read(&*self.device, self.at + self.length + from, length);
            *differs = !copy.is_ok_and(|copy| copy == page);
        }
        Ok(page)
    }
}
