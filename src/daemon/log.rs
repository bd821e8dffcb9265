//! The log of a daemon: a file, or standard error.
//!
//! Promises: the file is made for its owner alone (and, beside a catalog that its group may read, for that), and the one that is beside a catalog is opened through no symbolic link. What one
//! cause says is limited: [`LINES_MAX`] lines a minute, each of at most [`LINE_MAX`] bytes; what is left out is counted and said.
//! Where standard error is the journal of systemd, lines have their priority and no time of their own (sd-daemon(3)).
//! A line is one line, whatever names are in it, and nothing in it is obeyed by a terminal.
//! A file that was moved away is left at the next [`Log::reopen`].

use super::error::Error;
use crate::model::printable;
use crate::sys::{group, lock, process};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Lines a minute of one cause: one place in the program.
const LINES_MAX: u32 = 60;
/// Bytes of a line.
const LINE_MAX: usize = 4096;
const MINUTE: Duration = Duration::from_secs(60);

/// What the name of a log beside a catalog ends with.
pub const BESIDE: &str = ".log";

/// Where a log is.
#[derive(Clone, Debug)]
pub enum Place {
    /// Standard error.
    Stderr,
    /// This file, which somebody named.
    File(PathBuf),
    /// This file beside a catalog.
    Beside(PathBuf),
}

/// A log that is written to.
#[derive(Clone, Debug)]
pub struct Log(Option<Arc<LogFile>>);

#[derive(Debug)]
struct LogFile {
    place: Place,
    file: Mutex<File>,
    /// Standard error is this file, too.
    has_stderr: bool,
}

impl Log {
    /// Starts the log of this process; what is logged is for `ASOF_LOG` to say. `has_stderr`: standard error is that file, too. To be
    /// called once.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub fn start(place: &Place, has_stderr: bool) -> Result<Self, Error> {
        let filter = tracing_subscriber::EnvFilter::try_from_env("ASOF_LOG").unwrap_or_else(|_| "info".into());
        let is_journal = matches!(place, Place::Stderr) && is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref());
        let form = Limited { form: Format::default().with_target(false), is_journal, causes: Mutex::default() };
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .log_internal_errors(false)
            .event_format(form);
        if let Place::Stderr = place {
            builder.with_writer(io::stderr).init();
            return Ok(Self(None));
        }
        let file = Mutex::new(open(place)?);
        let log = Arc::new(LogFile { place: place.clone(), file, has_stderr });
        builder.with_writer(Writers(Arc::clone(&log))).init();
        Ok(Self(Some(log)))
    }

    /// Goes over to the file that has its name now, and makes it if there is none: after a rotation.
    ///
    /// # Errors
    /// [`Error::Log`]; then the one before is written to.
    pub fn reopen(&self) -> Result<(), Error> {
        let Some(log) = &self.0 else { return Ok(()) };
        let file = open(&log.place)?;
        if log.has_stderr {
            let fail = |source| Error::Log { path: path_of(&log.place).to_owned(), source };
            process::point_stderr_at(&file).map_err(fail)?;
        }
        *log.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

/// Returns the file of a log.
pub fn path_of(place: &Place) -> &Path {
    match place {
        Place::Stderr => Path::new("/dev/stderr"),
        Place::File(path) | Place::Beside(path) => path,
    }
}

/// Opens the file of a log for writing at its end.
pub(super) fn open(place: &Place) -> Result<File, Error> {
    let path = path_of(place);
    let catalog = path.as_os_str().as_bytes().strip_suffix(BESIDE.as_bytes()).map(OsStr::from_bytes);
    let catalog = catalog.and_then(|catalog| std::fs::metadata(catalog).ok());
    let opened = match place {
        Place::Stderr | Place::File(_) => File::options().append(true).create(true).mode(0o600).open(path),
        Place::Beside(_) => {
            lock::open_to_append(path, catalog.as_ref().map_or_else(|| process::effective_ids().0, MetadataExt::uid))
        }
    };
    if let (Ok(file), Place::Beside(_)) = (&opened, place) {
        let readers = catalog.and_then(|catalog| group::reader_of(&catalog));
        // A log that the group cannot read is as good for us.
        let _ = group::let_read(file, readers);
    }
    opened.map_err(|source| Error::Log { path: path.to_owned(), source })
}

/// Gives a line to the file of the moment.
struct Writers(Arc<LogFile>);

impl<'w> MakeWriter<'w> for Writers {
    type Writer = LineWriter;

    fn make_writer(&'w self) -> Self::Writer {
        LineWriter(Arc::clone(&self.0))
    }
}

struct LineWriter(Arc<LogFile>);

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The usual form of a line, so many a minute of each cause.
struct Limited {
    form: Format,
    is_journal: bool,
    causes: Mutex<HashMap<Identifier, Minute>>,
}

/// What one cause said in one minute.
struct Minute {
    began: Instant,
    lines: u32,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Written,
    /// The last one of its minute.
    WrittenLast,
    /// The first one after a minute in which so many were left out.
    WrittenAfter(u64),
    LeftOut,
}

impl Minute {
    fn new(now: Instant) -> Self {
        Self { began: now, lines: 0, left_out: 0 }
    }

    fn count(&mut self, now: Instant) -> Fate {
        let left_out = self.left_out;
        if now.duration_since(self.began) >= MINUTE {
            *self = Self::new(now);
        }
        if self.lines == LINES_MAX {
            self.left_out += 1;
            return Fate::LeftOut;
        }
        self.lines += 1;
        match self.lines {
            1 if left_out > 0 => Fate::WrittenAfter(left_out),
            LINES_MAX => Fate::WrittenLast,
            _ => Fate::Written,
        }
    }
}

impl<S, N> FormatEvent<S, N> for Limited
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let now = Instant::now();
        let fate = {
            let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
            causes.entry(event.metadata().callsite()).or_insert_with(|| Minute::new(now)).count(now)
        };
        if fate == Fate::LeftOut {
            return Ok(());
        }
        if let Fate::WrittenAfter(count) = fate {
            writeln!(writer, "{count} lines as the next one were left out")?;
        }
        let mut line = String::new();
        if self.is_journal {
            write!(line, "<{}>", priority(*event.metadata().level()))?;
            context.format_fields(Writer::new(&mut line), event)?;
        } else {
            self.form.format_event(context, Writer::new(&mut line), event)?;
        }
        let line = printable(line.strip_suffix('\n').unwrap_or(&line)).into_owned() + "\n";
        writer.write_str(&shortened(line))?;
        if fate == Fate::WrittenLast {
            writeln!(writer, "more lines as the one before are left out for a minute")?;
        }
        Ok(())
    }
}

/// As syslog(3) counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Tells whether standard error is the journal, which systemd calls `stream`: device and inode number (systemd.exec(5)).
fn is_journal(stream: Option<&str>) -> bool {
    let stderr = io::stderr().as_fd().try_clone_to_owned().and_then(|stderr| File::from(stderr).metadata());
    stderr.is_ok_and(|stderr| stream == Some(&format!("{}:{}", stderr.dev(), stderr.ino())))
}

/// Cuts a line that is too long, and says so.
fn shortened(mut line: String) -> String {
    if line.len() > LINE_MAX {
        let more = line.len() - line.floor_char_boundary(LINE_MAX);
        line.truncate(line.floor_char_boundary(LINE_MAX));
        line.push_str(&format!("... ({more} bytes more)\n"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cause_says_so_much_a_minute_and_then_how_much_it_said() {
        let began = Instant::now();
        let mut minute = Minute::new(began);
        for line in 1..LINES_MAX {
            assert_eq!(minute.count(began), Fate::Written, "line {line}");
        }
        assert_eq!(minute.count(began), Fate::WrittenLast);
        for _ in 0..1000 {
            assert_eq!(minute.count(began + MINUTE - Duration::from_nanos(1)), Fate::LeftOut);
        }
        assert_eq!(minute.count(began + MINUTE), Fate::WrittenAfter(1000));
        assert_eq!(minute.count(began + MINUTE), Fate::Written);
    }

    #[test]
    fn a_long_line_is_cut_between_two_letters() {
        assert_eq!(shortened("short\n".to_owned()), "short\n");
        let long = "\u{e4}".repeat(LINE_MAX);
        let cut = shortened(format!("x{long}\n"));
        assert!(cut.ends_with(&format!("\u{e4}... ({} bytes more)\n", LINE_MAX + 3)), "{}", &cut[cut.len() - 60..]);
        assert_eq!(cut.lines().count(), 1);
    }
}
