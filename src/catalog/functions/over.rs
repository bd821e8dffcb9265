//! Views with a quicker way in: `path = ...` is looked up from the top, and a source and a date name one generation.
//!
//! Promises: rows are those of the view, computed by its own text; only conditions are added to it. A path is looked up over all time, a seek
//! a level, so every row that the view has of it is among those that are left.

use super::table::{Answer, Asked, Column, Handle, Source, Term, refused};
use crate::catalog::{Error, Reader, Scope, Words};
use crate::model::{AsOf, Fold, RelPath, Time, parse_date, unescape_bytes};
use rusqlite::types::Value;
use rusqlite::{Connection, Result};
use std::path::{Path, PathBuf};

/// What dates mean: they are read as on the command line.
#[derive(Clone)]
pub struct Dates {
    /// The present.
    pub now: Time,
    /// The zone of dates without one.
    pub zone: jiff::tz::TimeZone,
}

impl Dates {
    /// Returns dates of UTC, read at `now`.
    pub fn utc(now: Time) -> Self {
        Self { now, zone: jiff::tz::TimeZone::UTC }
    }

    /// Returns the generation of a source that a value means: seconds since 1970, or a date.
    pub(super) fn generation(&self, scope: &Scope, date: &Value) -> Result<Time> {
        let as_of = match date {
            Value::Integer(at) => AsOf::At(Time(*at)),
            Value::Text(text) => {
                parse_date(text, self.now, &self.zone, Fold::Refuse).map_err(|e| refused(&e.to_string()))?
            }
            _ => return Err(refused("a date is text, as on the command line, or seconds since 1970")),
        };
        let found = match as_of {
            AsOf::Latest => scope.newest(self.now),
            AsOf::Oldest => scope.instants().next(),
            AsOf::At(at) => scope.newest(at),
        };
        let shown = match date {
            Value::Text(text) => format!("{text:?}"),
            _ => as_of_seconds(date),
        };
        found.ok_or_else(|| refused(&format!("source {:?} has no generation by {shown}", scope.source.name)))
    }
}

fn as_of_seconds(date: &Value) -> String {
    if let Value::Integer(at) = date { at.to_string() } else { String::new() }
}

/// Returns what can be asked of the source that a value names.
pub(super) fn scope(reader: &Reader, source: &Value) -> Result<Scope> {
    match source {
        Value::Text(name) => reader.scope_of(name).map_err(passed_on),
        _ => Err(refused("a source is given by its name")),
    }
}

/// Returns the path that a value names: text as views show it, or bytes; none: no entry can have it.
pub(super) fn path(value: &Value) -> Option<RelPath> {
    let bytes = match value {
        Value::Text(text) => unescape_bytes(text)?,
        Value::Blob(bytes) => bytes.clone(),
        _ => return None,
    };
    RelPath::parse(&bytes).ok()
}

/// Returns an error of the catalog as one of SQLite: what stopped a question stops the statement that asks.
pub(super) fn passed_on(error: Error) -> rusqlite::Error {
    match error {
        Error::Sqlite { source: Words(error @ rusqlite::Error::SqliteFailure(..)), .. } => error,
        other => refused(&other.to_string()),
    }
}

/// Returns a reader over the connection that asks.
pub(super) fn reader(handle: &Handle<'_>, path: &Path) -> Result<Reader> {
    Reader::over(handle.again()?, path)
}

/// A view of the catalog with more ways in.
pub(super) struct Over {
    catalog: PathBuf,
    view: &'static str,
    columns: Vec<Column>,
    /// What its arguments mean, where it has any: a source and a date.
    dates: Option<Dates>,
}

impl Over {
    /// The view itself.
    pub(super) fn view(c: &Connection, catalog: &Path, view: &'static str) -> Result<Self> {
        let mut statement = c.prepare("SELECT name, type FROM pragma_table_info(?1, 'main')")?;
        let columns = statement.query_map([view], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { catalog: catalog.to_owned(), view, columns: columns.collect::<Result<_>>()?, dates: None })
    }

    /// `files_at(source, date)`.
    pub(super) fn files_at(c: &Connection, catalog: &Path, dates: &Dates) -> Result<Self> {
        Ok(Self { dates: Some(dates.clone()), ..Self::view(c, catalog, "files")? })
    }

    fn is(&self, term: &Term, name: &str) -> bool {
        term.comparison == "=" && self.columns[term.column].0 == name
    }

    /// Returns the query that has the rows, and its parameters.
    fn query(&self, open: impl FnOnce() -> Result<Reader>, asked: Asked) -> Result<(String, Vec<Value>)> {
        let columns = self.columns.iter().enumerate();
        let columns = columns
            .map(|(number, (name, _))| if asked.uses(number) { format!("\"{name}\"") } else { "NULL".to_owned() });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let (mut conditions, mut values) = (vec!["1".to_owned()], Vec::new());
        let mut add = |what: &str, value: Value| {
            values.push(value);
            conditions.push(format!("{what} ?{}", values.len()));
        };
        let path_asked = asked.terms.iter().find(|term| self.is(term, "path"));
        // Most questions inside of others need none.
        let reader = if self.dates.is_some() || path_asked.is_some() { Some(open()?) } else { None };
        let mut scopes = None;
        if let (Some(reader), Some(dates), [source, date]) = (&reader, &self.dates, asked.arguments.as_slice()) {
            let scope = scope(reader, source)?;
            let at = dates.generation(&scope, date)?;
            add("source =", source.clone());
            add("taken_at_unix =", at.0.into());
            scopes = Some(vec![scope]);
        }
        for term in &asked.terms {
            add(&format!("\"{}\" {}", self.columns[term.column].0, term.comparison), term.value.clone());
        }
        if let (Some(reader), Some(term)) = (&reader, path_asked) {
            let scopes = match (scopes, asked.terms.iter().find(|term| self.is(term, "source"))) {
                (Some(scopes), _) => scopes,
                (None, Some(Term { value: Value::Text(name), .. })) => scopes_of(reader, Some(name))?,
                (None, _) => scopes_of(reader, None)?,
            };
            let path = path(&term.value).filter(|path| !path.is_root());
            let (mut dirs, mut names): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
            for scope in &scopes {
                let Some(path) = &path else { break };
                let found = reader.dirs_of(scope, path).map_err(passed_on)?;
                if !found.is_empty() {
                    names.push(Value::Text(scope.source.name.clone()));
                }
                dirs.extend(found.into_iter().map(|dir| Value::Integer(dir.0)));
            }
            match (path.as_ref().and_then(|path| path.names().last()), dirs.is_empty()) {
                (Some(name), false) => {
                    add("name_raw =", Value::Blob(name.to_vec()));
                    for (column, list) in [("parent", dirs), ("source", names)] {
                        let first = values.len();
                        let marks: Vec<String> =
                            (1..=list.len()).map(|number| format!("?{}", first + number)).collect();
                        values.extend(list);
                        conditions.push(format!("{column} IN ({})", marks.join(", ")));
                    }
                }
                // Nothing ever had it.
                _ => conditions.push("0".to_owned()),
            }
        }
        Ok((format!("SELECT {columns} FROM main.{} WHERE {}", self.view, conditions.join(" AND ")), values))
    }
}

/// Returns what can be asked of the source of that name, none if there is no such one, or of all sources.
fn scopes_of(reader: &Reader, name: Option<&str>) -> Result<Vec<Scope>> {
    let sources = reader.sources().map_err(passed_on)?;
    let sources = sources.into_iter().filter(|source| name.is_none_or(|name| source.name == name));
    sources.map(|source| reader.scope(source).map_err(passed_on)).collect()
}

impl Source for Over {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn arguments(&self) -> &'static [&'static str] {
        if self.dates.is_some() { &["of_source", "as_of"] } else { &[] }
    }

    fn answer(&self, handle: Handle<'_>, asked: Asked) -> Result<Answer> {
        self.query(|| reader(&handle, &self.catalog), asked).map(|(sql, values)| Answer::Query(sql, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::connect;
    use rusqlite::types::Value::Integer;

    /// A catalog with the file `d/x` at 10, and one who asks.
    fn catalog() -> (tempfile::TempDir, Connection, Reader) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("catalog.db");
        connect::create(&path, None).expect("a catalog");
        let connection = connect::open_any_writing(&path).expect("it can be opened").0;
        connection
            .execute_batch(
                "PRAGMA foreign_keys = OFF;
                 INSERT INTO source(id, uuid, name, kind, settings, rule, by_inode, root, next_node, added_at)
                 VALUES (1, x'00', 's', 'nfs', '{}', 'stamp', 0, 65536, 65600, 0);
                 INSERT INTO node_block(block, source) VALUES (1, 1);
                 INSERT INTO generation(source, taken_at, level, status, number, sequence, first_content)
                 VALUES (1, 10, 'full', 'published', 1, 1, 0);
                 INSERT INTO dirent(parent, name, born, node, kind) VALUES (65536, x'64', 10, 65537, 1), (65537, x'78', 10, 65538, 0);",
            )
            .expect("rows");
        let reader = Reader::open(&path).expect("a reader");
        (dir, connection, reader)
    }

    fn again(reader: &Reader) -> Result<Reader> {
        Reader::open(reader.path()).map_err(passed_on)
    }

    fn term(over: &Over, name: &str, comparison: &'static str, value: Value) -> Term {
        let column = over.columns.iter().position(|(column, _)| column == name).expect("a column");
        Term { column, comparison, value }
    }

    #[test]
    fn what_is_pushed_into_a_view_is_a_seek() {
        let (_dir, connection, reader) = catalog();
        let files = Over::view(&connection, Path::new("c"), "files").unwrap();
        let versions = Over::view(&connection, Path::new("c"), "versions").unwrap();
        let files_at = Over::files_at(&connection, Path::new("c"), &Dates::utc(Time(99))).unwrap();
        let (path, source) = (Value::Text("d/x".into()), Value::Text("s".into()));
        let names = "SEARCH d USING PRIMARY KEY (parent=? AND name=?";
        let asks = [
            (&files, vec![], vec![term(&files, "path", "=", path.clone())], names),
            (&versions, vec![], vec![term(&versions, "path", "=", path.clone())], names),
            (&files_at, vec![source.clone(), Integer(99)], vec![term(&files_at, "path", "=", path)], names),
            (
                &files_at,
                vec![source.clone(), Value::Text("latest".into())],
                vec![term(&files_at, "node", "=", Integer(65538))],
                "SEARCH d USING INDEX dirent_node (node=?",
            ),
            (
                &files_at,
                vec![source.clone(), Integer(10)],
                vec![term(&files_at, "parent", "=", Integer(65537))],
                "SEARCH d USING PRIMARY KEY (parent=?",
            ),
            (&files_at, vec![source, Integer(10)], vec![], "SEARCH d USING PRIMARY KEY (parent>? AND parent<?"),
        ];
        for _ in 0..2 {
            for (over, arguments, terms, step) in &asks {
                let terms =
                    terms.iter().map(|t| Term { column: t.column, comparison: t.comparison, value: t.value.clone() });
                let asked = Asked { arguments: arguments.clone(), terms: terms.collect(), used: u64::MAX };
                let (sql, values) = over.query(|| again(&reader), asked).expect("it can be asked");
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(&sql);
                let steps =
                    statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>("detail"));
                let steps: Vec<String> = steps.expect(&sql).collect::<Result<_>>().expect(&sql);
                assert!(steps.iter().any(|found| found.starts_with(step)), "{sql}: {steps:?}");
                let scanned =
                    |step: &&String| ["SCAN d", "SCAN e", "SCAN i", "SCAN v", "SCAN k"].contains(&step.as_str());
                assert_eq!(steps.iter().find(scanned), None, "{sql}");
            }
            connection.execute_batch("ANALYZE").expect("it can be counted");
        }
    }

    #[test]
    fn a_path_that_nothing_ever_had_reads_nothing() {
        let (_dir, connection, reader) = catalog();
        let files = Over::view(&connection, Path::new("c"), "files").unwrap();
        for path in ["d/y/x", "x/d", "d/x/..", ".", "", "bad\\escape"] {
            let terms = vec![term(&files, "path", "=", Value::Text(path.into()))];
            let (sql, _) = files.query(|| again(&reader), Asked { arguments: Vec::new(), terms, used: 1 }).unwrap();
            assert!(sql.ends_with(" AND 0"), "{path:?}: {sql}");
        }
    }
}
