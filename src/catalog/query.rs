//! SQL of the admin: anything that reads, nothing that writes, and not for ever.
//!
//! Promises: the database is opened read-only, `query_only` is on, and an authorizer refuses everything but
//! reading (no ATTACH, no PRAGMA, no tables, no extension); besides the views there are [`functions`]. A query that outlives its limit is
//! stopped, where SQLite looks up: not inside a sort or a function. Who has to be sure of the time ends the process. Text, values and,
//! once [`Query::limit_memory`] was called, memory are limited, too. Never changes a statement's text.

use super::{Dates, Error, connect, functions};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// SQLite instructions between two looks at the time limit; about a millisecond.
const PROGRESS_STEPS: i32 = 50_000;

/// The longest text of a query, in bytes.
pub const QUERY_BYTES_MAX: usize = 1 << 20;

/// What part of the memory one value may take: it is copied on its way, and escaped.
const VALUE_PART: u64 = 16;

/// How long a query may take, and how much.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// The longest time for all statements together.
    pub time: Duration,
    /// The most memory that SQLite may take, in bytes.
    pub memory_bytes: u64,
}

/// One value of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// Text; SQLite may hold bytes in it that are not UTF-8.
    Text(Vec<u8>),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A read-only connection for the admin's SQL.
pub struct Query {
    connection: Connection,
    path: PathBuf,
    limits: QueryLimits,
}

impl Query {
    /// Opens the catalog at `path` for SQL.
    ///
    /// # Errors
    /// As [`super::Reader::open`].
    pub fn open(path: &Path, limits: QueryLimits, dates: &Dates) -> Result<Self, Error> {
        let mut connection = connect::open_read_only(path)?;
        let sqlite = |e| Error::sqlite("opening", path, e);
        functions::register(&connection, path, dates, limits.memory_bytes).map_err(sqlite)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;").map_err(sqlite)?;
        connection.authorizer(Some(authorize)).map_err(sqlite)?;
        let value_bytes = i32::try_from(limits.memory_bytes / VALUE_PART).unwrap_or(i32::MAX);
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, value_bytes).map_err(sqlite)?;
        connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, QUERY_BYTES_MAX as i32).map_err(sqlite)?;
        Ok(Self { connection, path: path.to_owned(), limits })
    }

    /// Limits the memory of SQLite in this process, by all connections together and for good: for a process that asks and ends.
    ///
    /// # Errors
    /// [`Error`] if SQLite fails.
    pub fn limit_memory(limits: QueryLimits) -> Result<(), Error> {
        let limit = || {
            Connection::open_in_memory()?.execute_batch(&format!("PRAGMA hard_heap_limit = {}", limits.memory_bytes))
        };
        limit().map_err(|e| Error::Refused(format!("the memory of the query cannot be limited: {e}")))
    }

    /// Runs the statements of `sql` in turn. `begin` gets the column names of each statement, `each` its rows;
    /// a break of `each` ends that statement without error.
    ///
    /// # Errors
    /// [`Error::Refused`] with SQLite's own words where the text is wrong, writes, or takes too long.
    pub fn run(
        &mut self,
        sql: &str,
        begin: &mut dyn FnMut(&[String]),
        each: &mut dyn FnMut(Vec<Column>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (started, limit) = (Instant::now(), self.limits.time);
        self.connection
            .progress_handler(PROGRESS_STEPS, Some(move || started.elapsed() > limit))
            .map_err(|e| Error::sqlite("limiting a query", &self.path, e))?;
        self.run_all(sql, begin, each).map_err(|e| self.refusal(e))
    }

    fn run_all(
        &self,
        sql: &str,
        begin: &mut dyn FnMut(&[String]),
        each: &mut dyn FnMut(Vec<Column>) -> ControlFlow<()>,
    ) -> rusqlite::Result<()> {
        let mut batch = Batch::new(&self.connection, sql);
        while let Some(mut statement) = batch.next()? {
            let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let width = names.len();
            begin(&names);
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let values = (0..width).map(|i| row.get_ref(i).map(column)).collect::<rusqlite::Result<_>>()?;
                if each(values).is_break() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn refusal(&self, error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => {
                Error::Refused(format!("the query was stopped after {} s, its time limit", self.limits.time.as_secs()))
            }
            Some(rusqlite::ErrorCode::AuthorizationForStatementDenied | rusqlite::ErrorCode::ReadOnly) => {
                Error::Refused(format!("the catalog is only read here: {error}"))
            }
            Some(rusqlite::ErrorCode::OutOfMemory) => {
                Error::Refused(format!("the query needs more than {} MiB of memory, its limit", self.mebibytes(1)))
            }
            Some(rusqlite::ErrorCode::TooBig) => Error::Refused(format!(
                "the query has a value of more than {} MiB, or is longer than {QUERY_BYTES_MAX} bytes",
                self.mebibytes(VALUE_PART)
            )),
            _ => Error::Refused(error.to_string()),
        }
    }

    fn mebibytes(&self, part: u64) -> u64 {
        (self.limits.memory_bytes / part) >> 20
    }
}

fn column(value: ValueRef<'_>) -> Column {
    match value {
        ValueRef::Null => Column::Null,
        ValueRef::Integer(n) => Column::Integer(n),
        ValueRef::Real(n) => Column::Real(n),
        ValueRef::Text(bytes) => Column::Text(bytes.to_owned()),
        ValueRef::Blob(bytes) => Column::Blob(bytes.to_owned()),
    }
}

fn authorize(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name } if !function_name.eq_ignore_ascii_case("load_extension") => {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}
