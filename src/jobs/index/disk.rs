//! Images of a disk: looked at, and indexed where they are new; oldest first, or with a base in the order in which they are named.
//!
//! An image that cannot be indexed does not stop those that are not on top of it.

use super::super::report::{MovedCopy, When};
use super::images::Images;
use super::maps::lost_map;
use super::which;
use super::wish::Which;
use super::work::Work;
use super::{Error, Event, OneCopy};
use crate::catalog::{DiskRecord, KnownCopy, Reader};
use crate::index::Done;
use crate::jobs::take::block::acquire::about;
use crate::jobs::take::block::disk::{NewImage, index_image};
use crate::jobs::take::block::still::Still;
use crate::model::{Consistency, Fold, ImageFile, Time, chain, nameable_instant, parse_instant};
use crate::source::block::{Location, Settings, discover, image};
use crate::store::{is_image_there, is_manifest_name};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Why a generation is indexed again.
pub(super) const ASKED: &str = "it was asked for";

/// An image that is to be indexed.
struct Wanted {
    /// Shared: an image has the maps of all its snapshots.
    image: Rc<image::Image>,
    /// One of the snapshots in it, none: its present state.
    snapshot: Option<usize>,
    at: Time,
    on_top_of: Option<Time>,
    /// What it was indexed as, if it is indexed again.
    again: Option<DiskRecord>,
    /// Why it is.
    why: &'static str,
}

pub(in crate::jobs) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    work.open()?;
    work.check_asked_again()?;
    let settings = Settings::from_json(&work.source.settings)?;
    let_go_left(work, &settings);
    take_moved(work, &settings)?;
    let (known, seen) = work.look_at_fixed(&[&settings.images], &Images)?;
    let folder = seen.store(&settings.images);
    if let (Some(why), Which::All) = (&folder.why_not, &work.wish.which) {
        let has_copies_there = known.iter().any(|copy| copy.store_path == settings.images);
        if has_copies_there {
            return Ok(());
        }
        let source = std::io::Error::other(why.clone());
        return Err(Error::Io { doing: "listing the images in", path: settings.images.clone(), source });
    }
    let forgotten = known.into_iter().zip(&seen.copies).filter(|(copy, seen)| copy.forgotten && seen.root.is_some());
    let forgotten = forgotten.map(|(copy, _)| (copy.path.clone(), copy)).collect();
    let mut disk = Disk { folders: settings.folders(), settings, forgotten, work };
    if matches!(disk.work.wish.which, Which::All) {
        disk.index_outdated()?;
    }
    disk.run()?;
    disk.index_outdated()
}

impl Disk<'_, '_> {
    fn run(&mut self) -> Result<(), Error> {
        let disk = self;
        if disk.settings.all_disks.is_some() {
            return disk.run_moments();
        }
        let wanted = match disk.work.wish.which.clone() {
            Which::Named(paths, at) => disk.named(&paths, at)?,
            Which::Generation(at) => vec![disk.again(at)?],
            Which::All => disk.discover()?,
        };
        for one in wanted {
            let is_done = disk.index(&one)?;
            // What follows is on top of it, one on the other.
            if disk.work.is_full || (!is_done && disk.work.wish.disk.base.is_some()) {
                break;
            }
        }
        Ok(())
    }

    /// Indexes the generations again whose disk is on top of one that was: they hold what the files of that one hold now.
    fn index_outdated(&mut self) -> Result<(), Error> {
        const WHY: &str = "what it is based on was indexed again";
        let mut tried = BTreeSet::new();
        loop {
            let source = self.work.source.id;
            let outdated = self.work.writer().outdated_disks(source)?;
            let Some(at) = outdated.into_iter().find(|at| !tried.contains(at)) else { return Ok(()) };
            tried.insert(at);
            let done = match self.settings.all_disks.is_some() {
                true => match self.moment_again(at, WHY) {
                    Ok(moment) => {
                        let source = self.work.source.clone();
                        self.index_moment(&source, &moment).map(drop)
                    }
                    Err(e) => Err(e),
                },
                false => self.again(at).and_then(|one| self.index(&Wanted { why: WHY, ..one }).map(drop)),
            };
            if let Err(error) = done {
                self.work.emit(Event::Failed { copy: None, error });
            }
            if self.work.is_full {
                return Ok(());
            }
        }
    }
}

/// Lets a guest go that a run held which was killed.
fn let_go_left(work: &mut Work<'_>, settings: &Settings) {
    match Still::new(&work.source.name, settings).release_left(about(work.source, settings)) {
        Ok(done) => done.into_iter().for_each(|text| work.emit(Event::Note { text })),
        Err(e) => {
            let text = format!(
                "{}; the guest may be held still, and the next asof take or index of the source tries again",
                chain(&e)
            );
            work.emit(Event::Warning { text });
        }
    }
}

/// Takes images in the folder of the source for those that were indexed in another one: they have the same names below it, and so has every
/// file there that belongs to them, with the size and the time of change that it was indexed with.
fn take_moved(work: &mut Work<'_>, settings: &Settings) -> Result<(), Error> {
    let known = Reader::open(work.inputs.catalog)?.known_copies(work.source)?;
    let mut copies = Vec::new();
    for copy in known.iter().filter(|copy| copy.store_path != settings.images) {
        let files = work.writer().files_of(copy.object)?;
        let Some(files) = moved_files(copy, &files, &settings.images) else { continue };
        let store = work.writer().store_at(&settings.images)?;
        work.writer().move_image(copy, (store, copy.below()), &files)?;
        let (from, to) = (copy.path.clone(), settings.images.join(copy.below()));
        copies.extend((!copy.forgotten).then_some(MovedCopy { when: When(copy.at), from, to }));
    }
    if !copies.is_empty() {
        work.emit(Event::Moved { copies });
    }
    Ok(())
}

/// Returns where the files of an image are whose store is in `folder` now; those that lie elsewhere stay there. None if one of them is not
/// there as it was, or if the image is not, where its generation was forgotten.
fn moved_files(copy: &KnownCopy, files: &[ImageFile], folder: &Path) -> Option<Vec<PathBuf>> {
    let is_there = |file: &ImageFile, path: &Path| is_image_there(&ImageFile { path: path.to_owned(), ..file.clone() });
    // A copy is its image, which is a file of its own. Of a guest that is forgotten each image is one: the first moves all files.
    let now = folder.join(copy.below());
    let is_its = |image: &&ImageFile| image.path == copy.path || (copy.forgotten && image.path == now);
    let image = files.iter().find(is_its).filter(|_| copy.path != copy.store_path)?;
    is_there(image, &now).then_some(())?;
    let moved = files.iter().map(|file| match file.path.strip_prefix(&copy.store_path) {
        Ok(below) if copy.forgotten && !is_there(file, &folder.join(below)) => Some(file.path.clone()),
        Ok(below) => Some(folder.join(below)).filter(|path| is_there(file, path)),
        Err(_) => Some(file.path.clone()),
    });
    moved.collect()
}

pub(super) struct Disk<'d, 'w> {
    pub(super) work: &'d mut Work<'w>,
    pub(super) settings: Settings,
    /// Those in which files may be opened.
    pub(super) folders: Vec<PathBuf>,
    /// Images that are there and whose generations were forgotten.
    pub(super) forgotten: HashMap<PathBuf, KnownCopy>,
}

impl Disk<'_, '_> {
    /// Returns the images in `folders` that are not indexed, in the order of their paths.
    pub(super) fn new_images(&mut self, folders: &[PathBuf]) -> Result<Vec<image::Image>, Error> {
        let found = discover::files(folders, is_manifest_name)?;
        for path in found.links {
            let text = format!("skipped {path:?}: it is a link, and only files in the folder are opened");
            self.work.emit(Event::Note { text });
        }
        let mut images = Vec::new();
        for path in found.files {
            if self.known(&path)?.is_some() || self.forgotten.contains_key(&path) {
                continue;
            }
            match self.open(&path) {
                // Every file is a raw image, if one says so: notes and checksums beside images are none.
                Ok(image) if image.kind == image::Kind::Raw && !discover::is_named_raw(&path) => {
                    if discover::is_named_image(&path) {
                        let why = "by its name it is an image, and it does not begin as one".to_owned();
                        self.work.emit(Event::LeftAside { path, why });
                    }
                }
                Ok(image) => images.push(image),
                Err(error) => self.work.emit(Event::Failed { copy: None, error }),
            }
        }
        Ok(images)
    }

    /// Returns the images in the source's folders that are not indexed, oldest first.
    fn discover(&mut self) -> Result<Vec<Wanted>, Error> {
        let mut images = self.new_images(&self.settings.folders())?;
        let others = which::keep_own(&mut images, &self.settings, self.work)?;
        for (disk, count) in others {
            self.work.emit(Event::Note { text: format!("passed over the images of disk {disk:?}: {count}") });
        }
        let mut wanted = Vec::new();
        for image in images {
            match self.instant_of(&image) {
                Ok(at) => self.add(&mut wanted, image, Some(at))?,
                Err(error) => self.work.emit(Event::Failed { copy: None, error }),
            }
        }
        wanted.sort_by_key(|one| one.at);
        Ok(wanted)
    }

    /// Returns the images that the admin named: oldest first, or in their order where each is on top of the one before it.
    fn named(&mut self, paths: &[PathBuf], at: Option<Time>) -> Result<Vec<Wanted>, Error> {
        let (mut wanted, mut images) = (Vec::new(), Vec::new());
        for path in paths {
            let path = canonical(path)?;
            if let Some(known) = self.known(&path)? {
                if self.work.wish.again {
                    wanted.push(self.again(known)?);
                    continue;
                }
                self.work.emit(Event::Known(OneCopy { when: When(known), path }));
                continue;
            }
            if let Some(folder) = path.parent().filter(|folder| !self.folders.iter().any(|f| folder.starts_with(f))) {
                // What the admin names may be read; what the image names must lie beside it.
                self.folders.push(folder.to_owned());
            }
            images.push(self.open(&path)?);
        }
        let others = which::keep_own(&mut images, &self.settings, self.work)?;
        if let (Some(disk), Some(own)) = (others.into_keys().next(), self.settings.own_disk()) {
            return Err(Error::NotOwnDisk { name: self.work.source.name.clone(), own: own.to_owned(), disk });
        }
        for image in images {
            self.add(&mut wanted, image, at)?;
        }
        match &self.work.wish.disk.base {
            Some(base) => self.in_line(base, &mut wanted)?,
            None => wanted.sort_by_key(|one| one.at),
        }
        Ok(wanted)
    }

    pub(super) fn open(&self, path: &Path) -> Result<image::Image, Error> {
        let image = self.settings.open(path, &self.folders)?;
        match lost_map(path).filter(|_| image.kind == image::Kind::Raw) {
            Some(manifest) => Err(Error::NoMap { image: path.to_owned(), manifest }),
            None => Ok(image),
        }
    }

    /// Returns the image of a generation, on top of what it was on top of.
    fn again(&mut self, at: Time) -> Result<Wanted, Error> {
        let (source, name) = (self.work.source.id, &self.work.source.name);
        let none = || Error::NoGeneration { name: name.clone(), at };
        let writer = self.work.writer.as_ref().expect("it is opened first, and again after each failure");
        let record = writer.disk_record(source, at)?.ok_or_else(none)?;
        let path = writer.image_files(source, at)?.into_iter().next().ok_or_else(none)?.path;
        if !path.exists() {
            return Err(Error::NotThere { name: name.clone(), at, path });
        }
        if let Some(folder) = path.parent().filter(|folder| !self.folders.iter().any(|f| folder.starts_with(f))) {
            self.folders.push(folder.to_owned());
        }
        let image = self.open(&path)?;
        let is_newest = writer.generation_of_image(source, &path)? == Some(at);
        let snapshot = image.snapshots.iter().position(|snapshot| snapshot.taken_at == at.0 && !is_newest);
        Ok(Wanted { image: Rc::new(image), snapshot, at, on_top_of: record.parent, again: Some(record), why: ASKED })
    }

    /// Puts each image on top of the one before it, and the first one on top of `base`.
    fn in_line(&self, base: &Path, wanted: &mut [Wanted]) -> Result<(), Error> {
        let base = canonical(base)?;
        let Some(mut below) = self.known(&base)? else {
            return Err(Error::UnknownBase { name: self.work.source.name.clone(), base });
        };
        for one in wanted.iter_mut().filter(|one| one.snapshot.is_none()) {
            one.on_top_of = Some(below);
            below = one.at;
        }
        Ok(())
    }

    /// Adds an image, and the snapshots in it that are not indexed.
    fn add(&mut self, wanted: &mut Vec<Wanted>, image: image::Image, at: Option<Time>) -> Result<(), Error> {
        for note in &image.notes {
            self.work.emit(Event::Note { text: format!("{:?}: {note}", image.path) });
        }
        let at = match at {
            Some(at) => at,
            None => self.instant_of(&image)?,
        };
        let source = self.work.source.id;
        let (image, instants) = (Rc::new(image), self.work.writer().instants(source)?);
        for (number, snapshot) in image.snapshots.iter().enumerate() {
            let Some(taken_at) = nameable_instant(snapshot.taken_at) else {
                let why = format!(
                    "the snapshot {:?} in it is of {}, which lies outside the years 1970 to 9998",
                    snapshot.name,
                    Time(snapshot.taken_at)
                );
                self.work.emit(Event::LeftAside { path: image.path.clone(), why });
                continue;
            };
            if !instants.contains(&taken_at) {
                let image = Rc::clone(&image);
                wanted.push(Wanted {
                    image,
                    snapshot: Some(number),
                    at: taken_at,
                    on_top_of: None,
                    again: None,
                    why: ASKED,
                });
            }
        }
        wanted.push(Wanted { image, snapshot: None, at, on_top_of: None, again: None, why: ASKED });
        Ok(())
    }

    /// Returns when an image was taken: as its name says, as it says itself, or when it was last written.
    pub(super) fn instant_of(&self, image: &image::Image) -> Result<Time, Error> {
        let zone = self.work.inputs.zone;
        if let Some(at) = self.settings.instant_of_name(&image.path, zone)? {
            return Ok(at);
        }
        let told = image.moment.taken_at.as_ref();
        if let Some(at) = told.and_then(|told| parse_instant(told, self.work.now(), zone, Fold::Refuse).ok()) {
            return Ok(at);
        }
        let metadata = std::fs::metadata(&image.path).map_err(|source| Error::Io {
            doing: "looking at the image",
            path: image.path.clone(),
            source,
        })?;
        let at = metadata.mtime();
        nameable_instant(at).ok_or_else(|| Error::OutOfRange { path: image.path.clone(), at: Time(at) })
    }

    /// Returns the generation that an image is.
    pub(super) fn known(&self, path: &Path) -> Result<Option<Time>, Error> {
        let writer = self.work.writer.as_ref().expect("it is opened first, and again after each failure");
        Ok(writer.generation_of_image(self.work.source.id, path)?)
    }

    /// Indexes an image and returns whether that was done.
    fn index(&mut self, one: &Wanted) -> Result<bool, Error> {
        let (inputs, source, wish) = (self.work.inputs, self.work.source, &self.work.wish.disk);
        let was = one.again.as_ref();
        let was_consistent = was.and_then(|was| was.consistency.as_deref()).and_then(Consistency::from_word);
        let was_at = was.and_then(|was| was.location.as_deref()).and_then(|text| Location::parse(text).ok());
        inputs.monitor.begin(&format!("{} {}", source.name, one.at), None);
        let new = NewImage {
            source,
            image: &one.image,
            disk: None,
            snapshot: one.snapshot,
            at: one.at,
            rests_on: one.on_top_of,
            folders: &self.folders,
            acquire: was.and_then(|was| was.acquire.as_deref()),
            consistency: wish.consistency.or(was_consistent),
            location: wish.location.as_ref().or(was_at.as_ref()),
            again: was.is_some(),
            is_fresh: false,
        };
        let done = index_image(self.work.writer(), &new, inputs.clock, inputs.monitor);
        inputs.monitor.end();
        let copy = OneCopy { when: When(one.at), path: one.image.path.clone() };
        match done {
            Ok((done, parent)) => {
                if let Some(forgotten) = self.forgotten.remove(&copy.path) {
                    // It was asked for by its path.
                    self.work.writer().drop_forgotten(&forgotten)?;
                    self.work.forgotten -= 1;
                }
                self.emit_indexed(one, copy, &done, parent);
                Ok(true)
            }
            Err(e) => self.work.fail_copy(copy, e.into()).map(|()| false),
        }
    }

    fn emit_indexed(&mut self, one: &Wanted, copy: OneCopy, done: &Done, parent: Option<Time>) {
        let indexed = super::Indexed {
            again: one.again.as_ref().map(|_| one.why.to_owned()),
            snapshot: one.snapshot.map(|number| one.image.snapshots[number].name.clone()),
            parent: parent.map(When),
            ..self.work.indexed(copy, done, None)
        };
        self.work.emit(Event::Indexed(indexed));
    }
}

pub(super) fn canonical(path: &Path) -> Result<PathBuf, Error> {
    std::fs::canonicalize(path).map_err(|source| Error::Io {
        doing: "looking for the image",
        path: path.to_owned(),
        source,
    })
}
