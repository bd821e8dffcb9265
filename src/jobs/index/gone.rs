//! Copies that are gone: was that the retention of whoever makes them, or a loss?
//!
//! The oldest ones go first. So a copy was pruned if no older one is left and a newer one is there; in each series of names by itself,
//! since `hourly.5` goes while `daily.0` is older. Everything else is a loss until somebody says otherwise.
//!
//! Promises: pure.

use crate::model::Time;
use std::path::Path;

/// Copies of which the oldest goes when a new one comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Series<'p> {
    folder: Option<&'p Path>,
    stem: &'p [u8],
}

impl<'p> Series<'p> {
    /// Returns the series of the copy at `path`. Where nothing but its mtime gives its date, its name rotates:
    /// `daily.0`, `daily.1`.
    pub(super) fn of(path: &'p Path, rotates: bool) -> Self {
        let name = path.file_name().map_or(&b""[..], std::os::unix::ffi::OsStrExt::as_bytes);
        let end = name.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1);
        Self { folder: path.parent(), stem: if rotates { &name[..end] } else { b"" } }
    }
}

/// Tells whether a copy of `at` that is gone was pruned; `left` are the copies that are there or may be.
pub(super) fn is_pruned(series: Series<'_>, at: Time, left: &[(Series<'_>, Time)]) -> bool {
    let mut in_series = left.iter().filter(|(other, _)| *other == series).map(|(_, at)| *at).peekable();
    in_series.peek().is_some() && in_series.all(|other| other > at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pruned(path: &str, at: i64, left: &[(&str, i64)], rotates: bool) -> bool {
        let left: Vec<_> = left.iter().map(|(path, at)| (Series::of(Path::new(path), rotates), Time(*at))).collect();
        is_pruned(Series::of(Path::new(path), rotates), Time(at), &left)
    }

    #[test]
    fn the_oldest_is_pruned_when_a_newer_one_is_left() {
        assert!(pruned("/c/2026-11-18", 18, &[("/c/2026-11-19", 19), ("/c/2026-12-01", 31)], false));
        assert!(!pruned("/c/2026-11-19", 19, &[("/c/2026-11-18", 18), ("/c/2026-11-20", 20)], false));
        assert!(!pruned("/c/2026-11-20", 20, &[("/c/2026-11-19", 19)], false));
        assert!(!pruned("/c/2026-11-20", 20, &[], false));
    }

    #[test]
    fn each_level_of_a_rotation_has_an_oldest() {
        let left = [("/c/hourly.0", 50), ("/c/hourly.1", 40), ("/c/daily.0", 20), ("/c/daily.1", 10)];
        assert!(pruned("/c/hourly.2", 30, &left, true));
        assert!(pruned("/c/daily.2", 5, &left, true));
        assert!(!pruned("/c/daily.0", 15, &left, true));
    }

    #[test]
    fn another_folder_is_another_series() {
        assert!(pruned("/c/2026-11-18", 18, &[("/archive/2020", 1), ("/c/2026-11-19", 19)], false));
        assert!(!pruned("/archive/2020", 1, &[("/c/2026-11-19", 19)], false));
    }
}
