//! How a run ends: the error with its causes on one line, at most one hint, the exit code.
//!
//! Promises: `asof: ` before an error, causes joined by `: `, then at most one line `hint: `. A reader that
//! closed the pipe is no error.

use crate::model::{Hinted, chain};
use std::process::ExitCode;

/// How a run that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it.
    Done,
    /// With losses or findings.
    WithFindings,
    /// None of it; why is said already.
    NotDone,
}

/// Why a run did not do its work.
#[derive(Debug)]
pub(super) struct Failure {
    text: String,
    hint: Option<String>,
    /// The reader of standard output went away; it has what it wanted.
    is_closed_pipe: bool,
}

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None, is_closed_pipe: false }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Says first what was being done.
    pub(super) fn about(self, deed: &str) -> Self {
        Self { text: format!("{deed}: {}", self.text), ..self }
    }

    /// Returns what went wrong, and what can be done about it.
    pub(super) fn parts(&self) -> (&str, Option<&str>) {
        (&self.text, self.hint.as_deref())
    }

    pub(super) fn because(text: impl Into<String>, cause: &dyn std::error::Error) -> Self {
        Self::new(format!("{}: {}", text.into(), chain(cause)))
    }
}

/// Tells how the run ended and returns the exit code.
pub(super) fn end(result: Result<Outcome, Failure>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::WithFindings) => ExitCode::from(1),
        Ok(Outcome::NotDone) => ExitCode::from(2),
        Err(failure) if failure.is_closed_pipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("asof: {}", failure.text);
            if let Some(hint) = failure.hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}

impl From<std::io::Error> for Failure {
    /// For errors of standard output; others say what was being done.
    fn from(e: std::io::Error) -> Self {
        let is_closed_pipe = e.kind() == std::io::ErrorKind::BrokenPipe;
        Self { is_closed_pipe, ..Self::because("writing the answer", &e) }
    }
}

impl<E: Hinted> From<E> for Failure {
    fn from(e: E) -> Self {
        Self { hint: e.hint(), ..Self::new(chain(&e)) }
    }
}
