//! Records of the log, read out of the ring.
//!
//! Promises: a record that is given out is whole: its checksum holds, and the bytes that the cycle numbers hid are back.

use super::super::super::bytes::{self, Fields};
use super::super::super::{Device, Error};
use super::super::volume::{SECTOR, Volume};
use std::sync::Arc;

/// `XLOG_HEADER_MAGIC_NUM`.
const MAGIC: u32 = 0xfeed_babe;
/// So many bytes of data have their cycle data in one sector of header (`XLOG_HEADER_CYCLE_SIZE`).
const DATA_PER_HEADER: u64 = 32 * 1024;
/// `XLOG_MAX_RECORD_BSIZE`.
const RECORD_MAX_BYTES: u64 = 256 * 1024;
const CYCLE_DATA_AT: usize = 44;
const CYCLE_DATA_BYTES: usize = 256;
const CRC_AT: usize = 32;
/// The checksum covers `struct xlog_rec_header`, which 64-bit machines pad and i386 does not.
const HEADER_BYTES: [usize; 2] = [328, 324];
/// `XLOG_FMT_LINUX_LE`.
const FORMAT_LITTLE_ENDIAN: u32 = 1;
/// How many sectors are looked through at once.
const SCAN_SECTORS: u64 = 512;

/// The ring of sectors.
pub(super) struct Log {
    device: Arc<dyn Device>,
    at: u64,
    /// How many sectors it has.
    pub(super) sectors: u64,
    /// Records of up to 256 KiB; else up to 32 KiB.
    pub(super) v2: bool,
    checksums: bool,
    uuid: [u8; 16],
}

/// The header of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    version: u32,
    /// How many bytes of data it has.
    length: u64,
    /// Its own place: cycle and sector.
    pub(super) lsn: u64,
    /// The place of the oldest record that is needed when this one is the newest.
    pub(super) tail_lsn: u64,
    crc: u32,
    /// How many operations it has.
    pub(super) operations: u32,
    format: u32,
    uuid: [u8; 16],
    /// How large the buffer was that it was written from.
    pub(super) size: u64,
}

/// A whole record.
pub(super) struct LogRecord {
    /// Its header.
    pub(super) header: Header,
    /// Its data, as it was before the cycle numbers were put in.
    pub(super) data: Vec<u8>,
}

impl Header {
    /// Takes a sector apart; none if no record begins there.
    fn parse(sector: &[u8]) -> Result<Option<Self>, Error> {
        let fields = Fields { bytes: sector, what: "log record" };
        if fields.be32(0)? != MAGIC {
            return Ok(None);
        }
        Ok(Some(Self {
            version: fields.be32(8)?,
            length: u64::from(fields.be32(12)?),
            lsn: fields.be64(16)?,
            tail_lsn: fields.be64(24)?,
            crc: fields.le32(CRC_AT)?,
            operations: fields.be32(40)?,
            format: fields.be32(300)?,
            uuid: fields.slice(304, 16)?.try_into().expect("16 bytes"),
            size: u64::from(fields.be32(320)?),
        }))
    }

    /// Returns how many sectors the header has.
    pub(super) fn header_sectors(&self, v2: bool) -> u64 {
        if v2 && self.version & 2 != 0 { self.size.div_ceil(DATA_PER_HEADER).max(1) } else { 1 }
    }

    /// Returns how many sectors the record has.
    pub(super) fn sectors(&self, v2: bool) -> u64 {
        self.header_sectors(v2) + self.length.div_ceil(SECTOR)
    }

    fn is_possible(&self, v2: bool) -> bool {
        let versions = [1, 2, 3].contains(&self.version);
        let room = self.header_sectors(v2) * DATA_PER_HEADER;
        versions && self.size <= RECORD_MAX_BYTES && (1..=room).contains(&self.length)
    }
}

impl Log {
    /// Returns the log of a volume, as it lies on its device.
    pub(super) fn new(volume: &Volume) -> Self {
        let superblock = volume.superblock();
        Self {
            device: volume.device(),
            at: superblock.log_at,
            sectors: superblock.log_blocks * superblock.block_bytes / SECTOR,
            v2: superblock.log_v2,
            checksums: superblock.v5,
            uuid: superblock.uuid,
        }
    }

    /// Reads sectors, round the end if need be.
    pub(super) fn read(&self, sector: u64, count: u64) -> Result<Vec<u8>, Error> {
        let from = sector % self.sectors;
        let before_end = count.min(self.sectors - from);
        let mut bytes = bytes::read(self.device.as_ref(), self.at + from * SECTOR, before_end * SECTOR)?;
        if before_end < count {
            bytes.extend(bytes::read(self.device.as_ref(), self.at, (count - before_end).min(self.sectors) * SECTOR)?);
        }
        Ok(bytes)
    }

    /// Returns the header at a sector, if a record begins there.
    pub(super) fn header(&self, sector: u64) -> Result<Option<Header>, Error> {
        Header::parse(&self.read(sector, 1)?)
    }

    /// Returns the cycle in which a sector was written.
    pub(super) fn cycle(&self, sector: u64) -> Result<u32, Error> {
        Ok(cycle_of(&self.read(sector, 1)?))
    }

    /// Returns the first sector of `from..until` that was written in `cycle`.
    pub(super) fn find_cycle(&self, from: u64, until: u64, cycle: u32) -> Result<Option<u64>, Error> {
        self.find(from, until, |sector| cycle_of(sector) == cycle)
    }

    /// Returns the first sector of `from..until` where a record begins.
    pub(super) fn find_header(&self, from: u64, until: u64) -> Result<Option<u64>, Error> {
        self.find(from, until, is_header)
    }

    fn find(&self, from: u64, until: u64, is_it: impl Fn(&[u8]) -> bool) -> Result<Option<u64>, Error> {
        for start in (from..until).step_by(SCAN_SECTORS as usize) {
            let bytes = self.read(start, SCAN_SECTORS.min(until - start))?;
            if let Some(found) = bytes.chunks_exact(SECTOR as usize).position(&is_it) {
                return Ok(Some(start + found as u64));
            }
        }
        Ok(None)
    }

    /// Returns the last sectors of `from..until` where records begin, at most `count`, the last first.
    pub(super) fn find_headers_back(&self, from: u64, until: u64, count: usize) -> Result<Vec<u64>, Error> {
        let mut found = Vec::new();
        let mut end = until;
        while end > from && found.len() < count {
            let start = end.saturating_sub(SCAN_SECTORS).max(from);
            let bytes = self.read(start, end - start)?;
            let headers = bytes.chunks_exact(SECTOR as usize).enumerate().rev().filter(|(_, sector)| is_header(sector));
            found.extend(headers.map(|(index, _)| start + index as u64).take(count - found.len()));
            end = start;
        }
        Ok(found)
    }

    /// Calls `each` for every record from sector `from` until sector `until`, round the end if need be. Stops at the first
    /// record that is not whole, and returns its sector.
    pub(super) fn walk(
        &self,
        from: u64,
        until: u64,
        each: &mut dyn FnMut(&LogRecord) -> Result<(), Error>,
    ) -> Result<Option<u64>, Error> {
        let distance = self.distance(from, until);
        let mut done = 0;
        while done < distance {
            let sector = (from + done) % self.sectors;
            let Some(record) = self.record(sector, distance - done)? else {
                return Ok(Some(sector));
            };
            done += record.header.sectors(self.v2);
            each(&record)?;
        }
        Ok(None)
    }

    /// Returns how many sectors lie between two places, forward.
    pub(super) fn distance(&self, from: u64, until: u64) -> u64 {
        if until >= from { until - from } else { self.sectors - from + until }
    }

    /// Reads the record at a sector; none if it is not whole or longer than `room`.
    fn record(&self, sector: u64, room: u64) -> Result<Option<LogRecord>, Error> {
        let Some(header) = self.header(sector)? else {
            return Ok(None);
        };
        if !header.is_possible(self.v2) || header.sectors(self.v2) > room {
            return Ok(None);
        }
        let mut headers = self.read(sector, header.sectors(self.v2))?;
        let mut data = headers.split_off((header.header_sectors(self.v2) * SECTOR) as usize);
        if !self.is_whole(&header, &headers, &data) {
            return Ok(None);
        }
        self.check_origin(&header)?;
        unpack(&headers, &mut data);
        data.truncate(header.length as usize);
        Ok(Some(LogRecord { header, data }))
    }

    /// Tells whether the checksum holds (`xlog_cksum`): of the header, of so many of the others as the data need (a buffer has more
    /// where it was not filled), and of the data. Version 4 may have none; the kernel takes that as good too.
    fn is_whole(&self, header: &Header, headers: &[u8], data: &[u8]) -> bool {
        if header.crc == 0 && !self.checksums {
            return true;
        }
        let size = SECTOR as usize;
        HEADER_BYTES.iter().any(|header_bytes| {
            let first = crc32c::crc32c_append(crc32c::crc32c(&headers[..CRC_AT]), &[0; 4]);
            let first = crc32c::crc32c_append(first, &headers[CRC_AT + 4..*header_bytes]);
            let needed = header.length.div_ceil(DATA_PER_HEADER) as usize;
            let others = headers.chunks_exact(size).take(needed).skip(1);
            let all = others.fold(first, |crc, other| crc32c::crc32c_append(crc, &other[..4 + CYCLE_DATA_BYTES]));
            crc32c::crc32c_append(all, &data[..header.length as usize]) == header.crc
        })
    }

    fn check_origin(&self, header: &Header) -> Result<(), Error> {
        if header.format != FORMAT_LITTLE_ENDIAN {
            return Err(Error::Unsupported("the log was written by a big-endian machine; freeze the guest".to_owned()));
        }
        if header.uuid != self.uuid {
            return Err(Error::Damaged("the log belongs to another file system".to_owned()));
        }
        Ok(())
    }
}

/// Puts back what the cycle numbers hid (`xlog_unpack_data`): the first header has it from byte 44 on, the others from 4 on.
fn unpack(headers: &[u8], data: &mut [u8]) {
    let per_header = CYCLE_DATA_BYTES / 4;
    for (index, sector) in data.chunks_exact_mut(SECTOR as usize).enumerate() {
        let start = index / per_header * SECTOR as usize + if index < per_header { CYCLE_DATA_AT } else { 4 };
        let at = start + index % per_header * 4;
        if let Some(hidden) = headers.get(at..at + 4) {
            sector[..4].copy_from_slice(hidden);
        }
    }
}

fn is_header(sector: &[u8]) -> bool {
    sector.starts_with(&MAGIC.to_be_bytes())
}

/// A header has its magic number where other sectors have their cycle; its own cycle comes next.
fn cycle_of(sector: &[u8]) -> u32 {
    let at = if is_header(sector) { 4 } else { 0 };
    sector.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("4 bytes")))
}
