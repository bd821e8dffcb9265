//! What SQLite itself can tell: the structure of pages, its indexes, the types of columns, foreign keys; and whether tables, indexes
//! and views are those of the format.
//!
//! Promises: comments and blanks in the text of a table or view do not matter, every other byte does.

use super::report::{Report, Subject};
use crate::catalog::{Error, name_index, schema};
use crate::model::escape_bytes;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Errors that SQLite looks for before it gives up.
const ERRORS_MAX: u32 = 100;

pub(super) fn check(report: &mut Report<'_>) -> Result<(), Error> {
    report.begin("reading every page", None);
    report.step("reading every page", integrity)?;
    report.step("comparing references", foreign_keys)?;
    report.step("comparing tables and views", schema)?;
    Ok(())
}

fn integrity(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let mut statement = c.prepare(&format!("PRAGMA integrity_check({ERRORS_MAX})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        for line in text.lines().filter(|line| *line != "ok") {
            report.add("pages", (None, None), Subject::Source, "a page or index contradicts itself", line);
        }
    }
    Ok(())
}

fn foreign_keys(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let mut statement = c.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, id, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let detail = format!("row {} of {table}, row of {parent}", id.unwrap_or_default());
        report.add("references", (None, None), Subject::Source, "a row refers to one that is not there", detail);
    }
    Ok(())
}

fn schema(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let wanted = Connection::open_in_memory()?;
    schema::create(&wanted)?;
    if name_index::exists(c)? {
        name_index::create(&wanted)?;
    }
    let (wanted, found) = (parts(&wanted)?, parts(c)?);
    for ((kind, name), sql) in &wanted {
        match found.get(&(kind.clone(), name.clone())) {
            Some(found) if found == sql => {}
            Some(_) => {
                report.add("schema", (None, None), Subject::Source, "not as in this format", format!("{kind} {name}"))
            }
            None => report.add("schema", (None, None), Subject::Source, "not there", format!("{kind} {name}")),
        }
    }
    for (kind, name) in found.keys().filter(|key| !wanted.contains_key(*key)) {
        let detail = format!("{} {}", escape_bytes(kind.as_bytes()), escape_bytes(name.as_bytes()));
        report.add("schema", (None, None), Subject::Source, "more than this format has", detail);
    }
    Ok(())
}

/// Returns tables, indexes and views by type and name, each as its table and its text without comments.
fn parts(c: &Connection) -> rusqlite::Result<BTreeMap<(String, String), (String, String)>> {
    // Tables of SQLite's own, and indexes that it made, have no text of ours.
    let mut statement = c.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL \
         AND NOT (type = 'table' AND name IN ('sqlite_sequence', 'sqlite_stat1', 'sqlite_stat4'))",
    )?;
    let rows = statement
        .query_map([], |r| Ok(((r.get(0)?, r.get(1)?), (r.get(2)?, without_comments(&r.get::<_, String>(3)?)))))?;
    rows.collect()
}

/// Returns SQL with one blank in place of each run of blanks and comments (`-- ` to the end of the line).
fn without_comments(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        match c {
            '\'' | '"' => {
                let end = rest[1..].find(c).map_or(rest.len(), |at| at + 2);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            _ if rest.starts_with("--") || c.is_ascii_whitespace() => {
                let skip = if c == '-' { rest.find('\n').unwrap_or(rest.len()) } else { 1 };
                rest = &rest[skip..];
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            _ => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blanks_of_a_table_do_not_matter_and_quoted_ones_do() {
        let short = "CREATE TABLE a(b TEXT DEFAULT '--  x', \"c  d\")";
        assert_eq!(without_comments("CREATE  TABLE a(b TEXT DEFAULT '--  x',   -- why\n \"c  d\")"), short);
        assert_eq!(without_comments(short), short);
        assert_eq!(without_comments("SELECT 1 -- the end"), "SELECT 1");
    }
}
