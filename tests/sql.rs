//! SQL: every query of `docs/cookbook.md` is run, by `asof sql` and by the system's
//! `sqlite3`, on a site with a known history, and its answer compared with the one that is written down.
//!
//! The answers are in `tests/data/sql-answers.txt`; `UPDATE=1 cargo test --test sql` writes them anew, to be
//! read before they are kept. The invariants of the reference are asked of the same site.

#[path = "sql/columns.rs"]
mod columns;
#[path = "sql/functions.rs"]
mod functions;
#[path = "sql/restore.rs"]
mod restore;
#[path = "sql/session.rs"]
mod session;
#[path = "common/site.rs"]
mod site;
#[path = "sql/tools.rs"]
mod tools;

use asof::model::escape_bytes;
use serde_json::Value;
use site::{Site, said, sh};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Output};

const REFERENCE: &str = include_str!("../catalog-schema/README.md");
const COOKBOOK: &str = include_str!("../docs/cookbook.md");
const ANSWERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sql-answers.txt");

/// The generations of `homes`, whose copies stay where they are.
const HOMES: [&str; 4] = ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"];

/// Returns a site with three sources:
///
/// - `homes`, copies made by copying, four generations. The second one was indexed after the third; in the last
///   one a directory could not be read and another file system was mounted.
/// - `vm1`, a disk with a file system and a swap partition, a raw image and a qcow2 increment.
/// - `web`, snapshots that keep inode numbers, three generations with renames of every kind.
fn history() -> Site {
    let site = Site::with_source();
    let dir = site.path("");
    sh(&dir, FIRST_DAY);
    site.copy(HOMES[0]);
    sh(&dir, SECOND_DAY);
    site.copy(HOMES[1]);
    sh(&dir, THIRD_DAY);
    site.copy(HOMES[2]);
    sh(&dir, FOURTH_DAY);
    site.copy(HOMES[3]);
    sh(&dir, "mkdir -p copies/2026-11-21/mnt; mount --bind out copies/2026-11-21/mnt");
    for day in [HOMES[0], HOMES[2], HOMES[1]] {
        site.ok(&["index", "homes", &format!("copies/{day}")]);
    }
    let output = index_unprivileged(&site, &site.path("catalog.db"));
    assert_eq!(output.status.code(), Some(1), "losses: {}", said(&output));
    // One directory that is changed and takes the name of the next snapshot: inode numbers stay, as in snapshots.
    sh(&dir, "mkdir -p snapshots/2026-11-18");
    sh(&dir, DISK);
    site.ok(&["source", "add", "block", "vm1", "--images", site.path("images").to_str().unwrap()]);
    site.ok(&["index", "vm1", "--consistency", "frozen"]);
    let snapshots = site.path("snapshots");
    let add = ["source", "add", "nfs", "web", "--copies", snapshots.to_str().unwrap(), "--identity", "inode"];
    site.ok(&add);
    sh(&snapshots, WEB_FIRST);
    site.ok(&["index", "web"]);
    sh(&snapshots, WEB_SECOND);
    site.ok(&["index", "web"]);
    sh(&snapshots, WEB_THIRD);
    site.ok(&["index", "web"]);
    site
}

/// Indexes `homes` without the capabilities that let root read everything, so that a mode of 0700 means something.
fn index_unprivileged(site: &Site, catalog: &Path) -> Output {
    Command::new("setpriv")
        .args(["--bounding-set=-dac_override,-dac_read_search", env!("CARGO_BIN_EXE_asof"), "index", "homes"])
        .current_dir(site.path(""))
        .env("ASOF_CATALOG", catalog)
        .env("TZ", "UTC")
        .output()
        .expect("setpriv is installed")
}

const FIRST_DAY: &str = r#"
cd live; umask 022
mkdir accounts mail pictures shared private
head -c 10000 /dev/zero > accounts/2026.ods; head -c 4000 /dev/zero > accounts/old.ods
head -c 20000 /dev/zero > mail/inbox; ln mail/inbox mail/inbox.bak
echo first > notes.txt; ln -s notes.txt current; ln -s "$(printf 'odd\ntarget')" odd-link
head -c 50000 /dev/zero > pictures/cat.jpg; head -c 300 /dev/zero > pictures/Cat.jpg
echo a > "$(printf 'line\nbreak')"; echo b > "$(printf 'latin\351.txt')"; echo c > 'back\slash'; echo d > 'ümläut'
echo secret > private/key; chmod 700 private; chown -R 1001:1001 private
printf 'run' > shared/tool; chown 1000:1000 -R accounts mail; chmod 6755 shared/tool
setfattr -n user.comment -v 'the only tool' shared/tool; setfacl -m u:1000:rwx,d:u:1000:rwx shared
mkfifo pipe; truncate -s 1M sparse
find . -depth -exec touch -h -d 2026-11-17T12:00:00.5Z {} +
"#;
const SECOND_DAY: &str = r#"
cd live
rm accounts/old.ods mail/inbox.bak
echo second >> notes.txt; touch -d 2026-11-18T09:00:00Z notes.txt
chmod 600 accounts/2026.ods
mv pictures/cat.jpg pictures/kitty.jpg; mkdir "new
folder"; echo x > "new
folder/x"; head -c 70000 /dev/zero > pictures/dog.jpg
find "new
folder" pictures/dog.jpg -exec touch -h -d 2026-11-18T10:00:00Z {} +
touch -d 2026-11-18T10:00:00Z . accounts mail pictures
"#;
const THIRD_DAY: &str = r#"
cd live
rm -r pictures; rm current; mkdir current; echo y > current/y
echo third >> notes.txt; touch -d 2026-11-19T09:00:00Z notes.txt current/y current .
setfattr -n user.comment -v 'the best tool' shared/tool; chown 1002 mail/inbox
"#;
const FOURTH_DAY: &str = r#"
cd live
echo back > accounts/old.ods; touch -d 2026-11-20T09:00:00Z accounts/old.ods accounts .; rm private/key; echo k > private/key2
touch -d 2026-11-20T09:00:00Z private private/key2; chown 1001 private/key2
"#;

const DISK: &str = r#"
mkdir -p images guest/etc; echo guest > guest/etc/hostname; find guest -exec touch -h -d 2026-11-17T12:00:00Z {} +; cd images
truncate -s 16M vm1-2026-11-19.raw
sgdisk -n 1:2048:+8M -c 1:root -n 2:0:+4M -t 2:8200 -c 2:swap vm1-2026-11-19.raw >/dev/null
E2FSPROGS_FAKE_TIME=1795000000 mkfs.ext4 -q -U 11111111-2222-3333-4444-555555555555 -L guest -d ../guest -E offset=1048576 vm1-2026-11-19.raw 8M
truncate -s 4M swap; mkswap -q swap; dd if=swap of=vm1-2026-11-19.raw bs=1M seek=9 conv=notrunc,sparse status=none; rm swap
qemu-img create -q -f qcow2 -F raw -b vm1-2026-11-19.raw vm1-2026-11-20.qcow2
qemu-io -c 'write -q -P 7 14M 64k' vm1-2026-11-20.qcow2
"#;

const WEB_FIRST: &str = r#"
cd 2026-11-18; mkdir public public/img drafts
echo start > public/index.html; echo one > public/img/1.png; echo two > public/img/2.png
echo a > a; ln a b; ln a c; echo gone > drafts/gone
find . -depth -exec touch -h -d 2026-11-17T12:00:00Z {} +
"#;
// public/index.html is renamed; of the names a, b, c two go and one comes; drafts is renamed with what is in it;
// img/2.png is moved over img/1.png.
const WEB_SECOND: &str = r#"
mv 2026-11-18 2026-11-19; cd 2026-11-19
mv public/index.html public/start.html; rm a; mv b d; mv drafts old; rm old/gone; mv public/img/2.png public/img/1.png
touch -h -d 2026-11-18T12:00:00Z . public public/img old
"#;
// start.html is renamed and written to, a third name for the hard links.
const WEB_THIRD: &str = r#"
mv 2026-11-19 2026-11-20; cd 2026-11-20
mv public/start.html public/home.html; echo more >> public/home.html; ln c e
touch -h -d 2026-11-19T12:00:00Z public/home.html . public
"#;

/// One query of the cookbook and the question over it.
struct Asked<'a> {
    question: &'a str,
    sql: &'a str,
    /// It has a function that only `asof sql` knows, or is quick there alone.
    is_ours: bool,
}

/// Returns every block of SQL in the cookbook, in order, each under the last heading before it.
fn cookbook() -> Vec<Asked<'static>> {
    let mut asked = Vec::new();
    let mut question = "";
    let mut rest = COOKBOOK;
    while let Some(end) = rest.find('\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(heading) = line.strip_prefix("### ") {
            question = heading;
        }
        if ["```sql", "```sql asof"].contains(&line) {
            let (sql, after) = rest.split_once("\n```\n").expect("a block of SQL ends");
            asked.push(Asked { question, sql, is_ours: line != "```sql" });
            rest = after;
        }
    }
    assert_eq!(asked.len(), COOKBOOK.matches("```sql").count());
    assert_eq!(REFERENCE.matches("```sql").count(), 0, "queries are in the cookbook");
    asked
}

/// Returns what `asof sql` answers, one JSON object a row.
fn by_asof(site: &Site, sql: &str) -> Vec<Value> {
    let text = site.ok(&["sql", "--json", sql]);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Returns what the system's `sqlite3` answers.
fn by_sqlite3(catalog: &Path, sql: &str) -> Vec<Value> {
    let output: Output = Command::new("sqlite3")
        .args(["-readonly", "-json"])
        .arg(catalog)
        .arg(sql)
        .output()
        .expect("sqlite3 is installed");
    assert!(output.status.success() && output.stderr.is_empty(), "{sql}\n{}", said(&output));
    match output.stdout.is_empty() {
        true => Vec::new(),
        false => serde_json::from_slice(&output.stdout).expect("an array of JSON"),
    }
}

/// Returns the answers as text: for each query its question, its columns and its rows between tabs.
fn answers(site: &Site) -> String {
    let mut text = String::new();
    let mut last = "";
    let mut ours: Option<(&str, Vec<Value>)> = None;
    for asked in cookbook() {
        let rows = by_asof(site, asked.sql);
        if asked.is_ours {
            ours = Some((asked.question, rows.clone()));
        } else {
            assert_eq!(rows, by_sqlite3(&site.path("catalog.db"), asked.sql), "{}", asked.sql);
            // What stands below a query for `asof sql` says the same.
            if let Some((_, ours)) = ours.take_if(|(question, _)| *question == asked.question) {
                assert_eq!(rows, ours, "{}", asked.sql);
            }
        }
        assert!(!rows.is_empty(), "an example without an answer shows nothing: {}", asked.sql);
        if asked.question != last {
            writeln!(text, "### {}", asked.question).unwrap();
            last = asked.question;
        }
        text.push_str(&site.ok(&["sql", asked.sql]));
        text.push('\n');
    }
    text
}

#[test]
fn every_query_of_the_cookbook_has_the_answer_that_is_written_down_from_asof_and_from_sqlite3() {
    assert!(cookbook().iter().filter(|asked| !asked.is_ours).count() >= 30);
    let found = answers(&history());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(ANSWERS, &found).expect("the answers can be written");
    }
    let wanted = std::fs::read_to_string(ANSWERS).expect("the answers are written down");
    for (found, wanted) in found.split("### ").zip(wanted.split("### ")) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found, wanted);
}

#[test]
fn the_views_and_columns_of_the_reference_are_those_of_the_catalog() {
    let site = Site::with_source();
    let mut views = Vec::new();
    for section in REFERENCE.split("\n### `").skip(1) {
        let (view, rest) = section.split_once('`').unwrap();
        let table = rest.split("\n### ").next().unwrap().split("\n## ").next().unwrap();
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        let named: Vec<&str> =
            rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
        let mut there: Vec<String> =
            by_sqlite3(&site.path("catalog.db"), &format!("SELECT name FROM pragma_table_info('{view}')"))
                .iter()
                .map(|row| row["name"].as_str().unwrap().to_owned())
                .collect();
        let mut named: Vec<String> = named.into_iter().map(str::to_owned).collect();
        there.sort();
        named.sort();
        assert_eq!(there, named, "columns of {view}");
        views.push(view.to_owned());
    }
    let mut there: Vec<String> =
        by_sqlite3(&site.path("catalog.db"), "SELECT name FROM sqlite_schema WHERE type = 'view'")
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect();
    there.sort();
    views.sort();
    assert_eq!(there, views);
}

/// Returns one line a name below `dir`, sorted: what `files` must tell of the generation of that copy.
fn walk(dir: &Path, below: &[u8], lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let stat = entry.path().symlink_metadata().expect("attributes");
        let path = [below, entry.file_name().as_bytes()].concat();
        let kind = stat.file_type();
        let (word, target) = match () {
            () if kind.is_dir() => ("directory", String::new()),
            () if kind.is_file() => ("file", String::new()),
            () if kind.is_fifo() => ("fifo", String::new()),
            () => {
                let target = std::fs::read_link(entry.path()).expect("a link");
                ("symlink", escape_bytes(target.as_os_str().as_bytes()).into_owned())
            }
        };
        lines.push(format!(
            "{}|{word}|{}|{:04o}|{}|{}|{}|{}|{:09}|{target}",
            escape_bytes(&path),
            stat.size(),
            stat.mode() & 0o7777,
            stat.uid(),
            stat.gid(),
            stat.nlink(),
            stat.mtime(),
            stat.mtime_nsec()
        ));
        if kind.is_dir() {
            walk(&entry.path(), &[path.as_slice(), b"/"].concat(), lines);
        }
    }
    lines.sort();
}

#[test]
fn files_tells_of_every_generation_what_its_copy_holds() {
    let site = history();
    // The fourth has losses; what it tells is among the answers of the reference.
    for day in &HOMES[..3] {
        let mut copied = Vec::new();
        walk(&site.path("copies").join(day), b"", &mut copied);
        let rows = by_asof(
            &site,
            &format!(
                "SELECT path||'|'||kind||'|'||size_bytes||'|'||mode||'|'||uid||'|'||gid||'|'||nlink||'|'||mtime_unix||'|'||\
                 printf('%09d', mtime_ns)||'|'||coalesce(link_target, '') AS line FROM files \
                 WHERE source = 'homes' AND taken_at = '{day}T00:00:00Z'"
            ),
        );
        let mut told: Vec<&str> = rows.iter().map(|row| row["line"].as_str().expect("no part is NULL")).collect();
        told.sort_unstable();
        assert_eq!(told, copied, "{day}");
    }
}

/// Invariants of the reference as questions that must have no answer.
const NEVER: [(&str, &str); 6] = [
    ("a name without a path", "SELECT * FROM files WHERE path IS NULL OR path = ''"),
    ("a path twice", "SELECT path FROM files GROUP BY source, taken_at, path HAVING count(*) > 1"),
    (
        "entries that are not the names",
        "SELECT g.entries FROM generations g WHERE NOT g.partial AND g.entries <> \
         (SELECT count(*) FROM files f WHERE f.source = g.source AND f.taken_at = g.taken_at)",
    ),
    (
        "hard links that differ, or are not as many as nlink says",
        "SELECT f.node FROM files f JOIN generations g USING (source, taken_at) WHERE f.kind <> 'directory' \
         GROUP BY f.source, f.taken_at, f.node \
         HAVING count(DISTINCT f.size_bytes || f.mtime || f.mode || f.uid || f.gid || f.nlink || f.kind) > 1 \
         OR (NOT g.partial AND count(*) <> f.nlink)",
    ),
    (
        "a name of a generation with no version, with two, or with one that differs",
        "SELECT f.path FROM files f WHERE 1 <> (SELECT count(*) FROM versions v \
         WHERE v.node = f.node AND v.parent = f.parent AND v.name_raw = f.name_raw \
         AND v.since <= f.taken_at AND (v.until IS NULL OR f.taken_at < v.until) \
         AND v.kind = f.kind AND v.size_bytes = f.size_bytes AND v.mtime_unix = f.mtime_unix AND v.mtime_ns = f.mtime_ns \
         AND v.mode = f.mode AND v.uid = f.uid AND v.gid = f.gid AND v.nlink = f.nlink AND v.xattr_set IS f.xattr_set)",
    ),
    (
        "a version of a generation that has not the name",
        "SELECT v.path FROM versions v JOIN generations g ON g.source = v.source \
         AND v.since <= g.taken_at AND (v.until IS NULL OR g.taken_at < v.until) \
         WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.source = g.source AND f.taken_at = g.taken_at \
         AND f.node = v.node AND f.parent = v.parent AND f.name_raw = v.name_raw)",
    ),
];

#[test]
fn the_invariants_of_the_reference_hold() {
    let site = history();
    for (what, sql) in NEVER {
        assert_eq!(by_asof(&site, sql), Vec::<Value>::new(), "{what}");
    }
}

#[test]
fn the_names_of_a_generation_are_those_of_the_one_before_with_its_changes_applied() {
    let site = history();
    for source in ["homes", "web"] {
        let generations =
            by_asof(&site, &format!("SELECT taken_at FROM generations WHERE source = '{source}' ORDER BY 1"));
        let mut names: BTreeSet<String> = BTreeSet::new();
        for generation in &generations {
            let of =
                format!("source = '{source}' AND taken_at = {}", generation["taken_at"].to_string().replace('"', "'"));
            let changes = by_asof(&site, &format!("SELECT what, kind, path, old_path FROM changes WHERE {of}"));
            apply(&changes, &mut names);
            let listed = by_asof(&site, &format!("SELECT path FROM files WHERE {of}"));
            let listed: BTreeSet<String> = listed.iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect();
            assert_eq!(names, listed, "{of}");
        }
    }
}

fn apply(changes: &[Value], names: &mut BTreeSet<String>) {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let mut moved = Vec::new();
    for row in changes {
        let (path, old) = (text(row, "path"), text(row, "old_path"));
        match text(row, "what").as_str() {
            "deleted" | "unlinked" => assert!(names.remove(&path), "{row} was not there"),
            "renamed" => {
                assert!(names.remove(&old), "{row} was not there");
                if text(row, "kind") == "directory" {
                    moved.push((old + "/", path + "/"));
                }
            }
            _ => {}
        }
    }
    *names = std::mem::take(names)
        .into_iter()
        .map(|name| match moved.iter().find(|(old, _)| name.starts_with(old)) {
            Some((old, new)) => new.clone() + &name[old.len()..],
            None => name,
        })
        .collect();
    for row in changes {
        match text(row, "what").as_str() {
            "created" | "linked" | "renamed" => assert!(names.insert(text(row, "path")), "{row} was there"),
            "modified" | "attributes" => {
                let path = text(row, "path");
                assert!(
                    path == "." || names.contains(&path) || changes.iter().any(|c| text(c, "path") == path),
                    "{row}"
                );
            }
            _ => {}
        }
    }
}

#[test]
fn a_generation_put_in_between_is_told_of_as_if_it_had_been_indexed_in_its_time() {
    let site = history();
    let ordered = site.path("ordered.db");
    for args in [
        &["init"][..],
        &["source", "add", "nfs", "homes", "--copies", "copies"],
        &["index", "homes", "copies/2026-11-18"],
        &["index", "homes", "copies/2026-11-19"],
        &["index", "homes", "copies/2026-11-20"],
    ] {
        assert!(site.asof(args).env("ASOF_CATALOG", &ordered).status().expect("asof starts").success());
    }
    assert_eq!(index_unprivileged(&site, &ordered).status.code(), Some(1));
    // Versions are left out: one that reaches over the new generation is told of in two rows where the copies
    // differ in ctime, which a view shows and must go on showing. The invariants see to what they say.
    for columns in [
        "source, taken_at, entries, size_bytes, changed, losses, notices FROM generations",
        "source, taken_at, path, kind, size_bytes, mtime_unix, mtime_ns, mode, uid, gid, nlink, has_xattrs, has_acl, link_target, \
         unreadable FROM files",
        "source, taken_at, what, path, old_path, kind, size_bytes FROM changes",
        "source, path, kind, size_bytes, last_seen, deleted_in, restore_path, lives_as FROM deleted",
        "source, taken_at, path, attribute, hex(value_raw) FROM xattrs",
        "source, taken_at, number, kind, path, detail FROM findings",
    ] {
        let sql = format!("SELECT {columns} WHERE source = 'homes' ORDER BY 1, 2, 3, 4, 5");
        let (late, in_order) = (by_sqlite3(&site.path("catalog.db"), &sql), by_sqlite3(&ordered, &sql));
        assert!(!late.is_empty());
        for (late, in_order) in late.iter().zip(&in_order) {
            assert_eq!(late, in_order, "{sql}");
        }
        assert_eq!(late.len(), in_order.len(), "{sql}");
    }
}

/// What a plan may not do: a walk over all of a table that grows with the backups.
#[test]
fn a_question_about_one_generation_one_directory_or_one_node_never_scans_a_large_table() {
    let site = history();
    let walk = cookbook().into_iter().find(|asked| asked.question == "What is at a path?" && !asked.is_ours);
    for sql in [
        walk.expect("the cookbook follows a path").sql,
        "SELECT * FROM churn WHERE source = 'homes' AND taken_at = '2026-11-20T00:00:00Z'",
        "SELECT * FROM usage_by_owner WHERE source = 'homes' AND taken_at = '2026-11-20T00:00:00Z'",
        "SELECT path FROM files WHERE source = 'homes' AND taken_at = '2026-11-18T00:00:00Z'",
        "SELECT name FROM files WHERE source = 'homes' AND taken_at_unix = 1794960000 AND parent = 65536",
        "SELECT path FROM files WHERE source = 'homes' AND taken_at = '2026-11-18T00:00:00Z' AND node = 65540",
        "SELECT path FROM versions WHERE node = 65540",
        "SELECT * FROM versions WHERE source = 'homes' AND parent = 65536 AND name = 'notes.txt'",
        "SELECT * FROM changes WHERE source = 'homes' AND taken_at = '2026-11-20T00:00:00Z'",
        "SELECT what, count(*) FROM changes WHERE source = 'homes' AND taken_at > '2026-11-18' GROUP BY what",
        "SELECT * FROM deleted WHERE deleted_in >= '2026-11-19'",
        "SELECT path, attribute FROM xattrs WHERE source = 'homes' AND taken_at = '2026-11-18T00:00:00Z'",
        "SELECT * FROM findings WHERE source = 'homes' AND taken_at = '2026-11-21T00:00:00Z'",
    ] {
        let plan = site::sh(
            &site.path(""),
            &format!("sqlite3 -readonly catalog.db \"EXPLAIN QUERY PLAN {}\"", sql.trim_end_matches(';')),
        );
        for (alias, table) in
            [("d", "dirent"), ("e", "dirent"), ("i", "inode"), ("c", "change"), ("f", "finding"), ("x", "xattr_item")]
        {
            // `SCAN x` in changes is the subquery, which is no table.
            let scan = format!("SCAN {alias}");
            let scans = plan.lines().any(|line| line.trim_start_matches(['|', '-', '`', ' ']) == scan);
            assert!(!scans || (alias == "x" && sql.contains("changes")), "{table} is scanned by {sql}\n{plan}");
        }
    }
}

#[test]
fn a_query_ends_at_its_limits_wherever_sqlite_is() {
    let site = Site::with_source();
    let refused = |args: &[&str]| {
        // What would go on for an hour is killed, and says nothing.
        let mut command = std::process::Command::new("timeout");
        command.args(["-s", "KILL", "20", env!("CARGO_BIN_EXE_asof"), "sql", "--json"]).args(args);
        let output = command.env("ASOF_CATALOG", site.path("catalog.db")).output().expect("timeout is installed");
        assert_eq!(output.status.code(), Some(2), "{args:?}\n{}", said(&output));
        assert!(output.stdout.is_empty(), "{args:?}\n{}", said(&output));
        String::from_utf8(output.stderr).expect("text")
    };
    let stopped = "asof: the query was stopped after 1 s, its time limit\n";
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    assert_eq!(refused(&["--timeout", "1", endless]), stopped);
    // Inside of one function, in which it never looks at the time.
    let deep = "SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || '1')";
    assert_eq!(refused(&["--timeout", "1", deep]), stopped);
    let value = "asof: the query has a value of more than 16 MiB, or is longer than 1048576 bytes\n";
    assert_eq!(refused(&["SELECT length(randomblob(100000000))"]), value);
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) \
                SELECT group_concat(hex(zeroblob(1000000))) FROM n";
    assert_eq!(refused(&[many]), value);
    let wide = format!("SELECT {}", vec!["randomblob(900000)"; 40].join(", "));
    assert_eq!(refused(&["--memory", "16", &wide]), "asof: the query needs more than 16 MiB of memory, its limit\n");
    let file = site.path("long.sql");
    std::fs::write(&file, format!("SELECT 1 --{}", " ".repeat(2 << 20))).expect("a file");
    assert_eq!(refused(&["--file", file.to_str().expect("a plain path")]), value);
}
