//! The rows of one source, and the edits: put in, forget.

use super::runs::{Beside, Runs};
use super::tree::{names_of, nodes_of};
use super::{Break, FOREVER, File, Instant, Node, Object, ObjectId, ROOT, Rule, Setting, Slot, Tree, Walk};
use std::collections::{BTreeMap, BTreeSet};

/// What changed about a node from one generation to the next.
pub(crate) mod ops {
    pub(crate) const CREATED: u8 = 1;
    pub(crate) const CONTENT: u8 = 2;
    pub(crate) const ATTRIBUTES: u8 = 4;
    pub(crate) const LINKED: u8 = 8;
    pub(crate) const UNLINKED: u8 = 16;
}

/// A version row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ver {
    pub(crate) mode: u8,
    /// Size and mtime.
    pub(crate) stamp: u8,
    pub(crate) nlink: u32,
    /// What the source's rule compares.
    pub(crate) key: Option<u64>,
    /// The object that has the bytes, where that is told by the row.
    pub(crate) place: Option<ObjectId>,
    /// Where they are on a disk.
    pub(crate) cell: u8,
    /// None: a directory. Which bytes a file has is for the check only, and no column.
    pub(crate) content: Option<u8>,
}

impl Ver {
    /// Returns all columns but the place.
    pub(crate) fn columns(&self) -> Columns {
        (self.mode, self.stamp, self.nlink, self.key, self.cell)
    }
}

/// Mode, stamp, link count, key and cell of a version.
pub(crate) type Columns = (u8, u8, u32, Option<u64>, u8);

/// The stamps of the contents: 0 and 1 look equal by size and mtime.
const STAMP: [u8; 3] = [0, 0, 1];

/// Notes of the generations: what changed about which node. The oldest has none.
pub(crate) type Notes = BTreeMap<Instant, BTreeMap<Node, u8>>;

/// A generation to be put in, as its manifest tells it.
#[derive(Clone, Debug)]
pub(crate) struct Insertion {
    pub(crate) at: Instant,
    pub(crate) walk: Walk,
    /// What holds the bytes of this generation.
    pub(crate) object: ObjectId,
    /// The objects of the nodes whose bytes this one does not hold.
    pub(crate) places: BTreeMap<Node, ObjectId>,
    /// Where they are in there: what was forgotten cannot be asked for a path.
    pub(crate) paths: BTreeMap<Node, String>,
}

/// The rows of one source.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) setting: Setting,
    /// Instants, sorted.
    pub(crate) gens: Vec<Instant>,
    pub(crate) names: Runs<Slot, Node>,
    pub(crate) versions: BTreeMap<(Node, Instant), Ver>,
    pub(crate) notes: Notes,
    /// Names that a generation has of the one before, and did not see.
    pub(crate) kept: Runs<Slot, ()>,
    /// Directories whose names a generation does not all know; whether all that is below is in doubt too.
    pub(crate) doubts: Runs<Node, bool>,
    pub(crate) objects: BTreeMap<ObjectId, Object>,
    /// The objects of the generations that are there.
    pub(crate) holds: BTreeMap<Instant, ObjectId>,
    pub(crate) pins: BTreeMap<(ObjectId, Node), String>,
    /// Ids and node numbers are never given twice.
    pub(super) last_object: ObjectId,
    pub(super) last_node: Node,
    /// Nodes of which the last operation wrote a version or a note; the names know theirs.
    touched: BTreeSet<Node>,
}

impl Catalog {
    pub(crate) fn new(setting: Setting) -> Self {
        Self {
            setting,
            gens: Vec::new(),
            names: Runs::new(setting.broken),
            versions: BTreeMap::new(),
            notes: Notes::new(),
            kept: Runs::new(None),
            doubts: Runs::new(None),
            objects: BTreeMap::new(),
            holds: BTreeMap::new(),
            pins: BTreeMap::new(),
            last_object: 0,
            last_node: 100,
            touched: BTreeSet::new(),
        }
    }

    pub(super) fn is_without(&self, rule: Break) -> bool {
        self.setting.broken == Some(rule)
    }

    // Reading.

    /// Returns `at` with the generations next to it.
    pub(crate) fn beside(&self, at: Instant) -> Beside {
        let before = self.gens.iter().rev().find(|g| **g < at).copied();
        Beside { at, before, after: self.gens.iter().find(|g| **g > at).copied() }
    }

    /// Returns the generation at which a row of this birth begins to show.
    pub(crate) fn first_shown(&self, born: Instant) -> Option<Instant> {
        self.gens.iter().find(|g| **g >= born).copied()
    }

    pub(crate) fn state(&self, at: Option<Instant>) -> BTreeMap<Slot, Node> {
        self.names.state(at)
    }

    /// Returns the names that the generation of `at` saw.
    pub(crate) fn seen(&self, at: Instant) -> BTreeMap<Slot, Node> {
        let (mut names, kept) = (self.state(Some(at)), self.kept.state(Some(at)));
        names.retain(|slot, _| !kept.contains_key(slot));
        names
    }

    /// Returns the version row that holds at `at`, and its birth, whether the node lives or not.
    pub(crate) fn version_row(&self, node: Node, at: Instant) -> Option<(Instant, Ver)> {
        let rows = self.versions.range((node, Instant::MIN)..=(node, at));
        rows.last().map(|((_, born), version)| (*born, *version))
    }

    pub(crate) fn version(&self, node: Node, at: Instant) -> Option<Ver> {
        self.version_row(node, at).map(|(_, version)| version)
    }

    /// Returns the version of `node` at `at` if it lives there; `state` is that of `at`.
    pub(super) fn living(&self, node: Node, state: &BTreeMap<Slot, Node>, at: Option<Instant>) -> Option<Ver> {
        let lives = node == ROOT || state.values().any(|n| *n == node) || self.is_without(Break::NotesWithoutLife);
        at.filter(|_| lives).and_then(|at| self.version(node, at))
    }

    /// Tells whether a node of any generation is a directory; the kind of a node never changes.
    pub(super) fn is_directory(&self, node: Node) -> bool {
        let mut rows = self.versions.range((node, Instant::MIN)..=(node, Instant::MAX));
        rows.next().is_some_and(|(_, version)| version.content.is_none())
    }

    // Comparing.

    fn same_bytes(&self, a: &Ver, b: &Ver) -> bool {
        if self.is_without(Break::SomeDigests) && (a.key.is_none() || b.key.is_none()) {
            return a.stamp == b.stamp;
        }
        a.key == b.key
    }

    fn same(&self, a: &Ver, b: &Ver) -> bool {
        (a.mode, a.stamp, a.nlink) == (b.mode, b.stamp, b.nlink) && self.same_bytes(a, b)
    }

    /// Tells whether two versions, where there are any, need no row of their own.
    fn holds_on(&self, a: Option<&Ver>, b: Option<&Ver>) -> bool {
        matches!((a, b), (Some(a), Some(b)) if self.same(a, b))
    }

    /// Returns what changed about `node` from one state (and version, if it lives there) to another.
    pub(crate) fn compare(&self, node: Node, from: State<'_>, to: State<'_>) -> u8 {
        let (x, y) = (names_of(from.names, node), names_of(to.names, node));
        let mut changed = 0;
        if y.iter().any(|slot| !x.contains(slot)) {
            changed |= ops::LINKED;
        }
        if x.iter().any(|slot| !y.contains(slot)) {
            changed |= ops::UNLINKED;
        }
        match (from.version, to.version) {
            (None, Some(_)) => changed |= ops::CREATED,
            (Some(a), Some(b)) => {
                if !self.same_bytes(&a, &b) || a.stamp != b.stamp {
                    changed |= ops::CONTENT;
                }
                if (a.mode, a.nlink) != (b.mode, b.nlink) {
                    changed |= ops::ATTRIBUTES;
                }
            }
            _ => {}
        }
        changed
    }

    /// Returns the version of a node that a generation saw; `place` is that of its bytes.
    pub(crate) fn version_of(&self, node: Node, tree: &Tree, place: Option<ObjectId>) -> Ver {
        let File { mode, content, write, cell } = tree.files[&node];
        let stamp = content.map_or(0, |content| STAMP[usize::from(content)]);
        let key = match self.setting.rule {
            Rule::Stamp => Some(u64::from(stamp)),
            Rule::Digest => content.map(u64::from),
            Rule::Write | Rule::Disk => Some(write),
        };
        let has_place = content.is_some() && self.setting.rule == Rule::Write;
        let nlink = content.map_or(1, |_| tree.names_of(node).len() as u32);
        Ver { mode, stamp, nlink, key, place: place.filter(|_| has_place), cell, content }
    }

    // Writing rows.

    fn put_version(&mut self, node: Node, born: Instant, version: Ver) {
        self.versions.insert((node, born), version);
        self.touched.insert(node);
    }

    fn drop_version(&mut self, node: Node, born: Instant) {
        self.versions.remove(&(node, born));
        self.touched.insert(node);
    }

    fn has_version(&self, node: Node, born: Instant) -> bool {
        self.versions.contains_key(&(node, born))
    }

    /// Writes the note of a node, where it is another one.
    pub(super) fn note(&mut self, at: Instant, node: Node, changed: u8) {
        let notes = self.notes.entry(at).or_default();
        if notes.get(&node).copied().unwrap_or(0) == changed {
            return;
        }
        if changed == 0 {
            notes.remove(&node);
        } else {
            notes.insert(node, changed);
        }
        self.touched.insert(node);
    }

    /// Returns the nodes whose rows the last operation wrote.
    pub(crate) fn touched(&self) -> BTreeSet<Node> {
        self.touched.union(&self.names.touched).copied().collect()
    }

    /// Begins an operation.
    fn begin(&mut self) {
        self.touched.clear();
        self.names.touched.clear();
    }

    // Putting in: the newest, a late one, and one before the oldest are one way.

    /// Puts a generation in.
    pub(crate) fn insert(&mut self, insertion: &Insertion) {
        let Insertion { at, walk, object, .. } = insertion;
        let beside = self.beside(*at);
        let Beside { before: p, after: n, .. } = beside;
        self.begin();
        let (at_p, at_n) = (self.state(p), self.state(n));
        let at_t = self.overlay(&walk.tree.names, &walk.doubts, &at_p, |node| match walk.tree.files.get(&node) {
            Some(file) => file.content.is_none(),
            None => self.is_directory(node),
        });
        let nodes: BTreeSet<Node> = [&at_p, &at_t, &at_n].into_iter().flat_map(nodes_of).collect();
        let v_p: BTreeMap<Node, Option<Ver>> = nodes.iter().map(|x| (*x, self.living(*x, &at_p, p))).collect();
        let v_n: BTreeMap<Node, Option<Ver>> = nodes.iter().map(|x| (*x, self.living(*x, &at_n, n))).collect();
        let v_t: BTreeMap<Node, Option<Ver>> = self.versions_put_in(insertion, &at_t, &nodes, &v_p);
        self.pin_places(insertion);
        let slots: BTreeSet<Slot> = [&at_p, &at_t, &at_n].into_iter().flat_map(|state| state.keys().copied()).collect();
        for slot in &slots {
            self.names.put_in(*slot, beside, at_t.get(slot).copied());
            let is_kept = at_t.contains_key(slot) && !walk.tree.names.contains_key(slot);
            self.kept.put_in(*slot, beside, is_kept.then_some(()));
        }
        for node in &nodes {
            self.insert_version(*node, beside, [v_p[node], v_t[node], v_n[node]]);
            self.doubts.put_in(*node, beside, walk.doubts.get(node).copied());
        }
        self.gens.push(*at);
        self.gens.sort_unstable();
        self.holds.insert(*at, *object);
        self.last_object = self.last_object.max(*object);
        for node in &nodes {
            let here = State { names: &at_t, version: v_t[node] };
            if p.is_some() {
                self.note(*at, *node, self.compare(*node, State { names: &at_p, version: v_p[node] }, here));
            }
            // Nodes in which p and t are equal keep their note at n; only the others are written.
            if let Some(n) = n {
                self.note(n, *node, self.compare(*node, here, State { names: &at_n, version: v_n[node] }));
            }
        }
        self.settle_behind(Some(*at));
    }

    /// Returns the versions of a generation that is put in: what it saw, and for what it keeps that of the generation before.
    fn versions_put_in(
        &self,
        insertion: &Insertion,
        at_t: &BTreeMap<Slot, Node>,
        nodes: &BTreeSet<Node>,
        v_p: &BTreeMap<Node, Option<Ver>>,
    ) -> BTreeMap<Node, Option<Ver>> {
        let Insertion { at, walk, object, places, .. } = insertion;
        let walked = walk.tree.nodes();
        let (living, mut versions) = (nodes_of(at_t), BTreeMap::new());
        for node in nodes {
            let mut version = match (walked.contains(node), living.contains(node)) {
                (true, _) => Some(self.version_of(*node, &walk.tree, places.get(node).or(Some(object)).copied())),
                (false, true) => v_p[node],
                (false, false) => None,
            };
            if let Some(version) = &mut version {
                self.spoil(*node, *at, version, v_p[node]);
                if self.is_without(Break::LinksWithKept) && version.content.is_some() {
                    version.nlink = names_of(at_t, *node).len() as u32;
                }
            }
            versions.insert(*node, version);
        }
        versions
    }

    /// Gives a version the key that it has where a rule is left out.
    fn spoil(&self, node: Node, at: Instant, version: &mut Ver, before: Option<Ver>) {
        match self.setting.broken {
            Some(Break::BytesByInstant) => {
                let held = before.filter(|before| before.content == version.content);
                version.key = held.map_or(Some(at as u64), |held| held.key);
            }
            Some(Break::SomeDigests) if (u64::from(node) + at as u64 / 10).is_multiple_of(2) => version.key = None,
            _ => {}
        }
    }

    /// Writes the versions of a node at a generation that is put in, and at the next one; `v` are those at p, t and n, where
    /// it lives.
    pub(super) fn insert_version(&mut self, node: Node, beside: Beside, v: [Option<Ver>; 3]) {
        let Beside { at, before: p, after: n } = beside;
        let [mut v_p, v_t, v_n] = v;
        if self.is_without(Break::VersionsOverGaps) && v_p.is_none() && v_t.is_some() {
            let dead = p.and_then(|p| self.version(node, p));
            v_p = dead.filter(|dead| self.holds_on(Some(dead), v_t.as_ref()));
        }
        let mut need_t = v_t.is_some() && !self.holds_on(v_p.as_ref(), v_t.as_ref());
        let need_n = v_n.is_some() && !self.holds_on(v_t.as_ref(), v_n.as_ref());
        if let (Some(n), Some(v_n)) = (n, v_n) {
            // It begins at n, or before p, or is "since the oldest".
            let born = self.version_row(node, n).expect("what lives has a version").0;
            if need_n && born != n {
                if v_p.is_none() {
                    self.drop_version(node, born);
                }
                self.put_version(node, n, v_n);
            } else if !need_n && v_p.is_none() && born <= at {
                need_t = false; // the oldest's row says so already
            } else if !need_n && self.first_shown(born) == Some(n) {
                self.drop_version(node, born);
            }
        }
        if let Some(v_t) = v_t.filter(|_| need_t) {
            self.put_version(node, at, v_t);
        }
    }

    // Forgetting.

    /// Forgets a generation.
    pub(crate) fn forget(&mut self, at: Instant) {
        let beside = self.beside(at);
        let Beside { before: p, after: n, .. } = beside;
        self.begin();
        let live = self.pin(at);
        let (at_p, at_g, at_n) = (self.state(p), self.state(Some(at)), self.state(n));
        let noted = match (p, n) {
            (None, Some(n)) => self.notes.get(&n),
            _ => self.notes.get(&at),
        };
        let nodes: Vec<Node> = match (p, n) {
            (None, None) => nodes_of(&at_g).into_iter().collect(),
            _ => noted.map(|notes| notes.keys().copied().collect()).unwrap_or_default(),
        };
        let v_p: Vec<_> = nodes.iter().map(|x| self.living(*x, &at_p, p)).collect();
        let v_n: Vec<_> = nodes.iter().map(|x| self.living(*x, &at_n, n)).collect();
        let slots: BTreeSet<Slot> = at_p.keys().chain(at_g.keys()).copied().collect();
        for slot in &slots {
            self.names.take_out(*slot, beside);
            self.kept.take_out(*slot, beside);
        }
        let doubtful: BTreeSet<Node> =
            [p, Some(at)].into_iter().flat_map(|t| self.doubts.state(t).into_keys()).collect();
        for node in doubtful {
            self.doubts.take_out(node, beside);
        }
        for (i, node) in nodes.iter().enumerate() {
            self.forget_version(*node, beside, [v_p[i], v_n[i]]);
            if let (Some(_), Some(n)) = (p, n) {
                let (before, after) =
                    (State { names: &at_p, version: v_p[i] }, State { names: &at_n, version: v_n[i] });
                self.note(n, *node, self.compare(*node, before, after));
            }
        }
        self.gens.retain(|g| *g != at);
        self.notes.remove(&at);
        if let (None, Some(n)) = (p, n) {
            self.notes.remove(&n);
        }
        self.pin_late(at, live);
        self.holds.remove(&at);
        self.settle_behind(p);
    }

    /// Edits the versions of a node at a generation that is forgotten and at the next one; `v` are those at p and n, where it
    /// lives.
    pub(super) fn forget_version(&mut self, node: Node, beside: Beside, v: [Option<Ver>; 2]) {
        let Beside { at, before: p, after: n } = beside;
        let [v_p, v_n] = v;
        match (p, n) {
            (None, None) => {
                let rows: Vec<_> =
                    self.versions.range((node, Instant::MIN)..=(node, FOREVER)).map(|(k, _)| k.1).collect();
                rows.into_iter().for_each(|born| self.drop_version(node, born));
            }
            (Some(_), None) => {
                if self.has_version(node, at) {
                    self.drop_version(node, at);
                }
            }
            (None, Some(n)) => {
                let is_dead = v_n.is_none() && !self.is_without(Break::DeadVersionsStay);
                if self.has_version(node, n) || is_dead {
                    let rows = self.versions.range((node, Instant::MIN)..(node, n));
                    let rows: Vec<_> = rows.map(|(key, _)| key.1).collect();
                    rows.into_iter().for_each(|born| self.drop_version(node, born));
                }
            }
            (Some(_), Some(n)) if self.is_without(Break::MovedVersionAlone) => self.move_version(node, at, n, v),
            (Some(_), Some(n)) => {
                if self.has_version(node, at) {
                    self.drop_version(node, at);
                }
                let need_n = v_n.is_some() && !self.holds_on(v_p.as_ref(), v_n.as_ref());
                match (v_n.filter(|_| need_n), self.has_version(node, n)) {
                    (Some(v_n), false) => self.put_version(node, n, v_n),
                    (None, true) => self.drop_version(node, n), // p's row and place hold; later rows keep theirs
                    _ => {}
                }
            }
        }
    }

    /// Moves the row at g to n if there is none, and only then looks at p.
    fn move_version(&mut self, node: Node, at: Instant, n: Instant, [v_p, v_n]: [Option<Ver>; 2]) {
        let Some(moved) = self.versions.get(&(node, at)).copied() else { return };
        self.drop_version(node, at);
        if !self.has_version(node, n) && v_n.is_some() && !self.holds_on(v_p.as_ref(), Some(&moved)) {
            self.put_version(node, n, moved);
        }
    }

    /// Returns the public views: all columns but ids of objects, and where paths tell who is who, but numbers of nodes.
    pub(crate) fn views(&self) -> Views {
        let numbers: BTreeMap<Node, Node> = (1..).zip(self.lives()).map(|(number, (_, node))| (node, number)).collect();
        let number = |node: Node| numbers.get(&node).copied().unwrap_or(node);
        let oldest = self.gens.first().copied().unwrap_or_default();
        let slot = |(dir, name): Slot| (number(dir), name);
        let sorted = |mut names: Vec<(Slot, Instant, Instant, Node)>| {
            names.sort_unstable();
            names
        };
        let names = self.names.rows().iter();
        let names =
            names.map(|((key, born), run)| (slot(*key), *born.max(&oldest), run.died, number(run.value))).collect();
        let kept = self.kept.rows().iter();
        let kept = kept.map(|((key, born), run)| (slot(*key), *born.max(&oldest), run.died, 0)).collect();
        let versions = self.versions.iter();
        let versions = versions.map(|((node, born), version)| ((number(*node), *born.max(&oldest)), version.columns()));
        let notes = self.notes.iter().filter(|(_, notes)| !notes.is_empty());
        let noted = |notes: &BTreeMap<Node, u8>| notes.iter().map(|(node, ops)| (number(*node), *ops)).collect();
        let doubts = self.doubts.rows().iter();
        let mut doubts: Vec<_> =
            doubts.map(|((node, born), run)| (number(*node), *born.max(&oldest), run.died, run.value)).collect();
        doubts.sort_unstable();
        Views {
            gens: self.gens.clone(),
            names: sorted(names),
            versions: versions.collect(),
            notes: notes.map(|(at, notes)| (*at, noted(notes))).collect(),
            kept: sorted(kept),
            doubts,
        }
    }
}

/// The names of a generation, and the version of the node in question if it lives there.
#[derive(Clone, Copy)]
pub(crate) struct State<'a> {
    pub(crate) names: &'a BTreeMap<Slot, Node>,
    pub(crate) version: Option<Ver>,
}

/// What every order of indexing must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Views {
    gens: Vec<Instant>,
    /// With born and died.
    names: Vec<(Slot, Instant, Instant, Node)>,
    versions: BTreeMap<(Node, Instant), Columns>,
    notes: Notes,
    kept: Vec<(Slot, Instant, Instant, Node)>,
    doubts: Vec<(Node, Instant, Instant, bool)>,
}
