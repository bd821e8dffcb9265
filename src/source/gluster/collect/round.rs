//! Questions to the bricks of a volume: one to several of them at the same time, or on and on until all that they named is told.
//!
//! Promises: answers come in the order of the questions; each is a part of its own. What a brick does not answer is told with the reason.

use super::error::{Error, ROUNDS_MAX};
use super::parts::Parts;
use super::question::{name_of, request};
use super::thin_arbiter::Refused;
use crate::clock::Clock;
use crate::model::chain;
use crate::monitor::Monitor;
use crate::source::gluster::Gfid;
use crate::source::gluster::exec::{self, Agent, Ended};
use crate::source::gluster::merge::{BrickPlace, Contradiction, Gathered, Lines, Merged};
use crate::source::gluster::noted::Noted;
use crate::source::gluster::part::Want;
use crate::source::gluster::part_reader::{self, PartReader};
use crate::source::gluster::volume::{Brick, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often, and with what pause, it is looked at what bricks of fragments have noted for healing: together more than the second for
/// which a client keeps a write open (`ec-common.c`, delayed post-op).
const NOTED_LOOKS: u32 = 4;
const NOTED_PAUSE: Duration = Duration::from_millis(500);

/// How bricks are asked.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// The command that runs a program on `{host}`; empty: bricks are on this machine.
    pub template: &'a str,
    /// The program over there, or here.
    pub program: &'a Path,
    /// How long one agent may take.
    pub deadline: Duration,
    /// Where answers are put.
    pub folder: &'a Path,
}

/// A brick, and its answer or why there is none.
pub(super) type Asked<'v> = (&'v Brick, Result<(PathBuf, Ended), exec::Error>);

/// Who answers.
#[derive(Clone, Copy)]
pub(super) enum Answers<'a> {
    /// Agents beside the bricks.
    Agents(&'a Asking<'a>),
    /// Parts that somebody brought.
    Parts(&'a Parts),
}

/// One question to several bricks.
pub(super) struct Round<'a> {
    pub(super) volume: &'a Volume,
    pub(super) answers: Answers<'a>,
    pub(super) clock: &'a dyn Clock,
    pub(super) monitor: &'a dyn Monitor,
    /// How often it was asked.
    pub(super) number: u32,
    /// A copy that runs alone and is not believed.
    pub(super) refused: Option<Refused>,
}

/// The answer of one brick.
pub(super) struct Answer {
    pub(super) place: BrickPlace,
    pub(super) part: PathBuf,
}

impl<'a> Round<'a> {
    /// Asks all at the same time; answers come in the order of `wants`.
    pub(super) fn ask<'v>(&mut self, wants: &[(&'v Brick, Want)]) -> Result<Vec<Asked<'v>>, Error> {
        let asking = match self.answers {
            Answers::Agents(asking) => asking,
            Answers::Parts(parts) => {
                return Ok(wants.iter().map(|(brick, _)| (*brick, parts.answer_of(brick))).collect());
            }
        };
        self.number += 1;
        let mut agents = Vec::new();
        for (brick, want) in wants {
            let agent = Agent::new(asking.template, asking.program, &brick.host, asking.deadline)
                .map_err(|source| Error::Agent { brick: name_of(brick), source: Box::new(source) })?;
            let request = request(self.volume, brick, want.clone(), None);
            let part = asking.folder.join(format!("round-{}-brick-{}.part", self.number, brick.number + 1));
            agents.push((agent, request, part));
        }
        let now_ns = self.clock.now().0.saturating_mul(1_000_000_000);
        let results: Vec<Result<Ended, exec::Error>> = std::thread::scope(|scope| {
            let threads: Vec<_> = agents
                .iter()
                .map(|(agent, request, part)| scope.spawn(move || exec::run(agent, request, part, now_ns)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("an agent's thread does not panic")).collect()
        });
        let named = wants.iter().zip(agents).zip(results);
        Ok(named
            .map(|(((brick, _), (_, _, part)), result)| {
                if let Ok(ended) = &result
                    && !ended.said.is_empty()
                {
                    self.monitor.warn(&format!("the agent of brick {} says: {}", name_of(brick), ended.said));
                }
                (*brick, result.map(|ended| (part, ended)))
            })
            .collect())
    }

    /// Returns the sets in which copies are to be healed: see [`Noted`].
    pub(super) fn unhealed(&mut self, asked: &[Asked<'_>]) -> Result<BTreeSet<u32>, Error> {
        let mut noted = Noted::new(self.volume);
        let take = |noted: &mut Noted, asked: &[Asked<'_>]| {
            for (brick, result) in asked {
                noted.take(brick, result.as_ref().ok().map(|(_, ended)| &ended.end.unhealed));
            }
        };
        take(&mut noted, asked);
        // Of parts that were brought there is one look, and no more.
        let looks = if matches!(self.answers, Answers::Agents(_)) { NOTED_LOOKS } else { 1 };
        for _ in 1..looks {
            let again = noted.to_be_looked_at_again();
            if again.is_empty() {
                break;
            }
            std::thread::sleep(NOTED_PAUSE);
            let bricks = self.volume.bricks.iter().filter(|brick| again.contains(&brick.set));
            let wants: Vec<(&Brick, Want)> = bricks.map(|brick| (brick, Want::Look { gfids: Vec::new() })).collect();
            take(&mut noted, &self.ask(&wants)?);
        }
        Ok(noted.unhealed())
    }

    /// Merges answers about changes, and asks on until every node that was named is told or gone.
    pub(super) fn changes(&mut self, answers: &[Answer], uncovered: bool) -> Result<Merged, Error> {
        let mut gathered = Gathered::default();
        for answer in answers {
            gathered.add(answer.place, lines_of(&answer.part)?)?;
        }
        if let Answers::Parts(parts) = self.answers {
            let places: BTreeMap<u32, BrickPlace> =
                answers.iter().map(|answer| (answer.place.brick, answer.place)).collect();
            for (brick, part, gfids) in parts.looks()? {
                if let Some(place) = places.get(&brick) {
                    gathered.note_asked(brick, &gfids);
                    gathered.add(*place, lines_of(part)?)?;
                }
            }
        }
        self.merge(gathered, answers, uncovered)
    }

    /// Returns which of the nodes that a walk met contradictions about are contradicted still when they are looked at once more: bricks are not
    /// walked in one moment.
    pub(super) fn contradicted(
        &mut self,
        met: &[Contradiction],
        answers: &[Answer],
        uncovered: bool,
    ) -> Result<BTreeSet<Gfid>, Error> {
        if matches!(self.answers, Answers::Parts(_)) {
            return Ok(met.iter().map(|met| met.gfid).collect());
        }
        let mut to_ask: BTreeMap<u32, BTreeSet<Gfid>> = BTreeMap::new();
        for Answer { place, .. } in answers {
            let gfids = met.iter().filter(|contradiction| contradiction.set == place.set).map(|met| met.gfid);
            to_ask.entry(place.brick).or_default().extend(gfids);
        }
        to_ask.retain(|_, gfids| !gfids.is_empty());
        if to_ask.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut gathered = Gathered::default();
        self.look(&to_ask, answers, &mut gathered)?;
        Ok(self.merge(gathered, answers, uncovered)?.contradicted)
    }

    fn merge(&mut self, mut gathered: Gathered, answers: &[Answer], uncovered: bool) -> Result<Merged, Error> {
        let mut merged = gathered.merge(uncovered);
        for _ in 0..ROUNDS_MAX {
            if merged.to_ask.is_empty() {
                return Ok(merged);
            }
            if let Answers::Parts(parts) = self.answers {
                return Err(parts.to_ask(&merged.to_ask));
            }
            self.look(&merged.to_ask, answers, &mut gathered)?;
            merged = gathered.merge(uncovered);
        }
        Err(Error::Endless { left: merged.to_ask.values().map(BTreeSet::len).sum() })
    }

    /// Has each brick tell of some nodes.
    fn look(
        &mut self,
        to_ask: &BTreeMap<u32, BTreeSet<Gfid>>,
        answers: &[Answer],
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let places: BTreeMap<u32, BrickPlace> =
            answers.iter().map(|answer| (answer.place.brick, answer.place)).collect();
        let wants: Vec<(&Brick, Want)> = self
            .volume
            .bricks
            .iter()
            .filter_map(|brick| {
                let gfids = to_ask.get(&brick.number)?;
                Some((brick, Want::Look { gfids: gfids.iter().copied().collect() }))
            })
            .collect();
        let sets: BTreeSet<u32> = wants.iter().map(|(brick, _)| brick.set).collect();
        let mut told = BTreeSet::new();
        for (brick, result) in self.ask(&wants)? {
            gathered.note_asked(brick.number, &to_ask[&brick.number]);
            match result {
                Ok((part, _)) => {
                    gathered.add(places[&brick.number], lines_of(&part)?)?;
                    told.insert(brick.set);
                }
                Err(e) => self.monitor.warn(&format!("brick {} answered no more: {}", name_of(brick), chain(&e))),
            }
        }
        match sets.difference(&told).next() {
            None => Ok(()),
            Some(set) => Err(Error::Uncovered {
                set: set + 1,
                why: "it must describe nodes that others named".to_owned(),
                said: "it answered no more".to_owned(),
            }),
        }
    }
}

pub(super) fn lines_of(part: &Path) -> Result<Lines<'static, part_reader::Error>, part_reader::Error> {
    Ok(Box::new(PartReader::open(part)?))
}
