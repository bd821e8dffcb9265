//! Which files of a copy are whole, for the run after one that was killed.
//!
//! Promises: of another start of the machine nothing is believed, as nobody knows what had reached the disk; a last line
//! that was cut off is no file.

use crate::model::{Attrs, FileKey, RelPath, Timestamp};
use std::collections::HashMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A file as it was when its bytes were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size_bytes: u64,
    pub(super) mtime: Timestamp,
    ctime: Timestamp,
}

impl Stamp {
    pub(super) fn of(attrs: &Attrs) -> Self {
        Self { size_bytes: attrs.size_bytes, mtime: attrs.mtime, ctime: attrs.ctime }
    }
}

/// What a killed run left.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) root: Option<OwnedFd>,
    pub(super) files: HashMap<FileKey, (Stamp, RelPath)>,
}

/// Reads which files a killed run had written whole; of a start of the machine other than `boot` none. A last line that
/// was cut off is no file.
pub(super) fn read_journal(path: &Path, boot: &str) -> HashMap<FileKey, (Stamp, RelPath)> {
    let mut files = HashMap::new();
    let Ok(text) = std::fs::read_to_string(path) else { return files };
    let Some((lines, _)) = text.rsplit_once('\n') else { return files };
    let mut lines = lines.split('\n');
    if lines.next() != Some(boot) {
        return files;
    }
    for (key, stamp, path) in lines.filter_map(parse_journal_line) {
        files.insert(key, (stamp, path));
    }
    files
}

/// Notes that the file `path` is whole, with the bytes that `key` had at `stamp`.
pub(super) fn write_journal_line(
    journal: &mut impl Write,
    path: &RelPath,
    key: FileKey,
    stamp: Stamp,
) -> std::io::Result<()> {
    let Stamp { size_bytes, mtime, ctime } = stamp;
    writeln!(
        journal,
        "{} {} {size_bytes} {} {} {} {} {path}",
        key.inode, key.born_ns, mtime.seconds, mtime.nanos, ctime.seconds, ctime.nanos
    )
}

fn parse_journal_line(line: &str) -> Option<(FileKey, Stamp, RelPath)> {
    let mut fields = line.splitn(8, ' ');
    let mut number = || fields.next()?.parse::<i128>().ok();
    let inode = u64::try_from(number()?).ok()?;
    let born_ns = i64::try_from(number()?).ok()?;
    let size_bytes = u64::try_from(number()?).ok()?;
    let mut stamp =
        || Some(Timestamp { seconds: i64::try_from(number()?).ok()?, nanos: u32::try_from(number()?).ok()? });
    let (mtime, ctime) = (stamp()?, stamp()?);
    let path = RelPath::parse(&crate::model::unescape_bytes(fields.next()?)?).ok()?;
    Some((FileKey { device: 0, inode, born_ns }, Stamp { size_bytes, mtime, ctime }, path))
}
