//! Whole trees, and what a generation saw of one.

use super::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Number of a node; the root is [`ROOT`].
pub(crate) type Node = u32;

/// A name: its directory, and what it is called there.
pub(crate) type Slot = (Node, char);

pub(crate) const ROOT: Node = 0;

/// What a node is in one tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct File {
    pub(crate) mode: u8,
    /// Which bytes; None: a directory.
    pub(crate) content: Option<u8>,
    /// The write that brought the bytes.
    pub(crate) write: u64,
    /// Where the bytes are on a disk.
    pub(crate) cell: u8,
}

/// A whole tree. The root is always there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) names: BTreeMap<Slot, Node>,
    /// May know nodes that have no name any more.
    pub(crate) files: BTreeMap<Node, File>,
}

impl Tree {
    pub(crate) fn empty() -> Self {
        Self { names: BTreeMap::new(), files: BTreeMap::from([(ROOT, File::default())]) }
    }

    pub(crate) fn lives(&self, node: Node) -> bool {
        node == ROOT || self.names.values().any(|n| *n == node)
    }

    /// Returns every node that lives, the root too.
    pub(crate) fn nodes(&self) -> BTreeSet<Node> {
        nodes_of(&self.names)
    }

    /// Returns the names of `node`, sorted.
    pub(crate) fn names_of(&self, node: Node) -> Vec<Slot> {
        names_of(&self.names, node)
    }

    pub(crate) fn is_directory(&self, node: Node) -> bool {
        self.files[&node].content.is_none()
    }

    /// Returns the path of a name.
    pub(crate) fn path(&self, slot: Slot) -> String {
        path_of(&self.names, slot).expect("what a directory holds is in the tree if it is")
    }

    /// Tells whether `dir` is `top` or below it.
    pub(crate) fn is_below(&self, dir: Node, top: Node) -> bool {
        dir == top || dir != ROOT && self.is_below(self.names_of(dir)[0].0, top)
    }

    /// Drops what hangs below directories that are gone.
    pub(crate) fn reap(&mut self) {
        loop {
            let count = self.names.len();
            let nodes = self.nodes();
            self.names.retain(|(dir, _), _| nodes.contains(dir));
            if self.names.len() == count {
                return;
            }
        }
    }
}

pub(crate) fn nodes_of(names: &BTreeMap<Slot, Node>) -> BTreeSet<Node> {
    names.values().copied().chain([ROOT]).collect()
}

pub(crate) fn names_of(names: &BTreeMap<Slot, Node>, node: Node) -> Vec<Slot> {
    names.iter().filter(|(_, n)| **n == node).map(|(slot, _)| *slot).collect()
}

/// Returns the path of a name; None if a directory above it has no name.
pub(crate) fn path_of(names: &BTreeMap<Slot, Node>, (dir, name): Slot) -> Option<String> {
    if dir == ROOT {
        return Some(name.to_string());
    }
    let above = names.iter().find(|(_, node)| **node == dir)?;
    Some(format!("{}/{name}", path_of(names, *above.0)?))
}

/// What a generation saw: a closed tree, and the directories whose names it does not all know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) tree: Tree,
    /// Directories of `tree`; whether all that is below is in doubt too.
    pub(crate) doubts: BTreeMap<Node, bool>,
}

impl Walk {
    /// Reads a walk: `PATH=NODE` is a file, `PATH=NODE:CONTENT` one with other bytes, `PATH/=NODE` a directory, `?PATH/` says that the
    /// names in a directory are not all known, `??PATH/` that nothing below is; without a path these are of the root.
    ///
    /// Paths come after those of the directories above.
    pub(crate) fn of(text: &str) -> Self {
        let mut walk = Self::whole(Tree::empty());
        let mut dirs = BTreeMap::from([(String::new(), ROOT)]);
        for word in text.split_whitespace() {
            if let Some(dir) = word.strip_prefix('?') {
                let path = dir.trim_start_matches('?');
                walk.doubts.insert(dirs[path], dir.starts_with('?'));
                continue;
            }
            let (path, number) = word.split_once('=').expect("a name and a node");
            let (number, content) = number.split_once(':').unwrap_or((number, "0"));
            let node = number.parse().expect("a node is a number");
            let is_directory = path.ends_with('/');
            let above = path.trim_end_matches('/').rfind('/').map_or(0, |slash| slash + 1);
            let name = path[above..].chars().next().expect("a name is a letter");
            walk.tree.names.insert((dirs[&path[..above]], name), node);
            let content = (!is_directory).then(|| content.parse().expect("a content is a number"));
            walk.tree.files.insert(node, File { content, ..File::default() });
            if is_directory {
                dirs.insert(path.to_owned(), node);
            }
        }
        walk
    }

    pub(crate) fn whole(tree: Tree) -> Self {
        Self { tree, doubts: BTreeMap::new() }
    }

    /// Returns a walk of `tree` that did not see all of it.
    pub(crate) fn in_part(dice: &mut Dice, tree: &Tree) -> Self {
        let dirs: Vec<Node> = tree.nodes().into_iter().filter(|node| tree.is_directory(*node)).collect();
        let mut doubts = BTreeMap::new();
        for _ in 0..1 + dice.roll(2) {
            doubts.insert(*dice.pick(&dirs), dice.one_in(2));
        }
        let is_blind = dice.one_in(3);
        let mut seen = tree.clone();
        for slot in tree.names.keys() {
            let is_in_doubt =
                doubts.iter().any(|(dir, subtree)| slot.0 == *dir || *subtree && tree.is_below(slot.0, *dir));
            if is_in_doubt && (is_blind || dice.one_in(2)) {
                seen.names.remove(slot);
            }
        }
        seen.reap();
        doubts.retain(|dir, _| seen.lives(*dir));
        Self { tree: seen, doubts }
    }
}

/// As [`Walk::of`] reads it.
impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path =
            |node: Node| self.tree.names_of(node).first().map_or(String::new(), |slot| self.tree.path(*slot) + "/");
        let mut words = BTreeSet::new();
        for (slot, node) in &self.tree.names {
            words.insert(match self.tree.files[node].content {
                Some(content) => format!("{}={node}:{content}", self.tree.path(*slot)),
                None => format!("{}/={node}", self.tree.path(*slot)),
            });
        }
        let doubts =
            self.doubts.iter().map(|(dir, subtree)| format!("{}{}", if *subtree { "??" } else { "?" }, path(*dir)));
        f.write_str(&words.into_iter().chain(doubts).collect::<Vec<_>>().join(" "))
    }
}
