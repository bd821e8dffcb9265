//! The parts of a walk become listings, breadth first.
//!
//! Promises: a name that some brick tells and that no brick contradicts is in its listing, exactly once. Memory: one
//! directory and the directories not yet listed.

use super::belief::{BrickPlace, CopyOf, beliefs};
use super::changes::{NOBODY, UNPROVEN};
use super::copies::{Lines, Trouble, attrs_of, best, note_shards, touch_by_shards};
use crate::model::{EntryName, Finding, FindingKind, Kind, ListedEntry, Listing, RelPath, UNPROVEN_ORIGIN};
use crate::source::gluster::Gfid;
use crate::source::gluster::part::{Line, Stamp, State, Text};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::ControlFlow;

/// A part of a walk, one directory at a time.
struct WalkPart<'p, E> {
    place: BrickPlace,
    lines: Lines<'p, E>,
    /// The next directory, its path as names.
    next: Option<Vec<Text>>,
    root: Option<State>,
    shards: HashMap<Gfid, Stamp>,
}

impl<E> WalkPart<'_, E> {
    /// Goes on to the next directory, calling `each` for the entries of the present one.
    fn advance(&mut self, mut each: impl FnMut(Text, State), troubles: &mut Vec<Trouble>) -> Result<(), E> {
        self.next = None;
        for line in self.lines.by_ref() {
            match line? {
                Line::Directory { path } => {
                    self.next = Some(path);
                    break;
                }
                Line::Entry { name, state } => each(name, state),
                Line::Node(node) => self.root = Some(node.state),
                Line::Trouble { path, detail } => troubles.push(Trouble { place: self.place, path, detail }),
                Line::Shards { base, changed } => note_shards(&mut self.shards, base, changed),
                Line::Part(_) | Line::End(_) | Line::Gone { .. } | Line::Name { .. } | Line::Recorded(_) => {}
            }
        }
        Ok(())
    }
}

/// The order of a walk: by depth, then name by name.
fn walk_order(a: &[Text], b: &[Text]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// A directory that was named and not yet listed.
struct Named {
    path: Vec<Text>,
    number: u64,
    /// Bricks on which the path leads to it, and whether they are believed in what is in it. It is there, as bricks that are
    /// believed say; what others have by the same path is something else.
    here: BTreeMap<u32, bool>,
    /// Sets of which some brick has the directory.
    sets: BTreeSet<u32>,
}

/// Merges the parts of a walk over all bricks and calls `each` for every directory of the volume, breadth first (see
/// [`Listing`]), until it says to break.
///
/// # Errors
/// Those of the parts.
pub fn merge_walk<E>(
    parts: Vec<(BrickPlace, Lines<'_, E>)>,
    each: &mut dyn FnMut(Listing) -> ControlFlow<()>,
) -> Result<(), E> {
    let mut troubles = Vec::new();
    let mut walks = begin_walks(parts, &mut troubles)?;
    let shards = newest_shards(&mut walks);
    let roots: Vec<(BrickPlace, State)> =
        walks.iter().filter_map(|w| w.root.clone().map(|state| (w.place, state))).collect();
    let mut next_number = 1;
    let mut queue = VecDeque::new();
    let root_copies: Vec<CopyOf<'_>> =
        roots.iter().map(|(place, state)| CopyOf { place: *place, state, named: true }).collect();
    if root_copies.is_empty() {
        return Ok(());
    }
    let mut root = attrs_of(best(&root_copies).copy, &root_copies).map(|attrs| (Gfid::ROOT.key(), attrs));
    queue.push_back(named(Vec::new(), 0, &root_copies));
    while let Some(dir) = queue.pop_front() {
        let (entries, listed) = entries_of(&dir, &mut walks, &mut troubles)?;
        let path = path_of(&dir.path);
        let mut findings: Vec<Finding> = Vec::new();
        let places = || walks.iter().map(|walk| &walk.place);
        findings.extend(troubles.drain(..).map(|trouble| trouble.as_finding(places())));
        let mut listing = Listing {
            number: dir.number,
            root: root.take(),
            entries: Vec::with_capacity(entries.len()),
            complete: dir.sets.is_subset(&listed),
            findings: Vec::new(),
            path,
        };
        if dir
            .sets
            .iter()
            .any(|set| !walks.iter().any(|w| w.place.set == *set && dir.here.get(&w.place.brick) == Some(&true)))
        {
            findings.push(Finding {
                kind: FindingKind::Missing,
                path: listing.path.clone(),
                detail: NOBODY.to_owned(),
            });
        }
        for (name, copies) in entries {
            merge_entry(name, &copies, &dir, &mut listing, &mut findings, &mut |path, copies| {
                queue.push_back(named(path, next_number, copies));
                next_number += 1;
            });
            if let Some(entry) = listing.entries.last_mut() {
                touch_by_shards(&mut entry.attrs, shards.get(&Gfid::of_key(entry.key)));
            }
        }
        listing.findings = findings;
        if each(listing).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// Brings every part to its first directory.
fn begin_walks<'p, E>(
    parts: Vec<(BrickPlace, Lines<'p, E>)>,
    troubles: &mut Vec<Trouble>,
) -> Result<Vec<WalkPart<'p, E>>, E> {
    let mut walks = Vec::with_capacity(parts.len());
    for (place, lines) in parts {
        let mut walk = WalkPart { place, lines, next: None, root: None, shards: HashMap::new() };
        walk.advance(|_, _| (), troubles)?;
        walks.push(walk);
    }
    Ok(walks)
}

/// Returns when the shards of each file changed last, on any brick.
fn newest_shards<E>(walks: &mut [WalkPart<'_, E>]) -> HashMap<Gfid, Stamp> {
    let mut shards = HashMap::new();
    for walk in walks {
        for (base, changed) in std::mem::take(&mut walk.shards) {
            note_shards(&mut shards, base, changed);
        }
    }
    shards
}

/// What a brick has by a name of a directory.
struct Sighting {
    place: BrickPlace,
    state: State,
    /// The brick is believed in what is in the directory.
    believed: bool,
}

/// What bricks have by each name of one directory.
type Entries = BTreeMap<Text, Vec<Sighting>>;

/// Reads one directory from all parts that have it. Returns its entries, and the sets of the bricks that are believed.
fn entries_of<E>(
    dir: &Named,
    walks: &mut [WalkPart<'_, E>],
    troubles: &mut Vec<Trouble>,
) -> Result<(Entries, BTreeSet<u32>), E> {
    let mut entries = Entries::new();
    let mut listed = BTreeSet::new();
    for walk in walks {
        // Directories that this merge leaves out: their name is not believed.
        while walk.next.as_ref().is_some_and(|next| walk_order(next, &dir.path) == Ordering::Less) {
            walk.advance(|_, _| (), troubles)?;
        }
        if walk.next.as_ref() != Some(&dir.path) {
            continue;
        }
        let place = walk.place;
        let Some(believed) = dir.here.get(&place.brick).copied() else {
            walk.advance(|_, _| (), troubles)?;
            continue;
        };
        if believed {
            listed.insert(place.set);
        }
        walk.advance(
            |name, state| entries.entry(name).or_default().push(Sighting { place, state, believed }),
            troubles,
        )?;
    }
    Ok((entries, listed))
}

fn named(path: Vec<Text>, number: u64, copies: &[CopyOf<'_>]) -> Named {
    let here = copies.iter().zip(beliefs(copies)).map(|(copy, belief)| (copy.place.brick, belief.entries)).collect();
    Named { path, number, here, sets: copies.iter().map(|c| c.place.set).collect() }
}

/// Returns the copies of each node that has a name of a directory on a brick that is believed, the node that counts first.
fn nodes_of(sightings: &[Sighting]) -> Vec<Vec<CopyOf<'_>>> {
    let mut nodes: BTreeMap<Gfid, Vec<CopyOf<'_>>> = BTreeMap::new();
    for Sighting { place, state, believed } in sightings {
        nodes.entry(state.gfid).or_default().push(CopyOf { place: *place, state, named: *believed });
    }
    let mut nodes: Vec<_> = nodes.into_values().filter(|copies| copies.iter().any(|copy| copy.named)).collect();
    let rank = |copies: &Vec<CopyOf<'_>>| {
        let chosen = best(copies);
        (!chosen.copy.state.is_bare_pointer(), copies.iter().filter(|copy| copy.named).count(), chosen.copy.state.ctime)
    };
    nodes.sort_by_key(|copies| std::cmp::Reverse(rank(copies)));
    nodes
}

fn path_of(names: &[Text]) -> RelPath {
    let mut path = RelPath::root();
    for name in names {
        // Names were checked when their directory was listed.
        if let Ok(name) = EntryName::new(&name.0) {
            path.push(&name);
        }
    }
    path
}

fn merge_entry(
    name: Text,
    sightings: &[Sighting],
    dir: &Named,
    listing: &mut Listing,
    findings: &mut Vec<Finding>,
    directory: &mut dyn FnMut(Vec<Text>, &[CopyOf<'_>]),
) {
    let checked = EntryName::new(&name.0);
    let Ok(entry_name) = checked else {
        let detail = format!("\"{}\" is no name", crate::model::escape_bytes(&name.0));
        findings.push(Finding { kind: FindingKind::Unreadable, path: listing.path.clone(), detail });
        return;
    };
    let nodes = nodes_of(sightings);
    let Some(told) = nodes.first() else { return };
    let chosen = best(told);
    let at = listing.path.join(&entry_name);
    let mut find = |kind, detail: String| findings.push(Finding { kind, path: at.clone(), detail });
    let state = chosen.copy.state;
    let Some(attrs) = attrs_of(chosen.copy, told) else {
        find(FindingKind::Unreadable, format!("its mode {:o} is not a type of file", state.mode));
        return;
    };
    if nodes.len() > 1 {
        find(
            FindingKind::Changed,
            "bricks have different nodes of this name; that of the most bricks was taken".into(),
        );
    }
    let mut origin = chosen.copy.place.brick;
    if chosen.unproven {
        origin = UNPROVEN_ORIGIN;
        find(FindingKind::Missing, UNPROVEN.to_owned());
    }
    if let Some(why) = &state.unreadable {
        find(FindingKind::Unreadable, why.clone());
    }
    if attrs.kind() == Kind::Directory {
        let mut path = dir.path.clone();
        path.push(name);
        directory(path, told);
    }
    listing.entries.push(ListedEntry {
        name: entry_name,
        key: state.gfid.key(),
        attrs,
        unreadable: state.unreadable.is_some(),
        origin,
    });
}
