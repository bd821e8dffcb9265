//! Which disk each image of a folder is of: a source is one disk, and images of another are never put on top of its own.
//!
//! Promises: where images say of which disk they are, by what is in them or else by their names, those of one disk are indexed, or none.
//! So it is with guests that names tell: of images that are complete by themselves, those of one are indexed, or none. An image that says
//! nothing is taken for one of the source's.

use super::Error;
use super::work::Work;
use crate::source::block::{Settings, disk_of_name, guest_of_name, has_word, image};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Returns the disk that an image is of, where that is known.
fn disk_of(image: &image::Image) -> Option<String> {
    image.moment.disk.clone().or_else(|| disk_of_name(&image.path))
}

/// Returns the guest that an image is of that is complete by itself, where that is known: by what is in it, or else by its name.
fn guest_of(image: &image::Image) -> Option<String> {
    let moment = &image.moment;
    let rests_on_another = image.parent != image::Parent::None
        || moment.parent.is_some()
        || moment.checkpoint.is_some()
        || moment.id.is_some();
    match &moment.domain {
        Some(domain) => Some(domain.clone()),
        None if rests_on_another => None,
        None => guest_of_name(&image.path),
    }
}

/// Leaves the images of the source's disk in `images`, and returns how many of others there were, by disk.
///
/// # Errors
/// [`Error::SeveralDisks`] if they are of several disks and nothing says which one the source is; [`Error::OtherDisk`] if they are of
/// another one than what is indexed.
pub(super) fn keep_own(
    images: &mut Vec<image::Image>,
    settings: &Settings,
    work: &mut Work<'_>,
) -> Result<BTreeMap<String, usize>, Error> {
    let mut others = BTreeMap::new();
    let mut named: BTreeMap<String, PathBuf> = BTreeMap::new();
    for image in images.iter() {
        if let Some(disk) = disk_of(image) {
            named.entry(disk).or_insert_with(|| image.path.clone());
        }
    }
    if let Some(own) = settings.own_disk() {
        images.retain(|image| match disk_of(image).filter(|disk| disk != own) {
            Some(other) => {
                *others.entry(other).or_insert(0) += 1;
                false
            }
            None => true,
        });
        // Of images that say no disk, those that are called as it is, if any are.
        if images.iter().any(|image| has_word(&image.path, own)) {
            images.retain(|image| match guest_of(image).filter(|_| !has_word(&image.path, own)) {
                Some(other) if disk_of(image).is_none() => {
                    *others.entry(other).or_insert(0) += 1;
                    false
                }
                _ => true,
            });
        }
        return Ok(others);
    }
    let guests: BTreeMap<String, PathBuf> =
        images.iter().rev().filter_map(|image| Some((guest_of(image)?, image.path.clone()))).collect();
    let name = &work.source.name;
    if named.len() > 1 {
        let disks = named.into_iter().collect();
        return Err(Error::SeveralDisks { name: name.clone(), disks });
    }
    let says_disk = !named.is_empty();
    if let Some((disk, path)) = named.into_iter().next()
        && let Some((known, image)) = indexed(disk_of, settings, work)?
        && known != disk
    {
        return Err(Error::OtherDisk { name: work.source.name.clone(), disk, path, known, image });
    }
    if !says_disk && guests.len() > 1 {
        return Err(Error::SeveralDisks { name: name.clone(), disks: guests.into_iter().collect() });
    }
    if let (false, Some((guest, path))) = (says_disk, guests.into_iter().next())
        && let Some((known, image)) = indexed(guest_of, settings, work)?
        && known != guest
    {
        return Err(Error::OtherDisk { name: work.source.name.clone(), disk: guest, path, known, image });
    }
    Ok(others)
}

/// Returns the disk or guest that the newest generation is of that says so, and its image.
fn indexed(
    of: fn(&image::Image) -> Option<String>,
    settings: &Settings,
    work: &mut Work<'_>,
) -> Result<Option<(String, PathBuf)>, Error> {
    let source = work.source.id;
    for at in work.writer().instants(source)?.into_iter().rev() {
        let Some(file) = work.writer().image_files(source, at)?.into_iter().next() else { continue };
        let folder = file.path.parent().unwrap_or(Path::new("/")).to_owned();
        if let Some(told) = settings.open(&file.path, &[folder]).ok().and_then(|image| of(&image)) {
            return Ok(Some((told, file.path)));
        }
    }
    Ok(None)
}
