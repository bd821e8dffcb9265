//! Rows of an answer as they come: a table for people, the same cells between tabs, a JSON object a line, or paths with zero bytes.
//!
//! Promises: on a terminal some thousand rows are aligned at a time, elsewhere each is printed at once, so an answer may be as long as it
//! likes. Paths before zero bytes are the bytes themselves; all else is what a terminal can be shown.

use crate::cli::output;
use crate::model::{printable, printable_json};
use clap::Args;
use serde::Serialize;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::ops::ControlFlow;

/// Rows that are aligned at a time.
const TABLE_ROWS: usize = 10_000;

/// How rows are printed.
#[derive(Debug, Args)]
pub(super) struct FormArgs {
    /// Print JSON, one object a row
    #[arg(long, conflicts_with = "null")]
    json: bool,
    /// Print only where each is in a mount, below the mount point, with a zero byte behind each
    #[arg(short = '0', long)]
    null: bool,
}

impl FormArgs {
    /// Tells whether any form is asked for.
    pub(super) fn is_given(&self) -> bool {
        self.json || self.null
    }
}

/// Tells a search whether it is to go on after a row was `printed`, and keeps why not.
pub(super) fn go_on<E>(printed: Result<(), E>, trouble: &mut Result<(), E>) -> ControlFlow<()> {
    *trouble = printed;
    if trouble.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

enum Form {
    Table,
    Tabs,
    Json,
    Zero,
}

/// Rows of an answer.
pub(super) struct Rows {
    form: Form,
    header: &'static [&'static str],
    right: &'static [bool],
    kept: Vec<Vec<String>>,
    /// Whether the line with the names of the columns is still to come.
    is_new: bool,
    out: BufWriter<StdoutLock<'static>>,
}

impl Rows {
    /// Begins an answer; `right` tells which columns hold numbers.
    pub(super) fn new(args: &FormArgs, header: &'static [&'static str], right: &'static [bool]) -> Self {
        let form = match (args.json, args.null) {
            (true, _) => Form::Json,
            (_, true) => Form::Zero,
            _ if output::is_terminal() => Form::Table,
            _ => Form::Tabs,
        };
        Self { form, header, right, kept: Vec::new(), is_new: true, out: BufWriter::new(io::stdout().lock()) }
    }

    /// Adds a row: its cells, what JSON has of it, and its path; an empty one: it is in no mount.
    pub(super) fn row(
        &mut self,
        cells: impl FnOnce() -> Vec<String>,
        value: &impl Serialize,
        path: &[u8],
    ) -> io::Result<()> {
        match self.form {
            Form::Json => {
                let text = serde_json::to_string(value)?;
                writeln!(self.out, "{}", printable_json(&text))
            }
            // In no mount.
            Form::Zero if path.is_empty() => Ok(()),
            Form::Zero => self.out.write_all(path).and_then(|()| self.out.write_all(b"\0")),
            Form::Tabs => self.line(cells().iter().map(String::as_str)),
            Form::Table => {
                self.kept.push(cells());
                if self.kept.len() == TABLE_ROWS { self.flush() } else { Ok(()) }
            }
        }
    }

    /// Adds a row that is there for people alone.
    pub(super) fn remark(&mut self, cells: impl FnOnce() -> Vec<String>) -> io::Result<()> {
        match self.form {
            Form::Json | Form::Zero => Ok(()),
            Form::Tabs => self.line(cells().iter().map(String::as_str)),
            Form::Table => {
                self.kept.push(cells());
                Ok(())
            }
        }
    }

    /// Prints what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        if matches!(self.form, Form::Tabs) {
            self.begin()?;
        }
        self.out.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.kept.is_empty() {
            return Ok(());
        }
        output::write_table(&mut self.out, self.header, self.right, &std::mem::take(&mut self.kept))
    }

    /// Prints the names of the columns, once.
    fn begin(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_new) {
            writeln!(self.out, "{}", self.header.join("\t"))?;
        }
        Ok(())
    }

    fn line<'t>(&mut self, cells: impl Iterator<Item = &'t str>) -> io::Result<()> {
        self.begin()?;
        let cells: Vec<_> = cells.map(printable).collect();
        writeln!(self.out, "{}", cells.join("\t"))
    }
}
