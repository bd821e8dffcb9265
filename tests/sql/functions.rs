//! Functions that return tables, and `path = ...` in `asof sql`: what they say is what the verbs and the views say.

use super::{HOMES, by_asof, by_sqlite3, history};
use crate::site::{Site, said};
use serde_json::{Value, json};

/// Returns some columns of rows, as text.
fn columns(rows: &[Value], names: &[&str]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Bool(is) => i32::from(*is).to_string(),
        Value::Array(words) => words.iter().map(|word| word.as_str().expect("a word")).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    rows.iter().map(|row| names.iter().map(|name| text(&row[*name])).collect::<Vec<_>>().join("|")).collect()
}

fn verb(site: &Site, args: &[&str]) -> Vec<Value> {
    site.ok(args).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn history_says_what_asof_history_says_of_every_path_that_ever_was() {
    let site = history();
    let names = [
        "source",
        "path",
        "since",
        "since_unix",
        "until",
        "until_unix",
        "began",
        "ended",
        "fields",
        "other_content",
        "old_path",
        "kind",
        "size_bytes",
        "mode",
        "uid",
        "gid",
        "nlink",
        "unseen",
        "restore_path",
        "node",
    ];
    // All at once, each found by what a view says of it.
    let all = "SELECT p.source || ':' || p.path AS target, h.* FROM \
               (SELECT DISTINCT source, path FROM versions WHERE kind <> 'directory') p, history(p.source || ':' || p.path) h";
    let rows = by_asof(&site, all);
    assert!(rows.len() > 60, "{} rows", rows.len());
    let mut count = 0;
    let mut targets: Vec<String> = columns(&rows, &["target"]);
    targets.dedup();
    for target in targets {
        // What the name led to last is a directory: the verb tells of what is below it.
        if rows.iter().any(|row| row["target"] == target.as_str() && row["kind"] == "directory") {
            continue;
        }
        let told: Vec<Value> = rows.iter().filter(|row| row["target"] == target.as_str()).cloned().collect();
        // The name itself, for the verb.
        let raw = asof::model::unescape_bytes(&target).expect("an escaped path");
        let mut command = site.asof(&["history", "--json"]);
        let output =
            command.arg(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(raw)).output().unwrap();
        assert!(output.status.success(), "{target}: {}", said(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        let verb: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(columns(&told, &names), columns(&verb, &names), "{target}");
        count += told.len();
    }
    assert!(count > 60 && count + 6 > rows.len(), "{count} of {}", rows.len());
    let odd = by_asof(
        &site,
        "SELECT since, restore_path_raw FROM history(CAST('homes:latin' || x'e9' || '.txt' AS BLOB)) LIMIT 1",
    );
    assert_eq!(
        odd,
        [json!({"since": "2026-11-18T00:00:00Z", "restore_path_raw": "@2026-11-18T000000Z/homes/latin\\xe9.txt"})]
    );
    assert_eq!(by_asof(&site, "SELECT * FROM history('homes:never')"), Vec::<Value>::new());
    assert_eq!(by_asof(&site, "SELECT * FROM history(NULL)"), Vec::<Value>::new());
    assert_eq!(
        by_asof(&site, "SELECT count(*) AS n FROM history(':notes.txt') WHERE size_bytes > 6"),
        [json!({"n": 2})]
    );
}

#[test]
fn diff_says_what_asof_diff_says() {
    let site = history();
    for (source, a, b) in [
        ("homes", HOMES[0], HOMES[1]),
        ("homes", HOMES[0], HOMES[3]),
        ("homes", HOMES[2], HOMES[0]),
        ("web", "2026-11-18", "2026-11-20"),
        ("vm1", "2026-11-19", "2026-11-20"),
    ] {
        let rows = by_asof(&site, &format!("SELECT * FROM diff('{source}', '{a}', '{b}')"));
        let output = site.asof(&["diff", "--json", source, &format!("@{a}"), &format!("@{b}")]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let verb: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names = [
            "source",
            "taken_at",
            "what",
            "path",
            "old_path",
            "kind",
            "fields",
            "entries",
            "entries_bytes",
            "restore_path",
        ];
        assert_eq!(columns(&rows, &names), columns(&verb, &names), "{source} {a} {b}");
        let sizes = |rows: &[Value], was: &str, is: &str| -> Vec<(Value, Value)> {
            rows.iter()
                .map(|row| {
                    (row.pointer(was).cloned().unwrap_or_default(), row.pointer(is).cloned().unwrap_or_default())
                })
                .collect()
        };
        assert_eq!(sizes(&rows, "/size_before", "/size_bytes"), sizes(&verb, "/was/size_bytes", "/is/size_bytes"));
    }
    assert_eq!(by_asof(&site, "SELECT * FROM diff('homes', 'latest', 'latest')"), Vec::<Value>::new());
}

#[test]
fn files_at_has_the_rows_of_the_generation_that_a_date_means() {
    let site = history();
    // sqlite3 prints bytes as they are.
    let names = "SELECT group_concat(\"column\") AS names FROM view_columns WHERE \"view\" = 'files' AND \"column\" NOT LIKE '%raw'";
    let names = by_asof(&site, names)[0]["names"].as_str().unwrap().to_owned();
    for (source, date, at) in [
        ("homes", "'2026-11-19'", "2026-11-19T00:00:00Z"),
        ("homes", "1795132799", "2026-11-19T00:00:00Z"),
        ("homes", "'latest'", "2026-11-21T00:00:00Z"),
        ("homes", "'oldest'", "2026-11-18T00:00:00Z"),
        ("web", "'2026-11-19T12:00Z'", "2026-11-19T00:00:00Z"),
    ] {
        let mut found = by_asof(&site, &format!("SELECT {names} FROM files_at('{source}', {date})"));
        let sql = format!("SELECT {names} FROM files WHERE source = '{source}' AND taken_at = '{at}'");
        let mut wanted = by_sqlite3(&site.path("catalog.db"), &sql);
        found.sort_by_key(ToString::to_string);
        wanted.sort_by_key(ToString::to_string);
        assert_eq!(found, wanted, "{source} {date}");
        assert!(found.len() > 5);
    }
    let narrow = "SELECT count(*) AS n FROM files_at('homes', 'latest') f, files_at('homes', '2026-11-18') g \
                  WHERE f.path = g.path AND f.kind = 'file' AND g.kind = 'file' AND f.size_bytes <> g.size_bytes";
    assert_eq!(by_asof(&site, narrow), [json!({"n": 2})]);
}

#[test]
fn a_condition_on_path_has_the_same_rows_as_in_sqlite3_for_every_path_that_ever_was() {
    let site = history();
    let catalog = site.path("catalog.db");
    let paths = by_sqlite3(&catalog, "SELECT DISTINCT path FROM versions ORDER BY path");
    assert!(paths.len() > 40, "{} paths", paths.len());
    // One statement for all: a seek for each.
    for view in ["files", "versions"] {
        let when = if view == "files" { "taken_at" } else { "since" };
        let columns = format!("v.source, v.path, v.{when}, v.size_bytes, v.mode, v.restore_path, v.node");
        let by_path = format!(
            "SELECT {columns} FROM (SELECT DISTINCT path FROM main.versions) p CROSS JOIN {view} v ON v.path = p.path ORDER BY 1, 2, 3"
        );
        let all = format!("SELECT {columns} FROM {view} v ORDER BY 1, 2, 3");
        assert_eq!(by_asof(&site, &by_path), by_sqlite3(&catalog, &all), "{view}");
        for condition in [
            "path = 'notes.txt'",
            "path = 'notes.txt' AND source = 'homes'",
            "path = 'notes.txt' AND source = 'web'",
            "path = 'no/such/path'",
            "path = ''",
            "path = '.'",
            "path = 'a/../b'",
            "path = 'bad\\escape'",
            "path = 7",
            "path = NULL",
            "path = x'6e6f7465732e747874'",
            "path = CAST(x'ff' AS TEXT)",
            "path = 'NOTES.txt' COLLATE NOCASE",
            "path IN ('notes.txt', 'shared/tool', 'never')",
            "path = 'shared/tool' AND mode > '0700'",
            "path = 'line\\nbreak' OR path = 'latin\\xe9.txt'",
            "path LIKE 'shared/%' AND name = 'tool'",
            "taken_at_unix = '1795046400' AND path = 'notes.txt'",
            "size_bytes > '5' AND path = 'notes.txt'",
        ] {
            let condition =
                condition.replace("taken_at_unix", if view == "files" { "taken_at_unix" } else { "since_unix" });
            let sql = format!("SELECT {columns} FROM {view} v WHERE {condition} ORDER BY 1, 2, 3");
            assert_eq!(by_asof(&site, &sql), by_sqlite3(&catalog, &sql), "{sql}");
        }
    }
}

#[test]
fn functions_refuse_what_names_nothing_and_what_is_too_much() {
    let site = history();
    for (sql, args, what) in [
        ("SELECT * FROM files_at('nobody', 'latest')", &[][..], "there is no source \"nobody\"; known are homes"),
        ("SELECT * FROM files_at('homes', '2026-13-01')", &[], "\"2026-13-01\" is not a date"),
        ("SELECT * FROM files_at('homes', '1999-01-01')", &[], "source \"homes\" has no generation by \"1999-01-01\""),
        ("SELECT * FROM files_at('homes', 5)", &[], "source \"homes\" has no generation by 5"),
        (
            "SELECT * FROM files_at('homes', x'00')",
            &[],
            "a date is text, as on the command line, or seconds since 1970",
        ),
        ("SELECT * FROM files_at('homes')", &[], "give all of its arguments: (of_source, as_of)"),
        ("SELECT * FROM files_at", &[], "give all of its arguments: (of_source, as_of)"),
        ("SELECT * FROM files_at('homes', 'latest', 1)", &[], "too many arguments on files_at() - max 2"),
        ("SELECT * FROM history('notes.txt')", &[], "write 'SOURCE:PATH'"),
        ("SELECT * FROM history('homes:bad\\escape')", &[], "write 'SOURCE:PATH'"),
        ("SELECT * FROM history('nobody:a')", &[], "there is no source \"nobody\""),
        ("SELECT * FROM history(7)", &[], "write 'SOURCE:PATH'"),
        ("SELECT * FROM diff('homes', 'latest')", &[], "give all of its arguments: (of_source, before, after)"),
        ("SELECT * FROM diff('homes', 'yesteryear', 'latest')", &[], "\"yesteryear\" is not a date"),
        ("INSERT INTO files_at VALUES (1)", &[], "the catalog is only read here"),
        ("DELETE FROM files", &[], "table files may not be modified"),
        ("DROP TABLE temp.files", &[], "the catalog is only read here"),
        ("CREATE VIRTUAL TABLE temp.x USING quick_files", &[], "the catalog is only read here"),
        (
            "SELECT count(*) FROM files a, files b, files c, files d WHERE a.path < b.path AND c.path < d.path",
            &["--timeout", "1"],
            "the query was stopped after 1 s, its time limit",
        ),
        (
            "SELECT count(*) FROM files a, history(a.source || ':' || a.path), files b, files c",
            &["--timeout", "1"],
            "the query was stopped after 1 s, its time limit",
        ),
    ] {
        let output = site.run(&[&["sql"][..], args, &[sql]].concat(), 2);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(what), "{sql}: {text}");
    }
}

#[test]
fn a_statement_sees_one_moment_in_functions_and_views_while_generations_are_published() {
    let site = Site::with_source();
    for day in 1..=9 {
        let dir = site.path(&format!("copies/2026-11-0{day}"));
        std::fs::create_dir_all(&dir).unwrap();
        (0..day * 3).for_each(|file| std::fs::write(dir.join(format!("f{file}")), "x").unwrap());
    }
    site.ok(&["index", "homes", "copies/2026-11-01"]);
    let asking = std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            for day in 2..=9 {
                site.ok(&["index", "homes", &format!("copies/2026-11-0{day}")]);
            }
        });
        let mut seen = std::collections::BTreeSet::new();
        while !writer.is_finished() || seen.is_empty() {
            let rows = by_asof(
                &site,
                "SELECT (SELECT count(*) FROM files_at('homes', 'latest')) AS f, (SELECT count(*) FROM diff('homes', 'oldest', 'latest')) AS d, \
                 (SELECT entries FROM generations ORDER BY taken_at DESC LIMIT 1) AS e, (SELECT count(*) FROM files WHERE path = 'f0') AS g, \
                 (SELECT count(*) FROM generations) AS n",
            );
            let value = |name: &str| rows[0][name].as_i64().unwrap();
            assert_eq!(value("f"), value("e"), "{rows:?}");
            assert_eq!(value("g"), value("n"), "{rows:?}");
            assert!(value("n") == 1 || (value("e") - 3..=value("e") + 1).contains(&value("d")), "{rows:?}");
            seen.insert(value("n"));
        }
        seen
    });
    assert!(!asking.is_empty());
    assert_eq!(verb(&site, &["sql", "--json", "SELECT count(*) AS n FROM generations"]), [json!({"n": 9})]);
}
