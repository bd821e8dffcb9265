//! Where the manifests of a catalog are kept: beside copies that are asof's own, else beside the catalog; and in a second place
//! where the source has one.
//!
//! Promises: a manifest is at its first place before its generation is published. A second place that is not there, or that is silent, does not
//! stop a run: it is said, and the next run copies what it lacks. Nothing but the folder beside the catalog is looked at without
//! [`Patience`].

use super::patience::Patience;
use crate::catalog::SourceRow;
use crate::clock::Clock;
use crate::model::manifest::{Edit, EditSink, End, Header, Reader, Recorder, Recording, SourceFacts, Tombstone};
use crate::model::{Policy, Time, chain};
use crate::source;
use crate::store::{
    ManifestDraft, ManifestFolder, SEQUENCE_MAX, SecondPlace, Trusted, beside_catalog, copy_all_to_second,
    copy_to_second, has_tombstone, is_tombstone, manifests_with, name_tombstone, newest_of, note_newest, noted_newest,
    numbered, open_manifest, prepare_tombstone, prepared_tombstones, read_tombstone, remove_manifest, tombstones_in,
    uuid_text,
};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says that a second place lacks something.
type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// Keeps the manifests of one catalog.
pub struct Manifests {
    catalog: PathBuf,
    clock: Box<dyn Clock + Send>,
    patience: Patience,
    warn: Warn,
    /// Whether it was told that a second place lacks some.
    was_told: Arc<AtomicBool>,
    /// Even where copies are asof's own.
    always_apart: bool,
}

impl Manifests {
    /// Returns what keeps those of `catalog`; `warn` is told of second places that lack something.
    pub fn new(
        catalog: &Path,
        clock: Box<dyn Clock + Send>,
        patience: Patience,
        warn: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let (catalog, warn, was_told) = (catalog.to_owned(), Arc::new(warn), Arc::default());
        Self { catalog, clock, patience, warn, was_told, always_apart: false }
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
            (Some(folder), Some(name)) if is_own && self.is_folder(&folder)? => {
                ManifestFolder::BesideCopy { folder: &folder, name }.path_of(header)
            }
            _ => ManifestFolder::BesideCatalog(&self.catalog).path_of(header),
        })
    }

    fn is_folder(&self, folder: &Path) -> io::Result<bool> {
        let path = folder.to_owned();
        let asked = self.patience.ask(folder, move |_| path.is_dir());
        asked.map_err(|e| io::Error::new(e.kind(), format!("looking at {folder:?}: {e}")))
    }

    /// Does something with one of the folders of manifests: at once beside the catalog, with patience elsewhere.
    fn at<T: Send + 'static>(&self, folder: &Folder, act: impl FnOnce(&Path) -> T + Send + 'static) -> io::Result<T> {
        let path = folder.path.clone();
        match &folder.place {
            None => Ok(act(&path)),
            Some(place) => self.patience.ask(place, move |_| act(&path)),
        }
    }

    fn second(&self, source: &SourceFacts) -> Option<Second> {
        if self.always_apart {
            return None;
        }
        let policy = Policy::parse(&source.policy);
        let folder = policy.manifests()?;
        let (place, catalog) = (folder.clone(), self.catalog.clone());
        // One that is silent is said where it is written to.
        let is_away = policy.manifests_apart()
            && self.patience.ask(&folder, move |_| is_on_one_file_system(&place, &catalog)).unwrap_or(false);
        let (patience, warn, was_told) = (self.patience.clone(), Arc::clone(&self.warn), Arc::clone(&self.was_told));
        Some(Second { folder, name: source.name.clone(), uuid: source.uuid?, is_away, patience, warn, was_told })
    }
}

/// Tells whether two paths are on one file system; not where one of them is not there.
pub fn is_on_one_file_system(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(one).is_some() && device(one) == device(other)
}

/// Returns what the manifest at `path` says first, if there is one.
fn header_of(path: &Path) -> Option<Header> {
    Some(Reader::new(open_manifest(path).ok()?).ok()?.header().clone())
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
        let draft = ManifestDraft::begin(&path, header).map_err(io::Error::other)?;
        let who = (header.source.uuid.ok_or(io::ErrorKind::InvalidInput)?, header.sequence);
        Ok(Box::new(Kept { draft: Some(draft), path: None, who, second: self.second(&header.source) }))
    }

    fn forget(&mut self, header: &Header, after: u64) -> io::Result<PathBuf> {
        let path = self.path_of(header)?;
        let tombstone = Tombstone {
            source: header.source.uuid.ok_or(io::ErrorKind::InvalidInput)?,
            at: header.taken_at,
            sequence: header.sequence,
            indexed_at: Some(header.indexed_at),
            after,
            forgotten_at: self.clock.now(),
        };
        prepare_tombstone(&path, &tombstone).map_err(io::Error::other)
    }

    fn forgot(&mut self, header: &Header, path: &Path) {
        match name_tombstone(path) {
            Ok(tombstone) => self.second(&header.source).iter().for_each(|second| second.copy(&tombstone)),
            Err(e) => (self.warn)(&format!(
                "it is forgotten, and asof rebuild would bring it back before the next run: {}",
                chain(&e)
            )),
        }
    }

    fn take_back(&mut self, path: &Path) {
        remove_manifest(path);
    }

    fn tidy(&mut self, source: &SourceFacts, last: u64, published: &BTreeSet<u64>) -> io::Result<u64> {
        let Some(uuid) = source.uuid else { return Ok(last) };
        let (first, second) = folders(&self.catalog, source);
        let published = Arc::new(published.clone());
        // What is in a folder that cannot be listed now, or is silent, is for the run after this one.
        let done = |done: io::Result<io::Result<()>>| done.unwrap_or(Ok(()));
        // Before a manifest without a tombstone goes.
        for folder in &first {
            let published = Arc::clone(&published);
            done(self.at(folder, move |folder| name_prepared(folder, &uuid, last, &published)))?;
        }
        if last > 0 && !published.contains(&last) {
            for folder in first.iter().chain(&second) {
                done(self.at(folder, move |folder| remove_unpublished(folder, &uuid, last)))?;
            }
        }
        for folder in &first {
            let published = Arc::clone(&published);
            done(self.at(folder, move |folder| remove_tombstones(folder, &uuid, &published)))?;
        }
        // There are those that somebody's copy of this catalog wrote, too.
        for folder in second.iter().filter(|_| !self.always_apart) {
            let published = Arc::clone(&published);
            let _ = self.at(folder, move |folder| remove_tombstones(folder, &uuid, &published));
        }
        if self.always_apart {
            // Numbers are those of the manifests that are applied.
            return Ok(last);
        }
        let mut highest = (last, None);
        for folder in first.iter().chain(&second) {
            let taken = self.at(folder, move |folder| taken_after(folder, &uuid, last)).unwrap_or_default();
            highest = if taken.0 > highest.0 { taken } else { highest };
        }
        let (taken, unknown) = highest;
        if let Some(path) = unknown {
            let name = &source.name;
            (self.warn)(&format!(
                "the catalog does not know manifest {taken} of \"{name}\", {path:?}: was it put back from an older copy? Numbers go on \
                 after that one. With the older copy once more, asof rebuild adds what it lacks, before anything is indexed"
            ));
        }
        Ok(taken)
    }

    fn catch_up(&mut self, source: &SourceFacts) {
        let (first, _) = folders(&self.catalog, source);
        let Some(second) = self.second(source) else { return };
        for folder in first.iter().filter(|folder| self.at(folder, Path::is_dir).unwrap_or(false)) {
            second.copy_all(&folder.path);
            second.note_newest_of(&folder.path);
        }
    }
}

/// Gives tombstones in `folder` their names whose generations are forgotten, and removes the others.
fn name_prepared(folder: &Path, uuid: &[u8; 16], last: u64, published: &BTreeSet<u64>) -> io::Result<()> {
    for prepared in prepared_tombstones(folder) {
        let Ok(tombstone) = read_tombstone(&prepared) else { continue };
        let is_ours = tombstone.source == *uuid;
        if is_ours && tombstone.sequence <= last && !published.contains(&tombstone.sequence) {
            name_tombstone(&prepared).map_err(io::Error::other)?;
        } else if is_ours {
            remove_manifest(&prepared);
        }
    }
    Ok(())
}

/// Removes the manifest with the sequence `last`, which was not published.
fn remove_unpublished(folder: &Path, uuid: &[u8; 16], last: u64) -> io::Result<()> {
    let of_it = places_in(folder, uuid, last).map_err(io::Error::other)?;
    of_it.iter().filter(|path| !has_tombstone(path)).for_each(|path| remove_manifest(path));
    Ok(())
}

/// Removes the tombstones of generations that are there.
fn remove_tombstones(folder: &Path, uuid: &[u8; 16], published: &BTreeSet<u64>) -> io::Result<()> {
    for path in tombstones_in(folder, |sequence| published.contains(&sequence)).unwrap_or_default() {
        if read_tombstone(&path).is_ok_and(|tombstone| tombstone.source == *uuid) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Returns the highest sequence above `last` that a manifest or a tombstone of the source in `folder` has, or that was noted there as that of
/// the newest one, and where that is said; 0 if none has. One that cannot be read counts by its name. A folder that cannot be listed now
/// has none.
fn taken_after(folder: &Path, uuid: &[u8; 16], last: u64) -> (u64, Option<PathBuf>) {
    let is_next = |sequence: u64| (last + 1..SEQUENCE_MAX).contains(&sequence);
    let mut highest = (0, None);
    let trusted = Trusted::of(folder);
    for (sequence, path) in numbered(folder, is_next).unwrap_or_default() {
        // A name alone is enough below, and beside copies everybody may give one.
        if !trusted.made_file(&path) {
            continue;
        }
        let of = match is_tombstone(&path) {
            true => read_tombstone(&path).ok().map(|tombstone| Some(tombstone.source)),
            false => header_of(&path).map(|header| header.source.uuid),
        };
        if sequence > highest.0 && of.is_none_or(|of| of == Some(*uuid)) {
            highest = (sequence, Some(path));
        }
    }
    let noted = noted_newest(folder, uuid).filter(|sequence| is_next(*sequence) && *sequence > highest.0);
    noted.map_or(highest, |sequence| (sequence, Some(newest_of(folder, uuid))))
}

/// Returns where the manifest of `source` with this sequence is, wherever the source has any: beside its copies, beside the catalog, in
/// its second place. Files that cannot be read are none, and places that are silent have none.
///
/// # Errors
/// [`crate::store::Error`] if a folder cannot be listed.
pub(super) fn places(
    catalog: &Path,
    source: &SourceFacts,
    sequence: u64,
    patience: &Patience,
) -> Result<Vec<PathBuf>, crate::store::Error> {
    let Some(uuid) = source.uuid else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let (first, second) = folders(catalog, source);
    for Folder { path, place } in first.into_iter().chain(second) {
        found.extend(match place {
            None => places_in(&path, &uuid, sequence)?,
            Some(place) => match patience.ask(&place, move |_| places_in(&path, &uuid, sequence)) {
                Ok(found) => found?,
                Err(_) => Vec::new(),
            },
        });
    }
    Ok(found)
}

fn places_in(folder: &Path, uuid: &[u8; 16], sequence: u64) -> Result<Vec<PathBuf>, crate::store::Error> {
    let is_it = |header: Header| header.source.uuid == Some(*uuid) && header.sequence == sequence;
    let mut found = manifests_with(folder, sequence)?;
    found.retain(|path| header_of(path).is_some_and(is_it));
    Ok(found)
}

/// Notes beside the manifests of a source that it was removed: a catalog that is made again from them is without it. Where its second place
/// is not there, this one alone says so.
///
/// # Errors
/// [`crate::store::Error`], and that of a second place which is silent; the source is removed all the same.
pub fn mark_removed(catalog: &Path, source: &SourceRow, now: Time, patience: &Patience) -> io::Result<()> {
    let Some(uuid) = source.uuid else { return Ok(()) };
    let text =
        format!("source {:?} was removed at {now}; without this file asof rebuild makes it again\n", source.name);
    crate::store::mark_removed(&beside_catalog(catalog).join(uuid_text(&uuid)), &text).map_err(io::Error::other)?;
    let Some(place) = Policy::parse(&source.policy).manifests() else { return Ok(()) };
    let folder = place.join(uuid_text(&uuid));
    let mark = move |_: &dyn Fn()| if folder.is_dir() { crate::store::mark_removed(&folder, &text) } else { Ok(()) };
    let marked = patience.write(&place, mark);
    marked.map_err(|e| io::Error::new(e.kind(), format!("{place:?}: {e}")))?.map_err(io::Error::other)
}

/// A folder in which manifests of a source may lie.
struct Folder {
    path: PathBuf,
    /// What may be silent; none: it lies beside the catalog.
    place: Option<PathBuf>,
}

/// Returns the folders in which manifests of `source` may lie, beside its copies and beside the catalog, and its second place; none if it
/// has no UUID.
fn folders(catalog: &Path, source: &SourceFacts) -> (Vec<Folder>, Option<Folder>) {
    let Some(uuid) = source.uuid else { return (Vec::new(), None) };
    // Settings that cannot be read name no folder.
    let own = source::own_folder(source.kind, &source.settings, &source.name).ok().flatten();
    let own = own.map(|folder| Folder { path: folder.clone(), place: Some(folder) });
    let beside = Folder { path: beside_catalog(catalog).join(uuid_text(&uuid)), place: None };
    let second = |place: PathBuf| Folder { path: place.join(uuid_text(&uuid)), place: Some(place) };
    (own.into_iter().chain([beside]).collect(), Policy::parse(&source.policy).manifests().map(second))
}

/// A manifest that is being written.
struct Kept {
    draft: Option<ManifestDraft>,
    /// Where it is, once it is whole.
    path: Option<PathBuf>,
    /// The UUID of its source, and its sequence.
    who: ([u8; 16], u64),
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

    fn published(&mut self) {
        let Some(folder) = self.path.as_ref().and_then(|path| path.parent()) else { return };
        let (uuid, sequence) = &self.who;
        if let Err(e) = note_newest(folder, uuid, *sequence) {
            tracing::debug!("{}", chain(&e));
        }
        if let Some(second) = &self.second {
            second.note_newest_of(folder);
        }
    }

    fn withdraw(&mut self) {
        let Some(path) = self.path.take() else { return };
        remove_manifest(&path);
        if let (Some(second), Some(name)) = (&self.second, path.file_name()) {
            second.remove(name);
        }
    }
}

/// A second place.
struct Second {
    folder: PathBuf,
    /// The name of the source.
    name: String,
    uuid: [u8; 16],
    /// Whether its file system is not mounted: a directory of the catalog's is there. Nothing is written to that.
    is_away: bool,
    patience: Patience,
    warn: Warn,
    was_told: Arc<AtomicBool>,
}

impl Second {
    /// Copies this manifest or tombstone; what it lacked before it got at the beginning of the run.
    fn copy(&self, path: &Path) {
        if !self.tells_away() {
            let manifest = path.to_owned();
            let copied = self.write(move |second, goes_on| copy_to_second(&manifest, second, goes_on));
            self.tell(copied, path.parent().unwrap_or(Path::new(".")));
        }
    }

    /// Copies what it lacks of the manifests and tombstones in `folder`.
    fn copy_all(&self, folder: &Path) {
        if !self.tells_away() {
            let from = folder.to_owned();
            self.tell(self.write(move |second, goes_on| copy_all_to_second(&from, second, goes_on)), folder);
        }
    }

    /// Notes which manifest is the newest one, if `folder` knows a newer one than is noted.
    fn note_newest_of(&self, folder: &Path) {
        let uuid = self.uuid;
        let Some(newest) = noted_newest(folder, &uuid).filter(|_| !self.is_away) else { return };
        let noted = self.write(move |second, _| {
            let own = second.folder();
            let is_older = own.is_dir() && noted_newest(&own, &uuid).is_none_or(|noted| noted < newest);
            if is_older { note_newest(&own, &uuid, newest) } else { Ok(()) }
        });
        self.tell(noted, folder);
    }

    /// Removes the manifest of this name; where it is silent, as where the run was killed, the next run does.
    fn remove(&self, name: &OsStr) {
        let name = name.to_owned();
        let _ = self.write(move |second, _| {
            remove_manifest(&second.folder().join(name));
            Ok(())
        });
    }

    /// Writes there.
    fn write(
        &self,
        act: impl FnOnce(&SecondPlace<'_>, &dyn Fn()) -> Result<(), crate::store::Error> + Send + 'static,
    ) -> io::Result<Result<(), crate::store::Error>> {
        let (folder, uuid) = (self.folder.clone(), self.uuid);
        self.patience.write(&self.folder, move |goes_on| act(&SecondPlace { top: &folder, source: &uuid }, goes_on))
    }

    /// Says, once in a run, that its file system is not mounted, if so.
    fn tells_away(&self) -> bool {
        if self.is_away && !self.was_told.swap(true, Ordering::Relaxed) {
            let Self { folder, name, .. } = self;
            (self.warn)(&format!(
                "the second place {folder:?} is on the file system of the catalog, and was not when it was set: is its disk mounted? \
                 Nothing is written there, and the next run copies what it lacks (asof source set {name} --manifests {folder:?} takes \
                 it as it is)"
            ));
        }
        self.is_away
    }

    /// Says what went wrong, once in a run.
    fn tell(&self, copied: io::Result<Result<(), crate::store::Error>>, folder: &Path) {
        let second = &self.folder;
        let what = match copied {
            Ok(Ok(())) => return,
            Ok(Err(e)) => {
                format!("the second place {second:?} lacks manifests that are in {folder:?}: {}", chain(&e))
            }
            Err(e) => format!("the second place {second:?} may lack manifests that are in {folder:?}: {e}"),
        };
        if !self.was_told.swap(true, Ordering::Relaxed) {
            (self.warn)(&format!("{what}; the next run copies them"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Fixed;
    use crate::model::manifest::FORMAT;
    use crate::model::{Level, NodeId, Rule, SourceKind};
    use crate::store::find_manifests;

    const UUID: [u8; 16] = [7; 16];

    /// Says of the third generation of a source what a manifest says first.
    fn header(second: &Path) -> Header {
        let mut policy = Policy::parse("{}");
        policy.set_manifests(second.to_str().map(|second| (second, false)));
        let source = SourceFacts {
            uuid: Some(UUID),
            name: "homes".to_owned(),
            kind: SourceKind::Nfs,
            settings: "{}".to_owned(),
            policy: policy.to_json(),
            rule: Rule::COPIES,
            root: NodeId(65_536),
            added_at: Time(0),
        };
        Header {
            format: FORMAT,
            source,
            taken_at: Time(1),
            level: Level::Full,
            number: 3,
            sequence: 3,
            after: 2,
            base: None,
            replaces: None,
            indexed_at: Time(2),
            copy: None,
        }
    }

    fn tombstones(folder: &Path) -> usize {
        find_manifests(folder, 1).map_or(0, |found| found.tombstones.len())
    }

    #[test]
    fn a_tombstone_counts_once_its_generation_is_forgotten_and_no_longer_than_that() {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, second) = (folder.path().join("catalog.db"), folder.path().join("second"));
        fs::create_dir(&second).unwrap();
        let first = beside_catalog(&catalog);
        let header = header(&second);
        let patience = Patience::new(std::time::Duration::from_secs(10));
        let mut manifests = Manifests::new(&catalog, Box::new(Fixed(Time(9))), patience, |warning| panic!("{warning}"));
        let (with, without) = (BTreeSet::from([2, 3, 4]), BTreeSet::from([2, 4]));

        // A run that was killed before its commit.
        let prepared = manifests.forget(&header, 4).unwrap();
        assert_eq!(tombstones(&first), 0);
        manifests.tidy(&header.source, 4, &with).unwrap();
        assert!(!prepared.exists());
        assert_eq!(tombstones(&first), 0);

        // And one that was killed after it.
        manifests.forget(&header, 4).unwrap();
        manifests.tidy(&header.source, 4, &without).unwrap();
        manifests.catch_up(&header.source);
        assert_eq!((tombstones(&first), tombstones(&second)), (1, 1));

        // A catalog that has the generation obeys neither, whoever wrote them.
        manifests.tidy(&header.source, 4, &with).unwrap();
        assert_eq!((tombstones(&first), tombstones(&second)), (0, 0));

        let prepared = manifests.forget(&header, 4).unwrap();
        manifests.forgot(&header, &prepared);
        assert_eq!((tombstones(&first), tombstones(&second)), (1, 1));
    }
}
