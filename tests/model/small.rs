//! A small world, searched whole.

use super::check::{Violation, check, fresh};
use super::{Catalog, File, Insertion, Instant, Node, ROOT, Setting, Tree, Truth, Walk};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Returns all trees of one directory (node 1), two files (3, 4; 3 has two contents that look equal) and names a and b.
fn small_trees() -> Vec<Tree> {
    let mut trees = Vec::new();
    for a in [None, Some(1), Some(3), Some(4)] {
        for b in [None, Some(1), Some(3), Some(4)] {
            for below in [None, Some(3), Some(4)] {
                let has_directory = a == Some(1) || b == Some(1);
                if a == Some(1) && b == Some(1) || below.is_some() && !has_directory {
                    continue;
                }
                let slots = [((ROOT, 'a'), a), ((ROOT, 'b'), b), ((1, 'a'), below)];
                let names: BTreeMap<_, Node> =
                    slots.into_iter().filter_map(|(slot, node)| Some((slot, node?))).collect();
                let contents: &[u8] = if names.values().any(|node| *node == 3) { &[0, 1] } else { &[0] };
                for content in contents {
                    let file = |content| File { content: Some(content), ..File::default() };
                    let dirs = [(ROOT, File::default()), (1, File::default())];
                    let files = dirs.into_iter().chain([(3, file(*content)), (4, file(0))]).collect();
                    trees.push(Tree { names: names.clone(), files });
                }
            }
        }
    }
    trees
}

/// Returns all walks of the small trees: whole ones, and with `has_doubts` those that may not know the root's names, or those
/// of the directory, or neither.
pub(crate) fn small_walks(has_doubts: bool) -> Vec<Walk> {
    let mut walks = Vec::new();
    for tree in small_trees() {
        walks.push(Walk::whole(tree.clone()));
        let doubts = [vec![(ROOT, false)], vec![(ROOT, true)], vec![(1, false)], vec![(ROOT, false), (1, false)]];
        for doubts in doubts.into_iter().filter(|_| has_doubts) {
            if doubts.iter().all(|(dir, _)| tree.lives(*dir)) {
                walks.push(Walk { tree: tree.clone(), doubts: doubts.into_iter().collect() });
            }
        }
    }
    walks
}

/// Goes through every state that putting in and forgetting these generations can reach, checks each edge, and returns how
/// many these were.
pub(crate) fn exhaustive(setting: Setting, walks: &Truth) -> Result<usize, Violation> {
    let state = |catalog: &Catalog| {
        let names: Vec<_> = catalog.names.rows().iter().map(|(key, run)| (*key, *run)).collect();
        let marks: Vec<_> = catalog.kept.rows().iter().map(|(key, run)| (*key, run.died)).collect();
        let doubts: Vec<_> = catalog.doubts.rows().iter().map(|(key, run)| (*key, *run)).collect();
        let versions: Vec<_> = catalog.versions.iter().map(|(key, version)| (*key, *version)).collect();
        format!("{:?}", (&catalog.gens, names, versions, marks, doubts))
    };
    let start = Catalog::new(setting);
    let mut references: HashMap<BTreeSet<Instant>, Catalog> = HashMap::new();
    let (mut todo, mut edges) = (vec![start], 0);
    let mut known = HashSet::from([state(&todo[0])]);
    while let Some(from) = todo.pop() {
        for (at, walk) in walks {
            let mut catalog = from.clone();
            if catalog.gens.contains(at) {
                catalog.forget(*at);
            } else {
                let (places, paths) = (BTreeMap::new(), BTreeMap::new());
                catalog.insert(&Insertion { at: *at, walk: walk.clone(), object: 1, places, paths });
            }
            let there: Truth = catalog.gens.iter().map(|at| (*at, walks[at].clone())).collect();
            let reference = references.entry(there.keys().copied().collect()).or_insert_with(|| fresh(setting, &there));
            check(&catalog, &there, Some(reference)).map_err(|violation| {
                let walks: Vec<_> = walks.iter().map(|(at, walk)| format!("{at}: {walk}")).collect();
                Violation(format!("{violation}; {}; from {:?} by {at}", walks.join(", "), from.gens))
            })?;
            edges += 1;
            if known.insert(state(&catalog)) {
                todo.push(catalog);
            }
        }
    }
    Ok(edges)
}
