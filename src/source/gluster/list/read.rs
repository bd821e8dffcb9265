//! Reads a list, record by record.
//!
//! Promises: a record that is not understood is handed over as an [`Anomaly`] and never dropped. Memory: one record, at
//! most [`RECORD_BYTES_MAX`].

use super::encoding::decode;
use super::format::{Change, Form, Format, Record, Word};
use std::io::{self, BufRead, Read};

/// The longest record that is read, in bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// A record of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// One that is understood.
    Change {
        /// What it says.
        change: Change,
        /// A path holds what the encoding does not make: a blank, or a `%` before something else than `25`, `20`
        /// or `0A`. Such bytes were kept; the list may be one that was not encoded.
        unsure: bool,
    },
    /// One that is not.
    Anomaly(Anomaly),
}

/// A record that is not understood: most often the rest of a name that was broken in two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// The record, from 1. Of lines, the line; of NUL-terminated records, every anomaly counts as one.
    pub record: u64,
    /// What stands there, without its end.
    pub bytes: Vec<u8>,
    /// Why it is not understood.
    pub why: Why,
}

/// Why a record is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not begin with `NEW`, `MODIFY`, `RENAME` or `DELETE`. What follows it in a NUL-terminated list may be out
    /// of step.
    NoWord,
    /// A path is empty.
    NoPath,
    /// A rename without two names, or with more separators than one between them.
    NotTwoNames,
    /// A path does not begin with the prefix.
    NotBelowPrefix,
    /// The list ends inside of it.
    CutOff,
    /// It is no JSON of ours.
    NotJson,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoWord => "begins with none of NEW, MODIFY, RENAME, DELETE",
            Self::NoPath => "names no path",
            Self::NotTwoNames => "is a rename that cannot be split into two names",
            Self::NotBelowPrefix => "names a path that does not begin with the prefix",
            Self::CutOff => "is cut off by the end of the list",
            Self::NotJson => "is not a change in JSON",
        })
    }
}

/// Why reading a list ends early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused a read.
    #[error("cannot read the list at record {record}")]
    Read {
        /// The record, from 1.
        record: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A record without an end.
    #[error("record {record} of the list is longer than {RECORD_BYTES_MAX} bytes")]
    TooLong {
        /// The record, from 1.
        record: u64,
    },
}

/// The records of a list, as an iterator; after an error there are none. Memory: one record.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    format: Format,
    record: u64,
    is_through: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads `input`, which was written in `format`.
    pub fn new(input: R, format: Format) -> Self {
        Self { input, format, record: 0, is_through: false }
    }

    fn read_record(&mut self) -> Result<Option<Item>, Error> {
        self.record += 1;
        let end = match self.format.form {
            Form::Encoded | Form::Plain | Form::Json => b'\n',
            Form::Nul => b'\0',
        };
        let Some(field) = self.read_field(end)? else { return Ok(None) };
        let parsed = match (self.format.form, field.is_whole) {
            (_, false) => Err((Why::CutOff, field.bytes)),
            (Form::Encoded | Form::Plain, true) => parse_line(&self.format, field.bytes),
            (Form::Json, true) => parse_json(&self.format, field.bytes),
            (Form::Nul, true) => self.read_nul_rest(field.bytes)?,
        };
        Ok(Some(match parsed {
            Ok((change, unsure)) => Item::Change { change, unsure },
            Err((why, bytes)) => Item::Anomaly(Anomaly { record: self.record, bytes, why }),
        }))
    }

    /// Reads the paths that follow `word`.
    fn read_nul_rest(&mut self, word: Vec<u8>) -> Result<Parsed, Error> {
        let Some(known) = Word::ALL.into_iter().find(|known| known.bytes() == word) else {
            return Ok(Err((Why::NoWord, word)));
        };
        let (mut bytes, mut paths) = (word, Vec::new());
        for _ in 0..known.paths() {
            bytes.push(b'\0');
            let Some(field) = self.read_field(b'\0')? else { return Ok(Err((Why::CutOff, bytes))) };
            bytes.extend_from_slice(&field.bytes);
            if !field.is_whole {
                return Ok(Err((Why::CutOff, bytes)));
            }
            paths.push(field.bytes);
        }
        Ok(make(&self.format, known, paths).map(|change| (change, false)).map_err(|why| (why, bytes)))
    }

    /// Returns the bytes up to the next `end`; none at the end of the input.
    fn read_field(&mut self, end: u8) -> Result<Option<Field>, Error> {
        let record = self.record;
        let mut bytes = Vec::new();
        (&mut self.input)
            .take(RECORD_BYTES_MAX as u64 + 1)
            .read_until(end, &mut bytes)
            .map_err(|source| Error::Read { record, source })?;
        let is_whole = bytes.last() == Some(&end);
        if is_whole {
            bytes.pop();
        } else if bytes.len() > RECORD_BYTES_MAX {
            return Err(Error::TooLong { record });
        } else if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Field { bytes, is_whole }))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Result<Item, Error>> {
        if self.is_through {
            return None;
        }
        let next = self.read_record().transpose();
        self.is_through = !matches!(next, Some(Ok(_)));
        next
    }
}

struct Field {
    bytes: Vec<u8>,
    /// Its end was there.
    is_whole: bool,
}

/// A change and whether it is unsure, or why there is none and what stood there.
type Parsed = Result<(Change, bool), (Why, Vec<u8>)>;

fn parse_line(format: &Format, line: Vec<u8>) -> Parsed {
    let after = |word: Word| line.strip_prefix(word.bytes())?.strip_prefix(format.separator.as_slice());
    let Some((word, rest)) = Word::ALL.into_iter().find_map(|word| Some((word, after(word)?))) else {
        return Err((Why::NoWord, line));
    };
    let fields = match word {
        Word::New | Word::Modify | Word::Delete => vec![rest],
        Word::Rename => split(rest, &format.separator),
    };
    if fields.len() != word.paths() {
        return Err((Why::NotTwoNames, line));
    }
    let mut unsure = false;
    let mut paths = Vec::new();
    for field in fields {
        paths.push(match format.form {
            Form::Encoded => {
                let (path, is_odd) = decode(field);
                unsure |= is_odd;
                path
            }
            Form::Plain | Form::Nul | Form::Json => field.to_owned(),
        });
    }
    make(format, word, paths).map(|change| (change, unsure)).map_err(|why| (why, line))
}

fn parse_json(format: &Format, line: Vec<u8>) -> Parsed {
    let Ok(record) = serde_json::from_slice::<Record>(&line) else { return Err((Why::NotJson, line)) };
    let paths: Vec<Vec<u8>> = record.old_path.into_iter().chain([record.path]).map(|text| text.0).collect();
    if paths.len() != record.what.paths() {
        return Err((Why::NotTwoNames, line));
    }
    make(format, record.what, paths).map(|change| (change, false)).map_err(|why| (why, line))
}

/// Returns the change that `word` and its paths are; there are as many as it takes.
fn make(format: &Format, word: Word, paths: Vec<Vec<u8>>) -> Result<Change, Why> {
    let mut bare = Vec::new();
    for path in paths {
        if path.is_empty() {
            return Err(Why::NoPath);
        }
        match format.without_prefix(path) {
            Some(path) if path.is_empty() => return Err(Why::NoPath),
            Some(path) => bare.push(path),
            None => return Err(Why::NotBelowPrefix),
        }
    }
    let mut bare = bare.into_iter();
    match (word, bare.next(), bare.next()) {
        (Word::New, Some(path), None) => Ok(Change::New(path)),
        (Word::Modify, Some(path), None) => Ok(Change::Modify(path)),
        (Word::Delete, Some(path), None) => Ok(Change::Delete(path)),
        (Word::Rename, Some(from), Some(to)) => Ok(Change::Rename { from, to }),
        _ => Err(Why::NotTwoNames),
    }
}

/// Splits at every `separator`, which is not empty.
pub(super) fn split<'a>(mut bytes: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut fields = Vec::new();
    while let Some(at) = bytes.windows(separator.len()).position(|window| window == separator) {
        fields.push(&bytes[..at]);
        bytes = &bytes[at + separator.len()..];
    }
    fields.push(bytes);
    fields
}
