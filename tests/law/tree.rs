//! Trees that are told and not walked: what is in a copy, what a walk of it sees, and what a generation has to be.

use crate::dice::Dice;
use asof::model::{
    Attrs, EntryName, FileKey, Finding, FindingKind, Key, Kind, ListedEntry, Listing, RelPath, Rule, Time, Timestamp,
    Walked, XattrSet,
};
use asof::source::{self, Discovered, FileStamp, Found, NoDigest, OpenCopy, ScanStats, Source, TopDirectory};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// 2026-01-01T00:00:00Z; copy `n` is of `n` days later.
pub(crate) const FIRST: i64 = 1_767_225_600;
const DAY: i64 = 86_400;
pub(crate) const NOW: Time = Time(FIRST + 400 * DAY);

/// A file or directory, as it is in one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Contents 0 and 1 look equal by size and mtime.
    pub(crate) content: u8,
    pub(crate) mode: u32,
    pub(crate) comment: bool,
}

/// A whole tree: names (with the directory's node; 0 is the root) and nodes; and what a walk of it does not see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    pub(crate) names: BTreeMap<(u64, &'static str), u64>,
    pub(crate) nodes: BTreeMap<u64, Node>,
    /// Directories that cannot be listed, each with the names that the walk meets all the same.
    pub(crate) closed: BTreeMap<u64, Vec<&'static str>>,
}

const KINDS: [Kind; 5] = [Kind::File, Kind::File, Kind::File, Kind::Directory, Kind::Symlink];

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

impl Plain {
    pub(crate) fn new() -> Self {
        let mut plain = Self::default();
        plain.nodes.insert(0, Node { kind: Kind::Directory, content: 0, mode: 0o755, comment: false });
        plain
    }

    /// Returns every directory with its path, in the order of a walk.
    fn directories(&self) -> Vec<(u64, String)> {
        let mut found = vec![(0, String::new())];
        let mut next = 0;
        while next < found.len() {
            let (dir, path) = found[next].clone();
            next += 1;
            for ((_, name), node) in self.names.range((dir, "")..(dir + 1, "")) {
                if self.nodes[node].kind == Kind::Directory {
                    found.push((*node, join(&path, name)));
                }
            }
        }
        found
    }

    /// Returns what a walk sees of it: what lies in a closed directory is not there, but for what is met all the same.
    fn seen(&self) -> Self {
        let mut seen = self.clone();
        seen.names.retain(|(dir, name), _| self.closed.get(dir).is_none_or(|met| met.contains(name)));
        seen.reap();
        seen
    }

    /// Closes directories, or opens them again.
    pub(crate) fn close_some(&mut self, dice: &mut Dice) {
        self.closed.clear();
        if dice.roll(2) == 0 {
            return;
        }
        for _ in 0..1 + dice.roll(2) {
            let dirs = self.directories();
            let dir = dirs[dice.roll(dirs.len())].0;
            let is_blind = dice.roll(3) != 0;
            let met = NAMES.iter().copied().filter(|_| !is_blind && dice.roll(2) == 0).collect();
            self.closed.insert(dir, met);
        }
    }

    fn is_below(&self, dir: u64, top: u64) -> bool {
        let mut here = dir;
        while here != 0 && here != top {
            here = self.names.iter().find(|(_, node)| **node == here).expect("a directory has a name").0.0;
        }
        here == top
    }

    /// Takes away what is left below directories that are gone.
    fn reap(&mut self) {
        loop {
            let live: Vec<u64> = self.directories().into_iter().map(|(dir, _)| dir).collect();
            let before = self.names.len();
            self.names.retain(|(dir, _), _| live.contains(dir));
            if self.names.len() == before {
                break;
            }
        }
        let named: Vec<u64> = self.names.values().copied().collect();
        self.nodes.retain(|node, _| *node == 0 || named.contains(node));
        let Self { nodes, closed, .. } = self;
        closed.retain(|dir, _| nodes.contains_key(dir));
    }

    /// Changes it `count` times; `next` is the number of the next node. `sides`: 12, or more for more hard links.
    pub(crate) fn mutate(&mut self, dice: &mut Dice, count: usize, sides: usize, next: &mut u64) {
        for _ in 0..count {
            let directories = self.directories();
            let dir = directories[dice.roll(directories.len())].0;
            let slot = (dir, NAMES[dice.roll(NAMES.len())]);
            let there = self.names.get(&slot).copied();
            let files: Vec<u64> =
                self.nodes.iter().filter(|(_, n)| n.kind != Kind::Directory).map(|(n, _)| *n).collect();
            match (dice.roll(sides), there) {
                (0..=2, None) => {
                    let kind = KINDS[dice.roll(KINDS.len())];
                    let content = dice.roll(3) as u8;
                    self.nodes.insert(*next, Node { kind, content, mode: 0o644, comment: false });
                    self.names.insert(slot, *next);
                    *next += 1;
                }
                (3 | 4 | 12.., None) => {
                    if let Some(file) = dice.pick(&files) {
                        self.names.insert(slot, file);
                    }
                }
                (5, None) => {
                    // Renamed, and not below itself.
                    let names: Vec<_> = self.names.keys().copied().collect();
                    let Some(from) = dice.pick(&names) else { continue };
                    let node = self.names[&from];
                    if self.nodes[&node].kind != Kind::Directory || !self.is_below(dir, node) {
                        self.names.remove(&from);
                        self.names.insert(slot, node);
                    }
                }
                (6 | 7, Some(_)) => drop(self.names.remove(&slot)),
                (8, Some(node)) => {
                    // Replaced by something of another type or another file.
                    let kind = KINDS[2 + dice.roll(KINDS.len() - 2)];
                    if self.nodes[&node].kind != Kind::Directory || kind != Kind::Directory {
                        self.nodes
                            .insert(*next, Node { kind, content: dice.roll(3) as u8, mode: 0o600, comment: false });
                        self.names.insert(slot, *next);
                        *next += 1;
                    }
                }
                (9 | 10, Some(node)) => {
                    let (content, flip) = (dice.roll(3) as u8, dice.roll(3));
                    let node = self.nodes.get_mut(&node).expect("a name leads to a node");
                    match flip {
                        0 => node.mode ^= 0o010,
                        1 => node.comment = !node.comment,
                        _ => node.content = content,
                    }
                }
                _ => {}
            }
            self.reap();
        }
    }

    pub(crate) fn attrs(&self, node: u64, copy: usize) -> Attrs {
        let Node { kind, content, mode, comment } = self.nodes[&node].clone();
        // Contents 0 and 1 have one stamp; that of a directory says nothing of what is in it.
        let seconds = if kind == Kind::File { 1_000 + i64::from(content / 2) } else { 900 };
        let mtime = Timestamp { seconds, nanos: 5 };
        let items = if comment { vec![(b"user.comment".to_vec(), b"kept".to_vec())] } else { Vec::new() };
        let names = self.names.values().filter(|n| **n == node).count() as u32;
        Attrs {
            mode: kind.mode_bits() | mode,
            uid: 1000,
            gid: 100,
            size_bytes: match kind {
                Kind::File => 10 + u64::from(content / 2),
                Kind::Symlink => 2,
                _ => 4096,
            },
            allocated_bytes: None,
            mtime,
            ctime: Timestamp { seconds: 2_000 + if copy == SAME_CTIME { 0 } else { copy as i64 }, nanos: 0 },
            // As in a link farm: other copies count.
            nlink: if kind == Kind::Directory { 2 } else { names + 1 },
            rdev: 0,
            xattrs: XattrSet::new(items),
            target: if kind == Kind::Symlink { format!("t{content}").into_bytes() } else { Vec::new() },
        }
    }
}

/// In place of a copy's number: its files have ctimes of their own.
const SAME_CTIME: usize = usize::MAX;

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// A copy that is told and not walked.
pub(crate) struct Told<'t> {
    pub(crate) plain: &'t Plain,
    pub(crate) copy: usize,
    pub(crate) rule: Rule,
    /// Before which listings the walk waits for its disk: whoever waits for the catalog comes in, and what was written is committed.
    pub(crate) pauses: u64,
    /// Is called before each listing, with its number.
    pub(crate) before: &'t (dyn Fn(usize) + Sync),
}

impl Told<'_> {
    fn key(&self, node: u64) -> FileKey {
        // Where inode numbers say nothing every copy has its own.
        let inode = if self.rule.by_inode { node + 10 } else { (node + 10) * 7 + self.copy as u64 };
        FileKey { device: 1, inode, born_ns: 1 }
    }

    fn attrs(&self, node: u64) -> Attrs {
        self.plain.attrs(node, if self.rule.by_inode { SAME_CTIME } else { self.copy })
    }
}

impl Source for Told<'_> {
    fn generations(&self) -> Result<Discovered, source::Error> {
        Ok(Discovered::default())
    }

    fn open(&self, _: &Found) -> Result<Box<dyn OpenCopy + '_>, source::Error> {
        Ok(Box::new(self))
    }
}

impl OpenCopy for &Told<'_> {
    fn top(&self) -> TopDirectory {
        TopDirectory::default()
    }

    fn scan(&self, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<ScanStats, source::Error> {
        let seen = self.plain.seen();
        for (number, (dir, path)) in seen.directories().into_iter().enumerate() {
            if self.pauses >> (number % 64) & 1 == 1 && each(Walked::Waiting).is_break() {
                break;
            }
            (self.before)(number);
            let names = seen.names.range((dir, "")..(dir + 1, ""));
            let path = RelPath::parse(path.as_bytes()).expect("a plain path");
            let complete = !seen.closed.contains_key(&dir);
            let finding = Finding { kind: FindingKind::Unreadable, path: path.clone(), detail: "listing: shut".into() };
            let entries = names.map(|((_, name), node)| ListedEntry {
                name: EntryName::new(name.as_bytes()).expect("a plain name"),
                key: self.key(*node),
                attrs: self.attrs(*node),
                unreadable: false,
                origin: 0,
            });
            let listing = Listing {
                number: number as u64,
                path,
                root: (number == 0).then(|| (self.key(0), self.attrs(0))),
                entries: entries.collect(),
                complete,
                findings: if complete { Vec::new() } else { vec![finding] },
            };
            if each(Walked::Listing(Box::new(listing))).is_break() {
                break;
            }
        }
        Ok(ScanStats::default())
    }

    fn digest(&self, path: &RelPath, _: &FileStamp) -> Result<[u8; 32], NoDigest> {
        let (mut dir, mut node) = (0, 0);
        for name in path.names() {
            let name = std::str::from_utf8(name).expect("a plain name");
            node = *self.plain.names.iter().find(|((d, n), _)| *d == dir && *n == name).expect("it was listed").1;
            dir = node;
        }
        Ok(digest_of(self.plain.nodes[&node].content))
    }
}

pub(crate) fn digest_of(content: u8) -> [u8; 32] {
    [content + 1; 32]
}

pub(crate) fn instant(copy: usize) -> Time {
    Time(FIRST + copy as i64 * DAY)
}

/// Who a node is: its number where copies keep that, else the path of the first of its names that was seen, with the type.
pub(crate) type Who = String;

/// A name of a generation.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) who: Who,
    pub(crate) is_directory: bool,
    /// Its attributes, as `files` tells them.
    pub(crate) is: String,
    is_kept: bool,
}

impl Name {
    /// Returns what `files` tells of it after its path.
    pub(crate) fn told(&self) -> String {
        format!("{}|{}", i32::from(self.is_kept), self.is)
    }
}

/// What a generation is: what its copy shows, and what it keeps of the one before. The naive model.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// By directory and name.
    pub(crate) names: BTreeMap<(Who, &'static str), Name>,
    /// Directories whose version says that they could not be listed; with the top one.
    pub(crate) unreadable: BTreeSet<Who>,
    /// Who the top directory is.
    pub(crate) top: Who,
}

impl State {
    pub(crate) fn path(&self, (dir, name): &(Who, &'static str)) -> String {
        let above = self.names.iter().find(|(_, above)| above.is_directory && above.who == *dir);
        above.map_or_else(|| (*name).to_owned(), |(slot, _)| join(&self.path(slot), name))
    }

    /// Returns what a copy is over the generation before it.
    pub(crate) fn of(plain: &Plain, copy: usize, rule: Rule, before: &Self) -> Self {
        let seen = plain.seen();
        let mut state = Self::default();
        let mut doubtful = Vec::new();
        let mut known: BTreeMap<u64, Who> = BTreeMap::new();
        for (dir, path) in seen.directories() {
            let mut who = |node: u64, path: &str| {
                let by_path = || format!("{path}:{:?}", seen.nodes[&node].kind);
                known.entry(node).or_insert_with(|| if rule.by_inode { node.to_string() } else { by_path() }).clone()
            };
            let here = who(dir, &path);
            if dir == 0 {
                state.top.clone_from(&here);
            }
            if seen.closed.contains_key(&dir) {
                state.unreadable.insert(here.clone());
                doubtful.push(here.clone());
            }
            for ((_, name), node) in seen.names.range((dir, "")..(dir + 1, "")) {
                let is_directory = seen.nodes[node].kind == Kind::Directory;
                let name_of = Name {
                    who: who(*node, &join(&path, name)),
                    is_directory,
                    is: seen.described(*node, copy, rule),
                    is_kept: false,
                };
                state.names.insert((here.clone(), name), name_of);
            }
        }
        let walked: BTreeMap<Who, String> =
            state.names.values().map(|name| (name.who.clone(), name.is.clone())).collect();
        while let Some(dir) = doubtful.pop() {
            for (slot, name) in before.names.iter().filter(|((above, _), _)| *above == dir) {
                if state.names.contains_key(slot) || name.is_directory && walked.contains_key(&name.who) {
                    continue;
                }
                // A node that was seen under another name is what was seen.
                let is = walked.get(&name.who).unwrap_or(&name.is).clone();
                state.names.insert(slot.clone(), Name { is_kept: true, is, ..name.clone() });
                if name.is_directory {
                    if before.unreadable.contains(&name.who) {
                        state.unreadable.insert(name.who.clone());
                    }
                    doubtful.push(name.who.clone());
                }
            }
        }
        state
    }
}

impl Plain {
    /// Returns what `files` tells of a node that this copy shows.
    fn described(&self, node: u64, copy: usize, rule: Rule) -> String {
        let attrs = self.attrs(node, copy);
        let Node { kind, content, .. } = self.nodes[&node];
        let (word, nlink) = match kind {
            Kind::Directory => ("directory", 2),
            Kind::Symlink => ("symlink", attrs.nlink - 1),
            _ => ("file", attrs.nlink - 1),
        };
        let target = String::from_utf8(attrs.target).expect("a plain target");
        let digest: String = digest_of(content).iter().map(|b| format!("{b:02X}")).collect();
        format!(
            "{word}|{}|{}|{:04o}|{nlink}|{}|{}|{}",
            attrs.size_bytes,
            attrs.mtime.seconds,
            attrs.mode & 0o7777,
            i32::from(!attrs.xattrs.is_empty()),
            if kind == Kind::Symlink { &target } else { "NULL" },
            if kind == Kind::File && rule.key == Key::Digest { &digest } else { "NULL" },
        )
    }
}
