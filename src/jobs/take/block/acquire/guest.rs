//! A moment of a guest of libvirt, and the checkpoints from which the next one counts.
//!
//! Promises: a checkpoint that this source made and no generation has is deleted, now or by the next run; those of others are
//! left alone. An increment counts from a checkpoint that libvirt has: of the newest generation whose it has.

use super::basis::told_of;
use super::error::Error;
use super::job::{Acquired, DiskJob, GuestBasis};
use super::note::Note;
use crate::catalog::Writer;
use crate::jobs::take::block::durable::{publish, write_new_durably};
use crate::jobs::take::block::libvirt::{self, Begin, DiskPlace, Guest, Place};
use crate::jobs::take::block::names;
use crate::jobs::take::block::pull::{self, CountedBy, Pulled, Since};
use crate::model::{Consistency, EntryName, Time, chain};
use crate::source::block::image::{Moment, PushNote, digest};
use crate::source::block::{Domain, Location, Method, nbd};
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Where the socket of a guest's disk is, and what the guest overwrites meanwhile, where nothing is said.
const SCRATCH: &str = "/var/tmp";
/// How many checkpoints of a source libvirt keeps: if one is deleted by somebody, its parent counts for both.
const CHECKPOINTS_KEPT: usize = 4;

/// The image of a disk, or one of each disk of a guest.
type Images = Vec<(Option<String>, PathBuf)>;

/// Removes what came of a moment that is not whole.
fn remove(images: &Images) {
    for (_, image) in images {
        let _ = fs::remove_file(image);
        let _ = fs::remove_file(image.with_extension("json"));
    }
}

/// Removes the socket of a backup that has ended: QEMU leaves it where it was killed. What is none of ours is left, whatever a note says.
pub(super) fn remove_socket(path: &Path) {
    let is_named_so = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"asof-"));
    if is_named_so && fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        let _ = fs::remove_file(path);
    }
}

impl DiskJob<'_> {
    /// Has libvirt begin a moment of the guest, lets the guest go, and gets the bytes of the moment: of one disk, or of all of them.
    pub(super) fn guest(
        &self,
        writer: &mut Writer,
        (guest, domain): (&Guest, &Domain),
        basis: &GuestBasis,
        (at, consistency): (Time, Consistency),
        note: &mut Note,
    ) -> Result<Acquired, Error> {
        let place = self.place(guest, domain, basis, at)?;
        // The same source in two catalogs may take the same guest in the same second.
        let named = || format!("asof-{}-{}-{}", self.source.name, at.view_name(), &self.id[..8]);
        let can_count = guest.disks().any(|disk| guest.can_count(disk));
        let checkpoint = can_count.then(|| self.wish.checkpoint.clone().unwrap_or_else(named));
        note.backup = Some(place.mark(domain.method).to_owned());
        note.marks.get_or_insert_default().extend(checkpoint.clone());
        self.while_held(|| self.write_note(writer, note))?;

        self.check_folder()?;
        let begin = Begin {
            method: domain.method,
            since: basis.checkpoint.as_deref(),
            checkpoint: checkpoint.as_deref(),
            place: &place,
            folder: self.settings.own_folder(),
        };
        let (is_since, full_because) = match self.backup.begin(guest, &begin) {
            Ok(()) => (true, None),
            Err(e @ libvirt::Error::Virsh(libvirt::VirshError::Refused { .. })) if begin.since.is_some() => {
                let why = format!("libvirt gives no increment: {}", chain(&e));
                self.monitor.note(&format!("the whole disk is read: {why}"));
                self.backup.begin(guest, &Begin { since: None, ..begin })?;
                (false, Some(why))
            }
            Err(e) => return Err(e.into()),
        };
        let not_released = self.let_go()?;
        let checkpoint_xml = match &checkpoint {
            Some(name) => Some(guest.checkpoint_xml(name)?),
            None => None,
        };
        let moment = |disk: &str| {
            let since = basis.since.get(disk).filter(|_| is_since);
            let moment = Moment {
                checkpoint_xml: checkpoint_xml.clone(),
                checkpoint: checkpoint.clone().filter(|_| guest.can_count(disk)),
                location: Some(self.location_of(guest, disk).as_str().to_owned()),
                domain: Some(guest.name().to_owned()),
                domain_uuid: guest.uuid().map(str::to_owned),
                disk: Some(disk.to_owned()),
                ..self.moment(at, consistency, since)
            };
            (since, moment)
        };
        let acquired = match domain.method {
            Method::Pull => self.pull_all(guest, &place, &moment, at),
            Method::Push => self.push_all(guest, &place, &moment, at).map(|images| (images, None, None)),
        };
        let (images, pulled, not_whole) = acquired?;
        self.backup.end()?;
        let location = match place.disks.as_slice() {
            [one] if !self.is_all() => self.location_of(guest, &one.disk),
            _ => self.wish.location.clone().unwrap_or_else(|| Location::of_domain(guest.name())),
        };
        let full_because = full_because.or(not_whole);
        Ok(Acquired { at, consistency, images, location: Some(location), pulled, full_because, not_released })
    }

    /// Tells whether the source is all disks of a guest.
    fn is_all(&self) -> bool {
        self.settings.all_disks.is_some()
    }

    /// Returns what tells a disk from others in names, where there are several.
    fn in_names<'d>(&self, disk: &'d str) -> Option<&'d str> {
        Some(disk).filter(|_| self.is_all())
    }

    fn location_of(&self, guest: &Guest, disk: &str) -> Location {
        let wished = self.wish.location.clone().filter(|_| !self.is_all());
        wished.unwrap_or_else(|| Location::of_guest(guest.name(), disk))
    }

    /// Returns where the bytes of the moment of `at` go; nothing is there yet.
    fn place(&self, guest: &Guest, domain: &Domain, basis: &GuestBasis, at: Time) -> Result<Place, Error> {
        let folder = self.settings.own_folder();
        let scratch = domain.scratch.as_deref().unwrap_or(Path::new(SCRATCH));
        let own = |what: &str| scratch.join(format!("asof-{}-{}.{what}", std::process::id(), &self.id[..8]));
        let mut disks = Vec::new();
        for disk in guest.disks() {
            if EntryName::new(disk.as_bytes()).is_err() {
                return Err(Error::DiskName { disk: disk.to_owned() });
            }
            let image = names::pushed_name(folder, at, self.in_names(disk));
            let (raw, map) = names::names(folder, at, self.in_names(disk));
            pull::check_free(&[&raw, &map, &image])?;
            let what = self.in_names(disk).map_or_else(|| "scratch".to_owned(), |disk| format!("{disk}.scratch"));
            disks.push(DiskPlace {
                disk: disk.to_owned(),
                is_whole: !basis.since.contains_key(disk),
                scratch: own(&what),
                target: names::part_of(&image, &self.id),
            });
        }
        Ok(Place { socket: own("sock"), disks })
    }

    /// Pulls the disks, one after the other: all are of the moment that libvirt keeps.
    fn pull_all<'s>(
        &self,
        guest: &Guest,
        place: &Place,
        moment: &dyn Fn(&str) -> (Option<&'s Since>, Moment),
        at: Time,
    ) -> Result<(Images, Option<Pulled>, Option<String>), Error> {
        let (mut images, mut all, mut not_whole) = (Vec::new(), None::<Pulled>, None);
        for DiskPlace { disk, .. } in &place.disks {
            let (since, moment) = moment(disk);
            let socket = nbd::Place::Unix(place.socket.clone());
            let uri = nbd::Uri { place: socket, export: disk.clone(), certificates: None, tls_name: None };
            let location = self.location_of(guest, disk);
            let pulled = self.pull((location.as_str(), uri), since, moment, (at, self.in_names(disk)));
            let (pulled, why) = pulled.inspect_err(|_| remove(&images))?;
            images.push((self.in_names(disk).map(str::to_owned), pulled.image.clone()));
            not_whole = not_whole.or(why);
            all = Some(match all {
                None => pulled,
                Some(all) => all.and(&pulled),
            });
        }
        Ok((images, all, not_whole))
    }

    /// Waits until QEMU has written all disks, and gives the images their names, each with a note beside it.
    fn push_all<'s>(
        &self,
        guest: &Guest,
        place: &Place,
        moment: &dyn Fn(&str) -> (Option<&'s Since>, Moment),
        at: Time,
    ) -> Result<Images, Error> {
        let folder = self.settings.own_folder();
        let mut images = Vec::new();
        let pushed = guest.wait(self.stop).map_err(Error::from).and_then(|()| {
            for DiskPlace { disk, target, .. } in &place.disks {
                let image = names::pushed_name(folder, at, self.in_names(disk));
                self.publish_pushed(target, &image, moment(disk).1)?;
                images.push((self.in_names(disk).map(str::to_owned), image));
            }
            Ok(())
        });
        if pushed.is_err() {
            // QEMU writes to them no longer.
            let _ = self.backup.end();
            for DiskPlace { disk, target, .. } in &place.disks {
                let image = names::pushed_name(folder, at, self.in_names(disk));
                let _ = fs::remove_file(target);
                if !image.exists() && names::is_of(&image, &self.id) {
                    let _ = fs::remove_file(image.with_extension("json"));
                }
            }
            remove(&images);
        }
        pushed.map(|()| images)
    }

    /// Makes `part` the image, with a note beside it.
    fn publish_pushed(&self, part: &Path, image: &Path, mut moment: Moment) -> Result<(), Error> {
        let note = image.with_extension("json");
        let failed = |source| Error::Write { path: image.to_owned(), source };
        let file = File::open(part).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        moment.digest = Some(digest::of_file(&file).map_err(failed)?);
        self.check_folder()?;
        write_new_durably(&note, &names::part_of(&note, &self.id), PushNote::new(moment).to_json().as_bytes())
            .map_err(|source| pull::Error::not_published(&note, source))?;
        publish(part, image).map_err(|source| pull::Error::not_published(image, source).into())
    }

    /// Undoes what a run that failed had begun in libvirt. Returns whether nothing of it is left.
    pub(super) fn undo(&self, writer: &Writer, guest: &Guest, note: &Note) -> bool {
        let undone = self.backup.end().map_err(Error::from).and_then(|()| self.drop_checkpoints(writer, guest, note));
        if let Err(e) = &undone {
            self.monitor.warn(&chain(e));
        }
        undone.is_ok()
    }

    /// Deletes the checkpoints that a run made which is of no generation.
    pub(super) fn drop_checkpoints(&self, writer: &Writer, guest: &Guest, note: &Note) -> Result<(), Error> {
        let marks = note.marks.as_deref().unwrap_or_default();
        if marks.is_empty() {
            return Ok(());
        }
        let ours = self.checkpoints_of_generations(writer)?;
        for name in guest.checkpoints()?.iter().filter(|name| marks.contains(name)) {
            if !ours.iter().any(|(_, checkpoint)| checkpoint == name) {
                guest.delete_checkpoint(name)?;
            }
        }
        Ok(())
    }

    /// Returns the generations that have a checkpoint, oldest first, with it.
    fn checkpoints_of_generations(&self, writer: &Writer) -> Result<Vec<(Time, String)>, Error> {
        let mut found = Vec::new();
        for at in writer.instants(self.source.id)? {
            found.extend(writer.checkpoint(self.source.id, at)?.map(|checkpoint| (at, checkpoint)));
        }
        Ok(found)
    }

    /// Deletes the older of the checkpoints of this source: each costs QEMU memory and the image a bitmap.
    pub(super) fn trim_checkpoints(&self, writer: &Writer, guest: &Guest) -> Result<(), Error> {
        let known = guest.checkpoints()?;
        let ours = self.checkpoints_of_generations(writer)?.into_iter();
        let there: Vec<String> = ours.map(|(_, name)| name).filter(|name| known.contains(name)).collect();
        for name in &there[..there.len().saturating_sub(CHECKPOINTS_KEPT)] {
            if let Err(e) = guest.delete_checkpoint(name) {
                self.monitor.warn(&format!("checkpoint {name:?} stays in libvirt: {}", chain(&e)));
            }
        }
        Ok(())
    }

    /// Tells what is taken of a guest: of each disk what changed since the newest generation whose checkpoint libvirt has. What a
    /// checkpoint counted that was deleted meanwhile, its parent counts since.
    pub(super) fn basis_of_guest(&self, writer: &Writer, guest: &Guest) -> Result<GuestBasis, Error> {
        let generations = self.checkpoints_of_generations(writer)?;
        let all = |why: Option<String>| Ok(GuestBasis { why, ..GuestBasis::default() });
        if self.full || writer.instants(self.source.id)?.is_empty() {
            return all(None);
        }
        let raw = |disk: &str| format!("the image of disk {disk:?} is raw, and QEMU counts changes in qcow2 images");
        if !guest.disks().any(|disk| guest.can_count(disk)) {
            return all(guest.disks().next().map(raw));
        }
        let known = self.known_checkpoints(writer, guest, &generations)?;
        let mut why = None;
        let now = self.clock.now();
        let is_usable = |(at, checkpoint): &&(Time, String)| *at <= now && known.contains(checkpoint);
        for (at, checkpoint) in generations.iter().rev().filter(is_usable) {
            let mut basis = GuestBasis { checkpoint: Some(checkpoint.clone()), ..GuestBasis::default() };
            for disk in guest.disks() {
                let found = match (guest.can_count(disk), self.other_disk(writer, guest, disk, *at)?) {
                    (false, _) => Err(raw(disk)),
                    (true, Some(other)) => Err(other),
                    (true, None) => {
                        let counted_by = (libvirt::EXPORTED_BITMAP, CountedBy::Libvirt);
                        self.since(writer, (*at, self.in_names(disk)), checkpoint, counted_by)?
                    }
                };
                match found {
                    Ok(since) => drop(basis.since.insert(disk.to_owned(), since)),
                    Err(found) => basis.why = basis.why.or(Some(found)),
                }
            }
            if !basis.since.is_empty() {
                return Ok(basis);
            }
            why = why.or(basis.why);
        }
        all(Some(why.unwrap_or_else(|| "libvirt has no checkpoint of any generation".to_owned())))
    }

    /// Returns why the generation of `at` is not of this disk of this guest, if what was noted of it says so.
    fn other_disk(&self, writer: &Writer, guest: &Guest, disk: &str, at: Time) -> Result<Option<String>, Error> {
        let Some(told) = told_of(writer, self.source.id, (at, self.in_names(disk)))? else { return Ok(None) };
        let is_other = |then: &Option<String>, now: Option<&str>| then.as_deref().zip(now).is_some_and(|(a, b)| a != b);
        Ok(if is_other(&told.domain_uuid, guest.uuid()) {
            Some(format!("the generation of {at} is of another domain of this name"))
        } else if is_other(&told.disk, Some(disk)) {
            Some(format!("the generation of {at} is of disk {:?}", told.disk.unwrap_or_default()))
        } else {
            None
        })
    }

    /// Returns the checkpoints that libvirt has, after it was told again, from what lies beside the images, of those of the newest
    /// generations that it has forgotten.
    fn known_checkpoints(
        &self,
        writer: &Writer,
        guest: &Guest,
        generations: &[(Time, String)],
    ) -> Result<Vec<String>, Error> {
        let mut known = guest.checkpoints()?;
        // Older ones were deleted when there were enough.
        let is_known = |(_, name): &(Time, String)| known.contains(name);
        let first = generations.iter().rposition(is_known).map_or(0, |last| last + 1);
        for (at, name) in &generations[first.max(generations.len().saturating_sub(CHECKPOINTS_KEPT))..] {
            let file = writer.image_files(self.source.id, *at)?.into_iter().next();
            let image = file.and_then(|file| self.settings.open(&file.path, &self.settings.folders()).ok());
            let told = image.and_then(|image| image.moment.checkpoint_xml);
            let why = match told.map(|told| guest.redefine(&told, self.settings.own_folder())) {
                Some(Ok(())) => {
                    self.monitor.warn(&format!("libvirt had forgotten checkpoint {name:?}; it was redefined"));
                    known.push(name.clone());
                    continue;
                }
                Some(Err(e)) => chain(&e),
                None => "there is no file about it beside the image".to_owned(),
            };
            self.monitor.warn(&format!("libvirt has forgotten checkpoint {name:?}, and it cannot be redefined: {why}"));
        }
        Ok(known)
    }
}
