//! One line of a part: how it is read, and what it says.
//! Memory: the line, at most [`LINE_BYTES_MAX`].

use super::error::{Error, LINE_BYTES_MAX};
use crate::model::escape_bytes;
use crate::source::gluster::part::{FORMAT, Header, Line};
use serde::Deserialize;
use std::io::{BufRead, Read};
use std::path::Path;

/// Bytes that one read of the file takes.
pub(super) const READ_BYTES: usize = 256 << 10;

/// Reads a line into `buffer`, without its line feed. Returns false, with what was there in `buffer`, if the input
/// ends before a line feed.
pub(super) fn read_line(input: &mut impl BufRead, buffer: &mut Vec<u8>, path: &Path, line: u64) -> Result<bool, Error> {
    buffer.clear();
    input.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', buffer).map_err(|source| Error::Read {
        path: path.to_owned(),
        line,
        source,
    })?;
    match buffer.pop() {
        Some(b'\n') => Ok(true),
        Some(_) if buffer.len() >= LINE_BYTES_MAX => Err(Error::TooLong { path: path.to_owned(), line }),
        Some(last) => {
            buffer.push(last);
            Ok(false)
        }
        None => Ok(false),
    }
}

/// What every version has in its first line.
#[derive(Deserialize)]
struct AnyHeader {
    part: AnyFormat,
}

#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
    asof: String,
}

pub(super) fn parse_header(bytes: &[u8], path: &Path) -> Result<Header, Error> {
    let not_a_part = || Error::NotAPart { path: path.to_owned(), found: Some(excerpt(bytes)) };
    let AnyHeader { part: AnyFormat { format, asof } } = serde_json::from_slice(bytes).map_err(|_| not_a_part())?;
    if format != FORMAT {
        return Err(Error::Format { path: path.to_owned(), format, asof });
    }
    match parse_line(bytes, path, 1)? {
        Line::Part(header) => Ok(header),
        _ => Err(not_a_part()),
    }
}

pub(super) fn parse_line(bytes: &[u8], path: &Path, line: u64) -> Result<Line, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Line {
        path: path.to_owned(),
        line,
        found: excerpt(bytes),
        source,
    })
}

/// Returns how a line begins, for a person.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 60;
    match bytes.get(..SHOWN_BYTES) {
        Some(begin) => format!("{}...", escape_bytes(begin)),
        None => escape_bytes(bytes).into_owned(),
    }
}
