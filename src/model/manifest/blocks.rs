//! The blocks of a manifest of format 2 while they are read, and what stands in their columns.
//!
//! Promises: each length is held against what there is before anything is made as long; memory follows what was really there.

use super::columns::*;
use super::record::{self, JsonEnd};
use super::stream::{Unpacked, stream_error};
use super::{End, Error};
use crate::model::{DiskRow, VolumeRow, XattrSet};
use std::io::{self, BufRead, Read};
use std::ops::Range;

/// The unpacked stream, with the digest of what was read of it.
pub(super) struct Hashed<R: Read> {
    pub(super) input: Unpacked<R>,
    pub(super) hasher: blake3::Hasher,
}

impl<R: Read> Hashed<R> {
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(buffer)?;
        self.hasher.update(buffer);
        Ok(())
    }

    /// Reads `length` bytes behind those of `buffer`, which grows only as they come.
    pub(super) fn append(&mut self, buffer: &mut Vec<u8>, length: usize) -> io::Result<()> {
        let from = buffer.len();
        let read = (&mut self.input).take(length as u64).read_to_end(buffer)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.hasher.update(&buffer[from..]);
        Ok(())
    }
}

/// A manifest of format 2.
pub(super) struct Columns<R: Read> {
    pub(super) input: Hashed<R>,
    /// The block, column after column.
    pub(super) block: Vec<u8>,
    /// What is left of each column.
    pub(super) left: [Range<usize>; COLUMNS],
    pub(super) in_block: u64,
    pub(super) edits: u64,
    pub(super) sequence: u64,
    pub(super) last: Last,
    pub(super) permissions: Vec<(u32, u32, u32, u64)>,
    pub(super) sets: Vec<XattrSet>,
    pub(super) set_bytes: usize,
    pub(super) now: Option<(u32, u32, u32, u64)>,
    pub(super) none: XattrSet,
    pub(super) held: DiskRow,
    pub(super) volume: VolumeRow,
    pub(super) end: Option<End>,
}

impl<R: Read> Columns<R> {
    pub(super) fn new(input: Hashed<R>) -> Self {
        Self {
            input,
            block: Vec::new(),
            left: Default::default(),
            in_block: 0,
            edits: 0,
            sequence: 0,
            last: Last::default(),
            permissions: Vec::new(),
            sets: Vec::new(),
            set_bytes: 0,
            now: None,
            none: XattrSet::default(),
            held: DiskRow::default(),
            volume: VolumeRow::default(),
            end: None,
        }
    }

    pub(super) fn damaged(&self, what: &'static str) -> Error {
        Error::Damaged { edits: self.edits, what }
    }

    pub(super) fn stream<T>(&self, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|e| stream_error(e, self.edits))
    }

    /// Reads a number that stands between blocks.
    pub(super) fn plain_number(&mut self) -> Result<u64, Error> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            let read = self.input.fill(&mut byte);
            self.stream(read)?;
            number |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.damaged("a number has no end"))
    }

    pub(super) fn json<T: for<'a> serde::Deserialize<'a>>(&mut self) -> Result<T, Error> {
        let length = self.plain_number()?;
        if length > JSON_BYTES_MAX as u64 {
            return Err(self.damaged("a record is too long"));
        }
        let mut bytes = Vec::new();
        let read = self.input.append(&mut bytes, length as usize);
        self.stream(read)?;
        record::from_json(&bytes).ok_or_else(|| self.damaged("a record is not what it must be"))
    }

    /// Reads the next block; false: the end was read, and all is well.
    pub(super) fn begin_block(&mut self) -> Result<bool, Error> {
        let before = *self.input.hasher.finalize().as_bytes();
        let mut tag = [0];
        let read = self.input.fill(&mut tag);
        self.stream(read)?;
        if tag[0] == END {
            self.read_end(before)?;
            return Ok(false);
        }
        if tag[0] != BLOCK {
            return Err(self.damaged("what follows is neither a block nor the end"));
        }
        let count = self.plain_number()?;
        if count == 0 || count > BLOCK_EDITS {
            return Err(self.damaged("a block has too many edits, or none"));
        }
        let mut total = 0_usize;
        for column in 0..COLUMNS {
            let length = usize::try_from(self.plain_number()?).unwrap_or(usize::MAX);
            let end = total.saturating_add(length);
            if end > BLOCK_BYTES_MAX {
                return Err(self.damaged("a block is too long"));
            }
            self.left[column] = total..end;
            total = end;
        }
        self.block.clear();
        let read = self.input.append(&mut self.block, total);
        self.stream(read)?;
        self.in_block = count;
        Ok(true)
    }

    pub(super) fn read_end(&mut self, before: [u8; 32]) -> Result<(), Error> {
        let json: JsonEnd = self.json()?;
        let end = json.end().ok_or_else(|| self.damaged("its end says what cannot be"))?;
        if end.edits != self.edits {
            return Err(self.damaged("its end counts another number of edits"));
        }
        if end.checksum != before {
            return Err(self.damaged("its checksum is another one"));
        }
        let more = self.input.input.fill_buf().map(|left| !left.is_empty());
        if self.stream(more)? {
            return Err(self.damaged("something follows its end"));
        }
        self.end = Some(end);
        Ok(())
    }

    pub(super) fn byte(&mut self, column: usize) -> Result<u8, Error> {
        let at = self.left[column].next().ok_or_else(|| self.damaged("a column ends early"))?;
        Ok(self.block[at])
    }

    pub(super) fn flag(&mut self) -> Result<bool, Error> {
        match self.byte(WORDS)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.damaged("a yes or no is neither")),
        }
    }

    pub(super) fn number(&mut self, column: usize) -> Result<u64, Error> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(column)?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.damaged("a number has no end"))
    }

    pub(super) fn small(&mut self, column: usize) -> Result<u32, Error> {
        let number = self.number(column)?;
        u32::try_from(number).map_err(|_| self.damaged("a number is too large"))
    }

    /// Takes so many bytes of a column.
    pub(super) fn take(&mut self, column: usize, length: u64) -> Result<Range<usize>, Error> {
        let left = &mut self.left[column];
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > left.len() {
            return Err(self.damaged("a column ends early"));
        }
        let from = left.start;
        left.start += length;
        Ok(from..from + length)
    }

    pub(super) fn bytes(&mut self) -> Result<Range<usize>, Error> {
        let length = self.number(LENGTHS)?;
        self.take(BYTES, length)
    }

    pub(super) fn text(&self, range: Range<usize>) -> Result<&str, Error> {
        std::str::from_utf8(&self.block[range]).map_err(|_| self.damaged("text is not UTF-8"))
    }
}
