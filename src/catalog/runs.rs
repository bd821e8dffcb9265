//! Rows that hold from one generation to another: names, kept names and doubts follow one algebra.
//!
//! The rows of one key are maximal runs of generations in which it has one value. [`put_in`] and [`take_out`] edit them at one generation;
//! they look at its two neighbours and at nothing else. With no generation before, a birth that is older than the oldest stays what
//! it is: it means "since the oldest".
//!
//! Promises: pure; what all other generations show stays as it was. `tests/model/runs.rs` is the specification.

use crate::model::{FOREVER, Time};

/// A generation with its neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    pub(super) at: Time,
    pub(super) before: Option<Time>,
    pub(super) after: Option<Time>,
}

/// A row without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run<V> {
    pub(super) born: i64,
    pub(super) died: i64,
    pub(super) value: V,
}

fn covering<V>(runs: &[Run<V>], at: Option<Time>) -> Option<usize> {
    let at = at?.0;
    runs.iter().position(|run| run.born <= at && at < run.died)
}

/// Returns what holds at `at`.
pub(super) fn holds<V>(runs: &[Run<V>], at: Option<Time>) -> Option<&V> {
    covering(runs, at).map(|place| &runs[place].value)
}

/// Has the key be `now` at a generation that is put in.
pub(super) fn put_in<V: Clone + PartialEq>(runs: &mut Vec<Run<V>>, beside: Beside, now: Option<V>) {
    let Beside { at, before: p, after: n } = beside;
    let before = covering(runs, p).map(|place| (place, runs[place].clone()));
    let after = holds(runs, n).cloned();
    if let Some((place, run)) = &before
        && now.as_ref() != Some(&run.value)
    {
        runs[*place].died = at.0;
        if let Some(n) = n.filter(|n| run.died > n.0) {
            runs.push(Run { born: n.0, ..run.clone() });
        }
    }
    let before = before.map(|(_, run)| run.value);
    let cover = covering(runs, n);
    let raise = |runs: &mut Vec<Run<V>>| {
        if let (Some(place), Some(n)) = (cover, n) {
            runs[place].born = runs[place].born.max(n.0);
        }
    };
    match now {
        Some(now) if before.as_ref() != Some(&now) => {
            let mut died = n.unwrap_or(FOREVER).0;
            match cover {
                Some(place) if after.as_ref() == Some(&now) => {
                    if runs[place].born <= at.0 {
                        return; // "since the oldest" says so already
                    }
                    died = runs.remove(place).died;
                }
                _ if p.is_none() => raise(runs),
                _ => {}
            }
            runs.push(Run { born: at.0, died, value: now });
        }
        None if before.is_none() => raise(runs),
        _ => {}
    }
}

/// Has the key be nothing at a generation that is taken away: what was before it goes on to what is after it.
pub(super) fn take_out<V: Clone + PartialEq>(runs: &mut Vec<Run<V>>, beside: Beside) {
    let Beside { at, before: p, after: n } = beside;
    let born = |runs: &[Run<V>], at: Time| runs.iter().position(|run| run.born == at.0);
    let ending = |runs: &[Run<V>]| runs.iter().position(|run| run.died == at.0);
    match (p, n) {
        (None, None) => runs.retain(|run| !(run.born <= at.0 && at.0 < run.died)),
        (Some(_), None) => {
            runs.retain(|run| run.born != at.0);
            if let Some(place) = ending(runs) {
                runs[place].died = FOREVER.0;
            }
        }
        (None, Some(n)) => runs.retain(|run| !(run.born <= at.0 && at.0 < run.died && run.died <= n.0)),
        (Some(_), Some(n)) => {
            if let Some(place) = born(runs, at) {
                if runs[place].died > n.0 {
                    runs[place].born = n.0;
                } else {
                    runs.remove(place);
                }
            }
            if let Some(place) = ending(runs) {
                let next = born(runs, n).filter(|next| runs[*next].value == runs[place].value);
                runs[place].died = next.map_or(n.0, |next| runs[next].died);
                next.map(|next| runs.remove(next));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANTS: [i64; 5] = [10, 20, 30, 40, 50];

    /// Returns the rows that values at these generations are.
    fn rows(values: &[(i64, Option<char>)]) -> Vec<Run<char>> {
        let mut runs: Vec<Run<char>> = Vec::new();
        for (place, (at, value)) in values.iter().enumerate() {
            let before = place.checked_sub(1).and_then(|before| values[before].1);
            if before != *value {
                if let Some(run) = runs.last_mut().filter(|run| run.died == FOREVER.0) {
                    run.died = *at;
                }
                runs.extend(value.map(|value| Run { born: *at, died: FOREVER.0, value }));
            }
        }
        runs
    }

    #[test]
    fn every_history_of_five_generations_is_the_same_whatever_was_put_in_or_taken_out_last() {
        let value = |number: usize, place: u32| [None, Some('a'), Some('b')][number / 3_usize.pow(place) % 3];
        for number in 0..3_usize.pow(5) {
            let all: Vec<_> = INSTANTS.iter().zip(0..).map(|(at, place)| (*at, value(number, place))).collect();
            for place in 0..INSTANTS.len() {
                let mut rest = all.clone();
                let (at, now) = rest.remove(place);
                let time = |place: Option<usize>| place.and_then(|place| all.get(place)).map(|(at, _)| Time(*at));
                let beside = Beside { at: Time(at), before: time(place.checked_sub(1)), after: time(Some(place + 1)) };
                let mut runs = rows(&rest);
                put_in(&mut runs, beside, now);
                runs.sort_by_key(|run| run.born);
                assert_eq!(runs, rows(&all), "{now:?} put in at {at}");
                take_out(&mut runs, beside);
                runs.sort_by_key(|run| run.born);
                // Of the oldest births stay, and mean "since the oldest".
                let first = rest[0].0;
                runs.iter_mut().for_each(|run| run.born = run.born.max(first));
                assert_eq!(runs, rows(&rest), "{now:?} taken out at {at}");
            }
        }
    }
}
