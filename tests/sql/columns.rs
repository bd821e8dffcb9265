//! Columns of the views: `catalog-schema/columns.sql` says of each what the reference says, and what it is like to ask for it.
//!
//! The file is made from the tables of the reference: `UPDATE=1 cargo test --test sql` writes it anew.

use super::{REFERENCE, Site, history};
use rusqlite::{Connection, OpenFlags, StatementStatus};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const COLUMNS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog-schema/columns.sql");

const HEADER: &str = "\
-- What the columns of the public views mean, as README.md says it: `UPDATE=1 cargo test --test sql` makes this file from that.

-- One row per view and column.
CREATE VIEW view_columns(\"view\", \"column\", type, meaning, fast) AS VALUES
";

/// Columns of whole numbers that do not end like one.
const NUMBERS: [&str; 39] = [
    "time",
    "number",
    "generations",
    "entries",
    "changed",
    "losses",
    "partial",
    "notices",
    "gaps",
    "root",
    "node",
    "parent",
    "uid",
    "gid",
    "nlink",
    "has_xattrs",
    "has_acl",
    "xattr_set",
    "unreadable",
    "unknown",
    "forgotten",
    "settled",
    "copy",
    "browsable",
    "more_entries",
    "created",
    "deleted",
    "modified",
    "renamed",
    "attributes",
    "files",
    "copies",
    "fast",
    "replica_set",
    "arbiter",
    "running",
    "answered",
    "skewed",
    "to_heal",
];

/// In each view the columns of which a condition is a seek, or leaves whole generations out. Of those that are left out here, all have at
/// most some rows a generation or none is fast.
const FAST: [(&str, &[&str]); 16] = [
    ("sources", &["source"]),
    ("copies", &["source"]),
    ("generations", &["source", "taken_at", "taken_at_unix", "time"]),
    ("files", &["source", "taken_at", "taken_at_unix", "parent", "node"]),
    ("xattrs", &["source", "taken_at", "taken_at_unix", "node"]),
    ("versions", &["source", "parent", "node"]),
    ("changes", &["source", "taken_at", "taken_at_unix"]),
    ("deleted", &["source", "last_seen", "last_seen_unix", "deleted_in", "deleted_in_unix"]),
    ("findings", &["source", "taken_at", "taken_at_unix"]),
    ("disks", &["source", "taken_at", "taken_at_unix"]),
    ("disk_files", &["source", "taken_at", "taken_at_unix"]),
    ("volumes", &["source", "taken_at", "taken_at_unix"]),
    ("growth", &["source", "taken_at", "taken_at_unix", "time"]),
    ("churn", &["source", "taken_at", "taken_at_unix", "time"]),
    ("usage_by_owner", &["source", "taken_at", "taken_at_unix", "time"]),
    ("coverage", &[]),
];

/// A column of the reference.
pub(super) struct Column {
    pub(super) view: String,
    pub(super) name: String,
    meaning: String,
}

pub(super) fn type_of(view: &str, name: &str) -> &'static str {
    let last = name.rsplit('_').next().unwrap_or(name);
    match () {
        () if last == "raw" => "BLOB",
        () if name == "clock_ahead_s" => "REAL",
        // A date.
        () if (view, name) == ("disks", "parent") => "TEXT",
        () if NUMBERS.contains(&name) || ["unix", "ns", "ms", "bytes", "seconds"].contains(&last) => "INTEGER",
        () => "TEXT",
    }
}

fn is_fast(column: &Column) -> bool {
    FAST.iter().any(|(view, columns)| *view == column.view && columns.contains(&column.name.as_str()))
}

/// Returns the columns of the reference, those of a view together, in the order in which the view has them.
pub(super) fn documented() -> Vec<Column> {
    let site = Site::new();
    site.ok(&["init"]);
    let c = open(&site);
    let mut statement = c.prepare("SELECT name FROM pragma_table_info(?1)").expect("a question");
    let mut columns: Vec<Column> = Vec::new();
    let mut told = in_the_reference();
    while let Some(view) = told.first().map(|column| column.view.clone()) {
        let names = statement.query_map([&view], |row| row.get::<_, String>(0)).expect("columns");
        for name in names.map(|name| name.expect("a name")) {
            let is_it = |column: &Column| column.view == view && column.name == name;
            let place = told.iter().position(is_it).unwrap_or_else(|| panic!("{view}.{name} is not in the reference"));
            columns.push(told.remove(place));
        }
        assert!(told.first().is_none_or(|column| column.view != view), "{view} has not all columns of the reference");
    }
    columns
}

fn in_the_reference() -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for section in REFERENCE.split("\n### `").skip(1) {
        let (view, rest) = section.split_once('`').expect("the name of a view ends");
        let table = rest.split("\n### ").next().unwrap().split("\n## ").next().unwrap();
        for row in table.lines().filter(|line| line.starts_with("| `")) {
            let (names, meaning) = row[2..].split_once(" | ").expect("two columns");
            let meaning = meaning.trim_end_matches(['|', ' ']).replace('`', "");
            for name in names.split('`').skip(1).step_by(2) {
                // What another view says of it.
                let same = meaning
                    .strip_prefix("as in ")
                    .and_then(|other| columns.iter().find(|column| column.view == other && column.name == name));
                let meaning = same.map_or_else(|| meaning.clone(), |column| column.meaning.clone());
                columns.push(Column { view: view.to_owned(), name: name.to_owned(), meaning });
            }
        }
    }
    columns
}

#[test]
fn the_view_of_columns_says_what_the_reference_says() {
    let mut text = HEADER.to_owned();
    let columns = documented();
    for (number, column) in columns.iter().enumerate() {
        let (view, name, fast) = (&column.view, &column.name, u8::from(is_fast(column)));
        assert!(!column.meaning.is_empty(), "{view}.{name} has no meaning");
        let end = if number + 1 == columns.len() { ";" } else { "," };
        let meaning = column.meaning.replace('\'', "''");
        writeln!(text, "  ('{view}', '{name}', '{}', '{meaning}', {fast}){end}", type_of(view, name)).unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(COLUMNS, &text).expect("it can be written");
    }
    assert_eq!(std::fs::read_to_string(COLUMNS).expect("it is there"), text);
}

fn open(site: &Site) -> Connection {
    Connection::open_with_flags(site.path("catalog.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a catalog")
}

/// Returns how many steps SQLite takes for a question.
fn steps(c: &Connection, sql: &str) -> i32 {
    let mut statement = c.prepare(sql).expect("a question");
    let mut rows = statement.query([]).expect("an answer");
    while rows.next().expect("a row").is_some() {}
    drop(rows);
    statement.get_status(StatementStatus::VmStep)
}

#[test]
fn every_value_has_the_type_that_its_column_is_said_to_have_and_fast_ones_read_no_rows_that_they_leave_out() {
    let site = history();
    // As a take of a Gluster volume leaves it, two bricks of which do not answer as they should.
    let volume = Connection::open(site.path("catalog.db")).expect("a catalog");
    volume
        .execute_batch(
            r#"INSERT INTO source SELECT NULL, randomblob(16), 'volume', 'gluster', '{}', policy, 'write', 1, 77 << 16, 0, added_at, 1, 1
                 FROM source LIMIT 1;
               INSERT INTO generation(source, taken_at, number, sequence, level, status, first_content, entries, size_bytes, losses, notices, resume)
               SELECT (SELECT id FROM source WHERE name = 'volume'), 1763604000, 1, 1, 'full', 'published', 0, 0, 0, 0, 0,
                 '{"bricks": {"n1:/b": {"number": 1, "set": 1, "running": true, "answered": true, "clock_ahead_ms": -2500, "skewed": true, "to_heal": 3},
                              "n2:/b": {"number": 2, "set": 1, "arbiter": true}},
                   "cursors": {"n1:/b": {"last": 1763604000}}, "retake": ["0f9d8b1e-7c22-4b5c-9a52-2f7f3a1d0c11"]}';"#,
        )
        .expect("rows");
    let c = open(&site);
    let generations: i32 = c.query_row("SELECT count(*) FROM generations", [], |row| row.get(0)).unwrap();
    let mut filled: BTreeMap<String, bool> = BTreeMap::new();
    for column in documented().iter().filter(|column| column.view != "view_columns") {
        let Column { view, name, .. } = column;
        let types = format!("SELECT DISTINCT lower(typeof({name})) FROM {view} WHERE {name} IS NOT NULL");
        let found: Vec<String> =
            c.prepare(&types).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let is_so = found.iter().all(|found| *found == type_of(view, name).to_lowercase());
        assert!(is_so, "{view}.{name} is {found:?}, and not {}", type_of(view, name));
        filled.entry(view.clone()).and_modify(|any| *any |= !found.is_empty()).or_insert(!found.is_empty());
        let all = steps(&c, &format!("SELECT count(*) FROM {view}"));
        let none = steps(&c, &format!("SELECT count(*) FROM {view} WHERE {name} = -5"));
        match is_fast(column) {
            // A few a generation.
            true => assert!(none < 100 * generations, "{view}.{name} = ... takes {none} steps, all rows {all}"),
            false => {
                let is_slow = all < 6000 || none > all / 12;
                assert!(is_slow, "{view}.{name} = ... takes {none} steps, all rows {all}: it is fast")
            }
        }
    }
    assert!(filled.values().all(|any| *any), "a view without rows shows nothing: {filled:?}");
}
