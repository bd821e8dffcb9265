//! The text form in which LVM keeps what it knows of a volume group.
//!
//! Promises: nesting, and so the stack, is bounded; everything else is bounded by the length of the text. What does not
//! parse is an error with the byte where it is.
//!
//! Source of the format: `lib/config/config.c` and `lvm.conf(5)` of LVM2 2.03; strings escape `"` and `\` by `\`.

use crate::source::block::Error;
use std::collections::BTreeMap;

/// Sections within sections; LVM writes three.
const DEPTH_MAX: usize = 8;

/// A value or a section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A whole number; fractions are cut off.
    Number(i64),
    /// Bytes between quotes, or a bare word.
    Text(String),
    /// Values between brackets.
    List(Vec<Value>),
    /// `name { ... }`.
    Section(Section),
}

/// What is between braces.
pub(super) type Section = BTreeMap<String, Value>;

impl Value {
    /// Returns the text that this is.
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Returns the number that this is, if it is not negative.
    pub(super) fn as_number(&self) -> Option<u64> {
        if let Self::Number(number) = self { u64::try_from(*number).ok() } else { None }
    }

    /// Returns the section that this is.
    pub(super) fn as_section(&self) -> Option<&Section> {
        if let Self::Section(section) = self { Some(section) } else { None }
    }

    /// Returns the list that this is; a value that stands alone is one of one.
    pub(super) fn as_list(&self) -> &[Value] {
        if let Self::List(values) = self { values } else { std::slice::from_ref(self) }
    }
}

/// Returns what `bytes` say, up to their end or a zero byte.
///
/// # Errors
/// [`Error::Damaged`] at the first byte that does not fit.
pub(super) fn parse(bytes: &[u8]) -> Result<Section, Error> {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Parser { bytes, at: 0 }.section(0)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    /// Reads `name = value` and `name { ... }` up to the closing brace, or on the top floor up to the end.
    fn section(&mut self, depth: usize) -> Result<Section, Error> {
        let mut section = Section::new();
        loop {
            match self.next_token() {
                None if depth == 0 => return Ok(section),
                Some(b'}') if depth > 0 => {
                    self.at += 1;
                    return Ok(section);
                }
                _ => {}
            }
            let name = self.word()?;
            let value = match self.next_token() {
                Some(b'{') if depth < DEPTH_MAX => {
                    self.at += 1;
                    Value::Section(self.section(depth + 1)?)
                }
                Some(b'=') => {
                    self.at += 1;
                    self.value()?
                }
                _ => return Err(self.unexpected("a section or a value")),
            };
            section.insert(name, value);
        }
    }

    fn value(&mut self) -> Result<Value, Error> {
        if self.next_token() != Some(b'[') {
            return self.scalar();
        }
        self.at += 1;
        let mut values = Vec::new();
        loop {
            match self.next_token() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(values));
                }
                Some(b',') => self.at += 1,
                _ => values.push(self.scalar()?),
            }
        }
    }

    fn scalar(&mut self) -> Result<Value, Error> {
        match self.next_token() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word().map(Value::Text),
        }
    }

    fn string(&mut self) -> Result<String, Error> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let byte = self.bytes.get(self.at).copied();
            self.at += 1;
            match byte {
                Some(b'"') => return String::from_utf8(text).map_err(|_| self.unexpected("text in UTF-8")),
                Some(b'\\') => {
                    text.extend(self.bytes.get(self.at));
                    self.at += 1;
                }
                Some(byte) => text.push(byte),
                None => return Err(self.unexpected("the end of a string")),
            }
        }
    }

    fn number(&mut self) -> Result<Value, Error> {
        let digits = self.take_while(|byte| byte == b'-' || byte.is_ascii_digit());
        let number = digits.parse().map_err(|_| self.unexpected("a number"))?;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.take_while(|byte| byte.is_ascii_digit());
        }
        Ok(Value::Number(number))
    }

    /// Names of groups and volumes have the characters that `lvm(8)` allows under "Valid names".
    fn word(&mut self) -> Result<String, Error> {
        if self.next_token() == Some(b'"') {
            return self.string();
        }
        let word = self.take_while(|byte| byte.is_ascii_alphanumeric() || b"_.+-@:/".contains(&byte));
        if word.is_empty() { Err(self.unexpected("a name")) } else { Ok(word) }
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> String {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len());
        self.at += length;
        String::from_utf8_lossy(&rest[..length]).into_owned()
    }

    /// Skips white space and comments and returns the byte behind.
    fn next_token(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b'#' => {
                    self.take_while(|byte| byte != b'\n');
                }
                byte if byte.is_ascii_whitespace() => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        Error::Damaged(format!("byte {} of the text of the volume group is not {wanted}", self.at))
    }
}
