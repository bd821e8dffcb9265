//! What an increment counts from, or why everything is read.
//!
//! A bitmap counts from the newest generation where it has the name that was given out for that moment and for nothing else
//! (`own`), where libvirt keeps it, or where the admin says so. Whatever has one name for several moments tells nothing: it may have
//! been cleared for one that is not here, made anew, or never have been there at all.
//!
//! Promises: what cannot be proved to be an increment becomes a full generation, and the reason is told.

use super::error::Error;
use super::job::{Basis, DiskJob, Pending};
use crate::catalog::Writer;
use crate::jobs::take::block::moment::cut_out;
use crate::jobs::take::block::pull::{CountedBy, Since};
use crate::model::{Layer, SourceId, Time};
use crate::source::block::OWN_BITMAP;
use crate::source::block::image::{Moment, sidecar};
use crate::sys::mount::expect_no_stranger_in_folder;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// How many digits of its id the name of a checkpoint has that asof gives out.
const OWN_DIGITS: usize = 16;

/// The layers of a disk and its size, or why there are none.
type Layers = Result<(Vec<Layer>, u64), String>;

/// Returns the name that is given out for the moment `id`.
pub(super) fn own_name(id: &str) -> String {
    format!("asof-{}", &id[..OWN_DIGITS.min(id.len())])
}

/// Returns what the file beside the image of a generation tells of it; `disk`: one of several.
pub(super) fn told_of(
    writer: &Writer,
    source: SourceId,
    (at, disk): (Time, Option<&str>),
) -> Result<Option<Moment>, Error> {
    let file = match disk {
        None => writer.image_files(source, at)?.into_iter().next(),
        Some(disk) => {
            let disks = writer.guest_disks(source, at)?;
            disks.into_iter().find(|known| known.name == disk).map(|known| known.image)
        }
    };
    let Some(file) = file else { return Ok(None) };
    let folder = file.path.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(sidecar(&file.path, &[folder]))
}

impl DiskJob<'_> {
    /// Tells what is taken with this bitmap, and why. `pending` are the marks that runs would have made which are not known to have
    /// ended; none: any.
    pub(super) fn basis(&self, writer: &Writer, bitmap: &str, pending: &Pending) -> Result<Basis, Error> {
        if self.full {
            return Ok(Basis::All(None));
        }
        let now = self.clock.now();
        let instants = writer.instants(self.source.id)?;
        let Some(newest) = instants.iter().rev().find(|instant| **instant <= now).copied() else {
            return Ok(Basis::All(None));
        };
        let checkpoint = writer.checkpoint(self.source.id, newest)?;
        if let Some(since) = self.wish.since.as_ref().filter(|since| checkpoint.as_ref() != Some(*since)) {
            return Err(Error::NotSince { since: since.clone(), newest, found: checkpoint });
        }
        let all = |why: String| Ok(Basis::All(Some(why)));
        let Some(checkpoint) = checkpoint else {
            return all(format!(
                "the generation of {newest} has no checkpoint that bitmap {bitmap:?} could count from"
            ));
        };
        let counted_by = if self.wish.since.is_some() { CountedBy::Said } else { CountedBy::Own };
        let told = told_of(writer, self.source.id, (newest, None))?;
        let is_own = told.as_ref().is_some_and(|moment| {
            let id = moment.id.as_deref().unwrap_or_default();
            moment.checkpoint.as_deref() == Some(&checkpoint) && id.len() >= OWN_DIGITS && checkpoint == own_name(id)
        });
        if counted_by == CountedBy::Own && bitmap != OWN_BITMAP {
            return all(format!(
                "nothing tells that bitmap {bitmap:?} counts from the generation of {newest}, whose checkpoint is \
                 {checkpoint:?}; --since {checkpoint} says that it does, and with --bitmap {OWN_BITMAP} each checkpoint has a bitmap of its own"
            ));
        }
        if counted_by == CountedBy::Own && !is_own {
            return all(format!(
                "the checkpoint {checkpoint:?} of the generation of {newest} has no name that asof gave out, so a bitmap of that name may \
                 count from anything"
            ));
        }
        if let Some(why) = pending.why(&checkpoint) {
            return all(format!(
                "{why}, so what bitmap {bitmap:?} counts from is not known; give checkpoints different names"
            ));
        }
        for other in instants.iter().filter(|instant| **instant != newest) {
            if writer.checkpoint(self.source.id, *other)?.as_ref() == Some(&checkpoint) {
                return all(format!("the generations of {other} and {newest} have the same checkpoint {checkpoint:?}"));
            }
        }
        if let Some(image) = self.unknown_newer(writer, newest)? {
            return all(format!(
                "{image:?} is newer than the newest generation, of {newest}, and is none: was the catalog put back from an older copy?"
            ));
        }
        let bitmap = if counted_by == CountedBy::Own { &checkpoint } else { bitmap };
        let since = self.since(writer, (newest, None), &checkpoint, (bitmap, counted_by))?;
        Ok(since.map_or_else(|why| Basis::All(Some(why)), Basis::Since))
    }

    /// Returns an image in the folder that was taken of this disk after the generation of `newest`, and that is no generation.
    fn unknown_newer(&self, writer: &Writer, newest: Time) -> Result<Option<PathBuf>, Error> {
        let folder = self.settings.own_folder();
        let location = self.wish.location.as_ref().map(|location| location.as_str().to_owned());
        let location = location.or_else(|| self.wish.nbd.clone()).or_else(|| self.settings.nbd.clone());
        let after = newest.view_name();
        // What a user mounted over an image is not asked.
        let is_there = |image: &PathBuf| match expect_no_stranger_in_folder(image) {
            Ok(()) => image.exists(),
            Err(e) => e.kind() != io::ErrorKind::NotFound,
        };
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            // Names of ours are in the order of their dates.
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".json")).filter(|stem| **stem > *after)
            else {
                continue;
            };
            let images = [folder.join(format!("{stem}.raw")), folder.join(format!("{stem}.qcow2"))];
            let Some(image) = images.into_iter().find(is_there) else { continue };
            let told = sidecar(&image, &[folder.to_owned()]).filter(|moment| moment.id.is_some());
            let is_of_this = told.is_some_and(|moment| {
                moment.source == self.source_uuid() || (moment.location.is_some() && moment.location == location)
            });
            if is_of_this && writer.generation_of_image(self.source.id, &image)?.is_none() {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Returns the layers of a disk as of the generation of `at`, and its size then; or why there are none.
    fn layers_of(&self, writer: &Writer, at: Time, disk: Option<&str>) -> Result<Layers, Error> {
        let layers = writer.disk_layers(self.source.id, at)?;
        let Some(newest) = layers.first() else { return Ok(Err(format!("the disk as of {at} is not whole"))) };
        let Some(disk) = disk else {
            let size_bytes = newest.size_bytes;
            return Ok(Ok((layers, size_bytes)));
        };
        let known = writer.guest_disks(self.source.id, at)?.into_iter().find(|known| known.name == disk);
        let numbers = self.settings.all_disks.as_deref().unwrap_or_default();
        let number = numbers.iter().position(|known| known == disk);
        let (Some(known), Some(number)) = (known, number) else {
            return Ok(Err(format!("the generation of {at} has no disk {disk:?}")));
        };
        let mut layers: Vec<Layer> = layers.iter().map(|layer| cut_out(layer, number)).collect();
        layers[0].size_bytes = known.size_bytes;
        Ok(Ok((layers, known.size_bytes)))
    }

    /// Returns what an increment on the generation of `at` counts from, or why there can be none: what it would rest on is
    /// not as it was.
    pub(super) fn since(
        &self,
        writer: &Writer,
        (at, disk): (Time, Option<&str>),
        checkpoint: &str,
        (bitmap, counted_by): (&str, CountedBy),
    ) -> Result<Result<Since, String>, Error> {
        let (layers, size_bytes) = match self.layers_of(writer, at, disk)? {
            Ok(layers) => layers,
            Err(why) => return Ok(Err(why)),
        };
        for file in layers.iter().flat_map(|layer| &layer.files) {
            let found = expect_no_stranger_in_folder(&file.path).and_then(|()| fs::metadata(&file.path));
            let is_there = found.is_ok_and(|now| {
                let mtime = (now.mtime(), now.mtime_nsec() as u32);
                !now.is_file() || (now.len(), mtime) == (file.size_bytes, (file.mtime.seconds, file.mtime.nanos))
            });
            if !is_there {
                let path = &file.path;
                return Ok(Err(format!("{path:?}, which an increment would be based on, is gone or was written to")));
            }
        }
        let told = told_of(writer, self.source.id, (at, disk))?
            .filter(|moment| moment.checkpoint.as_deref() == Some(checkpoint));
        let (bitmap, checkpoint) = (bitmap.to_owned(), checkpoint.to_owned());
        let id = told.and_then(|moment| moment.id);
        Ok(Ok(Since { bitmap, at, checkpoint, id, counted_by, size_bytes, layers }))
    }
}
