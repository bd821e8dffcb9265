//! `@A..@B`: what differs between two generations of a source, as a tree: as it is in the second one, and below `.before` as it was in
//! the first.
//!
//! Promises: a name is there if it leads elsewhere, or nowhere, in the other generation, or to another version, or if something below it is;
//! of a directory that the other one has not, or that has another path there, all is. Directories have the attributes of their generation,
//! and files are those of it, with its numbers, so the kernel decides on access as anywhere in that generation. What differs is worked out
//! once, from the notes of the generations in between, when a directory is first looked into; nothing is scanned for it. A name of the source itself that would be taken for
//! `.before` at the top has one more dot.

use super::listing::{DOTS, EachEntry};
use super::lock::lock;
use super::made::{BetweenDir, MadeDir};
use super::place::{Place, Spot};
use super::snapshot::Snapshot;
use super::windows::WINDOW;
use super::{Error, Ino, Looked, Stat, Tree, Ttl};
use crate::catalog::numbers::view_of;
use crate::catalog::{Differing, Side};
use crate::model::{Kind, NodeId, SourceId, Time, ViewId};
use std::borrow::Cow;
use std::sync::Arc;

/// Where the first generation is, in the directory that shows the second one.
const BEFORE: &[u8] = b".before";

/// Tells whether a name may be one of what differs.
pub(super) fn is_between(name: &[u8]) -> bool {
    name.starts_with(b"@") && dates_of(name).is_some()
}

/// Returns the two dates of a name.
fn dates_of(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let dots = name.windows(3).position(|part| part == b"..@")?;
    Some((&name[..dots], &name[dots + 2..]))
}

impl Tree {
    /// Returns what differs between the generations that two dates mean.
    pub(super) fn lookup_between_top(
        &self,
        snapshot: &Snapshot,
        source: SourceId,
        name: &[u8],
    ) -> Result<Looked, Error> {
        let missing = Ok(Looked::Missing(Ttl::Short));
        let (Some(known), Some((before, after))) = (snapshot.source(source), dates_of(name)) else { return missing };
        let generation = |date: &[u8]| {
            let at = self.instant_meant(snapshot, Some(source), date)?;
            known.instants.binary_search(&at).ok().map(|place| known.generations[place])
        };
        match (generation(before), generation(after)) {
            (Some(before), Some(after)) => {
                let (side, node) = (Side::After, known.root);
                self.show_between(snapshot, BetweenDir { source, before, after, side, node, is_whole: false })
            }
            _ => missing,
        }
    }

    pub(super) fn lookup_between(&self, snapshot: &Snapshot, dir: &BetweenDir, name: &[u8]) -> Result<Looked, Error> {
        let place = self.place_of(dir)?;
        let name = match is_top(&place, dir) {
            true if name == BEFORE => {
                return self.show_between(snapshot, BetweenDir { side: Side::Before, ..*dir });
            }
            true => own_name(name),
            false => name,
        };
        let found = self.readers.with(|reader| reader.lookup(place.node, name, place.at))?;
        let Some((node, kind)) = found else {
            // It may be there, and was not seen.
            return if self.is_in_doubt(&place)? {
                Err(Error::Unlisted(self.describe_place(&place)))
            } else {
                Ok(Looked::Missing(Ttl::Short))
            };
        };
        let is_other = dir.is_whole || self.leads_elsewhere(snapshot, dir, name, node)?;
        if !is_other {
            let differing = self.differing(snapshot, dir)?;
            let differs = match differing.named(dir.side, dir.node) {
                Some(named) => named.binary_search_by(|named| named.name.as_ref().cmp(name)).is_ok(),
                None => differing.may_differ(dir.side, node) == Some(true),
            };
            if !differs {
                return Ok(Looked::Missing(Ttl::Short));
            }
        }
        if kind == Kind::Directory {
            return self.show_between(snapshot, BetweenDir { node, is_whole: is_other, ..*dir });
        }
        Ok(Looked::Found(self.stat(Ino::of_node(view_of(dir.generation()), node))?.0, Ttl::Forever))
    }

    /// Returns the attributes of a directory: those that it has in its generation.
    pub(super) fn between_stat(&self, (ino, dir): (Ino, &BetweenDir)) -> Result<Stat, Error> {
        Ok(Stat { ino, ..self.node_stat(&self.place_of(dir)?)? })
    }

    /// Returns where a directory is in its generation.
    pub(super) fn place_of(&self, dir: &BetweenDir) -> Result<Place, Error> {
        let ino = Ino::of_node(view_of(dir.generation()), dir.node);
        match self.spot(ino)? {
            Spot::Node(place) => Ok(place),
            _ => Err(Error::Nothing(ino.0)),
        }
    }

    /// Returns the directory above one; none: the directory of the source.
    pub(super) fn above_between(&self, snapshot: &Snapshot, dir: &BetweenDir) -> Result<Option<Ino>, Error> {
        let place = self.place_of(dir)?;
        let above = match (place.node == place.root, dir.side) {
            (true, Side::After) => return Ok(None),
            (true, Side::Before) => BetweenDir { side: Side::After, ..*dir },
            (false, _) => {
                let names = self.readers.with(|reader| reader.first_names(place.node, place.at, 1))?;
                let missing = Error::NoSuchNode { ino: Ino::of_node(place.view, place.node).0, at: place.at };
                let node = names.first().ok_or(missing)?.0;
                BetweenDir { node, is_whole: self.is_whole(snapshot, (&place, dir), node)?, ..*dir }
            }
        };
        match self.show_between(snapshot, above)? {
            Looked::Found(stat, _) => Ok(Some(stat.ino)),
            Looked::Missing(_) => Ok(None),
        }
    }

    /// Calls `each` with the names of a directory that differ, without those up to `skip`.
    pub(super) fn list_between(
        &self,
        snapshot: &Snapshot,
        dir: &BetweenDir,
        skip: usize,
        each: &mut EachEntry<'_>,
    ) -> Result<(), Error> {
        let place = self.place_of(dir)?;
        let is_top = is_top(&place, dir);
        if is_top && skip == 0 {
            let before = BetweenDir { side: Side::Before, ..*dir };
            let ino = MadeDir::Between(before).number(snapshot.registry.catalog);
            if each(BEFORE, &self.between_stat((ino, &before))?, 1 + DOTS, Ttl::None).is_break() {
                return Ok(());
            }
        }
        // At the top there is one name before the others.
        let first = u64::from(is_top);
        let mut number = skip.saturating_sub(usize::from(is_top));
        let mut tell = |name: &[u8], node: NodeId, stat: Stat, number: usize| {
            let (ino, ttl) = match stat.kind {
                Kind::Directory => {
                    // Whether all in it differs does not go into the number.
                    let below = MadeDir::Between(BetweenDir { node, ..*dir });
                    (below.number(snapshot.registry.catalog), Ttl::None)
                }
                _ => (Ino::of_node(place.view, node), Ttl::Forever),
            };
            let name = if is_top { shown_name(name) } else { name.into() };
            each(&name, &Stat { ino, ..stat }, number as u64 + first + DOTS, ttl)
        };
        let is_in_doubt = self.is_in_doubt(&place)?;
        let end = || if is_in_doubt { Err(Error::Unlisted(self.describe_place(&place))) } else { Ok(()) };
        let is_kept = |name: &[u8]| -> Result<bool, Error> {
            Ok(is_in_doubt && self.readers.with(|reader| reader.is_kept(place.node, name, place.at))?)
        };
        let differing = if dir.is_whole { None } else { Some(self.differing(snapshot, dir)?) };
        if let Some(named) = differing.as_ref().and_then(|differing| differing.named(dir.side, dir.node)) {
            for named in named.iter().skip(number) {
                number += 1;
                if is_kept(&named.name)? {
                    continue;
                }
                let stat = self.node_stat(&Place { node: named.node, ..place.clone() })?;
                if tell(&named.name, named.node, stat, number).is_break() {
                    return Ok(());
                }
            }
            return end();
        }
        loop {
            let window = self.window(&place, number / WINDOW)?;
            for entry in window.iter().skip(number % WINDOW) {
                number += 1;
                let name = entry.name.as_bytes();
                let differs = match &differing {
                    None => true,
                    Some(differing) => match differing.may_differ(dir.side, entry.node) {
                        Some(differs) => differs,
                        None => self.leads_elsewhere(snapshot, dir, name, entry.node)?,
                    },
                };
                if differs && !is_kept(name)? && tell(name, entry.node, entry.stat, number).is_break() {
                    return Ok(());
                }
            }
            if window.len() < WINDOW || !number.is_multiple_of(WINDOW) {
                return end();
            }
        }
    }

    fn show_between(&self, snapshot: &Snapshot, dir: BetweenDir) -> Result<Looked, Error> {
        let made = MadeDir::Between(dir);
        let ino = made.number(snapshot.registry.catalog);
        let stat = self.between_stat((ino, &dir))?;
        if self.made.put(ino, &made, false) { Ok(Looked::Found(stat, Ttl::None)) } else { Err(Error::Nothing(ino.0)) }
    }

    /// Tells whether a name of a directory that both generations have leads to another node, or nowhere, in the other one.
    fn leads_elsewhere(&self, snapshot: &Snapshot, dir: &BetweenDir, name: &[u8], node: NodeId) -> Result<bool, Error> {
        let at = instant_of(snapshot, dir, dir.side.other())?;
        let there = self.readers.with(|reader| reader.lookup(dir.node, name, at))?;
        Ok(there.is_none_or(|(there, _)| there != node))
    }

    /// Tells whether the path of a directory leads elsewhere in the other generation: a seek a level.
    fn is_whole(&self, snapshot: &Snapshot, (place, dir): (&Place, &BetweenDir), node: NodeId) -> Result<bool, Error> {
        let other = instant_of(snapshot, dir, dir.side.other())?;
        self.readers.with(|reader| {
            let mut here = node;
            while here != place.root {
                let names = reader.first_names(here, place.at, 1)?;
                let missing = || Error::NoSuchNode { ino: Ino::of_node(place.view, here).0, at: place.at };
                let (above, name) = names.first().ok_or_else(missing)?;
                let there = reader.lookup(*above, name.as_bytes(), other)?;
                if there.is_none_or(|(there, _)| there != here) {
                    return Ok(true);
                }
                here = *above;
            }
            Ok(false)
        })
    }

    /// Returns what differs. Who asks first works it out, and others wait for him.
    fn differing(&self, snapshot: &Snapshot, dir: &BetweenDir) -> Result<Arc<Differing>, Error> {
        let compared = snapshot.past.compared((dir.before, dir.after));
        let mut made = lock(&compared);
        if let Some(made) = made.as_ref() {
            return Ok(Arc::clone(made));
        }
        let scope = self.scope(snapshot, dir.source)?;
        let times = (instant_of(snapshot, dir, Side::Before)?, instant_of(snapshot, dir, Side::After)?);
        let differing = Arc::new(self.readers.with(|reader| reader.differing(&scope, times, self.few_differing))?);
        *made = Some(Arc::clone(&differing));
        drop(made);
        snapshot.past.make_room();
        Ok(differing)
    }
}

/// Tells whether a directory is the one that has `.before` in it.
fn is_top(place: &Place, dir: &BetweenDir) -> bool {
    place.node == place.root && dir.side == Side::After
}

fn instant_of(snapshot: &Snapshot, dir: &BetweenDir, side: Side) -> Result<Time, Error> {
    let generation = BetweenDir { side, ..*dir }.generation();
    let gone = || Error::NoSuchView { ino: Ino::of_source(dir.source).0, view: ViewId(generation.0) };
    snapshot.generation(generation).map(|key| key.at).ok_or_else(gone)
}

/// Tells whether a name is dots and then `before`.
fn is_like_before(name: &[u8]) -> bool {
    name.strip_suffix(&BEFORE[1..]).is_some_and(|dots| !dots.is_empty() && dots.iter().all(|byte| *byte == b'.'))
}

/// Returns how a name of the source is shown at the top.
fn shown_name(name: &[u8]) -> Cow<'_, [u8]> {
    if is_like_before(name) { [b".", name].concat().into() } else { name.into() }
}

/// Returns the name of the source that is shown so at the top.
fn own_name(name: &[u8]) -> &[u8] {
    if is_like_before(name) { &name[1..] } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_dates_are_told_apart() {
        let dates = |name: &'static str| is_between(name.as_bytes()).then(|| dates_of(name.as_bytes()).unwrap());
        assert_eq!(dates("@2026-11-19..@2026-11-20"), Some((&b"@2026-11-19"[..], &b"@2026-11-20"[..])));
        assert_eq!(dates("@GMT-2026.11.20-02.00.00..@latest").unwrap().1, b"@latest");
        for other in ["@2026-11-19", "@a..b", "a..@b", "..", "@"] {
            assert_eq!(dates(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_of_the_source_is_never_taken_for_the_other_side() {
        for (name, shown) in
            [(".before", "..before"), ("..before", "...before"), ("before", "before"), ("x.before", "x.before")]
        {
            assert_eq!(shown_name(name.as_bytes()).as_ref(), shown.as_bytes());
            assert_eq!(own_name(shown.as_bytes()), name.as_bytes());
        }
    }
}
