//! Random histories: a world that changes, what was taken of it when, and what is done to the catalog.

use super::check::{Violation, check, check_bytes, fresh, settle};
use super::objects::{Content, Object, ObjectId};
use super::{Break, Catalog, Dice, File, Insertion, Instant, Node, ROOT, Rule, Setting, Slot, Tree, Truth, Walk};
use std::collections::{BTreeMap, BTreeSet};

const DIRS: [Node; 2] = [1, 2];
const FILES: [Node; 3] = [3, 4, 5];
const NAMES: [char; 3] = ['a', 'b', 'c'];

/// Places of a disk that files can be at; one file is at one.
const CELLS: u8 = 5;

/// Instants of the generations of a history.
pub(crate) const INSTANTS: [Instant; 5] = [10, 20, 30, 40, 50];

fn write_number(dice: &mut Dice) -> u64 {
    dice.number() >> 24
}

fn content(dice: &mut Dice) -> Option<u8> {
    Some(dice.roll(3) as u8)
}

/// Changes a tree; a step may do nothing.
fn mutate(dice: &mut Dice, old: &Tree, steps: usize) -> Tree {
    let mut tree = old.clone();
    for _ in 0..steps {
        let dirs: Vec<Node> = [ROOT].into_iter().chain(DIRS.into_iter().filter(|dir| tree.lives(*dir))).collect();
        let slot = (*dice.pick(&dirs), *dice.pick(&NAMES));
        let (file, lives) = {
            let file = *dice.pick(&FILES);
            (file, tree.lives(file))
        };
        match dice.roll(9) {
            // Made, came back, linked.
            0..=2 if !tree.names.contains_key(&slot) => {
                tree.names.insert(slot, file);
                let new = File { content: content(dice), write: write_number(dice), ..File::default() };
                tree.files.entry(file).or_insert(new);
            }
            // Renamed, perhaps to what is there.
            3 if lives => {
                let gone = *dice.pick(&tree.names_of(file));
                tree.names.remove(&gone);
                tree.names.entry(slot).or_insert(file);
            }
            4 if lives => {
                let gone = *dice.pick(&tree.names_of(file));
                tree.names.remove(&gone);
            }
            5 if lives => {
                let file = tree.files.get_mut(&file).expect("it lives");
                file.mode = 1 - file.mode;
            }
            // Written, perhaps the same, or what looks equal.
            6 if lives => {
                let file = tree.files.get_mut(&file).expect("it lives");
                (file.content, file.write) = (content(dice), write_number(dice));
            }
            act @ 7.. => mutate_directory(dice, &mut tree, slot, act == 7),
            _ => {}
        }
        tree.reap();
    }
    tree
}

/// Makes a directory, renames it, or removes it with all that is below.
fn mutate_directory(dice: &mut Dice, tree: &mut Tree, slot: Slot, may_move: bool) {
    let dir = *dice.pick(&DIRS);
    let (lives, is_free) = (tree.lives(dir), !tree.names.contains_key(&slot));
    if !lives && is_free {
        tree.names.insert(slot, dir);
        tree.files.entry(dir).or_default();
    } else if lives && is_free && may_move && !tree.is_below(slot.0, dir) {
        tree.names.remove(&tree.names_of(dir)[0]);
        tree.names.insert(slot, dir);
    } else if lives && dice.one_in(2) {
        tree.names.remove(&tree.names_of(dir)[0]);
    }
}

/// Puts the files that were written on places of the disk that no other file is at. What comes back was written.
fn put_on_disk(dice: &mut Dice, before: &Tree, tree: &mut Tree) {
    let live: Vec<Node> = FILES.into_iter().filter(|file| tree.lives(*file)).collect();
    let (stay, written): (Vec<Node>, Vec<Node>) =
        live.into_iter().partition(|file| before.lives(*file) && before.files[file].write == tree.files[file].write);
    let mut used: BTreeSet<u8> = stay.iter().map(|file| tree.files[file].cell).collect();
    for node in written {
        let free: Vec<u8> = (0..CELLS).filter(|cell| !used.contains(cell)).collect();
        let file = tree.files.get_mut(&node).expect("it lives");
        if !before.lives(node) {
            file.write = write_number(dice);
        }
        file.cell = *dice.pick(&free);
        used.insert(file.cell);
    }
}

/// What a generation was put in as when it was taken; its manifest.
#[derive(Clone, Debug)]
struct Taken {
    object: ObjectId,
    places: BTreeMap<Node, ObjectId>,
    paths: BTreeMap<Node, String>,
    /// The names of the generation before, as they were then.
    base: BTreeMap<Slot, Node>,
}

/// A history of trees and, where objects hold the bytes, what was taken when: these are of the order of time.
#[derive(Clone, Debug)]
pub(crate) struct World {
    setting: Setting,
    trees: BTreeMap<Instant, Tree>,
    /// What a generation of each tree sees.
    pub(crate) walks: BTreeMap<Instant, Walk>,
    taken: BTreeMap<Instant, Taken>,
    newest_layer: Option<ObjectId>,
}

impl World {
    pub(crate) fn new(dice: &mut Dice, setting: Setting, instants: &[Instant]) -> Self {
        let (trees, walks, taken) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut world = Self { setting, trees, walks, taken, newest_layer: None };
        let mut tree = Tree::empty();
        for (i, at) in instants.iter().enumerate() {
            let steps = if i == 0 { 1 + dice.roll(8) } else { dice.roll(4) };
            tree = world.changed(dice, &tree, steps);
            world.look(dice, *at, tree.clone());
        }
        world
    }

    fn changed(&self, dice: &mut Dice, tree: &Tree, steps: usize) -> Tree {
        let mut new = mutate(dice, tree, steps);
        if self.setting.rule == Rule::Disk {
            put_on_disk(dice, tree, &mut new);
        }
        new
    }

    fn look(&mut self, dice: &mut Dice, at: Instant, tree: Tree) {
        let is_whole = !self.setting.has_doubts || !dice.one_in(3);
        let walk = if is_whole { Walk::whole(tree.clone()) } else { Walk::in_part(dice, &tree) };
        self.trees.insert(at, tree);
        self.walks.insert(at, walk);
    }

    /// Makes the tree of `at` another one.
    fn change(&mut self, dice: &mut Dice, at: Instant) {
        let tree = self.changed(dice, &self.trees[&at], 2);
        self.look(dice, at, tree);
    }

    /// Returns a full copy.
    fn copy(&self, catalog: &mut Catalog, at: Instant) -> Insertion {
        let walk = catalog.recognise(at, &self.walks[&at]);
        let object = catalog.new_object(at);
        Insertion { at, walk, object, places: BTreeMap::new(), paths: BTreeMap::new() }
    }

    /// Takes a generation, behind all others: what the one before holds already is not copied.
    fn take(&mut self, dice: &mut Dice, catalog: &mut Catalog, at: Instant) -> Insertion {
        let is_full = dice.one_in(3);
        let before = catalog.beside(at).before;
        let state = catalog.state(before);
        let (mut places, object) = (BTreeMap::new(), catalog.new_object(at));
        let content = if self.setting.rule == Rule::Disk {
            let parents = [self.newest_layer, before.map(|before| catalog.holds[&before])];
            let parent = *dice.pick(&parents);
            self.newest_layer = Some(object);
            self.layer(dice, catalog, at, parent.filter(|_| !is_full))
        } else {
            for node in self.walks[&at].tree.nodes() {
                let Some(old) = catalog.living(node, &state, before) else { continue };
                let is_held = old.key == Some(self.trees[&at].files[&node].write);
                if let Some(place) = old.place.filter(|place| is_held && catalog.objects.contains_key(place)) {
                    places.insert(node, place);
                }
            }
            let tree = &self.walks[&at].tree;
            let files = tree.names.iter().filter(|(_, node)| is_full || !places.contains_key(*node));
            let files = files.filter_map(|(slot, node)| Some((tree.path(*slot), tree.files[node].content?)));
            Content::Files { is_full, files: files.collect() }
        };
        catalog.objects.insert(object, Object { at, content });
        // A full one copies all; its rows keep the older place.
        let paths = places.iter().filter_map(|(node, place)| Some((*node, catalog.path_in(*place, *node)?))).collect();
        self.taken.insert(at, Taken { object, places, paths, base: state });
        self.insertion(at)
    }

    fn insertion(&self, at: Instant) -> Insertion {
        let Taken { object, places, paths, .. } = self.taken[&at].clone();
        Insertion { at, walk: self.walks[&at].clone(), object, places, paths }
    }

    /// Returns what a disk holds at `at`, over what its parent (if all of that is there) has.
    fn layer(&self, dice: &mut Dice, catalog: &Catalog, at: Instant, parent: Option<ObjectId>) -> Content {
        let below = |parent: ObjectId| (0..CELLS).map(|cell| Some((cell, catalog.read_disk(parent, cell)?))).collect();
        let below: Option<BTreeMap<u8, u8>> = parent.and_then(below);
        let parent = parent.filter(|_| below.is_some());
        let below = below.unwrap_or_else(|| (0..CELLS).map(|cell| (cell, dice.roll(3) as u8)).collect());
        let tree = &self.trees[&at];
        let files =
            tree.nodes().into_iter().filter_map(|node| Some((tree.files[&node].cell, tree.files[&node].content?)));
        let mut cells = below.clone();
        cells.extend(files);
        cells.retain(|cell, bytes| parent.is_none() || below[cell] != *bytes);
        Content::Layer { parent, cells }
    }

    /// Takes in a full image of an instant that has later ones. What its neighbours have in the same bytes, at the same place, was
    /// not written since or before.
    fn take_late(&mut self, dice: &mut Dice, catalog: &mut Catalog, at: Instant) -> Insertion {
        let beside = catalog.beside(at);
        for node in self.trees[&at].nodes() {
            let file = self.trees[&at].files[&node];
            let same = [beside.before, beside.after].into_iter().find_map(|neighbour| {
                let version = catalog.living(node, &catalog.state(neighbour), neighbour)?;
                let is_same = match self.setting.broken {
                    Some(Break::NumberByStamp) => {
                        version.stamp == catalog.version_of(node, &self.trees[&at], None).stamp
                    }
                    _ => version.content == file.content && version.cell == file.cell,
                };
                version.key.filter(|_| is_same)
            });
            let write = if file.content.is_none() { file.write } else { same.unwrap_or_else(|| write_number(dice)) };
            let walk = &mut self.walks.get_mut(&at).expect("there is one for each instant").tree;
            for tree in [self.trees.get_mut(&at).expect("as before"), walk] {
                tree.files.get_mut(&node).expect("a walk has the files of its tree").write = write;
            }
        }
        let object = catalog.new_object(at);
        let content = self.layer(dice, catalog, at, None);
        catalog.objects.insert(object, Object { at, content });
        let base = catalog.state(beside.before);
        self.taken.insert(at, Taken { object, places: BTreeMap::new(), paths: BTreeMap::new(), base });
        self.insertion(at)
    }

    /// Returns what was forgotten, to be put back as it was, where all objects that it needs are there.
    fn restore(&self, catalog: &Catalog, at: Instant) -> Option<Insertion> {
        let mut insertion = self.insertion(at);
        let tree = &insertion.walk.tree;
        let files = tree.nodes().into_iter().filter(|node| !tree.is_directory(*node));
        let places = files.map(|node| *insertion.places.get(&node).unwrap_or(&insertion.object));
        let mut needed = catalog.chain(insertion.object).into_iter().chain(places);
        if !needed.all(|object| catalog.objects.contains_key(&object)) {
            return None;
        }
        if self.setting.broken == Some(Break::EditsOnAnyBase) {
            let base = &self.taken[&at].base;
            let now = catalog.state(catalog.beside(at).before);
            let edited = base.keys().chain(tree.names.keys()).filter(|slot| base.get(slot) != tree.names.get(slot));
            let mut names = now;
            for slot in edited {
                match tree.names.get(slot) {
                    Some(node) => names.insert(*slot, *node),
                    None => names.remove(slot),
                };
            }
            names.retain(|_, node| tree.files.contains_key(node));
            insertion.walk.tree.names = names;
            insertion.walk.tree.reap();
        }
        Some(insertion)
    }
}

/// One thing done to a catalog.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Insert(Insertion),
    Forget(Instant),
    /// Forgotten and put in again, in one.
    Again(Insertion),
    Gc,
}

impl Act {
    /// Returns it in a few words.
    fn in_short(&self) -> String {
        match self {
            Self::Insert(insertion) => format!("insert {}", insertion.at),
            Self::Forget(at) => format!("forget {at}"),
            Self::Again(insertion) => format!("again {}", insertion.at),
            Self::Gc => "gc".into(),
        }
    }
}

/// A history under way.
///
/// [`Play::step`] does one act to the model's catalog and returns it: another catalog that does the same must show
/// [`Play::truth`] afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    setting: Setting,
    dice: Dice,
    world: World,
    pub(crate) catalog: Catalog,
    /// What the generations that are there saw, by numbers of the catalog.
    pub(crate) truth: Truth,
    /// The same by the numbers of each copy.
    pub(crate) copies: Truth,
    done: Vec<Act>,
    left: usize,
}

impl Play {
    pub(crate) fn new(seed: u64, setting: Setting) -> Self {
        let mut dice = Dice::new(seed);
        let world = World::new(&mut dice, setting, &INSTANTS);
        let (catalog, truth, copies) = (Catalog::new(setting), Truth::new(), Truth::new());
        Self { setting, dice, world, catalog, truth, copies, done: Vec::new(), left: 14 }
    }

    /// Does one more act; None at the end of the history.
    pub(crate) fn step(&mut self) -> Option<Act> {
        while self.left > 0 {
            self.left -= 1;
            let at = *self.dice.pick(&INSTANTS);
            let act = if self.truth.contains_key(&at) { self.act_on(at) } else { self.put_in(at).map(Act::Insert) };
            if let Some(act) = act {
                self.done.push(act.clone());
                return Some(act);
            }
        }
        None
    }

    fn act_on(&mut self, at: Instant) -> Option<Act> {
        match self.dice.roll(10) {
            0..5 => {
                self.forget(at);
                Some(Act::Forget(at))
            }
            5..7 => {
                self.forget(at);
                let insertion = if self.catalog.has_objects() {
                    self.world.restore(&self.catalog, at)
                } else {
                    if self.dice.one_in(2) {
                        self.world.change(&mut self.dice, at); // the copy is not what it was
                    }
                    Some(self.world.copy(&mut self.catalog, at))
                };
                Some(match insertion {
                    Some(insertion) => Act::Again(self.insert(insertion)),
                    None => Act::Forget(at),
                })
            }
            7 if self.catalog.has_objects() => {
                self.catalog.gc();
                Some(Act::Gc)
            }
            _ => None,
        }
    }

    fn put_in(&mut self, at: Instant) -> Option<Insertion> {
        let Self { dice, world, catalog, .. } = self;
        let insertion = if !catalog.has_objects() {
            world.copy(catalog, at)
        } else if world.taken.contains_key(&at) {
            let is_newest = catalog.gens.last().is_none_or(|newest| at > *newest);
            if is_newest && dice.one_in(3) {
                world.change(dice, at); // another one of that second
                world.take(dice, catalog, at)
            } else {
                world.restore(catalog, at)?
            }
        } else if world.taken.last_key_value().is_none_or(|(newest, _)| at > *newest) {
            world.take(dice, catalog, at)
        } else if catalog.setting.rule == Rule::Disk {
            world.take_late(dice, catalog, at)
        } else {
            return None; // volumes are taken in the order of time
        };
        Some(self.insert(insertion))
    }

    fn insert(&mut self, insertion: Insertion) -> Insertion {
        self.catalog.insert(&insertion);
        let at = insertion.at;
        let copy = self.world.walks[&at].clone();
        let walk =
            if self.setting.broken == Some(Break::EditsOnAnyBase) { copy.clone() } else { insertion.walk.clone() };
        self.truth.insert(at, walk);
        self.copies.insert(at, copy);
        insertion
    }

    fn forget(&mut self, at: Instant) {
        self.catalog.forget(at);
        self.truth.remove(&at);
        self.copies.remove(&at);
    }

    /// Checks all laws; `before` is the truth before the last act.
    pub(crate) fn check(&self, act: &Act, before: &Truth) -> Result<(), Violation> {
        if matches!(self.setting.broken, Some(Break::BytesByInstant | Break::SomeDigests)) {
            return check_bytes(&self.catalog, &self.truth); // their keys are other ones, and that is no fault
        }
        self.check_cost(act, before)?;
        // How a node is told is a matter of agreement; that it is told alike in any order is not.
        let is_of_identity = self.setting.broken.is_some_and(Break::is_of_identity);
        let setting = if is_of_identity { self.setting } else { self.setting.with_all_rules() };
        check(&self.catalog, &self.truth, Some(&fresh(setting, &self.copies)))
    }

    /// An edit writes rows of the nodes that differ between neighbours, and of those that are settled again.
    fn check_cost(&self, act: &Act, before: &Truth) -> Result<(), Violation> {
        let (was, is) = (settle(self.setting, before), settle(self.setting, &self.truth));
        let neighbours = |at: Instant| (was.range(..at).next_back(), was.range(at + 1..).next());
        let mut allowed = match act {
            Act::Insert(Insertion { at, .. }) => {
                let ((Some((_, p)), Some((_, n))), t) = (neighbours(*at), &is[at]) else { return Ok(()) };
                &p.differs(t) | &t.differs(n)
            }
            Act::Forget(at) => match neighbours(*at) {
                (Some((_, other)), _) | (None, Some((_, other))) => other.differs(&was[at]),
                (None, None) => return Ok(()),
            },
            Act::Again(_) | Act::Gc => return Ok(()),
        };
        for (at, now) in &is {
            if let Some(was) = was.get(at) {
                allowed.extend(was.differs(now));
            }
        }
        let touched = self.catalog.touched();
        let rest: Vec<_> = touched.difference(&allowed).collect();
        if rest.is_empty() { Ok(()) } else { Err(Violation(format!("cost: rows of {rest:?} were written"))) }
    }

    fn in_short(&self) -> String {
        self.done.iter().map(Act::in_short).collect::<Vec<_>>().join(", ")
    }
}

/// Plays one random history and checks every state of it; returns how many these were.
pub(crate) fn run(seed: u64, setting: Setting) -> Result<usize, Violation> {
    let mut play = Play::new(seed, setting);
    let mut states = 0;
    loop {
        let before = play.truth.clone();
        let Some(act) = play.step() else { return Ok(states) };
        let told =
            |violation: Violation| Violation(format!("seed {seed} of {setting:?}: {violation}; {}", play.in_short()));
        play.check(&act, &before).map_err(told)?;
        states += 1;
    }
}
