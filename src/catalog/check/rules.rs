//! What rows of two tables say of each other, one query a rule.
//!
//! Promises: a rule is one line of the table [`RULES`], and costs one pass over a table and a seek a row.

use super::report::{Report, Subject};
use crate::catalog::Error;
use crate::model::{NodeId, SourceId, escape_bytes};
use rusqlite::Connection;

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

pub(super) fn check(report: &mut Report<'_>) -> Result<(), Error> {
    report.begin("comparing tables", None);
    for rule in RULES {
        report.step("comparing tables", |report, c| run(rule, report, c))?;
    }
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
