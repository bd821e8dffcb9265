//! Every history of a small world: three copies, each of which may hold one of two trees at any time, indexed, forgotten and indexed
//! again in every order, until no state comes up that was not there.
//!
//! Each state is sound, what was told, and what indexing what is left alone gives; what is told of a catalog follows from its rows. States are rows
//! of the catalog, with nodes by the order in which a walk of all name rows meets them in place of their numbers.

use crate::catalogs::{Asked, History};
use crate::tree::{Node, Plain};
use crate::world::{Act, Alone, COPIES, Catalog, Kind as ShareKind, Looking, Share, Step};
use asof::model::Kind;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Copies of a small world.
const SMALL: usize = 3;

/// What was searched.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Searched {
    pub(crate) states: usize,
    pub(crate) edges: usize,
}

/// Returns the trees of small worlds: one directory, two files, three names; contents that look equal, hard links, a name that is of another
/// type, a move, and directories that cannot be listed.
pub(crate) fn trees() -> Vec<Plain> {
    let file = |content| Node { kind: Kind::File, content, mode: 0o644, comment: false };
    let dir = Node { kind: Kind::Directory, content: 0, mode: 0o755, comment: false };
    let tree = |names: &[(u64, &'static str, u64)], content: u8, closed: Option<u64>| {
        let mut plain = Plain::new();
        for (above, name, node) in names {
            plain.names.insert((*above, name), *node);
            plain.nodes.insert(*node, if *node == 1 { dir.clone() } else { file(content) });
        }
        plain.closed.extend(closed.map(|dir| (dir, Vec::new())));
        plain
    };
    vec![
        tree(&[], 0, None),
        tree(&[(0, "a", 2)], 0, None),
        tree(&[(0, "a", 2)], 1, None),
        tree(&[(0, "a", 2)], 2, None),
        tree(&[(0, "b", 2)], 0, None),
        tree(&[(0, "a", 2), (0, "b", 2)], 0, None),
        tree(&[(0, "a", 2), (0, "b", 3)], 0, None),
        tree(&[(0, "a", 1)], 0, None),
        tree(&[(0, "a", 1), (1, "c", 2)], 0, None),
        tree(&[(0, "a", 1), (1, "c", 2), (0, "b", 2)], 0, None),
        tree(&[(0, "a", 1)], 0, Some(1)),
        tree(&[], 0, Some(0)),
    ]
}

/// Searches the world of two trees.
pub(crate) fn search(kind: ShareKind, two: &[Plain; 2]) -> Searched {
    let catalog = Catalog::without_manifests(kind);
    let start = Share::empty(kind, &two[0]);
    let mut seen = BTreeSet::from([(left(&start), state(&Asked::open(&catalog.path())))]);
    let mut todo = vec![(start, catalog.bytes(), Vec::new())];
    let (mut alone, mut histories) = (Alone::new(), HashMap::<String, History>::new());
    let mut searched = Searched { states: 1, edges: 0 };
    while let Some((share, bytes, log)) = todo.pop() {
        for copy in 0..SMALL {
            for tree in 0..=two.len() {
                let act = match (share.is_there[copy], tree < two.len()) {
                    (true, true) => Act::Again,
                    (true, false) => Act::Forget,
                    (false, true) => Act::Index,
                    (false, false) => continue,
                };
                let plain = two.get(tree).unwrap_or(&two[0]).clone();
                let step = Step { share: 0, copy, act, plain };
                catalog.put_bytes(&bytes);
                catalog.do_step(&step);
                let mut share = share.clone();
                share.note(&step);
                let mut log = log.clone();
                log.push(format!("{step} as tree {tree}"));
                let what = format!("{kind:?} {two:?}: {}", log.join(", "));
                searched.edges += 1;
                let left = left(&share);
                if !seen.insert((left.clone(), state(&Asked::open(&catalog.path())))) {
                    continue;
                }
                searched.states += 1;
                let looking = Looking::at(&catalog);
                looking.assert_sound(&what);
                looking.assert_told(&share, &what);
                let history = histories.entry(left).or_insert_with(|| alone.history(&share));
                looking.assert_alone(&share, history, &what);
                drop(looking);
                todo.push((share, catalog.bytes(), log));
            }
        }
    }
    searched
}

/// Says what is left of a share.
fn left(share: &Share) -> String {
    format!("{:?} {:?}", share.is_there, share.copies)
}

/// Returns what the rows of a catalog say, whatever the numbers of nodes and runs.
fn state(asked: &Asked) -> String {
    let ask = |sql: &str| asked.rows(sql);
    let split = |row: &String| row.split("|").map(str::to_owned).collect::<Vec<_>>();
    let names: Vec<Vec<String>> =
        ask("SELECT parent, name, born, died, node, kind FROM dirent").iter().map(split).collect();
    let root = ask("SELECT root FROM source").remove(0);
    let mut order: BTreeMap<String, usize> = BTreeMap::from([(root.clone(), 0)]);
    let mut todo = std::collections::VecDeque::from([root]);
    let mut said = Vec::new();
    while let Some(dir) = todo.pop_front() {
        for row in names.iter().filter(|row| row[0] == dir) {
            let next = order.len();
            let node = *order.entry(row[4].clone()).or_insert_with(|| {
                todo.push_back(row[4].clone());
                next
            });
            said.push(format!("name {} {} {} {} {node} {}", order[&dir], row[1], row[2], row[3], row[5]));
        }
    }
    let number = |node: &str| order.get(node).map_or_else(|| format!("nameless {node}"), usize::to_string);
    let by_node = [
        "SELECT i.node, i.born, p.mode, i.size, i.mtime, i.nlink, i.place, (SELECT hex(d.blake3) FROM digest d WHERE d.node = i.node \
         AND d.bytes = i.bytes) FROM inode i JOIN perm p ON p.id = i.perm",
        "SELECT node, at, op FROM change",
        "SELECT node, born, died, subtree FROM doubt",
        "SELECT parent, name, born, died FROM kept",
        "SELECT DISTINCT node, 'known' FROM identity",
    ];
    for (which, sql) in by_node.iter().enumerate() {
        for row in ask(sql).iter().map(split) {
            said.push(format!("{which} {} {}", number(&row[0]), row[1..].join(" ")));
        }
    }
    let bytes = ask("SELECT node, born, bytes FROM inode WHERE bytes <> 0").iter().map(split).collect::<Vec<_>>();
    // Which versions have the same bytes, and not the numbers of the runs that brought them.
    for row in &bytes {
        let first = bytes.iter().filter(|other| other[0] == row[0] && other[2] == row[2]).map(|other| &other[1]).min();
        said.push(format!("bytes {} {} {first:?}", number(&row[0]), row[1]));
    }
    said.extend(ask("SELECT taken_at, entries, changed_nodes, losses FROM generation"));
    said.sort();
    said.join("\n")
}

const _: () = assert!(SMALL <= COPIES);
