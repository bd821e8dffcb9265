//! What bricks have noted for healing, and whether that is something missed or something that is being written.
//!
//! Copies are noted when one of them missed a change. Erasure coding notes each change on every brick before it is made, and strikes it out about a
//! second after the last one (`ec_dirty` and the delayed post-op, `xlators/cluster/ec/src/ec-common.c`). Bricks are not
//! listed in one moment, so a write may be noted here and not there. What one brick has noted at each of several looks, and another at
//! none, that one has missed.
//!
//! Promises: pure. Who did not answer is not taken for one that has noted nothing.

use super::Gfid;
use super::part::Unhealed;
use super::volume::{Brick, Volume};
use std::collections::{BTreeMap, BTreeSet};

/// What bricks have noted, over several looks.
pub(super) struct Noted {
    dispersed: bool,
    sets: BTreeMap<u32, Set>,
}

/// What the bricks of one set have noted.
struct Set {
    /// Bricks that it has.
    size: usize,
    bricks: BTreeMap<u32, By>,
}

/// What one brick has noted.
#[derive(Default)]
struct By {
    looks: u32,
    nodes: u64,
    always: BTreeSet<Gfid>,
    ever: BTreeSet<Gfid>,
}

impl Noted {
    pub(super) fn new(volume: &Volume) -> Self {
        let mut sets = BTreeMap::new();
        for brick in &volume.bricks {
            sets.entry(brick.set).or_insert(Set { size: 0, bricks: BTreeMap::new() }).size += 1;
        }
        Self { dispersed: volume.is_dispersed(), sets }
    }

    /// Takes in one look at a brick; none: it did not answer.
    pub(super) fn take(&mut self, brick: &Brick, unhealed: Option<&Unhealed>) {
        let Some(set) = self.sets.get_mut(&brick.set) else { return };
        let Some(unhealed) = unhealed else {
            set.bricks.remove(&brick.number);
            return;
        };
        let by = set.bricks.entry(brick.number).or_default();
        match by.looks {
            0 => by.always.clone_from(&unhealed.first),
            _ => by.always.retain(|gfid| unhealed.first.contains(gfid)),
        }
        by.ever.extend(&unhealed.first);
        (by.looks, by.nodes) = (by.looks + 1, unhealed.nodes);
    }

    /// Returns the sets in which copies are to be healed, as far as is known.
    pub(super) fn unhealed(&self) -> BTreeSet<u32> {
        self.sets_of(|set| self.is_unhealed(set))
    }

    /// Returns those of them that another look may clear: all their bricks answered.
    pub(super) fn to_be_looked_at_again(&self) -> BTreeSet<u32> {
        self.sets_of(|set| self.may_be_writes(set) && self.is_unhealed(set))
    }

    fn sets_of(&self, is: impl Fn(&Set) -> bool) -> BTreeSet<u32> {
        self.sets.iter().filter(|(_, set)| is(set)).map(|(number, _)| *number).collect()
    }

    fn is_unhealed(&self, set: &Set) -> bool {
        if !self.may_be_writes(set) {
            return set.bricks.values().any(|by| by.nodes > 0);
        }
        let others_lack = |by: &By| set.bricks.values().any(|other| !by.always.is_subset(&other.ever));
        // Of more than are named it is not known which.
        set.bricks.values().any(|by| by.nodes > Unhealed::FIRST as u64 || others_lack(by))
    }

    fn may_be_writes(&self, set: &Set) -> bool {
        self.dispersed && set.bricks.len() == set.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::gluster::volume::VolumeKind;

    /// What a brick has noted; none: it does not answer.
    type Notes<'n> = Option<&'n [u8]>;

    const FRAGMENTS: VolumeKind = VolumeKind::Disperse { fragments: 3, redundancy: 1 };

    /// Takes looks, each with the nodes that each brick has noted, and returns whether the set is unhealed after each.
    fn looks(kind: VolumeKind, looks: &[[Notes<'_>; 3]]) -> Vec<bool> {
        let volume = Volume::of_one_set(kind);
        let mut noted = Noted::new(&volume);
        let look = |bricks: &[Notes<'_>; 3]| {
            for (brick, nodes) in volume.bricks.iter().zip(bricks) {
                let unhealed = nodes.map(|nodes| {
                    let mut unhealed = Unhealed::default();
                    nodes.iter().for_each(|node| unhealed.add(Gfid([*node; 16])));
                    unhealed
                });
                noted.take(brick, unhealed.as_ref());
            }
            !noted.unhealed().is_empty()
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn what_is_being_written_is_noted_by_all_sooner_or_later_and_what_one_missed_never() {
        let (none, one, two): (Notes<'_>, Notes<'_>, Notes<'_>) = (Some(&[]), Some(&[1]), Some(&[1, 2]));
        // Struck out on the first brick already.
        assert_eq!(looks(FRAGMENTS, &[[none, one, one], [none, none, none]]), [true, false]);
        // Written all the time; noted on the last brick at the second look only.
        assert_eq!(looks(FRAGMENTS, &[[one, one, none], [one, one, one]]), [true, false]);
        // One is written, the other was missed by the second brick.
        assert_eq!(looks(FRAGMENTS, &[[two, one, two], [two, none, two], [two, one, two]]), [true, true, true]);
        // Who writes one file after the other.
        assert_eq!(looks(FRAGMENTS, &[[one, none, none], [Some(&[2]), none, none]]), [true, false]);
    }

    #[test]
    fn without_all_fragments_and_of_copies_whatever_is_noted_was_missed() {
        let (none, one): (Notes<'_>, Notes<'_>) = (Some(&[]), Some(&[1]));
        assert_eq!(looks(FRAGMENTS, &[[one, None, one], [one, None, one]]), [true, true]);
        assert_eq!(looks(FRAGMENTS, &[[none, None, none]]), [false]);
        assert_eq!(looks(VolumeKind::Replicate { copies: 3 }, &[[one, one, one]]), [true]);
    }

    #[test]
    fn of_too_many_to_be_named_none_is_cleared() {
        let mut unhealed = Unhealed::default();
        for number in 0..=Unhealed::FIRST as u32 {
            let mut gfid = [0; 16];
            gfid[..4].copy_from_slice(&number.to_be_bytes());
            unhealed.add(Gfid(gfid));
        }
        assert_eq!((unhealed.nodes, unhealed.first.len()), (1001, 1000));
        let volume = Volume::of_one_set(FRAGMENTS);
        let mut noted = Noted::new(&volume);
        volume.bricks.iter().for_each(|brick| noted.take(brick, Some(&unhealed)));
        assert_eq!(noted.unhealed(), BTreeSet::from([0]));
    }
}
