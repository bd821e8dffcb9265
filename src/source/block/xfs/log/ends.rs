//! Where the part of the log lies that counts: from the oldest record that is still needed to behind the newest.
//!
//! Promises: the same ends that the kernel finds (`xlog_find_tail`): what was being written when the copy was made is left
//! out, be it torn, out of order or half; a break further back is damage.

use super::super::super::Error;
use super::super::volume::SECTOR;
use super::record::{Header, Log};

/// So many buffers may be on their way to the log at once (`XLOG_MAX_ICLOGS`).
const BUFFERS_MAX: u64 = 8;
const UNMOUNT_FLAG: u8 = 0x20;
const FLAGS_AT: usize = 9;

/// Sectors of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Where the oldest record that is needed begins.
    pub(super) tail: u64,
    /// Where the newest record ends.
    pub(super) head: u64,
}

/// Finds the ends; none if there is nothing to replay.
pub(super) fn find(log: &Log) -> Result<Option<Ends>, Error> {
    let Some(head) = find_head(log)? else {
        return Ok(None);
    };
    let newest = newest_before(log, head, head)?;
    if is_unmount(log, newest, head)? {
        return Ok(None);
    }
    let tail = tail_of(log, &header_at(log, newest)?)?;
    let Some(ends) = cut_torn_head(log, Ends { tail, head })? else {
        return Ok(None);
    };
    if ends.tail == ends.head { Ok(None) } else { cut_overwritten_tail(log, ends).map(Some) }
}

/// Returns where the next record would go (`xlog_find_head`); none if nothing was ever written.
fn find_head(log: &Log) -> Result<Option<u64>, Error> {
    let (first, last) = (log.cycle(0)?, log.cycle(log.sectors - 1)?);
    if first == 0 {
        return Ok(None);
    }
    let scan = log.sectors.min(BUFFERS_MAX * record_sectors(log));
    if last == 0 {
        let guess = search_cycle(log, 0)?;
        let start = guess.saturating_sub(scan);
        let head = log.find_cycle(start, guess, 0)?.unwrap_or(guess);
        return whole_records_end(log, start, head, 0)?.ok_or_else(no_header).map(Some);
    }
    // The sectors behind the head were written in the cycle before; of several such places the first counts, because
    // writes may reach the disk out of order.
    let (guess, stop) =
        if first == last { (log.sectors, last.wrapping_sub(1)) } else { (search_cycle(log, last)?, last) };
    let head = if guess >= scan {
        log.find_cycle(guess - scan, guess, stop)?.unwrap_or(guess)
    } else {
        let start = log.sectors - (scan - guess);
        match log.find_cycle(start, log.sectors, stop.wrapping_sub(1))? {
            Some(hole) => hole,
            None => log.find_cycle(0, guess, stop)?.unwrap_or(guess),
        }
    };
    Ok(Some(whole_head(log, head)? % log.sectors))
}

/// Returns the size of the largest record there can be (`XLOG_REC_SHIFT`).
fn record_sectors(log: &Log) -> u64 {
    if log.v2 { 512 } else { 64 }
}

/// Finds by halves the first sector that was written in `cycle`, which the last one was and the first was not.
fn search_cycle(log: &Log, cycle: u32) -> Result<u64, Error> {
    let (mut before, mut found) = (0, log.sectors - 1);
    while before + 1 < found {
        let middle = (before + found) / 2;
        if log.cycle(middle)? == cycle {
            found = middle;
        } else {
            before = middle;
        }
    }
    Ok(found)
}

/// Moves the head back if it lies inside a record that was not written to its end.
fn whole_head(log: &Log, head: u64) -> Result<u64, Error> {
    let scan = record_sectors(log).min(log.sectors);
    if head >= scan {
        return whole_records_end(log, head - scan, head, 0)?.ok_or_else(no_header);
    }
    if let Some(head) = whole_records_end(log, 0, head, 0)? {
        return Ok(head);
    }
    let start = log.sectors - (scan - head);
    let end = whole_records_end(log, start, log.sectors, head)?.ok_or_else(no_header)?;
    Ok(if end == log.sectors { head } else { end })
}

/// Returns `end` if the last record that begins in `start..end` ends there (or `beyond` sectors round the end of the log),
/// else where it begins; none if none begins there.
fn whole_records_end(log: &Log, start: u64, end: u64, beyond: u64) -> Result<Option<u64>, Error> {
    let Some(last) = log.find_headers_back(start, end, 1)?.first().copied() else {
        return Ok(None);
    };
    let is_whole = end - last + beyond == header_at(log, last)?.sectors(log.v2);
    Ok(Some(if is_whole { end } else { last }))
}

/// Returns the newest `count` records before `head`, the newest first, back to `tail` at most (`xlog_rseek_logrec_hdr`).
fn records_before(log: &Log, head: u64, tail: u64, count: usize) -> Result<Vec<u64>, Error> {
    if head > tail {
        return log.find_headers_back(tail, head, count);
    }
    let mut found = log.find_headers_back(0, head, count)?;
    found.extend(log.find_headers_back(tail, log.sectors, count - found.len())?);
    Ok(found)
}

fn newest_before(log: &Log, head: u64, tail: u64) -> Result<u64, Error> {
    records_before(log, head, tail, 1)?.first().copied().ok_or_else(no_header)
}

fn header_at(log: &Log, sector: u64) -> Result<Header, Error> {
    log.header(sector)?.ok_or_else(no_header)
}

fn tail_of(log: &Log, header: &Header) -> Result<u64, Error> {
    let tail = header.tail_lsn & u64::from(u32::MAX);
    if tail >= log.sectors {
        return Err(Error::Damaged(format!("the log has {} sectors, and its oldest record is at {tail}", log.sectors)));
    }
    Ok(tail)
}

/// Tells whether the record at `newest` says that the file system was unmounted, and nothing comes after it.
fn is_unmount(log: &Log, newest: u64, head: u64) -> Result<bool, Error> {
    let header = header_at(log, newest)?;
    if header.operations != 1 || (newest + header.sectors(log.v2)) % log.sectors != head {
        return Ok(false);
    }
    let data = newest + header.header_sectors(log.v2);
    Ok(log.read(data, 1)?.get(FLAGS_AT).is_some_and(|flags| flags & UNMOUNT_FLAG != 0))
}

/// Leaves out the records at the head from the first one on that is torn (`xlog_verify_head`): so many as may have been on
/// their way. None if what is left was unmounted.
fn cut_torn_head(log: &Log, ends: Ends) -> Result<Option<Ends>, Error> {
    let on_their_way = records_before(log, ends.head, ends.tail, BUFFERS_MAX as usize)?;
    let oldest = *on_their_way.last().ok_or_else(no_header)?;
    let Some(torn) = log.walk(oldest, ends.head, &mut |_| Ok(()))? else {
        return Ok(Some(ends));
    };
    let newest = newest_before(log, torn, ends.tail)?;
    if is_unmount(log, newest, torn)? {
        return Ok(None);
    }
    Ok(Some(Ends { tail: tail_of(log, &header_at(log, newest)?)?, head: torn }))
}

/// Leaves out the records at the tail that a torn write went over (`xlog_verify_tail`): they were no longer needed, or it
/// would not have begun there.
fn cut_overwritten_tail(log: &Log, ends: Ends) -> Result<Ends, Error> {
    let newest = header_at(log, newest_before(log, ends.head, ends.tail)?)?;
    let reach = (BUFFERS_MAX * newest.size).div_ceil(SECTOR);
    let mut tail = next_record(log, ends.tail, ends.head)?;
    while let Some(broken) = log.walk(tail, ends.head, &mut |_| Ok(()))? {
        if log.distance(ends.head, broken) > reach {
            return Err(Error::Damaged(format!("the log record at sector {broken} of the log is broken")));
        }
        tail = next_record(log, (broken + 1) % log.sectors, ends.head)?;
    }
    Ok(Ends { tail, ..ends })
}

/// Returns where the first record from `from` on begins, before `head`.
fn next_record(log: &Log, from: u64, head: u64) -> Result<u64, Error> {
    let found = if from < head {
        log.find_header(from, head)?
    } else {
        match log.find_header(from, log.sectors)? {
            Some(found) => Some(found),
            None => log.find_header(0, head)?,
        }
    };
    found.ok_or_else(no_header)
}

fn no_header() -> Error {
    Error::Damaged("the log has no record where one should be".to_owned())
}
