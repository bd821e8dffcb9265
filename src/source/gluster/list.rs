//! Lists of changes in the form of `glusterfind`, to be read by what users already run, and read from what they already have.
//!
//! Promises: everything is bytes, no name is lost or joined with another; a record that is not understood is handed
//! over as an [`Anomaly`] and never dropped. What is written encoded, NUL-terminated or as JSON is read back as it was.
//! Never takes a list for the truth: glusterfind's own are wrong in known ways (a name with a comma comes as
//! several lines, of which some look whole), so a path that was read is a place to look at. A prefix helps: only
//! the first of such lines begins with it.
//!
//! # Forms
//!
//! | form | record | unambiguous |
//! | --- | --- | --- |
//! | [`Form::Encoded`] | `NEW p`, `MODIFY p`, `RENAME p q`, `DELETE p`, and a line feed | yes, with the separator " " |
//! | [`Form::Plain`] (`--no-encode`) | the same | no: blanks and line feeds in names |
//! | [`Form::Nul`] | `NEW`, NUL, `p`, NUL; `RENAME`, NUL, `p`, NUL, `q`, NUL | yes |
//! | [`Form::Json`] | `{"what":"rename","path":"q","old_path":"p"}` and a line feed | yes |
//!
//! The encoding is that of `tools/glusterfind/src/utils.py`: `%` is `%25`, blank `%20`, line feed `%0A`, every other
//! byte stands for itself. In JSON, what is not plain UTF-8 is escaped as in [`crate::model::escape_bytes`].

use super::part::Text;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};

/// The longest record that is read, in bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// A change, by paths below the top of the volume, without a slash at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A name that was not there.
    New(Vec<u8>),
    /// Bytes or attributes changed.
    Modify(Vec<u8>),
    /// A node that moved.
    Rename {
        /// The name that it had.
        from: Vec<u8>,
        /// The name that it has.
        to: Vec<u8>,
    },
    /// A name that is not there any more.
    Delete(Vec<u8>),
}

/// What a list looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lines, `%`, blank and line feed in names encoded: glusterfind's own.
    Encoded,
    /// Lines, names as they are: its `--no-encode`.
    Plain,
    /// NUL-terminated fields.
    Nul,
    /// JSON lines.
    Json,
}

/// How a list is written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    form: Form,
    separator: Vec<u8>,
    prefix: Option<Vec<u8>>,
}

/// Why there can be no such format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Fields could not be told apart.
    #[error("the field separator is empty")]
    EmptySeparator,
    /// Records could not be told apart.
    #[error("the field separator holds a line feed")]
    LineFeed,
}

impl Format {
    /// Returns the format of glusterfind's options `--field-separator` (" " by default; lines only) and
    /// `--output-prefix` (none, or what stands before every path, with a slash in between).
    ///
    /// # Errors
    /// [`FormatError`] if `separator` cannot separate.
    pub fn new(form: Form, separator: &[u8], prefix: Option<&[u8]>) -> Result<Self, FormatError> {
        if separator.is_empty() {
            return Err(FormatError::EmptySeparator);
        }
        if separator.contains(&b'\n') {
            return Err(FormatError::LineFeed);
        }
        Ok(Self { form, separator: separator.to_owned(), prefix: prefix.map(<[u8]>::to_owned) })
    }

    /// Writes one record. Paths may not be empty, nor hold a NUL (no path does).
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write, change: &Change) -> io::Result<()> {
        let (word, first, second) = match change {
            Change::New(path) => (Word::New, path, None),
            Change::Modify(path) => (Word::Modify, path, None),
            Change::Rename { from, to } => (Word::Rename, from, Some(to)),
            Change::Delete(path) => (Word::Delete, path, None),
        };
        let (first, second) = (self.with_prefix(first), second.map(|path| self.with_prefix(path)));
        match self.form {
            Form::Json => {
                let (path, old_path) = match second {
                    Some(to) => (Text(to), Some(Text(first))),
                    None => (Text(first), None),
                };
                serde_json::to_writer(&mut *out, &Record { what: word, path, old_path })?;
                out.write_all(b"\n")
            }
            Form::Nul => {
                for field in [Some(word.bytes()), Some(&first), second.as_deref()].into_iter().flatten() {
                    out.write_all(field)?;
                    out.write_all(b"\0")?;
                }
                Ok(())
            }
            Form::Encoded | Form::Plain => {
                out.write_all(word.bytes())?;
                for path in [Some(first), second].into_iter().flatten() {
                    out.write_all(&self.separator)?;
                    match self.form {
                        Form::Encoded => out.write_all(&encode(&path))?,
                        Form::Plain | Form::Nul | Form::Json => out.write_all(&path)?,
                    }
                }
                out.write_all(b"\n")
            }
        }
    }

    /// Returns the bytes that `line`, a line that is the rest of a name of `change`, adds to that name: what follows the
    /// same word and the separator; none if it begins with another word, or with none.
    pub(super) fn rest_after_word(&self, change: &Change, line: &[u8]) -> Option<Vec<u8>> {
        let word = match change {
            Change::New(_) => Word::New,
            Change::Modify(_) => Word::Modify,
            Change::Rename { .. } => Word::Rename,
            Change::Delete(_) => Word::Delete,
        };
        Some(self.decoded(line.strip_prefix(word.bytes())?.strip_prefix(self.separator.as_slice())?))
    }

    /// Returns the path that a field of a line is.
    pub(super) fn decoded(&self, field: &[u8]) -> Vec<u8> {
        match self.form {
            Form::Encoded => decode(field).0,
            Form::Plain | Form::Nul | Form::Json => field.to_owned(),
        }
    }

    fn with_prefix(&self, path: &[u8]) -> Vec<u8> {
        match self.prefix.as_deref() {
            None => path.to_owned(),
            Some(prefix) => [prefix.strip_suffix(b"/").unwrap_or(prefix), b"/", path].concat(),
        }
    }

    /// Returns what follows the prefix; none if something else stands there.
    fn without_prefix(&self, path: Vec<u8>) -> Option<Vec<u8>> {
        match self.prefix.as_deref() {
            None => Some(path),
            Some(prefix) => {
                let rest = path.strip_prefix(prefix.strip_suffix(b"/").unwrap_or(prefix))?;
                Some(rest.strip_prefix(b"/")?.to_owned())
            }
        }
    }
}

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

/// A JSON record.
#[derive(Serialize, Deserialize)]
struct Record {
    what: Word,
    path: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    old_path: Option<Text>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    New,
    Modify,
    Rename,
    Delete,
}

impl Word {
    const ALL: [Self; 4] = [Self::New, Self::Modify, Self::Rename, Self::Delete];

    fn bytes(self) -> &'static [u8] {
        match self {
            Self::New => b"NEW",
            Self::Modify => b"MODIFY",
            Self::Rename => b"RENAME",
            Self::Delete => b"DELETE",
        }
    }

    /// How many paths follow it.
    fn paths(self) -> usize {
        match self {
            Self::New | Self::Modify | Self::Delete => 1,
            Self::Rename => 2,
        }
    }
}

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
fn split<'a>(mut bytes: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut fields = Vec::new();
    while let Some(at) = bytes.windows(separator.len()).position(|window| window == separator) {
        fields.push(&bytes[..at]);
        bytes = &bytes[at + separator.len()..];
    }
    fields.push(bytes);
    fields
}

/// Encodes a path as glusterfind does.
pub fn encode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'%' => out.extend_from_slice(b"%25"),
            b' ' => out.extend_from_slice(b"%20"),
            b'\n' => out.extend_from_slice(b"%0A"),
            byte => out.push(*byte),
        }
    }
    out
}

/// Decodes what [`encode`] made, and tells whether something else was in it, which is kept as it is.
pub fn decode(mut text: &[u8]) -> (Vec<u8>, bool) {
    let (mut out, mut is_odd) = (Vec::with_capacity(text.len()), false);
    while let Some((first, rest)) = text.split_first() {
        let byte = match text.get(..3) {
            Some(b"%25") => Some(b'%'),
            Some(b"%20") => Some(b' '),
            Some(b"%0A") => Some(b'\n'),
            _ => None,
        };
        is_odd |= byte.is_none() && matches!(first, b'%' | b' ' | b'\n');
        out.push(byte.unwrap_or(*first));
        text = if byte.is_some() { &text[3..] } else { rest };
    }
    (out, is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::escape_bytes;
    use proptest::prelude::*;

    const SEPARATED: [&str; 13] = [
        "new \"lots/before-restart\"",
        "new \"lots/while-down\"",
        "new \"lots/dir-while-down\"",
        "delete \"old/o5\"",
        "new \"old/o5\"",
        "modify \"lots/f22\"",
        "rename \"lots/f23\" \"lots/f23-while-down\"",
        "delete \"old/o2\"",
        "new \"lots/dir-while-down/c\"",
        "modify \"old/o3\"",
        "rename \"old/o4\" \"old/o5\"",
        "new \"lots/after-restart\"",
        "modify \"lots/f00\"",
    ];

    fn format(form: Form, separator: &str, prefix: Option<&str>) -> Format {
        Format::new(form, separator.as_bytes(), prefix.map(str::as_bytes)).unwrap()
    }

    fn written(format: &Format, changes: &[Change]) -> Vec<u8> {
        let mut out = Vec::new();
        changes.iter().for_each(|change| format.write(&mut out, change).unwrap());
        out
    }

    fn read(format: &Format, list: &[u8]) -> Vec<Item> {
        Reader::new(list, format.clone()).collect::<Result<_, _>>().unwrap()
    }

    fn sure(change: Change) -> Item {
        Item::Change { change, unsure: false }
    }

    /// The records of a list as text: `!` before an anomaly, `?` before what is unsure.
    fn told(format: &Format, list: &[u8]) -> Vec<String> {
        let show = |path: &[u8]| escape_bytes(path).into_owned();
        read(format, list)
            .into_iter()
            .map(|item| match item {
                Item::Anomaly(Anomaly { record, bytes, why }) => format!("!{record} \"{}\" {why}", show(&bytes)),
                Item::Change { change, unsure } => {
                    let text = match &change {
                        Change::New(path) => format!("new \"{}\"", show(path)),
                        Change::Modify(path) => format!("modify \"{}\"", show(path)),
                        Change::Rename { from, to } => format!("rename \"{}\" \"{}\"", show(from), show(to)),
                        Change::Delete(path) => format!("delete \"{}\"", show(path)),
                    };
                    if unsure { format!("?{text}") } else { text }
                }
            })
            .collect()
    }

    fn changes() -> Vec<Change> {
        vec![
            Change::New(b"a b/100%".to_vec()),
            Change::Modify(b"line\nbreak\xff".to_vec()),
            Change::Rename { from: b"old name".to_vec(), to: b"new".to_vec() },
            Change::Delete("käse,x".as_bytes().to_vec()),
        ]
    }

    #[test]
    fn every_form_is_written_as_it_is_documented() {
        let text = |form, separator, prefix| written(&format(form, separator, prefix), &changes());
        assert_eq!(
            text(Form::Encoded, " ", None),
            b"NEW a%20b/100%25\nMODIFY line%0Abreak\xff\nRENAME old%20name new\nDELETE k\xc3\xa4se,x\n"
        );
        assert_eq!(
            text(Form::Encoded, "==", Some("/snap/x y")),
            b"NEW==/snap/x%20y/a%20b/100%25\nMODIFY==/snap/x%20y/line%0Abreak\xff\n\
              RENAME==/snap/x%20y/old%20name==/snap/x%20y/new\nDELETE==/snap/x%20y/k\xc3\xa4se,x\n"
        );
        assert_eq!(
            text(Form::Plain, " ", None),
            b"NEW a b/100%\nMODIFY line\nbreak\xff\nRENAME old name new\nDELETE k\xc3\xa4se,x\n"
        );
        assert_eq!(
            text(Form::Nul, " ", Some("/s/")),
            b"NEW\0/s/a b/100%\0MODIFY\0/s/line\nbreak\xff\0RENAME\0/s/old name\0/s/new\0DELETE\0/s/k\xc3\xa4se,x\0"
        );
        assert_eq!(
            String::from_utf8(text(Form::Json, " ", None)).unwrap(),
            concat!(
                "{\"what\":\"new\",\"path\":\"a b/100%\"}\n",
                "{\"what\":\"modify\",\"path\":\"line\\\\nbreak\\\\xff\"}\n",
                "{\"what\":\"rename\",\"path\":\"new\",\"old_path\":\"old name\"}\n",
                "{\"what\":\"delete\",\"path\":\"käse,x\"}\n"
            )
        );
    }

    #[test]
    fn a_list_of_glusterfind_is_read_and_written_again_byte_for_byte() {
        let list = include_bytes!("../../../tests/data/gluster/lists/created.encoded.txt");
        let format = format(Form::Encoded, " ", None);
        let told = told(&format, list);
        assert_eq!(told.len(), 52);
        assert_eq!(told[8], "new \"new/100% sure.txt\"");
        assert_eq!(told[13], "new \"new/%20literal%0A.txt\"");
        assert_eq!(told[15], "new \"new/line\\nbreak.txt\"");
        assert_eq!(told.iter().filter(|line| !line.starts_with("new ")).count(), 0);
        let again: Vec<Change> = read(&format, list)
            .into_iter()
            .map(|item| match item {
                Item::Change { change, unsure: false } => change,
                item => panic!("{item:?}"),
            })
            .collect();
        assert_eq!(escape_bytes(&written(&format, &again)), escape_bytes(list));
    }

    #[test]
    fn a_list_with_a_separator_and_a_prefix_is_read() {
        let list = include_bytes!("../../../tests/data/gluster/lists/changed.separator.txt");
        assert_eq!(told(&format(Form::Encoded, "==", Some("/snap/x")), list), SEPARATED);
        let other = told(&format(Form::Encoded, "==", Some("/snap/y/")), list);
        assert_eq!(
            other[0],
            format!(
                "!1 \"{}\" names a path that does not begin with the prefix",
                escape_bytes(list.split(|b| *b == b'\n').next().unwrap())
            )
        );
    }

    #[test]
    fn the_rest_of_a_name_that_was_broken_is_handed_over() {
        let list = include_bytes!("../../../tests/data/gluster/lists/created.plain.txt");
        let told = told(&format(Form::Plain, " ", None), list);
        let broken: Vec<&String> = told.iter().filter(|line| line.starts_with('!')).collect();
        assert_eq!(broken, ["!17 \"break.txt\" begins with none of NEW, MODIFY, RENAME, DELETE"]);
        assert_eq!(told[15], "new \"new/line\"");
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_place() {
        let encoded = format(Form::Encoded, " ", None);
        assert_eq!(
            told(
                &encoded,
                b"NEW a b\nNEW 50%\nNEW a%0ab\nNEW\nNEW \n\nNEWS x\nRENAME a\nRENAME a b c\nRENAME a \nDELETE cut"
            ),
            [
                "?new \"a b\"",
                "?new \"50%\"",
                "?new \"a%0ab\"",
                "!4 \"NEW\" begins with none of NEW, MODIFY, RENAME, DELETE",
                "!5 \"NEW \" names no path",
                "!6 \"\" begins with none of NEW, MODIFY, RENAME, DELETE",
                "!7 \"NEWS x\" begins with none of NEW, MODIFY, RENAME, DELETE",
                "!8 \"RENAME a\" is a rename that cannot be split into two names",
                "!9 \"RENAME a b c\" is a rename that cannot be split into two names",
                "!10 \"RENAME a \" names no path",
                "!11 \"DELETE cut\" is cut off by the end of the list",
            ]
        );
        assert_eq!(
            told(&format(Form::Nul, " ", None), b"x\0NEW\0a\0NEW\0\0RENAME\0a\0b\0RENAME\0a"),
            [
                "!1 \"x\" begins with none of NEW, MODIFY, RENAME, DELETE",
                "new \"a\"",
                "!3 \"NEW\\x00\" names no path",
                "rename \"a\" \"b\"",
                "!5 \"RENAME\\x00a\" is cut off by the end of the list",
            ]
        );
        assert_eq!(
            told(
                &format(Form::Json, " ", None),
                b"{\"what\":\"new\"}\n{\"what\":\"new\",\"path\":\"a\",\"old_path\":\"b\"}\n{\"what\":\"rename\",\"path\":\"a\"}\n"
            ),
            [
                "!1 \"{\"what\":\"new\"}\" is not a change in JSON",
                "!2 \"{\"what\":\"new\",\"path\":\"a\",\"old_path\":\"b\"}\" is a rename that cannot be split into two names",
                "!3 \"{\"what\":\"rename\",\"path\":\"a\"}\" is a rename that cannot be split into two names",
            ]
        );
    }

    #[test]
    fn a_record_without_an_end_takes_bounded_memory() {
        for form in [Form::Encoded, Form::Plain, Form::Nul, Form::Json] {
            let endless = io::BufReader::new(io::repeat(b'x'));
            let mut reader = Reader::new(endless, format(form, " ", None));
            let error = reader.next().unwrap().unwrap_err();
            assert_eq!(error.to_string(), "record 1 of the list is longer than 1048576 bytes");
            assert!(reader.next().is_none());
        }
    }

    #[test]
    fn a_separator_that_separates_nothing_is_refused() {
        let refused = |separator: &[u8]| Format::new(Form::Plain, separator, None).unwrap_err().to_string();
        assert_eq!(refused(b""), "the field separator is empty");
        assert_eq!(refused(b"\n"), "the field separator holds a line feed");
    }

    fn any_path() -> impl Strategy<Value = Vec<u8>> {
        // The bytes that mean something somewhere come often.
        let byte = prop_oneof![prop::sample::select(b" %\n\\25A0,=/\"\x7f\xff".to_vec()), 1_u8..=255];
        prop::collection::vec(byte, 1..40)
    }

    fn any_change() -> impl Strategy<Value = Change> {
        prop_oneof![
            any_path().prop_map(Change::New),
            any_path().prop_map(Change::Modify),
            (any_path(), any_path()).prop_map(|(from, to)| Change::Rename { from, to }),
            any_path().prop_map(Change::Delete),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            changes in prop::collection::vec(any_change(), 0..8),
            form in prop::sample::select(vec![Form::Encoded, Form::Nul, Form::Json]),
            prefix in prop::option::of(any_path()),
        ) {
            let format = Format::new(form, b" ", prefix.as_deref()).unwrap();
            let expected: Vec<Item> = changes.iter().cloned().map(sure).collect();
            prop_assert_eq!(read(&format, &written(&format, &changes)), expected);
        }

        #[test]
        fn no_byte_of_a_list_is_dropped(
            fields in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec!["NEW", "RENAME", "NEW a", "RENAME a b", "RENAME a", "DELETE ", "a"])
                        .prop_map(|field| field.as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 0..9),
                ],
                0..9,
            ),
            is_cut in any::<bool>(),
        ) {
            for (form, end) in [(Form::Plain, b'\n'), (Form::Nul, b'\0')] {
                let format = format(form, " ", None);
                let mut list = fields.join(&end);
                if !is_cut {
                    list.push(end);
                }
                let mut again = Vec::new();
                for item in read(&format, &list) {
                    match item {
                        Item::Change { change, .. } => format.write(&mut again, &change).unwrap(),
                        Item::Anomaly(Anomaly { bytes, why, .. }) => {
                            again.extend_from_slice(&bytes);
                            again.extend((why != Why::CutOff).then_some(end));
                        }
                    }
                }
                prop_assert_eq!(again, list);
            }
        }

        #[test]
        fn no_list_makes_reading_fail(list in prop::collection::vec(any::<u8>(), 0..200)) {
            for form in [Form::Encoded, Form::Plain, Form::Nul, Form::Json] {
                prop_assert_eq!(read(&format(form, " ", None), &list).is_empty(), list.is_empty());
            }
        }
    }
}
