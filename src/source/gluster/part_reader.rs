//! Reads a part file line by line, and its two ends without the middle.
//!
//! Promises: the header comes first and once, the end mark last, and the number of lines is the one that the end
//! mark tells; whatever else is an error that names the file and the line. A part without its end mark is
//! never taken for a whole one. Memory: one line, at most [`LINE_BYTES_MAX`].

use super::part::{End, FORMAT, Header, Line};
use crate::model::escape_bytes;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The longest line that is read, in bytes. A name has 255 bytes, an extended attribute 64 KiB; only the end mark
/// can be long, by the slices it lists (about 30 bytes each).
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// Bytes that one read of the file takes.
const READ_BYTES: usize = 256 << 10;

/// Why a part cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("cannot open the part {path:?}")]
    Open {
        /// The part.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused a read.
    #[error("cannot read the part {path:?} at line {line}")]
    Read {
        /// The part.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its first line is no header.
    #[error("{path:?} is not a part: its first line is \"{found}\"")]
    NotAPart {
        /// The file.
        path: PathBuf,
        /// How its first line begins.
        found: String,
    },
    /// Another version wrote it.
    #[error(
        "the part {path:?} has format {format}, written by asof {asof}: expected format {FORMAT}, as asof {} writes it",
        env!("CARGO_PKG_VERSION")
    )]
    Format {
        /// The part.
        path: PathBuf,
        /// The format that it names.
        format: u32,
        /// The version of the program that wrote it.
        asof: String,
    },
    /// A line that is none of [`Line`].
    #[error("line {line} of the part {path:?} is \"{found}\"")]
    Line {
        /// The part.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// How it begins.
        found: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A line without an end.
    #[error("line {line} of the part {path:?} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong {
        /// The part.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// A second header, or something after the end mark.
    #[error("line {line} of the part {path:?} is \"{found}\": expected {expected}")]
    Order {
        /// The part.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// How it begins.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The end mark is missing.
    #[error("the part {path:?} was cut off: no end mark after {lines} lines")]
    Cut {
        /// The part.
        path: PathBuf,
        /// Lines that are there.
        lines: u64,
    },
    /// The end mark tells another number of lines.
    #[error("the part {path:?} has {found} lines before its end mark: expected {expected}, as the end mark tells")]
    Count {
        /// The part.
        path: PathBuf,
        /// Lines before the end mark.
        found: u64,
        /// What the end mark tells.
        expected: u64,
    },
}

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
    header: Header,
    end: Option<End>,
    is_through: bool,
}

impl PartReader<BufReader<File>> {
    /// Opens the part at `path` and reads its header.
    ///
    /// # Errors
    /// [`Error::Open`], and those of [`PartReader::new`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
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

/// Returns the header and the end mark of the part at `path`.
///
/// Lines in between are counted, not understood: a part that passes may still hold one that [`PartReader`] refuses.
/// Cost: one pass over the file, and its last line a second time.
///
/// # Errors
/// As [`PartReader::open`]; [`Error::Cut`] if the last line is no end mark or has no line feed; [`Error::Count`].
pub fn load_ends(path: &Path) -> Result<(Header, End), Error> {
    let mut file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    let tail = find_last_line(&mut file).map_err(|source| Error::Read { path: path.to_owned(), line: 1, source })?;
    let unreadable = |source| Error::Read { path: path.to_owned(), line: tail.lines.max(1), source };
    file.rewind().map_err(unreadable)?;
    let header = PartReader::new(BufReader::new(&file), path)?.header;
    let cut = || Error::Cut { path: path.to_owned(), lines: tail.lines };
    if !tail.is_complete || tail.lines < 2 {
        return Err(cut());
    }
    file.seek(SeekFrom::Start(tail.start)).map_err(unreadable)?;
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

/// Reads a line into `buffer`, without its line feed. Returns false, with what was there in `buffer`, if the input
/// ends before a line feed.
fn read_line(input: &mut impl BufRead, buffer: &mut Vec<u8>, path: &Path, line: u64) -> Result<bool, Error> {
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

fn parse_header(bytes: &[u8], path: &Path) -> Result<Header, Error> {
    let not_a_part = || Error::NotAPart { path: path.to_owned(), found: excerpt(bytes) };
    let AnyHeader { part: AnyFormat { format, asof } } = serde_json::from_slice(bytes).map_err(|_| not_a_part())?;
    if format != FORMAT {
        return Err(Error::Format { path: path.to_owned(), format, asof });
    }
    match parse_line(bytes, path, 1)? {
        Line::Part(header) => Ok(header),
        _ => Err(not_a_part()),
    }
}

fn parse_line(bytes: &[u8], path: &Path, line: u64) -> Result<Line, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Line {
        path: path.to_owned(),
        line,
        found: excerpt(bytes),
        source,
    })
}

/// Returns how a line begins, for a person.
fn excerpt(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 60;
    match bytes.get(..SHOWN_BYTES) {
        Some(begin) => format!("{}...", escape_bytes(begin)),
        None => escape_bytes(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::gluster::Gfid;

    const HEADER: &str = r#"{"part":{"format":1,"asof":"0.1.0","volume":"gv0","volume_id":"00000000-0000-0000-0000-0000000000aa","brick":"/bricks/b1","want":"look","began_ns":5}}"#;
    const GONE: &str = r#"{"gone":{"gfid":"00000000-0000-0000-0000-0000000000bb"}}"#;

    fn end(lines: u64) -> String {
        format!(r#"{{"end":{{"lines":{lines},"cursor":null,"gaps":[],"slices":["CHANGELOG.7"],"records":3}}}}"#)
    }

    fn read(text: &str) -> Result<(Vec<Line>, End), String> {
        let say = |e: Error| e.to_string();
        let mut reader = PartReader::new(text.as_bytes(), Path::new("p")).map_err(say)?;
        let lines = reader.by_ref().collect::<Result<_, _>>().map_err(say)?;
        assert!(reader.next().is_none(), "an iterator that is through stays so");
        Ok((lines, reader.end().expect("a part without an error has its end mark").clone()))
    }

    fn ends(text: &str) -> Result<(Header, End), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        std::fs::write(&path, text).unwrap();
        load_ends(&path).map_err(|e| e.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn a_whole_part_is_read_to_its_end() {
        let text = format!("{HEADER}\n{GONE}\n{GONE}\n{}\n", end(3));
        let (lines, end) = read(&text).unwrap();
        let gone = Line::Gone { gfid: "00000000-0000-0000-0000-0000000000bb".parse().unwrap() };
        assert_eq!(lines, [gone.clone(), gone]);
        assert_eq!((end.records, end.slices), (3, vec!["CHANGELOG.7".to_owned()]));
        let (header, end) = ends(&text).unwrap();
        assert_eq!(
            (header.volume_id, header.want.as_str(), end.lines),
            (Gfid::from_bytes(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa]).unwrap(), "look", 3)
        );
    }

    #[test]
    fn a_part_without_anything_between_its_ends_is_whole() {
        let text = format!("{HEADER}\n{}\n", end(1));
        assert_eq!(read(&text).unwrap().0, []);
        assert_eq!(ends(&text).unwrap().1.lines, 1);
    }

    #[test]
    fn an_end_mark_longer_than_one_read_is_found() {
        let slices: Vec<String> = (0..20_000).map(|at| format!("\"CHANGELOG.{}\"", 1_795_000_000 + at)).collect();
        let last = end(2).replace("\"CHANGELOG.7\"", &slices.join(","));
        assert!(last.len() > READ_BYTES, "{} bytes", last.len());
        let (_, end) = ends(&format!("{HEADER}\n{GONE}\n{last}\n")).unwrap();
        assert_eq!((end.slices.len(), end.slices[19_999].as_str()), (20_000, "CHANGELOG.1795019999"));
    }

    #[test]
    fn a_part_that_is_cut_at_any_byte_is_no_part() {
        let text = format!("{HEADER}\n{GONE}\n{}\n", end(2));
        for length in 0..text.len() {
            let lines = text[..length].matches('\n').count();
            let expected = format!("the part \"p\" was cut off: no end mark after {lines} lines");
            assert_eq!(read(&text[..length]).unwrap_err(), expected, "{length} bytes");
            assert_eq!(ends(&text[..length]).unwrap_err(), expected, "{length} bytes, ends only");
        }
    }

    #[test]
    fn what_is_hurt_is_named_with_its_line() {
        let damage = [
            ("\n".to_owned(), "\"p\" is not a part: its first line is \"\""),
            (
                format!("{GONE}\n"),
                "\"p\" is not a part: its first line is \"{\"gone\":{\"gfid\":\"00000000-0000-0000-0000-0000000000bb\"}}\"",
            ),
            (
                "bash: asof: command not found, \u{1b}[31m and so on and so on and so on and so on\n".to_owned(),
                "\"p\" is not a part: its first line is \"bash: asof: command not found, \\x1b[31m and so on and so on and...\"",
            ),
            (
                HEADER.replace("\"format\":1,\"asof\":\"0.1.0\"", "\"format\":2,\"asof\":\"0.9.0\"") + "\n",
                "the part \"p\" has format 2, written by asof 0.9.0: expected format 1, as asof 0.1.0 writes it",
            ),
            (format!("{HEADER}\n{{\"gone\":{{}}}}\n"), "line 2 of the part \"p\" is \"{\"gone\":{}}\""),
            (
                format!("{HEADER}\n{HEADER}\n"),
                "line 2 of the part \"p\" is \"{\"part\":{\"format\":1,\"asof\":\"0.1.0\",\"volume\":\"gv0\",\"volume_id...\": expected a header only in the first line",
            ),
            (
                format!("{HEADER}\n{}\n{GONE}\n", end(1)),
                "line 3 of the part \"p\" is \"{\"gone\":{\"gfid\":\"00000000-0000-0000-0000-0000000000bb\"}}\": expected nothing after the end mark",
            ),
            (
                format!("{HEADER}\n{}\nx", end(1)),
                "line 3 of the part \"p\" is \"x\": expected nothing after the end mark",
            ),
            (
                format!("{HEADER}\n{GONE}\n{}\n", end(7)),
                "the part \"p\" has 2 lines before its end mark: expected 7, as the end mark tells",
            ),
        ];
        for (text, expected) in damage {
            assert_eq!(read(&text).unwrap_err(), expected);
        }
        assert_eq!(
            ends(&format!("{HEADER}\n{GONE}\n{}\n", end(7))).unwrap_err(),
            "the part \"p\" has 2 lines before its end mark: expected 7, as the end mark tells"
        );
        assert_eq!(
            ends(&format!("{HEADER}\n{GONE}\n")).unwrap_err(),
            "the part \"p\" was cut off: no end mark after 2 lines"
        );
    }

    #[test]
    fn a_line_without_an_end_takes_bounded_memory() {
        let endless = io::repeat(b'x').take(4 * LINE_BYTES_MAX as u64);
        let error = PartReader::new(BufReader::new(endless), Path::new("p")).unwrap_err();
        assert_eq!(error.to_string(), "line 1 of the part \"p\" is longer than 67108864 bytes");
    }

    #[test]
    fn a_part_that_is_not_there_is_named() {
        let error = PartReader::open(Path::new("/nowhere/p")).unwrap_err();
        assert_eq!(error.to_string(), "cannot open the part \"/nowhere/p\"");
    }
}
