//! Tables that are computed when they are asked for: SQLite's virtual tables, for whatever implements [`Source`].
//!
//! Promises: conditions reach the source by column and comparison; what it returns is passed on row by row, without a copy of the whole.
//! SQLite tests every condition again, so a source may return more than was asked for, never less.
//!
//! The only file outside of `sys` with `unsafe`: SQLite's interface is one of pointers, and rusqlite's to it asks for two traits that a
//! compiler cannot check.

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator;
use rusqlite::ffi::{sqlite3_vtab, sqlite3_vtab_cursor};
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor,
    VTabKind,
};
use rusqlite::{CachedStatement, Connection, Result, Rows, params_from_iter};
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

/// A condition on a column: its place, how it is compared (`=`, `<` ...), with what.
pub(super) struct Term {
    pub(super) column: usize,
    pub(super) comparison: &'static str,
    pub(super) value: Value,
}

/// What is asked of a table.
pub(super) struct Asked {
    /// The values of its arguments.
    pub(super) arguments: Vec<Value>,
    /// Conditions on its columns; they may be ignored.
    pub(super) terms: Vec<Term>,
    /// Which columns are looked at: a bit each, the last one for all further ones.
    pub(super) used: u64,
}

impl Asked {
    /// Tells whether a column is looked at.
    pub(super) fn uses(&self, column: usize) -> bool {
        self.used >> column.min(63) & 1 == 1
    }
}

/// The rows of a table.
pub(super) enum Answer {
    /// Those of a query, with its parameters.
    Query(String, Vec<Value>),
    /// These.
    Rows(Vec<Vec<Value>>),
}

/// A column: its name and its type.
pub(super) type Column = (String, String);

/// What a table is made of.
pub(super) trait Source: Send + Sync {
    /// Returns its columns.
    fn columns(&self) -> &[Column];
    /// Returns the names of its arguments, all of which must be given.
    fn arguments(&self) -> &'static [&'static str];
    /// Answers.
    fn answer(&self, connection: Handle<'_>, asked: Asked) -> Result<Answer>;
}

/// The connection that asks, which belongs to somebody else.
pub(super) struct Handle<'a>(&'a Connection);

impl Handle<'_> {
    /// Returns another value for the same connection, which does not close it.
    pub(super) fn again(&self) -> Result<Connection> {
        // SAFETY: the handle is that of an open connection, which outlives the call of SQLite in which this one is used and dropped; one that is
        // made of a handle closes nothing.
        unsafe { Connection::from_handle(self.0.handle()) }
    }
}

/// Makes a source known as a function, which is called with its arguments.
pub(super) fn add_function(c: &Connection, name: &str, source: Arc<dyn Source>) -> Result<()> {
    const FUNCTION: Module<'_, Table> = Module::eponymous_only_module();
    c.create_module(name, &FUNCTION, Some(source))
}

/// Puts a source in the place of the view `name`, for this connection.
pub(super) fn add_view(c: &Connection, name: &str, source: Arc<dyn Source>) -> Result<()> {
    const VIEW: Module<'_, Table> = Module::read_only_module();
    c.create_module(format!("quick_{name}").as_str(), &VIEW, Some(source))?;
    c.execute_batch(&format!("CREATE VIRTUAL TABLE temp.{name} USING quick_{name}"))
}

/// A table.
#[repr(C)]
struct Table {
    /// SQLite's part; it has to be the first.
    base: sqlite3_vtab,
    connection: Connection,
    source: Arc<dyn Source>,
}

/// Comparisons that are passed on.
const COMPARISONS: [(IndexConstraintOp, &str); 5] = [
    (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, "="),
    (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT, ">"),
    (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE, ">="),
    (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT, "<"),
    (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE, "<="),
];

/// Columns of which one value leaves few rows.
const SEEKS: [&str; 3] = ["path", "node", "parent"];

// SAFETY: `Table` is `repr(C)` and begins with `sqlite3_vtab`.
unsafe impl<'vtab> VTab<'vtab> for Table {
    type Aux = Arc<dyn Source>;
    type Cursor = Cursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Arc<dyn Source>>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let source = aux.cloned().ok_or_else(|| refused("a table without rows"))?;
        db.config(VTabConfig::DirectOnly)?;
        // The tables of the catalog are read inside of the statement's own transaction.
        db.config(VTabConfig::UsesAllSchemas)?;
        // SAFETY: SQLite disconnects a table before it closes the connection, and a `Connection` of a handle does not close it.
        let connection = unsafe { Connection::from_handle(db.handle()) }?;
        let columns = source.columns().iter().map(|(name, kind)| format!("\"{name}\" {kind}"));
        let arguments = source.arguments().iter().map(|name| format!("\"{name}\" HIDDEN"));
        let columns = columns.chain(arguments).collect::<Vec<_>>().join(", ");
        let declared = CString::new(format!("CREATE TABLE x({columns})")).map_err(|_| refused("a name with a zero"))?;
        Ok((Cow::Owned(declared), Self { base: sqlite3_vtab::default(), connection, source }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let (columns, arguments) = (self.source.columns(), self.source.arguments());
        let (mut given, mut terms) = (vec![None; arguments.len()], Vec::new());
        for (number, constraint) in info.constraints().enumerate() {
            let Ok(column) = usize::try_from(constraint.column()) else { continue };
            let comparison = COMPARISONS.iter().position(|(known, _)| *known == constraint.operator());
            match (column.checked_sub(columns.len()), comparison) {
                (Some(argument), Some(0)) if constraint.is_usable() => given[argument] = Some(number),
                // Another order of the tables gives it.
                (Some(_), Some(0)) => return Ok(false),
                (None, Some(comparison)) if constraint.is_usable() => terms.push((number, column, comparison)),
                _ => {}
            }
        }
        terms.retain(|(number, _, _)| info.collation(*number).is_ok_and(|collation| collation == "BINARY"));
        if given.contains(&None) {
            return Err(refused(&format!("give all of its arguments: ({})", arguments.join(", "))));
        }
        // Columns and comparisons in the order of the values, and which columns are looked at.
        let plan: String = terms.iter().map(|(_, column, comparison)| format!("{column}:{comparison} ")).collect();
        let is_equal =
            |name: &str| terms.iter().any(|(_, column, comparison)| columns[*column].0 == name && *comparison == 0);
        let numbers: Vec<usize> = given.into_iter().flatten().chain(terms.iter().map(|(number, ..)| *number)).collect();
        let is_seek = SEEKS.iter().any(|name| is_equal(name));
        let cost = match arguments.len() {
            _ if is_seek => 100.0,
            0 => 1e9 / 30_f64.powi(terms.len().min(4) as i32),
            _ => 1e6 / 10_f64.powi(terms.len().min(3) as i32),
        };
        for (place, number) in numbers.into_iter().enumerate() {
            let mut usage = info.constraint_usage(number);
            usage.set_argv_index(place as c_int + 1);
            usage.set_omit(place < arguments.len());
        }
        info.set_estimated_cost(cost);
        info.set_estimated_rows(if is_seek { 10 } else { (cost / 10.0) as i64 + 1 });
        info.set_idx_str(&format!("{} {plan}", info.col_used()));
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<Cursor<'vtab>> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            table: self,
            rows: None,
            statement: None,
            list: Vec::new().into_iter(),
            row: None,
            number: 0,
        })
    }
}

impl CreateVTab<'_> for Table {
    const KIND: VTabKind = VTabKind::Default;
}

/// A walk over the rows of a table.
#[repr(C)]
struct Cursor<'vtab> {
    /// SQLite's part; it has to be the first.
    base: sqlite3_vtab_cursor,
    table: &'vtab Table,
    /// Of `statement`, so they are dropped first.
    rows: Option<Rows<'vtab>>,
    statement: Option<Box<CachedStatement<'vtab>>>,
    list: std::vec::IntoIter<Vec<Value>>,
    /// Where there is no statement.
    row: Option<Vec<Value>>,
    number: i64,
}

// SAFETY: `Cursor` is `repr(C)` and begins with `sqlite3_vtab_cursor`.
unsafe impl VTabCursor for Cursor<'_> {
    fn filter(&mut self, _number: c_int, plan: Option<&str>, values: &Filters<'_>) -> Result<()> {
        self.rows = None;
        self.statement = None;
        self.row = None;
        self.number = 0;
        let source = &self.table.source;
        let mut words = plan.unwrap_or_default().split(' ').filter(|word| !word.is_empty());
        let used = words.next().and_then(|word| word.parse().ok()).unwrap_or(u64::MAX);
        let mut values = values.iter().map(Value::try_from);
        let arguments = values.by_ref().take(source.arguments().len()).collect::<std::result::Result<_, _>>()?;
        let mut terms = Vec::new();
        for (word, value) in words.zip(values) {
            let (column, comparison) = word.split_once(':').unwrap_or_default();
            let (Ok(column), Ok(comparison)) = (column.parse(), comparison.parse::<usize>()) else {
                return Err(refused("a plan that is none"));
            };
            // What is not UTF-8 is left to SQLite.
            if let Ok(value) = value {
                terms.push(Term { column, comparison: COMPARISONS[comparison].1, value });
            }
        }
        match source.answer(Handle(&self.table.connection), Asked { arguments, terms, used })? {
            Answer::Rows(rows) => self.list = rows.into_iter(),
            Answer::Query(sql, parameters) => {
                let mut statement = Box::new(self.table.connection.prepare_cached(&sql)?);
                let pointer: *mut CachedStatement<'_> = &raw mut *statement;
                // SAFETY: the statement stays where it is, in its box, until after the rows are gone: they stand before it in this struct, and
                // are dropped before it wherever it is replaced. Nothing but the rows uses it meanwhile.
                self.rows = Some(unsafe { (*pointer).query(params_from_iter(parameters)) }?);
                self.statement = Some(statement);
            }
        }
        self.next()
    }

    fn next(&mut self) -> Result<()> {
        self.number += 1;
        match &mut self.rows {
            Some(rows) => {
                if rows.next()?.is_none() {
                    self.rows = None;
                }
            }
            None => self.row = self.list.next(),
        }
        Ok(())
    }

    fn eof(&self) -> bool {
        self.rows.is_none() && self.row.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let column = column as usize;
        if let Some(row) = self.rows.as_ref().and_then(FallibleStreamingIterator::get)
            && column < self.table.source.columns().len()
        {
            return context.set_result(ToSqlOutput::Borrowed(row.get_ref(column)?));
        }
        match self.row.as_ref().and_then(|row| row.get(column)) {
            Some(value) => context.set_result(ToSqlOutput::Borrowed(value.into())),
            None => Ok(()),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.number)
    }
}

/// Says why a table has no answer.
pub(super) fn refused(why: &str) -> rusqlite::Error {
    rusqlite::Error::ModuleError(why.to_owned())
}
