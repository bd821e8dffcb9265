//! What `asof history` and `asof diff` say of sites made by real tools.
//!
//! The model of random histories is in `ask/`: what it computes from plain trees is what the verbs have to say.

#[path = "common/site.rs"]
mod site;

use serde_json::Value;
use site::{Site, assert_documented, sh};

/// Returns the rows that a verb prints with `--json`.
fn rows(site: &Site, args: &[&str]) -> Vec<Value> {
    let printed = site.ok(&[args, &["--json"]].concat());
    printed.lines().map(|line| serde_json::from_str(line).expect("a JSON value a line")).collect()
}

/// Returns some fields of each row, with blanks between.
fn told(rows: &[Value], fields: &[&str]) -> Vec<String> {
    let field = |row: &Value, name: &str| match &row[name] {
        Value::String(text) => text.clone(),
        Value::Array(words) => words.iter().map(|word| word.as_str().expect("a word")).collect::<Vec<_>>().join("+"),
        other => other.to_string(),
    };
    rows.iter().map(|row| fields.iter().map(|name| field(row, name)).collect::<Vec<_>>().join(" ")).collect()
}

/// A source `web` of snapshots that keep inode numbers: one directory that is changed and renamed to the next date.
fn snapshots() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    let dir = site.path("copies");
    site.ok(&["source", "add", "nfs", "web", "--copies", dir.to_str().unwrap(), "--identity", "inode"]);
    let nights = [
        "mkdir -p 2026-11-18/docs/old; cd 2026-11-18; echo one > docs/a; echo gone > docs/old/b; echo c > docs/old/c; echo log > log",
        "mv 2026-11-18 2026-11-19; cd 2026-11-19; mv docs papers; echo two >> papers/a; mv log log.1; echo new > log",
        "mv 2026-11-19 2026-11-20; cd 2026-11-20; rm -r papers/old; chmod 600 papers/a; ln papers/a hard; mkdir -p new/sub; echo x > new/sub/x",
        "mv 2026-11-20 2026-11-21; cd 2026-11-21; rm papers/a hard",
        "mv 2026-11-21 2026-11-22; cd 2026-11-22; echo back > papers/z",
    ];
    for night in nights {
        sh(&dir, night);
        site.ok(&["index", "web"]);
    }
    site
}

#[test]
fn a_history_follows_a_file_through_its_renames_until_it_is_gone() {
    let site = snapshots();
    let versions = rows(&site, &["history", "web:papers/a"]);
    assert_eq!(
        told(&versions, &["since", "until", "began", "path", "old_path", "other_content", "ended"]),
        [
            "2026-11-18T00:00:00Z 2026-11-19T00:00:00Z oldest docs/a null false changed",
            "2026-11-19T00:00:00Z 2026-11-20T00:00:00Z changed papers/a docs/a true changed",
            "2026-11-20T00:00:00Z 2026-11-21T00:00:00Z changed papers/a null false gone",
        ]
    );
    assert_eq!(versions[2]["mode"], "0600");
    assert_eq!(versions[0]["restore_path"], "@2026-11-18T000000Z/web/docs/a");
    // It is the same file by each of its names.
    let by = |name: &str| told(&rows(&site, &["history", name]), &["since", "node"]);
    assert_eq!(by("web:docs/a"), by("web:papers/a"));
    let log = rows(&site, &["history", "web:log", "--name"]);
    assert_eq!(
        told(&log, &["since", "until", "began", "ended", "size_bytes"]),
        ["2026-11-18T00:00:00Z 2026-11-19T00:00:00Z oldest changed 4", "2026-11-19T00:00:00Z null replaced newest 4"]
    );
}

#[test]
fn the_history_of_a_directory_is_what_happened_in_it_and_below_it() {
    let site = snapshots();
    let changes = rows(&site, &["history", "web:papers"]);
    assert_eq!(
        told(&changes, &["taken_at", "what", "path", "old_path", "entries"]),
        [
            "2026-11-19T00:00:00Z renamed papers docs 0",
            "2026-11-19T00:00:00Z modified papers/a null 0",
            "2026-11-20T00:00:00Z attributes papers/a null 0",
            "2026-11-20T00:00:00Z deleted papers/old null 2",
            "2026-11-21T00:00:00Z deleted papers/a null 0",
            "2026-11-22T00:00:00Z created papers/z null 0",
        ]
    );
    assert_eq!(rows(&site, &["history", "web:papers", "--since", "2026-11-21"]).len(), 2);
    let printed = serde_json::json!([rows(&site, &["history", "web:papers"]), rows(&site, &["history", "web:hard"])]);
    assert_documented("asof history", &printed);
}

#[test]
fn a_diff_has_one_line_for_each_thing_that_happened_also_of_a_directory() {
    let site = snapshots();
    let diff = |args: &[&str]| {
        let rows = rows(&site, &[&["diff", "web"], args].concat());
        told(&rows, &["what", "path", "old_path", "entries", "fields"])
    };
    // The top directory itself was renamed.
    assert_eq!(diff(&[]), ["attributes . null 0 ctime", "created papers/z null 0 "]);
    assert_eq!(
        diff(&["@2026-11-18", "@2026-11-19"]),
        [
            "created log null 0 ",
            "renamed log.1 log 0 ",
            "renamed papers docs 0 ",
            "modified papers/a null 0 size+mtime+ctime"
        ]
    );
    assert_eq!(
        diff(&["@2026-11-19", "@2026-11-20"]),
        [
            "linked hard null 0 ",
            "created new null 2 ",
            "attributes papers/a null 0 ctime+mode+links",
            "deleted papers/old null 2 "
        ]
    );
    // The other way around.
    assert_eq!(diff(&["@2026-11-22", "@2026-11-21", "papers"]), ["deleted papers/z null 0 "]);
    assert_eq!(diff(&["@2026-11-19", "@2026-11-20", "new/sub"]), ["created new/sub null 1 "]);
    assert_documented("asof diff", &serde_json::json!(rows(&site, &["diff", "web", "@2026-11-19", "@2026-11-20"])));
}

#[test]
fn what_names_nothing_is_refused_by_name() {
    let site = snapshots();
    for (args, what) in [
        (&["history", "web:never"][..], "asof: no generation of \"web\" has \"never\"\n"),
        (&["history", ":never"], "asof: no source ever had \"never\", as far as its generations go\n"),
        (
            &["history", "web:docs/a", "--at", "2026-11-21"],
            "asof: there is no \"web/docs/a\" as of 2026-11-21T00:00:00Z\n",
        ),
        (&["history", "nobody:a"], "asof: there is no source \"nobody\""),
        (&["diff", "web", "@2026-11-17"], "asof: source \"web\" has no generation by \"2026-11-17\""),
        (&["diff", "web", "@2026-11-18", "@2026-11-19", "none"], "there is no \"web/none\" in either generation\n"),
        (&["diff", "web", "@1999-13-01"], "asof: \"1999-13-01\" is not a date"),
        (&["diff", "web", "a", "b"], "asof: more than one path is given\n"),
    ] {
        let output = site.run(args, 2);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(what), "{args:?}: {text}");
        assert_eq!(output.stdout, b"", "{args:?}");
    }
}

#[test]
fn names_with_odd_bytes_come_out_as_they_are_with_0_and_escaped_elsewhere() {
    let site = Site::with_source();
    for day in ["2026-11-18", "2026-11-19"] {
        let dir = format!("copies/{day}/d\n\x1b");
        let bytes = [dir.as_bytes(), b"/\xff\\"].concat();
        std::fs::create_dir_all(site.path(&dir)).unwrap();
        let path = site.path("").join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&bytes));
        std::fs::write(path, day.repeat(if day == "2026-11-18" { 1 } else { 2 })).unwrap();
    }
    site.ok(&["index", "homes"]);
    let raw = b"@2026-11-19T000000Z/homes/d\n\x1b/\xff\\\0";
    assert_eq!(site.run(&["diff", "homes", "-0"], 0).stdout, raw);
    let escaped = "@2026-11-19T000000Z/homes/d\\n\\x1b/\\xff\\\\";
    assert_eq!(rows(&site, &["diff", "homes"])[0]["restore_path"], escaped);
    let target = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(b"homes:d\n\x1b/\xff\\".to_vec());
    let output = site.asof(&["history", "-0"]).arg(target).output().unwrap();
    assert_eq!(output.stdout, [&raw.replace_18()[..], raw].concat());
    let table = site.ok(&["diff", "homes"]);
    assert!(table.contains("homes:d\\n\\x1b/\\xff\\\\"), "{table}");
}

/// The same path in the generation of the day before.
trait DayBefore {
    fn replace_18(&self) -> Vec<u8>;
}

impl DayBefore for [u8] {
    fn replace_18(&self) -> Vec<u8> {
        let mut bytes = self.to_vec();
        bytes[10] = b'8';
        bytes
    }
}
