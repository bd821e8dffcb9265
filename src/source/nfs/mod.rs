//! A share whose copies are directories: one full tree per generation.
//!
//! Fits plain `rsync -a` trees, `rsync --link-dest` farms, snapshots, and layouts of one directory per backup
//! id. Promises: copies are the directories directly inside one folder; links, files and names that begin
//! with a dot are none; the instant of a copy comes from its name or its time of last change, as the settings
//! say; a directory without one, and a link that may stand for a copy, are left aside with the reason. Never guesses a
//! date, never follows a link, never leaves the file system of a copy.

mod bytes;
mod describe;
mod directory;
mod discover;
mod mark;
mod out;
mod read;
mod settings;
#[cfg(test)]
mod tests;
mod xattrs;

pub use describe::DESCRIPTION;
pub use discover::Nfs;
pub use settings::{IdentityRule, InstantFrom, SETTLE_S, Settings};

use super::{Discovered, Error, Found, NoCopy, OpenCopy, ScanStats, Source};
use crate::model::{Listing, RelPath, Time, Timestamp, Walked};
use read::OpenTree;
use std::ops::ControlFlow;
use std::path::Path;

/// Tells every directory of the tree at `path` once, breadth first, as [`OpenCopy::scan`] does of a copy.
///
/// # Errors
/// [`Error::Copy`] if it cannot be opened as a directory.
pub fn scan_tree(path: &Path, each: &mut dyn FnMut(Listing) -> ControlFlow<()>) -> Result<ScanStats, Error> {
    scan(&OpenTree::open(path)?, each)
}

/// Tells so of the directory `below` in the tree at `top`, which no link and no mount leads to; none if no directory is there.
///
/// # Errors
/// [`Error::Copy`] if it, or the top, cannot be opened.
pub fn scan_below(
    top: &Path,
    below: &RelPath,
    each: &mut dyn FnMut(Listing) -> ControlFlow<()>,
) -> Result<Option<ScanStats>, Error> {
    let top = OpenTree::open(top)?;
    if below.is_root() {
        return scan(&top, each).map(Some);
    }
    top.below(below)?.map(|tree| scan(&tree, each)).transpose()
}

fn scan(tree: &OpenTree, each: &mut dyn FnMut(Listing) -> ControlFlow<()>) -> Result<ScanStats, Error> {
    tree.scan(&mut |walked| match walked {
        Walked::Listing(listing) => each(*listing),
        Walked::Waiting => ControlFlow::Continue(()),
    })
}

impl Source for Nfs {
    fn generations(&self) -> Result<Discovered, Error> {
        self.discover()
    }

    fn open(&self, found: &Found) -> Result<Box<dyn OpenCopy + '_>, Error> {
        Ok(Box::new(OpenTree::open(&found.path)?))
    }

    fn instant_of_root(&self, path: &Path, mtime: Timestamp) -> Option<Time> {
        self.instant_with(path, || Ok(mtime.seconds)).ok()?.ok()
    }

    fn is_dated_by_name(&self, path: &Path) -> bool {
        // Whatever has to be asked for its time of last change is not.
        let not_asked = || Err(std::io::ErrorKind::Unsupported.into());
        self.instant_with(path, not_asked).is_ok_and(|told| told.is_ok())
    }

    fn instant_of(&self, path: &Path) -> Result<Time, Error> {
        let told = self.instant(path).unwrap_or_else(|e| Err(NoCopy::Unreadable(e.to_string())));
        told.map_err(|why| Error::NoInstant { path: path.to_owned(), why: why.to_string() })
    }
}
