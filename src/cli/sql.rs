//! `asof sql`: questions to the catalog, as an argument or, at a terminal, in a session ([`session`]): read-only and limited in time and memory.
//!
//! Promises: SQLite looks at the time every now and then, and ends the query; inside of a sort or a function it does not, so a thread
//! ends the process a second after the limit, whatever it does. The views are described in `catalog-schema/README.md`.

mod line;
mod past;
mod session;

use super::World;
use super::output;
use super::report::{Failure, Outcome};
use crate::catalog::{Column, Dates, QUERY_BYTES_MAX, Query, QueryLimits};
use crate::clock::Clock;
use crate::model::{escape_bytes, printable};
use clap::Args;
use serde_json::{Map, Value};
use std::io::{IsTerminal, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Rows of a table that are measured before its columns are aligned; the rest follows in further tables.
const TABLE_ROWS: usize = 10_000;
/// Bytes in them, at most.
const TABLE_BYTES: usize = 16 << 20;

/// Where the views are described; each has a heading and a table of its columns.
const REFERENCE: &str = include_str!("../../catalog-schema/README.md");

/// Returns the views and their columns, for `--help`.
fn views() -> String {
    let mut text = "Views, and their columns:".to_owned();
    for section in REFERENCE.split("\n### `").skip(1) {
        let Some((name, rest)) = section.split_once("`: one row per ") else { continue };
        let what = rest.lines().next().unwrap_or_default();
        // Tables behind the one of its columns are of other sections.
        let rest = rest.split("\n## ").next().unwrap_or_default();
        let cells = rest.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | ")).map(|(cell, _)| cell);
        let columns: Vec<String> = cells.map(|cell| cell.replace('`', "")).collect();
        text.push_str(&format!("\n  {name}: one row per {what}\n      {}", columns.join(", ")));
    }
    text.push_str("\nTimes are text in UTC. catalog-schema/README.md explains every column and has queries for the usual questions.");
    text
}

#[derive(Debug, Args)]
#[command(after_help = views())]
pub(super) struct SqlArgs {
    /// The query; - reads it from standard input; without one, a session begins on a terminal
    #[arg(conflicts_with = "file")]
    query: Option<String>,
    /// Read the query from a file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON, one object a row
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV with a header line
    #[arg(long)]
    csv: bool,
    /// How long the query may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=TIMEOUT_MAX))]
    timeout: u64,
    /// The most memory that SQLite may take for it; one value may take a sixteenth of that
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=MEMORY_MAX))]
    memory: u64,
}

/// A year, in seconds.
const TIMEOUT_MAX: u64 = 31_536_000;
/// In MiB.
const MEMORY_MAX: u64 = 32_768;
/// After the limit, for SQLite to end by itself.
const GRACE: Duration = Duration::from_secs(1);

pub(super) fn run(args: &SqlArgs, world: &World) -> Result<Outcome, Failure> {
    let limits = QueryLimits { time: Duration::from_secs(args.timeout), memory_bytes: args.memory << 20 };
    if args.query.is_none() && args.file.is_none() {
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(Failure::new("there is no query, and no terminal to ask for one")
                .hint("asof sql QUERY; asof sql - reads it from standard input"));
        }
        Query::limit_memory(limits)?;
        return session::run(world, limits, &|sql| ask(args, world, limits, sql));
    }
    let sql = text(args)?;
    Query::limit_memory(limits)?;
    ask(args, world, limits, &sql)
}

/// Runs statements and prints their rows.
fn ask(args: &SqlArgs, world: &World, limits: QueryLimits, sql: &str) -> Result<Outcome, Failure> {
    let _watch = watch(limits.time)?;
    let dates = Dates { now: world.clock.now(), zone: world.zone.clone() };
    let mut query = Query::open(&world.catalog, limits, &dates)?;
    let sink = std::cell::RefCell::new(Sink::new(args));
    let result = query.run(sql, &mut |names| sink.borrow_mut().begin(names), &mut |row| {
        let mut sink = sink.borrow_mut();
        match sink.row(row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                sink.trouble = Some(e);
                ControlFlow::Break(())
            }
        }
    });
    let mut sink = sink.into_inner();
    sink.flush()?;
    if let Some(e) = sink.trouble {
        return Err(e.into());
    }
    result?;
    Ok(Outcome::Done)
}

/// Ends the process when the time is over and what is returned is still there.
fn watch(limit: Duration) -> Result<Sender<()>, Failure> {
    let (watched, ended) = channel();
    let end = move || {
        if ended.recv_timeout(limit + GRACE) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        eprintln!("asof: the query was stopped after {} s, its time limit", limit.as_secs());
        std::process::exit(2);
    };
    let started = std::thread::Builder::new().name("time limit".to_owned()).spawn(end);
    started.map(|_| watched).map_err(|e| Failure::because("watching the time limit", &e))
}

fn text(args: &SqlArgs) -> Result<String, Failure> {
    let (text, whence) = match (&args.file, args.query.as_deref()) {
        (Some(path), _) => (std::fs::File::open(path).and_then(limited), format!("from {path:?}")),
        (None, Some("-")) => (limited(std::io::stdin().lock()), "from standard input".to_owned()),
        (None, query) => return Ok(query.unwrap_or_default().to_owned()),
    };
    text.map_err(|e| Failure::because(format!("reading the query {whence}"), &e))
}

/// Reads a query, and no more of what is too long for one than tells that it is.
fn limited(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(QUERY_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

enum Form {
    Table,
    Tabs,
    Json,
    Csv,
}

struct Sink {
    form: Form,
    names: Vec<String>,
    rows: Vec<Vec<Column>>,
    /// In `rows`.
    bytes: usize,
    trouble: Option<std::io::Error>,
}

impl Sink {
    fn new(args: &SqlArgs) -> Self {
        let form = match (args.json, args.csv) {
            (true, _) => Form::Json,
            (_, true) => Form::Csv,
            _ if output::is_terminal() => Form::Table,
            _ => Form::Tabs,
        };
        Self { form, names: Vec::new(), rows: Vec::new(), bytes: 0, trouble: None }
    }

    /// A new result begins: what is left of the one before goes out first.
    fn begin(&mut self, names: &[String]) {
        if let Err(e) = self.flush() {
            self.trouble = Some(e);
        }
        self.names = names.to_vec();
        let header = match self.form {
            _ if names.is_empty() => None,
            Form::Tabs => Some(output::cells(names)),
            Form::Csv => {
                let is_terminal = output::is_terminal();
                let name = |name: &String| if is_terminal { printable(name).into_owned() } else { name.clone() };
                Some(csv_line(&names.iter().map(name).collect::<Vec<_>>()))
            }
            Form::Table | Form::Json => None,
        };
        if let Some(Err(e)) = header {
            self.trouble = Some(e);
        }
    }

    fn row(&mut self, row: Vec<Column>) -> std::io::Result<()> {
        match self.form {
            Form::Table => {
                self.bytes += row.iter().map(bytes_of).sum::<usize>();
                self.rows.push(row);
                if self.rows.len() == TABLE_ROWS || self.bytes >= TABLE_BYTES { self.flush() } else { Ok(()) }
            }
            Form::Tabs => {
                let cells: Vec<String> = row.iter().map(as_text).collect();
                output::cells(&cells)
            }
            Form::Csv => csv_line(&row.iter().map(as_csv).collect::<Vec<_>>()),
            Form::Json => {
                let object: Map<String, Value> = self.names.iter().cloned().zip(row.iter().map(as_json)).collect();
                output::json_line(&Value::Object(object))
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if !matches!(self.form, Form::Table) || self.names.is_empty() {
            return Ok(());
        }
        let right: Vec<bool> = (0..self.names.len())
            .map(|i| rows.first().is_some_and(|row| matches!(row[i], Column::Integer(_) | Column::Real(_))))
            .collect();
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(as_text).collect()).collect();
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        output::table(&names, &right, &rows)
    }
}

fn bytes_of(value: &Column) -> usize {
    match value {
        Column::Null | Column::Integer(_) | Column::Real(_) => 8,
        Column::Text(bytes) | Column::Blob(bytes) => bytes.len(),
    }
}

fn csv_line<T: AsRef<[u8]>>(cells: &[T]) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(std::io::stdout().lock());
    writer.write_record(cells).map_err(std::io::Error::other)?;
    writer.flush()
}

/// Text for people; views escape names already, and a second escape of their backslashes would not be what is in the catalog.
fn as_text(value: &Column) -> String {
    match value {
        Column::Null => String::new(),
        Column::Integer(n) => n.to_string(),
        Column::Real(n) => n.to_string(),
        Column::Text(bytes) => String::from_utf8(bytes.clone()).unwrap_or_else(|_| escape_bytes(bytes).into_owned()),
        Column::Blob(bytes) => escape_bytes(bytes).into_owned(),
    }
}

/// Data for programs, as it is; on a terminal as all else.
fn as_csv(value: &Column) -> Vec<u8> {
    match value {
        Column::Text(bytes) | Column::Blob(bytes) if !output::is_terminal() => bytes.clone(),
        other => printable(&as_text(other)).into_owned().into_bytes(),
    }
}

fn as_json(value: &Column) -> Value {
    match value {
        Column::Null => Value::Null,
        Column::Integer(n) => (*n).into(),
        Column::Real(n) => (*n).into(),
        Column::Text(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
        Column::Blob(bytes) => escape_bytes(bytes).into_owned().into(),
    }
}
