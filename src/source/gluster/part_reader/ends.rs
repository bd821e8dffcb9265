//! The two ends of a part without its middle: its header and its end mark.
//! Lines in between are counted and not understood.

use super::error::Error;
use super::line::{READ_BYTES, parse_line, read_line};
use super::reader::PartReader;
use crate::source::gluster::part::{End, Header, Line};
use crate::sys::read::{Links, open_regular};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Returns the header and the end mark of the part at `path`.
///
/// Lines in between are counted, not understood: a part that passes may still hold one that [`PartReader`] refuses.
/// Cost: one pass over the file, and its last line a second time.
///
/// # Errors
/// As [`PartReader::open`]; [`Error::Cut`] if the last line is no end mark or has no line feed; [`Error::Count`].
pub fn load_ends(path: &Path) -> Result<(Header, End), Error> {
    let mut file =
        open_regular(path, Links::Followed).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    // Before all of it is read, which may be anything.
    let header = PartReader::new(BufReader::new(&file), path)?.header;
    let unreadable = |line: u64| move |source| Error::Read { path: path.to_owned(), line, source };
    file.rewind().map_err(unreadable(1))?;
    let tail = find_last_line(&mut file).map_err(unreadable(1))?;
    let cut = || Error::Cut { path: path.to_owned(), lines: tail.lines };
    if !tail.is_complete || tail.lines < 2 {
        return Err(cut());
    }
    file.seek(SeekFrom::Start(tail.start)).map_err(unreadable(tail.lines))?;
    let mut buffer = Vec::new();
    read_line(&mut BufReader::new(&file), &mut buffer, path, tail.lines)?;
    match parse_line(&buffer, path, tail.lines)? {
        Line::End(end) if end.lines == tail.lines - 1 => Ok((header, end)),
        Line::End(end) => Err(Error::Count { path: path.to_owned(), found: tail.lines - 1, expected: end.lines }),
        _ => Err(cut()),
    }
}

/// Where the last line of a file is.
struct Tail {
    /// Whole lines.
    lines: u64,
    /// The byte at which the last whole line begins.
    start: u64,
    /// No bytes follow it.
    is_complete: bool,
}

fn find_last_line(file: &mut File) -> io::Result<Tail> {
    let mut block = vec![0; READ_BYTES];
    let mut tail = Tail { lines: 0, start: 0, is_complete: true };
    let (mut at, mut after_last) = (0_u64, 0_u64);
    loop {
        let got = match file.read(&mut block) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let bytes = &block[..got];
        tail.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        if let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') {
            let before = bytes[..last].iter().rposition(|byte| *byte == b'\n');
            tail.start = before.map_or(after_last, |before| at + before as u64 + 1);
            after_last = at + last as u64 + 1;
        }
        at += got as u64;
        tail.is_complete = after_last == at;
    }
    Ok(tail)
}
