//! Identity by path: which node a name belongs to.
//!
//! The names of one inode in a copy are a link group. Its key is that of its first name, in the order of paths: node of
//! the directory, name, and type. Only names that were seen count.
//!
//! - A node has one key for life, and a key has one node. A group that loses its first name becomes another node.
//! - So the node of a key is found through any name row of that name, earlier or later, in a generation that saw the
//!   name as the first of its group. Neighbours do not matter, and neither does the order of indexing.
//! - When the last row of a node is gone, its key is free: the name gets a new node when it comes back.

use super::runs::Beside;
use super::tree::{names_of, path_of};
use super::{Break, Catalog, Identity, Instant, Node, ROOT, Slot, Tree, Walk};
use std::collections::BTreeMap;

/// Returns the name of `node` whose path is the first, and the path.
fn first_name(names: &BTreeMap<Slot, Node>, node: Node) -> Option<(String, Slot)> {
    names_of(names, node).into_iter().filter_map(|slot| Some((path_of(names, slot)?, slot))).min()
}

impl Catalog {
    /// Returns a walk whose nodes are numbers of its copy with the numbers of the catalog in their place: by path, the node of
    /// the first name of each link group; by inode, what it is.
    pub(crate) fn recognise(&mut self, at: Instant, walk: &Walk) -> Walk {
        if self.setting.identity == Identity::Inode {
            return walk.clone();
        }
        let beside = self.beside(at);
        let mut numbers = BTreeMap::from([(ROOT, ROOT)]);
        let mut dirs = vec![ROOT];
        let of_kind = |is_directory: bool| -> Vec<(Slot, Node)> {
            let names = walk.tree.names.iter().map(|(slot, node)| (*slot, *node));
            names.filter(|(_, node)| walk.tree.is_directory(*node) == is_directory).collect()
        };
        let directories = of_kind(true);
        while let Some(dir) = dirs.pop() {
            for ((_, name), node) in directories.iter().filter(|((above, _), _)| *above == dir) {
                let number = self.node_of(beside, &[(numbers[&dir], *name)], true);
                numbers.insert(*node, number);
                dirs.push(*node);
            }
        }
        let mut groups: Vec<Node> = of_kind(false).into_iter().map(|(_, node)| node).collect();
        groups.sort_by_key(|node| first_name(&walk.tree.names, *node));
        groups.dedup();
        for node in groups {
            let mut links: Vec<(String, Slot)> =
                walk.tree.names_of(node).into_iter().map(|slot| (walk.tree.path(slot), slot)).collect();
            links.sort();
            let links: Vec<Slot> = links.into_iter().map(|(_, (dir, name))| (numbers[&dir], name)).collect();
            let mut number = self.node_of(beside, &links, false);
            if numbers.values().any(|taken| *taken == number) {
                number = self.new_node(); // only where a rule is left out; one node is not two groups
            }
            numbers.insert(node, number);
        }
        let renamed = |node: &Node| numbers[node];
        let names = walk.tree.names.iter().map(|((dir, name), node)| ((renamed(dir), *name), renamed(node)));
        let files = walk.tree.files.iter().filter_map(|(node, file)| Some((*numbers.get(node)?, *file)));
        let doubts = walk.doubts.iter().map(|(dir, subtree)| (renamed(dir), *subtree));
        Walk { tree: Tree { names: names.collect(), files: files.collect() }, doubts: doubts.collect() }
    }

    /// Returns the node of a link group, a new one if none has its key.
    fn node_of(&mut self, beside: Beside, links: &[Slot], is_directory: bool) -> Node {
        let found = match self.setting.broken {
            Some(Break::IdentityOfNeighbours) => self.neighbour(beside, links[0], is_directory),
            Some(Break::IdentityOfAnyName) => links.iter().find_map(|slot| self.known(*slot, is_directory)),
            _ => self.known(links[0], is_directory),
        };
        found.unwrap_or_else(|| self.new_node())
    }

    /// Returns the node of any row of this name and type, in a generation that saw the name as the first of its group.
    fn known(&self, slot: Slot, is_directory: bool) -> Option<Node> {
        let rows = self.names.rows().range((slot, Instant::MIN)..=(slot, Instant::MAX));
        let is_it = |(key, run): (&(Slot, Instant), &super::Run<Node>)| {
            let shows = self.gens.iter().filter(|at| key.1 <= **at && **at < run.died);
            let is_first = |at: &Instant| {
                let names = match self.setting.broken {
                    Some(Break::IdentityOfKept) => self.state(Some(*at)),
                    _ => self.seen(*at),
                };
                let first = first_name(&names, run.value).map(|(_, first)| first);
                first == Some(slot) || self.is_without(Break::IdentityOfAnyLink)
            };
            let is_right = self.is_directory(run.value) == is_directory && shows.into_iter().any(is_first);
            is_right.then_some(run.value)
        };
        rows.into_iter().find_map(is_it)
    }

    /// Returns the node that the generation before, else the one after, has at this name.
    fn neighbour(&self, beside: Beside, slot: Slot, is_directory: bool) -> Option<Node> {
        let at = |at: Option<Instant>| self.state(at).get(&slot).copied();
        let is_right = |node: &Node| self.is_directory(*node) == is_directory;
        at(beside.before).filter(is_right).or_else(|| at(beside.after).filter(is_right))
    }

    fn new_node(&mut self) -> Node {
        self.last_node += 1;
        self.last_node
    }

    /// Returns all nodes but the root in the order of where they were when, which no two share; nothing where inode numbers tell
    /// who is who.
    pub(crate) fn lives(&self) -> Vec<(Vec<(Instant, String)>, Node)> {
        if self.setting.identity == Identity::Inode {
            return Vec::new();
        }
        let mut lives: BTreeMap<Node, Vec<(Instant, String)>> = BTreeMap::new();
        for at in &self.gens {
            let names = self.state(Some(*at));
            for (slot, node) in &names {
                let path = path_of(&names, *slot).expect("every live name hangs below a live directory");
                lives.entry(*node).or_default().push((*at, path));
            }
        }
        let mut lives: Vec<_> = lives
            .into_iter()
            .map(|(node, mut life)| {
                life.sort();
                (life, node)
            })
            .collect();
        lives.sort();
        lives
    }
}
