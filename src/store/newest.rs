//! Which manifest of a source was written last: each names the one before it, and without this file nobody would name that one.
//!
//! Promises: it is written after the generation is published, so it is never ahead of the catalog; a machine that lost its power may have an
//! older one, or none. It has its name when it is whole. Beside copies it is hidden, so that nobody takes it for one.

use super::Error;
use super::manifest::{NEWEST, cannot_write, create_anew, draft_of, open_manifest, uuid_text};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What sequences stay below. No run can have given out more: numbers that go on after one below it do not come to an end.
pub const SEQUENCE_MAX: u64 = 1 << 62;

/// More than a number and a line end have.
const NOTE_BYTES_MAX: u64 = 64;

/// Notes in `folder`, where manifests of `source` lie, that `sequence` is the one that was written last.
///
/// # Errors
/// [`Error::CannotWrite`].
pub fn note_newest(folder: &Path, source: &[u8; 16], sequence: u64) -> Result<(), Error> {
    let path = newest_of(folder, source);
    let draft = draft_of(&path);
    // Not synced: an older one says less and nothing wrong.
    let write = || -> io::Result<()> {
        create_anew(&draft)?.write_all(format!("{sequence}\n").as_bytes())?;
        fs::rename(&draft, &path)
    };
    write().map_err(cannot_write(&path))
}

/// Returns the number that was noted in `folder` for `source`; none if there is none, or it cannot be read.
pub fn noted_newest(folder: &Path, source: &[u8; 16]) -> Option<u64> {
    read_newest(&newest_of(folder, source))
}

/// Returns where it is noted in `folder` for `source`.
pub fn newest_of(folder: &Path, source: &[u8; 16]) -> PathBuf {
    folder.join(format!(".{}{NEWEST}", uuid_text(source)))
}

/// Returns the source whose note the file `path` is by its name, and what it says, if it can be read.
pub fn newest_at(path: &Path) -> Option<([u8; 16], u64)> {
    let name = path.file_name()?.as_bytes();
    let digits = name.strip_prefix(b".")?.strip_suffix(NEWEST.as_bytes())?;
    let digits: String = std::str::from_utf8(digits).ok()?.chars().filter(|c| *c != '-').collect();
    let source = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?.to_be_bytes();
    Some((source, read_newest(path)?))
}

fn read_newest(path: &Path) -> Option<u64> {
    // Without its end it was cut off. No catalog ever comes to such numbers.
    let mut text = String::new();
    open_manifest(path).ok()?.take(NOTE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.strip_suffix('\n')?.parse().ok().filter(|sequence| *sequence < SEQUENCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_told_and_what_was_cut_off_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let source: [u8; 16] = *b"0123456789abcdef";
        assert_eq!(noted_newest(folder.path(), &source), None);
        for sequence in [9, 12] {
            note_newest(folder.path(), &source, sequence).unwrap();
            assert_eq!(noted_newest(folder.path(), &source), Some(sequence));
        }
        let path = newest_of(folder.path(), &source);
        assert_eq!(newest_at(&path), Some((source, 12)));
        for text in ["1", "", "x\n", "-1\n", "18446744073709551615\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(newest_at(&path), None, "{text:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
