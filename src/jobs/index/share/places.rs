//! What is there of a share: each directory once, with its root and its date, and the series that copies are of.
//! Looks at roots and never below one.

use crate::catalog::KnownCopy;
use crate::jobs::index::gone::Series;
use crate::jobs::index::recognise::{Place, Verdict};
use crate::jobs::index::seen::SeenCopy;
use crate::jobs::index::work::Work;
use crate::jobs::index::{Error, Event};
use crate::jobs::look::{Root, root_at};
use crate::model::Time;
use crate::source::{Discovered, Found, Source};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Everything that is there.
pub(super) struct Places {
    pub(super) all: Vec<Place>,
    by_path: HashMap<PathBuf, usize>,
}

impl Places {
    pub(super) fn of(
        work: &mut Work<'_>,
        copies: &dyn Source,
        known: &[KnownCopy],
        seen: &[SeenCopy],
        discovered: &Discovered,
        named: &[PathBuf],
    ) -> Result<Self, Error> {
        let roots: HashMap<&Path, Root> =
            known.iter().zip(seen).filter_map(|(copy, seen)| Some((copy.path.as_path(), seen.root?))).collect();
        let mut places = Self { all: Vec::new(), by_path: HashMap::new() };
        let dated = discovered.found.iter().map(|found| (found.path.as_path(), true));
        let undated = discovered.left_aside.iter().map(|left| (left.path.as_path(), false));
        let others = roots.keys().copied().chain(named.iter().map(PathBuf::as_path)).map(|path| (path, false));
        for (path, is_dated) in dated.chain(undated).chain(others) {
            if places.by_path.contains_key(path) {
                continue;
            }
            let root = match roots.get(path) {
                Some(root) => Ok(Some(*root)),
                None => root_at(path),
            };
            match root {
                Ok(Some(root)) => {
                    // Names may have rotated since they were listed: the date is that of the directory that was looked at.
                    let date = if is_dated { copies.instant_of_root(path, root.mtime) } else { None };
                    places.by_path.insert(path.to_owned(), places.all.len());
                    places.all.push(Place { path: path.to_owned(), root, date });
                }
                // It went since it was listed.
                Ok(None) => {}
                Err(e) => work.emit(Event::Warning { text: format!("cannot look at {path:?}: {e}") }),
            }
        }
        Ok(places)
    }

    pub(super) fn at(&self, path: &Path) -> Option<usize> {
        self.by_path.get(path).copied()
    }
}

/// Returns the directory that is recorded as the store of the copy at `path`.
pub(super) fn store_of(path: &Path, folder: &Path) -> PathBuf {
    match path.parent() {
        _ if path.starts_with(folder) => folder.to_owned(),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}

/// Returns the copies that are there, will be when the run is over, or may be.
pub(super) fn left<'l>(
    known: &'l [KnownCopy],
    verdicts: &[Verdict],
    (copies, places): (&dyn Source, &'l Places),
    new: &'l [Found],
) -> Vec<(Series<'l>, Time)> {
    let series = |place: &'l Place| {
        let is_of_mtime = place.date.is_some_and(|date| date.0 == place.root.mtime.seconds);
        Series::of(&place.path, is_of_mtime && !copies.is_dated_by_name(&place.path))
    };
    let known = known.iter().zip(verdicts).filter(|(copy, _)| !copy.forgotten);
    let known = known.filter_map(|(copy, verdict)| match (verdict, verdict.place()) {
        (_, Some(place)) => Some((series(&places.all[place]), copy.at)),
        (Verdict::Unknown, None) => Some((series_of(copies, copy), copy.at)),
        _ => None,
    });
    let new = new.iter().filter_map(|found| Some((series(&places.all[places.at(&found.path)?]), found.taken_at)));
    known.chain(new).collect()
}

/// Returns the series of a copy that cannot be looked at.
pub(super) fn series_of<'c>(copies: &dyn Source, copy: &'c KnownCopy) -> Series<'c> {
    Series::of(&copy.path, copy.root_mtime_s == Some(copy.at.0) && !copies.is_dated_by_name(&copy.path))
}
