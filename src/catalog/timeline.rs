//! What one node was at each generation: its names, the times at which it has one, its versions.
//!
//! Promises: spans are places among the generations of the source; what an unfinished generation wrote is not in it.

use super::history::{History, Instants, NameRow, VersionRow};
use crate::model::NodeId;
use std::ops::Range;

/// The generations of a source, and those that are being made.
pub(super) struct Generations {
    pub(super) instants: Instants,
    pub(super) unfinished: Vec<i64>,
}

impl Generations {
    /// Tells whether a row that was born, or died, at `at` waits for its generation to be published or undone.
    pub(super) fn is_unfinished(&self, at: i64) -> bool {
        self.unfinished.contains(&at)
    }

    /// Returns the places at which a row holds; none of what an unfinished generation wrote.
    pub(super) fn span(&self, born: i64, died: i64) -> Range<usize> {
        if self.is_unfinished(born) {
            let end = self.instants.len();
            return end..end;
        }
        self.instants.span(born, died)
    }
}

/// One node over all generations.
pub(super) struct Timeline<'h> {
    pub(super) node: NodeId,
    pub(super) is_root: bool,
    /// Names that a generation shows.
    pub(super) names: Vec<(Range<usize>, &'h NameRow)>,
    /// When it has a name, or is the top directory: in order, with a generation between two of them.
    pub(super) life: Vec<Range<usize>>,
    /// Versions with the place at which each begins; that may be behind the last one.
    pub(super) versions: Vec<(usize, &'h VersionRow)>,
    end: usize,
}

impl<'h> Timeline<'h> {
    pub(super) fn new(history: &'h History, root: NodeId, generations: &Generations) -> Self {
        let end = generations.instants.len();
        let is_root = history.node == root;
        let names: Vec<_> = history
            .names
            .iter()
            .map(|name| (generations.span(name.born, name.died), name))
            .filter(|(span, _)| !span.is_empty())
            .collect();
        let spans: Vec<Range<usize>> = match is_root {
            true => std::iter::once(0..end).collect(),
            false => names.iter().map(|(span, _)| span.clone()).collect(),
        };
        let life = union(spans.into_iter().filter(|span| !span.is_empty()).collect());
        let versions = history.versions.iter().filter(|version| !generations.is_unfinished(version.row.born));
        let versions = versions.map(|version| (generations.instants.place(version.row.born), version)).collect();
        Self { node: history.node, is_root, names, life, versions, end }
    }

    /// Tells whether it lives at `place`.
    pub(super) fn lives_at(&self, place: usize) -> bool {
        covers(&self.life, &(place..place + 1))
    }

    /// Returns the version that holds at `place`.
    pub(super) fn version_at(&self, place: usize) -> Option<&'h VersionRow> {
        let born_by_then = self.versions.partition_point(|(born, _)| *born <= place);
        born_by_then.checked_sub(1).map(|last| self.versions[last].1)
    }

    /// Returns the places at which the version with this number holds.
    pub(super) fn holds(&self, number: usize) -> Range<usize> {
        let end = self.versions.get(number + 1).map_or(self.end, |(born, _)| *born);
        self.versions[number].0..end
    }

    /// Returns how many names it has: spans in order with the number in each, without those in which it has none.
    pub(super) fn name_counts(&self) -> Vec<(Range<usize>, u32)> {
        if let [(span, _)] = self.names.as_slice() {
            return vec![(span.clone(), 1)];
        }
        let mut steps: Vec<(usize, i32)> = self.names.iter().flat_map(|(s, _)| [(s.start, 1), (s.end, -1)]).collect();
        steps.sort_unstable();
        let (mut counts, mut count, mut since) = (Vec::new(), 0_i32, 0);
        for (place, step) in steps {
            if count > 0 && since < place {
                counts.push((since..place, count as u32));
            }
            (count, since) = (count + step, place);
        }
        counts
    }

    /// Returns the places after the oldest at which something about it may begin or end; in order.
    pub(super) fn turns(&self) -> Vec<usize> {
        let names = self.names.iter().flat_map(|(span, _)| [span.start, span.end]);
        let mut places: Vec<usize> = names.chain(self.versions.iter().map(|(born, _)| *born)).collect();
        places.retain(|place| (1..self.end).contains(place));
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// Returns spans in order, those that touch as one.
pub(super) fn union(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_unstable_by_key(|span| span.start);
    let mut union: Vec<Range<usize>> = Vec::with_capacity(spans.len().min(4));
    for span in spans {
        match union.last_mut() {
            Some(last) if last.end >= span.start => last.end = last.end.max(span.end),
            _ => union.push(span),
        }
    }
    union
}

/// Tells whether one of `spans` covers all of `span`; they are in order.
pub(super) fn covers(spans: &[Range<usize>], span: &Range<usize>) -> bool {
    let begun = spans.partition_point(|s| s.start <= span.start);
    span.is_empty() || begun.checked_sub(1).is_some_and(|last| spans[last].end >= span.end)
}

/// Returns what two spans have in common.
pub(super) fn common(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}
