//! Inode numbers: which tree, and which node in it.
//!
//! `number = view << 36 | node`, bit 63 stays 0. Which tree a view is, and for how long, is said in
//! [`crate::catalog::numbers`]. Names of one node (hard links) share a number inside a view; no number is
//! shared by two views. View 0 is the top that no source has: its nodes are the sources. In the other views
//! nodes below [`FIRST_NODE`] are directories and files that the mount makes up. Directories of
//! histories and of differences ([`super::made`]) have numbers of their own kind, which are digests.

use crate::catalog::numbers::{FIRST_MADE, MADE_BITS, NODE_BITS, VIEW_BITS};
use crate::model::{NodeId, SourceId, ViewId};

/// Numbers of real nodes begin here (`catalog` gives out block 1 and up).
const FIRST_NODE: i64 = 1 << 16;
const NODE_MAX: i64 = (1 << NODE_BITS) - 1;
/// How many numbers of views there are.
const VIEWS: i64 = 1 << VIEW_BITS;

const ROOT: i64 = 1;
const NOTES: i64 = 2;
const FIRST_NOTE: i64 = 16;
const FIRST_SOURCE: i64 = 256;

/// An inode number as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(pub u64);

impl Ino {
    /// The top of the mount.
    pub const ROOT: Self = Self(ROOT as u64);

    fn new(view: ViewId, node: i64) -> Self {
        debug_assert!((0..VIEWS).contains(&view.0) && (0..=NODE_MAX).contains(&node));
        Self((view.0 << NODE_BITS | node) as u64)
    }

    /// Returns the number of a node of a backup.
    pub(super) fn of_node(view: ViewId, node: NodeId) -> Self {
        debug_assert!(node.0 >= FIRST_NODE);
        Self::new(view, node.0)
    }

    /// Returns the number of the directory that holds all sources of a view.
    pub(super) fn of_view(view: ViewId) -> Self {
        Self::new(view, 0)
    }

    /// Returns the number of the directory that holds the instants of a source. There are fewer sources than blocks of
    /// nodes, so they fit.
    pub(super) fn of_source(source: SourceId) -> Self {
        Self::new(ViewId(0), FIRST_SOURCE + source.0)
    }

    /// Returns the number of the `.asof` directory of a view (of the top: view 0).
    pub(super) fn of_notes(view: ViewId) -> Self {
        Self::new(view, NOTES)
    }

    /// Returns the number of file `index` in `.asof`.
    pub(super) fn of_note(view: ViewId, index: usize) -> Self {
        Self::new(view, FIRST_NOTE + index as i64)
    }

    /// Returns the number of a directory that is made up, of which this is the digest.
    pub(super) fn of_made(digest: u64) -> Self {
        Self((FIRST_MADE as u64) << NODE_BITS | digest & ((1 << MADE_BITS) - 1))
    }

    /// Tells whether it is the number of such a directory.
    pub fn is_made(self) -> bool {
        self.decode() == Decoded::Made
    }

    /// Returns what the number says, before anybody knows whether that exists.
    pub(super) fn decode(self) -> Decoded {
        let view = ViewId((self.0 >> NODE_BITS) as i64);
        let node = self.0 as i64 & NODE_MAX;
        match (view.0, node) {
            (VIEWS.., _) => Decoded::Nothing,
            (FIRST_MADE.., _) => Decoded::Made,
            (0, ROOT) => Decoded::Root,
            (0, FIRST_SOURCE..) => Decoded::Source(SourceId(node - FIRST_SOURCE)),
            (_, FIRST_NODE..) => Decoded::Node(view, NodeId(node)),
            (_, NOTES) => Decoded::Notes(view),
            (_, FIRST_NOTE..FIRST_SOURCE) => Decoded::Note(view, (node - FIRST_NOTE) as usize),
            (1.., 0) => Decoded::View(view),
            _ => Decoded::Nothing,
        }
    }
}

/// What an inode number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// The top.
    Root,
    /// The instants of a source.
    Source(SourceId),
    /// The sources of a view.
    View(ViewId),
    /// `.asof`.
    Notes(ViewId),
    /// A file in `.asof`.
    Note(ViewId, usize),
    /// A node of a backup.
    Node(ViewId, NodeId),
    /// A directory of a history, or of differences.
    Made,
    /// No number that was ever given out.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_says_what_it_was_made_of() {
        let view = ViewId(FIRST_MADE - 1);
        assert_eq!(Ino::ROOT.decode(), Decoded::Root);
        assert_eq!(Ino::of_source(SourceId(7)).decode(), Decoded::Source(SourceId(7)));
        assert_eq!(Ino::of_source(SourceId(1 << 20)).decode(), Decoded::Source(SourceId(1 << 20)));
        assert_eq!(Ino::of_view(view).decode(), Decoded::View(view));
        assert_eq!(Ino::of_notes(ViewId(0)).decode(), Decoded::Notes(ViewId(0)));
        assert_eq!(Ino::of_note(view, 3).decode(), Decoded::Note(view, 3));
        let node = NodeId((1 << 36) - 1);
        assert_eq!(Ino::of_node(view, node).decode(), Decoded::Node(view, node));
        assert_eq!(Ino::of_made(0).decode(), Decoded::Made);
        assert_eq!(Ino::of_made(u64::MAX), Ino((1 << 63) - 1), "the largest one, as a positive number");
        assert_eq!(Ino::of_node(view, node), Ino(Ino::of_made(0).0 - 1));
        assert_eq!(Ino::of_made(u64::MAX).decode(), Decoded::Made);
        assert_eq!(Ino(5).decode(), Decoded::Nothing);
        assert_eq!(Ino(1 << 63 | 65_536).decode(), Decoded::Nothing);
    }
}
