//! What a generation did to a node, counted anew from the rows, against the note of it.
//!
//! Promises: what is noted is the exact difference between two neighbours, never what was done on the way. Where rows do not say
//! whether bytes are others (a catalog from before that was written), a note may say either.

use crate::catalog::ChangeOps;
use crate::catalog::history::VersionRow;
use crate::catalog::rows::{NodeRow, Place};
use crate::catalog::timeline::Timeline;
use crate::model::{Key, Rule};
use std::ops::Range;

/// The bits that a note must have, and those that it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::catalog) struct Expected {
    pub(in crate::catalog) must: ChangeOps,
    pub(in crate::catalog) may: ChangeOps,
}

impl Expected {
    /// Tells whether a note of `ops` is right; 0: there is none.
    pub(in crate::catalog) fn allows(self, ops: i64) -> bool {
        ops & self.must.0 == self.must.0 && ops & !(self.must.0 | self.may.0) == 0
    }
}

/// Calls `each` with what every generation but the oldest did to a node, against the one before it, where that may be anything.
pub(in crate::catalog) fn each_change<E>(
    node: &Timeline<'_>,
    rule: Rule,
    each: &mut dyn FnMut(usize, Expected) -> Result<(), E>,
) -> Result<(), E> {
    let steps = |end: fn(&Range<usize>) -> usize| {
        let mut steps: Vec<_> =
            node.names.iter().map(|(span, row)| (end(span), (row.dir, row.name.as_slice()))).collect();
        steps.sort_unstable();
        steps
    };
    let (begins, ends) = (steps(|span| span.start), steps(|span| span.end));
    for place in node.turns() {
        let (begun, ended) = (of(&begins, place), of(&ends, place));
        let mut expected = Expected::default();
        // A name that begins where a row of the same name ends is no other name.
        if begun.iter().any(|step| ended.binary_search(step).is_err()) {
            expected.must |= ChangeOps::LINKED;
        }
        if ended.iter().any(|step| begun.binary_search(step).is_err()) {
            expected.must |= ChangeOps::UNLINKED;
        }
        match (node.lives_at(place - 1), node.lives_at(place)) {
            (false, true) => expected.must |= ChangeOps::CREATED,
            (true, true) => {
                if let (Some(old), Some(new)) = (node.version_at(place - 1), node.version_at(place)) {
                    let versions = between(old, new, rule);
                    expected.must |= versions.must;
                    expected.may |= versions.may;
                }
            }
            (_, false) => {}
        }
        each(place, expected)?;
    }
    Ok(())
}

/// Returns the steps at `place`; they are sorted.
fn of<T>(steps: &[(usize, T)], place: usize) -> &[(usize, T)] {
    let from = steps.partition_point(|(at, _)| *at < place);
    let until = steps.partition_point(|(at, _)| *at <= place);
    &steps[from..until]
}

/// Returns what differs between two versions of one node.
fn between(old: &VersionRow, new: &VersionRow, rule: Rule) -> Expected {
    let same_number = old.row.bytes == new.row.bytes || !new.row.place.holds_a_file() || !old.row.place.holds_a_file();
    // Other numbers may be equal digests, of which this knows nothing.
    let same_bytes = same_number || rule.key != Key::Write;
    let must = differences(old, new, rule, same_bytes);
    let mut may = if same_number || rule.key != Key::Digest { ChangeOps::default() } else { ChangeOps::CONTENT };
    if rule.key == Key::Write && old.row.ctime != new.row.ctime {
        // A copy that another tool made of a volume has ctimes of its own, which are not compared.
        may |= ChangeOps::ATTRIBUTES;
        return Expected {
            must: differences(
                &VersionRow { row: new_ctime(old, new), content: old.content.clone() },
                new,
                rule,
                same_bytes,
            ),
            may,
        };
    }
    Expected { must, may }
}

fn new_ctime(old: &VersionRow, new: &VersionRow) -> NodeRow {
    NodeRow { ctime: new.row.ctime, ..old.row }
}

fn differences(old: &VersionRow, new: &VersionRow, rule: Rule, same_bytes: bool) -> ChangeOps {
    let is_kept = |row: &NodeRow| matches!(row.place, Place::Inline(_) | Place::OnDisk(Some(_)));
    let same_place = match is_kept(&old.row) && is_kept(&new.row) {
        true => old.content == new.content,
        false => old.row.place == new.row.place || (old.row.place.is_in_a_copy() && new.row.place.is_in_a_copy()),
    };
    super::super::notes::between(&old.row, &new.row, rule, same_place, same_bytes)
}

/// Tells whether two versions after each other, with no time without a name between them, should be one row.
pub(in crate::catalog) fn is_same(old: &VersionRow, new: &VersionRow, rule: Rule) -> bool {
    let same_number = old.row.bytes == new.row.bytes || !new.row.place.holds_a_file();
    let same_bytes = same_number || rule.key == Key::Stamp;
    differences(old, new, rule, same_bytes).is_empty()
}
