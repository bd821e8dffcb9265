//! Which changelogs a brick has, which of them are still to be read, and whether any are lacking.
//!
//! Promises: slices are found by listing directories, old flat layout and dated one, so those that a restart of the
//! brick left out of HTIME are found too. All that was recorded before [`plan`] was called is in [`Plan::read`] or in
//! [`Plan::open`]. What cannot be proved to be whole is a [`Gap`], also when clocks of the brick went back.
//! HTIME is only asked what should be there: never what is, and never for counts.
//! Never reads a record, never writes, never asks a clock.
//!
//! # What Gluster does
//!
//! A rollover renames `CHANGELOG` to `YYYY/MM/DD/CHANGELOG.<unix seconds>` (UTC; before 8.0 without the date), or
//! unlinks it if it holds no record; appends that path to the HTIME file, in lower case if there is no such file; and
//! opens a new `CHANGELOG` at once. `<unix seconds>` is the end of the slice. When changelogs are switched off, the
//! last step is left out; when they are switched on, a new `HTIME.<unix seconds>` is made. A brick that stops leaves
//! `CHANGELOG` as it is; when it starts, that is rolled over, mostly without a line in HTIME.
//! (`changelog_rollover_changelog`, `changelog_open_journal`, `reconfigure`, `htime_create` in
//! `xlators/features/changelog/src`, as of 10.3.)
//!
//! Not to be seen on a brick: changelogs that were switched off and on while the brick was stopped each time.
//! The same HTIME goes on then, as after any restart; the options of the volume tell whether they are on.

use super::Gfid;
use super::part::{Cursor, Gap};
use crate::model::escape_bytes;
use crate::sys::walk::{self, errno};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a missing `CHANGELOG` is looked for: it is away between two steps of a rollover, while
/// HTIME is written through to the disk.
const OPEN_TRIES: u32 = 50;
/// How long between two looks.
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// The longest path in HTIME (`PATH_MAX`).
const HTIME_PATH_BYTES_MAX: usize = 4096;

/// What is to be read of a brick.
#[derive(Debug)]
pub struct Plan {
    /// The closed slices that are to be read, oldest first, as full paths.
    pub read: Vec<PathBuf>,
    /// The slice that is being written. None if changelogs are off.
    pub open: Option<Open>,
    /// Where the next plan begins if all of `read` was processed. The open slice never counts as processed. None
    /// where there are no changelogs to go on with: `gaps` says why.
    pub next: Option<Cursor>,
    /// Why the slices do not tell all that changed since the cursor; empty: they do.
    pub gaps: Vec<Gap>,
}

/// The slice that is being written.
#[derive(Debug)]
pub struct Open {
    /// Its name, which another slice may have by now.
    pub path: PathBuf,
    /// It itself, opened before the closed slices were listed: a rollover in between loses nothing.
    pub file: File,
}

/// Why the changelogs of a brick cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of them.
    #[error("cannot list the changelogs in {path:?}")]
    List {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The open slice or the list of slices.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The note which HTIME file is current.
    #[error("cannot read trusted.glusterfs.current_htime of {path:?}")]
    Current {
        /// The directory of the HTIME files.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Returns what is to be read of the brick at `brick`, whose root carries `volume_id`, to know what changed after
/// `since`. Without `since` nothing is, and `next` says "from now on": all that is closed counts as done.
///
/// A slice is to be read if it ends after `since` or less than [`Cursor::KEPT_S`] before, and is not among those done.
/// `next.last` is the last line of HTIME, or the number of the HTIME file itself as long as that lists nothing. With a
/// cursor of another volume id all is as without one, and a gap.
///
/// This is to be called before nodes are looked at or walked: what changes meanwhile is read the next time.
///
/// **Cost:** HTIME is read whole (about 70 bytes for each rollover since it was made); of dated directories those
/// from the day before the cursor on are listed. Memory: the slices since the cursor. Where changelogs are off it
/// takes five seconds to be sure of that.
///
/// # Errors
/// [`Error`] if something is there and cannot be read. What is not there is a gap.
pub fn plan(brick: &Path, volume_id: Gfid, since: Option<&Cursor>) -> Result<Plan, Error> {
    plan_with(brick, volume_id, since, &mut || std::thread::sleep(OPEN_PAUSE))
}

/// Does so with the pause before `CHANGELOG` is looked for again.
///
/// The order of the steps matters: a slice that closes meanwhile is in the open file that is held already, and
/// whatever HTIME lists has been renamed before, so it is found by a listing that comes after.
fn plan_with(brick: &Path, volume_id: Gfid, since: Option<&Cursor>, pause: &mut dyn FnMut()) -> Result<Plan, Error> {
    let folder = brick.join(".glusterfs/changelogs");
    let mut plan = Plan { read: Vec::new(), open: None, next: None, gaps: Vec::new() };
    let since = match since {
        Some(cursor) if cursor.volume_id != volume_id => {
            let why =
                format!("the brick is of volume id {volume_id}, its changelogs were read for {}", cursor.volume_id);
            plan.gaps.push(Gap { why, from: None, until: None });
            None
        }
        since => since,
    };
    let Some(htime) = current_htime(&folder.join("htime"))? else {
        plan.gaps.push(Gap { why: "changelogs were never on".to_owned(), from: None, until: None });
        return Ok(plan);
    };
    plan.open = open_slice(&folder, pause)?;
    let from = since.filter(|cursor| cursor.htime == htime.name());
    let Some(listed) = Listed::read(&folder.join("htime"), htime, from)? else {
        let why = format!("{} is noted as the current list of changelogs and is missing", htime.name());
        plan.gaps.push(Gap { why, from: since.map(|cursor| cursor.last), until: None });
        return Ok(plan);
    };
    let begins = since.map_or(listed.last, |cursor| cursor.last.min(listed.last)).saturating_sub(Cursor::KEPT_S);
    let mut found = find_slices(&folder, begins)?;
    found.sort();

    if let Some(cursor) = since {
        plan.gaps.extend(gaps(cursor, htime, &listed, &found));
        let wanted = |end: &u64| is_wanted(cursor, *end);
        plan.read = found.iter().filter(|(end, _)| wanted(end)).map(|(_, path)| path.clone()).collect();
    }
    if plan.open.is_none() {
        let newest = found.last().map_or(listed.last, |(end, _)| listed.last.max(*end));
        plan.gaps.push(Gap { why: "changelogs are off".to_owned(), from: Some(newest), until: None });
        return Ok(plan);
    }
    plan.next = Some(next(volume_id, since, htime, &listed, &found));
    Ok(plan)
}

/// Returns what is to be read of a brick to know what was recorded from second `from` until second `until`: every slice
/// that overlaps that span, oldest first, and the open one if it does. There is no cursor to go on with.
///
/// What is lacking is a gap, and what is there is still to be read. That changelogs were off for a while shows in an HTIME
/// file that begins in the span; whoever asks for a time before the first one is told the same.
///
/// **Cost:** every HTIME file is read whole. Memory: a number for each rollover since `from`.
///
/// # Errors
/// As [`plan`].
pub fn plan_window(brick: &Path, from: u64, until: u64) -> Result<Plan, Error> {
    plan_window_with(brick, from, until, &mut || std::thread::sleep(OPEN_PAUSE))
}

fn plan_window_with(brick: &Path, from: u64, until: u64, pause: &mut dyn FnMut()) -> Result<Plan, Error> {
    let folder = brick.join(".glusterfs/changelogs");
    let mut plan = Plan { read: Vec::new(), open: None, next: None, gaps: Vec::new() };
    if current_htime(&folder.join("htime"))?.is_none() {
        plan.gaps.push(Gap { why: "changelogs were never on".to_owned(), from: None, until: None });
        return Ok(plan);
    }
    let open = open_slice(&folder, pause)?;
    // All that ended since the span began, and what of it should be on the disk.
    let (mut ends, mut listed, mut lists) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    each_name(&folder.join("htime"), &mut |name| lists.extend(Htime::of_name(name)))?;
    lists.sort();
    for htime in &lists {
        let path = folder.join("htime").join(htime.name());
        let error = |source| Error::Read { path: path.clone(), source };
        let file = BufReader::with_capacity(1 << 18, File::open(&path).map_err(error)?);
        each_line(file, &mut |line| {
            let name = line.and_then(|line| line.rsplit(|byte| *byte == b'/').next()).unwrap_or_default();
            let slice = slice_end(name);
            listed.extend(slice.filter(|end| *end >= from));
            ends.extend(slice.or_else(|| name.strip_prefix(b"changelog.").and_then(number)).filter(|end| *end >= from));
        })
        .map_err(error)?;
        ends.extend((htime.0 >= from).then_some(htime.0));
    }
    let mut found = find_slices(&folder, from)?;
    found.sort();
    ends.extend(found.iter().map(|(end, _)| *end));
    // A slice begins where the one before it ends; one of which that is not known began before the span.
    let overlaps = |end: u64| ends.range(..end).next_back().is_none_or(|begin| *begin <= until);
    for htime in lists.iter().filter(|htime| htime.0 > from && htime.0 <= until) {
        let why = format!("nothing is known of the time before {}: changelogs were off", htime.name());
        let begin = ends.range(..htime.0).next_back().copied().unwrap_or(from);
        plan.gaps.push(Gap { why, from: Some(begin), until: Some(htime.0) });
    }
    let is_found = |end: u64| found.binary_search_by_key(&end, |(end, _)| *end).is_ok();
    let missing: Vec<u64> = listed.iter().copied().filter(|end| overlaps(*end) && !is_found(*end)).collect();
    if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
        let why = format!("{} listed changelogs are missing, the first is {}", missing.len(), slice_name(*first));
        let begin = ends.range(..first).next_back().copied().unwrap_or(from);
        plan.gaps.push(Gap { why, from: Some(begin), until: Some(*last) });
    }
    let last = ends.last().copied();
    if open.is_none() && last.is_none_or(|last| last < until) {
        plan.gaps.push(Gap { why: "changelogs are off".to_owned(), from: Some(last.unwrap_or(from)), until: None });
    }
    plan.open = open.filter(|_| last.is_none_or(|last| last <= until));
    plan.read = found.iter().filter(|(end, _)| overlaps(*end)).map(|(_, path)| path.clone()).collect();
    Ok(plan)
}

/// Tells whether the slice that ends at `end` was not processed before `cursor`.
fn is_wanted(cursor: &Cursor, end: u64) -> bool {
    end >= cursor.last.saturating_sub(Cursor::KEPT_S) && !cursor.done.contains(&slice_name(end))
}

/// Returns the cursor after all that was found.
///
/// Not the newest slice but the last line of HTIME is where it stands: a clock that was ahead for a while leaves
/// slices from the future, and nothing that is written after it was set right would be newer than those. They are
/// remembered by name like all others.
fn next(volume_id: Gfid, since: Option<&Cursor>, htime: Htime, listed: &Listed, found: &[(u64, PathBuf)]) -> Cursor {
    let kept_from = listed.last.saturating_sub(Cursor::KEPT_S);
    let is_kept = |end: &u64| *end >= kept_from;
    // Also those that are listed and gone: that was a gap once and is none the next time.
    let ends = found.iter().map(|(end, _)| *end).chain(listed.slices.iter().copied());
    let mut done: BTreeSet<String> = ends.filter(is_kept).map(slice_name).collect();
    let before = since.into_iter().flat_map(|cursor| &cursor.done);
    done.extend(before.filter(|name| slice_end(name.as_bytes()).is_some_and(|end| is_kept(&end))).cloned());
    Cursor { volume_id, htime: htime.name(), last: listed.last, done }
}

/// Returns what the slices since `cursor` lack.
fn gaps(cursor: &Cursor, htime: Htime, listed: &Listed, found: &[(u64, PathBuf)]) -> Vec<Gap> {
    if cursor.htime != htime.name() {
        let why = format!("changelogs were off for a while: {} goes on where {} was", htime.name(), cursor.htime);
        return vec![Gap { why, from: Some(cursor.last), until: Some(htime.0) }];
    }
    let mut gaps = Vec::new();
    let is_found = |end: u64| found.binary_search_by_key(&end, |(end, _)| *end).is_ok();
    if !listed.has_cursor && !is_found(cursor.last) {
        let why = format!(
            "{} was read before and is neither there nor in {}: the brick was replaced or restored",
            slice_name(cursor.last),
            htime.name()
        );
        gaps.push(Gap { why, from: Some(cursor.last), until: None });
    }
    let missing: Vec<u64> =
        listed.slices.iter().copied().filter(|end| is_wanted(cursor, *end) && !is_found(*end)).collect();
    if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
        let why = format!(
            "{} of the changelogs that {} lists are missing, the first is {}",
            missing.len(),
            htime.name(),
            slice_name(*first)
        );
        let before = listed.slices.range(..first).next_back().copied();
        gaps.push(Gap { why, from: Some(before.unwrap_or(cursor.last.min(*first))), until: Some(*last) });
    }
    gaps.extend(listed.faults.iter().map(|why| Gap { why: why.clone(), from: Some(cursor.last), until: None }));
    gaps
}

/// The HTIME file that is written now, by the second at which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Htime(u64);

impl Htime {
    fn of_name(name: &[u8]) -> Option<Self> {
        number(name.strip_prefix(b"HTIME.")?).map(Self)
    }

    fn name(self) -> String {
        format!("HTIME.{}", self.0)
    }
}

/// Returns the HTIME file that is written now: the one that is noted at the directory, else the newest, as the brick
/// itself does it (`htime_open`). None if there is none.
fn current_htime(folder: &Path) -> Result<Option<Htime>, Error> {
    let current = |source| Error::Current { path: folder.to_owned(), source };
    let directory = match walk::open_root(folder) {
        Ok(directory) => directory,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(current(e)),
    };
    let mut value = [0; 256];
    let calls = walk::XattrCalls::ProcFd;
    match walk::get_xattr(calls, directory.as_fd(), None, c"trusted.glusterfs.current_htime", &mut value) {
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

/// Opens the slice that is written now; none if there is none for longer than a rollover takes.
fn open_slice(folder: &Path, pause: &mut dyn FnMut()) -> Result<Option<Open>, Error> {
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

/// What the current HTIME file says about the time since a cursor.
#[derive(Debug)]
struct Listed {
    /// The end of the slice in the last line; that of the file itself if it has none.
    last: u64,
    /// The ends of the slices that should be there and may matter, in order, each once.
    slices: BTreeSet<u64>,
    /// Whether the cursor stands on one of its lines.
    has_cursor: bool,
    /// What is wrong with the lines after that one.
    faults: Vec<String>,
}

impl Listed {
    /// Reads it; none if it does not exist. Without a cursor only the last hour of it is remembered.
    fn read(folder: &Path, htime: Htime, since: Option<&Cursor>) -> Result<Option<Self>, Error> {
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
fn each_line(mut lines: impl BufRead, each: &mut dyn FnMut(Option<&[u8]>)) -> io::Result<()> {
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

/// Returns the closed slices that end at `begins` or later, each with its end, in no order.
fn find_slices(folder: &Path, begins: u64) -> Result<Vec<(u64, PathBuf)>, Error> {
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
fn first_day(seconds: u64) -> (u16, u16, u16) {
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

fn each_name(folder: &Path, each: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    let error = |source| Error::List { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(error)? {
        each(entry.map_err(error)?.file_name().as_bytes());
    }
    Ok(())
}

fn slice_name(end: u64) -> String {
    format!("CHANGELOG.{end}")
}

fn slice_end(name: &[u8]) -> Option<u64> {
    number(name.strip_prefix(b"CHANGELOG.")?)
}

/// Returns the number that `digits` are as a program would write it, so that name and number tell each other.
fn number(digits: &[u8]) -> Option<u64> {
    let canonical = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    std::str::from_utf8(digits).ok().filter(|_| canonical)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::walk::fixture;
    use std::io::Write;

    const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gluster");
    const ROUNDS: [&str; 6] = [
        "round-1-create",
        "round-2-modify",
        "round-3-rename",
        "round-4-link-delete",
        "round-5-brick-restart",
        "round-6-odd-names",
    ];
    const VOLUME: Gfid = Gfid([7; 16]);
    const HTIME: &str = "HTIME.1795218773";

    /// A brick with changelogs and nothing else.
    struct Brick(tempfile::TempDir);

    impl Brick {
        /// One on which changelogs were switched on at second 1000000, with an open slice.
        fn new() -> Self {
            let brick = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(brick.changelogs().join("htime")).unwrap();
            brick.htime("HTIME.1000000", &[]).file("CHANGELOG");
            brick
        }

        /// A brick of the corpus as it was at the end of round `last`, but for the extended attributes.
        fn of_corpus(volume: &str, name: &str, last: usize) -> Self {
            let brick = Self(tempfile::tempdir().unwrap());
            for round in &ROUNDS[..last] {
                let from = Path::new(CORPUS).join(volume).join(round).join(name).join("changelogs");
                lay_over(&from, &brick.changelogs());
            }
            brick
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn changelogs(&self) -> PathBuf {
            self.path().join(".glusterfs/changelogs")
        }

        /// Adds lines to an HTIME file, which is made if it is not there; the prefix is that of a brick that was moved.
        fn htime(&self, name: &str, lines: &[&str]) -> &Self {
            let path = self.changelogs().join("htime").join(name);
            let mut file = File::options().create(true).append(true).open(path).unwrap();
            for line in lines {
                file.write_all(format!("/old/place/.glusterfs/changelogs/{line}\0").as_bytes()).unwrap();
            }
            self
        }

        fn file(&self, name: &str) -> &Self {
            let path = self.changelogs().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"GlusterFS Changelog | version: v1.2 | encoding : 2\n").unwrap();
            self
        }

        fn remove(&self, name: &str) -> &Self {
            fs::remove_file(self.changelogs().join(name)).unwrap();
            self
        }

        fn plan(&self, since: Option<&Cursor>) -> Plan {
            plan_with(self.path(), VOLUME, since, &mut || ()).unwrap()
        }

        /// Returns the cursor after all that is there.
        fn now(&self) -> Cursor {
            let plan = self.plan(None);
            assert_eq!((plan.read.len(), plan.gaps.len()), (0, 0));
            plan.next.unwrap()
        }
    }

    fn lay_over(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                lay_over(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    /// Returns what is to be read, below the directory of changelogs.
    fn read(brick: &Brick, plan: &Plan) -> Vec<String> {
        let below = brick.changelogs();
        plan.read.iter().map(|path| path.strip_prefix(&below).unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn why(plan: &Plan) -> Vec<(&str, Option<u64>, Option<u64>)> {
        plan.gaps.iter().map(|gap| (gap.why.as_str(), gap.from, gap.until)).collect()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn from_now_on_nothing_is_read_and_all_that_is_closed_is_done() {
        let brick = Brick::of_corpus("gv0", "gv0-b1", 2);
        let plan = brick.plan(None);
        assert_eq!((read(&brick, &plan), why(&plan)), (vec![], vec![]));
        assert_eq!(plan.open.unwrap().path, brick.changelogs().join("CHANGELOG"));
        let done = names(&[
            "CHANGELOG.1795218794",
            "CHANGELOG.1795218838",
            "CHANGELOG.1795218841",
            "CHANGELOG.1795218847",
            "CHANGELOG.1795218856",
            "CHANGELOG.1795218859",
        ]);
        // The last line of HTIME is an empty slice.
        let expected = Cursor { volume_id: VOLUME, htime: HTIME.to_owned(), last: 1_795_218_866, done };
        assert_eq!(plan.next, Some(expected));
    }

    #[test]
    fn each_round_of_the_corpus_reads_its_own_slices_and_has_no_gap() {
        for (volume, name) in
            [("gv0", "gv0-b1"), ("gr0", "gr0-b1"), ("gr0", "gr0-b2"), ("gr0", "gr0-b3"), ("gr0", "gr0-b4")]
        {
            let mut cursor = Brick::of_corpus(volume, name, 1).now();
            for last in 2..=ROUNDS.len() {
                let brick = Brick::of_corpus(volume, name, last);
                let plan = brick.plan(Some(&cursor));
                let told = Path::new(CORPUS).join(volume).join(ROUNDS[last - 1]).join(name).join("htime.json");
                let told: serde_json::Value = serde_json::from_slice(&fs::read(told).unwrap()).unwrap();
                assert_eq!(serde_json::json!(read(&brick, &plan)), told["new_changelogs"], "{name} {last}");
                assert_eq!(why(&plan), [], "{name} {last}");
                cursor = plan.next.unwrap();
                assert_eq!(read(&brick, &brick.plan(Some(&cursor))), Vec::<String>::new(), "{name} {last}");
            }
        }
    }

    #[test]
    fn the_slice_that_a_restart_left_out_of_htime_is_read() {
        let cursor = Brick::of_corpus("gv0", "gv0-b1", 4).now();
        let brick = Brick::of_corpus("gv0", "gv0-b1", 5);
        let plan = brick.plan(Some(&cursor));
        assert_eq!(read(&brick, &plan), ["2026/11/20/CHANGELOG.1795219020", "2026/11/20/CHANGELOG.1795219029"]);
        assert_eq!(why(&plan), []);
    }

    #[test]
    fn a_slice_that_appears_out_of_order_is_read_once() {
        let brick = Brick::new();
        brick.htime("HTIME.1000000", &["1970/01/12/CHANGELOG.1005000"]).file("1970/01/12/CHANGELOG.1005000");
        let cursor = brick.now();
        brick.file("1970/01/12/CHANGELOG.1004990");
        let plan = brick.plan(Some(&cursor));
        assert_eq!(read(&brick, &plan), ["1970/01/12/CHANGELOG.1004990"]);
        let next = plan.next.unwrap();
        assert_eq!(next.done, names(&["CHANGELOG.1004990", "CHANGELOG.1005000"]));
        assert_eq!(read(&brick, &brick.plan(Some(&next))), Vec::<String>::new());
    }

    #[test]
    fn slices_are_known_by_name_for_an_hour() {
        let brick = Brick::new();
        let lines = ["CHANGELOG.1001000", "CHANGELOG.1001001", "changelog.1004600"];
        brick.htime("HTIME.1000000", &lines).file(lines[0]).file(lines[1]);
        assert_eq!(brick.now().done, names(&["CHANGELOG.1001000", "CHANGELOG.1001001"]));
        brick.htime("HTIME.1000000", &["changelog.1004601"]);
        let cursor = brick.now();
        assert_eq!((cursor.last, cursor.done.clone()), (1_004_601, names(&["CHANGELOG.1001001"])));
        let plan = brick.plan(Some(&cursor));
        assert_eq!((read(&brick, &plan), why(&plan)), (vec![], vec![]));
    }

    #[test]
    fn the_old_flat_layout_and_the_dated_one_are_read_together_oldest_first() {
        let brick = Brick::new();
        brick.htime("HTIME.1000000", &["changelog.1000010"]);
        let cursor = brick.now();
        let lines =
            ["CHANGELOG.1000020", "1970/01/12/CHANGELOG.1000040", "CHANGELOG.1000030", "1970/02/01/CHANGELOG.2700000"];
        lines.iter().fold(&brick, |brick, line| brick.file(line));
        brick.htime("HTIME.1000000", &[lines[0], lines[2], lines[1], lines[3]]);
        for other in
            ["CHANGELOG.1000050.gz", "CHANGELOG.01000060", "CHANGELOG.", "changelog.1000070", "csnap/CHANGELOG.SNAP"]
        {
            brick.file(other);
        }
        let plan = brick.plan(Some(&cursor));
        assert_eq!(read(&brick, &plan), [lines[0], lines[2], lines[1], lines[3]]);
        assert_eq!(why(&plan), []);
    }

    #[test]
    fn directories_from_before_the_day_before_the_cursor_are_not_listed() {
        let brick = Brick::new();
        // 1970-03-02T00:00:10Z: its hour begins the day before.
        brick.htime("HTIME.1000000", &["1970/03/02/CHANGELOG.5184010"]).file("1970/03/02/CHANGELOG.5184010");
        let cursor = Cursor { done: BTreeSet::new(), ..brick.now() };
        brick.file("1970/03/01/CHANGELOG.5183000");
        // A directory that cannot be listed shows that nobody tries.
        for old in ["1970/02/27", "1970/01", "1969"] {
            fs::create_dir_all(brick.changelogs().join(old).parent().unwrap()).unwrap();
            fs::write(brick.changelogs().join(old), b"no directory").unwrap();
        }
        let plan = brick.plan(Some(&cursor));
        assert_eq!(read(&brick, &plan), ["1970/03/01/CHANGELOG.5183000", "1970/03/02/CHANGELOG.5184010"]);
        fs::write(brick.changelogs().join("1971"), b"no directory").unwrap();
        let error = plan_with(brick.path(), VOLUME, Some(&cursor), &mut || ()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot list the changelogs in {:?}", brick.changelogs().join("1971")));
    }

    #[test]
    fn the_open_slice_is_never_done_and_is_still_the_same_after_a_rollover() {
        let brick = Brick::new();
        let cursor = brick.now();
        assert_eq!((cursor.last, cursor.done.len()), (1_000_000, 0));
        fs::write(brick.changelogs().join("CHANGELOG"), b"before").unwrap();
        let plan = brick.plan(Some(&cursor));
        assert_eq!((why(&plan), plan.next.as_ref()), (vec![], Some(&cursor)));
        fs::create_dir_all(brick.changelogs().join("1970/01/12")).unwrap();
        fs::rename(brick.changelogs().join("CHANGELOG"), brick.changelogs().join("1970/01/12/CHANGELOG.1000015"))
            .unwrap();
        brick.htime("HTIME.1000000", &["1970/01/12/CHANGELOG.1000015"]).file("CHANGELOG");
        assert_eq!(io::read_to_string(plan.open.unwrap().file).unwrap(), "before");
        assert_eq!(read(&brick, &brick.plan(plan.next.as_ref())), ["1970/01/12/CHANGELOG.1000015"]);
    }

    #[test]
    fn a_rollover_in_progress_is_waited_for_and_is_no_gap() {
        let brick = Brick::new();
        brick.remove("CHANGELOG");
        let mut pauses = 0;
        let plan = plan_with(brick.path(), VOLUME, None, &mut || {
            pauses += 1;
            if pauses == 3 {
                brick.file("CHANGELOG");
            }
        });
        let plan = plan.unwrap();
        assert_eq!((pauses, why(&plan)), (3, vec![]));
        assert!(plan.open.is_some() && plan.next.is_some());
    }

    #[test]
    fn changelogs_that_are_off_are_a_gap_and_leave_no_cursor() {
        let brick = Brick::new();
        brick.htime("HTIME.1000000", &["CHANGELOG.1000015"]).file("CHANGELOG.1000015");
        let cursor = brick.now();
        brick.htime("HTIME.1000000", &["CHANGELOG.1000030"]).file("CHANGELOG.1000030").remove("CHANGELOG");
        let mut pauses = 0;
        let plan = plan_with(brick.path(), VOLUME, Some(&cursor), &mut || pauses += 1).unwrap();
        assert_eq!(pauses, 50);
        assert_eq!(why(&plan), [("changelogs are off", Some(1_000_030), None)]);
        assert_eq!(read(&brick, &plan), ["CHANGELOG.1000030"]);
        assert_eq!((plan.next, plan.open.is_none()), (None, true));
        assert_eq!(why(&brick.plan(None)), [("changelogs are off", Some(1_000_030), None)]);
    }

    #[test]
    fn a_brick_without_changelogs_is_a_gap() {
        let brick = Brick(tempfile::tempdir().unwrap());
        for _ in ["no directory at all", "an empty one"] {
            let plan = brick.plan(None);
            assert_eq!((why(&plan), &plan.next), (vec![("changelogs were never on", None, None)], &None));
            fs::create_dir_all(brick.changelogs().join("htime")).unwrap();
        }
    }

    #[test]
    fn another_htime_means_that_changelogs_were_off() {
        let brick = Brick::new();
        brick.htime("HTIME.1000000", &["CHANGELOG.1000015"]).file("CHANGELOG.1000015");
        let cursor = brick.now();
        brick.htime("HTIME.1000000", &["CHANGELOG.1000020"]).file("CHANGELOG.1000020");
        brick.htime("HTIME.1000900", &["CHANGELOG.1000915"]).file("CHANGELOG.1000915");
        let plan = brick.plan(Some(&cursor));
        let expected = "changelogs were off for a while: HTIME.1000900 goes on where HTIME.1000000 was";
        assert_eq!(why(&plan), [(expected, Some(1_000_015), Some(1_000_900))]);
        assert_eq!(read(&brick, &plan), ["CHANGELOG.1000020", "CHANGELOG.1000915"]);
        let next = plan.next.unwrap();
        assert_eq!((next.htime.as_str(), next.last), ("HTIME.1000900", 1_000_915));
        assert_eq!(why(&brick.plan(Some(&next))), []);
    }

    #[test]
    fn the_htime_file_that_is_noted_counts_not_the_newest() {
        if !fixture::is_root() {
            return;
        }
        let brick = Brick::new();
        brick.htime("HTIME.2000000", &[]);
        assert_eq!(brick.now().htime, "HTIME.2000000");
        let folder = brick.changelogs().join("htime");
        fixture::set_xattr(&folder, "trusted.glusterfs.current_htime", b"HTIME.1000000");
        assert_eq!(brick.now().htime, "HTIME.1000000");
        fixture::set_xattr(&folder, "trusted.glusterfs.current_htime", b"HTIME.3000000");
        let plan = brick.plan(None);
        let expected = "HTIME.3000000 is noted as the current list of changelogs and is missing";
        assert_eq!((why(&plan), &plan.next), (vec![(expected, None, None)], &None));
        fixture::set_xattr(&folder, "trusted.glusterfs.current_htime", b"../x");
        let error = plan_with(brick.path(), VOLUME, None, &mut || ()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read trusted.glusterfs.current_htime of {folder:?}"));
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "found \"../x\", expected HTIME.<unix seconds>");
    }

    #[test]
    fn slices_that_are_listed_and_gone_are_a_gap_unless_they_were_read() {
        let brick = Brick::new();
        let lines =
            ["CHANGELOG.1000015", "changelog.1000030", "CHANGELOG.1000045", "CHANGELOG.1000060", "CHANGELOG.1000075"];
        brick.htime("HTIME.1000000", &lines[..1]).file(lines[0]);
        let cursor = brick.now();
        brick.htime("HTIME.1000000", &lines[1..]).remove(lines[0]).file(lines[4]);
        let plan = brick.plan(Some(&cursor));
        let expected = "2 of the changelogs that HTIME.1000000 lists are missing, the first is CHANGELOG.1000045";
        assert_eq!(why(&plan), [(expected, Some(1_000_015), Some(1_000_060))]);
        assert_eq!(read(&brick, &plan), ["CHANGELOG.1000075"]);
        assert_eq!(why(&brick.plan(plan.next.as_ref())), []);
        assert_eq!(why(&brick.plan(Some(&brick.now()))), []);
    }

    #[test]
    fn a_window_reads_every_slice_that_overlaps_it_and_no_other() {
        let brick = Brick::new();
        let lines =
            ["CHANGELOG.1000015", "changelog.1000030", "CHANGELOG.1000045", "CHANGELOG.1000060", "changelog.1000075"];
        brick.htime("HTIME.1000000", &lines);
        brick.file(lines[0]).file(lines[2]).file(lines[3]);
        let window = |from: u64, until: u64| {
            let plan = plan_window_with(brick.path(), from, until, &mut || ()).unwrap();
            assert_eq!((why(&plan), &plan.next), (vec![], &None));
            let mut names = read(&brick, &plan);
            names.extend(plan.open.map(|_| "open".to_owned()));
            names
        };
        assert_eq!(window(1_000_002, 1_000_010), ["CHANGELOG.1000015"]);
        assert_eq!(window(1_000_016, 1_000_029), Vec::<String>::new(), "nothing was recorded");
        assert_eq!(window(1_000_031, 1_000_044), ["CHANGELOG.1000045"]);
        assert_eq!(window(1_000_045, 1_000_045), ["CHANGELOG.1000045", "CHANGELOG.1000060"], "a second of two slices");
        assert_eq!(window(1_000_050, 1_000_074), ["CHANGELOG.1000060"]);
        assert_eq!(window(1_000_076, 1_000_076), ["open"]);
        assert_eq!(
            window(1_000_001, 2_000_000),
            ["CHANGELOG.1000015", "CHANGELOG.1000045", "CHANGELOG.1000060", "open"]
        );
    }

    #[test]
    fn what_a_window_lacks_is_a_gap() {
        let brick = Brick::new();
        brick.htime("HTIME.1000000", &["CHANGELOG.1000015", "CHANGELOG.1000030"]).file("CHANGELOG.1000015");
        brick.htime("HTIME.1000100", &["CHANGELOG.1000115"]).file("CHANGELOG.1000115");
        let window = |from: u64, until: u64| plan_window_with(brick.path(), from, until, &mut || ()).unwrap();
        let missing = "1 listed changelogs are missing, the first is CHANGELOG.1000030";
        let off = "nothing is known of the time before HTIME.1000100: changelogs were off";
        assert_eq!(
            why(&window(1_000_010, 1_000_110)),
            [(off, Some(1_000_030), Some(1_000_100)), (missing, Some(1_000_015), Some(1_000_030))]
        );
        assert_eq!(why(&window(1_000_101, 1_000_110)), []);
        let before = "nothing is known of the time before HTIME.1000000: changelogs were off";
        assert_eq!(why(&window(5, 1_000_001)), [(before, Some(5), Some(1_000_000))]);
        brick.remove("CHANGELOG");
        assert_eq!(why(&window(1_000_101, 1_000_120)), [("changelogs are off", Some(1_000_115), None)]);
        assert_eq!(why(&window(1_000_101, 1_000_110)), []);
    }

    #[test]
    fn another_volume_id_is_a_gap_and_a_new_beginning() {
        let brick = Brick::new();
        brick.htime("HTIME.1000000", &["CHANGELOG.1000015"]);
        let cursor = Cursor { volume_id: Gfid::ROOT, ..brick.now() };
        brick.htime("HTIME.1000000", &["CHANGELOG.1000030"]).file("CHANGELOG.1000030");
        let plan = brick.plan(Some(&cursor));
        let expected = "the brick is of volume id 07070707-0707-0707-0707-070707070707, its changelogs were read for \
                        00000000-0000-0000-0000-000000000001";
        assert_eq!(why(&plan), [(expected, None, None)]);
        assert_eq!(read(&brick, &plan), Vec::<String>::new());
        let next = plan.next.unwrap();
        assert_eq!((next.volume_id, next.last), (VOLUME, 1_000_030));
    }

    #[test]
    fn a_brick_that_lacks_the_last_slice_that_was_read_was_restored() {
        let brick = Brick::new();
        brick.htime("HTIME.1000000", &["CHANGELOG.1000015"]).file("CHANGELOG.1000015");
        let cursor = brick.now();
        let path = brick.changelogs().join("htime/HTIME.1000000");
        fs::write(&path, b"").unwrap();
        // It is enough that it is there, or that it is listed.
        assert_eq!(why(&brick.plan(Some(&cursor))), []);
        brick.remove("CHANGELOG.1000015").htime("HTIME.1000000", &["CHANGELOG.1000015"]);
        assert_eq!(why(&brick.plan(Some(&cursor))), []);
        fs::write(&path, b"").unwrap();
        let plan = brick.plan(Some(&cursor));
        let expected = "CHANGELOG.1000015 was read before and is neither there nor in HTIME.1000000: the brick was \
                        replaced or restored";
        assert_eq!(why(&plan), [(expected, Some(1_000_015), None)]);
        assert_eq!(plan.next.unwrap().last, 1_000_000);
    }

    #[test]
    fn a_clock_that_went_back_is_a_gap_once() {
        let brick = Brick::new();
        brick.htime("HTIME.1000000", &["1970/01/24/CHANGELOG.2000000"]).file("1970/01/24/CHANGELOG.2000000");
        let cursor = brick.now();
        brick.htime("HTIME.1000000", &["changelog.1000010"]);
        assert_eq!(why(&brick.plan(Some(&cursor))), []);
        brick.htime("HTIME.1000000", &["1970/01/12/CHANGELOG.1000020"]).file("1970/01/12/CHANGELOG.1000020");
        let plan = brick.plan(Some(&cursor));
        let expected = "the clock of the brick went back: CHANGELOG.1000020 came after the last that was read";
        assert_eq!(why(&plan), [(expected, Some(2_000_000), None)]);
        let next = brick.now();
        assert_eq!((next.last, next.done.clone()), (1_000_020, names(&["CHANGELOG.1000020", "CHANGELOG.2000000"])));
        brick.htime("HTIME.1000000", &["1970/01/12/CHANGELOG.1000030"]).file("1970/01/12/CHANGELOG.1000030");
        let plan = brick.plan(Some(&next));
        assert_eq!((read(&brick, &plan), why(&plan)), (vec!["1970/01/12/CHANGELOG.1000030".to_owned()], vec![]));
    }

    #[test]
    fn a_slice_that_overwrote_another_is_a_gap_and_two_empty_ones_are_none() {
        let brick = Brick::new();
        brick.htime("HTIME.1000000", &["changelog.1000010"]);
        let cursor = brick.now();
        brick.htime("HTIME.1000000", &["changelog.1000020", "changelog.1000020", "CHANGELOG.1000020"]);
        brick.file("CHANGELOG.1000020");
        assert_eq!(why(&brick.plan(Some(&cursor))), []);
        brick.htime("HTIME.1000000", &["CHANGELOG.1000020"]);
        let expected = "CHANGELOG.1000020 is listed twice: the second overwrote the first";
        assert_eq!(why(&brick.plan(Some(&cursor))), [(expected, Some(1_000_010), None)]);
    }

    #[test]
    fn damage_in_htime_matters_after_the_cursor_and_a_line_that_is_being_written_never() {
        let brick = Brick::new();
        let path = brick.changelogs().join("htime/HTIME.1000000");
        let add = |bytes: &[u8]| File::options().append(true).open(&path).unwrap().write_all(bytes).unwrap();
        // Without a line of its own, a cursor at the beginning stands before all lines.
        let begin = brick.now();
        add(b"/x/junk\0\0");
        add(&[b'x'; 300_000]);
        add(b"\0/x/CHANGELOG.1000015\0");
        brick.file("CHANGELOG.1000015");
        let cursor = brick.now();
        assert_eq!(cursor.last, 1_000_015);
        add(b"/x/CHANGELOG.10000");
        assert_eq!(why(&brick.plan(Some(&cursor))), []);
        let damaged = "the list of changelogs is damaged: it holds \"junk\"";
        let empty = "the list of changelogs is damaged: it holds \"\"";
        let expected = [damaged, empty, empty].map(|why| (why, Some(1_000_000), None));
        assert_eq!(why(&brick.plan(Some(&begin))), expected);
    }

    #[test]
    fn a_list_longer_than_the_buffer_is_read_to_its_end() {
        let brick = Brick::new();
        let lines: Vec<String> = (0..20_000).map(|n| format!("changelog.{}", 1_000_015 + 15 * n)).collect();
        brick.htime("HTIME.1000000", &lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(brick.now().last, 1_300_000);
        let mut seen = Vec::new();
        each_line(BufReader::with_capacity(3, &b"ab\0\0cdefgh\0i"[..]), &mut |line| {
            seen.push(line.unwrap().to_owned())
        })
        .unwrap();
        assert_eq!(seen, [&b"ab"[..], b"", b"cdefgh"]);
    }

    #[test]
    fn only_what_a_program_would_write_is_a_number() {
        let table = [
            ("0", Some(0)),
            ("17", Some(17)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+1", None),
            ("01", None),
            ("1a", None),
        ];
        for (digits, value) in table {
            assert_eq!(number(digits.as_bytes()), value, "{digits:?}");
        }
    }

    #[test]
    fn any_cursor_has_a_first_day() {
        assert_eq!(first_day(0), (1969, 12, 31));
        assert_eq!(first_day(1_795_219_089), (2026, 11, 19));
        assert_eq!(first_day(u64::MAX), (0, 0, 0));
    }
}
