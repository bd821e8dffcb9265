//! Whether the copies of earlier generations still have what the catalog says that they hold.
//!
//! Promises: a file counts as missing only where every copy of the generation says that it is not there, or is of another length; a copy that
//! cannot be asked says nothing. No link is followed. Bytes are not read.

use crate::catalog::KnownCopy;
use crate::model::{RelPath, Time};
use crate::sys::read::{Mounts, open_beneath, open_place};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// The copies of earlier generations that are there, and what was found missing in them.
#[derive(Default)]
pub(super) struct HeldCopies {
    places: HashMap<Time, Vec<PathBuf>>,
    open: HashMap<Time, Vec<Option<OwnedFd>>>,
    missing: BTreeMap<Time, u64>,
}

impl HeldCopies {
    pub(super) fn new<'c>(copies: impl Iterator<Item = &'c KnownCopy>) -> Self {
        let mut places: HashMap<Time, Vec<PathBuf>> = HashMap::new();
        for copy in copies {
            places.entry(copy.at).or_default().push(copy.path.clone());
        }
        Self { places, ..Self::default() }
    }

    /// Tells whether the copies of the generation of `at` have lost the file at `path`, of `size_bytes`; and counts it then.
    pub(super) fn is_missing(&mut self, at: Time, path: &RelPath, size_bytes: u64) -> bool {
        let Some(places) = self.places.get(&at) else { return false };
        let roots = self.open.entry(at).or_insert_with(|| places.iter().map(|place| open_place(place).ok()).collect());
        let lacks = |root: &Option<OwnedFd>| {
            let Some(root) = root else { return false };
            match open_beneath(root.as_fd(), path.as_bytes(), Mounts::Crossed).and_then(|file| file.metadata()) {
                Ok(found) => !found.is_file() || found.len() != size_bytes,
                Err(e) => {
                    matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
                }
            }
        };
        let is_missing = !roots.is_empty() && roots.iter().all(lacks);
        if is_missing {
            *self.missing.entry(at).or_default() += 1;
        }
        is_missing
    }

    /// Returns how many files the copies of each generation have lost.
    pub(super) fn missing(&self) -> impl Iterator<Item = (Time, u64)> {
        self.missing.iter().map(|(at, files)| (*at, *files))
    }
}
