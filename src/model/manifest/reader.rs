//! Reading a manifest, of either format, as a stream of edits.
//!
//! Promises: nothing is believed: each block and each edit is held against what can be (`blocks`, `edits`). The end is given only
//! if number, checksum and the end of the file are as they must be.

use super::blocks::{Columns, Hashed};
use super::columns::{MAGIC, WINDOW_LOG_MAX};
use super::lines::Lines;
use super::record::JsonHeader;
use super::{Edit, End, Error, Header};
use std::io::{self, BufRead, BufReader, Read};

/// Reads a manifest: the header at once, then edits one by one, the end last.
pub struct Reader<R: Read> {
    header: Header,
    body: Body<R>,
    has_failed: bool,
}

enum Body<R: Read> {
    Columns(Box<Columns<R>>),
    Lines(Box<Lines<R>>),
}

impl<R: Read> Reader<R> {
    /// Begins to read a manifest.
    ///
    /// # Errors
    /// [`Error`].
    pub fn new(input: R) -> Result<Self, Error> {
        let mut zstd = zstd::Decoder::new(input).map_err(Error::Io)?;
        zstd.window_log_max(WINDOW_LOG_MAX).map_err(Error::Io)?;
        let mut input = BufReader::new(zstd);
        let first = input.fill_buf().map_err(|e| begin_error(&e))?.first().copied();
        if first == Some(b'{') {
            let (header, lines) = Lines::new(input)?;
            return Ok(Self { header, body: Body::Lines(Box::new(lines)), has_failed: false });
        }
        let mut input = Hashed { input, hasher: blake3::Hasher::new() };
        let mut magic = [0; MAGIC.len()];
        input.fill(&mut magic).map_err(|e| begin_error(&e))?;
        if magic != MAGIC {
            let text = std::str::from_utf8(&magic).ok().and_then(|text| text.strip_prefix("asof manifest "));
            let format = text.and_then(|text| text.split('\n').next()?.parse().ok());
            return Err(format.map_or(Error::NotOne, |found| Error::TooNew { found }));
        }
        let mut columns = Columns::new(input);
        let json: JsonHeader = columns.json()?;
        let header = json.header().ok_or(Error::Damaged { edits: 0, what: "its header says what cannot be" })?;
        columns.sequence = header.sequence;
        Ok(Self { header, body: Body::Columns(Box::new(columns)), has_failed: false })
    }

    /// Returns the header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the next edit, none after the last. None is given only if the manifest is whole.
    ///
    /// # Errors
    /// [`Error`]; then nothing more can be read.
    pub fn next_edit(&mut self) -> Result<Option<Edit<'_>>, Error> {
        if self.has_failed {
            return Err(Error::Damaged { edits: 0, what: "what follows an error is not read" });
        }
        let edit = match &mut self.body {
            Body::Columns(columns) => columns.next_edit(),
            Body::Lines(lines) => lines.next_edit(),
        };
        self.has_failed = edit.is_err();
        edit
    }

    /// Returns the end, once all edits were read.
    pub fn end(&self) -> Option<&End> {
        match &self.body {
            Body::Columns(columns) => columns.end.as_ref(),
            Body::Lines(lines) => lines.end(),
        }
    }

    /// Reads on to the end, and returns it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn skip_to_end(&mut self, mut each: impl FnMut(&Edit<'_>)) -> Result<End, Error> {
        while let Some(edit) = self.next_edit()? {
            each(&edit);
        }
        Ok(*self.end().expect("the last edit was read"))
    }
}

/// What an error before the first edit means: what zstd does not know is no manifest.
fn begin_error(e: &io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => Error::EndsEarly { edits: 0 },
        _ if e.raw_os_error().is_some() => Error::Io(io::Error::from_raw_os_error(e.raw_os_error().unwrap_or(0))),
        _ => Error::NotOne,
    }
}
