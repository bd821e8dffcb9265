//! How SQLite answers the statements of this room: each by seeks, none by reading a table or an index from end to end.
//!
//! The plans are asked of a catalog as it is made, with and without the statistics of ANALYZE.

use super::{amounts, below, content, diff, differing, ever, places, scope, sides, story};
use crate::catalog::{connect, tables};

#[test]
fn no_question_scans() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("catalog.db");
    connect::create(&path, None).expect("a catalog");
    let connection = connect::open_any_writing(&path).expect("it can be opened").0;
    let versions = story::versions_sql();
    let statements = [
        scope::PUBLISHED,
        places::NAMES_EVER,
        places::NAME_AT,
        places::KEPT,
        sides::NAMES_AT_BOTH,
        below::NAMES_IN,
        diff::COUNT,
        content::OF_DIGEST,
        below::BIRTHS,
        ever::CHILDREN,
        ever::PERMS,
        ever::GONE,
        differing::NOTED,
        ever::LIVING,
        tables::LOOKUP,
        tables::NODE,
        &versions,
    ];
    for _ in 0..2 {
        for sql in statements {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
            let mut steps: Vec<String> = Vec::new();
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().expect(sql) {
                steps.push(row.get("detail").expect("a plan"));
            }
            assert!(!steps.is_empty() && steps.iter().all(|step| step.starts_with("SEARCH ")), "{sql}: {steps:?}");
        }
        connection.execute_batch("ANALYZE").expect("it can be counted");
    }
}

/// Views are taken apart, so there is more than seeks; what grows with the backups is sought in.
#[test]
fn the_views_that_are_read_are_sought_in() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("catalog.db");
    connect::create(&path, None).expect("a catalog");
    let connection = connect::open_any_writing(&path).expect("it can be opened").0;
    for _ in 0..2 {
        for sql in [amounts::GROWTH, amounts::CHURN] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
            let mut rows = statement.raw_query();
            let mut seeks = 0;
            while let Some(row) = rows.next().expect(sql) {
                let step: String = row.get("detail").expect("a plan");
                assert!(!step.starts_with("SCAN ") || step == "SCAN churn" || step == "SCAN growth", "{sql}: {step}");
                seeks += usize::from(step.starts_with("SEARCH g USING INDEX sqlite_autoindex_generation_1 (source=?"));
            }
            assert_eq!(seeks, 1, "{sql}");
        }
        connection.execute_batch("ANALYZE").expect("it can be counted");
    }
}
