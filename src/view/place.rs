//! What inode numbers lead to.
//! Each value holds in the snapshot in which the number was followed.

use super::Ino;
use super::made::{BetweenDir, HistoryDir};
use super::snapshot::ViewKey;
use crate::model::{GenerationId, NodeId, SourceId, Time, ViewId};

/// A node of a backup, with all that is needed to ask the catalog about it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) view: ViewId,
    pub(super) source: SourceId,
    pub(super) root: NodeId,
    pub(super) node: NodeId,
    /// The generation of the source that the view shows. What is kept in memory goes by it: another one may take its
    /// second.
    pub(super) generation: GenerationId,
    /// When that was taken.
    pub(super) at: Time,
    /// Whether the view has other sources besides.
    pub(super) is_among_all: bool,
    /// Whether something could not be read when that generation was indexed.
    pub(super) has_losses: bool,
}

/// What an inode number leads to, in the snapshot in which it means something.
pub(super) enum Spot {
    Root,
    Source(SourceId),
    View(ViewId, ViewKey),
    Notes(ViewId),
    Note(ViewId, usize),
    Node(Place),
    History(Ino, HistoryDir),
    Between(Ino, BetweenDir),
}
