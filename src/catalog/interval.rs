//! The relational interval tree over seconds: which node of a binary tree an interval belongs to, and
//! which nodes an instant must look at.
//!
//! Promises: for every closed interval `[first, last]` with `1 <= first <= last` and every instant `t` in it,
//! [`fork`]`(first, last)` is among [`path`]`(t)`. The tree spans all instants that the catalog can hold,
//! so neither value changes as generations are added.
//! Source: Kriegel, Poetke, Seidl, "Managing Intervals Efficiently in Object-Relational Databases",
//! VLDB 2000, section 3.

/// The fork of names that still live; on the path of every instant.
pub(super) const LIVE: i64 = 0;

/// Levels of the tree: 2^38 seconds reach beyond the year 9999.
const LEVELS: u32 = 38;

/// Returns the node of the tree at which `[first, last]` (both inclusive) is kept.
pub(super) fn fork(first: i64, last: i64) -> i64 {
    debug_assert!(1 <= first && first <= last, "an interval runs forward from second 1");
    let differ = (first - 1) ^ last;
    let high_bit = 1_i64 << (63 - differ.leading_zeros());
    last & !(high_bit - 1)
}

/// Calls `each` with every node that may hold an interval around `at`, [`LIVE`] first.
pub(super) fn path(at: i64, mut each: impl FnMut(i64)) {
    each(LIVE);
    for level in at.trailing_zeros()..LEVELS {
        each(((at >> (level + 1)) << (level + 1)) | (1 << level));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interval_is_found_from_every_instant_in_it() {
        for base in [0, 1_763_604_000 - 60] {
            for first in base + 1..base + 120 {
                for last in first..base + 120 {
                    let node = fork(first, last);
                    for at in first..=last {
                        let mut found = false;
                        path(at, |n| found |= n == node);
                        assert!(found, "[{first}, {last}] at {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_instant_looks_at_few_nodes() {
        let mut nodes = 0;
        path(1_763_604_001, |_| nodes += 1);
        assert_eq!(nodes, 39);
    }
}
