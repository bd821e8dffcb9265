//! Catalogs that programs of the formats 1 to 4, and of format 6, wrote are brought up to date, and say what those programs said.
//!
//! `tests/data/migrate/README.md` has how each was made. The stores that they name are an image of a file system, mounted at
//! `/srv/backups` where only the commands of a test see it. Needs root, `/dev/fuse`, loop devices, `attr`, `sqlite3`, util-linux.

mod common;

#[path = "common/brick.rs"]
mod brick;
#[path = "common/catalogs.rs"]
mod catalogs;
#[path = "common/disk.rs"]
mod disk;
#[path = "common/site.rs"]
mod site;

use asof::catalog::FORMAT;
use catalogs::VIEWS;
use serde_json::{Value, json};
use site::{said, sh};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// Each catalog and its format: the last program that wrote it, and the first one where its tables were others.
const CATALOGS: [(&str, i64); 6] = [("1-first", 1), ("1", 1), ("2", 2), ("3", 3), ("4-first", 4), ("4", 4)];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/migrate").join(name)
}

/// A folder with all catalogs, each in a folder of its name with what its program said, and with what they name.
struct Fixtures {
    dir: tempfile::TempDir,
    /// Bricks, which need a file system that keeps every attribute.
    bricks: tempfile::TempDir,
}

impl Fixtures {
    fn new() -> Self {
        let fixtures = Self::empty();
        disk::unpack_tar(&data("catalogs.tar.zst"), fixtures.dir.path());
        fixtures
    }

    fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("asof-migrate-").tempdir().expect("a temporary folder");
        // Many small files are made and synced there in a tenth of the time that a disk takes.
        sh(dir.path(), "mount -t tmpfs -o mode=700 none .");
        let bricks = brick::room();
        fs::copy(data("gluster"), bricks.path().join("gluster")).unwrap();
        Self { dir, bricks }
    }

    fn with_stores() -> Self {
        let fixtures = Self::new();
        disk::unpack_file(&data("stores.img.zst"), &fixtures.path("stores.img"));
        fixtures
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs asof on the catalog `name`.
    fn asof(&self, name: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_asof"));
        command.args(args).current_dir(self.path(name)).env("ASOF_CATALOG", "catalog.db").env("TZ", "UTC");
        command.output().expect("the program starts")
    }

    /// Runs asof, which must exit with `code`, and returns what it wrote to standard error.
    #[track_caller]
    fn run(&self, name: &str, code: i32, args: &[&str]) -> String {
        let output = self.asof(name, args);
        assert_eq!(output.status.code(), Some(code), "{name}: {args:?}\n{}", said(&output));
        String::from_utf8(output.stderr).unwrap().trim().to_owned()
    }

    /// Runs a script that sees the stores, in the folder of the catalog `name`; returns what it printed.
    #[track_caller]
    fn inside(&self, name: &str, script: &str) -> Vec<u8> {
        let mut command = Command::new(data("make"));
        command.arg("inside").arg(self.path("stores.img")).args(["bash", "-euo", "pipefail", "-c", script]);
        command.env("BRICKS", self.bricks.path()).env("ASOF", env!("CARGO_BIN_EXE_asof")).env("HERE", data(""));
        command.env("ASOF_CATALOG", self.path(name).join("catalog.db")).env("TZ", "UTC").current_dir(self.path(name));
        let output = command.output().expect("unshare is installed");
        assert!(output.status.success(), "{name}: {script}\n{}", said(&output));
        output.stdout
    }

    /// Brings the catalog `name` up to date and returns where it is kept as it was.
    #[track_caller]
    fn migrate(&self, name: &str, format: i64) -> PathBuf {
        let kept = self.path(name).join(format!("catalog.db.format{format}"));
        let line = format!(
            "brought the catalog \"catalog.db\" from format {format} to {FORMAT}; as it was it is kept in {kept:?}"
        );
        assert_eq!(self.run(name, 0, &["migrate"]), line);
        kept
    }

    /// Returns the rows of a public view.
    fn rows(&self, name: &str, view: &str) -> Vec<Row> {
        let output = self.asof(name, &["sql", "--json", &format!("SELECT * FROM {view}")]);
        assert!(output.status.success(), "{name}: {view}: {}", said(&output));
        rows(&String::from_utf8(output.stdout).unwrap())
    }

    /// Returns the rows of a public view as the program of that time told them; none of a view that it did not have.
    fn told(&self, name: &str, view: &str) -> Option<Vec<Row>> {
        let lines = fs::read_to_string(self.path(name).join(format!("told/{view}.jsonl"))).ok()?;
        Some(rows(&lines))
    }
}

impl Drop for Fixtures {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).output();
    }
}

/// A row of a view: columns and values.
type Row = BTreeMap<String, Value>;

fn rows(lines: &str) -> Vec<Row> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns rows as lines, each as often as it is there.
fn lines(rows: &[Row]) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    lines.sort();
    lines
}

/// Compares lines; what differs is shown.
#[track_caller]
fn assert_equal(found: &[String], expected: &[String], what: &str) {
    let without = |some: &[String], others: &[String], sign: char| -> Vec<String> {
        let others: BTreeSet<&String> = others.iter().collect();
        some.iter().filter(|line| !others.contains(line)).take(10).map(|line| format!("{sign} {line}")).collect()
    };
    let shown = [without(expected, found, '-'), without(found, expected, '+')].concat();
    assert!(found == expected, "{what}: {} lines for {}\n{}", found.len(), expected.len(), shown.join("\n"));
}

// What the program that wrote a catalog said, as this one says it: all differences that there are.

/// Returns what is said now in place of the rows of a view that the program of that time told.
fn as_of_now(name: &str, view: &str, told: Vec<Row>) -> Vec<Row> {
    let is = |row: &Row, column: &str, text: &str| row.get(column).is_some_and(|value| value == text);
    told.into_iter()
        .filter_map(|mut row| {
            // A directory, one in it and a file in that came back in the third night of `homes`, which was indexed after the
            // fourth: these have the same version in both, and it was told twice.
            let came_back = is(&row, "source", "homes")
                && ["gone", "gone/below", "gone/below/y"].iter().any(|path| is(&row, "path", path));
            match view {
                "files" if came_back && is(&row, "version_since", NIGHT_4) => {
                    row.insert("version_since".into(), NIGHT_3.into());
                }
                "versions" if came_back && is(&row, "since", NIGHT_4) => return None,
                "versions" if came_back && is(&row, "since", NIGHT_3) => {
                    row.insert("until".into(), Value::Null);
                }
                // Two directories that could not be listed were told as other bytes when they could be listed again.
                "changes"
                    if is(&row, "source", "private")
                        && is(&row, "taken_at", NIGHT_3)
                        && is(&row, "kind", "directory")
                        && is(&row, "what", "modified") =>
                {
                    row.insert("what".into(), "attributes".into());
                }
                // A generation that is not whole counts what it shows of the one before, as its listings do.
                "generations" if is(&row, "source", "private") && is(&row, "taken_at", NIGHT_2) => {
                    assert_eq!((&row["entries"], &row["size_bytes"]), (&json!(5), &json!(7)), "{name}");
                    row.insert("entries".into(), json!(6));
                    row.insert("size_bytes".into(), json!(14));
                }
                // The first program of format 1 had no texts for link targets.
                "files" if name == "1-first" && is(&row, "path", "odd-link") => {
                    assert_eq!(row["link_target"], "to\u{fffd}\nnowhere");
                }
                _ => {}
            }
            if name == "1-first" && view == "files" && is(&row, "path", "odd-link") {
                row.insert("link_target".into(), "to\\xfe\\nnowhere".into());
            }
            Some(row)
        })
        .collect()
}

const NIGHT_2: &str = "2026-11-02T00:00:00Z";
const NIGHT_3: &str = "2026-11-03T00:00:00Z";
const NIGHT_4: &str = "2026-11-04T00:00:00Z";

/// What the first program of format 1 told of changes in another way: names that came back were linked, what changed about the
/// top directory was not told, and of several names of one file the first one that was lost went with every new one.
fn changes_of_the_first_program(told: Vec<Row>, now: &[Row]) -> Vec<Row> {
    let is_paired = |row: &Row| {
        row["source"] == "links"
            && row["path"] == "docs/b-too"
            && row["what"] != "created"
            && row["what"] != "attributes"
    };
    let paired = |rows: &[Row]| -> BTreeSet<String> {
        let text = |row: &Row, column: &str| row[column].as_str().unwrap_or("nothing").to_owned();
        let rows = rows.iter().filter(|row| is_paired(row));
        rows.map(|row| format!("{} {} from {}", text(row, "taken_at"), text(row, "what"), text(row, "old_path")))
            .collect()
    };
    assert_eq!(
        paired(&told),
        BTreeSet::from(
            ["2026-11-04T02:00:00Z renamed from docs/b", "2026-11-05T02:00:00Z renamed from docs/b"].map(str::to_owned)
        )
    );
    assert_eq!(
        paired(now),
        BTreeSet::from(
            [
                "2026-11-02T02:00:00Z unlinked from nothing",
                "2026-11-04T02:00:00Z linked from nothing",
                "2026-11-05T02:00:00Z renamed from docs/b-too"
            ]
            .map(str::to_owned)
        )
    );
    let top: Vec<&Row> = now.iter().filter(|row| row["path"] == ".").collect();
    assert_eq!(top.len(), 8, "four generations of two sources");
    assert!(top.iter().all(|row| row["what"] == "attributes"));
    let back = ["comes", "gone", "gone/below", "gone/below/y"];
    told.into_iter()
        .filter(|row| !is_paired(row))
        .map(|mut row| {
            if row["what"] == "linked" && back.contains(&row["path"].as_str().unwrap()) {
                row.insert("what".into(), "created".into());
            }
            row
        })
        .chain(top.into_iter().cloned())
        .chain(now.iter().filter(|row| is_paired(row)).cloned())
        .collect()
}

#[test]
fn what_is_read_back_is_what_the_program_that_wrote_it_said() {
    let fixtures = Fixtures::new();
    for (name, format) in CATALOGS {
        let before = fs::read(fixtures.path(name).join("catalog.db")).unwrap();
        let kept = fs::read(fixtures.migrate(name, format)).unwrap();
        assert_eq!(kept.len(), before.len(), "{name}");
        // SQLite counts the changes of a file and of its tables in its header: a copy is a file of its own.
        let counters = [24..28, 40..44, 92..96];
        let differ = |at: &usize| before[*at] != kept[*at] && !counters.iter().any(|counter| counter.contains(at));
        assert_eq!((0..before.len()).find(differ), None, "{name}: a byte of the copy");

        let mut views = 0;
        for view in VIEWS {
            let Some(told) = fixtures.told(name, view) else { continue };
            views += 1;
            let columns: BTreeSet<String> = told.iter().flat_map(|row| row.keys().cloned()).collect();
            let mut now = fixtures.rows(name, view);
            // Columns that are new.
            now.iter_mut().for_each(|row| row.retain(|column, _| columns.contains(column)));
            let mut expected = as_of_now(name, view, told);
            if (name, view) == ("1-first", "changes") {
                expected = changes_of_the_first_program(expected, &now);
            }
            assert_equal(&lines(&now), &lines(&expected), &format!("{name}: {view}"));
        }
        assert_eq!(
            views,
            if name == "1-first" {
                6
            } else if format < 3 {
                8
            } else {
                11
            },
            "{name}"
        );

        let checked = fixtures.asof(name, &["check", "--deep"]);
        assert!(checked.status.success() && checked.stdout.is_empty(), "{name}: {}", said(&checked));
        assert_eq!(
            fixtures.run(name, 0, &["migrate"]),
            format!("the catalog \"catalog.db\" has format {FORMAT} already")
        );
    }
}

#[test]
fn a_catalog_of_format_6_has_the_views_of_now_and_says_what_it_said() {
    let fixtures = Fixtures::empty();
    disk::unpack_tar(&data("6.tar.zst"), fixtures.dir.path());
    fixtures.migrate("6", 6);
    let mut views = 0;
    for view in VIEWS.into_iter().chain(["copies"]) {
        let Some(told) = fixtures.told("6", view) else { continue };
        views += 1;
        let columns: BTreeSet<String> = told.iter().flat_map(|row| row.keys().cloned()).collect();
        let mut now = fixtures.rows("6", view);
        assert!(now.iter().all(|row| columns.iter().all(|column| row.contains_key(column))), "{view} lost a column");
        now.iter_mut().for_each(|row| row.retain(|column, _| columns.contains(column)));
        assert_equal(&lines(&now), &lines(&told), view);
    }
    assert_eq!(views, 12);
    // Of generations and files that the program of that time counted in another way.
    for never in [
        "SELECT * FROM growth JOIN churn USING (source, taken_at) WHERE more_bytes <> new_bytes - gone_bytes",
        "SELECT * FROM generations g WHERE (entries, size_bytes) <> (SELECT sum(entries), sum(size_bytes) FROM usage_by_owner u \
         WHERE u.source = g.source AND u.taken_at = g.taken_at)",
        "SELECT * FROM files WHERE restore_path IS NULL OR restore_path_raw IS NULL",
    ] {
        let output = fixtures.asof("6", &["sql", "--json", never]);
        assert!(output.status.success() && output.stdout.is_empty(), "{never}: {}", said(&output));
    }
    let checked = fixtures.asof("6", &["check", "--deep"]);
    assert!(checked.status.success() && checked.stdout.is_empty(), "{}", said(&checked));
}

#[test]
fn a_mere_reader_refuses_an_older_catalog_says_what_to_do_and_changes_nothing() {
    let fixtures = Fixtures::new();
    for (name, format) in CATALOGS {
        let before = fs::read(fixtures.path(name).join("catalog.db")).unwrap();
        let readers: [&[&str]; 5] =
            [&["ls", "homes"], &["sql", "SELECT * FROM files"], &["generations"], &["check"], &["mount", "told"]];
        for args in readers {
            assert_eq!(
                fixtures.run(name, 2, args),
                format!(
                    "asof: catalog \"catalog.db\" has format {format}, and this asof reads format {FORMAT}\n\
                     hint: asof --catalog \"catalog.db\" migrate brings it up to date, and keeps a copy of it as it is"
                ),
            );
        }
        assert!(fs::read(fixtures.path(name).join("catalog.db")).unwrap() == before, "{name}");
        assert!(!fixtures.path(name).join(format!("catalog.db.format{format}")).exists(), "{name}");
    }
}

// Bytes, and what is indexed next.

/// Returns the lines of what a mount shows, each with the path that it is about; bytes that are no text are shown as such.
fn shown(bytes: &[u8]) -> Vec<String> {
    let (mut lines, mut file) = (Vec::new(), String::new());
    for line in bytes.split(|b| *b == b'\n').map(String::from_utf8_lossy) {
        match line.strip_prefix("# file: ") {
            Some(path) => path.clone_into(&mut file),
            // A blank line ends the attributes of a file.
            None if line.is_empty() => file.clear(),
            None if file.is_empty() => lines.push(line.into_owned()),
            None => lines.push(format!("{file} has {line}")),
        }
    }
    lines.sort();
    lines
}

/// Returns the lines about the one generation of `source` that is in them, paths beginning in it. Of a mount without any extended
/// attribute these are not supported.
fn newest(lines: &[String], source: &str) -> Vec<String> {
    let view = |line: &String| {
        let from = line.find(&format!("{source}/@"))?;
        let end = from + line[from..].find(['/', '|', ' ']).unwrap() + "/@2026-11-06T000000Z".len();
        Some([&line[..from], "HERE", line.get(end..)?].concat())
    };
    let mut lines: Vec<String> =
        lines.iter().filter(|line| !line.ends_with(": Operation not supported")).filter_map(view).collect();
    lines.sort();
    lines
}

/// Takes the ctimes out: copies of one file by path have each their own.
fn without_ctimes(lines: Vec<String>) -> Vec<String> {
    let without = |line: String| match line.split('|').collect::<Vec<_>>()[..] {
        [path, kind, mode, owner, size, mtime, _, nlink, target] => {
            [path, kind, mode, owner, size, mtime, nlink, target].join("|")
        }
        _ => line,
    };
    let mut lines: Vec<String> = lines.into_iter().map(without).collect();
    lines.sort();
    lines
}

/// A source, how it is added to a catalog, its copies of the nights that the catalogs have, and of the next one.
struct Nights {
    source: &'static str,
    add: &'static str,
    before: &'static str,
    next: &'static str,
}

const NIGHTS: [Nights; 8] = [
    Nights {
        source: "homes",
        add: "nfs homes --copies homes --zone UTC",
        before: "homes/2026-11-0[12345]",
        next: "homes/2026-11-06",
    },
    Nights {
        source: "farm",
        add: "nfs farm --copies farm --zone UTC --checksum yes",
        before: "farm/2026-11-0[1235]*",
        next: "farm/2026-11-06T020000Z",
    },
    Nights {
        source: "links",
        add: "nfs links --copies farm --zone UTC --identity inode",
        before: "farm/2026-11-0[12345]*",
        next: "farm/2026-11-06T020000Z",
    },
    Nights {
        source: "snapshots",
        add: "nfs snapshots --copies snapshots --zone UTC --identity inode",
        before: "snapshots/2026-11-0[1235]",
        next: "snapshots/2026-11-06",
    },
    Nights {
        source: "spool",
        add: "nfs spool --copies spool --zone UTC",
        before: "spool/2026-11-0[123]",
        next: "spool/2026-11-04",
    },
    Nights {
        source: "private",
        add: "nfs private --copies private --zone UTC",
        before: "private/2026-11-0[123]",
        next: "private/2026-11-04",
    },
    Nights {
        source: "raw",
        add: "block raw --images raw --format raw",
        before: "raw/2026-11-0[13].raw",
        next: "raw/2026-11-04.raw",
    },
    Nights {
        source: "chain",
        add: "block chain --images chain",
        before: "chain/2026-11-0[123].qcow2",
        next: "chain/2026-11-04.qcow2",
    },
];

/// Prints what a mount of the catalog shows of the newest generation of each source.
const READ_NEWEST: &str = "read_newest() {
     $HERE/read-mount $ASOF \"$($ASOF sql --csv \"SELECT source || '/@' || replace(newest, ':', '') FROM sources\" | tail -n +2)\"
 }";

#[test]
fn bytes_are_read_as_before_and_the_next_generation_is_that_of_its_copy_alone() {
    let fixtures = Fixtures::with_stores();
    brick::rebuild(&brick::volume("gv0"), 4, "gv0-b1", &fixtures.bricks.path().join("gv0-b1"));
    let alone = indexed_alone(&fixtures);
    for (name, format) in CATALOGS {
        fixtures.migrate(name, format);
        let before = fixtures.rows(name, "files");
        let sources: BTreeSet<String> =
            fixtures.rows(name, "sources").iter().map(|row| row["source"].as_str().unwrap().to_owned()).collect();
        let index: String = NIGHTS
            .iter()
            .filter(|nights| sources.contains(nights.source))
            .map(|nights| format!("$ASOF index {} {}\n", nights.source, nights.next))
            .collect();
        let volumes = "$ASOF index lists --list lists/4.txt --data lists/4 --at 2026-11-04T00:00:00Z; $ASOF take gv0";
        let script = format!(
            "{READ_NEWEST}
             HOME=$PWD; $HERE/read-mount $ASOF > mount.txt; cd /srv/backups
             {index} {}
             read_newest > $HOME/next.txt",
            if sources.contains("gv0") { volumes } else { "" }
        );
        fixtures.inside(name, &script);
        let read = |file: &str| shown(&fs::read(fixtures.path(name).join(file)).unwrap());
        assert_equal(
            &without_ctimes(read("mount.txt")),
            &without_ctimes(read("told/mount.txt")),
            &format!("{name}: the mount"),
        );
        let next = read("next.txt");
        for source in sources.iter().filter(|source| !["lists", "vm"].contains(&source.as_str())) {
            let mut pair = [newest(&next, source), alone[source.as_str()].clone()];
            // Where files keep their inode numbers, and on disks, their ctimes are their own.
            if !["links", "snapshots", "raw", "chain"].contains(&source.as_str()) {
                pair = pair.map(without_ctimes);
            }
            if ["raw", "chain"].contains(&source.as_str()) {
                // The top directory of a disk is no file's: its time is that of the first generation.
                pair = pair.map(|lines| lines.into_iter().filter(|line| !line.starts_with("HERE|")).collect());
            }
            if source == "gv0" {
                pair = pair.map(as_changelogs_tell);
            }
            assert!(pair[1].len() > 5, "{name}: {source}");
            assert_equal(&pair[0], &pair[1], &format!("{name}: {source}"));
        }
        if sources.contains("lists") {
            assert_eq!(files_of_the_list(&newest(&next, "lists")), files_expected_of_the_list(), "{name}");
            let how = fixtures.rows(name, "generations").into_iter().rfind(|row| row["source"] == "gv0").unwrap();
            assert_eq!((&how["level"], &how["scan"]), (&json!("incremental"), &json!("changelog")), "{name}");
        }
        let checked = fixtures.asof(name, &["check", "--deep"]);
        assert!(checked.status.success() && checked.stdout.is_empty(), "{name}: {}", said(&checked));
        // What was there is as it was.
        let after: BTreeSet<String> = lines(&fixtures.rows(name, "files")).into_iter().collect();
        let lost: Vec<String> = lines(&before).into_iter().filter(|line| !after.contains(line)).take(10).collect();
        assert_eq!(lost, Vec::<String>::new(), "{name}");
    }
}

/// Takes out what no changelog tells: round 2 made one file longer and set the time of another; and sizes of directories, which belong
/// to the file system that the bricks are on.
fn as_changelogs_tell(lines: Vec<String>) -> Vec<String> {
    let lines = lines.into_iter().filter(|line| !line.contains("HERE/lots/f09") && !line.contains("HERE/big.bin"));
    let without_size = |line: String| match line.split('|').collect::<Vec<_>>()[..] {
        [path, "d", mode, owner, _, mtime, nlink, target] => [path, "d", mode, owner, mtime, nlink, target].join("|"),
        _ => line,
    };
    lines.map(without_size).collect()
}

/// Returns what is shown of the next generation of each source, where it is the only one of its catalog.
fn indexed_alone(fixtures: &Fixtures) -> BTreeMap<&'static str, Vec<String>> {
    let nights =
        NIGHTS.iter().map(|nights| (nights.source, nights.add, format!("index {} {}", nights.source, nights.next)));
    let all: Vec<(&str, &str, String)> = nights
        .chain([("gv0", "gluster gv0 --volume gv0 --store $HOME --gluster /srv/bricks/gluster", "take gv0".to_owned())])
        .collect();
    let script: String = all
        .iter()
        .map(|(source, add, verb)| {
            format!(
                "export ASOF_CATALOG=$HOME/alone-{source}.db
                 $ASOF init; $ASOF source add {add}; $ASOF {verb}; read_newest > $HOME/alone-{source}.txt\n"
            )
        })
        .collect();
    fixtures.inside("4", &format!("{READ_NEWEST}\nHOME=$PWD; cd /srv/backups\n{script}"));
    all.into_iter()
        .map(|(source, ..)| {
            let read = fs::read(fixtures.path("4").join(format!("alone-{source}.txt"))).unwrap();
            (source, newest(&shown(&read), source))
        })
        .collect()
}

/// Returns what public views say of `source`, but for numbers of nodes and when it was indexed.
fn history(fixtures: &Fixtures, name: &str, catalog: &str, source: &str) -> Vec<String> {
    let views = [
        ("generations", "taken_at, entries, size_bytes, changed, losses, notices"),
        (
            "files",
            "taken_at, path, kind, size_bytes, mtime_unix, mtime_ns, mode, uid, gid, nlink, has_acl, link_target, version_since",
        ),
        ("versions", "path, since, until, kind, size_bytes, mode, nlink"),
        ("changes", "taken_at, what, path, old_path, kind, size_bytes"),
        ("deleted", "path, kind, size_bytes, last_seen, deleted_in"),
    ];
    let mut said = Vec::new();
    for (view, columns) in views {
        let sql = format!("SELECT '{view}' AS \"view\", {columns} FROM {view} WHERE source = '{source}'");
        let output = fixtures.asof(name, &["--catalog", catalog, "sql", "--json", &sql]);
        assert!(output.status.success(), "{}", self::said(&output));
        said.extend(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned));
    }
    said.sort();
    said
}

/// The law holds across the change of formats: whoever wrote the generations before, the next one makes the same history of them.
#[test]
fn a_catalog_that_goes_on_says_what_one_says_that_was_indexed_anew() {
    let fixtures = Fixtures::with_stores();
    let anew: String = NIGHTS
        .iter()
        .map(|Nights { source, add, before, next }| {
            format!(
                "export ASOF_CATALOG=$HOME/anew-{source}.db
                 $ASOF init; $ASOF source add {add}; $ASOF index {source} {before} {next}\n"
            )
        })
        .collect();
    fixtures.inside("4", &format!("HOME=$PWD; cd /srv/backups\n{anew}"));
    for (name, format) in CATALOGS {
        fixtures.migrate(name, format);
        let rows = fixtures.rows(name, "sources");
        let sources: BTreeSet<&str> = rows.iter().map(|row| row["source"].as_str().unwrap()).collect();
        // In the second night nobody could read all of `private`, nor the program of format 3 all of `chain`.
        let is_comparable = |nights: &&Nights| match nights.source {
            "private" => false,
            "chain" => name != "3",
            source => sources.contains(source),
        };
        let nights: Vec<&Nights> = NIGHTS.iter().filter(is_comparable).filter(|n| sources.contains(n.source)).collect();
        let index: String = nights.iter().map(|n| format!("$ASOF index {} {}\n", n.source, n.next)).collect();
        fixtures.inside(name, &format!("cd /srv/backups\n{index}"));
        for Nights { source, .. } in nights {
            let found = history(&fixtures, name, "catalog.db", source);
            let expected = history(&fixtures, "4", &format!("anew-{source}.db"), source);
            assert!(expected.len() > 20, "{source}");
            assert_equal(&found, &expected, &format!("{name}: {source}"));
        }
    }
}

/// Returns the files of a view with the beginnings of their digests.
fn files_of_the_list(lines: &[String]) -> BTreeSet<String> {
    let files = lines.iter().filter_map(|line| line.split_once("  HERE/"));
    files.map(|(hash, path)| format!("{path} {hash}")).collect()
}

/// What the list of the fourth night leaves: a file that is new again, and one that was renamed.
fn files_expected_of_the_list() -> BTreeSet<String> {
    let digest = |bytes: &str| disk::hash_of_bytes(format!("{bytes}\n").as_bytes())[..12].to_owned();
    let files = [("a", "one"), ("b", "two"), ("d/new", "new"), ("d/x", "x"), ("e", "x")];
    files.map(|(path, bytes)| format!("{path} {}", digest(bytes))).into()
}

// What goes wrong.

fn dump(fixtures: &Fixtures, catalog: &str) -> String {
    sh(
        fixtures.dir.path(),
        &format!("sqlite3 -readonly {catalog} .dump; sqlite3 -readonly {catalog} 'PRAGMA user_version'"),
    )
}

/// Says whether the catalog of format `format` in `folder` is in one format or the other, whole, and which.
#[track_caller]
fn whole_format(fixtures: &Fixtures, folder: &str, before: &str) -> i64 {
    let catalog = format!("{folder}/catalog.db");
    let found =
        sh(fixtures.dir.path(), &format!("sqlite3 -readonly {catalog} 'PRAGMA user_version; PRAGMA integrity_check'"));
    let (format, integrity) = found.trim().split_once('\n').unwrap();
    assert_eq!(integrity, "ok");
    let format = format.parse().unwrap();
    if format == FORMAT {
        let checked = fixtures.asof(folder, &["check", "--deep"]);
        assert!(checked.status.success() && checked.stdout.is_empty(), "{}", said(&checked));
    } else {
        assert!(dump(fixtures, &catalog) == before, "a catalog of format {format} is not what it was");
    }
    format
}

#[test]
fn a_migration_that_is_killed_leaves_the_catalog_in_one_format_or_the_other_and_runs_again() {
    let fixtures = Fixtures::new();
    let before = dump(&fixtures, "4/catalog.db");
    let began = Instant::now();
    sh(fixtures.dir.path(), "mkdir whole && cp 4/catalog.db whole");
    fixtures.migrate("whole", 4);
    let whole = began.elapsed();
    let mut old = 0;
    for moment in 0..12 {
        sh(fixtures.dir.path(), "rm -rf killed && mkdir killed && cp 4/catalog.db killed");
        let mut run = Command::new(env!("CARGO_BIN_EXE_asof"))
            .args(["--catalog", "killed/catalog.db", "migrate"])
            .current_dir(fixtures.dir.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * moment / 12);
        let _ = run.kill();
        run.wait().unwrap();
        if whole_format(&fixtures, "killed", &before) == 4 {
            old += 1;
            fixtures.run("killed", 0, &["migrate"]);
            assert_eq!(whole_format(&fixtures, "killed", &before), FORMAT, "moment {moment}");
        }
        // The first copy that was made is the catalog as it was; what is no whole copy has not its name.
        assert!(dump(&fixtures, "killed/catalog.db.format4") == before, "moment {moment}");
        assert!(!fixtures.path("killed/catalog.db.format4.new").exists(), "moment {moment}");
    }
    assert!(old > 2, "{old} of 12 were killed before they were done");
}

#[test]
fn a_migration_that_meets_a_full_disk_changes_nothing_and_runs_again_with_more_room() {
    let fixtures = Fixtures::new();
    let before = dump(&fixtures, "4/catalog.db");
    let catalog_kib = fs::metadata(fixtures.path("4/catalog.db")).unwrap().len() / 1024;
    sh(fixtures.dir.path(), "mkdir small out");
    let (mut refused, mut done) = (0, 0);
    for more_kib in (64..).step_by(160) {
        sh(
            fixtures.dir.path(),
            &format!("mount -t tmpfs -o size={}k none small; cp 4/catalog.db small", catalog_kib + more_kib),
        );
        let output = fixtures.asof("small", &["migrate"]);
        // Looked at where there is room for what SQLite makes beside it.
        sh(fixtures.dir.path(), "rm -rf out; cp -r small out; umount small");
        if output.status.success() {
            done += 1;
            assert_eq!(whole_format(&fixtures, "out", &before), FORMAT);
            assert!(dump(&fixtures, "out/catalog.db.format4") == before);
            break;
        }
        refused += 1;
        let text = said(&output);
        assert!(text.contains("in catalog \"catalog.db\": the disk is full\nhint: "), "{more_kib} KiB: {text}");
        assert_eq!(whole_format(&fixtures, "out", &before), 4, "{more_kib} KiB");
        assert!(!fixtures.path("out/catalog.db.format4").exists(), "{more_kib} KiB");
        fixtures.migrate("out", 4);
    }
    assert!(refused > 2 && done == 1, "{refused} refused, {done} done");
}

/// As an index run of that time leaves the catalog that is killed before it publishes: it is whole without that generation.
#[test]
fn a_generation_that_was_not_finished_is_undone_and_can_be_indexed_again() {
    let fixtures = Fixtures::with_stores();
    for (source, taken_at) in
        [("homes", "2026-11-05T00:00:00Z"), ("snapshots", "2026-11-05T00:00:00Z"), ("raw", NIGHT_3)]
    {
        sh(
            fixtures.dir.path(),
            &format!(
                "mkdir killed; cp -r 4/catalog.db 4/told killed
                 sqlite3 killed/catalog.db \"UPDATE generation SET status = 'creating', entries = NULL, size_bytes = NULL,
                   changed_nodes = NULL, losses = NULL, notices = NULL
                  WHERE taken_at = unixepoch('{taken_at}') AND source = (SELECT id FROM source WHERE name = '{source}')\""
            ),
        );
        // Which node is which, and since when it is as it is, is told of the others only.
        let files = |rows: Vec<Row>, of_it: bool| -> Vec<String> {
            let mut rows: Vec<Row> = rows
                .into_iter()
                .filter(|row| (row["source"] == source && row["taken_at"] == taken_at) == of_it)
                .collect();
            // Nobody told then which names were kept without having been seen, and where to restore from.
            let later = ["unknown", "restore_path", "restore_path_raw"];
            rows.iter_mut().for_each(|row| row.retain(|column, _| !later.contains(&&**column)));
            if of_it {
                // Programs of then did not list on XFS under which name it keeps an ACL, so its set of attributes is another one now.
                let of_the_catalog = ["node", "parent", "version_since", "xattr_set"];
                rows.iter_mut().for_each(|row| row.retain(|column, _| !of_the_catalog.contains(&&**column)));
            }
            lines(&rows)
        };
        let told = || as_of_now("4", "files", fixtures.told("4", "files").unwrap());
        fixtures.migrate("killed", 4);
        assert_equal(&files(fixtures.rows("killed", "files"), false), &files(told(), false), source);
        assert_eq!(files(fixtures.rows("killed", "files"), true), Vec::<String>::new(), "{source}");
        let copy = match source {
            "raw" => "raw/2026-11-03.raw".to_owned(),
            _ => format!("{source}/2026-11-05"),
        };
        for step in ["undone", "indexed again"] {
            if step == "indexed again" {
                fixtures.inside("killed", &format!("cd /srv/backups; $ASOF index {source} {copy}"));
            }
            let checked = fixtures.asof("killed", &["check", "--deep"]);
            assert!(checked.status.success() && checked.stdout.is_empty(), "{source}, {step}: {}", said(&checked));
            assert!(!said(&checked).contains("without a state hash"), "{source}, {step}: {}", said(&checked));
        }
        assert_equal(&files(fixtures.rows("killed", "files"), true), &files(told(), true), source);
        sh(fixtures.dir.path(), "rm -r killed");
    }
}

/// Names in a catalog are text, whatever they say: whoever made it chose them.
#[test]
fn a_view_whose_name_is_a_statement_is_dropped_and_not_run() {
    let fixtures = Fixtures::new();
    let name = "x\"\"; COMMIT; VACUUM INTO 'made'; BEGIN IMMEDIATE; --";
    let script = format!(
        "mkdir odd; cp 4/catalog.db odd; sqlite3 odd/catalog.db 'CREATE VIEW \"{}\" AS SELECT 1; CREATE VIEW x AS SELECT 1'",
        name.replace('\'', "'\\''")
    );
    sh(fixtures.dir.path(), &script);
    fixtures.run("odd", 0, &["migrate"]);
    assert!(!fixtures.path("odd").join("made").exists());
    let views = sh(
        &fixtures.path("odd"),
        "sqlite3 -readonly catalog.db \"SELECT count(*) FROM sqlite_schema WHERE type = 'view' AND name LIKE 'x%'\"",
    );
    assert_eq!(String::from_utf8_lossy(views.as_bytes()).trim(), "1", "the view xattrs");
}

/// What happens to a catalog that is damaged in this way.
enum Fate {
    /// It is refused, with this text, and stays as it is.
    Refused(&'static str),
    /// It is migrated, and this is told of it.
    Found(&'static str),
}
use Fate::{Found, Refused};

const DAMAGE: [(&str, Fate); 14] = [
    ("DELETE FROM source WHERE name = 'homes'", Refused("a generation is of a source that is not there: generation 1")),
    (
        "DELETE FROM generation WHERE taken_at = unixepoch('2026-11-02')",
        Refused("a copy is of a generation that is not there: copy 2"),
    ),
    (
        "UPDATE disk_layer SET parent = 5 WHERE parent IS NOT NULL",
        Refused("a layer of a disk is based on one that is missing: source "),
    ),
    ("UPDATE disk_layer SET at = at + 7", Refused("a layer of a disk is of a generation that is not there: source ")),
    ("UPDATE disk_file SET at = at + 7", Refused("a file of a disk is of a generation that is not there: source ")),
    ("UPDATE disk_volume SET at = at + 7", Refused("a volume of a disk is of a generation that is not there: source ")),
    (
        "UPDATE inode SET content = 7 WHERE place = 2",
        Refused("the bytes of a version are in a generation that is not there: node "),
    ),
    ("UPDATE source SET settings = 'no JSON' WHERE name = 'farm'", Refused("malformed JSON")),
    (
        "DELETE FROM inode WHERE node = (SELECT node FROM dirent WHERE name = CAST('empty' AS BLOB) LIMIT 1)",
        Found("versions: \"homes/empty\" as of 2026-11-01T00:00:00Z: no version\n"),
    ),
    (
        "DELETE FROM dirent WHERE name = CAST('same' AS BLOB) AND node = (SELECT min(node) FROM dirent WHERE name = CAST('same' AS BLOB))",
        Found(
            "counts: \"homes\" as of 2026-11-01T00:00:00Z: it does not have the names that it says: 26, and 25 are there\n",
        ),
    ),
    (
        "UPDATE inode SET nlink = 9 WHERE node = (SELECT node FROM dirent WHERE name = CAST('empty' AS BLOB) LIMIT 1)",
        Found(
            "links: \"homes/empty\" as of 2026-11-01T00:00:00Z: a link count is not the number of names: 1 names, link count 9\n",
        ),
    ),
    (
        "DELETE FROM change WHERE at = unixepoch('2026-11-02') AND source = 1",
        Found("counts: \"homes\" as of 2026-11-02T00:00:00Z: it did not change what it says: "),
    ),
    (
        "DELETE FROM perm WHERE mode & 4095 = 2541",
        Found("references: \"homes/setuid\" as of 2026-11-01T00:00:00Z: its owner and mode are not there: perm "),
    ),
    (
        "UPDATE dirent SET died = died - 1 WHERE died < 253402300799 AND name = CAST('comes' AS BLOB)",
        Found("spans: \"homes/comes\" as of "),
    ),
];

#[test]
fn a_damaged_old_catalog_is_refused_or_what_is_wrong_with_it_is_told() {
    let fixtures = Fixtures::new();
    for (sql, fate) in &DAMAGE {
        fs::write(fixtures.path("damage.sql"), sql).unwrap();
        sh(
            fixtures.dir.path(),
            "rm -rf hurt; mkdir hurt; cp 4/catalog.db hurt; sqlite3 hurt/catalog.db < damage.sql; ! cmp -s 4/catalog.db hurt/catalog.db",
        );
        let before = dump(&fixtures, "hurt/catalog.db");
        match fate {
            Refused(why) => {
                let text = fixtures.run("hurt", 2, &["migrate"]);
                assert!(text.contains(why), "{sql}: {text}");
                assert!(dump(&fixtures, "hurt/catalog.db") == before, "{sql}");
                assert!(!fixtures.path("hurt/catalog.db.format4").exists(), "{sql}");
            }
            Found(what) => {
                let text = fixtures.run("hurt", 1, &["migrate"]);
                assert!(text.contains(what), "{sql}: {text}");
                assert!(dump(&fixtures, "hurt/catalog.db.format4") == before, "{sql}");
            }
        }
    }
}
