//! Whether what a bitmap does not call dirty is as it was: where it is not, the bitmap lies, and what it says is worth nothing.
//!
//! A bitmap may have been cleared, made anew, switched off, be of another disk, or count from another moment than is believed; nothing
//! that a server says of it tells. What can be looked at is the disk: what is not dirty has the bytes of the generation before. All that
//! the server calls zeros is compared, since the bytes of before lie here, and of the rest pieces: where something was written lately, the
//! ends of the disk, and some at random.
//!
//! Promises: reads little ([`PIECES_MAX`]) from the server. Finds no proof of a bitmap: only of the contrary.

use crate::model::Layer;
use crate::source::block::nbd::{self, Chunk, Client};
use crate::store::{Disk, DiskMap};
use crate::sys::random::random;
use std::io;

/// A list of runs: offset and length, sorted, with gaps between.
type Runs = Vec<(u64, u64)>;

/// What is compared at once, in bytes: the grain of QEMU's dirty bitmaps.
const PIECE_BYTES: u64 = 64 << 10;
/// Pieces that are read from the server, of each sort: what was written lately, what was nothing before, and any.
const PIECES_MAX: usize = 96;
/// What is read of the generation before where the server tells zeros, in bytes.
const ZERO_BYTES_MAX: u64 = 1 << 30;

/// Returns why `dirty` is not what changed since the disk of `layers`, if that shows; `zero` is what the server calls zeros.
///
/// # Errors
/// Those of the server.
pub(super) fn disprove(
    client: &mut Client,
    layers: &[Layer],
    dirty: &[(u64, u64)],
    zero: &[(u64, u64)],
) -> Result<Option<String>, nbd::Error> {
    let then = match DiskMap::of(layers) {
        Ok(map) => Disk::of(map),
        Err(e) => return Ok(Some(format!("the generation before cannot be read: {}", crate::model::chain(&e)))),
    };
    let end = then.map().size_bytes().min(client.size_bytes());
    let clean = without(&[(0, end)], dirty);
    let was_data: Runs = then.map().data().collect();
    let mut left = ZERO_BYTES_MAX;
    for (from, length) in common(&common(&clean, zero), &was_data) {
        let length = length.min(left);
        left -= length;
        if let Some(found) = first_difference(&then, from, length, None) {
            return Ok(Some(found));
        }
    }
    let there = without(&clean, zero);
    let lately: Runs = layers
        .first()
        .map_or_else(Vec::new, |layer| layer.extents.iter().map(|extent| (extent.offset, extent.length)).collect());
    let mut pieces = pieces_of(&common(&there, &lately));
    pieces.extend(pieces_of(&without(&there, &was_data)));
    pieces.extend(pieces_of(&common(&there, &was_data)));
    pieces.extend(common(&there, &[(0, PIECE_BYTES.min(end))]));
    pieces.extend(common(&there, &[(end.saturating_sub(PIECE_BYTES), PIECE_BYTES.min(end))]));
    pieces.sort_unstable();
    let mut from = 0;
    pieces.retain(|(offset, length)| {
        let is_new = *offset >= from;
        from = if is_new { offset + length } else { from };
        is_new
    });
    let mut found = None;
    client.read(pieces.into_iter(), |at, chunk| {
        let difference = match chunk {
            Chunk::Hole(length) => first_difference(&then, at, length, None),
            Chunk::Data(bytes) => first_difference(&then, at, bytes.len() as u64, Some(bytes)),
        };
        found = found.take().or(difference);
        Ok::<(), io::Error>(())
    })?;
    Ok(found)
}

/// Returns where `now` (none: zeros) differs from the disk, in words.
fn first_difference(then: &Disk, from: u64, length: u64, now: Option<&[u8]>) -> Option<String> {
    let mut was = vec![0; PIECE_BYTES as usize];
    for at in (from..from + length).step_by(PIECE_BYTES as usize) {
        let wanted = (from + length - at).min(PIECE_BYTES) as usize;
        let was = &mut was[..wanted];
        if let Err(e) = then.read_at(was, at) {
            return Some(format!("the generation before cannot be read: {}", crate::model::chain(&e)));
        }
        let is_same = match now {
            None => was.iter().all(|byte| *byte == 0),
            Some(now) => now[(at - from) as usize..][..wanted] == *was,
        };
        if !is_same {
            return Some(format!("{wanted} bytes at byte {at} are not dirty, and others than they were"));
        }
    }
    None
}

/// Returns up to [`PIECES_MAX`] pieces of `runs`, at random.
fn pieces_of(runs: &[(u64, u64)]) -> Runs {
    let count = |length: u64| length.div_ceil(PIECE_BYTES);
    let all: u64 = runs.iter().map(|(_, length)| count(*length)).sum();
    let mut numbers: Vec<u64> = match all <= PIECES_MAX as u64 {
        true => (0..all).collect(),
        // One of each of as many parts, so that nothing large is left out.
        false => {
            let part = all / PIECES_MAX as u64;
            (0..PIECES_MAX as u64).map(|number| number * part + random() % part).collect()
        }
    };
    numbers.sort_unstable();
    numbers.dedup();
    let (mut pieces, mut before, mut next) = (Vec::new(), 0, numbers.into_iter().peekable());
    for (offset, length) in runs {
        let here = count(*length);
        while let Some(number) = next.next_if(|number| *number < before + here) {
            let from = (number - before) * PIECE_BYTES;
            pieces.push((offset + from, (length - from).min(PIECE_BYTES)));
        }
        before += here;
    }
    pieces
}

/// Returns what is in both; the second may have overlaps.
fn common(one: &[(u64, u64)], other: &[(u64, u64)]) -> Runs {
    let mut out = Vec::new();
    let mut first = 0;
    for (offset, length) in one {
        let end = offset + length;
        while first < other.len() && other[first].0 + other[first].1 <= *offset {
            first += 1;
        }
        for (from, length) in other[first..].iter().take_while(|(from, _)| *from < end) {
            let (from, until) = ((*from).max(*offset), (from + length).min(end));
            out.push((from, until - from));
        }
    }
    out
}

/// Returns what is in the first and not in the second.
fn without(one: &[(u64, u64)], other: &[(u64, u64)]) -> Runs {
    let mut out = Vec::new();
    let mut first = 0;
    for (offset, length) in one {
        let (mut at, end) = (*offset, offset + length);
        while first < other.len() && other[first].0 + other[first].1 <= at {
            first += 1;
        }
        for (from, length) in other[first..].iter().take_while(|(from, _)| *from < end) {
            if at < *from {
                out.push((at, from - at));
            }
            at = (from + length).max(at).min(end);
        }
        if at < end {
            out.push((at, end - at));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_by_others() {
        let (one, other) = ([(0, 10), (20, 10)], [(5, 3), (9, 15), (28, 100)]);
        assert_eq!(common(&one, &other), [(5, 3), (9, 1), (20, 4), (28, 2)]);
        assert_eq!(without(&one, &other), [(0, 5), (8, 1), (24, 4)]);
        assert_eq!(without(&one, &[]), one);
        assert_eq!(common(&one, &[]), []);
    }

    #[test]
    fn pieces_are_of_the_runs_and_all_of_them_where_they_are_few() {
        let runs = [(0, PIECE_BYTES + 1), (PIECE_BYTES * 10, 5)];
        assert_eq!(pieces_of(&runs), [(0, PIECE_BYTES), (PIECE_BYTES, 1), (PIECE_BYTES * 10, 5)]);
        let many = pieces_of(&[(7, PIECE_BYTES * 1000)]);
        assert!(!many.is_empty() && many.len() <= PIECES_MAX);
        assert!(many.iter().all(|(offset, length)| (offset - 7) % PIECE_BYTES == 0 && *length == PIECE_BYTES));
    }
}
