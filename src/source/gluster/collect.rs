//! What a volume is now: its bricks are asked, and their answers merged.
//!
//! Bricks are asked what changed since the cursor that the last generation left for each of them. Where changelogs cannot
//! tell (they were off, slices are gone, a brick was replaced, nobody has asked before) all bricks are walked.
//!
//! Promises: every replica set has answered by a brick with data, or the set is named as uncovered: then what is not
//! told is as it was, and the next scan is a walk. The cursor of a brick that did not answer stays: its changelogs say what to look at, so
//! it does no harm to read more of them than needed. A brick that does not run is not asked while others of its set do. Nothing is asked of
//! a brick but to be read; answers lie in a directory of the caller's, who removes them.

use super::exec::{self, Agent, Ended};
use super::merge::{BrickPlace, Gathered, Lines, Merged, merge_walk};
use super::part::{FORMAT, Gap, Line, Recorded, Request, Text, Unhealed, Want};
use super::part_reader::{self, PartReader};
use super::volume::{Brick, Volume, VolumeKind};
use super::{Gfid, State};
use crate::clock::Clock;
use crate::model::{Changes, Finding, FindingKind, Hinted, Listing, RelPath, Time, UNPROVEN_ORIGIN, chain};
use crate::monitor::Monitor;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A clock that is off by more than this is told of, in ms.
const SKEW_MS_MAX: i64 = 2_000;
/// How often bricks are asked about nodes that others named: where they disagree on the names of directories, once more for
/// each directory above.
const ROUNDS_MAX: u32 = 32;

/// Why a volume cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An agent cannot be run at all.
    #[error("cannot run the agent of brick {brick}")]
    Agent {
        /// `host:path`.
        brick: String,
        /// Why.
        #[source]
        source: Box<exec::Error>,
    },
    /// All of a replica set failed, and all is needed.
    #[error("no brick of replica set {set} answered, and a full scan is needed ({why}): {said}")]
    Uncovered {
        /// The number of the set, from 1.
        set: u32,
        /// Why a walk is needed.
        why: String,
        /// What the bricks said.
        said: String,
    },
    /// Nobody answered: there is nothing to tell.
    #[error("no brick answered: {0}")]
    Silent(String),
    /// An answer cannot be read again.
    #[error(transparent)]
    Part(#[from] part_reader::Error),
    /// Bricks keep naming nodes that others have to tell.
    #[error("bricks named {left} nodes that no brick tells, after {ROUNDS_MAX} rounds")]
    Endless {
        /// Nodes without an answer.
        left: usize,
    },
}

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

/// What was found out.
pub struct Collected {
    /// Why everything was looked at; none: only what changelogs name.
    pub walked: Option<String>,
    /// What was found amiss.
    pub findings: Vec<Finding>,
    /// Where the next scan goes on.
    pub next: State,
    answers: Vec<Answer>,
    uncovered: bool,
    merged: Option<Merged>,
}

/// The answer of one brick.
struct Answer {
    place: BrickPlace,
    part: PathBuf,
}

/// Asks the bricks of `volume`. `before` is what the last generation left, none for the first; `walk` tells why
/// everything is to be looked at in any case.
///
/// # Errors
/// [`Error`].
pub fn collect(
    volume: &Volume,
    before: Option<&State>,
    walk: Option<String>,
    asking: &Asking<'_>,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Collected, Error> {
    let mut findings = Vec::new();
    let empty = State::default();
    let state = before.unwrap_or(&empty);
    let mut why = walk;
    if why.is_none() {
        let without = asked_of(volume).find(|brick| !state.cursors.contains_key(&name_of(brick)));
        why = without.map(|brick| format!("nothing is known of the changelogs of brick {}", name_of(brick)));
    }
    let mut round = Round { volume, asking, clock, monitor, number: 0 };
    if why.is_none() {
        let wants: Vec<(&Brick, Want)> = asked_of(volume)
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
            let mut collected = settle(volume, state, asked, None, findings)?;
            let merged = round.changes(&mut collected)?;
            let unproven = merged.changes.nodes.iter().filter(|node| node.origin == UNPROVEN_ORIGIN);
            collected.next.retake.extend(unproven.map(|node| Gfid::of_key(node.key)));
            collected.merged = Some(merged);
            return Ok(collected);
        }
        for (brick, gap) in &gaps {
            let detail = format!("brick {brick}: {}; a full scan was made instead", span(gap));
            findings.push(Finding { kind: FindingKind::Gap, path: RelPath::root(), detail });
        }
        why = Some(format!("brick {}: {}", gaps[0].0, gaps[0].1.why));
    }
    let wants: Vec<(&Brick, Want)> = asked_of(volume).map(|brick| (brick, Want::Walk)).collect();
    let asked = round.ask(&wants)?;
    settle(volume, state, asked, why, findings)
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
    (from, until): (u64, u64),
    asking: &Asking<'_>,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Windowed, Error> {
    let mut round = Round { volume, asking, clock, monitor, number: 0 };
    let wants: Vec<(&Brick, Want)> = asked_of(volume).map(|brick| (brick, Want::Window { from, until })).collect();
    let asked = round.ask(&wants)?;
    let mut findings = Vec::new();
    for (brick, ended) in &asked {
        for gap in ended.iter().flat_map(|(_, ended)| &ended.end.gaps) {
            let detail = format!("brick {}: {}; changes of that time are missing", name_of(brick), span(gap));
            findings.push(Finding { kind: FindingKind::Gap, path: RelPath::root(), detail });
        }
    }
    let mut collected = settle(volume, &State::default(), asked, None, findings)?;
    let mut changes = round.changes(&mut collected)?.changes;
    let mut recorded: BTreeMap<Gfid, Recorded> = BTreeMap::new();
    for answer in &collected.answers {
        for line in lines_of(&answer.part)? {
            if let Line::Recorded(told) = line? {
                match recorded.entry(told.gfid) {
                    Entry::Occupied(mut known) => known.get_mut().add(told),
                    Entry::Vacant(place) => drop(place.insert(told)),
                }
            }
        }
    }
    let mut findings = collected.findings;
    findings.append(&mut changes.findings);
    Ok(Windowed { changes, recorded, findings })
}

fn span(gap: &Gap) -> String {
    let stamp = |at: u64| i64::try_from(at).map_or_else(|_| at.to_string(), |at| Time(at).to_string());
    match (gap.from, gap.until) {
        (Some(from), Some(until)) => format!("{} (from {} until {})", gap.why, stamp(from), stamp(until)),
        (Some(from), None) => format!("{} (from {})", gap.why, stamp(from)),
        (None, Some(until)) => format!("{} (until {})", gap.why, stamp(until)),
        (None, None) => gap.why.clone(),
    }
}

/// The name of a brick, in messages and in the state: `host:path`.
fn name_of(brick: &Brick) -> String {
    format!("{}:{}", brick.host, brick.path.display())
}

type Asked<'v> = (&'v Brick, Result<(PathBuf, Ended), exec::Error>);

/// One question to several bricks.
struct Round<'a> {
    volume: &'a Volume,
    asking: &'a Asking<'a>,
    clock: &'a dyn Clock,
    monitor: &'a dyn Monitor,
    number: u32,
}

impl<'a> Round<'a> {
    /// Asks all at the same time; answers come in the order of `wants`.
    fn ask<'v>(&mut self, wants: &[(&'v Brick, Want)]) -> Result<Vec<Asked<'v>>, Error> {
        self.number += 1;
        let mut agents = Vec::new();
        for (brick, want) in wants {
            let agent = Agent::new(self.asking.template, self.asking.program, &brick.host, self.asking.deadline)
                .map_err(|source| Error::Agent { brick: name_of(brick), source: Box::new(source) })?;
            let request = Request {
                format: FORMAT,
                volume: self.volume.name.clone(),
                volume_id: self.volume.id,
                brick: Text(brick.path.as_os_str().as_bytes().to_vec()),
                want: want.clone(),
                fragments: self.volume.is_dispersed(),
            };
            let part = self.asking.folder.join(format!("round-{}-brick-{}.part", self.number, brick.number + 1));
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

    /// Merges answers about changes, and asks on until every node that was named is told or gone.
    fn changes(&mut self, collected: &mut Collected) -> Result<Merged, Error> {
        let mut gathered = Gathered::default();
        for answer in &collected.answers {
            gathered.add(answer.place, lines_of(&answer.part)?)?;
        }
        let mut merged = gathered.merge(collected.uncovered);
        for _ in 0..ROUNDS_MAX {
            if merged.to_ask.is_empty() {
                return Ok(merged);
            }
            let places: BTreeMap<u32, BrickPlace> =
                collected.answers.iter().map(|answer| (answer.place.brick, answer.place)).collect();
            let wants: Vec<(&Brick, Want)> = self
                .volume
                .bricks
                .iter()
                .filter_map(|brick| {
                    let gfids = merged.to_ask.get(&brick.number)?;
                    Some((brick, Want::Look { gfids: gfids.iter().copied().collect() }))
                })
                .collect();
            let sets: BTreeSet<u32> = wants.iter().map(|(brick, _)| brick.set).collect();
            let mut told = BTreeSet::new();
            for (brick, result) in self.ask(&wants)? {
                gathered.note_asked(brick.number, &merged.to_ask[&brick.number]);
                match result {
                    Ok((part, _)) => {
                        gathered.add(places[&brick.number], lines_of(&part)?)?;
                        told.insert(brick.set);
                    }
                    Err(e) => self.monitor.warn(&format!("brick {} answered no more: {}", name_of(brick), chain(&e))),
                }
            }
            if let Some(set) = sets.difference(&told).next() {
                return Err(Error::Uncovered {
                    set: set + 1,
                    why: "it must describe nodes that others named".to_owned(),
                    said: "it answered no more".to_owned(),
                });
            }
            merged = gathered.merge(collected.uncovered);
        }
        Err(Error::Endless { left: merged.to_ask.values().map(BTreeSet::len).sum() })
    }
}

/// Returns the bricks to be asked. One whose process does not run does not know what changed since, and nobody has told it: it is asked
/// only where too few others of its set run.
fn asked_of(volume: &Volume) -> impl Iterator<Item = &Brick> {
    let runs = |brick: &Brick| brick.online != Some(false);
    let is_enough = move |set: u32| {
        let running = volume.bricks_of(set).filter(|brick| runs(brick) && !brick.arbiter).count();
        running >= bricks_needed(volume) as usize
    };
    volume.bricks.iter().filter(move |brick| runs(brick) || !is_enough(brick.set))
}

fn lines_of(part: &Path) -> Result<Lines<'static, part_reader::Error>, part_reader::Error> {
    Ok(Box::new(PartReader::open(part)?))
}

/// Applies the rule of completeness to the answers, and works out where the next scan goes on.
fn settle(
    volume: &Volume,
    state: &State,
    asked: Vec<Asked<'_>>,
    walked: Option<String>,
    mut findings: Vec<Finding>,
) -> Result<Collected, Error> {
    let (is_first, has_gap) = (state.walked_at == 0, findings.iter().any(|f| f.kind == FindingKind::Gap));
    let mut find = |kind, detail| findings.push(Finding { kind, path: RelPath::root(), detail });
    let covered = covered_sets(volume, &asked);
    let is_covered = |set: u32| covered.contains(&set);
    let unhealed = unhealed_sets(volume, &asked);
    // Bricks that left the volume are forgotten.
    let is_here = |name: &str| volume.bricks.iter().any(|brick| name_of(brick) == name);
    let cursors = state.cursors.iter().filter(|(name, _)| is_here(name));
    let cursors = cursors.map(|(name, cursor)| (name.clone(), cursor.clone())).collect();
    let mut next = State { cursors, ..State::default() };
    for brick in volume.bricks.iter().filter(|brick| brick.online == Some(false)) {
        let is_asked = asked.iter().any(|(other, _)| other.number == brick.number);
        let what =
            if is_asked { "no other of its set is, so its disk was asked" } else { "others of its set were asked" };
        find(FindingKind::Absent, format!("brick {} is not running; {what}", name_of(brick)));
    }
    let (mut answers, mut uncovered): (Vec<Answer>, BTreeMap<u32, Vec<String>>) = (Vec::new(), BTreeMap::new());
    for (brick, result) in asked {
        let name = name_of(brick);
        match result {
            Err(e) if is_covered(brick.set) => {
                find(FindingKind::Absent, format!("brick {name} did not answer, others of its set did: {}", chain(&e)));
            }
            Err(e) => uncovered.entry(brick.set).or_default().push(format!("brick {name}: {}", chain(&e))),
            Ok((part, ended)) => {
                if let Some(skew) = skew(&ended) {
                    find(FindingKind::Skew, format!("the clock of brick {name} is {skew}"));
                }
                let count = ended.end.unhealed.nodes;
                if count > 0 && unhealed.contains(&brick.set) {
                    let nodes = if count == 1 { "node" } else { "nodes" };
                    let detail =
                        format!("brick {name} has {count} {nodes} to be healed; what its set believes was taken");
                    find(FindingKind::Unhealed, detail);
                }
                if !is_covered(brick.set) {
                    uncovered.entry(brick.set).or_default();
                    continue;
                }
                match ended.end.cursor {
                    Some(cursor) => drop(next.cursors.insert(name, cursor)),
                    None => {
                        next.cursors.remove(&name);
                        let why = ended.end.gaps.first().map_or_else(|| "it tells no cursor".to_owned(), span);
                        // As long as nothing is recorded every generation has a gap before it, but for the first.
                        if walked.is_some() && !is_first && !has_gap {
                            find(FindingKind::Gap, format!("brick {name}: {why}; a full scan was made instead"));
                        }
                        next.walk_next.get_or_insert(format!("brick {name}: {why}"));
                    }
                }
                let place = BrickPlace {
                    brick: brick.number,
                    set: brick.set,
                    arbiter: brick.arbiter,
                    needed: bricks_needed(volume),
                };
                answers.push(Answer { place, part });
            }
        }
    }
    if answers.is_empty() && walked.is_none() {
        return Err(Error::Silent(uncovered.into_values().flatten().collect::<Vec<_>>().join("; ")));
    }
    for (set, said) in &uncovered {
        let said = if said.is_empty() { "too few of its bricks have data".to_owned() } else { said.join("; ") };
        if let Some(why) = &walked {
            return Err(Error::Uncovered { set: set + 1, why: why.clone(), said });
        }
        find(
            FindingKind::Missing,
            format!("replica set {} did not answer; what it holds is as it was before: {said}", set + 1),
        );
        next.walk_next.get_or_insert(format!("replica set {} did not answer", set + 1));
    }
    Ok(Collected { walked, findings, next, answers, uncovered: !uncovered.is_empty(), merged: None })
}

/// Returns the sets of which enough bricks answered that hold bytes.
fn covered_sets(volume: &Volume, asked: &[Asked<'_>]) -> BTreeSet<u32> {
    let mut answered: BTreeMap<u32, u32> = BTreeMap::new();
    for (brick, _) in asked.iter().filter(|(brick, result)| result.is_ok() && !brick.arbiter) {
        *answered.entry(brick.set).or_default() += 1;
    }
    answered.retain(|_, bricks| *bricks >= bricks_needed(volume));
    answered.into_keys().collect()
}

/// Returns the sets in which copies are to be healed.
///
/// Erasure coding notes what is being changed as well, on every brick: what all have noted, nobody missed.
fn unhealed_sets(volume: &Volume, asked: &[Asked<'_>]) -> BTreeSet<u32> {
    let mut noted: BTreeMap<u32, Vec<Unhealed>> = BTreeMap::new();
    for (brick, result) in asked {
        noted.entry(brick.set).or_default().extend(result.as_ref().ok().map(|(_, ended)| ended.end.unhealed));
    }
    noted.retain(|set, noted| {
        let all = volume.is_dispersed() && noted.len() == volume.bricks_of(*set).count();
        noted.iter().any(|one| one.nodes > 0) && !(all && noted.iter().all(|one| *one == noted[0]))
    });
    noted.into_keys().collect()
}

/// Returns by how much the clock of a brick differs from ours, if that is more than the way to it explains.
fn skew(ended: &Ended) -> Option<String> {
    let way = if ended.clock_ahead_ms > 0 { "ahead" } else { "behind" };
    let is_off = ended.clock_ahead_ms.abs() > SKEW_MS_MAX + ended.took.as_millis() as i64;
    is_off.then(|| format!("{} s {way}", ended.clock_ahead_ms.abs() / 1000))
}

/// Returns how many bricks of a set hold all of it together.
fn bricks_needed(volume: &Volume) -> u32 {
    match volume.kind {
        VolumeKind::Distribute | VolumeKind::Replicate { .. } | VolumeKind::Arbiter { .. } => 1,
        VolumeKind::Disperse { fragments, redundancy } => fragments.saturating_sub(redundancy).max(1),
    }
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Agent { source, .. } => source.hint(),
            Self::Uncovered { .. } => {
                Some("nothing was recorded; run it again when one brick of the set is up".to_owned())
            }
            Self::Silent(_) => Some("nothing was recorded; the next run finds what changed meanwhile".to_owned()),
            Self::Part(_) | Self::Endless { .. } => None,
        }
    }
}

impl Collected {
    /// Returns what changed, once; none after a walk.
    pub fn take_changes(&mut self) -> Option<crate::model::Changes> {
        self.merged.take().map(|merged| merged.changes)
    }

    /// Calls `each` for every directory of the volume, after a walk (see [`Listing`]). Findings of the scan come with the
    /// first one.
    ///
    /// # Errors
    /// [`crate::source::Error::Gluster`].
    pub fn walk(&self, each: &mut dyn FnMut(Listing) -> ControlFlow<()>) -> Result<(), Error> {
        let parts = self
            .answers
            .iter()
            .map(|answer| Ok((answer.place, lines_of(&answer.part)?)))
            .collect::<Result<Vec<_>, part_reader::Error>>()?;
        let mut findings = self.findings.clone();
        merge_walk(parts, &mut |mut listing| {
            findings.append(&mut listing.findings);
            listing.findings = std::mem::take(&mut findings);
            each(listing)
        })?;
        Ok(())
    }
}
