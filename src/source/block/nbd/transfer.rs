//! Requests and what the server answers to them.
//!
//! Promises: an answer belongs to a request that is under way, lies inside of it, and tells no byte twice; at the end of an
//! answer all of its bytes were told. Requests keep to the block sizes of the export; what they take beyond a range for that
//! is not passed on.

use super::error::Error;
use super::export::{Chunk, Status};
use super::handshake::word;
use super::session::Session;
use super::wire;
use crate::model::escape_bytes;
use crate::source::block::bytes::Fields;
use std::collections::BTreeMap;
use std::io;

/// Requests under way at a time.
const REQUESTS_MAX: usize = 16;

/// What one reading request asks for, if the server's blocks allow.
const READ_BYTES: u64 = 1 << 20;

/// What one request for status asks for.
const STATUS_BYTES: u64 = 1 << 30;

/// The longest answer to that; QEMU sends no more than 64 KiB.
const STATUS_REPLY_BYTES_MAX: u32 = 8 << 20;

/// The longest error: a number, a text, a place.
const ERROR_BYTES_MAX: u32 = 64 << 10;

/// Runs with gaps between them in which the bytes of one request may come; a server that answers by sectors needs 2048.
const RUNS_MAX: usize = 4096;

const SIMPLE_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_MAGIC: u32 = 0x668e_33ef;

const CHUNK_DONE: u16 = 1;
const CHUNK_NONE: u16 = 0;
const CHUNK_DATA: u16 = 1;
const CHUNK_HOLE: u16 = 2;
const CHUNK_STATUS: u16 = 5;
const CHUNK_IS_ERROR: u16 = 1 << 15;

/// The head of an answer.
enum Head {
    Simple { error: u32, handle: u64 },
    Chunk { is_last: bool, kind: u16, handle: u64, length: u32 },
}

/// A reading request under way.
struct Request {
    /// What was asked for.
    start: u64,
    end: u64,
    /// What of it is wanted.
    from: u64,
    until: u64,
    /// What has come: sorted, with gaps between.
    told: Vec<(u64, u64)>,
}

impl Request {
    /// Notes that `at..at + length` came, unless it is not of this request or came before.
    fn tell(&mut self, at: u64, length: u64) -> Result<(), Error> {
        let end = at.checked_add(length).filter(|end| length > 0 && at >= self.start && *end <= self.end);
        let index = self.told.partition_point(|(start, _)| *start < at);
        let (before, behind) = self.told.split_at(index);
        let is_free = |end: u64| {
            before.last().is_none_or(|(_, last)| *last <= at) && behind.first().is_none_or(|(next, _)| *next >= end)
        };
        let Some(end) = end.filter(|end| is_free(*end)) else {
            let (start, asked) = (self.start, self.end - self.start);
            return Err(Error::Protocol(format!(
                "{length} bytes at byte {at} came, not asked for or for the second time, for {asked} bytes at byte {start}"
            )));
        };
        match self.told[..index].last_mut() {
            Some(last) if last.1 == at => last.1 = end,
            _ => self.told.insert(index, (at, end)),
        }
        if self.told.len() > RUNS_MAX {
            return Err(Error::Protocol(format!("one answer has more than {RUNS_MAX} runs")));
        }
        Ok(())
    }

    fn check_whole(&self) -> Result<(), Error> {
        let told: u64 = self.told.iter().map(|(start, end)| end - start).sum();
        if told == self.end - self.start {
            return Ok(());
        }
        let (start, asked) = (self.start, self.end - self.start);
        Err(Error::Protocol(format!("of {asked} bytes at byte {start} only {told} came")))
    }

    /// Returns what is wanted of a run: from where until where.
    fn wanted(&self, at: u64, length: u64) -> Option<(u64, u64)> {
        let (from, until) = (at.max(self.from), (at + length).min(self.until));
        (from < until).then_some((from, until))
    }

    fn failed(&self, why: String) -> Error {
        Error::Failed { offset: self.start, length: self.end - self.start, why }
    }
}

/// Cuts ranges into requests.
struct Plan<I> {
    ranges: I,
    /// What is left of the range in hand: from where until where.
    rest: (u64, u64),
}

impl<I: Iterator<Item = (u64, u64)>> Plan<I> {
    fn next(&mut self, session: &Session) -> Result<Option<Request>, Error> {
        while self.rest.0 >= self.rest.1 {
            let Some((offset, length)) = self.ranges.next() else {
                return Ok(None);
            };
            session.check_range(offset, length)?;
            self.rest = (offset, offset + length);
        }
        let (from, end) = self.rest;
        let request_bytes = READ_BYTES.min(u64::from(session.export.read_bytes_max));
        let (start, end) = aligned(session, from, end, request_bytes);
        let until = end.min(self.rest.1);
        self.rest.0 = until;
        Ok(Some(Request { start, end, from, until, told: Vec::new() }))
    }
}

/// Returns the blocks that `from..end` lies in, as many as `length_max` bytes take; the last may be cut by the disk's end.
fn aligned(session: &Session, from: u64, end: u64, length_max: u64) -> (u64, u64) {
    let block = u64::from(session.export.block_bytes_min);
    let start = from / block * block;
    let length = (length_max / block).max(1) * block;
    let end = end.next_multiple_of(block).min(session.export.size_bytes);
    (start, end.min(start.saturating_add(length)))
}

/// Does what [`super::Client::read`] promises.
pub(super) fn read(
    session: &mut Session,
    ranges: impl Iterator<Item = (u64, u64)>,
    mut each: impl FnMut(u64, Chunk<'_>) -> io::Result<()>,
) -> Result<(), Error> {
    let mut plan = Plan { ranges, rest: (0, 0) };
    let mut under_way = BTreeMap::new();
    let mut buffer = Vec::new();
    loop {
        while under_way.len() < REQUESTS_MAX {
            let Some(request) = plan.next(session)? else { break };
            let handle = send(session, wire::CMD_READ, request.start, request.end - request.start)?;
            under_way.insert(handle, request);
        }
        if under_way.is_empty() {
            return Ok(());
        }
        read_answer(session, &mut under_way, &mut buffer, &mut each)?;
    }
}

/// Receives one answer, or one chunk of it, to one of the requests `under_way`.
fn read_answer(
    session: &mut Session,
    under_way: &mut BTreeMap<u64, Request>,
    buffer: &mut Vec<u8>,
    each: &mut impl FnMut(u64, Chunk<'_>) -> io::Result<()>,
) -> Result<(), Error> {
    let head = receive_head(session)?;
    let (Head::Simple { handle, .. } | Head::Chunk { handle, .. }) = head;
    let Some(request) = under_way.get_mut(&handle) else {
        return Err(unknown_handle(handle));
    };
    let is_last = match head {
        Head::Simple { .. } if session.export.structured => {
            return Err(unexpected("a simple answer to a reading request"));
        }
        Head::Simple { error: 0, .. } => {
            read_data(session, request, request.start, request.end - request.start, buffer, each)?;
            true
        }
        Head::Simple { error, .. } => return Err(request.failed(reason(error, ""))),
        Head::Chunk { is_last, kind: CHUNK_NONE, length: 0, .. } => is_last,
        Head::Chunk { is_last, kind: CHUNK_DATA, length, .. } => {
            let at = u64::from_be_bytes(session.wire.receive(DOING)?);
            let length = length.checked_sub(8).ok_or_else(|| unexpected("a chunk of data without its place"))?;
            read_data(session, request, at, u64::from(length), buffer, each)?;
            is_last
        }
        Head::Chunk { is_last, kind: CHUNK_HOLE, length: 12, .. } => {
            let at = u64::from_be_bytes(session.wire.receive(DOING)?);
            let length = u64::from(u32::from_be_bytes(session.wire.receive(DOING)?));
            request.tell(at, length)?;
            if let Some((from, until)) = request.wanted(at, length) {
                each(from, Chunk::Hole(until - from)).map_err(|source| Error::Taker { offset: from, source })?;
            }
            is_last
        }
        Head::Chunk { kind, length, .. } if kind & CHUNK_IS_ERROR != 0 => {
            let why = receive_error(session, length)?;
            return Err(request.failed(why));
        }
        Head::Chunk { kind, length, .. } => {
            return Err(unexpected(&format!("a chunk of kind {kind} and {length} bytes to a reading request")));
        }
    };
    if is_last {
        request.check_whole()?;
        under_way.remove(&handle);
    }
    Ok(())
}

const DOING: &str = "reading";

/// Receives bytes of the disk, which are no more than the request asked for: [`Request::tell`] looked before.
fn read_data(
    session: &mut Session,
    request: &mut Request,
    at: u64,
    length: u64,
    buffer: &mut Vec<u8>,
    each: &mut impl FnMut(u64, Chunk<'_>) -> io::Result<()>,
) -> Result<(), Error> {
    request.tell(at, length)?;
    buffer.resize(length as usize, 0);
    session.wire.fill(buffer, DOING)?;
    if let Some((from, until)) = request.wanted(at, length) {
        let wanted = &buffer[(from - at) as usize..(until - at) as usize];
        each(from, Chunk::Data(wanted)).map_err(|source| Error::Taker { offset: from, source })?;
    }
    Ok(())
}

/// Does what [`super::Client::status`] promises, for the context of number `id`.
pub(super) fn status(
    session: &mut Session,
    id: u32,
    offset: u64,
    length: u64,
    mut each: impl FnMut(Status),
) -> Result<(), Error> {
    let end = offset + length;
    let mut next = offset;
    while next < end {
        let (start, until) = aligned(session, next, end, STATUS_BYTES);
        let (asked, mut at) = (next, start);
        for (length, flags) in status_of(session, id, start, until - start)? {
            let told = at + u64::from(length);
            let clipped = told.min(until).min(end);
            if clipped > next {
                each(Status { offset: next, length: clipped - next, flags });
                next = clipped;
            }
            at = told;
        }
        if next == asked {
            return Err(unexpected("a status that does not reach what was asked for"));
        }
    }
    Ok(())
}

/// Returns the lengths and flags that one request brings; they may end before what was asked for, or behind it.
fn status_of(session: &mut Session, id: u32, offset: u64, length: u64) -> Result<Vec<(u32, u32)>, Error> {
    const DOING: &str = "telling what is allocated or dirty";
    let wanted = send(session, wire::CMD_BLOCK_STATUS, offset, length)?;
    let failed = |why| Error::Failed { offset, length, why };
    let mut found = None;
    loop {
        let (is_last, kind, handle, payload_bytes) = match receive_head(session)? {
            Head::Chunk { is_last, kind, handle, length } => (is_last, kind, handle, length),
            Head::Simple { error, handle } if handle == wanted && error != 0 => return Err(failed(reason(error, ""))),
            Head::Simple { .. } => return Err(unexpected("a simple answer to a request for status")),
        };
        if handle != wanted {
            return Err(unknown_handle(handle));
        }
        match kind {
            CHUNK_NONE if payload_bytes == 0 => {}
            CHUNK_STATUS => {
                let payload = session.wire.receive_payload(payload_bytes, STATUS_REPLY_BYTES_MAX, DOING)?;
                let fields = Fields { bytes: &payload, what: "status" };
                if word(fields.be32(0))? == id && found.replace(extents(fields)?).is_some() {
                    return Err(unexpected("two answers for one context"));
                }
            }
            kind if kind & CHUNK_IS_ERROR != 0 => return Err(failed(receive_error(session, payload_bytes)?)),
            kind => return Err(unexpected(&format!("a chunk of kind {kind} to a request for status"))),
        }
        if is_last {
            return found.ok_or_else(|| unexpected("no answer for the context that was asked for"));
        }
    }
}

fn extents(payload: Fields<'_>) -> Result<Vec<(u32, u32)>, Error> {
    let (pairs, rest) = payload.bytes.get(4..).unwrap_or_default().as_chunks::<8>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(unexpected(&format!("a status of {} bytes", payload.bytes.len())));
    }
    let extents = pairs.iter().map(|pair| {
        let pair = Fields { bytes: pair, what: "extent" };
        match (word(pair.be32(0))?, word(pair.be32(4))?) {
            (0, _) => Err(unexpected("an extent of no bytes")),
            extent => Ok(extent),
        }
    });
    extents.collect()
}

fn send(session: &mut Session, command: u16, offset: u64, length: u64) -> Result<u64, Error> {
    let handle = session.next_handle;
    session.next_handle += 1;
    let size = session.export.size_bytes;
    let length = u32::try_from(length).map_err(|_| Error::Range { offset, length, size })?;
    session.wire.send(&wire::request(command, handle, offset, length), "asking")?;
    Ok(handle)
}

fn receive_head(session: &mut Session) -> Result<Head, Error> {
    const DOING: &str = "it should answer";
    match u32::from_be_bytes(session.wire.receive(DOING)?) {
        SIMPLE_MAGIC => {
            let error = u32::from_be_bytes(session.wire.receive(DOING)?);
            Ok(Head::Simple { error, handle: u64::from_be_bytes(session.wire.receive(DOING)?) })
        }
        STRUCTURED_MAGIC if session.export.structured => {
            let head = session.wire.receive::<16>(DOING)?;
            let fields = Fields { bytes: &head, what: "answer" };
            let (flags, kind) = (word(fields.be16(0))?, word(fields.be16(2))?);
            let (handle, length) = (word(fields.be64(4))?, word(fields.be32(12))?);
            Ok(Head::Chunk { is_last: flags & CHUNK_DONE != 0, kind, handle, length })
        }
        magic => Err(unexpected(&format!("an answer that begins with {magic:#010x}"))),
    }
}

/// Receives the reason of an error and returns it as text.
fn receive_error(session: &mut Session, length: u32) -> Result<String, Error> {
    let payload = session.wire.receive_payload(length, ERROR_BYTES_MAX, "telling an error")?;
    let fields = Fields { bytes: &payload, what: "error" };
    let (number, text_bytes) = (word(fields.be32(0))?, word(fields.be16(4))?);
    let text = word(fields.slice(6, usize::from(text_bytes)))?;
    Ok(reason(number, &escape_bytes(text)))
}

/// The numbers of the protocol are those of Linux.
fn reason(number: u32, text: &str) -> String {
    let meaning = io::Error::from_raw_os_error(number as i32);
    if text.is_empty() { meaning.to_string() } else { format!("{text}: {meaning}") }
}

fn unknown_handle(handle: u64) -> Error {
    unexpected(&format!("an answer to request {handle}, which is not under way"))
}

fn unexpected(what: &str) -> Error {
    Error::Protocol(format!("{what} came"))
}
