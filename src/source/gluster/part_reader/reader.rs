//! A part from its header to its end mark, line by line.
//! When it is through without an error, the part was whole.

use super::error::Error;
use super::line::{READ_BYTES, excerpt, parse_header, parse_line, read_line};
use crate::source::gluster::part::{End, Header, Line};
use crate::sys::read::{Links, open_regular};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The lines of a part between its header and its end mark.
///
/// An iterator. When it is through without an error, the part was whole and [`PartReader::end`] tells its end mark.
#[derive(Debug)]
pub struct PartReader<R> {
    input: R,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Lines that were read, the header included.
    lines: u64,
    pub(super) header: Header,
    end: Option<End>,
    is_through: bool,
}

impl PartReader<BufReader<File>> {
    /// Opens the part at `path` and reads its header.
    ///
    /// # Errors
    /// [`Error::Open`], and those of [`PartReader::new`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file =
            open_regular(path, Links::Followed).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        Self::new(BufReader::with_capacity(READ_BYTES, file), path)
    }
}

impl<R: BufRead> PartReader<R> {
    /// Reads the header of a part; `path` is its name for errors.
    ///
    /// # Errors
    /// [`Error::NotAPart`] if the first line is something else, [`Error::Format`] if another version wrote it,
    /// [`Error::Cut`] if there is no whole line, [`Error::Read`].
    pub fn new(mut input: R, path: &Path) -> Result<Self, Error> {
        let mut buffer = Vec::new();
        if !read_line(&mut input, &mut buffer, path, 1)? {
            return Err(Error::Cut { path: path.to_owned(), lines: 0 });
        }
        let header = parse_header(&buffer, path)?;
        Ok(Self { input, path: path.to_owned(), buffer, lines: 1, header, end: None, is_through: false })
    }

    /// Returns what the part is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the end mark; none before the iterator is through, and none if that was with an error.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    fn read_next(&mut self) -> Result<Option<Line>, Error> {
        let at = self.lines + 1;
        if !read_line(&mut self.input, &mut self.buffer, &self.path, at)? {
            return Err(Error::Cut { path: self.path.clone(), lines: self.lines });
        }
        match parse_line(&self.buffer, &self.path, at)? {
            Line::Part(_) => Err(self.order(at, "a header only in the first line")),
            Line::End(end) if end.lines == self.lines => {
                let has_more = read_line(&mut self.input, &mut self.buffer, &self.path, at + 1)?;
                if has_more || !self.buffer.is_empty() {
                    return Err(self.order(at + 1, "nothing after the end mark"));
                }
                self.end = Some(end);
                Ok(None)
            }
            Line::End(end) => Err(Error::Count { path: self.path.clone(), found: self.lines, expected: end.lines }),
            line => {
                self.lines = at;
                Ok(Some(line))
            }
        }
    }

    fn order(&self, line: u64, expected: &'static str) -> Error {
        Error::Order { path: self.path.clone(), line, found: excerpt(&self.buffer), expected }
    }
}

impl<R: BufRead> Iterator for PartReader<R> {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Result<Line, Error>> {
        if self.is_through {
            return None;
        }
        let next = self.read_next().transpose();
        self.is_through = !matches!(next, Some(Ok(_)));
        next
    }
}
