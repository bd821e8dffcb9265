//! Starting the daemon in the background: the program is executed once more, and tells over its standard
//! output whether the mount answers.
//!
//! Promises: no fork with threads running; the new process has its own session, no terminal, no descriptor or working directory of
//! the caller, and its errors go to a log file. The starter waits for one line and then lets it go.

use super::error::Error;
use super::log::{self, Place};
use crate::sys::process;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Tells the new process that somebody waits for a line of it.
const STARTER_ENV: &str = "ASOF_STARTER_WAITS";
const READY: &str = "ready";
/// What stands between what went wrong and what can be done about it.
const HINT: &str = "\thint: ";

/// A daemon whose mount answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its process.
    pub pid: u32,
}

/// Starts this program with `args` in the background and waits until it calls [`tell_starter`].
///
/// # Errors
/// [`Error::Log`], [`Error::Start`], [`Error::Refused`] with what it said, [`Error::Died`].
pub fn start_in_background(args: Vec<OsString>, log: &Place) -> Result<Started, Error> {
    let start = |source| Error::Start { source };
    let log_file = log::open(log)?;
    let mut command = Command::new(own_program());
    command.args(args).env(STARTER_ENV, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
    let mut child = process::on_its_own(&mut command).spawn().map_err(start)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(start)?;
    }
    match line.trim_end() {
        READY => Ok(Started { pid: child.id() }),
        "" => Err(Error::Died { status: child.wait().map_err(start)?, log: log::path_of(log).to_owned() }),
        text => {
            let (text, hint) = match text.split_once(HINT) {
                Some((text, hint)) => (text.to_owned(), Some(hint.to_owned())),
                None => (text.to_owned(), None),
            };
            child.wait().map_err(start)?;
            Err(Error::Refused { text, hint })
        }
    }
}

/// Tells whether this process was started by [`start_in_background`].
pub fn is_in_background() -> bool {
    std::env::var_os(STARTER_ENV).is_some()
}

/// A program that was replaced while it ran has no path any more, but can still be executed. By its path where
/// it has one, because the process is then listed under its name.
fn own_program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.is_file() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

/// Tells the process that started this one that the mount answers, or why not and what can be done about it; does
/// nothing if none waits.
pub fn tell_starter(outcome: Result<(), (&str, Option<&str>)>) {
    if !is_in_background() {
        return;
    }
    let text = match outcome {
        Ok(()) => READY.to_owned(),
        Err((text, None)) => text.replace('\n', " "),
        Err((text, Some(hint))) => format!("{text}{HINT}{hint}").replace('\n', " "),
    };
    // A starter that is gone does not matter.
    let _ = writeln!(std::io::stdout(), "{text}");
    if let Err(e) = process::close_stdout() {
        tracing::debug!("standard output stays open: {e}");
    }
}
