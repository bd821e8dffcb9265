//! What a few rows of two tables say of each other: one query a rule, and the tables whose rows are digests or texts of others.
//!
//! Promises: a rule is one line of the table [`RULES`], and costs one pass over a table and a seek a row. Tables that have a row a name
//! or version are not looked at row by row here but in `names` and `nodes`; only what lies in no source's numbers is.

use super::report::{Report, Subject};
use crate::catalog::parts::{self, xattr_digest};
use crate::catalog::rows::check_source_name;
use crate::catalog::{Error, interval, objects};
use crate::model::{FindingKind, Kind, Layer, Level, NodeId, ObjectId, RelPath, SourceId, SourceKind, escape_bytes};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// A query for what contradicts itself: source, instant, node, and the row as text; each of the first three may be NULL.
struct Rule {
    check: &'static str,
    what: &'static str,
    sql: &'static str,
}

const fn rule(check: &'static str, what: &'static str, sql: &'static str) -> Rule {
    Rule { check, what, sql }
}

const RULES: &[Rule] = &[
    rule(
        "references",
        "owner and mode refer to attributes that are not there",
        "SELECT NULL, NULL, NULL, 'perm ' || p.id || ', xattr_set ' || p.xattr FROM perm p \
         WHERE p.xattr NOT IN (0, -1) AND NOT EXISTS (SELECT 1 FROM xattr_set x WHERE x.id = p.xattr)",
    ),
    rule(
        "references",
        "extended attributes of no set",
        "SELECT NULL, NULL, NULL, 'xattr_set ' || i.xattr FROM xattr_item i \
         WHERE NOT EXISTS (SELECT 1 FROM xattr_set x WHERE x.id = i.xattr) GROUP BY i.xattr",
    ),
    rule(
        "references",
        "the top directory is not among the numbers of its source",
        "SELECT s.id, NULL, s.root, '' FROM source s \
         WHERE NOT EXISTS (SELECT 1 FROM node_block b WHERE b.source = s.id AND b.block = s.root >> 16)",
    ),
    rule(
        "references",
        "a generation without an object",
        "SELECT g.source, g.taken_at, NULL, '' FROM generation g \
         WHERE g.status = 'published' AND NOT EXISTS (SELECT 1 FROM object o WHERE o.generation = g.id)",
    ),
    rule(
        "references",
        "an object is not that of its generation",
        "SELECT o.source, o.at, NULL, 'object ' || o.id || ', generation ' || g.id FROM object o JOIN generation g ON g.id = o.generation \
         WHERE g.source <> o.source OR g.taken_at <> o.at",
    ),
    rule(
        "references",
        "an object of no source",
        "SELECT NULL, o.at, NULL, 'object ' || o.id || ', source ' || o.source FROM object o \
         WHERE NOT EXISTS (SELECT 1 FROM source s WHERE s.id = o.source)",
    ),
    rule(
        "references",
        "an object is based on none that is older and of the same disk",
        "SELECT o.source, o.at, NULL, 'object ' || o.id || ', parent ' || o.parent FROM object o \
         WHERE o.parent IS NOT NULL AND NOT EXISTS \
           (SELECT 1 FROM object p WHERE p.id = o.parent AND p.source = o.source AND p.disk = o.disk AND p.at < o.at)",
    ),
    rule(
        "references",
        "an object is a layer of a disk and has none, or has one and is none",
        "SELECT o.source, o.at, NULL, 'object ' || o.id || ', ' || o.kind FROM object o \
         WHERE (o.kind = 'layer') <> EXISTS (SELECT 1 FROM disk_layer l WHERE l.object = o.id)",
    ),
    rule(
        "references",
        "a layer of no object",
        "SELECT NULL, NULL, NULL, 'disk_layer ' || l.object FROM disk_layer l \
         WHERE NOT EXISTS (SELECT 1 FROM object o WHERE o.id = l.object)",
    ),
    rule(
        "references",
        "a file of no layer",
        "SELECT NULL, NULL, NULL, 'disk_file ' || f.object || ', ' || f.number FROM disk_file f \
         WHERE NOT EXISTS (SELECT 1 FROM disk_layer l WHERE l.object = f.object)",
    ),
    rule(
        "references",
        "a volume of no generation",
        "SELECT NULL, NULL, NULL, 'disk_volume ' || v.generation || ', ' || v.name FROM disk_volume v \
         WHERE NOT EXISTS (SELECT 1 FROM generation g WHERE g.id = v.generation)",
    ),
    rule(
        "references",
        "a path in an object that is not there, or is another source's",
        "SELECT b.source, NULL, p.node, 'object ' || p.object FROM object_path p LEFT JOIN node_block b ON b.block = p.node >> 16 \
         WHERE NOT EXISTS (SELECT 1 FROM object o WHERE o.id = p.object AND o.source = b.source)",
    ),
    rule(
        "references",
        "a digest of bytes that no version has",
        "SELECT b.source, NULL, d.node, 'bytes ' || d.bytes FROM digest d LEFT JOIN node_block b ON b.block = d.node >> 16 \
         WHERE NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = d.node AND i.bytes = d.bytes)",
    ),
    rule(
        "references",
        "an identity of a node that is not there, or is another source's",
        "SELECT y.source, NULL, y.node, 'inode number ' || y.inode FROM identity y \
         WHERE NOT EXISTS (SELECT 1 FROM node_block b WHERE b.block = y.node >> 16 AND b.source = y.source) \
            OR (NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = y.node) \
                AND NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = y.source AND g.status = 'creating'))",
    ),
    rule(
        "references",
        "a node with attributes is not there",
        "SELECT b.source, NULL, x.node, '' FROM xattr_node x LEFT JOIN node_block b ON b.block = x.node >> 16 \
         WHERE NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = x.node) \
           AND NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = b.source AND g.status = 'creating')",
    ),
    rule(
        "references",
        "a directory in which names died is not there",
        "SELECT b.source, NULL, h.dir, '' FROM directory_history h LEFT JOIN node_block b ON b.block = h.dir >> 16 \
         WHERE NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = h.dir) \
           AND NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = b.source AND g.status = 'creating')",
    ),
    rule(
        "references",
        "notes of no source",
        "SELECT NULL, NULL, NULL, 'source ' || c.source || ', at ' || c.at FROM change c \
         WHERE NOT EXISTS (SELECT 1 FROM source s WHERE s.id = c.source) GROUP BY c.source, c.at",
    ),
    rule(
        "references",
        "a finding of no generation",
        "SELECT f.source, f.at, NULL, 'number ' || f.number FROM finding f \
         WHERE NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = f.source AND g.taken_at = f.at)",
    ),
    rule(
        "references",
        "a finding refers to a run or object that is not there",
        "SELECT f.source, f.at, NULL, 'number ' || f.number FROM finding f \
         WHERE (f.run IS NOT NULL AND NOT EXISTS (SELECT 1 FROM run r WHERE r.id = f.run)) \
            OR (f.object IS NOT NULL AND NOT EXISTS (SELECT 1 FROM object o WHERE o.id = f.object))",
    ),
    rule(
        "references",
        "a label of a generation that never was",
        "SELECT p.source, p.at, NULL, p.label FROM pin p \
         WHERE NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = p.source AND g.taken_at = p.at) \
           AND NOT EXISTS (SELECT 1 FROM object o WHERE o.source = p.source AND o.at = p.at)",
    ),
    rule(
        "references",
        "a doubt about a node that is not there",
        "SELECT b.source, NULL, d.node, '' FROM doubt d LEFT JOIN node_block b ON b.block = d.node >> 16 \
         WHERE NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = d.node)",
    ),
    rule(
        "spans",
        "a doubt begins or ends at no generation",
        "SELECT b.source, d.born, d.node, 'from ' || d.born || ' to ' || d.died FROM doubt d JOIN node_block b ON b.block = d.node >> 16 \
         WHERE d.born >= d.died \
            OR (d.born > (SELECT coalesce(min(g.taken_at), 0) FROM generation g WHERE g.source = b.source) \
                AND NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = b.source AND g.taken_at = d.born)) \
            OR (d.died <> 253402300799 AND NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = b.source AND g.taken_at = d.died))",
    ),
    rule(
        "spans",
        "a name begins or ends to be kept at no generation",
        "SELECT b.source, k.born, k.parent, 'from ' || k.born || ' to ' || k.died FROM kept k JOIN node_block b ON b.block = k.parent >> 16 \
         WHERE k.born >= k.died \
            OR (k.born > (SELECT coalesce(min(g.taken_at), 0) FROM generation g WHERE g.source = b.source) \
                AND NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = b.source AND g.taken_at = k.born)) \
            OR (k.died <> 253402300799 AND NOT EXISTS (SELECT 1 FROM generation g WHERE g.source = b.source AND g.taken_at = k.died))",
    ),
    rule(
        "doubts",
        "two rows of a doubt or a kept name that are one, or hold at once",
        "SELECT b.source, y.born, x.parent, 'born ' || x.born || ' and ' || y.born FROM kept x JOIN node_block b ON b.block = x.parent >> 16 \
           JOIN kept y ON y.parent = x.parent AND y.name = x.name AND y.born > x.born AND y.born <= x.died \
         UNION ALL \
         SELECT b.source, y.born, x.node, 'born ' || x.born || ' and ' || y.born FROM doubt x JOIN node_block b ON b.block = x.node >> 16 \
           JOIN doubt y ON y.node = x.node AND y.born > x.born AND (y.born < x.died OR (y.born = x.died AND y.reason = x.reason))",
    ),
    rule(
        "references",
        "a kept name of a directory that is not there",
        "SELECT b.source, NULL, k.parent, '' FROM kept k LEFT JOIN node_block b ON b.block = k.parent >> 16 \
         WHERE NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = k.parent)",
    ),
    rule(
        "numbers",
        "two generations have the same number or sequence",
        "SELECT g.source, max(g.taken_at), NULL, 'number ' || g.number FROM generation g GROUP BY g.source, g.number HAVING count(*) > 1 \
         UNION ALL \
         SELECT g.source, max(g.taken_at), NULL, 'sequence ' || g.sequence FROM generation g GROUP BY g.source, g.sequence HAVING count(*) > 1",
    ),
    rule(
        "numbers",
        "a generation has a number or sequence that was never given out",
        "SELECT g.source, g.taken_at, NULL, 'number ' || g.number || ' of ' || s.last_number || ', sequence ' || g.sequence || ' of ' || s.last_sequence \
           FROM generation g JOIN source s ON s.id = g.source \
         WHERE g.number NOT BETWEEN 1 AND s.last_number OR g.sequence NOT BETWEEN 1 AND s.last_sequence",
    ),
    rule(
        "numbers",
        "nodes would be numbered in another source's block",
        "SELECT s.id, NULL, NULL, 'next node ' || s.next_node FROM source s \
         WHERE NOT EXISTS (SELECT 1 FROM node_block b WHERE b.source = s.id AND b.block = (s.next_node - 1) >> 16)",
    ),
    rule(
        "generations",
        "more than one generation is unfinished",
        "SELECT g.source, max(g.taken_at), NULL, '' FROM generation g WHERE g.status IN ('creating', 'deleting') \
         GROUP BY g.source HAVING count(*) > 1",
    ),
    rule(
        "generations",
        "a generation has a status that there is not",
        "SELECT g.source, g.taken_at, NULL, g.status FROM generation g \
         WHERE g.status NOT IN ('creating', 'published', 'deleting', 'error')",
    ),
    rule(
        "generations",
        "a published generation is not counted",
        "SELECT g.source, g.taken_at, NULL, '' FROM generation g WHERE g.status = 'published' \
           AND (g.entries IS NULL OR g.size_bytes IS NULL OR g.changed_nodes IS NULL OR g.losses IS NULL OR g.notices IS NULL)",
    ),
    rule(
        "generations",
        "an instant before 1970, or after the end of time",
        "SELECT g.source, NULL, NULL, 'taken at ' || g.taken_at FROM generation g WHERE g.taken_at NOT BETWEEN 1 AND 253402300798",
    ),
    rule(
        "words",
        "a copy, store or object is in a state that there is not",
        "SELECT NULL, NULL, NULL, 'copy ' || c.id || ', ' || c.state FROM copy c WHERE c.state NOT IN ('present', 'changed', 'damaged', 'gone') \
         UNION ALL \
         SELECT NULL, NULL, NULL, 'store ' || t.id || ', ' || t.reach FROM store t WHERE t.reach NOT IN ('reachable', 'unreachable') \
         UNION ALL \
         SELECT o.source, o.at, NULL, 'object ' || o.id || ', ' || o.kind FROM object o WHERE o.kind NOT IN ('tree', 'layer')",
    ),
    rule(
        "words",
        "a mark or digest of another length",
        "SELECT s.id, NULL, NULL, 'uuid' FROM source s WHERE length(s.uuid) <> 16 \
         UNION ALL SELECT NULL, NULL, NULL, 'uuid of the catalog' FROM catalog c WHERE length(c.uuid) <> 16 \
         UNION ALL SELECT g.source, g.taken_at, NULL, 'state hash' FROM generation g WHERE length(g.state_hash) <> 32 \
         UNION ALL SELECT NULL, NULL, d.node, 'digest' FROM digest d WHERE length(d.blake3) <> 32",
    ),
    rule(
        "words",
        "the catalog does not have exactly one name of its own",
        "SELECT NULL, NULL, NULL, count(*) || ' rows' FROM catalog HAVING count(*) <> 1",
    ),
    rule(
        "words",
        "settings that are no JSON",
        "SELECT s.id, NULL, NULL, 'settings' FROM source s WHERE NOT json_valid(s.settings) \
         UNION ALL SELECT s.id, NULL, NULL, 'policy' FROM source s WHERE NOT json_valid(s.policy)",
    ),
];

/// Tables whose ids are never given out twice.
const COUNTED: [&str; 8] = ["source", "site", "store", "generation", "object", "copy", "run", "node_block"];

/// Tables with a row a name or version, each with the column that says whose it is.
const OWNED: [(&str, &str); 3] = [("dirent", "parent"), ("dirent", "node"), ("inode", "node")];

pub(super) fn check(report: &mut Report<'_>) -> Result<(), Error> {
    report.begin("comparing tables", None);
    for rule in RULES {
        report.step("comparing tables", |report, c| run(rule, report, c))?;
    }
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

fn run(rule: &Rule, report: &mut Report<'_>, c: &Connection) -> rusqlite::Result<()> {
    let mut statement = c.prepare_cached(rule.sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (source, at): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
        let subject = row.get::<_, Option<i64>>(2)?.map_or(Subject::Source, |node| Subject::Node(NodeId(node)));
        let detail = escape_bytes(row.get_ref(3)?.as_bytes()?).into_owned();
        report.add(rule.check, (source.map(SourceId), at), subject, rule.what, detail);
    }
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
        let mut layer = Layer { size_bytes: size.unwrap_or_default() as u64, files, extents: Vec::new() };
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
