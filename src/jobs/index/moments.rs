//! Images of all disks of a guest: those of one moment become one generation.
//!
//! Which moment an image is of tells its id, or its checkpoint (virtnbdbackup writes the disks one after the other, with the same
//! checkpoints), or its second. Which disk: what is in the image, else its folder below that of the images, else a word of its name.
//!
//! Promises: a moment has one image of a disk at most. Images that come when their moment is a generation already are put into it, as if they
//! had been there. An image of which nothing tells the disk is skipped, by name.

use super::disk::{ASKED, Disk, canonical};
use super::wish::Which;
use super::{Error, Event, OneCopy};
use crate::catalog::{DisksOf, SourceRow};
use crate::jobs::report::When;
use crate::jobs::take::block::moment::{DiskImage, NewMoment, index_moment};
use crate::model::{EntryName, Fold, ObjectId, Time, chain, parse_instant};
use crate::source::block::{discover, disk_of_name, image};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// An image that is to be indexed.
struct Found {
    disk: String,
    at: Time,
    image: image::Image,
}

/// The images of one moment, by disk.
pub(super) struct Moment {
    at: Time,
    images: BTreeMap<String, image::Image>,
    /// Why it is indexed again, if it is.
    again: Option<&'static str>,
    /// The disks whose images came since then.
    came: BTreeSet<String>,
    /// What the admin says that it rests on.
    on_top_of: Option<Time>,
}

impl Disk<'_, '_> {
    /// Indexes the images of all disks that are not indexed, or those that were named, moment by moment.
    pub(super) fn run_moments(&mut self) -> Result<(), Error> {
        let moments = match self.work.wish.which.clone() {
            Which::Named(paths, at) => self.named_moments(&paths, at)?,
            Which::Generation(at) => vec![self.moment_again(at, ASKED)?],
            Which::All => {
                let folders = discover::folders_of_disks(&self.settings.folders())?;
                for (path, why) in folders.strangers {
                    self.work.emit(Event::LeftAside { path, why });
                }
                let images = self.new_images(&folders.folders)?;
                let found = self.found(images, None)?;
                let moments = self.not_forgotten(group(found))?;
                self.completed(moments)?
            }
        };
        let source = self.with_disks(&moments)?;
        let has_base = self.work.wish.disk.base.is_some();
        let is_any_new = !moments.is_empty();
        for moment in moments {
            let is_done = self.index_moment(&source, &moment)?;
            if self.work.is_full || (!is_done && has_base) {
                return Ok(());
            }
        }
        self.index_lacking(&source, is_any_new)
    }

    /// Indexes the generations again that say nothing of a disk that the one before them has, or misses: an image of that came late.
    fn index_lacking(&mut self, source: &SourceRow, is_any_new: bool) -> Result<(), Error> {
        let mut before = BTreeSet::new();
        let all = self.work.writer().disks_by_generation(source.id)?;
        for (at, disks) in &all {
            let removed = self.removed_by(*at, &all);
            let mut here: BTreeSet<String> = disks.with_image.union(&disks.missing).cloned().collect();
            let lacking: Vec<String> =
                before.difference(&here).filter(|disk| !removed.contains(*disk)).cloned().collect();
            if !lacking.is_empty() {
                match self.moment_again(*at, "an older image is of a disk that it has not") {
                    Ok(moment) => drop(self.index_moment(source, &moment)?),
                    Err(error) if is_any_new => {
                        let text = format!(
                            "the generation of {at} says nothing of a disk that the one before it has, and cannot be indexed again: {}",
                            chain(&error)
                        );
                        self.work.emit(Event::Note { text });
                    }
                    Err(_) => {}
                }
                if self.work.is_full {
                    return Ok(());
                }
                here.extend(lacking);
            }
            before = here;
        }
        Ok(())
    }

    /// Returns the disks that the guest has no more at this instant: those that the settings say, but for the ones that a later generation
    /// has an image of.
    fn removed_by(&self, at: Time, all: &BTreeMap<Time, DisksOf>) -> BTreeSet<String> {
        let is_later =
            |disk: &&String| all.iter().any(|(other, disks)| *other > at && disks.with_image.contains(*disk));
        self.settings.removed_disks.iter().filter(|disk| !is_later(disk)).cloned().collect()
    }

    /// Returns the moments of which nobody said that they are to be forgotten.
    fn not_forgotten(&mut self, moments: Vec<Moment>) -> Result<Vec<Moment>, Error> {
        let source = self.work.source.id;
        let forgotten: BTreeSet<Time> = self.forgotten.values().map(|copy| copy.at).collect();
        let mut left = Vec::new();
        for moment in moments {
            let checkpoint = moment.images.values().find_map(|image| image.moment.checkpoint.clone());
            let mut is_forgotten = forgotten.contains(&moment.at);
            for at in &forgotten {
                is_forgotten |= checkpoint.is_some() && self.work.writer().checkpoint(source, *at)? == checkpoint;
            }
            if !is_forgotten {
                left.push(moment);
                continue;
            }
            for image in moment.images.into_values() {
                let text = format!("passed over {:?}: the generation of its moment was forgotten", image.path);
                self.work.emit(Event::Note { text });
            }
        }
        Ok(left)
    }

    /// Returns the images of the disks of this guest, with their instants.
    fn found(&mut self, images: Vec<image::Image>, at: Option<Time>) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for image in images {
            for note in &image.notes {
                self.work.emit(Event::Note { text: format!("{:?}: {note}", image.path) });
            }
            if !image.snapshots.is_empty() {
                let text =
                    format!("{:?}: the snapshots in it are passed over, as those of several disks are", image.path);
                self.work.emit(Event::Note { text });
            }
            let Some(disk) = disk_of(&image, &self.settings.folders()) else {
                let why = "nothing says which disk of the guest it is of: the image, its folder or its name".to_owned();
                self.work.emit(Event::LeftAside { path: image.path, why });
                continue;
            };
            // Ours have their disk in their names, behind the date.
            let own = image.moment.id.as_ref().and(image.moment.taken_at.as_deref());
            let own = own.and_then(|own| parse_instant(own, self.work.now(), self.work.inputs.zone, Fold::Refuse).ok());
            match at.or(own).map_or_else(|| self.instant_of(&image), Ok) {
                Ok(at) => found.push(Found { disk, at, image }),
                Err(error) => self.work.emit(Event::Failed { copy: None, error }),
            }
        }
        Ok(found)
    }

    /// Returns moments with the images that their generations have already, if they are some.
    fn completed(&mut self, moments: Vec<Moment>) -> Result<Vec<Moment>, Error> {
        let source = self.work.source.id;
        let mut completed = Vec::new();
        for mut moment in moments {
            let mut known = None;
            for at in self.work.writer().instants(source)? {
                let first = moment.images.values().next().expect("a moment has an image");
                let checkpoint = self.work.writer().checkpoint(source, at)?;
                if at == moment.at || (checkpoint.is_some() && checkpoint == first.moment.checkpoint) {
                    let disks = self.work.writer().guest_disks(source, at)?;
                    if !disks.iter().any(|disk| moment.images.contains_key(&disk.name)) {
                        known = Some((at, disks));
                    }
                }
            }
            if let Some((at, disks)) = known {
                moment.came = moment.images.keys().cloned().collect();
                for disk in disks {
                    let image = self.open(&disk.image.path)?;
                    if moment.images.values().any(|new| !is_one(&new.moment, moment.at, &image.moment, at)) {
                        let why = format!("{:?}, which is the generation of {at}, is of another moment", image.path);
                        for (_, new) in std::mem::take(&mut moment.images) {
                            self.work.emit(Event::LeftAside { path: new.path, why: why.clone() });
                        }
                        break;
                    }
                    moment.images.insert(disk.name, image);
                }
                (moment.at, moment.again) = (at, Some("an image of another of its disks came"));
            }
            if !moment.images.is_empty() {
                completed.push(moment);
            }
        }
        completed.sort_by_key(|moment| moment.at);
        Ok(completed)
    }

    /// Returns the moments of the images that the admin named: oldest first, or in their order where each is on top of the one before it.
    fn named_moments(&mut self, paths: &[PathBuf], at: Option<Time>) -> Result<Vec<Moment>, Error> {
        let (mut images, mut again) = (Vec::new(), Vec::new());
        for path in self.with_forgotten(paths)? {
            match self.known(&path)? {
                Some(known) if self.work.wish.again => again.push(self.moment_again(known, ASKED)?),
                Some(known) => self.work.emit(Event::Known(OneCopy { when: When(known), path })),
                None => {
                    self.may_open_beside(&path);
                    images.push(self.open(&path)?);
                }
            }
        }
        let found = self.found(images, at)?;
        let mut moments = self.completed(group(found))?;
        if let Some(base) = &self.work.wish.disk.base {
            let base = canonical(base)?;
            let name = self.work.source.name.clone();
            let mut below = self.known(&base)?.ok_or(Error::UnknownBase { name, base })?;
            for moment in &mut moments {
                moment.on_top_of = Some(below);
                below = moment.at;
            }
        }
        again.extend(moments);
        Ok(again)
    }

    /// Returns the paths of images that were named, and of those that were forgotten with them: a moment comes back whole.
    fn with_forgotten(&self, paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        let mut all = paths.iter().map(|path| canonical(path)).collect::<Result<Vec<_>, _>>()?;
        let objects: BTreeSet<ObjectId> =
            all.iter().filter_map(|path| self.forgotten.get(path)).map(|copy| copy.object).collect();
        let mut with: Vec<PathBuf> = self
            .forgotten
            .values()
            .filter(|copy| objects.contains(&copy.object) && !all.contains(&copy.path))
            .map(|copy| copy.path.clone())
            .collect();
        with.sort();
        all.extend(with);
        Ok(all)
    }

    /// Returns the images of a generation that is to be indexed again, for this reason.
    pub(super) fn moment_again(&mut self, at: Time, why: &'static str) -> Result<Moment, Error> {
        let (source, name) = (self.work.source.id, self.work.source.name.clone());
        let disks = self.work.writer().guest_disks(source, at)?;
        if disks.is_empty() {
            return Err(Error::NoGeneration { name, at });
        }
        let mut images = BTreeMap::new();
        for disk in disks {
            let path = disk.image.path;
            if !path.exists() {
                return Err(Error::NotThere { name, at, path });
            }
            self.may_open_beside(&path);
            images.insert(disk.name, self.open(&path)?);
        }
        Ok(Moment { at, images, again: Some(why), came: BTreeSet::new(), on_top_of: None })
    }

    /// What the admin names may be read; what the image names must lie beside it.
    fn may_open_beside(&mut self, path: &Path) {
        if let Some(folder) = path.parent().filter(|folder| !self.folders.iter().any(|f| folder.starts_with(f))) {
            self.folders.push(folder.to_owned());
        }
    }

    /// Gives numbers to the disks that have none, which are kept with the settings of the source before anything of them is indexed.
    fn with_disks(&mut self, moments: &[Moment]) -> Result<SourceRow, Error> {
        let disks = moments.iter().flat_map(|moment| moment.images.keys()).map(String::as_str);
        let numbered = self.settings.number_disks(disks);
        numbered.map_err(|disks| Error::ManyDisks { name: self.work.source.name.clone(), disks })?;
        let source = SourceRow { settings: self.settings.to_json()?, ..self.work.source.clone() };
        if source.settings != self.work.source.settings {
            self.work.writer().set_settings(source.id, &source.settings)?;
        }
        Ok(source)
    }

    /// Indexes a moment and returns whether that was done.
    pub(super) fn index_moment(&mut self, source: &SourceRow, moment: &Moment) -> Result<bool, Error> {
        let all = self.work.writer().disks_by_generation(source.id)?;
        let removed = self.removed_by(moment.at, &all);
        let (inputs, wish) = (self.work.inputs, &self.work.wish.disk);
        let numbers = self.settings.all_disks.as_deref().unwrap_or_default();
        let images = moment.images.iter().map(|(disk, image)| {
            let number = numbers.iter().position(|known| known == disk).expect("each was given one");
            DiskImage { disk, number, image }
        });
        let new = NewMoment {
            source,
            images: images.collect(),
            at: moment.at,
            rests_on: moment.on_top_of,
            folders: &self.folders,
            consistency: wish.consistency,
            location: wish.location.as_ref(),
            again: moment.again.is_some(),
            came: &moment.came,
            is_fresh: false,
            removed: &removed,
        };
        inputs.monitor.begin(&format!("{} {}", source.name, moment.at), None);
        let done = index_moment(self.work.writer(), &new, inputs.clock, inputs.monitor);
        inputs.monitor.end();
        let path = moment.images.values().next().expect("a moment has an image").path.clone();
        let copy = OneCopy { when: When(moment.at), path };
        let (done, parent) = match done {
            Ok(done) => done,
            Err(e) => return self.work.fail_copy(copy, e.into()).map(|()| false),
        };
        for image in moment.images.values() {
            if let Some(forgotten) = self.forgotten.remove(&image.path) {
                self.work.writer().drop_forgotten(&forgotten)?;
                self.work.forgotten -= 1;
            }
        }
        let indexed = super::Indexed {
            again: moment.again.map(str::to_owned),
            parent: parent.map(When),
            ..self.work.indexed(copy, &done, None)
        };
        self.work.emit(Event::Indexed(indexed));
        Ok(true)
    }
}

/// Returns the disk that an image is of, if anything says it that can be the name of a folder.
fn disk_of(image: &image::Image, folders: &[PathBuf]) -> Option<String> {
    let below = || {
        let folder = image.path.parent().filter(|parent| !folders.iter().any(|folder| folder == parent))?;
        Some(folder.file_name()?.to_str()?.to_owned())
    };
    let told = image.moment.disk.clone().or_else(below).or_else(|| disk_of_name(&image.path));
    told.filter(|disk| EntryName::new(disk.as_bytes()).is_ok())
}

/// Tells whether two images are of one moment.
fn is_one(one: &image::Moment, at: Time, other: &image::Moment, other_at: Time) -> bool {
    match ((&one.id, &other.id), (&one.checkpoint, &other.checkpoint)) {
        ((Some(one), Some(other)), _) | (_, (Some(one), Some(other))) => one == other,
        _ => at == other_at,
    }
}

/// Puts images together that are of one moment, which is that of the first.
fn group(mut found: Vec<Found>) -> Vec<Moment> {
    found.sort_by_key(|one| one.at);
    let mut moments: Vec<Moment> = Vec::new();
    for Found { disk, at, image } in found {
        let is_its = |moment: &&mut Moment| {
            let mut images = moment.images.values();
            !moment.images.contains_key(&disk)
                && images.any(|known| is_one(&known.moment, moment.at, &image.moment, at))
        };
        match moments.iter_mut().rev().find(is_its) {
            Some(moment) => drop(moment.images.insert(disk, image)),
            None => {
                let images = BTreeMap::from([(disk, image)]);
                moments.push(Moment { at, images, again: None, came: BTreeSet::new(), on_top_of: None });
            }
        }
    }
    moments
}
