//! What a volume is now: its bricks are asked, and their answers merged.
//!
//! Bricks are asked what changed since the cursor that the last generation left for each of them. Where changelogs cannot
//! tell (they were off, slices are gone, a brick was replaced, nobody has asked before) all bricks are walked.
//!
//! Promises: every replica set has answered by a brick with data, or the set is named as uncovered: then what is not
//! told is as it was, and the next scan is a walk. The cursor of a brick that did not answer stays: its changelogs say what to look at, so
//! it does no harm to read more of them than needed. A brick that does not run is not asked while others of its set do. Nothing is asked of
//! a brick but to be read; answers lie in a directory of the caller's, who removes them.

mod error;
mod parts;
mod question;
mod round;
mod settle;
mod thin_arbiter;

use super::merge::{Contradiction, Merged, merge_walk};
use super::part::{Gap, Line, Recorded, Want};
use super::part_reader;
use super::volume::{Brick, Volume};
use super::{Gfid, State};
use crate::clock::Clock;
use crate::model::{Changes, Finding, FindingKind, Listing, RelPath, UNPROVEN_ORIGIN};
use crate::monitor::Monitor;
pub use error::Error;
pub use parts::{Parts, requests};
use question::name_of;
pub use round::Asking;
use round::{Answer, Answers, Round, lines_of};
use settle::{Settled, asked_of, settle, span};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

/// Contradictions of a walk that are looked at once more, at most: a brick of another time contradicts in everything.
const CONTRADICTIONS_MAX: usize = 10_000;

/// What was found out.
pub struct Collected<'a> {
    /// Why everything was looked at; none: only what changelogs name.
    pub walked: Option<String>,
    /// What was found amiss.
    pub findings: Vec<Finding>,
    /// Where the next scan goes on.
    pub next: State,
    answers: Vec<Answer>,
    uncovered: bool,
    merged: Option<Merged>,
    round: Round<'a>,
}

/// Asks the bricks of `volume`. `before` is what the last generation left, none for the first; `walk` tells why
/// everything is to be looked at in any case.
///
/// # Errors
/// [`Error`].
pub fn collect<'a>(
    volume: &'a Volume,
    before: Option<&State>,
    walk: Option<String>,
    asking: &'a Asking<'a>,
    clock: &'a dyn Clock,
    monitor: &'a dyn Monitor,
) -> Result<Collected<'a>, Error> {
    let mut findings = Vec::new();
    let empty = State::default();
    let state = before.unwrap_or(&empty);
    let mut why = walk;
    let refused = thin_arbiter::refused(volume, asking.folder);
    if why.is_none() {
        let without = asked_of(volume, refused.as_ref()).find(|brick| !state.cursors.contains_key(&name_of(brick)));
        why = without.map(|brick| format!("nothing is known of the changelogs of brick {}", name_of(brick)));
    }
    let mut round = Round { volume, answers: Answers::Agents(asking), clock, monitor, number: 0, refused };
    if why.is_none() {
        let wants: Vec<(&Brick, Want)> = asked_of(volume, round.refused.as_ref())
            .map(|brick| {
                let cursor = state.cursors[&name_of(brick)].clone();
                (brick, Want::Since { cursor, also: state.retake.iter().copied().collect() })
            })
            .collect();
        let asked = round.ask(&wants)?;
        let gaps: Vec<(String, Gap)> = asked
            .iter()
            .filter_map(|(brick, ended)| Some((name_of(brick), ended.as_ref().ok()?)))
            .flat_map(|(name, (_, ended))| ended.end.gaps.iter().map(move |gap| (name.clone(), gap.clone())))
            .collect();
        if gaps.is_empty() {
            let unhealed = round.unhealed(&asked)?;
            let settled = settle(volume, state, asked, &unhealed, None, round.refused.as_ref(), findings)?;
            let merged = round.changes(&settled.answers, settled.uncovered)?;
            let mut collected = Collected::new(settled, None, Some(merged), round);
            let merged = collected.merged.iter().flat_map(|merged| &merged.changes.nodes);
            let unproven = merged.filter(|node| node.origin == UNPROVEN_ORIGIN);
            collected.next.retake.extend(unproven.map(|node| Gfid::of_key(node.key)));
            return Ok(collected);
        }
        for (brick, gap) in &gaps {
            let detail = format!("brick {brick}: {}; a full scan was made instead", span(gap));
            findings.push(Finding { kind: FindingKind::Gap, path: RelPath::root(), detail });
        }
        why = Some(format!("brick {}: {}", gaps[0].0, gaps[0].1.why));
    }
    walk_all(round, state, why, findings)
}

/// Takes what parts say that somebody brought: all are of walks.
///
/// # Errors
/// [`Error`].
pub fn collect_parts<'a>(
    parts: &'a Parts,
    clock: &'a dyn Clock,
    monitor: &'a dyn Monitor,
) -> Result<Collected<'a>, Error> {
    let round =
        Round { volume: parts.volume(), answers: Answers::Parts(parts), clock, monitor, number: 0, refused: None };
    walk_all(round, &State::default(), Some("the parts are of one".to_owned()), Vec::new())
}

/// Has everything looked at.
fn walk_all<'a>(
    mut round: Round<'a>,
    state: &State,
    why: Option<String>,
    findings: Vec<Finding>,
) -> Result<Collected<'a>, Error> {
    let volume = round.volume;
    let wants: Vec<(&Brick, Want)> =
        asked_of(volume, round.refused.as_ref()).map(|brick| (brick, Want::Walk)).collect();
    let asked = round.ask(&wants)?;
    let unhealed = round.unhealed(&asked)?;
    let settled = settle(volume, state, asked, &unhealed, why.as_ref(), round.refused.as_ref(), findings)?;
    Ok(Collected::new(settled, why, None, round))
}

/// What bricks tell of a window.
pub struct Windowed {
    /// How all that its records name is now, with the directories above it.
    pub changes: Changes,
    /// What the records say.
    pub recorded: BTreeMap<Gfid, Recorded>,
    /// What was found amiss; a hole in the changelogs is a [`FindingKind::Gap`].
    pub findings: Vec<Finding>,
}

/// Asks the bricks of `volume` what their changelogs recorded from second `from` until second `until`. Nothing that was
/// found out before is needed, and nothing is left for later.
///
/// # Errors
/// [`Error`].
pub fn collect_window(
    volume: &Volume,
    span: (u64, u64),
    asking: &Asking<'_>,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Windowed, Error> {
    let refused = thin_arbiter::refused(volume, asking.folder);
    window(Round { volume, answers: Answers::Agents(asking), clock, monitor, number: 0, refused }, span)
}

/// Takes what parts say that somebody brought: all are of the span.
///
/// # Errors
/// [`Error::ToAsk`] where other bricks have to tell of what a part names; [`Error`].
pub fn window_of_parts(
    parts: &Parts,
    span: (u64, u64),
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Windowed, Error> {
    window(
        Round { volume: parts.volume(), answers: Answers::Parts(parts), clock, monitor, number: 0, refused: None },
        span,
    )
}

fn window(mut round: Round<'_>, (from, until): (u64, u64)) -> Result<Windowed, Error> {
    let volume = round.volume;
    let wants: Vec<(&Brick, Want)> =
        asked_of(volume, round.refused.as_ref()).map(|brick| (brick, Want::Window { from, until })).collect();
    let asked = round.ask(&wants)?;
    let mut findings = Vec::new();
    for (brick, ended) in &asked {
        for gap in ended.iter().flat_map(|(_, ended)| &ended.end.gaps) {
            let detail = format!("brick {}: {}; changes of that time are missing", name_of(brick), span(gap));
            findings.push(Finding { kind: FindingKind::Gap, path: RelPath::root(), detail });
        }
    }
    let unhealed = round.unhealed(&asked)?;
    let settled = settle(volume, &State::default(), asked, &unhealed, None, round.refused.as_ref(), findings)?;
    let mut changes = round.changes(&settled.answers, settled.uncovered)?.changes;
    let mut recorded: BTreeMap<Gfid, Recorded> = BTreeMap::new();
    for answer in &settled.answers {
        for line in lines_of(&answer.part)? {
            if let Line::Recorded(told) = line? {
                match recorded.entry(told.gfid) {
                    Entry::Occupied(mut known) => known.get_mut().add(told),
                    Entry::Vacant(place) => drop(place.insert(told)),
                }
            }
        }
    }
    let mut findings = settled.findings;
    findings.append(&mut changes.findings);
    Ok(Windowed { changes, recorded, findings })
}

impl<'a> Collected<'a> {
    fn new(settled: Settled, walked: Option<String>, merged: Option<Merged>, round: Round<'a>) -> Self {
        let Settled { findings, next, answers, uncovered } = settled;
        Self { walked, findings, next, answers, uncovered, merged, round }
    }

    /// Returns what changed, once; none after a walk.
    pub fn take_changes(&mut self) -> Option<Changes> {
        self.merged.take().map(|merged| merged.changes)
    }

    /// Calls `each` for every directory of the volume, after a walk (see [`Listing`]). Findings of the scan come with the
    /// first one, names that bricks contradict each other about with the last.
    ///
    /// # Errors
    /// [`Error`].
    pub fn walk(&mut self, each: &mut dyn FnMut(Listing) -> ControlFlow<()>) -> Result<(), Error> {
        let parts = self
            .answers
            .iter()
            .map(|answer| Ok((answer.place, lines_of(&answer.part)?)))
            .collect::<Result<Vec<_>, part_reader::Error>>()?;
        let mut findings = self.findings.clone();
        let (mut met, mut more): (Vec<Contradiction>, u64) = (Vec::new(), 0);
        let mut meet = |contradiction| if met.len() < CONTRADICTIONS_MAX { met.push(contradiction) } else { more += 1 };
        let (mut last, mut is_wanted): (Option<Listing>, bool) = (None, true);
        merge_walk(parts, &mut meet, &mut |mut listing| {
            findings.append(&mut listing.findings);
            listing.findings = std::mem::take(&mut findings);
            let flow = last.replace(listing).map_or(ControlFlow::Continue(()), &mut *each);
            is_wanted = flow.is_continue();
            flow
        })?;
        if let Some(mut last) = last.filter(|_| is_wanted) {
            let contradicted = self.round.contradicted(&met, &self.answers, self.uncovered)?;
            let met = met.into_iter().filter(|met| contradicted.contains(&met.gfid));
            last.findings.extend(met.map(Contradiction::into_finding));
            if more > 0 {
                let detail = format!("bricks contradict each other about {more} more names, which were all taken");
                last.findings.push(Finding { kind: FindingKind::Changed, path: RelPath::root(), detail });
            }
            let _ = each(last);
        }
        Ok(())
    }
}
