//! The naive model, and what must hold of a catalog beside it.

use super::catalog::State;
use super::objects::Content;
use super::{
    Break, Catalog, FOREVER, Identity, Insertion, Instant, Node, ROOT, Rule, Setting, Slot, Ver, Walk, fork_of,
    fork_path,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the generations that are there saw: the naive model.
pub(crate) type Truth = BTreeMap<Instant, Walk>;

/// A law that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation(what())) }
}

/// What a generation is, kept names and all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) names: BTreeMap<Slot, Node>,
    pub(crate) kept: BTreeSet<Slot>,
    /// Of every node that lives; places are left out.
    pub(crate) versions: BTreeMap<Node, Ver>,
}

impl Settled {
    fn state(&self, node: Node) -> State<'_> {
        State { names: &self.names, version: self.versions.get(&node).copied() }
    }

    /// Returns the nodes that are not the same in `other`.
    pub(crate) fn differs(&self, other: &Self) -> BTreeSet<Node> {
        let names = |of: &Self, node: Node| super::tree::names_of(&of.names, node);
        let nodes = self.versions.keys().chain(other.versions.keys());
        let is_other = |node: &&Node| {
            self.versions.get(node) != other.versions.get(node) || names(self, **node) != names(other, **node)
        };
        nodes.filter(is_other).copied().collect()
    }
}

/// Returns what each generation is: its walk over what the one before it is.
pub(crate) fn settle(setting: Setting, truth: &Truth) -> BTreeMap<Instant, Settled> {
    let rules = Catalog::new(setting.with_all_rules());
    let mut before = Settled::default();
    let mut all = BTreeMap::new();
    for (at, walk) in truth {
        before = settle_on(&rules, walk, &before);
        all.insert(*at, before.clone());
    }
    all
}

fn settle_on(rules: &Catalog, walk: &Walk, before: &Settled) -> Settled {
    let tree = &walk.tree;
    let walked = tree.nodes();
    let mut now = Settled { names: tree.names.clone(), ..Settled::default() };
    now.versions.extend(walked.iter().map(|node| (*node, rules.version_of(*node, tree, None))));
    loop {
        let keeps = |(slot, node): &(&Slot, &Node)| {
            let is_elsewhere = before.versions[*node].content.is_none() && walked.contains(*node);
            !now.names.contains_key(*slot)
                && now.versions.contains_key(&slot.0)
                && is_in_doubt(walk, &walked, &now.names, slot.0)
                && !is_elsewhere
        };
        let Some((slot, node)) = before.names.iter().find(keeps) else { return now };
        now.names.insert(*slot, *node);
        now.kept.insert(*slot);
        now.versions.entry(*node).or_insert(before.versions[node]);
    }
}

/// Tells whether the names of `dir` are not all known.
fn is_in_doubt(walk: &Walk, walked: &BTreeSet<Node>, names: &BTreeMap<Slot, Node>, dir: Node) -> bool {
    let above = |dir: &Node| super::tree::names_of(names, *dir).first().map(|slot| slot.0);
    walk.doubts.contains_key(&dir)
        || std::iter::successors(Some(dir), above).any(|dir| walk.doubts.get(&dir) == Some(&true))
        || !walked.contains(&dir)
}

/// Returns what indexing these copies gives, oldest first and nothing else.
pub(crate) fn fresh(setting: Setting, copies: &Truth) -> Catalog {
    let mut catalog = Catalog::new(setting);
    for (at, copy) in copies {
        let walk = catalog.recognise(*at, copy);
        let object = catalog.new_object(*at);
        catalog.insert(&Insertion { at: *at, walk, object, places: BTreeMap::new(), paths: BTreeMap::new() });
    }
    catalog
}

/// Checks a catalog against the generations that are there, and against one that never knew anything else.
pub(crate) fn check(catalog: &Catalog, truth: &Truth, reference: Option<&Catalog>) -> Result<(), Violation> {
    let gens: Vec<Instant> = truth.keys().copied().collect();
    expect(catalog.gens == gens, || "generations".into())?;
    if gens.is_empty() {
        let is_empty = catalog.names.rows().is_empty()
            && catalog.versions.is_empty()
            && catalog.kept.rows().is_empty()
            && catalog.doubts.rows().is_empty()
            && catalog.notes.values().all(BTreeMap::is_empty);
        return expect(is_empty, || "rows without generations".into());
    }
    let settled = settle(catalog.setting, truth);
    check_runs(catalog.names.rows(), &gens, "name")?;
    check_runs(catalog.kept.rows(), &gens, "kept")?;
    check_runs(catalog.doubts.rows(), &gens, "doubt")?;
    for (at, now) in &settled {
        check_generation(catalog, *at, &truth[at], now)?;
    }
    check_bytes(catalog, truth)?;
    check_notes(catalog, &settled)?;
    if let Some(reference) = reference {
        let (views, others) = (catalog.views(), reference.views());
        expect(views == others, || format!("views differ from those of indexing in order: {views:?} are {others:?}"))?;
    }
    let Setting { identity, broken, .. } = catalog.setting;
    let has_keys = identity == Identity::Path && !broken.is_some_and(Break::is_of_identity);
    if has_keys { check_keys(truth) } else { Ok(()) }
}

/// Births and deaths are generations that are there; a row shows somewhere; adjacent rows are one; a listing finds all.
fn check_runs<K: Copy + Ord + fmt::Debug, V: Copy + PartialEq>(
    rows: &BTreeMap<(K, Instant), super::Run<V>>,
    gens: &[Instant],
    what: &str,
) -> Result<(), Violation> {
    for ((key, born), run) in rows {
        let row = || format!("{what} row {key:?} from {born} to {}", run.died);
        let shows = |at: &&Instant| *born <= **at && **at < run.died;
        expect(gens.contains(born) || *born < gens[0], || format!("{}: born at no generation", row()))?;
        expect(gens.contains(&run.died) || run.died == FOREVER, || format!("{}: died at no generation", row()))?;
        expect(gens.iter().any(|at| shows(&at)), || format!("{}: shows nowhere", row()))?;
        let next = rows.get(&(*key, run.died)).filter(|next| next.value == run.value);
        expect(next.is_none(), || format!("{}: adjacent to one like it", row()))?;
        expect(run.fork == fork_of(*born, run.died), || format!("{}: the fork is {}", row(), run.fork))?;
        let is_found = gens.iter().filter(shows).all(|at| fork_path(*at).any(|fork| fork == run.fork));
        expect(is_found, || format!("{}: a hot listing misses it", row()))?;
    }
    Ok(())
}

fn check_generation(catalog: &Catalog, at: Instant, walk: &Walk, now: &Settled) -> Result<(), Violation> {
    let names = catalog.state(Some(at));
    expect(names == now.names, || format!("names at {at}: {names:?} are {:?}", now.names))?;
    let kept: BTreeSet<Slot> = catalog.kept.state(Some(at)).into_keys().collect();
    expect(kept == now.kept, || format!("kept names at {at}: {kept:?} are {:?}", now.kept))?;
    let doubts = catalog.doubts.state(Some(at));
    expect(doubts == walk.doubts, || format!("doubts at {at}: {doubts:?} are {:?}", walk.doubts))?;
    for (node, want) in &now.versions {
        let Some(version) = catalog.version(*node, at) else {
            return Err(Violation(format!("node {node} has no version at {at}")));
        };
        let is_same = version.columns() == want.columns();
        expect(is_same, || format!("version of {node} at {at}: {:?} is {:?}", version.columns(), want.columns()))?;
    }
    Ok(())
}

/// The bytes that a generation shows are those that it has, and they are where the catalog says.
pub(crate) fn check_bytes(catalog: &Catalog, truth: &Truth) -> Result<(), Violation> {
    for (at, now) in settle(catalog.setting, truth) {
        for (node, want) in now.versions {
            let (Some((born, version)), Some(content)) = (catalog.version_row(node, at), want.content) else {
                continue;
            };
            let is_told = catalog.setting.rule != Rule::Stamp;
            let is_same = !is_told || version.content == Some(content);
            expect(is_same, || format!("bytes of {node} at {at}: {:?} are {content}", version.content))?;
            if let Some(object) = version.place {
                let path = catalog.path_in(object, node);
                let Some(path) = path.filter(|_| catalog.objects.contains_key(&object)) else {
                    return Err(Violation(format!(
                        "the path of {node} in object {object} is not known, or it is gone"
                    )));
                };
                let Content::Files { files, .. } = &catalog.objects[&object].content else {
                    unreachable!("a volume's")
                };
                let found = files.get(&path);
                expect(found == Some(&content), || {
                    format!("bytes of {node} at {at}: object {object} has {found:?} at {path}, are {content}")
                })?;
            }
            if catalog.setting.rule == Rule::Disk && !catalog.objects.is_empty() {
                let first = catalog.first_shown(born).expect("a row that holds now begins to show");
                for from in [Some(first), truth[&at].tree.lives(node).then_some(at)].into_iter().flatten() {
                    let found = catalog.read_disk(catalog.holds[&from], version.cell);
                    expect(found == Some(content), || {
                        format!("bytes of {node} at {at}: the disk of {from} has {found:?}, are {content}")
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// Notes are what differs between neighbours.
fn check_notes(catalog: &Catalog, settled: &BTreeMap<Instant, Settled>) -> Result<(), Violation> {
    let mut before: Option<&Settled> = None;
    for (at, now) in settled {
        let mut want = BTreeMap::new();
        if let Some(before) = before {
            for node in before.versions.keys().chain(now.versions.keys()) {
                let changed = catalog.compare(*node, before.state(*node), now.state(*node));
                if changed != 0 {
                    want.insert(*node, changed);
                }
            }
        }
        let notes = catalog.notes.get(at).cloned().unwrap_or_default();
        expect(notes == want, || format!("notes at {at}: {notes:?} are {want:?}"))?;
        before = Some(now);
    }
    Ok(())
}

/// A node has one key for life, and a key one node.
fn check_keys(truth: &Truth) -> Result<(), Violation> {
    let (mut keys, mut nodes) = (BTreeMap::new(), BTreeMap::new());
    for (at, Walk { tree, .. }) in truth {
        for node in tree.nodes().into_iter().filter(|node| *node != ROOT) {
            let first = tree.names_of(node).into_iter().min_by_key(|slot| tree.path(*slot)).expect("it lives");
            let key = (first, tree.is_directory(node));
            let is_one = *keys.entry(node).or_insert(key) == key && *nodes.entry(key).or_insert(node) == node;
            expect(is_one, || {
                format!("node {node} at {at} is told by {key:?}, and by another key, or is not alone in that")
            })?;
        }
    }
    Ok(())
}
