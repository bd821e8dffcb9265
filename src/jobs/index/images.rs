//! Whether images are as they were indexed, and what cannot be read without one that is not.
//!
//! An image on top of others has its other bytes in them: where one of these is gone, or was written since, so are bytes of it, though it lies
//! there itself.
//!
//! Promises: what is wrong is said of the file that it is wrong with, whichever disk of a guest that is of. Nothing is said of what lies in a
//! folder that cannot be reached. One `statx` for each file that is no copy by itself.

use super::Error;
use super::recognise::Sight;
use super::seen::Seen;
use super::work::{Fault, Fixed, NOT_THERE};
use crate::catalog::{KnownCopy, Writer};
use crate::jobs::look::Root;
use crate::model::{ImageFile, Kind, ObjectId};
use crate::store::is_image_there;
use crate::sys::mount::expect_no_stranger_in_folder;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::Path;

const WRITTEN: &str = "it was written after it was indexed";

/// The images of a source.
pub(super) struct Images;

impl Fixed for Images {
    fn fault(&self, copy: &KnownCopy, root: &Root, seen: &Seen, writer: &Writer) -> Result<Option<Fault>, Error> {
        let files = writer.files_of(copy.object)?;
        // A device has neither size nor time of change for who only looks at it.
        let is_device = root.kind == Some(Kind::BlockDevice);
        let is_other = |file: &ImageFile| !is_device && (file.size_bytes, file.mtime) != (root.size_bytes, root.mtime);
        if files.iter().any(|file| file.path == copy.path && is_other(file)) {
            return Ok(Some(Fault { path: copy.path.clone(), why: WRITTEN }));
        }
        Ok(files.iter().filter(|file| file.path != copy.path).find_map(|file| fault_of(file, seen)))
    }

    /// Returns the images that are gone and were the oldest, and that nothing which is there is on top of, be it with others between:
    /// whoever keeps so many chains takes the oldest away as a whole.
    fn pruned(&self, known: &[KnownCopy], sights: &[Sight]) -> HashSet<usize> {
        let is_there = |number: &usize| sights[*number] != Sight::Missing;
        let numbers = || (0..known.len()).filter(|number| !known[*number].forgotten);
        let Some(oldest) = numbers().filter(is_there).map(|number| known[number].at).min() else {
            return HashSet::new();
        };
        let parents: HashMap<ObjectId, Option<ObjectId>> =
            known.iter().map(|copy| (copy.object, copy.parent)).collect();
        let mut needed = HashSet::new();
        for number in (0..known.len()).filter(is_there) {
            let mut below = known[number].parent;
            while let Some(parent) = below.filter(|parent| needed.insert(*parent)) {
                below = parents.get(&parent).copied().flatten();
            }
        }
        let is_old = |number: &usize| known[*number].at < oldest && !needed.contains(&known[*number].object);
        numbers().filter(|number| !is_there(number) && is_old(number)).collect()
    }

    fn cut_off(
        &self,
        known: &[KnownCopy],
        faults: &[Option<Fault>],
        seen: &Seen,
        writer: &Writer,
    ) -> Result<Vec<(usize, Fault)>, Error> {
        // Of each object what is wrong with its own files, and what it is on top of.
        let mut objects: HashMap<ObjectId, (Option<Fault>, Option<ObjectId>)> = HashMap::new();
        for (copy, fault) in known.iter().zip(faults) {
            let known = objects.entry(copy.object).or_insert((None, copy.parent));
            known.0 = known.0.take().or_else(|| fault.clone());
        }
        let mut cut_off = Vec::new();
        for (number, copy) in known.iter().enumerate() {
            if copy.forgotten || faults[number].is_some() || seen.copies[number].sight != Sight::There {
                continue;
            }
            let mut below = copy.parent;
            while let Some(object) = below {
                let (fault, parent) = match objects.entry(object) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => {
                        // It was forgotten and is gone, and nothing but this needs it.
                        let fault = writer.files_of(object)?.iter().find_map(|file| fault_of(file, seen));
                        unknown.insert((fault, writer.parent_of(object)?))
                    }
                };
                if let Some(fault) = fault {
                    cut_off.push((number, fault.clone()));
                    break;
                }
                below = *parent;
            }
        }
        Ok(cut_off)
    }
}

/// Returns what is wrong with a file; nothing of one in a folder that was not looked at, or cannot be reached.
fn fault_of(file: &ImageFile, seen: &Seen) -> Option<Fault> {
    let is_reached = |folder: &Path| file.path.starts_with(folder);
    if !seen.stores.iter().any(|store| store.why_not.is_none() && is_reached(&store.path)) || is_image_there(file) {
        return None;
    }
    // What a user mounted over it is not asked.
    let is_there = match expect_no_stranger_in_folder(&file.path) {
        Ok(()) => file.path.symlink_metadata().is_ok(),
        Err(e) => e.kind() == std::io::ErrorKind::PermissionDenied,
    };
    let why = if is_there { WRITTEN } else { NOT_THERE };
    Some(Fault { path: file.path.clone(), why })
}
