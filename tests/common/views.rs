//! The public views of a catalog as text: what two catalogs of one history say alike.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use asof::catalog::{Column, Query, QueryLimits};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// All columns but ids and what belongs to the run. Which of several names `lives_as` tells is a matter of ids.
const VIEWS: [(&str, &str); 6] = [
    (
        "files",
        "SELECT source, taken_at, path, name, kind, size_bytes, mtime_unix, mtime_ns, mode, uid, gid, nlink, has_xattrs, has_acl, \
         link_target, unreadable, unknown, version_since FROM files",
    ),
    (
        "versions",
        "SELECT source, path, name, since, until, kind, size_bytes, mtime_unix, mode, uid, gid, nlink FROM versions",
    ),
    ("changes", "SELECT source, taken_at, what, path, old_path, name, kind, size_bytes FROM changes"),
    (
        "deleted",
        "SELECT source, path, kind, size_bytes, last_seen, deleted_in, restore_path, lives_as IS NULL FROM deleted",
    ),
    ("generations", "SELECT source, taken_at, entries, size_bytes, changed, losses, notices FROM generations"),
    ("xattrs", "SELECT source, taken_at, path, attribute, value_raw FROM xattrs"),
];

/// Returns what a query gives, as sorted rows of text.
///
/// # Panics
/// If the catalog cannot be read.
pub fn rows(catalog: &Path, sql: &str) -> Vec<String> {
    let mut query = Query::open(catalog, QueryLimits { time: Duration::from_secs(60) }).expect("it can be read");
    let mut rows = Vec::new();
    let text = |column: &Column| match column {
        Column::Null => "NULL".to_owned(),
        Column::Integer(n) => n.to_string(),
        Column::Real(n) => n.to_string(),
        Column::Text(bytes) | Column::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    };
    let each = &mut |columns: Vec<Column>| {
        rows.push(columns.iter().map(text).collect::<Vec<_>>().join("|"));
        ControlFlow::Continue(())
    };
    query.run(sql, &mut |_| {}, each).unwrap_or_else(|e| panic!("{sql}: {e}"));
    rows.sort();
    rows
}

/// Returns how the public views of two catalogs differ, one line for each row that only one has; empty: they say the same.
///
/// # Panics
/// If one cannot be read.
pub fn differences(one: &Path, other: &Path) -> Vec<String> {
    let only = |name: &str, which: &str, a: &[String], b: &[String]| -> Vec<String> {
        a.iter()
            .filter(|row| b.binary_search(row).is_err())
            .map(|row| format!("{name}: only {which} says {row}"))
            .collect()
    };
    let mut found = Vec::new();
    for (name, sql) in VIEWS {
        let (a, b) = (rows(one, sql), rows(other, sql));
        if a != b {
            found.extend(only(name, "the first", &a, &b));
            found.extend(only(name, "the second", &b, &a));
            found.push(format!("{name}: {} rows and {}", a.len(), b.len()));
        }
    }
    found
}
