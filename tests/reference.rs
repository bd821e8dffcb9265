//! The catalog against a naive model: random histories, kept once by asof and once as plain trees.
//!
//! Every generation must read back equal, whatever the order in which the copies were indexed: names, attributes, link
//! counts, hard links, targets, extended attributes, and the bytes where there is a disk. What the catalog says of the
//! steps between generations (table `change`, the public views) must be what the plain trees say.
//!
//! Histories in memory are told by a [`Script`] in place of a disk, so that inode numbers can be chosen and thousands of
//! steps take seconds; histories on a disk are real copies, independent ones and link farms. A history is made
//! of its seed alone; a failure names the seed, and `ASOF_SEED=N` runs that one only.

mod common;

use asof::catalog::{Column, NewSource, Query, QueryLimits, Reader, SourceRow, Writer};
use asof::clock::Fixed;
use asof::index::{NewCopy, Rules, index_copy};
use asof::model::{
    Attrs, EntryName, FileKey, Kind, ListedEntry, Listing, RelPath, SourceKind, Time, Timestamp, XattrSet, escape_bytes,
};
use asof::monitor::Void;
use asof::source::{self, Discovered, Found, ScanStats, Source};
use asof::view::{Ino, Looked, Tree};
use common::{NOW, Picture, PlainTree, Shown, World, assert_same, joined, listing, picture_of_copy, picture_of_view};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// 2026-01-01T00:00:00Z; generation `n` of a history in memory is taken `n` days later.
const FIRST: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

/// Names that histories use: few, so that they meet often, and odd ones among them.
const NAMES: [&[u8]; 14] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"ab",
    b"a.b",
    b"\xff\xfe",
    b"new\nline",
    b"back\\slash",
    "\u{e9}t\u{e9}".as_bytes(),
    b" ",
    b"-rf",
    b"...",
];

/// A stream of numbers that is the same for the same seed (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % sides
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.roll(of.len())].clone()) }
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.roll(last + 1));
        }
    }
}

/// A file, directory or other node of a plain tree.
#[derive(Clone, Debug)]
struct PlainNode {
    attrs: Attrs,
    /// What a directory holds: number of each name's node.
    children: BTreeMap<Vec<u8>, u64>,
}

/// The number of the root of every plain tree.
const ROOT: u64 = 2;

/// A tree as a file system would hold it: names, and nodes by number.
#[derive(Clone, Debug)]
struct Plain {
    nodes: BTreeMap<u64, PlainNode>,
}

impl Plain {
    /// Returns every path with its node's number, directories before what they hold; the root's path is empty.
    fn paths(&self) -> Vec<(Vec<u8>, u64)> {
        let mut paths = vec![(Vec::new(), ROOT)];
        let mut next = 0;
        while next < paths.len() {
            let (path, number) = paths[next].clone();
            paths.extend(self.nodes[&number].children.iter().map(|(name, child)| (joined(&path, name), *child)));
            next += 1;
        }
        paths
    }

    fn picture(&self, with_ctime: bool) -> Picture {
        let paths = self.paths();
        let mut firsts: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (path, number) in &paths {
            let first = firsts.entry(*number).or_insert_with(|| path.clone());
            if path < first {
                first.clone_from(path);
            }
        }
        let shown = |number: u64| {
            let attrs = &self.nodes[&number].attrs;
            Shown {
                kind: attrs.kind(),
                perm: attrs.mode & 0o7777,
                uid: attrs.uid,
                gid: attrs.gid,
                size_bytes: attrs.size_bytes,
                mtime: (attrs.mtime.seconds, attrs.mtime.nanos),
                ctime: with_ctime.then_some((attrs.ctime.seconds, attrs.ctime.nanos)),
                nlink: attrs.nlink,
                rdev: attrs.rdev,
                target: attrs.target.clone(),
                xattrs: attrs.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
                same_file_as: firsts[&number].clone(),
                bytes: None,
            }
        };
        paths.into_iter().map(|(path, number)| (path, shown(number))).collect()
    }

    fn directories(&self) -> Vec<u64> {
        self.nodes.iter().filter(|(_, node)| node.attrs.kind() == Kind::Directory).map(|(number, _)| *number).collect()
    }

    /// Returns every name: directory, name, node.
    fn names(&self) -> Vec<(u64, Vec<u8>, u64)> {
        let of = |(dir, node): (&u64, &PlainNode)| {
            node.children.iter().map(|(name, child)| (*dir, name.clone(), *child)).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(of).collect()
    }

    fn is_below(&self, dir: u64, top: u64) -> bool {
        dir == top || self.nodes[&top].children.values().any(|child| self.is_below(dir, *child))
    }

    /// Drops what has no name any more and counts the names of the rest.
    fn settle(&mut self) {
        let paths = self.paths();
        let mut names: BTreeMap<u64, u32> = BTreeMap::new();
        paths.iter().for_each(|(_, number)| *names.entry(*number).or_default() += 1);
        self.nodes.retain(|number, _| names.contains_key(number));
        let kinds: BTreeMap<u64, Kind> = self.nodes.iter().map(|(number, node)| (*number, node.attrs.kind())).collect();
        for (number, node) in &mut self.nodes {
            let below = node.children.values().filter(|child| kinds[child] == Kind::Directory).count() as u32;
            node.attrs.nlink = if node.attrs.kind() == Kind::Directory { 2 + below } else { names[number] };
        }
    }
}

/// What kind of history to make.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    seed: u64,
    generations: usize,
    /// Changes before the first generation.
    changes_first: usize,
    /// At most so many changes before each other one.
    changes_max: usize,
    /// Whether copies keep inode numbers.
    inode_identity: bool,
}

/// A plain tree under change.
struct Maker {
    dice: Dice,
    tree: Plain,
    past: Vec<Plain>,
    next_number: u64,
    ticks: i64,
}

impl Maker {
    fn history(recipe: Recipe) -> Vec<Plain> {
        let mut maker = Self {
            dice: Dice::new(recipe.seed),
            tree: Plain { nodes: BTreeMap::new() },
            past: Vec::new(),
            next_number: ROOT + 1,
            ticks: 0,
        };
        let attrs = maker.attrs(Kind::Directory);
        maker.tree.nodes.insert(ROOT, PlainNode { attrs, children: BTreeMap::new() });
        for generation in 0..recipe.generations {
            let changes = if generation == 0 { recipe.changes_first } else { maker.dice.roll(recipe.changes_max + 1) };
            for _ in 0..changes {
                maker.change();
                maker.tree.settle();
            }
            maker.tree.settle();
            maker.past.push(maker.tree.clone());
        }
        maker.past
    }

    fn now(&mut self) -> Timestamp {
        self.ticks += 1;
        // Every tenth file is older than 1970.
        let seconds = if self.dice.roll(10) == 0 { -1_000_000 } else { 1_700_000_000 } + self.ticks;
        Timestamp { seconds, nanos: (self.ticks * 7_919_333 % 1_000_000_000) as u32 }
    }

    fn attrs(&mut self, kind: Kind) -> Attrs {
        let now = self.now();
        let target =
            if kind == Kind::Symlink { vec![b"../x".to_vec(), b"/etc/\xffpasswd".to_vec()] } else { vec![vec![]] };
        let target = target[self.dice.roll(target.len())].clone();
        let size_bytes = match kind {
            Kind::File => self.dice.roll(3) as u64 * 5000,
            Kind::Symlink => target.len() as u64,
            Kind::Directory => 4096,
            _ => 0,
        };
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        Attrs {
            mode: kind.mode_bits() | [0o755, 0o4711, 0o1777][self.dice.roll(3)],
            uid: [0, 1000, u32::MAX - 1][self.dice.roll(3)],
            gid: [0, 1000][self.dice.roll(2)],
            size_bytes,
            allocated_bytes: None,
            mtime: now,
            ctime: now,
            nlink: 1,
            rdev: if is_device { [0x0103, 0x8000_0010_0003][self.dice.roll(2)] } else { 0 },
            xattrs: if self.dice.roll(6) == 0 { self.xattrs() } else { XattrSet::default() },
            target,
        }
    }

    fn xattrs(&mut self) -> XattrSet {
        let items = [
            (b"user.comment".to_vec(), b"kept".to_vec()),
            (b"user.\xff".to_vec(), vec![0, 255, 10]),
            (b"system.posix_acl_access".to_vec(), vec![2, 0, 0, 0]),
            (b"trusted.empty".to_vec(), Vec::new()),
        ];
        let count = self.dice.roll(items.len() + 1);
        XattrSet::new(items.into_iter().take(count).collect())
    }

    fn a_name(&mut self) -> Vec<u8> {
        let sides = if self.dice.roll(4) == 0 { NAMES.len() } else { 4 };
        NAMES[self.dice.roll(sides)].to_vec()
    }

    fn a_directory(&mut self) -> u64 {
        let directories = self.tree.directories();
        self.dice.pick(&directories).expect("the root is one")
    }

    fn stamp_directory(&mut self, dir: u64) {
        let now = self.now();
        let attrs = &mut self.tree.nodes.get_mut(&dir).expect("it is a directory of the tree").attrs;
        (attrs.mtime, attrs.ctime) = (now, now);
    }

    fn put(&mut self, dir: u64, name: Vec<u8>, node: u64) {
        self.tree.nodes.get_mut(&dir).expect("it is a directory of the tree").children.insert(name, node);
        self.stamp_directory(dir);
    }

    fn take(&mut self, dir: u64, name: &[u8]) {
        self.tree.nodes.get_mut(&dir).expect("it is a directory of the tree").children.remove(name);
        self.stamp_directory(dir);
    }

    fn create(&mut self, dir: u64, name: Vec<u8>, kind: Kind) {
        let attrs = self.attrs(kind);
        let number = self.next_number;
        self.next_number += 1;
        self.tree.nodes.insert(number, PlainNode { attrs, children: BTreeMap::new() });
        self.put(dir, name, number);
    }

    /// Changes one thing, or nothing where the dice ask for what cannot be.
    fn change(&mut self) {
        const KINDS: [Kind; 10] = [
            Kind::File,
            Kind::File,
            Kind::File,
            Kind::Directory,
            Kind::Directory,
            Kind::Symlink,
            Kind::Fifo,
            Kind::Socket,
            Kind::CharDevice,
            Kind::BlockDevice,
        ];
        let names = self.tree.names();
        let any = self.dice.pick(&names);
        let files: Vec<_> =
            names.iter().filter(|(_, _, n)| self.tree.nodes[n].attrs.kind() != Kind::Directory).cloned().collect();
        let file = self.dice.pick(&files);
        match (self.dice.roll(20), any, file) {
            // Also over what has the name: the type of a name changes.
            (0..5, ..) | (_, None, _) => {
                let (dir, name) = (self.a_directory(), self.a_name());
                let kind = KINDS[self.dice.roll(KINDS.len())];
                self.create(dir, name, kind);
            }
            (5..8, Some((_, _, node)), _) => self.alter(node),
            (8..10, Some((dir, name, _)), _) => self.take(dir, &name),
            (10..13, Some((dir, name, node)), _) => {
                let (to, to_name) = (self.a_directory(), self.a_name());
                if !self.tree.is_below(to, node) {
                    self.take(dir, &name);
                    self.put(to, to_name, node);
                    let now = self.now();
                    self.tree.nodes.get_mut(&node).expect("it has a name").attrs.ctime = now;
                }
            }
            (13..15, _, Some((_, _, node))) => {
                let (to, to_name) = (self.a_directory(), self.a_name());
                self.put(to, to_name, node);
            }
            // A name of a file gets a file of its own that looks the same, as a link is broken.
            (15, _, Some((dir, name, node))) => {
                let number = self.next_number;
                self.next_number += 1;
                let copy = self.tree.nodes[&node].clone();
                self.tree.nodes.insert(number, copy);
                self.put(dir, name, number);
            }
            (16, _, Some(_)) => {
                let two = [self.dice.pick(&files), self.dice.pick(&files)];
                if let [Some((dir, name, node)), Some((other_dir, other_name, other))] = two {
                    self.put(dir, name, other);
                    self.put(other_dir, other_name, node);
                }
            }
            (17.., ..) => self.bring_back(),
            _ => {}
        }
    }

    fn alter(&mut self, node: u64) {
        let kind = self.tree.nodes[&node].attrs.kind();
        let fresh = self.attrs(kind);
        let which = self.dice.roll(5);
        let xattrs = self.xattrs();
        let attrs = &mut self.tree.nodes.get_mut(&node).expect("it has a name").attrs;
        attrs.ctime = fresh.ctime;
        match which {
            0 => (attrs.mode, attrs.uid, attrs.gid) = (fresh.mode, fresh.uid, fresh.gid),
            1 => attrs.xattrs = xattrs,
            2 => attrs.mtime = fresh.mtime,
            3 if kind == Kind::File => (attrs.size_bytes, attrs.mtime) = (fresh.size_bytes + 1, fresh.mtime),
            3 if kind == Kind::Directory => attrs.size_bytes += 4096,
            _ => {}
        }
    }

    /// Puts a file back where it was in an earlier generation and as it was then, number and times included.
    fn bring_back(&mut self) {
        let Some(then) = self.dice.pick(&self.past) else { return };
        let Some((dir, name, number)) = self.dice.pick(&then.names()) else { return };
        let node = then.nodes[&number].clone();
        let kind_now = self.tree.nodes.get(&dir).map(|n| n.attrs.kind());
        let is_taken = self.tree.nodes.contains_key(&number);
        if kind_now == Some(Kind::Directory) && !is_taken && node.attrs.kind() != Kind::Directory {
            self.tree.nodes.insert(number, node);
            self.put(dir, name, number);
        }
    }
}

/// A source whose copies are plain trees in memory.
struct Script {
    copies: BTreeMap<Time, Plain>,
    recipe: Recipe,
}

impl Script {
    /// Returns who a node is inside the copy of `at`: the same in all copies where they keep inode numbers, and a number
    /// of this copy only where they do not.
    fn key(&self, at: Time, number: u64) -> FileKey {
        if self.recipe.inode_identity {
            // Every other history lies on a file system that tells no birth time.
            return FileKey { device: at.0 as u64, inode: number, born_ns: (self.recipe.seed % 2 * number) as i64 };
        }
        FileKey { device: 7, inode: number ^ ((at.0 / DAY) as u64).wrapping_mul(0x5555), born_ns: at.0 }
    }

    /// Returns the link count that the file system tells: in a link farm it counts names of other copies too.
    fn told_nlink(&self, attrs: &Attrs) -> u32 {
        let is_farm = !self.recipe.inode_identity && self.recipe.seed % 3 == 0;
        if is_farm && attrs.kind() != Kind::Directory { attrs.nlink + 5 } else { attrs.nlink }
    }
}

impl Source for Script {
    fn generations(&self) -> Result<Discovered, source::Error> {
        Ok(Discovered::default())
    }

    fn scan(
        &self,
        found: &Found,
        each: &mut dyn FnMut(Listing) -> ControlFlow<()>,
    ) -> Result<ScanStats, source::Error> {
        let tree = &self.copies[&found.taken_at];
        let told = |number: u64| {
            let attrs = tree.nodes[&number].attrs.clone();
            (self.key(found.taken_at, number), Attrs { nlink: self.told_nlink(&attrs), ..attrs })
        };
        let directories = tree.paths().into_iter().filter(|(_, n)| tree.nodes[n].attrs.kind() == Kind::Directory);
        for (place, (path, number)) in directories.enumerate() {
            let entry = |(name, child): (&Vec<u8>, &u64)| {
                let (key, attrs) = told(*child);
                ListedEntry { name: EntryName::new(name).expect("a test name is one"), key, attrs, unreadable: false }
            };
            let listing = Listing {
                number: place as u64,
                path: RelPath::parse(&path).expect("a test path is one"),
                root: (number == ROOT).then(|| told(ROOT)),
                entries: tree.nodes[&number].children.iter().map(entry).collect(),
                complete: true,
                findings: Vec::new(),
            };
            if each(listing).is_break() {
                break;
            }
        }
        Ok(ScanStats::default())
    }
}

/// A catalog that histories in memory are indexed into.
struct Bench {
    folder: tempfile::TempDir,
    script: Script,
    writer: Writer,
    source: SourceRow,
}

impl Bench {
    fn new(recipe: Recipe, history: &[Plain]) -> Self {
        // In memory where there is such a place: each generation is synced, and a disk would be waited for.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a temporary folder can be made");
        let path = folder.path().join("catalog.db");
        Writer::create(&path).expect("a new catalog can be made");
        let mut writer = Writer::open(&path).expect("it can be written");
        let new = NewSource { name: "homes", kind: SourceKind::Nfs, settings: "{}", added_at: Time(0) };
        writer.add_source(&new).expect("a source can be added");
        let source = Reader::open(&path).and_then(|reader| reader.source("homes")).expect("it was added");
        let copies = history.iter().enumerate().map(|(n, tree)| (instant(n), tree.clone())).collect();
        Self { folder, script: Script { copies, recipe }, writer, source }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    fn index(&mut self, generation: usize) -> u64 {
        let found = Found { taken_at: instant(generation), path: PathBuf::from(format!("/copies/{generation}")) };
        let copy = NewCopy { source: &self.source, found: &found, store: Path::new("/copies") };
        let rules = Rules { inode_identity: self.script.recipe.inode_identity, checksum: false };
        index_copy(&mut self.writer, &copy, &self.script, rules, &Fixed(NOW), &Void)
            .expect("it can be indexed")
            .changed_nodes
    }

    fn tree(&self) -> Tree {
        Tree::over(&self.path(), 8, Arc::new(Fixed(NOW)), jiff::tz::TimeZone::UTC).expect("a tree over the catalog")
    }

    /// Returns the rows that `sql` gives.
    fn ask(&self, sql: &str) -> Vec<Vec<Column>> {
        let mut query =
            Query::open(&self.path(), QueryLimits { time: Duration::from_secs(600) }).expect("it can be read");
        let mut rows = Vec::new();
        let mut each = |row| {
            rows.push(row);
            ControlFlow::Continue(())
        };
        query.run(sql, &mut |_| {}, &mut each).unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows
    }
}

fn instant(generation: usize) -> Time {
    Time(FIRST + generation as i64 * DAY)
}

/// Returns the top directory of generation `n`.
fn root_of(tree: &Tree, n: usize) -> Ino {
    common::ino_of(tree, &format!("homes/@{}", instant(n).view_name())).expect("a generation that was indexed is there")
}

/// Returns the node of every path.
fn nodes_of(tree: &Tree, root: Ino) -> BTreeMap<Vec<u8>, i64> {
    const NODE_MASK: u64 = (1 << 40) - 1;
    let number = |ino: Ino| (ino.0 & NODE_MASK) as i64;
    let mut nodes = BTreeMap::from([(Vec::new(), number(root))]);
    let mut todo = vec![(Vec::new(), root)];
    while let Some((path, dir)) = todo.pop() {
        for (name, stat) in listing(tree, dir) {
            let below = joined(&path, &name);
            nodes.insert(below.clone(), number(stat.ino));
            if stat.kind == Kind::Directory {
                todo.push((below, stat.ino));
            }
        }
    }
    nodes
}

/// Checks that no name is found that is not there.
fn assert_nothing_more(tree: &Tree, root: Ino, plain: &Plain, what: &dyn Display) {
    let nodes = nodes_of(tree, root);
    let view = root.0 & !((1 << 40) - 1);
    for (path, number) in plain.paths() {
        let node = &plain.nodes[&number];
        if node.attrs.kind() != Kind::Directory {
            continue;
        }
        for name in NAMES.iter().filter(|name| !node.children.contains_key(**name)) {
            let dir = Ino(view | nodes[&path] as u64);
            let found = tree.lookup(dir, name).expect("a look-up answers");
            assert!(
                matches!(found, Looked::Missing(_)),
                "{what}: {:?} in {:?}",
                escape_bytes(name),
                escape_bytes(&path)
            );
        }
    }
}

const CREATED: i64 = 1;
const CONTENT: i64 = 2;
const ATTRIBUTES: i64 = 4;
const LINKED: i64 = 8;
const UNLINKED: i64 = 16;

/// One generation with the nodes that the catalog gave it.
struct Numbered<'h> {
    plain: &'h Plain,
    nodes: BTreeMap<Vec<u8>, i64>,
    /// Directory and name of every name of a node, with its path.
    names: BTreeMap<i64, BTreeMap<(i64, Vec<u8>), Vec<u8>>>,
    attrs: BTreeMap<i64, Attrs>,
}

impl<'h> Numbered<'h> {
    fn new(plain: &'h Plain, nodes: BTreeMap<Vec<u8>, i64>) -> Self {
        let mut names: BTreeMap<i64, BTreeMap<(i64, Vec<u8>), Vec<u8>>> = BTreeMap::new();
        let mut attrs = BTreeMap::new();
        for (path, number) in plain.paths() {
            let node = nodes[&path];
            attrs.insert(node, plain.nodes[&number].attrs.clone());
            let all = names.entry(node).or_default();
            if !path.is_empty() {
                let cut = path.iter().rposition(|b| *b == b'/');
                let (dir, name) = cut.map_or((&b""[..], &path[..]), |cut| (&path[..cut], &path[cut + 1..]));
                all.insert((nodes[dir], name.to_vec()), path.clone());
            }
        }
        Self { plain, nodes, names, attrs }
    }
}

/// Returns what the second generation did to each node of the first, by comparing plain trees.
fn changes_between(before: &Numbered<'_>, after: &Numbered<'_>, inode_identity: bool) -> BTreeMap<i64, i64> {
    let mut changes = BTreeMap::new();
    let none = BTreeMap::new();
    for node in before.names.keys().chain(after.names.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (before.names.get(node).unwrap_or(&none), after.names.get(node).unwrap_or(&none));
        let mut op = 0;
        op |= if new.keys().any(|name| !old.contains_key(name)) { LINKED } else { 0 };
        op |= if old.keys().any(|name| !new.contains_key(name)) { UNLINKED } else { 0 };
        op |= match (before.attrs.get(node), after.attrs.get(node)) {
            (None, Some(_)) => CREATED,
            (Some(old), Some(new)) => difference(old, new, inode_identity),
            _ => 0,
        };
        if op != 0 {
            changes.insert(*node, op);
        }
    }
    changes
}

/// The content of a file is new when its size or time is, of a link when its target is, of a device when its number is; a
/// time of anything but a file is an attribute. The ctime counts where the copies keep it.
fn difference(old: &Attrs, new: &Attrs, inode_identity: bool) -> i64 {
    let is_file = new.kind() == Kind::File;
    let stamp = (old.size_bytes, old.mtime) != (new.size_bytes, new.mtime);
    let content = (is_file && stamp) || old.target != new.target || old.rdev != new.rdev;
    let rights = |a: &Attrs| (a.mode, a.uid, a.gid, a.nlink, a.xattrs.clone());
    let ctime = inode_identity && old.ctime != new.ctime;
    let attributes = rights(old) != rights(new) || (!is_file && stamp) || ctime;
    (if content { CONTENT } else { 0 }) | (if attributes { ATTRIBUTES } else { 0 })
}

/// Checks table `change` for every generation of a history.
fn assert_changes(bench: &Bench, generations: &[(usize, Numbered<'_>)], what: &dyn Display) {
    let inode_identity = bench.script.recipe.inode_identity;
    for (place, (n, after)) in generations.iter().enumerate() {
        let expected = match place {
            0 => BTreeMap::new(),
            place => changes_between(&generations[place - 1].1, after, inode_identity),
        };
        let rows = bench.ask(&format!("SELECT node, op FROM change WHERE at = {} ORDER BY node", instant(*n).0));
        let found: BTreeMap<i64, i64> = rows.iter().map(|row| (integer(&row[0]), integer(&row[1]))).collect();
        if found != expected {
            let of = |node: &i64| {
                let name = |g: &Numbered<'_>| {
                    g.nodes.iter().find(|(_, n)| *n == node).map(|(path, _)| escape_bytes(path).into_owned())
                };
                let before = place.checked_sub(1).and_then(|p| name(&generations[p].1));
                format!(
                    "node {node} ({:?} -> {:?}) found {:?} expected {:?}",
                    before,
                    name(after),
                    found.get(node),
                    expected.get(node)
                )
            };
            let nodes: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
            let wrong: Vec<String> = nodes.into_iter().filter(|n| found.get(n) != expected.get(n)).map(of).collect();
            panic!("{what}: changes of generation {n}: {}", wrong.join("; "));
        }
    }
}

fn integer(column: &Column) -> i64 {
    match column {
        Column::Integer(n) => *n,
        other => panic!("{other:?} is no whole number"),
    }
}

/// Indexes `history` in `order` and compares everything with it after every step.
fn check_history(recipe: Recipe, history: &[Plain], order: &[usize], all_steps: bool) {
    let mut bench = Bench::new(recipe, history);
    let tree = bench.tree();
    let expected: Vec<Picture> = history.iter().map(|plain| plain.picture(recipe.inode_identity)).collect();
    for step in 1..=order.len() {
        let newest = order[step - 1];
        bench.index(newest);
        tree.refresh().expect("the catalog can be read");
        let mut known = order[..step].to_vec();
        known.sort_unstable();
        let is_last = step == order.len();
        let what = |n: usize| format!("{recipe:?} in order {order:?}, after step {step}, generation {n}");
        for n in known.iter().copied().filter(|n| all_steps || is_last || *n == newest) {
            let root = root_of(&tree, n);
            let found = picture_of_view(&tree, root, false, recipe.inode_identity);
            assert_same(&found, &expected[n], &what(n));
            if is_last || n == newest {
                assert_nothing_more(&tree, root, &history[n], &what(n));
            }
        }
        if all_steps || is_last {
            let numbered = |n: usize| (n, Numbered::new(&history[n], nodes_of(&tree, root_of(&tree, n))));
            let generations: Vec<_> = known.iter().map(|n| numbered(*n)).collect();
            assert_changes(&bench, &generations, &what(newest));
            if is_last && recipe.seed % 5 == 0 {
                views::assert_views(&bench, &generations, &what(newest));
            }
        }
    }
}
