//! Where the manifests of a catalog are kept: beside copies that are asof's own, else beside the catalog; and in a second place
//! where the source has one.
//!
//! Promises: a manifest is at its first place before its generation is published. A second place that is not there does not stop a
//! run: it is said, and the next run copies what it lacks.

use crate::catalog::SourceRow;
use crate::clock::Clock;
use crate::model::manifest::{Edit, EditSink, End, Header, Reader, Recorder, Recording, SourceFacts, Tombstone};
use crate::model::{Policy, Time, chain};
use crate::source;
use crate::store::{
    ManifestDraft, ManifestFolder, beside_catalog, copy_to_second, has_tombstone, manifests_with, read_tombstone,
    remove_manifest, tombstones_in, uuid_text, write_tombstone,
};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Says that a second place lacks something.
type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// Keeps the manifests of one catalog.
pub struct Manifests {
    catalog: PathBuf,
    clock: Box<dyn Clock + Send>,
    warn: Warn,
    /// Even where copies are asof's own.
    always_apart: bool,
}

impl Manifests {
    /// Returns what keeps those of `catalog`; `warn` is told of second places that lack something.
    pub fn new(catalog: &Path, clock: Box<dyn Clock + Send>, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { catalog: catalog.to_owned(), clock, warn: Arc::new(warn), always_apart: false }
    }

    /// Has all of them kept beside the catalog alone.
    pub fn apart(self) -> Self {
        Self { always_apart: true, ..self }
    }

    fn path_of(&self, header: &Header) -> io::Result<PathBuf> {
        let folder = source::own_folder(header.source.kind, &header.source.settings, &header.source.name);
        let own = folder.map_err(io::Error::other)?;
        let copy = copy_path(header);
        let is_own = !self.always_apart
            && own.is_some()
            && copy.parent() == own.as_deref()
            && copy.file_stem() == Some(OsStr::new(&header.taken_at.view_name()));
        Ok(match (own, copy.file_name()) {
            (Some(folder), Some(name)) if is_own && folder.is_dir() => {
                ManifestFolder::BesideCopy { folder: &folder, name }.path_of(header)
            }
            _ => ManifestFolder::BesideCatalog(&self.catalog).path_of(header),
        })
    }

    fn second(&self, header: &Header) -> Option<Second> {
        if self.always_apart {
            return None;
        }
        let folder = Policy::parse(&header.source.policy).manifests()?;
        Some(Second { folder, uuid: header.source.uuid?, warn: Arc::clone(&self.warn) })
    }
}

/// Tells whether there is a manifest at `path`, and of this source.
fn is_of(path: &Path, uuid: Option<[u8; 16]>) -> bool {
    let reader = std::fs::File::open(path).map_err(drop).and_then(|file| Reader::new(file).map_err(drop));
    reader.is_ok_and(|reader| reader.header().source.uuid == uuid)
}

/// Returns where the copy of a generation lies.
fn copy_path(header: &Header) -> PathBuf {
    let Some(copy) = &header.copy else { return PathBuf::new() };
    let mut path = PathBuf::from(OsStr::from_bytes(&copy.store));
    if !copy.path.is_empty() {
        path.push(OsStr::from_bytes(&copy.path));
    }
    path
}

impl Recorder for Manifests {
    fn begin(&mut self, header: &Header) -> io::Result<Box<dyn Recording>> {
        let path = self.path_of(header)?;
        // What a killed run left is gone by now; another catalog may have indexed the same images.
        if is_of(&path, header.source.uuid) {
            let (name, sequence) = (&header.source.name, header.sequence);
            (self.warn)(&format!(
                "the catalog does not know the manifest {path:?}, and gives its number {sequence} of \"{name}\" out again: was it put \
                 back from an older copy? That manifest is moved aside (.old-1); with the older copy once more, asof rebuild adds what \
                 it lacks, before anything is indexed"
            ));
        }
        let draft = ManifestDraft::begin(&path, header).map_err(io::Error::other)?;
        Ok(Box::new(Kept { draft: Some(draft), path: None, second: self.second(header) }))
    }

    fn forget(&mut self, header: &Header, after: u64) -> io::Result<PathBuf> {
        let path = self.path_of(header)?;
        let tombstone = Tombstone {
            source: header.source.uuid.ok_or(io::ErrorKind::InvalidInput)?,
            at: header.taken_at,
            sequence: header.sequence,
            after,
            forgotten_at: self.clock.now(),
        };
        write_tombstone(&path, &tombstone).map_err(io::Error::other)
    }

    fn forgot(&mut self, header: &Header, path: &Path) {
        if let Some(second) = self.second(header) {
            second.copy(path);
        }
    }

    fn take_back(&mut self, path: &Path) {
        remove_manifest(path);
    }

    fn tidy(&mut self, source: &SourceFacts, last: u64, published: &BTreeSet<u64>) -> io::Result<()> {
        if last > 0 && !published.contains(&last) {
            for path in places(&self.catalog, source, last).map_err(io::Error::other)? {
                if !has_tombstone(&path) {
                    remove_manifest(&path);
                }
            }
        }
        // A second place gets a tombstone when its generation is forgotten for good.
        let (first, _) = folders(&self.catalog, source);
        for folder in first {
            // What is in a folder that cannot be listed now is for the run after this one.
            let tombstones = tombstones_in(&folder, |sequence| published.contains(&sequence)).unwrap_or_default();
            for path in tombstones {
                if read_tombstone(&path).is_ok_and(|tombstone| Some(tombstone.source) == source.uuid) {
                    std::fs::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns where the manifest of `source` with this sequence is, wherever the source has any: beside its copies, beside the catalog, in
/// its second place. Files that cannot be read are none.
///
/// # Errors
/// [`crate::store::Error`] if a folder cannot be listed.
pub(super) fn places(catalog: &Path, source: &SourceFacts, sequence: u64) -> Result<Vec<PathBuf>, crate::store::Error> {
    let Some(uuid) = source.uuid else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let (first, second) = folders(catalog, source);
    for folder in first.into_iter().chain(second) {
        for path in manifests_with(&folder, sequence)? {
            let reader = std::fs::File::open(&path).map_err(drop).and_then(|file| Reader::new(file).map_err(drop));
            let is_it = |header: &Header| header.source.uuid == Some(uuid) && header.sequence == sequence;
            if reader.is_ok_and(|reader| is_it(reader.header())) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Notes beside the manifests of a source that it was removed: a catalog that is made again from them is without it. Where its second place
/// is not there, this one alone says so.
///
/// # Errors
/// [`crate::store::Error`]; the source is removed all the same.
pub fn mark_removed(catalog: &Path, source: &SourceRow, now: Time) -> Result<(), crate::store::Error> {
    let Some(uuid) = source.uuid else { return Ok(()) };
    let text =
        format!("source {:?} was removed at {now}; without this file asof rebuild makes it again\n", source.name);
    let second = Policy::parse(&source.policy).manifests().map(|folder| folder.join(uuid_text(&uuid)));
    for folder in second.into_iter().filter(|folder| folder.is_dir()) {
        crate::store::mark_removed(&folder, &text)?;
    }
    crate::store::mark_removed(&beside_catalog(catalog).join(uuid_text(&uuid)), &text)
}

/// Returns the folders in which manifests of `source` may lie, beside its copies and beside the catalog, and its second place; none if it
/// has no UUID.
fn folders(catalog: &Path, source: &SourceFacts) -> (Vec<PathBuf>, Option<PathBuf>) {
    let Some(uuid) = source.uuid else { return (Vec::new(), None) };
    // Settings that cannot be read name no folder.
    let own = source::own_folder(source.kind, &source.settings, &source.name).ok().flatten();
    let of_source = |folder: PathBuf| folder.join(uuid_text(&uuid));
    let first = own.into_iter().chain([of_source(beside_catalog(catalog))]).collect();
    (first, Policy::parse(&source.policy).manifests().map(of_source))
}

/// A manifest that is being written.
struct Kept {
    draft: Option<ManifestDraft>,
    /// Where it is, once it is whole.
    path: Option<PathBuf>,
    second: Option<Second>,
}

impl EditSink for Kept {
    fn edit(&mut self, edit: &Edit<'_>) -> io::Result<()> {
        self.draft.as_mut().expect("nothing is written after the end").edit(edit)
    }
}

impl Recording for Kept {
    fn finish(&mut self, end: &End) -> io::Result<()> {
        let draft = self.draft.take().expect("it is finished once");
        let path = draft.finish(end).map_err(io::Error::other)?;
        if let Some(second) = &self.second {
            second.copy(&path);
        }
        self.path = Some(path);
        Ok(())
    }

    fn withdraw(&mut self) {
        let Some(path) = self.path.take() else { return };
        remove_manifest(&path);
        if let (Some(second), Some(name)) = (&self.second, path.file_name()) {
            remove_manifest(&second.folder.join(uuid_text(&second.uuid)).join(name));
        }
    }
}

/// A second place.
struct Second {
    folder: PathBuf,
    uuid: [u8; 16],
    warn: Warn,
}

impl Second {
    fn copy(&self, path: &Path) {
        if let Err(e) = copy_to_second(path, &self.uuid, &self.folder) {
            let text = format!(
                "the second place {:?} lacks the manifest {path:?}: {}; the next run copies it",
                self.folder,
                chain(&e)
            );
            (self.warn)(&text);
        }
    }
}
