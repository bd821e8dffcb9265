//! A process that outlives the run: it lets a guest go that the run holds, whatever happens to the run.
//!
//! It is this program again, in a session of its own, with what it needs on its standard input, and it waits there. The run says that it
//! lets the guest go itself, or ends (then so does its end of the pipe), or is late: it was stopped, hangs on a file system that is frozen
//! with the guest, or its bytes are still coming.
//!
//! Promises: the guest is let go by one of the two, and whoever comes second waits for the first. Needs neither the catalog nor the folder of
//! images, nor that the source is there. The commands are those that the run was given: nothing is read from a place that others write to.

use super::letting_go::{self, Plan};
use crate::jobs::hooks::About;
use crate::sys::process;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// The hidden verb that serves as the guard.
pub const VERB: &str = "let-go";
/// What the run says when it lets the guest go itself.
const MINE: &[u8] = b"mine\n";
/// The answer: it may.
const YOURS: &str = "yours";
/// The answer: it was late, and that was done, or tried.
const LATE: &str = "late";

/// A guard that was started.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    said: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Guard {
    /// Starts it; the guest is not held yet.
    pub(super) fn start(program: &Path, plan: &Plan, about: &About) -> io::Result<Self> {
        let mut plan = plan.clone();
        plan.about = about.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let mut command = Command::new(program);
        command.arg(VERB).stdin(Stdio::piped()).stdout(Stdio::piped());
        process::in_new_session(&mut command);
        let mut child = command.spawn()?;
        let mut said = child.stdin.take().expect("it was asked for");
        let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut text = serde_json::to_vec(&plan).map_err(io::Error::other)?;
        text.push(b'\n');
        said.write_all(&text)?;
        let mut guard = Self { child, said, answers };
        // It has read that, and is there from now on.
        match guard.answer()?.as_str() {
            YOURS => Ok(guard),
            other => Err(io::Error::other(format!("it said {other:?}"))),
        }
    }

    /// Says that the run lets the guest go itself. Returns whether that was done already, since the run was late; waits for its end then.
    pub(super) fn take_over(mut self) -> bool {
        // It has ended if it was late, and what it said is there to be read.
        let _ = self.said.write_all(MINE);
        let is_late = self.answer().is_ok_and(|answer| answer == LATE);
        drop(self.said);
        let _ = self.child.wait();
        is_late
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

/// Why the guard did not let a guest go.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not told what to do.
    #[error("reading what lets the guest go")]
    Plan(#[source] io::Error),
    /// It did not work.
    #[error(transparent)]
    NotReleased(letting_go::Error),
}

/// Serves as the guard: `input` has the plan, and says when the run lets the guest go itself.
///
/// # Errors
/// If there is no plan; [`Error::NotReleased`] if the guest was not let go.
pub fn serve(input: impl io::Read + Send + 'static, mut output: impl Write) -> Result<(), Error> {
    let mut input = BufReader::new(input);
    let mut text = String::new();
    input.read_line(&mut text).map_err(Error::Plan)?;
    let plan: Plan = serde_json::from_str(&text).map_err(|e| Error::Plan(e.into()))?;
    let mut say = |answer: &str| writeln!(output, "{answer}").and_then(|()| output.flush());
    say(YOURS).map_err(Error::Plan)?;
    let (sender, said) = channel();
    std::thread::spawn(move || {
        let mut line = Vec::new();
        // The end of the pipe is the end of the run.
        let is_told = input.read_until(b'\n', &mut line).is_ok() && line == MINE;
        let _ = sender.send(is_told);
    });
    let held_max = plan.held_max_s.map_or(Duration::MAX, Duration::from_secs);
    let status = match said.recv_timeout(held_max) {
        Ok(true) => {
            let _ = say(YOURS);
            return Ok(());
        }
        Ok(false) | Err(RecvTimeoutError::Disconnected) => "interrupted",
        Err(RecvTimeoutError::Timeout) => "late",
    };
    // Names of variables live as long as the program: this one ends soon.
    let named = |(name, value): &(String, Vec<u8>)| (&*name.clone().leak(), OsString::from_vec(value.clone()));
    let mut about: About = plan.about.iter().map(named).collect();
    about.push(("ASOF_STATUS", status.into()));
    let done = plan.let_go(&about);
    if done.is_ok() {
        let _ = fs::remove_file(&plan.journal);
    }
    // Also if it did not work: its file systems may be thawed, and the run tries it again.
    let _ = say(LATE);
    done.map_err(Error::NotReleased)
}
