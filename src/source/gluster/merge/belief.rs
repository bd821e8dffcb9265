//! Whom to believe: what the copies of one node say of each other.
//!
//! Of a replica set each copy counts the changes that it saw and that another one missed (`trusted.afr.*`). Who counts against
//! himself is a brick that was put in the place of another: he accuses nobody, and is believed in nothing
//! (`afr_selfheal_find_direction`, `xlators/cluster/afr/src/afr-self-heal-common.c`). Of a disperse set each copy counts the changes that
//! it saw (`trusted.ec.version`), and as many as make the whole have to agree (`ec_combine_check`, `xlators/cluster/ec`).
//!
//! Promises: pure; who missed a change is not believed in what changed, however new his times are.

use crate::source::gluster::part::{Behind, State, Versions};
use std::collections::BTreeMap;

/// What a merge has to know of a brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrickPlace {
    /// Its number in the volume, from 0.
    pub brick: u32,
    /// The number of its replica or disperse set.
    pub set: u32,
    /// It has names and attributes only.
    pub arbiter: bool,
    /// Bricks of its set that hold all of it together: more than one where it is erasure coded.
    pub needed: u32,
}

/// A copy of a node on one brick.
pub(super) struct CopyOf<'a> {
    pub(super) place: BrickPlace,
    pub(super) state: &'a State,
    /// A brick that is believed says that it has a name there. What healing is just making has none yet.
    pub(super) named: bool,
}

/// What a copy is believed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Belief {
    /// The names in it, of a directory.
    pub(super) entries: bool,
    /// Its attributes.
    pub(super) metadata: bool,
    /// Its bytes.
    pub(super) data: bool,
}

/// Returns what each of `copies` is believed in, in their order. All are of one node, of any sets.
pub(super) fn beliefs(copies: &[CopyOf<'_>]) -> Vec<Belief> {
    let mut sets: BTreeMap<u32, Vec<&CopyOf<'_>>> = BTreeMap::new();
    for copy in copies {
        sets.entry(copy.place.set).or_default().push(copy);
    }
    let believed = |copy: &CopyOf<'_>| {
        let set = &sets[&copy.place.set];
        if copy.place.needed > 1 { of_fragment(copy, set) } else { of_replica(copy, set) }
    };
    copies.iter().map(believed).collect()
}

fn of_replica(copy: &CopyOf<'_>, set: &[&CopyOf<'_>]) -> Belief {
    let believed = |counts: fn(&Behind) -> bool| {
        let accuses = |one: &CopyOf<'_>, brick| one.state.behind.iter().any(|b| b.brick == brick && counts(b));
        let own = copy.place.brick;
        let is_fool = |one: &CopyOf<'_>| accuses(one, one.place.brick);
        !is_fool(copy) && !set.iter().any(|other| other.place.brick != own && accuses(other, own) && !is_fool(other))
    };
    Belief { entries: believed(|b| b.entries), metadata: believed(|b| b.metadata), data: believed(|b| b.data) }
}

fn of_fragment(copy: &CopyOf<'_>, set: &[&CopyOf<'_>]) -> Belief {
    let believed = |of: fn(&Versions) -> u64| {
        let version = |one: &CopyOf<'_>| of(&one.state.versions.unwrap_or_default());
        let needed = copy.place.needed as usize;
        let mut all: Vec<u64> = set.iter().map(|one| version(one)).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        match all.chunk_by(|a, b| a == b).find(|alike| alike.len() >= needed) {
            Some(alike) => version(copy) == alike[0],
            // Copies that are looked at while they change are not all at one number.
            None => all.get(needed - 1).is_some_and(|enough| version(copy) >= *enough),
        }
    };
    let content = believed(|versions| versions.content);
    Belief { entries: content, metadata: believed(|versions| versions.metadata), data: content }
}
