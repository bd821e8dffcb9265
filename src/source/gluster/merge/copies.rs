//! The copies of one node on several bricks: which of them counts, and what the others change about it.
//!
//! Promises: the same copies give the same answer every time. A pointer file never counts beside a file, and neither does what healing
//! has just made and not completed. Where nobody is believed, that is said.

use super::belief::{Belief, BrickPlace, CopyOf, beliefs};
use crate::model::{Attrs, Finding, FindingKind, Kind, RelPath, XattrSet};
use crate::source::gluster::Gfid;
use crate::source::gluster::part::{Line, Stamp, Text};
use std::collections::HashMap;

/// What reads the lines of a part.
pub type Lines<'p, E> = Box<dyn Iterator<Item = Result<Line, E>> + 'p>;

/// The copy of a node that counts.
pub(super) struct Chosen<'c, 'a> {
    pub(super) copy: &'c CopyOf<'a>,
    /// Its set does not believe it either: how the node is, nobody can prove.
    pub(super) unproven: bool,
    /// The file itself is in a set that did not tell of it.
    pub(super) is_pointer: bool,
}

/// Tells whether more than half of the copies in the set of `copy` have the same owner, permissions and attributes.
fn is_of_the_many(copy: &CopyOf<'_>, copies: &[CopyOf<'_>]) -> bool {
    let is_like = |other: &CopyOf<'_>| {
        let (a, b) = (copy.state, other.state);
        a.gfid == b.gfid && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.xattrs == b.xattrs
    };
    let set = copies.iter().filter(|other| other.place.set == copy.place.set && !other.state.linkto);
    let (all, like) = set.fold((0, 0), |(all, like), other| (all + 1, like + usize::from(is_like(other))));
    2 * like > all
}

/// Tells whether a copy is a pointer file, or one that is just being made beside others in its set.
fn is_pointer(copy: &CopyOf<'_>, copies: &[CopyOf<'_>]) -> bool {
    let beside = || copies.iter().any(|other| other.place.set == copy.place.set && other.state.linkto);
    copy.state.linkto || copy.state.is_bare_pointer() && beside()
}

/// Returns the copy that counts.
pub(super) fn best<'c, 'a>(copies: &'c [CopyOf<'a>]) -> Chosen<'c, 'a> {
    let beliefs = beliefs(copies);
    let is_file = |copy: &CopyOf<'_>| Kind::from_mode(copy.state.mode) == Some(Kind::File);
    let is_proven = |(copy, belief): (&CopyOf<'_>, &Belief)| belief.metadata && (!is_file(copy) || belief.data);
    let rank = |&(copy, belief): &(&CopyOf<'_>, &Belief)| {
        let whole = !(copy.place.arbiter && is_file(copy));
        // Bricks are not looked at in the same moment: one that is being healed may be caught half way, with the time of
        // that on it, by when its partners call it behind no more.
        let many = is_of_the_many(copy, copies);
        let proven = (is_proven((copy, belief)), copy.named, belief.entries, copy.state.unreadable.is_none(), many);
        let real = (!is_pointer(copy, copies), !copy.state.is_bare_pointer(), whole);
        // The lowest brick of equals, so that the answer is the same every time.
        (real, proven, copy.state.ctime, std::cmp::Reverse(copy.place.brick))
    };
    let (copy, belief) = copies.iter().zip(&beliefs).max_by_key(rank).expect("somebody told of it");
    let is_pointer = is_pointer(copy, copies);
    Chosen { copy, unproven: !is_pointer && !is_proven((copy, belief)), is_pointer }
}

/// Returns the attributes of the copy that counts, or none if its mode names no kind.
pub(super) fn attrs_of(chosen: &CopyOf<'_>, copies: &[CopyOf<'_>]) -> Option<Attrs> {
    let state = chosen.state;
    let kind = Kind::from_mode(state.mode)?;
    let sized = matches!(kind, Kind::File | Kind::Directory | Kind::Symlink);
    let (mut mtime, mut ctime) = (state.mtime, state.ctime);
    if kind == Kind::Directory {
        let beliefs = beliefs(copies);
        let same = |(copy, belief): &(&CopyOf<'_>, &Belief)| copy.state.gfid == state.gfid && belief.metadata;
        for (copy, _) in copies.iter().zip(&beliefs).filter(same) {
            (mtime, ctime) = (mtime.max(copy.state.mtime), ctime.max(copy.state.ctime));
        }
    }
    Some(Attrs {
        mode: state.mode,
        uid: state.uid,
        gid: state.gid,
        size_bytes: if sized { state.size } else { 0 },
        allocated_bytes: (kind == Kind::File && state.allocated < state.size).then_some(state.allocated),
        mtime: mtime.into(),
        ctime: ctime.into(),
        nlink: state.nlink,
        rdev: if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { state.rdev } else { 0 },
        xattrs: XattrSet::new(state.xattrs.iter().map(|(name, value)| (name.0.clone(), value.0.clone())).collect()),
        target: state.target.clone().map(|target| target.0).unwrap_or_default(),
    })
}

/// What a brick could not tell.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) place: BrickPlace,
    pub(super) path: Text,
    pub(super) detail: String,
}

impl Trouble {
    /// Returns it as a loss, unless another brick of the set, of those at `places`, has told what this one could not.
    pub(super) fn as_finding<'p>(&self, places: impl Iterator<Item = &'p BrickPlace>) -> Finding {
        let alone = places.filter(|other| other.set == self.place.set).count() < 2;
        let kind = if alone { FindingKind::Unreadable } else { FindingKind::Changed };
        // A path that is no path is still told of, at the root.
        let path = RelPath::parse(&self.path.0).unwrap_or_else(|_| RelPath::root());
        Finding { kind, path, detail: format!("brick {}: {}", self.place.brick + 1, self.detail) }
    }
}

/// Shards of a file lie on any brick.
pub(super) fn note_shards(known: &mut HashMap<Gfid, Stamp>, base: Gfid, changed: Stamp) {
    let newest = known.entry(base).or_insert(changed);
    *newest = changed.max(*newest);
}

/// A write into a shard leaves the times of the file as they are: the shard's count where they are newer, in the ctime, which
/// nobody restores and which tells whether the bytes may be others.
pub(super) fn touch_by_shards(attrs: &mut Attrs, changed: Option<&Stamp>) {
    if let Some(changed) = changed {
        attrs.ctime = attrs.ctime.max((*changed).into());
    }
}
