//! Rows that hold from one generation to another: names, kept names and doubts, one algebra.
//!
//! A row is a maximal run of generations in which a key has one value. [`Runs::put_in`] and [`Runs::take_out`] edit one key at one
//! generation; they look at its neighbours and at nothing else. With no generation before, a birth that is older than
//! the oldest stays what it is: it means "since the oldest".

use super::{Break, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// The end of a row that still holds.
pub(crate) const FOREVER: Instant = 1 << LEVELS;

/// Levels of the interval tree.
const LEVELS: u32 = 38;

/// Returns the node of the relational interval tree at which a row is found; 0 while it holds.
pub(crate) fn fork_of(born: Instant, died: Instant) -> Instant {
    if died == FOREVER {
        return 0;
    }
    let last = died - 1;
    let differ = (born - 1) ^ last;
    last & !((1 << (63 - differ.leading_zeros())) - 1)
}

/// Returns the nodes at which a look for `at` finds all rows around it.
pub(crate) fn fork_path(at: Instant) -> impl Iterator<Item = Instant> {
    let levels = at.trailing_zeros()..=LEVELS;
    [0].into_iter().chain(levels.map(move |level| ((at >> (level + 1)) << (level + 1)) | (1 << level)))
}

/// A generation with its neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    pub(crate) at: Instant,
    pub(crate) before: Option<Instant>,
    pub(crate) after: Option<Instant>,
}

/// A row, but for its key and birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run<V> {
    pub(crate) died: Instant,
    pub(crate) value: V,
    pub(crate) fork: Instant,
}

/// The rows of one table.
#[derive(Clone, Debug)]
pub(crate) struct Runs<K, V> {
    rows: BTreeMap<(K, Instant), Run<V>>,
    /// The values of the rows that were written or dropped since it was last emptied.
    pub(crate) touched: BTreeSet<V>,
    broken: Option<Break>,
}

impl<K: Copy + Ord, V: Copy + Ord> Runs<K, V> {
    pub(crate) fn new(broken: Option<Break>) -> Self {
        Self { rows: BTreeMap::new(), touched: BTreeSet::new(), broken }
    }

    pub(crate) fn rows(&self) -> &BTreeMap<(K, Instant), Run<V>> {
        &self.rows
    }

    /// Returns what holds at `at`, by key.
    pub(crate) fn state(&self, at: Option<Instant>) -> BTreeMap<K, V> {
        let Some(at) = at else { return BTreeMap::new() };
        let holds = self.rows.iter().filter(|((_, born), run)| *born <= at && at < run.died);
        holds.map(|((key, _), run)| (*key, run.value)).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    /// Returns the birth of the row that covers `at`, and the row.
    fn covering(&self, key: K, at: Option<Instant>) -> Option<(Instant, Run<V>)> {
        let at = at?;
        let ((_, born), run) = self.rows.range((key, Instant::MIN)..=(key, at)).next_back()?;
        (at < run.died).then_some((*born, *run))
    }

    fn write(&mut self, key: K, born: Instant, died: Instant, value: V) {
        let old = self.rows.get(&(key, born)).filter(|_| self.broken == Some(Break::ForkStays));
        let fork = old.map_or_else(|| fork_of(born, died), |old| old.fork);
        self.rows.insert((key, born), Run { died, value, fork });
        self.touched.insert(value);
    }

    fn drop(&mut self, key: K, born: Instant) {
        let run = self.rows.remove(&(key, born)).expect("the row was found");
        self.touched.insert(run.value);
    }

    /// Moves the birth of a row up to `to`.
    fn raise(&mut self, key: K, born: Instant, to: Instant) {
        if self.broken == Some(Break::BirthsStay) {
            return;
        }
        let run = self.rows[&(key, born)];
        self.drop(key, born);
        self.write(key, to, run.died, run.value);
    }

    /// Has `key` be `now` at a generation that is put in.
    pub(crate) fn put_in(&mut self, key: K, beside: Beside, now: Option<V>) {
        let Beside { at, before: p, after: n } = beside;
        if let (Some(Break::OlderBirthsOnly), None, Some(n)) = (self.broken, p, n) {
            return self.put_before_all_as_if_births_were_numbers(key, at, n, now);
        }
        let before = self.covering(key, p);
        // The row that holds at n; one that covers p too is cut first, and then looked for again.
        let after = self.covering(key, n).map(|(_, run)| run.value);
        if let Some((born, run)) = before.filter(|(_, run)| now != Some(run.value)) {
            self.write(key, born, at, run.value);
            if let Some(n) = n.filter(|n| run.died > *n) {
                self.write(key, n, run.died, run.value);
            }
        }
        let before = before.map(|(_, run)| run.value);
        let cover = self.covering(key, n);
        match now {
            Some(now) if before != Some(now) => {
                let mut died = n.unwrap_or(FOREVER);
                if let Some((born, run)) = cover.filter(|_| after == Some(now)) {
                    if born <= at {
                        return; // "since the oldest" says so already
                    }
                    died = run.died;
                    self.drop(key, born);
                } else if let (Some((born, _)), None, Some(n)) = (cover, p, n)
                    && born < n
                {
                    self.raise(key, born, n);
                }
                self.write(key, at, died, now);
            }
            None if before.is_none() => {
                if let (Some((born, _)), Some(n)) = (cover, n)
                    && born < n
                {
                    self.raise(key, born, n);
                }
            }
            _ => {}
        }
    }

    fn put_before_all_as_if_births_were_numbers(&mut self, key: K, at: Instant, n: Instant, now: Option<V>) {
        if let Some((born, _)) = self.covering(key, Some(n)).filter(|(born, _)| *born < at) {
            self.raise(key, born, n);
        }
        if let Some(now) = now {
            let next = self.rows.get(&(key, n)).filter(|run| run.value == now).copied();
            if next.is_some() {
                self.drop(key, n);
            }
            self.write(key, at, next.map_or(n, |run| run.died), now);
        }
    }

    /// Has `key` be nothing at a generation that is forgotten: what was before it goes on to what is after it.
    pub(crate) fn take_out(&mut self, key: K, beside: Beside) {
        let Beside { at, before: p, after: n } = beside;
        match (p, n) {
            (None, None) => {
                if let Some((born, _)) = self.covering(key, Some(at)) {
                    self.drop(key, born);
                }
            }
            (Some(_), None) => {
                if self.rows.contains_key(&(key, at)) {
                    self.drop(key, at);
                }
                if let Some((born, run)) = self.ending(key, at) {
                    self.write(key, born, FOREVER, run.value);
                }
            }
            (None, Some(n)) => {
                if let Some((born, _)) = self.covering(key, Some(at)).filter(|(_, run)| run.died <= n) {
                    self.drop(key, born);
                }
            }
            (Some(_), Some(n)) => {
                if let Some(run) = self.rows.get(&(key, at)).copied() {
                    self.drop(key, at);
                    if run.died > n {
                        self.write(key, n, run.died, run.value);
                    }
                }
                if let Some((born, run)) = self.ending(key, at) {
                    let next = self.rows.get(&(key, n)).filter(|next| next.value == run.value).copied();
                    let next = next.filter(|_| self.broken != Some(Break::NoJoin));
                    if next.is_some() {
                        self.drop(key, n);
                    }
                    self.write(key, born, next.map_or(n, |next| next.died), run.value);
                }
            }
        }
    }

    /// Returns the row of `key` that died at `at`.
    fn ending(&self, key: K, at: Instant) -> Option<(Instant, Run<V>)> {
        let ((_, born), run) = self.rows.range((key, Instant::MIN)..(key, at)).next_back()?;
        (run.died == at).then_some((*born, *run))
    }
}
