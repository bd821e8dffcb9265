//! Files for other tools: `catalog-schema/duckdb.sql` and `catalog-schema/datasette/metadata.yaml` are made from the reference and the cookbook.
//!
//! `UPDATE=1 cargo test --test sql` writes them anew. `scripts/check-sql-tools` compares what the tools say.

use super::columns::{documented, type_of};
use super::cookbook;
use std::fmt::Write as _;
use std::path::Path;

/// Fails if a file of `catalog-schema/` is not this text.
fn assert_file(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog-schema").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("it can be written");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text, "{name}: UPDATE=1 makes it");
}

#[test]
fn the_views_for_duckdb_are_those_of_the_reference() {
    let mut text = "\
-- The views in DuckDB: first ATTACH '/var/lib/asof/catalog.db' AS backups (TYPE sqlite, READ_ONLY); then read this file. Made from README.md:
-- `UPDATE=1 cargo test --test sql` writes it anew.
--
-- DuckDB hands a view to SQLite as it is (sqlite_query) and reads all of its rows: it has none of SQLite's functions and indexes itself. A
-- condition on a large view belongs inside: FROM sqlite_query('backups', 'SELECT ... FROM files WHERE ...').
"
    .to_owned();
    let columns = documented();
    let mut views: Vec<&str> = columns.iter().map(|column| column.view.as_str()).collect();
    views.dedup();
    for view in views {
        let of_it = columns.iter().filter(|column| column.view == view);
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        for column in of_it {
            let name = &column.name;
            match type_of(view, name) {
                "BLOB" => {
                    outer.push(format!("from_hex(\"{name}\") AS \"{name}\""));
                    inner.push(format!("hex(\"{name}\") AS \"{name}\""));
                }
                "INTEGER" => {
                    outer.push(format!("CAST(\"{name}\" AS BIGINT) AS \"{name}\""));
                    inner.push(format!("\"{name}\""));
                }
                _ => {
                    outer.push(format!("\"{name}\""));
                    inner.push(format!("\"{name}\""));
                }
            }
        }
        let (outer, inner) = (outer.join(", "), inner.join(", "));
        writeln!(text, "\nCREATE OR REPLACE VIEW {view} AS\nSELECT {outer}\n  FROM sqlite_query('backups', 'SELECT {inner} FROM {view}');")
            .unwrap();
    }
    assert_file("duckdb.sql", &text);
}

/// Returns a heading as part of a URL.
fn slug(heading: &str) -> String {
    let heading = heading.split(" (").next().unwrap_or(heading).to_lowercase();
    let words = heading.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// Returns a query with names in place of the values that everybody has others of.
fn with_parameters(sql: &str) -> String {
    let mut sql = sql.to_owned();
    for (column, name) in
        [("source = '", ":source"), ("taken_at = '", ":taken_at"), ("day = '", ":day"), (" path = '", ":path")]
    {
        let mut from = 0;
        while let Some(at) = sql[from..].find(column) {
            let begin = from + at + column.len() - 1;
            let end = begin + 1 + sql[begin + 1..].find('\'').expect("a text ends") + 1;
            sql.replace_range(begin..end, name);
            from = begin;
        }
    }
    sql.replace("VALUES ('homes', 'accounts/old.ods')", "VALUES (:source, :path)")
}

#[test]
fn the_queries_for_datasette_are_those_of_the_cookbook() {
    let mut text = "\
# For Datasette: datasette -i /var/lib/asof/catalog.db -m metadata.yaml --plugins-dir plugins. Made from docs/cookbook.md:
# `UPDATE=1 cargo test --test sql` writes it anew. A query with :source, :taken_at and so on asks for them in a form.
title: asof
description: Every backup generation of every source. Ask the views; the tables may change.
databases:
  catalog:
    queries:
"
    .to_owned();
    let mut last = String::new();
    let mut number = 1;
    for asked in cookbook().into_iter().filter(|asked| !asked.is_ours) {
        let mut name = slug(asked.question);
        if name == last {
            number += 1;
            name = format!("{name}-{number}");
        } else {
            number = 1;
            last.clone_from(&name);
        }
        let title = asked.question.replace('"', "'");
        writeln!(text, "      {name}:\n        title: \"{title}\"\n        sql: |-").unwrap();
        for line in with_parameters(asked.sql).trim_end_matches(';').lines() {
            writeln!(text, "          {line}").unwrap();
        }
    }
    assert_file("datasette/metadata.yaml", &text);
}
