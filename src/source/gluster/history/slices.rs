//! The slices of a brick as its directories have them, old flat layout and dated one.
//!
//! Promises: what is listed is what is there, those that a restart of the brick left out of HTIME too. A slice is known by
//! the second in its name; nothing is read of it.

use super::error::Error;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a missing `CHANGELOG` is looked for: it is away between two steps of a rollover, while
/// HTIME is written through to the disk.
const OPEN_TRIES: u32 = 50;
/// How long between two looks.
pub(super) const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// The slice that is being written.
#[derive(Debug)]
pub struct Open {
    /// Its name, which another slice may have by now.
    pub path: PathBuf,
    /// It itself, opened before the closed slices were listed: a rollover in between loses nothing.
    pub file: File,
}

/// Opens the slice that is written now; none if there is none for longer than a rollover takes.
pub(super) fn open_slice(folder: &Path, pause: &mut dyn FnMut()) -> Result<Option<Open>, Error> {
    let path = folder.join("CHANGELOG");
    for _ in 0..OPEN_TRIES {
        match File::open(&path) {
            Ok(file) => return Ok(Some(Open { path, file })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => pause(),
            Err(source) => return Err(Error::Read { path, source }),
        }
    }
    Ok(None)
}

/// Returns the closed slices that end at `begins` or later, each with its end, in no order.
pub(super) fn find_slices(folder: &Path, begins: u64) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    let mut years = Vec::new();
    each_name(folder, &mut |name| {
        if let Some(end) = slice_end(name) {
            found.push((end, folder.join(std::ffi::OsStr::from_bytes(name))));
        }
        years.extend(dated::<4>(name));
    })?;
    let first = first_day(begins);
    for year in years.into_iter().filter(|year| *year >= first.0) {
        let folder = folder.join(format!("{year:04}"));
        for month in dated_in(&folder)?.into_iter().filter(|month| (year, *month) >= (first.0, first.1)) {
            let folder = folder.join(format!("{month:02}"));
            for day in dated_in(&folder)?.into_iter().filter(|day| (year, month, *day) >= first) {
                let folder = folder.join(format!("{day:02}"));
                each_name_if_there(&folder, &mut |name| {
                    found.extend(slice_end(name).map(|end| (end, folder.join(std::ffi::OsStr::from_bytes(name)))));
                })?;
            }
        }
    }
    found.retain(|(end, _)| *end >= begins);
    Ok(found)
}

/// Returns the months or days that `folder` has a directory for.
fn dated_in(folder: &Path) -> Result<Vec<u16>, Error> {
    let mut numbers = Vec::new();
    each_name_if_there(folder, &mut |name| numbers.extend(dated::<2>(name)))?;
    Ok(numbers)
}

/// Returns the year, month or day that the name of a directory is: exactly `N` digits.
fn dated<const N: usize>(name: &[u8]) -> Option<u16> {
    let digits: [u8; N] = name.try_into().ok()?;
    digits
        .iter()
        .all(u8::is_ascii_digit)
        .then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
}

/// Returns the day before the one that `seconds` lie in, as year, month and day; the first of all if it is in no year
/// of the calendar, so that everything is listed.
pub(super) fn first_day(seconds: u64) -> (u16, u16, u16) {
    let instant = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let day = instant.and_then(|instant| instant.to_zoned(TimeZone::UTC).date().yesterday().ok());
    let parts = |day: Date| (day.year() as u16, day.month() as u16, day.day() as u16);
    day.map_or((0, 0, 0), parts)
}

fn each_name_if_there(folder: &Path, each: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    match each_name(folder, each) {
        Err(Error::List { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

pub(super) fn each_name(folder: &Path, each: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    let error = |source| Error::List { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(error)? {
        each(entry.map_err(error)?.file_name().as_bytes());
    }
    Ok(())
}

pub(super) fn slice_name(end: u64) -> String {
    format!("CHANGELOG.{end}")
}

pub(super) fn slice_end(name: &[u8]) -> Option<u64> {
    number(name.strip_prefix(b"CHANGELOG.")?)
}

/// Returns the number that `digits` are as a program would write it, so that name and number tell each other.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let canonical = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    std::str::from_utf8(digits).ok().filter(|_| canonical)?.parse().ok()
}
