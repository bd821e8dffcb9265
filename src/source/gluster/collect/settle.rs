//! What the answers of bricks come to: which sets have told all, what was found amiss on the way, and where the next scan goes on.
//! Pure.

use super::error::Error;
use super::question::name_of;
use super::round::{Answer, Asked};
use super::thin_arbiter::Refused;
use crate::model::{Finding, FindingKind, RelPath, Time, chain};
use crate::source::gluster::exec::Ended;
use crate::source::gluster::merge::BrickPlace;
use crate::source::gluster::part::Gap;
use crate::source::gluster::volume::{Brick, Volume, VolumeKind};
use crate::source::gluster::{BrickSeen, State};
use std::collections::{BTreeMap, BTreeSet};

/// A clock that is off by more than this is told of, in ms.
const SKEW_MS_MAX: i64 = 2_000;

/// What answers come to.
pub(super) struct Settled {
    pub(super) findings: Vec<Finding>,
    pub(super) next: State,
    /// The answers that count.
    pub(super) answers: Vec<Answer>,
    /// Some set has not told what it holds.
    pub(super) uncovered: bool,
}

/// Returns the bricks to be asked. One whose process does not run does not know what changed since, and nobody has told it: it is asked
/// only where too few others of its set run that are believed.
pub(super) fn asked_of<'v>(volume: &'v Volume, refused: Option<&Refused>) -> impl Iterator<Item = &'v Brick> + use<'v> {
    let runs = |brick: &Brick| brick.online != Some(false);
    let refused = refused.map(|refused| refused.brick);
    let is_enough = move |set: u32| is_quorum(volume, set, &|brick| runs(brick) && refused != Some(brick.number));
    volume.bricks.iter().filter(move |brick| runs(brick) || !is_enough(brick.set))
}

/// Tells whether the bricks of a set of which `has` is true are enough to believe what they say of each other: as many as clients need to write
/// (`cluster.quorum-type`, by default more than half of three or more). Any as many have one among them that saw the last change, and blames who
/// missed it; a copy that is left alone may have missed it, and clients are not served by it.
fn is_quorum(volume: &Volume, set: u32, has: &dyn Fn(&Brick) -> bool) -> bool {
    let all = volume.bricks_of(set).count();
    let there: Vec<&Brick> = volume.bricks_of(set).filter(|brick| has(brick)).collect();
    if there.iter().filter(|brick| !brick.arbiter).count() < bricks_needed(volume) as usize {
        return false;
    }
    let option = |name: &str| volume.options.get(name).map(String::as_str);
    match (volume.kind, option("cluster.quorum-type")) {
        (VolumeKind::Distribute | VolumeKind::Disperse { .. }, _) | (_, Some("none")) => true,
        (_, Some("fixed")) => {
            let count = option("cluster.quorum-count").and_then(|count| count.parse().ok()).unwrap_or(1);
            there.len() >= count
        }
        (_, None) if all < 3 => true,
        // Half of them are enough with the first among these (`afr_has_quorum`).
        _ => {
            2 * there.len() > all || 2 * there.len() == all && there.iter().any(|brick| brick.number % all as u32 == 0)
        }
    }
}

/// Applies the rule of completeness to the answers, and works out where the next scan goes on.
pub(super) fn settle(
    volume: &Volume,
    state: &State,
    asked: Vec<Asked<'_>>,
    unhealed: &BTreeSet<u32>,
    walked: Option<&String>,
    refused: Option<&Refused>,
    mut findings: Vec<Finding>,
) -> Result<Settled, Error> {
    let (is_first, has_gap) = (state.walked_at == 0, findings.iter().any(|f| f.kind == FindingKind::Gap));
    let mut find = |kind, detail| findings.push(Finding { kind, path: RelPath::root(), detail });
    let covered = covered_sets(volume, &asked, refused);
    let is_covered = |set: u32| covered.contains(&set);
    // Bricks that left the volume are forgotten.
    let is_here = |name: &str| volume.bricks.iter().any(|brick| name_of(brick) == name);
    let cursors = state.cursors.iter().filter(|(name, _)| is_here(name));
    let cursors = cursors.map(|(name, cursor)| (name.clone(), cursor.clone())).collect();
    let mut next = State { cursors, bricks: seen_of(volume, &asked), ..State::default() };
    for brick in volume.bricks.iter().filter(|brick| brick.online == Some(false)) {
        let is_asked = asked.iter().any(|(other, _)| other.number == brick.number);
        let what = match (is_asked, refused) {
            (true, Some(_)) => "no other of its set is believed, so its disk was asked",
            (true, None) => "too few others of its set are, so its disk was asked",
            (false, _) => "others of its set were asked",
        };
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
                    let why = refused.filter(|refused| refused.brick == brick.number);
                    let why = why.map(|refused| format!("brick {name}: {}", refused.why));
                    uncovered.entry(brick.set).or_default().extend(why);
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
        let said = if said.is_empty() { "too few of its bricks answered".to_owned() } else { said.join("; ") };
        if let Some(why) = walked {
            return Err(Error::Uncovered { set: set + 1, why: why.clone(), said });
        }
        find(
            FindingKind::Missing,
            format!("replica set {} did not answer; what it holds is as it was before: {said}", set + 1),
        );
        next.walk_next.get_or_insert(format!("replica set {} did not answer", set + 1));
    }
    Ok(Settled { findings, next, answers, uncovered: !uncovered.is_empty() })
}

/// Returns what was seen of each brick of the volume.
fn seen_of(volume: &Volume, asked: &[Asked<'_>]) -> BTreeMap<String, BrickSeen> {
    let seen = |brick: &Brick| {
        let told =
            asked.iter().find(|(other, _)| other.number == brick.number).and_then(|(_, result)| result.as_ref().ok());
        let ended = told.map(|(_, ended)| ended);
        BrickSeen {
            number: brick.number + 1,
            set: brick.set + 1,
            arbiter: brick.arbiter,
            running: brick.online,
            answered: ended.is_some(),
            clock_ahead_ms: ended.map(|ended| ended.clock_ahead_ms),
            skewed: ended.is_some_and(|ended| skew(ended).is_some()),
            to_heal: ended.map(|ended| ended.end.unhealed.nodes),
        }
    };
    volume.bricks.iter().map(|brick| (name_of(brick), seen(brick))).collect()
}

/// Returns the sets of which enough bricks answered that are believed.
fn covered_sets(volume: &Volume, asked: &[Asked<'_>], refused: Option<&Refused>) -> BTreeSet<u32> {
    let answered: BTreeSet<u32> =
        asked.iter().filter(|(_, result)| result.is_ok()).map(|(brick, _)| brick.number).collect();
    let counts =
        |brick: &Brick| answered.contains(&brick.number) && refused.is_none_or(|refused| refused.brick != brick.number);
    let sets: BTreeSet<u32> = volume.bricks.iter().map(|brick| brick.set).collect();
    sets.into_iter().filter(|set| is_quorum(volume, *set, &counts)).collect()
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

/// Says what a gap is, and when it was.
pub(super) fn span(gap: &Gap) -> String {
    let stamp = |at: u64| i64::try_from(at).map_or_else(|_| at.to_string(), |at| Time(at).to_string());
    match (gap.from, gap.until) {
        (Some(from), Some(until)) => format!("{} (from {} until {})", gap.why, stamp(from), stamp(until)),
        (Some(from), None) => format!("{} (from {})", gap.why, stamp(from)),
        (None, Some(until)) => format!("{} (until {})", gap.why, stamp(until)),
        (None, None) => gap.why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a volume of one set for which some options were set.
    fn volume(kind: VolumeKind, options: &[(&str, &str)]) -> Volume {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Volume { options, ..Volume::of_one_set(kind) }
    }

    /// Returns which of some groups of bricks are a quorum.
    fn quorums<'g>(volume: &Volume, groups: &[&'g [u32]]) -> Vec<&'g [u32]> {
        groups.iter().filter(|group| is_quorum(volume, 0, &|brick| group.contains(&brick.number))).copied().collect()
    }

    #[test]
    fn as_many_copies_have_to_tell_as_clients_need() {
        let (replicate, type_is) = (|copies| VolumeKind::Replicate { copies }, "cluster.quorum-type");
        let three: [&[u32]; 5] = [&[0], &[2], &[0, 1], &[1, 2], &[0, 1, 2]];
        assert_eq!(quorums(&volume(replicate(3), &[]), &three), three[2..]);
        assert_eq!(quorums(&volume(replicate(3), &[(type_is, "none")]), &three), three);
        let fixed = [(type_is, "fixed"), ("cluster.quorum-count", "3")];
        assert_eq!(quorums(&volume(replicate(3), &fixed), &three), three[4..]);
        let two: [&[u32]; 3] = [&[1], &[0], &[0, 1]];
        assert_eq!(quorums(&volume(replicate(2), &[]), &two), two);
        assert_eq!(quorums(&volume(replicate(2), &[(type_is, "auto")]), &two), two[1..]);
        let four: [&[u32]; 4] = [&[0], &[1, 2], &[0, 3], &[1, 2, 3]];
        assert_eq!(quorums(&volume(replicate(4), &[]), &four), four[2..]);
    }

    #[test]
    fn an_arbiter_counts_and_has_no_bytes() {
        let arbiter = VolumeKind::Arbiter { copies: 2, arbiters: 1 };
        let groups: [&[u32]; 5] = [&[2], &[0], &[1], &[1, 2], &[0, 1]];
        assert_eq!(quorums(&volume(arbiter, &[]), &groups), groups[3..]);
        let fragments = VolumeKind::Disperse { fragments: 3, redundancy: 1 };
        let groups: [&[u32]; 3] = [&[0], &[2], &[0, 2]];
        assert_eq!(quorums(&volume(fragments, &[]), &groups), groups[2..]);
    }

    #[test]
    fn the_disks_of_bricks_that_do_not_run_are_asked_where_too_few_run() {
        let mut volume = volume(VolumeKind::Replicate { copies: 3 }, &[]);
        let asked = |volume: &Volume| asked_of(volume, None).map(|brick| brick.number).collect::<Vec<_>>();
        volume.bricks[0].online = Some(false);
        assert_eq!(asked(&volume), [1, 2]);
        volume.bricks[2].online = Some(false);
        assert_eq!(asked(&volume), [0, 1, 2]);
        // What nobody knows of may run.
        volume.bricks[2].online = None;
        assert_eq!(asked(&volume), [1, 2]);
    }
}
