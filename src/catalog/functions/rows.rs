//! `history` and `diff`: answers of `asof history` and `asof diff` as rows.
//!
//! Promises: each is asked by the same functions as the verb, which look up paths and notes and never scan. A diff is in memory: one that
//! would need more than the statement may have is refused before it is computed.

use super::over::{Dates, passed_on, path, reader, scope};
use super::table::{Answer, Asked, Column, Handle, Source, refused};
use crate::catalog::{Difference, Error, NodeRow, Reader, Scope, Version, What, Within};
use crate::model::{RelPath, Time, escape_bytes, unescape_bytes};
use rusqlite::Result;
use rusqlite::types::Value;
use std::path::{Path, PathBuf};

/// Bytes that a line of a diff takes, with what is computed of it.
const LINE_BYTES: u64 = 1024;

/// The columns of `history`.
const HISTORY: &str = "source TEXT, path TEXT, since TEXT, since_unix INTEGER, until TEXT, until_unix INTEGER, began TEXT, ended TEXT, \
    fields TEXT, other_content INTEGER, old_path TEXT, kind TEXT, size_bytes INTEGER, mtime TEXT, mtime_unix INTEGER, mtime_ns INTEGER, \
    mode TEXT, uid INTEGER, gid INTEGER, nlink INTEGER, unseen INTEGER, restore_path TEXT, restore_path_raw BLOB, node INTEGER";

/// The columns of `diff`.
const DIFF: &str = "source TEXT, taken_at TEXT, taken_at_unix INTEGER, what TEXT, path TEXT, old_path TEXT, kind TEXT, fields TEXT, \
    size_before INTEGER, size_bytes INTEGER, entries INTEGER, entries_bytes INTEGER, restore_path TEXT, restore_path_raw BLOB, node INTEGER";

fn columns(text: &str) -> Vec<Column> {
    let columns = text.split(", ").filter_map(|column| column.trim().split_once(' '));
    columns.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn path_text(path: &RelPath) -> Value {
    text(if path.is_root() { ".".into() } else { escape_bytes(path.as_bytes()) })
}

fn date(at: Option<Time>) -> Value {
    // As views have it: nothing beyond the years that have four digits.
    at.filter(|at| (-62_167_219_200..=253_402_300_799).contains(&at.0)).map_or(Value::Null, |at| text(at.to_string()))
}

fn number(n: impl TryInto<i64>) -> Value {
    Value::Integer(n.try_into().unwrap_or(i64::MAX))
}

/// Returns where something is in a mount of all sources, as text and as bytes.
fn in_mount(scope: &Scope, at: Time, path: &RelPath) -> [Value; 2] {
    let slash = if path.is_root() { "" } else { "/" };
    let above = format!("@{}/{}{slash}", at.view_name(), scope.source.name);
    let bytes = [above.as_bytes(), path.as_bytes()].concat();
    [text(escape_bytes(&bytes)), Value::Blob(bytes)]
}

/// `history('SOURCE:PATH')`.
pub(super) struct History {
    columns: Vec<Column>,
    catalog: PathBuf,
}

impl History {
    pub(super) fn new(catalog: &Path) -> Self {
        Self { columns: columns(HISTORY), catalog: catalog.to_owned() }
    }
}

/// Returns the sources and the path that `SOURCE:PATH` names; without a source all of them.
fn target(reader: &Reader, target: &Value) -> Result<(Vec<Scope>, RelPath)> {
    let wrong =
        || refused("write 'SOURCE:PATH', or ':PATH' for all sources; a path as views show it, or all of it as a BLOB");
    let bytes = match target {
        Value::Text(text) => unescape_bytes(text).ok_or_else(wrong)?,
        Value::Blob(bytes) => bytes.clone(),
        _ => return Err(wrong()),
    };
    let colon = bytes.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
    let name = String::from_utf8(bytes[..colon].to_vec()).map_err(|_| wrong())?;
    let path = path(&Value::Blob(bytes[colon + 1..].to_vec())).ok_or_else(wrong)?;
    let scopes = match name.as_str() {
        "" => {
            let sources = reader.sources().map_err(passed_on)?;
            sources
                .into_iter()
                .map(|source| reader.scope(source))
                .collect::<std::result::Result<_, _>>()
                .map_err(passed_on)?
        }
        _ => vec![scope(reader, &Value::Text(name))?],
    };
    Ok((scopes, path))
}

impl Source for History {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["target"]
    }

    fn answer(&self, handle: Handle<'_>, asked: Asked) -> Result<Answer> {
        let reader = reader(&handle, &self.catalog)?;
        let Some(asked) = asked.arguments.first().filter(|asked| **asked != Value::Null) else {
            return Ok(Answer::Rows(Vec::new()));
        };
        let (scopes, path) = target(&reader, asked)?;
        let mut rows = Vec::new();
        for scope in &scopes {
            // What the path led to last, as the verb has it.
            let Some(stay) = reader.stays(scope, &path).map_err(passed_on)?.pop() else { continue };
            for version in reader.story(scope, (stay.node, stay.kind), &path).map_err(passed_on)? {
                rows.push(version_row(&reader, scope, &version).map_err(passed_on)?);
            }
        }
        Ok(Answer::Rows(rows))
    }
}

fn version_row(reader: &Reader, scope: &Scope, version: &Version) -> std::result::Result<Vec<Value>, Error> {
    let until = version.end.until();
    let perm = reader.perm(version.row.perm)?;
    let [shown, bytes] = in_mount(scope, version.since, &version.path);
    Ok(vec![
        text(&scope.source.name),
        path_text(&version.path),
        date(Some(version.since)),
        number(version.since.0),
        date(until),
        until.map_or(Value::Null, |at| number(at.0)),
        text(version.began.word()),
        text(version.end.word()),
        text(version.fields.words().join(", ")),
        number(version.has_other_content),
        version.renamed_from.as_ref().map_or(Value::Null, path_text),
        text(version.kind.word()),
        number(version.row.size_bytes),
        date(Some(Time(version.row.mtime.seconds))),
        number(version.row.mtime.seconds),
        number(version.row.mtime.nanos),
        text(format!("{:04o}", perm.mode & 0o7777)),
        number(perm.uid),
        number(perm.gid),
        number(version.row.nlink),
        number(version.unseen),
        shown,
        bytes,
        number(version.node.0),
    ])
}

/// `diff(source, date, date)`.
pub(super) struct Diff {
    columns: Vec<Column>,
    catalog: PathBuf,
    dates: Dates,
    memory_bytes: u64,
}

impl Diff {
    pub(super) fn new(catalog: &Path, dates: &Dates, memory_bytes: u64) -> Self {
        Self { columns: columns(DIFF), catalog: catalog.to_owned(), dates: dates.clone(), memory_bytes }
    }
}

impl Source for Diff {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["of_source", "before", "after"]
    }

    fn answer(&self, handle: Handle<'_>, asked: Asked) -> Result<Answer> {
        let reader = reader(&handle, &self.catalog)?;
        let [source, before, after] = asked.arguments.as_slice() else { return Err(refused("three arguments")) };
        if [source, before, after].contains(&&Value::Null) {
            return Ok(Answer::Rows(Vec::new()));
        }
        let scope = scope(&reader, source)?;
        let times = (self.dates.generation(&scope, before)?, self.dates.generation(&scope, after)?);
        let notes = reader.count_of_changes(&scope, times).map_err(passed_on)?;
        if notes.saturating_mul(LINE_BYTES) > self.memory_bytes {
            let why = format!(
                "{notes} changes between the generations of {} and {} need more than {} MiB of memory, the query's limit",
                times.0,
                times.1,
                self.memory_bytes >> 20
            );
            return Err(refused(&why));
        }
        let lines = reader.diff(&scope, times, &Within::all()).map_err(passed_on)?;
        Ok(Answer::Rows(lines.iter().map(|line| line_row(&scope, times, line)).collect()))
    }
}

fn line_row(scope: &Scope, (before, after): (Time, Time), line: &Difference) -> Vec<Value> {
    let is_gone = matches!(line.what, What::Deleted | What::Unlinked);
    let size = |row: &Option<NodeRow>| row.as_ref().map_or(Value::Null, |row| number(row.size_bytes));
    let [shown, bytes] = in_mount(scope, if is_gone { before } else { after }, &line.path);
    vec![
        text(&scope.source.name),
        date(Some(after)),
        number(after.0),
        text(line.what.word()),
        path_text(&line.path),
        line.old_path.as_ref().map_or(Value::Null, path_text),
        text(line.kind.word()),
        text(line.fields.words().join(", ")),
        size(&line.before),
        size(&line.after),
        number(line.below.entries),
        number(line.below.size_bytes),
        shown,
        bytes,
        number(line.node.0),
    ]
}
