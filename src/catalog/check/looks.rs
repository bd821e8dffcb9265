//! What a few rows say that no query compares: words, paths, numbers, and rows that are digests or texts of others.
//!
//! Promises: a look costs one pass over a table and a seek a row. Tables that have a row a name or version are not looked at row by
//! row here but in `names` and `nodes`; only what lies in no source's numbers is.

use super::report::{Report, Subject};
use crate::catalog::parts::{self, xattr_digest};
use crate::catalog::rows::check_source_name;
use crate::catalog::{Error, interval, objects};
use crate::model::{
    FindingKind, GUEST_BYTES, Kind, Layer, Level, NodeId, ObjectId, RelPath, SourceId, SourceKind, escape_bytes,
};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// Tables whose ids are never given out twice.
const COUNTED: [&str; 8] = ["source", "site", "store", "generation", "object", "copy", "run", "node_block"];

/// Tables with a row a name or version, each with the column that says whose it is.
const OWNED: [(&str, &str); 3] = [("dirent", "parent"), ("dirent", "node"), ("inode", "node")];
pub(super) fn check(report: &mut Report<'_>) -> Result<(), Error> {
    report.step("comparing words", words)?;
    report.step("looking at paths", paths)?;
    report.step("comparing numbers", numbers)?;
    report.step("looking for rows of no source", ownerless)?;
    report.step("comparing owners and modes", perms)?;
    report.step("comparing extended attributes", xattrs)?;
    report.step("comparing texts", texts)?;
    report.step("comparing instants", forks)?;
    report.step("comparing layers of disks", layers)?;
    Ok(())
}

/// Words that the program knows by types of its own.
fn words(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    /// What is wrong, the query that finds the words, and whether a word is known.
    type Known = (&'static str, &'static str, fn(&str) -> bool);
    let known: [Known; 4] = [
        ("a source has a name that none can have", "SELECT id, NULL, name FROM source", |word| {
            check_source_name(word).is_ok()
        }),
        ("a source is of a kind that there is not", "SELECT id, NULL, kind FROM source", |word| {
            SourceKind::from_word(word).is_some()
        }),
        ("a generation has a level that there is not", "SELECT source, taken_at, level FROM generation", |word| {
            Level::from_word(word).is_some()
        }),
        ("a finding is of a kind that there is not", "SELECT source, at, kind FROM finding", |word| {
            FindingKind::from_word(word).is_some()
        }),
    ];
    for (what, sql, is_known) in known {
        let mut statement = c.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let word: String = row.get(2)?;
            if !is_known(&word) {
                report.add(
                    "words",
                    (Some(SourceId(row.get(0)?)), row.get(1)?),
                    Subject::Source,
                    what,
                    escape_bytes(word.as_bytes()),
                );
            }
        }
    }
    Ok(())
}

/// Paths that are opened: one that leaves the place below which it lies, or has another spelling, is none that this program wrote.
fn paths(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let is_below = |path: &[u8]| RelPath::parse(path).is_ok_and(|plain| plain.as_bytes() == path);
    let is_absolute = |path: &[u8]| path.strip_prefix(b"/").is_some_and(is_below);
    for (table, is_from_top) in [("store", true), ("disk_file", true), ("copy", false), ("object_path", false)] {
        let mut statement = c.prepare(&format!("SELECT path FROM {table}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let path = row.get_ref(0)?.as_bytes()?;
            if !(if is_from_top { is_absolute(path) } else { is_below(path) }) {
                let what = if is_from_top { "a path does not begin at the top" } else { "a path leaves its place" };
                let detail = format!("\"{}\" in {table}", escape_bytes(path));
                report.add("paths", (None, None), Subject::Source, what, detail);
            }
        }
    }
    Ok(())
}

fn numbers(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    for table in COUNTED {
        let key = if table == "node_block" { "block" } else { "id" };
        let given: i64 =
            c.query_row("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1", [table], |r| r.get(0))?;
        let highest: i64 = c.query_row(&format!("SELECT coalesce(max({key}), 0) FROM {table}"), [], |r| r.get(0))?;
        if highest > given {
            let detail = format!("{table}: {highest} is there, and {given} is the last one that was given out");
            report.add("numbers", (None, None), Subject::Source, "a number would be given out twice", detail);
        }
    }
    Ok(())
}

/// Looks between the blocks of node numbers that sources have, and not at each row.
fn ownerless(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached("SELECT block FROM node_block ORDER BY block")?;
    let blocks: Vec<i64> = statement.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
    let ends = blocks.iter().map(|block| block << 16).chain([i64::MAX]);
    let begins = [i64::MIN].into_iter().chain(blocks.iter().map(|block| (block + 1) << 16));
    let gaps: Vec<(i64, i64)> = begins.zip(ends).filter(|(begin, end)| begin < end).collect();
    for (table, column) in OWNED {
        let mut statement = c.prepare(&format!(
            "SELECT {column}, count(*) FROM {table} WHERE {column} >= ?1 AND {column} < ?2 GROUP BY {column}"
        ))?;
        for (begin, end) in &gaps {
            let mut rows = statement.query([begin, end])?;
            while let Some(row) = rows.next()? {
                let detail = format!("{} rows of {table}", row.get::<_, i64>(1)?);
                let subject = Subject::Node(NodeId(row.get(0)?));
                report.add("references", (None, None), subject, "a node of no source", detail);
            }
        }
    }
    Ok(())
}

fn perms(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached("SELECT id, mode FROM perm")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mode: i64 = row.get(1)?;
        if u32::try_from(mode).ok().and_then(Kind::from_mode).is_none() {
            let detail = format!("perm {}, mode {mode:o}", row.get::<_, i64>(0)?);
            report.add("words", (None, None), Subject::Source, "a mode names no type", detail);
        }
    }
    Ok(())
}

fn xattrs(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached("SELECT id, digest, has_acl FROM xattr_set ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, digest, acl): (i64, Vec<u8>, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let set = parts::xattrs(c, id)?;
        let mut wrong = |what| report.add("interned", (None, None), Subject::Source, what, format!("xattr_set {id}"));
        if digest != xattr_digest(&set) {
            wrong("extended attributes are not those of their digest");
        }
        if acl != set.has_acl() {
            wrong("an ACL is there and is not marked, or is marked and is not there");
        }
    }
    Ok(())
}

/// Names, paths and link targets as views show them. Those of names and targets are asked for in `names` and `nodes`.
fn texts(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached("SELECT name, text FROM odd_name")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, text): (Vec<u8>, String) = (row.get(0)?, row.get(1)?);
        let wanted = escape_bytes(&name);
        if matches!(wanted, std::borrow::Cow::Borrowed(_)) || wanted != text {
            let detail = format!("\"{}\" in place of \"{wanted}\"", escape_bytes(text.as_bytes()));
            report.add("texts", (None, None), Subject::Source, "a name is shown as another text", detail);
        }
    }
    for (table, column) in [("store", "path"), ("copy", "path"), ("disk_file", "path"), ("finding", "path")] {
        let mut statement = c.prepare(&format!("SELECT {column} FROM {table}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name: Vec<u8> = row.get(0)?;
            if !has_text(c, &name)? {
                let detail = format!("\"{}\" in {table}", escape_bytes(&name));
                report.add("texts", (None, None), Subject::Source, "a name has no text", detail);
            }
        }
    }
    Ok(())
}

/// Tells whether a name, path or target is shown as it is, or has a text.
pub(super) fn has_text(c: &Connection, name: &[u8]) -> rusqlite::Result<bool> {
    match escape_bytes(name) {
        std::borrow::Cow::Borrowed(_) => Ok(true),
        std::borrow::Cow::Owned(_) => {
            c.prepare_cached("SELECT EXISTS (SELECT 1 FROM odd_name WHERE name = ?1)")?.query_row([name], |r| r.get(0))
        }
    }
}

/// The forks of every instant at which something can be listed.
fn forks(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let mut instants = c.prepare_cached(
        "SELECT taken_at, min(source) FROM generation WHERE status = 'published' GROUP BY taken_at ORDER BY taken_at",
    )?;
    let mut statement = c.prepare_cached("SELECT fork FROM instant_fork WHERE at = ?1")?;
    let mut rows = instants.query([])?;
    while let Some(row) = rows.next()? {
        let (at, source): (i64, i64) = (row.get(0)?, row.get(1)?);
        let found: BTreeSet<i64> = statement.query_map([at], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut wanted = BTreeSet::new();
        interval::path(at, |fork| _ = wanted.insert(fork));
        if found != wanted {
            let (lost, more) = (wanted.difference(&found).count(), found.difference(&wanted).count());
            let detail = format!("{lost} are not there and {more} are too many");
            let place = (Some(SourceId(source)), Some(at));
            report.add("forks", place, Subject::Source, "the forks of an instant are not its own", detail);
        }
    }
    Ok(())
}

/// What a generation holds of a disk by itself.
fn layers(report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached(
        "SELECT o.id, o.source, o.at, o.size, l.stored, l.extents FROM disk_layer l JOIN object o ON o.id = l.object ORDER BY o.id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (object, place) = (row.get(0)?, (Some(SourceId(row.get(1)?)), row.get(2)?));
        let (size, stored): (Option<i64>, i64) = (row.get(3)?, row.get(4)?);
        let mut wrong = |what: &'static str, detail: String| {
            report.add("layers", place, Subject::Source, what, format!("object {object}, {detail}"));
        };
        let numbers: (i64, i64) = c
            .prepare_cached("SELECT count(*), coalesce(max(number), -1) FROM disk_file WHERE object = ?1")?
            .query_row([object], |r| Ok((r.get(0)?, r.get(1)?)))?;
        if numbers.0 != numbers.1 + 1 {
            wrong("the files of a layer are not numbered one after the other", format!("{} files", numbers.0));
        }
        let files = objects::image_files(c, ObjectId(object))?;
        let mut layer = Layer { size_bytes: size.map_or(GUEST_BYTES, |size| size as u64), files, extents: Vec::new() };
        match layer.decode_extents(row.get_ref(5)?.as_blob()?) {
            Err(e) => wrong("the runs of a layer cannot be read", e.to_string()),
            Ok(()) if layer.stored_bytes() != stored as u64 => {
                wrong(
                    "a layer does not hold what it says",
                    format!("{} bytes, and {stored} are said", layer.stored_bytes()),
                );
            }
            Ok(()) => {}
        }
    }
    Ok(())
}
