//! The slots of a directory, of 32 bytes each: which of them make an entry, and what it is called.
//!
//! Promises: pure; the same entries as in the kernel, whatever the slots hold: a free slot does not end a directory, and parts of a long
//! name that do not belong to the short one behind them count for nothing.
//!
//! Source: `__fat_readdir` and `fat_parse_long` in `fs/fat/dir.c` of Linux 6.12.

use super::names;
use crate::model::Timestamp;
use crate::source::block::Error;
use crate::source::block::bytes::Fields;

pub(super) const SLOT_BYTES: usize = 32;
const GONE: u8 = 0xe5;
const READ_ONLY: u8 = 0x01;
const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// The attributes that a part of a long name has.
const PART: u8 = 0x0f;
/// The bit of the part that comes first, which is the end of the name.
const LAST_PART: u8 = 0x40;
const PARTS_MAX: u8 = 20;
const PART_UNITS: usize = 13;
const DOT: &[u8; 11] = b".          ";
const DOTS: &[u8; 11] = b"..         ";

/// A short entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) bytes: [u8; SLOT_BYTES],
}

/// What a slot is for the directory that it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The directory itself.
    Own,
    /// The one above.
    Above,
    /// What has a name in it.
    Entry,
}

impl Slot {
    /// Returns what is kept in it of the name.
    pub(super) fn stored_name(&self) -> [u8; 11] {
        self.bytes[..11].try_into().expect("11 bytes")
    }

    fn attributes(&self) -> u8 {
        self.bytes[11]
    }

    fn is_free(&self) -> bool {
        matches!(self.bytes[0], 0 | GONE)
    }

    /// Tells whether it says that it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.attributes() & DIRECTORY != 0
    }

    /// Tells whether it counts as a link to its directory, or to the one above: the entries of a directory for itself and for that above do (`fat_subdirs`).
    pub(super) fn is_link_to_directory(&self) -> bool {
        !self.is_free() && self.attributes() & VOLUME == 0 && self.is_directory()
    }

    /// Tells whether it is the label of the file system.
    pub(super) fn is_label(&self) -> bool {
        !self.is_free() && self.attributes() & (VOLUME | DIRECTORY) == VOLUME && self.attributes() & 0x3f != PART
    }

    /// Returns the permissions that the kernel gives it.
    pub(super) fn permissions(&self) -> u32 {
        if self.attributes() & READ_ONLY != 0 && !self.is_directory() { 0o555 } else { 0o755 }
    }

    /// Returns its first cluster; `is_wide`: the number has 32 bits.
    pub(super) fn start(&self, is_wide: bool) -> Result<u32, Error> {
        let low = u32::from(self.fields().le16(26)?);
        Ok(if is_wide { low | u32::from(self.fields().le16(20)?) << 16 } else { low })
    }

    pub(super) fn size_bytes(&self) -> Result<u64, Error> {
        self.fields().le32(28).map(u64::from)
    }

    /// Returns when it was written to last, in steps of two seconds. FAT knows no time zone: it counts as UTC.
    pub(super) fn mtime(&self) -> Result<Timestamp, Error> {
        Ok(time(self.fields().le16(24)?, self.fields().le16(22)?))
    }

    pub(super) fn role(&self) -> Role {
        match &self.stored_name() {
            DOT => Role::Own,
            DOTS => Role::Above,
            _ => Role::Entry,
        }
    }

    fn fields(&self) -> Fields<'_> {
        Fields { bytes: &self.bytes, what: "directory entry" }
    }
}

/// Returns a date and a time of day as the kernel counts them, impossible ones too (`fat_time_fat2unix`).
fn time(date: u16, time: u16) -> Timestamp {
    /// Days of a year before a month; months are numbered in four bits.
    const DAYS: [i64; 16] = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 0, 0, 0];
    /// From 1970 to 1980.
    const DAYS_BEFORE: i64 = 10 * 365 + 2;
    /// The first year of a fourth kind that has no day more.
    const YEAR_2100: i64 = 120;
    let year = i64::from(date >> 9);
    let month = usize::from(date >> 5 & 0xf).max(1);
    let mut leap_days = (year + 3) / 4 - i64::from(year > YEAR_2100);
    leap_days += i64::from(year % 4 == 0 && year != YEAR_2100 && month > 2);
    let days = year * 365 + leap_days + DAYS[month] + i64::from((date & 0x1f).max(1) - 1) + DAYS_BEFORE;
    let seconds = i64::from(time >> 11) * 3600 + i64::from(time >> 5 & 0x3f) * 60 + i64::from(time & 0x1f) * 2;
    Timestamp { seconds: days * 86_400 + seconds, nanos: 0 }
}

/// What came of the parts of a long name so far.
struct Long {
    units: [u16; PARTS_MAX as usize * PART_UNITS],
    parts: u8,
    /// The part that has to come next; at 0 the short entry.
    next: u8,
    checksum: u8,
}

/// Puts entries together, slot by slot.
#[derive(Default)]
pub(super) struct Parser {
    long: Option<Box<Long>>,
}

impl Parser {
    /// Takes the next slot; returns the entry with its name if it ends one. `.` and `..` come with the names that they have.
    pub(super) fn push(&mut self, slot: &Slot) -> Option<Vec<u8>> {
        let is_part = slot.attributes() == PART;
        match self.long.take() {
            Some(mut long) if long.next > 0 && is_part => {
                if slot.bytes[0] & !LAST_PART != long.next || slot.bytes[13] != long.checksum {
                    return self.begin(slot);
                }
                long.next -= 1;
                long.put(slot);
                self.long = Some(long);
                None
            }
            Some(long) if long.next == 0 && slot.bytes[0] != GONE => {
                if is_part {
                    return self.begin(slot);
                }
                if slot.is_free() || slot.attributes() & VOLUME != 0 {
                    return None;
                }
                if names::checksum(&slot.stored_name()) != long.checksum {
                    return short(slot);
                }
                Some(names::long(&long.units[..usize::from(long.parts) * PART_UNITS]))
            }
            Some(long) if long.next == 0 => None,
            _ if slot.bytes[0] == GONE => None,
            _ if is_part => self.begin(slot),
            _ if slot.is_free() || slot.attributes() & VOLUME != 0 => None,
            _ => short(slot),
        }
    }

    /// Takes a part as the first of a name.
    fn begin(&mut self, slot: &Slot) -> Option<Vec<u8>> {
        let parts = slot.bytes[0] & !LAST_PART;
        if slot.bytes[0] & LAST_PART != 0 && (1..=PARTS_MAX).contains(&parts) {
            let units = [0; PARTS_MAX as usize * PART_UNITS];
            let mut long = Box::new(Long { units, parts, next: parts - 1, checksum: slot.bytes[13] });
            long.put(slot);
            self.long = Some(long);
        }
        None
    }
}

impl Long {
    /// Puts the units of a part where they belong: `next` was counted down to it.
    fn put(&mut self, slot: &Slot) {
        let from = usize::from(self.next) * PART_UNITS;
        let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
        for (unit, at) in self.units[from..].iter_mut().zip(places) {
            *unit = u16::from_le_bytes([slot.bytes[at], slot.bytes[at + 1]]);
        }
        // As the kernel does, also where the bit is set in the midst of a name.
        if slot.bytes[0] & LAST_PART != 0
            && let Some(end) = self.units.get_mut(from + PART_UNITS)
        {
            *end = 0;
        }
    }
}

fn short(slot: &Slot) -> Option<Vec<u8>> {
    let name = names::short(&slot.stored_name(), slot.bytes[12]);
    (!name.is_empty()).then_some(name)
}
