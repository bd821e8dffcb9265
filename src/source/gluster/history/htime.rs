//! HTIME, the list that Gluster keeps of the slices of a brick: what should be there, never what is.
//!
//! Promises: damage in it is told and does not stop the reading; what follows the last zero byte is still being written,
//! and left alone.

use super::error::Error;
use super::slices::{each_name, number, slice_end, slice_name};
use crate::model::escape_bytes;
use crate::source::gluster::part::Cursor;
use crate::sys::walk::{self, errno};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;

/// The longest path in HTIME (`PATH_MAX`).
const HTIME_PATH_BYTES_MAX: usize = 4096;

/// The HTIME file that is written now, by the second at which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Htime(pub(super) u64);

impl Htime {
    pub(super) fn of_name(name: &[u8]) -> Option<Self> {
        number(name.strip_prefix(b"HTIME.")?).map(Self)
    }

    pub(super) fn name(self) -> String {
        format!("HTIME.{}", self.0)
    }
}

/// Returns the HTIME file that is written now: the one that is noted at the directory, else the newest, as the brick
/// itself does it (`htime_open`). None if there is none.
pub(super) fn current_htime(folder: &Path) -> Result<Option<Htime>, Error> {
    let current = |source| Error::Current { path: folder.to_owned(), source };
    let directory = match walk::open_root(folder) {
        Ok(directory) => directory,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(current(e)),
    };
    let mut value = [0; 256];
    let calls = walk::XattrCalls::ProcFd;
    match walk::get_xattr(calls, walk::FileAt::Open(directory.as_fd()), c"trusted.glusterfs.current_htime", &mut value)
    {
        Ok(length) => match Htime::of_name(&value[..length]) {
            Some(htime) => return Ok(Some(htime)),
            None => {
                let found = escape_bytes(&value[..length]).into_owned();
                return Err(current(io::Error::other(format!("found \"{found}\", expected HTIME.<unix seconds>"))));
            }
        },
        // Lost in a copy of the brick, or never set before 3.6.
        Err(e) if matches!(e.raw_os_error(), Some(errno::ENODATA | errno::EOPNOTSUPP)) => {}
        Err(e) => return Err(current(e)),
    }
    let mut newest = None;
    each_name(folder, &mut |name| newest = newest.max(Htime::of_name(name)))?;
    Ok(newest)
}

/// What the current HTIME file says about the time since a cursor.
#[derive(Debug)]
pub(super) struct Listed {
    /// The end of the slice in the last line; that of the file itself if it has none.
    pub(super) last: u64,
    /// The ends of the slices that should be there and may matter, in order, each once.
    pub(super) slices: BTreeSet<u64>,
    /// Whether the cursor stands on one of its lines.
    pub(super) has_cursor: bool,
    /// What is wrong with the lines after that one.
    pub(super) faults: Vec<String>,
}

impl Listed {
    /// Reads it; none if it does not exist. Without a cursor only the last hour of it is remembered.
    pub(super) fn read(folder: &Path, htime: Htime, since: Option<&Cursor>) -> Result<Option<Self>, Error> {
        let path = folder.join(htime.name());
        let error = |source| Error::Read { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(error(e)),
        };
        let has_cursor = since.is_some_and(|cursor| cursor.last == htime.0);
        let mut listed = Self { last: htime.0, slices: BTreeSet::new(), has_cursor, faults: Vec::new() };
        each_line(BufReader::with_capacity(1 << 18, file), &mut |line| listed.add(since, line)).map_err(error)?;
        Ok(Some(listed))
    }

    /// Takes one line: the path of a slice, of which only the file name counts, as the brick may have been moved.
    fn add(&mut self, since: Option<&Cursor>, line: Option<&[u8]>) {
        let name = line.and_then(|line| line.rsplit(|byte| *byte == b'/').next()).unwrap_or_default();
        let slice = slice_end(name);
        let empty = name.strip_prefix(b"changelog.").and_then(number);
        let Some(end) = slice.or(empty) else {
            if self.has_cursor {
                self.fault(format!("the list of changelogs is damaged: it holds \"{}\"", escape_bytes(name)));
            }
            return;
        };
        let kept_from = since.map_or(end, |cursor| cursor.last).saturating_sub(Cursor::KEPT_S);
        if slice.is_some() {
            if end < kept_from && self.has_cursor {
                self.fault(format!(
                    "the clock of the brick went back: {} came after the last that was read",
                    slice_name(end)
                ));
            }
            if end >= kept_from && !self.slices.insert(end) && self.has_cursor {
                self.fault(format!("{} is listed twice: the second overwrote the first", slice_name(end)));
            }
        }
        // From now on: what is long past will not be asked for.
        while since.is_none() && self.slices.first().is_some_and(|first| *first < kept_from) {
            self.slices.pop_first();
        }
        self.has_cursor |= since.is_some_and(|cursor| cursor.last == end);
        self.last = end;
    }

    /// One of a kind is enough to know that a walk is needed.
    fn fault(&mut self, why: String) {
        if self.faults.len() < 3 {
            self.faults.push(why);
        }
    }
}

/// Calls `each` for every line of HTIME, without the zero byte that ends it; with none for one that is too long. What
/// follows the last zero byte is still being written.
pub(super) fn each_line(mut lines: impl BufRead, each: &mut dyn FnMut(Option<&[u8]>)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        let bytes = match lines.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(());
        }
        let end = bytes.iter().position(|byte| *byte == 0);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        // One byte more than a line may have tells that it has too many.
        line.extend_from_slice(&part[..part.len().min(HTIME_PATH_BYTES_MAX + 1 - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        lines.consume(used);
        if end.is_some() {
            each((line.len() <= HTIME_PATH_BYTES_MAX).then_some(&line));
            line.clear();
        }
    }
}
