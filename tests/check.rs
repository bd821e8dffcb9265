//! `asof check`: a catalog that was only ever written by asof is clean, and what is damaged is found and named.
//!
//! The site has two sources with several generations each: hard links, extended attributes, ACLs, symbolic links, devices, odd names,
//! moved directories, and a directory in which so many names died that it is listed by another index.

#[path = "common/dice.rs"]
mod dice;

use asof::catalog::{Checked, Checking, Column, Dates, NewSource, Query, QueryLimits, Reader, TOLD_MAX, Writer};
use asof::clock::Fixed;
use asof::index::{NewCopy, index_copy};
use asof::model::{
    Attrs, EntryName, FileKey, Kind, ListedEntry, Listing, RelPath, Rule, SourceKind, Time, Timestamp, Walked, XattrSet,
};
use asof::monitor::Void;
use asof::source::{Discovered, FileStamp, Found, NoDigest, OpenCopy, ScanStats, Source, TopDirectory};
use dice::Dice;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// 2026-11-01T00:00:00Z; generation `n` is taken `n` days later.
const FIRST: i64 = 1_793_491_200;
const DAY: i64 = 86_400;

fn at(day: i64) -> Time {
    Time(FIRST + day * DAY)
}

/// A tree in memory: what each path is, with its inode number.
#[derive(Clone, Default)]
struct Plain(BTreeMap<Vec<u8>, (u64, Attrs)>);

impl Plain {
    fn new() -> Self {
        let mut tree = Self::default();
        tree.put("", 1, Kind::Directory, 4096);
        tree
    }

    fn put(&mut self, path: &str, inode: u64, kind: Kind, size_bytes: u64) -> &mut Attrs {
        let stamp = Timestamp { seconds: 1_700_000_000 + inode as i64, nanos: 500 + inode as u32 };
        let attrs = Attrs {
            mode: kind.mode_bits() | 0o644,
            uid: 1000,
            gid: 100,
            size_bytes,
            allocated_bytes: None,
            mtime: stamp,
            ctime: stamp,
            nlink: 2,
            rdev: 0,
            xattrs: XattrSet::default(),
            target: Vec::new(),
        };
        &mut self.0.entry(path.as_bytes().to_vec()).insert_entry((inode, attrs)).into_mut().1
    }

    /// Gives the file at `path` a further name.
    fn link(&mut self, path: &str, name: &str) {
        let file = self.0[path.as_bytes()].clone();
        self.0.insert(name.as_bytes().to_vec(), file);
    }

    /// Moves a path and all below it.
    fn rename(&mut self, from: &str, to: &str) {
        let below = format!("{from}/");
        let moved: Vec<Vec<u8>> =
            self.0.keys().filter(|p| *p == from.as_bytes() || p.starts_with(below.as_bytes())).cloned().collect();
        for path in moved {
            let entry = self.0.remove(&path).expect("it is a path of the tree");
            self.0.insert([to.as_bytes(), &path[from.len()..]].concat(), entry);
        }
    }

    fn change(&mut self, path: &str) -> &mut Attrs {
        &mut self.0.get_mut(path.as_bytes()).expect("it is a path of the tree").1
    }

    /// Returns what a walk of the tree tells.
    fn listings(&self) -> Vec<Listing> {
        let mut names: HashMap<u64, u32> = HashMap::new();
        self.0.values().for_each(|(inode, _)| *names.entry(*inode).or_default() += 1);
        let key = |inode| FileKey { device: 1, inode, born_ns: 7 };
        let (mut listings, mut waiting) = (Vec::new(), VecDeque::from([Vec::new()]));
        while let Some(dir) = waiting.pop_front() {
            let prefix = if dir.is_empty() { Vec::new() } else { [dir.as_slice(), b"/"].concat() };
            let mut entries = Vec::new();
            for (path, (inode, attrs)) in &self.0 {
                let Some(name) = path.strip_prefix(prefix.as_slice()).filter(|n| !n.is_empty() && !n.contains(&b'/'))
                else {
                    continue;
                };
                if attrs.kind() == Kind::Directory {
                    waiting.push_back(path.clone());
                }
                let nlink = if attrs.kind() == Kind::Directory { 2 } else { names[inode] };
                let attrs = Attrs { nlink, ..attrs.clone() };
                let name = EntryName::new(name).expect("a name");
                entries.push(ListedEntry { name, key: key(*inode), attrs, unreadable: false, origin: 0 });
            }
            let root = dir.is_empty().then(|| (key(self.0[&dir].0), self.0[&dir].1.clone()));
            let (number, path) = (listings.len() as u64, RelPath::parse(&dir).expect("a path"));
            listings.push(Listing { number, path, root, entries, complete: true, findings: Vec::new() });
        }
        listings
    }
}

/// A copy that is told and not walked.
struct Told(Vec<Listing>);

impl Source for Told {
    fn generations(&self) -> Result<Discovered, asof::source::Error> {
        Ok(Discovered::default())
    }

    fn open(&self, _: &Found) -> Result<Box<dyn OpenCopy + '_>, asof::source::Error> {
        Ok(Box::new(self))
    }
}

impl OpenCopy for &Told {
    fn top(&self) -> TopDirectory {
        TopDirectory::default()
    }

    fn scan(&self, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<ScanStats, asof::source::Error> {
        let _ = self.0.iter().try_for_each(|listing| each(Walked::Listing(Box::new(listing.clone()))));
        Ok(ScanStats::default())
    }

    fn digest(&self, _: &RelPath, _: &FileStamp) -> Result<[u8; 32], NoDigest> {
        Err(std::io::Error::other("nothing is stored").into())
    }
}

/// A catalog in a temporary folder.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn empty(sources: &[&str]) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        Writer::create(&site.catalog()).unwrap();
        let mut writer = site.writer();
        for name in sources {
            writer
                .add_source(&NewSource {
                    name,
                    kind: SourceKind::Nfs,
                    settings: "{}",
                    rule: if *name == "web" { Rule::SNAPSHOTS } else { Rule::COPIES },
                    added_at: at(0),
                })
                .unwrap();
        }
        site
    }

    /// Two sources: `homes` by path, five generations, the third of them indexed last; `web` by inode number, three.
    fn filled() -> Self {
        let site = Self::empty(&["homes", "web"]);
        let homes = homes();
        for day in [0, 1, 3, 4, 2] {
            site.index("homes", day, &homes[day as usize]);
        }
        for (day, tree) in web().iter().enumerate() {
            site.index("web", day as i64, tree);
        }
        site
    }

    fn catalog(&self) -> PathBuf {
        self.dir.path().join("catalog.db")
    }

    fn writer(&self) -> Writer {
        Writer::open(&self.catalog()).unwrap()
    }

    fn index(&self, source: &str, day: i64, tree: &Plain) {
        let row = Reader::open(&self.catalog()).unwrap().source(source).unwrap();
        let store = self.dir.path().join("copies");
        let found = Found { taken_at: at(day), path: store.join(source).join(day.to_string()) };
        let copy = NewCopy {
            source: &row,
            found: &found,
            store: &store,
            again: false,
            settle: std::time::Duration::ZERO,
            root: None,
        };
        index_copy(&mut self.writer(), &copy, &Told(tree.listings()), &Fixed(at(100)), &Void).unwrap();
    }

    /// Folds the log back into the file, and returns what is in that.
    fn at_rest(&self) -> Vec<u8> {
        let connection = rusqlite::Connection::open(self.catalog()).unwrap();
        connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
        drop(connection);
        std::fs::read(self.catalog()).unwrap()
    }

    /// Changes rows behind the program's back.
    fn damage(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.catalog()).unwrap();
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        let before = Self::content(&connection);
        connection.execute_batch(sql).unwrap();
        assert_ne!(Self::content(&connection), before, "nothing was changed by {sql}");
    }

    /// Returns how often the tables and their texts were changed, as SQLite counts it.
    fn content(connection: &rusqlite::Connection) -> (u64, i64) {
        (connection.total_changes(), connection.pragma_query_value(None, "schema_version", |r| r.get(0)).unwrap())
    }

    fn check(&self, deep: bool) -> (Vec<String>, Checked) {
        violations(&self.catalog(), deep).unwrap()
    }

    fn asof(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_asof"));
        let output = command.args(args).env("ASOF_CATALOG", self.catalog()).env("TZ", "UTC").output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

fn violations(catalog: &Path, deep: bool) -> Result<(Vec<String>, Checked), asof::catalog::Error> {
    let mut lines = Vec::new();
    let checked = Reader::open(catalog)?.check(deep, &mut |what| {
        if let Checking::Found(violation) = what {
            lines.push(violation.to_string());
        }
    })?;
    Ok((lines, checked))
}

/// Five nights of a share.
fn homes() -> Vec<Plain> {
    let mut tree = Plain::new();
    tree.put("alice", 2, Kind::Directory, 4096);
    tree.put("alice/letter.odt", 3, Kind::File, 9000).xattrs =
        XattrSet::new(vec![(b"user.comment".to_vec(), b"draft".to_vec())]);
    tree.link("alice/letter.odt", "alice/copy.odt");
    tree.put("alice/notes", 4, Kind::File, 10);
    tree.put("alice/to-notes", 5, Kind::Symlink, 5).target = b"notes".to_vec();
    tree.put("alice/new\nline", 6, Kind::File, 1);
    tree.put("bob", 7, Kind::Directory, 4096).xattrs =
        XattrSet::new(vec![(b"system.posix_acl_default".to_vec(), vec![2, 0, 0, 0]), (b"user.a".to_vec(), vec![1])]);
    tree.put("bob/null", 8, Kind::CharDevice, 0).rdev = 0x0103;
    tree.put("bob/pipe", 9, Kind::Fifo, 0);
    tree.put("bob/deep", 10, Kind::Directory, 4096);
    tree.put("bob/deep/er", 11, Kind::Directory, 4096);
    tree.put("bob/deep/er/file", 12, Kind::File, 70_000);
    tree.put("spool", 13, Kind::Directory, 4096);
    let spooled = |tree: &Plain| {
        let mut tree = tree.clone();
        (0..1100).for_each(|n| _ = tree.put(&format!("spool/{n:04}"), 10_000 + n, Kind::File, n));
        tree
    };
    let mut nights = vec![spooled(&tree)];
    tree.change("alice/notes").size_bytes = 20;
    tree.change("alice/notes").mtime.seconds += 60;
    tree.0.remove(b"alice/copy.odt".as_slice());
    nights.push(tree.clone());
    tree.put("alice/back", 14, Kind::File, 5);
    tree.change("bob").uid = 1001;
    nights.push(tree.clone());
    tree.change("alice/to-notes").target = b"../else".to_vec();
    tree.change("alice/to-notes").size_bytes = 7;
    tree.put("spool/one", 15, Kind::File, 1);
    nights.push(tree.clone());
    tree.change("alice/letter.odt").xattrs = XattrSet::new(vec![(b"user.comment".to_vec(), b"final".to_vec())]);
    tree.0.remove(b"bob/deep/er/file".as_slice());
    nights.push(tree);
    nights
}

/// Three snapshots of a file system that keeps inode numbers: a directory moves.
fn web() -> Vec<Plain> {
    let mut tree = Plain::new();
    tree.put("public", 2, Kind::Directory, 4096);
    tree.put("public/index.html", 3, Kind::File, 1234);
    tree.put("public/img", 4, Kind::Directory, 4096);
    tree.put("public/img/logo", 5, Kind::File, 99);
    let mut snapshots = vec![tree.clone()];
    tree.rename("public/img", "img");
    tree.link("public/index.html", "start.html");
    snapshots.push(tree.clone());
    tree.change("img/logo").size_bytes = 100;
    tree.rename("public/index.html", "public/home.html");
    snapshots.push(tree);
    snapshots
}

#[test]
fn a_catalog_as_it_was_written_is_clean() {
    let site = Site::filled();
    let (lines, checked) = site.check(true);
    assert_eq!(lines, Vec::<String>::new());
    assert_eq!((checked.sources, checked.generations, checked.violations, checked.uncounted), (2, 8, 0, 0));
    let (code, out, err) = site.asof(&["check", "--deep"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "checked 8 generations of 2 sources: nothing is wrong\n"));
}

#[test]
fn the_spool_of_the_site_is_listed_by_forks() {
    let site = Site::filled();
    let reader = Reader::open(&site.catalog()).unwrap();
    let root = reader.source("homes").unwrap().root;
    let (spool, _) = reader.lookup(root, b"spool", at(0)).unwrap().expect("it is there");
    reader.node(root, at(0)).unwrap();
    assert!(reader.is_hot(spool));
}

/// A row that is damaged, as SQL, and the first line that a check must print of it.
struct Damage {
    sql: &'static str,
    deep: bool,
    line: &'static str,
}

const fn damage(sql: &'static str, line: &'static str) -> Damage {
    Damage { sql, deep: false, line }
}

const fn deep(sql: &'static str, line: &'static str) -> Damage {
    Damage { sql, deep: true, line }
}

/// The node that some row of this name points to.
macro_rules! node {
    ($name:literal) => {
        concat!("(SELECT node FROM dirent WHERE name = CAST('", $name, "' AS BLOB))")
    };
}

const DAMAGES: &[Damage] = &[
    // Versions.
    damage(
        concat!("DELETE FROM inode WHERE node = ", node!("notes"), " AND born = 1793491200"),
        "versions: \"homes/alice/notes\" as of 2026-11-01T00:00:00Z: no version",
    ),
    damage(
        concat!("UPDATE inode SET born = born + 86400 WHERE node = ", node!("pipe")),
        "versions: \"homes/bob/pipe\" as of 2026-11-01T00:00:00Z: no version",
    ),
    damage(
        concat!(
            "INSERT INTO inode(node, born, perm, size, mtime, mtime_ns, ctime_ns, nlink, place) \
             SELECT node, born + 86400, perm, size, mtime, mtime_ns, ctime_ns, nlink, place FROM inode WHERE node = ",
            node!("pipe")
        ),
        "versions: \"homes/bob/pipe\" as of 2026-11-02T00:00:00Z: a version that equals the one before it: born 1793577600",
    ),
    damage(
        concat!(
            "INSERT INTO inode(node, born, perm, size, mtime, mtime_ns, ctime_ns, nlink, place) \
             SELECT node, born + 345600, perm, 3, mtime, mtime_ns, ctime_ns, nlink, place FROM inode WHERE node = ",
            node!("file")
        ),
        "versions: \"homes/node 66648\" as of 2026-11-05T00:00:00Z: a version while it has no name: born 1793836800",
    ),
    damage(
        "UPDATE dirent SET died = 1793577600 WHERE name = CAST('pipe' AS BLOB); \
             INSERT INTO dirent(parent, name, born, node, kind) \
             SELECT parent, name, 1793664000, node, kind FROM dirent WHERE name = CAST('pipe' AS BLOB)",
        "versions: \"homes/bob/pipe\" as of 2026-11-03T00:00:00Z: a version reaches over a time in which it has no name: of 1793491200",
    ),
    damage(
        concat!("UPDATE inode SET born = born - 5 WHERE node = ", node!("back")),
        "spans: \"homes/alice/back\" as of 2026-11-03T00:00:00Z: it begins at no generation: born 1793663995",
    ),
    // Names.
    damage(
        "UPDATE dirent SET born = born + 5 WHERE name = CAST('back' AS BLOB)",
        "spans: \"homes/alice/back\" as of 2026-11-04T00:00:00Z: it begins at no generation: born 1793664005",
    ),
    damage(
        "UPDATE dirent SET died = died + 5 WHERE name = CAST('copy.odt' AS BLOB)",
        "spans: \"homes/alice/copy.odt\" as of 2026-11-01T00:00:00Z: it ends at no generation: died 1793577605",
    ),
    damage(
        "UPDATE dirent SET born = 1, died = 2 WHERE name = CAST('copy.odt' AS BLOB)",
        "spans: \"homes/name \"copy.odt\" in node 65537\": no generation shows it: born 1, died 2",
    ),
    damage(
        "UPDATE dirent SET died = 1793664000 WHERE name = CAST('pipe' AS BLOB); \
         INSERT INTO dirent(parent, name, born, node, kind) \
         SELECT parent, name, 1793664000, node, kind FROM dirent WHERE name = CAST('pipe' AS BLOB)",
        "names: \"homes/bob/pipe\" as of 2026-11-03T00:00:00Z: two rows after each other that are one: node 65546",
    ),
    damage(
        "INSERT INTO dirent(parent, name, born, node, kind) \
         SELECT parent, name, 1793664000, node, kind FROM dirent WHERE name = CAST('pipe' AS BLOB)",
        "names: \"homes/bob/pipe\" as of 2026-11-03T00:00:00Z: two names at once: node 65546",
    ),
    damage(
        "UPDATE dirent SET name = CAST('a/b' AS BLOB) WHERE name = CAST('pipe' AS BLOB)",
        "names: \"homes/name \"a/b\" in node 65538\" as of 2026-11-01T00:00:00Z: not a name that a directory can hold",
    ),
    damage(
        "UPDATE dirent SET node = node + 65536 WHERE name = CAST('pipe' AS BLOB)",
        "references: \"homes/bob/pipe\" as of 2026-11-01T00:00:00Z: it points to a node of another source: node 131082",
    ),
    // Directories.
    damage(
        concat!("UPDATE dirent SET parent = ", node!("notes"), " WHERE name = CAST('back' AS BLOB)"),
        "tree: \"homes/alice/notes/back\" as of 2026-11-03T00:00:00Z: its directory is not there: node 65542",
    ),
    damage(
        concat!("UPDATE dirent SET parent = ", node!("er"), " WHERE name = CAST('deep' AS BLOB)"),
        "tree: \"homes/node 65544\" as of 2026-11-01T00:00:00Z: it lies in itself: in node 66647",
    ),
    damage(
        "INSERT INTO dirent(parent, name, born, node, kind) \
         SELECT parent, CAST('twice' AS BLOB), born, node, kind FROM dirent WHERE name = CAST('er' AS BLOB)",
        "tree: \"homes/bob/deep/er\" as of 2026-11-01T00:00:00Z: a directory has several names: 2 names",
    ),
    damage(
        "INSERT INTO dirent(parent, name, born, node, kind) \
         SELECT node, CAST('root' AS BLOB), born, parent, kind FROM dirent WHERE name = CAST('bob' AS BLOB)",
        "tree: \"homes\" as of 2026-11-01T00:00:00Z: the top directory has a name",
    ),
    // What a version says against its names, and what it refers to.
    damage(
        concat!("UPDATE inode SET nlink = 3 WHERE born = 1793491200 AND node = ", node!("letter.odt")),
        "links: \"homes/alice/copy.odt\" as of 2026-11-01T00:00:00Z: a link count is not the number of names: 2 names, link count 3",
    ),
    damage(
        "UPDATE dirent SET kind = 0 WHERE name = CAST('pipe' AS BLOB)",
        "kinds: \"homes/bob/pipe\" as of 2026-11-01T00:00:00Z: its name has another type: mode 10644",
    ),
    damage(
        concat!("UPDATE inode SET place = 1 WHERE node = ", node!("pipe")),
        "places: \"homes/bob/pipe\" as of 2026-11-01T00:00:00Z: its bytes are where those of its type cannot be: place 1",
    ),
    damage(
        concat!("UPDATE inode SET place = 2, content = 99 WHERE node = ", node!("back")),
        "references: \"homes/alice/back\" as of 2026-11-03T00:00:00Z: its bytes are in an object that is not there: object 99",
    ),
    damage(
        concat!("UPDATE inode SET place = 2, content = 1 WHERE node = ", node!("back")),
        "places: \"homes/alice/back\" as of 2026-11-03T00:00:00Z: nothing says where its bytes are in their object: object 1",
    ),
    damage(
        concat!("UPDATE inode SET perm = 99 WHERE node = ", node!("pipe")),
        "references: \"homes/bob/pipe\" as of 2026-11-01T00:00:00Z: its owner and mode are not there: perm 99",
    ),
    damage(
        "DELETE FROM content WHERE bytes = CAST('notes' AS BLOB)",
        "references: \"homes/alice/to-notes\" as of 2026-11-01T00:00:00Z: what it keeps in the catalog is not there: content 1",
    ),
    damage(
        concat!("DELETE FROM xattr_node WHERE node = ", node!("bob")),
        "references: \"homes/bob\" as of 2026-11-01T00:00:00Z: it has extended attributes, and is not among those that have",
    ),
    damage(
        concat!("UPDATE inode SET bytes = 77 WHERE node = ", node!("back")),
        "numbers: \"homes/alice/back\" as of 2026-11-03T00:00:00Z: its bytes came with a generation that never was: bytes of generation 77 of 5",
    ),
    damage(
        "UPDATE source SET next_node = next_node - 1 WHERE name = 'web'",
        "numbers: \"web/public/img/logo\" as of 2026-11-01T00:00:00Z: its number would be given out again: the next one is 131076",
    ),
    // What is shared.
    damage(
        "UPDATE xattr_item SET value = x'02' WHERE name = CAST('user.a' AS BLOB)",
        "interned: extended attributes are not those of their digest: xattr_set 1",
    ),
    damage(
        "UPDATE xattr_set SET has_acl = 0 WHERE has_acl",
        "interned: an ACL is there and is not marked, or is marked and is not there: xattr_set 1",
    ),
    damage(
        "UPDATE perm SET xattr = 99 WHERE id = 1",
        "references: owner and mode refer to attributes that are not there: perm 1, xattr_set 99",
    ),
    damage("UPDATE perm SET mode = 420 WHERE id = 1", "words: a mode names no type: perm 1, mode 644"),
    damage(
        "UPDATE odd_name SET text = 'new line'",
        "texts: a name is shown as another text: \"new line\" in place of \"new\\nline\"",
    ),
    damage("DELETE FROM odd_name", "texts: \"homes/alice/new\\nline\" as of 2026-11-01T00:00:00Z: a name has no text"),
    // Generations, objects, copies.
    damage(
        "UPDATE generation SET entries = entries + 1 WHERE id = 8",
        "counts: \"web\" as of 2026-11-03T00:00:00Z: it does not have the names that it says: 6, and 5 are there",
    ),
    damage(
        "UPDATE generation SET size_bytes = size_bytes + 1 WHERE id = 8",
        "counts: \"web\" as of 2026-11-03T00:00:00Z: its files do not have the bytes that it says: 1335, and 1334 are there",
    ),
    damage(
        "UPDATE generation SET changed_nodes = 7 WHERE id = 8",
        "counts: \"web\" as of 2026-11-03T00:00:00Z: it did not change what it says: 7, and 2 are noted",
    ),
    damage(
        "UPDATE generation SET number = 2 WHERE id = 8",
        "numbers: \"web\" as of 2026-11-03T00:00:00Z: two generations have the same number or sequence: number 2",
    ),
    damage(
        "UPDATE generation SET status = 'gone' WHERE id = 8",
        "generations: \"web\" as of 2026-11-03T00:00:00Z: a generation has a status that there is not: gone",
    ),
    damage(
        "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'generation'",
        "numbers: a number would be given out twice: generation: 8 is there, and 1 is the last one that was given out",
    ),
    damage(
        "UPDATE object SET at = at + 1 WHERE id = 1",
        "references: \"homes\" as of 2026-11-01T00:00:01Z: an object is not that of its generation: object 1, generation 1",
    ),
    damage(
        "UPDATE object SET parent = 2 WHERE id = 1",
        "references: \"homes\" as of 2026-11-01T00:00:00Z: an object is based on none that is older and of the same disk: object 1, parent 2",
    ),
    damage(
        "UPDATE object SET kind = 'layer' WHERE id = 1",
        "references: \"homes\" as of 2026-11-01T00:00:00Z: an object is a layer of a disk and has none, or has one and is none: object 1, layer",
    ),
    damage(
        "DELETE FROM object WHERE id = 1",
        "references: \"homes\" as of 2026-11-01T00:00:00Z: a generation without an object",
    ),
    damage(
        "UPDATE copy SET store = 9 WHERE id = 1",
        "references: a row refers to one that is not there: row 1 of copy, row of store",
    ),
    damage(
        "UPDATE copy SET state = 'lost' WHERE id = 1",
        "words: a copy, store or object is in a state that there is not: copy 1, lost",
    ),
    damage(
        "UPDATE source SET uuid = x'00' WHERE name = 'web'",
        "words: \"web\": a mark or digest of another length: uuid",
    ),
    damage(
        "INSERT INTO object_path VALUES (99, 65537, x'61')",
        "references: \"homes/node 65537\": a path in an object that is not there, or is another source's: object 99",
    ),
    damage(
        "INSERT INTO disk_volume VALUES (99, 0, 'p1', 1, '', NULL, 1, '', '', '', '', '', '')",
        "references: a volume of no generation: disk_volume 99, p1",
    ),
    damage("INSERT INTO disk_file VALUES (1, 0, x'2f61', 1, 0, 0)", "references: a file of no layer: disk_file 1, 0"),
    damage(
        "INSERT INTO disk_layer VALUES (1, 'raw', NULL, NULL, 5, x'04'); UPDATE object SET kind = 'layer', size = 4096 WHERE id = 1",
        "layers: \"homes\" as of 2026-11-01T00:00:00Z: the runs of a layer cannot be read: object 1, a stored map ends early or contradicts itself at byte 1",
    ),
    damage(
        "INSERT INTO digest VALUES (65541, 9, zeroblob(32), NULL, 1)",
        "references: \"homes/node 65541\": a digest of bytes that no version has: bytes 9",
    ),
    damage(
        "INSERT INTO pin VALUES (1, 5, 'keep')",
        "references: \"homes\" as of 1970-01-01T00:00:05Z: a label of a generation that never was: keep",
    ),
    damage(
        "INSERT INTO finding(source, at, number, kind, path, detail) VALUES (1, 5, 1, 'gap', x'', '')",
        "references: \"homes\" as of 1970-01-01T00:00:05Z: a finding of no generation: number 1",
    ),
    damage(
        "INSERT INTO doubt VALUES (65537, 1793491205, 253402300799, 0, '')",
        "spans: \"homes/alice\" as of 2026-11-01T00:00:05Z: a doubt begins or ends at no generation: from 1793491205 to 253402300799",
    ),
    damage(
        "INSERT INTO kept VALUES (65537, x'61', 1793491205, 253402300799)",
        "spans: \"homes/alice\" as of 2026-11-01T00:00:05Z: a name begins or ends to be kept at no generation: from 1793491205 to 253402300799",
    ),
    damage(
        "INSERT INTO kept VALUES (65537, x'61', 1793491200, 1793577600), (65537, x'61', 1793577600, 253402300799)",
        "doubts: \"homes/alice\" as of 2026-11-02T00:00:00Z: two rows of a doubt or a kept name that are one, or hold at once: born 1793491200 and 1793577600",
    ),
    damage(
        "INSERT INTO kept VALUES (99, x'61', 1793491200, 253402300799)",
        "references: a kept name of a directory that is not there: node 99",
    ),
    deep(
        "INSERT INTO kept VALUES (65536, CAST('alice' AS BLOB), 1793577600, 253402300799)",
        "doubts: \"homes/alice\" as of 2026-11-02T00:00:00Z: kept, and the generation before has no such name in doubt",
    ),
    deep(
        "INSERT INTO kept VALUES (65536, x'61', 1793577600, 253402300799)",
        "doubts: \"homes/a\" as of 2026-11-02T00:00:00Z: kept, and not there",
    ),
    damage(
        "UPDATE identity SET node = 65537 WHERE inode = 5",
        "references: \"web/node 65537\": an identity of a node that is not there, or is another source's: inode number 5",
    ),
    damage(
        "INSERT INTO inode(node, born, perm, size, mtime, mtime_ns, ctime_ns, nlink, place) VALUES (7, 1793491200, 1, 0, 0, 0, 0, 1, 0)",
        "references: a node of no source: node 7: 1 rows of inode",
    ),
    damage("DROP VIEW deleted", "schema: not there: view deleted"),
    damage(
        "CREATE TRIGGER t AFTER INSERT ON generation BEGIN DELETE FROM dirent; END",
        "schema: more than this format has: trigger t",
    ),
    damage(
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('view', 'sqlite_own', 'sqlite_own', 0, 'CREATE VIEW sqlite_own AS SELECT 1')",
        "schema: more than this format has: view sqlite_own",
    ),
    damage(
        "ALTER TABLE kept RENAME TO was; CREATE VIEW kept AS SELECT * FROM was",
        "schema: more than this format has: view kept",
    ),
    // What is opened.
    damage("UPDATE copy SET path = CAST('../../etc' AS BLOB)", "paths: a path leaves its place: \"../../etc\" in copy"),
    damage("UPDATE copy SET path = CAST('/etc' AS BLOB)", "paths: a path leaves its place: \"/etc\" in copy"),
    damage(
        "UPDATE store SET path = CAST('backup' AS BLOB)",
        "paths: a path does not begin at the top: \"backup\" in store",
    ),
    damage(
        "UPDATE store SET path = CAST('/backup/../etc' AS BLOB)",
        "paths: a path does not begin at the top: \"/backup/../etc\" in store",
    ),
    damage(
        "UPDATE source SET name = '../' || char(27) || '[2J' WHERE name = 'web'",
        "words: \"../\\x1b[2J\": a source has a name that none can have: ../\\x1b[2J",
    ),
    // How hot directories are listed.
    damage(
        "UPDATE dirent SET fork = fork + 1 WHERE name = CAST('0000' AS BLOB)",
        "forks: \"homes/spool/0000\" as of 2026-11-01T00:00:00Z: not where the listing of its directory looks for it: fork 1793523713, born 1793491200, died 1793577600",
    ),
    damage(
        "UPDATE directory_history SET hot = 0",
        "forks: \"homes/spool/0000\" as of 2026-11-01T00:00:00Z: not where the listing of its directory looks for it: fork 1793523712, born 1793491200, died 1793577600",
    ),
    damage(
        "DELETE FROM instant_fork WHERE at = 1793491200 AND fork = 0",
        "forks: \"homes\" as of 2026-11-01T00:00:00Z: the forks of an instant are not its own: 1 are not there and 0 are too many",
    ),
    // Notes.
    damage(
        "INSERT INTO change VALUES (1, 1793491200, 65537, 4)",
        "notes: \"homes\" as of 2026-11-01T00:00:00Z: the oldest generation has notes",
    ),
    damage(
        "INSERT INTO change VALUES (1, 1793491205, 65537, 4)",
        "notes: \"homes\" as of 2026-11-02T00:00:00Z: notes of a generation that is not there: at 1793491205",
    ),
    deep(
        concat!("DELETE FROM change WHERE node = ", node!("notes")),
        "notes: \"homes/alice/notes\" as of 2026-11-02T00:00:00Z: what is noted is not what changed: noted 0, found 2",
    ),
    deep(
        concat!("UPDATE change SET op = 9 WHERE node = ", node!("notes")),
        "notes: \"homes/alice/notes\" as of 2026-11-02T00:00:00Z: what is noted is not what changed: noted 9, found 2",
    ),
    deep(
        "INSERT INTO change SELECT 1, 1793577600, node, 4 FROM dirent WHERE name = CAST('pipe' AS BLOB)",
        "notes: \"homes/bob/pipe\" as of 2026-11-02T00:00:00Z: noted, and nothing changed: noted 4",
    ),
    // What nothing but the state says.
    deep(concat!("UPDATE inode SET size = 1 WHERE node = ", node!("pipe")), STATE),
    deep(concat!("UPDATE inode SET mtime_ns = mtime_ns + 1 WHERE node = ", node!("pipe")), STATE),
    deep("UPDATE dirent SET name = CAST('pipf' AS BLOB) WHERE name = CAST('pipe' AS BLOB)", STATE),
    deep("UPDATE content SET bytes = CAST('nodes' AS BLOB) WHERE bytes = CAST('notes' AS BLOB)", STATE),
    deep("UPDATE perm SET xattr = 2 WHERE xattr = 1", STATE),
    deep("UPDATE perm SET uid = 4242 WHERE xattr = 1 AND uid = 1000", STATE),
    deep("UPDATE inode SET content = content + 1 WHERE place = 5", STATE),
];

const STATE: &str = "state: \"homes\" as of 2026-11-01T00:00:00Z: it does not show what was published";

#[test]
fn damage_is_reported_with_the_check_that_found_it_and_its_place() {
    let site = Site::filled();
    let sound = site.at_rest();
    let mut missed = String::new();
    for Damage { sql, deep, line } in DAMAGES {
        std::fs::write(site.catalog(), &sound).unwrap();
        site.damage(sql);
        let (lines, _) = site.check(*deep);
        if !lines.iter().any(|found| found == line) {
            writeln!(missed, "after {sql}\nwanted {line}\nfound {}\n", lines.join("\n      ")).unwrap();
        }
    }
    assert_eq!(missed, "");
}

#[test]
fn the_first_twenty_of_a_kind_are_told_and_the_rest_is_counted() {
    let site = Site::filled();
    site.damage("DELETE FROM inode WHERE size = 7 AND 0 OR node IN (SELECT node FROM dirent WHERE name LIKE '00%')");
    let (lines, checked) = site.check(false);
    let missing = "versions: no version: ";
    assert_eq!(lines.iter().filter(|line| line.ends_with(": no version")).count() as u64, TOLD_MAX);
    let (code, out, _) = site.asof(&["check"]);
    assert_eq!(code, 1);
    assert!(out.ends_with(&format!("{missing}80 more\n")), "{out}");
    assert!(checked.untold.contains(&("versions", "no version", 80)), "{:?}", checked.untold);
}

#[test]
fn violations_are_printed_one_a_line_or_as_json() {
    let site = Site::filled();
    site.damage(concat!("DELETE FROM inode WHERE node = ", node!("pipe")));
    let line = "versions: \"homes/bob/pipe\" as of 2026-11-01T00:00:00Z: no version\n";
    let said = site.asof(&["check"]);
    assert_eq!(said, (1, line.to_owned(), "checked 8 generations of 2 sources: 1 violation\n".to_owned()));
    let (code, json, _) = site.asof(&["check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["violation_count"]), (1, &1.into()));
    let expected = serde_json::json!({
        "check": "versions", "source": "homes", "taken_at": "2026-11-01T00:00:00Z", "taken_at_unix": FIRST, "path": "bob/pipe",
        "what": "no version", "detail": "",
    });
    assert_eq!(json["violations"], serde_json::json!([expected]));
}

#[test]
fn a_catalog_that_cannot_be_opened_is_not_checked() {
    let site = Site::filled();
    std::fs::write(site.catalog(), b"no database at all, and longer than a header of one has to be....").unwrap();
    let (code, out, err) = site.asof(&["check"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
}

#[test]
fn of_a_torn_catalog_every_verb_says_what_to_do_with_it() {
    let site = Site::filled();
    let whole = std::fs::read(site.catalog()).unwrap();
    let tear = |page: usize| {
        let mut torn = whole.clone();
        torn[page * 4096 + if page == 0 { 100 } else { 0 }..][..3996].fill(0xff);
        std::fs::write(site.catalog(), torn).unwrap();
    };
    let hint = format!(
        "hint: move {:?} away, and what is there of its -wal, -shm and -journal with it; then asof",
        site.catalog()
    );
    let mut codes = Vec::new();
    for page in (1..whole.len() / 4096).step_by(7) {
        tear(page);
        let (code, out, err) = site.asof(&["check"]);
        assert!(code == 0 || err.contains(&hint), "page {page}: {code} {out} {err}");
        codes.push(code);
    }
    // A page of which nothing is used may hold anything; what is damaged elsewhere is read around.
    assert!(codes.iter().filter(|code| **code == 1).count() > codes.len() / 2, "{codes:?}");
    tear(0);
    let (code, out, err) = site.asof(&["check"]);
    assert!(code == 1 && out.contains("malformed") && err.contains(&hint), "{code} {out} {err}");
    for verb in [["ls"], ["index"]] {
        let (code, _, err) = site.asof(&verb);
        assert!(code == 2 && err.contains("malformed") && err.contains(&hint), "{verb:?}: {code} {err}");
    }
}

#[test]
fn a_generation_that_is_being_made_is_no_violation() {
    let site = Site::filled();
    // What a run that was killed leaves: a name closed, a name opened, a version written, all at an instant that nobody sees.
    let began = FIRST + 9 * DAY;
    site.damage(&format!(
        "INSERT INTO generation(source, taken_at, number, sequence, level, status, first_content) VALUES (1, {began}, 6, 6, 'full', 'creating', 1); \
         UPDATE source SET last_number = 6, last_sequence = 6, next_node = next_node + 1 WHERE id = 1; \
         INSERT INTO identity(source, inode, born_ns, node) SELECT 2, 77, 7, next_node - 1 FROM source WHERE id = 2; \
         DELETE FROM identity WHERE inode = 77; \
         UPDATE dirent SET died = {began} WHERE parent = (SELECT node FROM dirent WHERE name = CAST('alice' AS BLOB)) AND name = CAST('back' AS BLOB); \
         INSERT INTO inode(node, born, perm, size, mtime, mtime_ns, ctime_ns, nlink, place) \
           SELECT next_node - 1, {began}, 1, 5, 0, 0, 0, 1, 1 FROM source WHERE id = 1; \
         INSERT INTO dirent(parent, name, born, node, kind) \
           SELECT d.node, CAST('back' AS BLOB), {began}, s.next_node - 1, 0 FROM dirent d, source s WHERE d.name = CAST('alice' AS BLOB) AND s.id = 1; \
         INSERT INTO change(source, at, node, op) SELECT 1, {began}, next_node - 1, 9 FROM source WHERE id = 1;"
    ));
    assert_eq!(site.check(true).0, Vec::<String>::new());
}

#[test]
fn a_catalog_without_state_hashes_says_so() {
    let site = Site::filled();
    site.damage("UPDATE generation SET state_hash = NULL");
    let (lines, checked) = site.check(true);
    assert_eq!((lines, checked.uncounted), (Vec::new(), 8));
    let (code, _, err) = site.asof(&["check", "--deep"]);
    assert_eq!(code, 0);
    let told =
        "8 generations without a state hash yet: whether their names and attributes are as published was not checked\n";
    assert_eq!(err, format!("checked 8 generations of 2 sources: nothing is wrong\n{told}"));
}

/// Returns the rows of a query, a line each.
fn sql(catalog: &Path, query: &str) -> Result<Vec<String>, asof::catalog::Error> {
    let mut lines = Vec::new();
    Query::open(catalog, QueryLimits { time: Duration::from_secs(60), memory_bytes: 256 << 20 }, &Dates::utc(Time(0)))?
        .run(query, &mut |_| {}, &mut |row| {
            let cell = |column: &Column| match column {
                Column::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => format!("{other:?}"),
            };
            lines.push(row.iter().map(cell).collect::<Vec<_>>().join(" "));
            ControlFlow::Continue(())
        })?;
    Ok(lines)
}

/// All that the views and the reader answer about every generation; without what belongs to a copy and not to the tree (ctime,
/// allocated bytes), and without where bytes are.
fn answers(catalog: &Path) -> Result<String, asof::catalog::Error> {
    let mut text = String::new();
    for query in [
        "SELECT source, taken_at, path, name, hex(name_raw), kind, size_bytes, mtime, mtime_unix, mtime_ns, mode, uid, gid, nlink, has_xattrs, \
         has_acl, xattr_set, link_target, unreadable, version_since, node, parent FROM files ORDER BY source, taken_at, parent, name_raw",
        "SELECT source, taken_at, path, attribute, hex(value_raw) FROM xattrs ORDER BY source, taken_at, path, attribute",
    ] {
        sql(catalog, query)?.iter().for_each(|line| writeln!(text, "{line}").unwrap());
    }
    let reader = Reader::open(catalog)?;
    for source in reader.sources()? {
        for generation in reader.generations(source.id)? {
            let at = generation.taken_at;
            let top = reader.known_node(source.root, at)?;
            let mut waiting = VecDeque::from([source.root]);
            writeln!(text, "{} {at} {:?} {:?} {}", source.name, top.mtime, reader.perm(top.perm)?, top.nlink).unwrap();
            while let Some(dir) = waiting.pop_front() {
                let mut entries = Vec::new();
                reader.list(dir, at, None, usize::MAX, |entry| {
                    entries.push(entry);
                    ControlFlow::Continue(())
                })?;
                for entry in entries {
                    let found = reader.lookup(dir, entry.name.as_bytes(), at)?;
                    assert_eq!(found.map(|(node, _)| node), Some(entry.node), "{} is listed", entry.name);
                    let (row, perm) = (&entry.row, reader.perm(entry.row.perm)?);
                    let target = match (entry.kind, row.place) {
                        (Kind::Symlink, asof::catalog::Place::Inline(id)) => reader.inline(id)?,
                        _ => Vec::new(),
                    };
                    let xattrs = reader.xattrs(perm.xattr)?;
                    let mode = (perm.mode, perm.uid, perm.gid);
                    let stat = (row.size_bytes, row.mtime, row.nlink, xattrs, target);
                    writeln!(text, "{dir} {} {} {:?} {mode:?} {stat:?}", entry.name, entry.node, entry.kind).unwrap();
                    if entry.kind == Kind::Directory {
                        waiting.push_back(entry.node);
                    }
                }
            }
        }
    }
    Ok(text)
}

#[test]
fn of_200_changed_bytes_none_changes_an_answer_without_being_found() {
    let site = Site::filled();
    assert_eq!(site.check(true).0, Vec::<String>::new());
    let (sound, expected) = (site.at_rest(), answers(&site.catalog()).unwrap());
    let mut dice = Dice::new(std::env::var("SEED").map_or(1, |s| s.parse().unwrap()));
    let mut found = 0;
    for flip in 0..std::env::var("FLIPS").map_or(200, |s| s.parse().unwrap()) {
        let (place, bits) = (dice.roll(sound.len()), 1 + dice.roll(255) as u8);
        let mut damaged = sound.clone();
        damaged[place] ^= bits;
        let catalog = site.dir.path().join(format!("damaged-{flip}.db"));
        std::fs::write(&catalog, damaged).unwrap();
        if violations(&catalog, true).is_ok_and(|(lines, _)| lines.is_empty()) {
            let answers = answers(&catalog).unwrap_or_else(|e| format!("{e:?}"));
            let differs = answers.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
            let flip = format!("byte {place} (page {}) changed by {bits:#04x}", place / 4096 + 1);
            assert!(answers == expected, "{flip} was not found, and changes {differs:?}");
        } else {
            found += 1;
        }
        std::fs::remove_file(&catalog).unwrap();
    }
    assert!(found > 60, "{found} of 200 were found: many bytes of the file mean something");
}
