//! Names and paths as the bytes that they are.
//!
//! Promises: an [`EntryName`] is one path component that a Unix directory can hold; a [`RelPath`] is
//! zero or more of them joined by `/`, without a leading slash (empty: the root of a source).
//! [`escape_bytes`] gives text that is always valid UTF-8, on one line, and can be turned back.
//! Never assumes UTF-8.

use std::borrow::Cow;
use std::fmt;

/// Why bytes cannot be a name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a name is empty")]
    Empty,
    /// `.` and `..` are not entries.
    #[error("{0:?} is not a name of its own")]
    Dots(String),
    /// A byte that no Unix name has.
    #[error("name {0:?} contains a slash or a zero byte")]
    Byte(String),
}

/// A name in a directory: bytes, not empty, not `.` or `..`, no `/`, no zero byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(Box<[u8]>);

impl EntryName {
    /// Returns the checked name.
    ///
    /// # Errors
    /// [`NameError`] if the bytes are not one path component.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        Self::check(bytes).map(|()| Self(bytes.into()))
    }

    /// Tells whether `bytes` can be a name, without keeping them.
    ///
    /// # Errors
    /// As [`EntryName::new`].
    pub fn check(bytes: &[u8]) -> Result<(), NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes == b"." || bytes == b".." {
            return Err(NameError::Dots(escape_bytes(bytes).into_owned()));
        }
        if bytes.iter().any(|b| *b == b'/' || *b == 0) {
            return Err(NameError::Byte(escape_bytes(bytes).into_owned()));
        }
        Ok(())
    }

    /// Returns the bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape_bytes(&self.0))
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Returns the small letter of a capital one, if that is one letter; else itself.
pub fn folded(letter: char) -> char {
    let mut small = letter.to_lowercase();
    match (small.next(), small.next()) {
        (Some(one), None) => one,
        _ => letter,
    }
}

/// A path below the root of a source: names joined by `/`, empty for the root itself.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// Returns the root of a source.
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the path that `bytes` spell; leading, trailing and doubled slashes are dropped.
    ///
    /// # Errors
    /// [`NameError`] if a component is `.`, `..` or holds a zero byte.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        let mut path = Self::root();
        for part in bytes.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
            path.push(&EntryName::new(part)?);
        }
        Ok(path)
    }

    /// Appends one name.
    pub fn push(&mut self, name: &EntryName) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name.as_bytes());
    }

    /// Returns this path with one name appended.
    pub fn join(&self, name: &EntryName) -> Self {
        let mut path = self.clone();
        path.push(name);
        path
    }

    /// Returns this path with another one appended.
    pub fn append(&self, below: &Self) -> Self {
        match (self.is_root(), below.is_root()) {
            (true, _) => below.clone(),
            (_, true) => self.clone(),
            _ => Self([&self.0, b"/".as_slice(), &below.0].concat()),
        }
    }

    /// Returns the path of the directory that it is in, and its name there; none of the root.
    pub fn split_last(&self) -> Option<(Self, &[u8])> {
        let name = self.names().last()?;
        let above = self.0.len().saturating_sub(name.len() + 1);
        Some((Self(self.0[..above].to_vec()), name))
    }

    /// Returns the bytes, names joined by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether this is the root of a source.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names from the root downward.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|p| !p.is_empty())
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape_bytes(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Returns `bytes` as one line of valid UTF-8 from which the bytes can be told again.
///
/// Printable UTF-8 stays as it is; a backslash becomes `\\`, a newline `\n`, a tab `\t`, and every
/// other control byte and every byte that is not UTF-8 becomes `\xNN`. Borrows when nothing had to be
/// escaped.
pub fn escape_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.chars().any(needs_escape)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                c if needs_escape(c) => {
                    let mut buffer = [0; 4];
                    for b in c.encode_utf8(&mut buffer).bytes() {
                        out.push_str(&format!("\\x{b:02x}"));
                    }
                }
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    Cow::Owned(out)
}

fn needs_escape(c: char) -> bool {
    c == '\\' || c.is_control()
}

/// Returns one line of text as it may go to a terminal or a log, whatever names are in it: what a terminal obeys, what makes a second
/// line of one, what changes the direction in which text is read, and what nobody sees is written as [`escape_bytes`] writes control
/// bytes. Other backslashes stay: names are escaped already, or quoted.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| match c {
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| out.push_str(&format!("\\x{b:02x}"))),
    })
}

/// Returns JSON as it may go to a terminal: the same characters in its strings are written as JSON writes control bytes, which it says
/// of those below 32 only. Line breaks between values stay.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    escaped(json, |c, out| match c {
        '\n' => out.push('\n'),
        c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
    })
}

fn escaped(text: &str, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.chars().any(is_no_glyph) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| if is_no_glyph(c) { write(c, &mut out) } else { out.push(c) });
    Cow::Owned(out)
}

/// What is not shown as itself: obeyed by terminals, or seen by nobody, so that two names look alike. Controls are besides.
///
/// The general category Cf of Unicode 15 (`UnicodeData.txt`): format characters, those of bidirectional text and tags among them; the
/// separators of lines and paragraphs (Zl, Zp); and what `DerivedCoreProperties.txt` tells to leave out where it cannot be shown
/// (`Default_Ignorable_Code_Point`): fillers, joiners, code points without a meaning. But for the selectors of variants FE00 to FE0F, which
/// pictures in names have (a red heart).
const NO_GLYPHS: [(char, char); 24] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

fn is_no_glyph(c: char) -> bool {
    // Nothing below is in the table, and nearly all names are.
    c.is_control() || (c >= '\u{ad}' && NO_GLYPHS.iter().any(|(first, last)| (*first..=*last).contains(&c)))
}

/// Returns the bytes that [`escape_bytes`] made `text` of, or none if a backslash in it begins no escape.
pub fn unescape_bytes(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let mut chars = escape.chars();
        match chars.next()? {
            '\\' => out.push(b'\\'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'x' => {
                let (high, low) = (chars.next()?.to_digit(16)?, chars.next()?.to_digit(16)?);
                out.push((high << 4 | low) as u8);
            }
            _ => return None,
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out_and_all_else_stays() {
        let plain = "\"caf\u{e9}\" \\n \u{5e9}\u{5b8} \u{2764}\u{fe0f} e\u{301} as of";
        assert_eq!(printable(plain), plain);
        assert_eq!(printable("\u{1b}[31mX\u{7}\u{7f}\u{9b}z"), "\\x1b[31mX\\x07\\x7f\\xc2\\x9bz");
        assert_eq!(printable("a\nok\rb\tc"), "a\\nok\\x0db\\tc");
        assert_eq!(printable("\u{202e}gpj\u{2069}\u{2028}"), "\\xe2\\x80\\xaegpj\\xe2\\x81\\xa9\\xe2\\x80\\xa8");
        assert_eq!(
            printable_json("{\n  \"a\": \"\u{9b}\u{202e}\u{e9}\"\n}"),
            "{\n  \"a\": \"\\u009b\\u202e\u{e9}\"\n}"
        );
    }

    #[test]
    fn what_nobody_sees_is_written_out() {
        assert_eq!(printable("a\u{200b}b\u{feff}c\u{ad}d"), "a\\xe2\\x80\\x8bb\\xef\\xbb\\xbfc\\xc2\\xadd");
        assert_eq!(printable("tag\u{e0041}"), "tag\\xf3\\xa0\\x81\\x81");
        // As JSON writes what has more than 16 bits; any reader of JSON gives the character back.
        let json = printable_json("\"\u{200d}\u{e0041}\"").into_owned();
        assert_eq!(json, "\"\\u200d\\udb40\\udc41\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "\u{200d}\u{e0041}");
    }

    /// Python has the tables of Unicode, of an older version perhaps: what it calls a format character is none less here.
    #[test]
    fn every_format_character_of_unicode_is_written_out() {
        let ask = "import unicodedata as u\nprint(*[c for c in range(0x110000) if u.category(chr(c)) in ('Cf', 'Zl', 'Zp', 'Cc')])";
        let answer = std::process::Command::new("python3").args(["-c", ask]).output().expect("python3 is installed");
        let numbers = String::from_utf8(answer.stdout).unwrap();
        let characters: Vec<char> =
            numbers.split_whitespace().map(|c| char::from_u32(c.parse().unwrap()).unwrap()).collect();
        assert!(characters.len() > 200, "{numbers}");
        let raw: Vec<_> = characters.iter().filter(|c| printable(&c.to_string()) == c.to_string()).collect();
        assert_eq!(raw, Vec::<&char>::new());
    }

    #[test]
    fn odd_bytes_are_escaped_and_plain_text_is_not() {
        assert_eq!(escape_bytes("été 日.txt".as_bytes()), "été 日.txt");
        assert_eq!(escape_bytes(b"a\nb\\c\x80\x01"), "a\\nb\\\\c\\x80\\x01");
        assert_eq!(escape_bytes("a\u{85}b".as_bytes()), "a\\xc2\\x85b");
    }

    #[test]
    fn escaped_bytes_are_told_again_and_other_escapes_are_refused() {
        let all: Vec<u8> = (0..=255).chain("été\u{85}\\n".bytes()).collect();
        assert_eq!(unescape_bytes(&escape_bytes(&all)), Some(all));
        for text in ["\\", "a\\q", "\\x4", "\\xg0"] {
            assert_eq!(unescape_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        assert_eq!(EntryName::new(b""), Err(NameError::Empty));
        assert_eq!(EntryName::new(b".."), Err(NameError::Dots("..".into())));
        assert_eq!(EntryName::new(b"a/b"), Err(NameError::Byte("a/b".into())));
        assert!(EntryName::new(b"...").is_ok());
        assert_eq!(RelPath::parse(b"/a//b/").unwrap().as_bytes(), b"a/b");
        assert!(RelPath::parse(b"a/../b").is_err());
    }
}
