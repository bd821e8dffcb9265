//! What is printed of an entry that was found: the directives of find's `-printf`.
//!
//! Promises: bytes of names come out as they are, or on a terminal written out where they are nothing to read, as find(1) does it; what the catalog does not know (blocks, inode numbers, access times) is refused when the
//! format is read.

use super::hit::Hit;
use crate::model::{Kind, escape_bytes, printable};
use jiff::tz::TimeZone;
use std::borrow::Cow;

/// A format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Is(u8),
    /// The mtime, in a form of strftime(3), or `@` for seconds.
    Mtime(char),
}

impl Format {
    pub(super) fn print() -> Self {
        Self(vec![Part::Is(b'p'), Part::Text(b"\n".to_vec())])
    }

    pub(super) fn print0() -> Self {
        Self(vec![Part::Is(b'p'), Part::Text(b"\0".to_vec())])
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let (mut parts, mut plain, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(byte) = text.get(at) {
            let next = text.get(at + 1);
            match (byte, next) {
                (b'\\', Some(next)) => {
                    plain.push(match next {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'0' => 0,
                        b'r' => b'\r',
                        b'\\' => b'\\',
                        other => return Err(format!("-printf knows no \\{}", char::from(*other))),
                    });
                    at += 2;
                }
                (b'%', Some(b'%')) => {
                    plain.push(b'%');
                    at += 2;
                }
                (b'%', Some(b'T')) => {
                    let form = text.get(at + 2).map(|byte| char::from(*byte));
                    let form = form.filter(|c| "@+YmdHMSjyFT".contains(*c));
                    let form = form.ok_or_else(|| "-printf knows %T with @ + Y m d H M S j y F T".to_owned())?;
                    parts.extend([Part::Text(std::mem::take(&mut plain)), Part::Mtime(form)]);
                    at += 3;
                }
                (b'%', Some(is)) if b"pPfhsmMuUgGnyld".contains(is) => {
                    parts.extend([Part::Text(std::mem::take(&mut plain)), Part::Is(*is)]);
                    at += 2;
                }
                (b'%', other) => {
                    let other = other.map_or(' ', |byte| char::from(*byte));
                    return Err(format!("-printf knows no %{other}: p P f h s m M u U g G n y l d T"));
                }
                (byte, _) => {
                    plain.push(*byte);
                    at += 1;
                }
            }
        }
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    /// Adds what is printed of an entry to `out`; with `escaped`, nothing that a terminal obeys comes from a name.
    pub fn write(&self, hit: &Hit, zone: &TimeZone, escaped: bool, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Mtime(form) => out.extend_from_slice(mtime(hit, *form, zone).as_bytes()),
                Part::Is(is) => match name(hit, *is) {
                    Some(name) if escaped => out.extend_from_slice(printable(&escape_bytes(&name)).as_bytes()),
                    Some(name) => out.extend_from_slice(&name),
                    None => out.extend_from_slice(number(hit, *is).as_bytes()),
                },
            }
        }
    }
}

/// Returns what a directive says of names.
fn name(hit: &Hit, is: u8) -> Option<Cow<'_, [u8]>> {
    let path = hit.path.as_bytes();
    let slash = path.iter().rposition(|byte| *byte == b'/');
    Some(match is {
        b'p' => hit.shown_path().into(),
        b'P' => hit.below().into(),
        b'f' if path.is_empty() => b"."[..].into(),
        b'f' => path[slash.map_or(0, |slash| slash + 1)..].into(),
        b'h' => hit.shown(&path[..slash.unwrap_or(0)]).into(),
        b'l' => hit.target[..].into(),
        _ => return None,
    })
}

/// Returns what a directive says of anything else.
fn number(hit: &Hit, is: u8) -> String {
    match is {
        b's' => hit.row.size_bytes.to_string(),
        b'm' => format!("{:o}", hit.perm.mode & 0o7777),
        b'M' => hit.mode_text(),
        b'u' | b'U' => hit.perm.uid.to_string(),
        b'g' | b'G' => hit.perm.gid.to_string(),
        b'n' => hit.row.nlink.to_string(),
        b'y' => (if hit.kind == Kind::File { 'f' } else { hit.kind.letter() }).to_string(),
        _ => hit.depth.to_string(),
    }
}

fn mtime(hit: &Hit, form: char, zone: &TimeZone) -> String {
    let stamp = hit.row.mtime;
    // Ten digits, as find prints them.
    let fraction = format!("{:09}0", stamp.nanos);
    let time = match (form, jiff::Timestamp::from_second(stamp.seconds)) {
        ('@', _) | (_, Err(_)) => return format!("{}.{fraction}", stamp.seconds),
        (_, Ok(time)) => time.to_zoned(zone.clone()),
    };
    match form {
        '+' => format!("{}.{fraction}", time.strftime("%Y-%m-%d+%H:%M:%S")),
        'S' => format!("{}.{fraction}", time.strftime("%S")),
        'T' => format!("{}.{fraction}", time.strftime("%H:%M:%S")),
        form => time.strftime(&format!("%{form}")).to_string(),
    }
}
