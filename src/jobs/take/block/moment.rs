//! All disks of a guest become one generation: of each an image of the same moment.
//!
//! They are one layer: disk number n begins at byte n * 2^56 of it ([`disk_begin`]), so whatever holds for the layers of one disk holds for
//! all of them at once. What one disk lacks is in the generation below, if its increment counts from that one; a disk that
//! is full beside increments, or whose increment counts from another generation, is told as a whole.
//!
//! Promises: an image is put on a generation that has that disk, and on no other. A disk whose image cannot be used is missing in the
//! generation, by name and with the reason, and the others are there; a generation of no disk is none.

use super::disk::{
    DiskRows, Error, NewImage, acquire_word, format_word, index_rows, rests_on, told_consistency, told_location,
};
use crate::catalog::{SourceRow, Writer};
use crate::clock::Clock;
use crate::index::{Done, GuestDisk, GuestDisks};
use crate::model::{
    Consistency, DISK_BITS, DiskRow, GUEST_BYTES, Layer, LayerBytes, LayerExtent, Level, Time, chain, disk_begin,
};
use crate::monitor::Monitor;
use crate::source::block::{Location, image};
use crate::store::DiskMap;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The image of one disk.
pub struct DiskImage<'a> {
    /// The disk: its directory.
    pub disk: &'a str,
    /// Its number in the source.
    pub number: usize,
    /// What the image holds.
    pub image: &'a image::Image,
}

/// The images of one moment.
pub struct NewMoment<'a> {
    /// The source.
    pub source: &'a SourceRow,
    /// Of each disk one.
    pub images: Vec<DiskImage<'a>>,
    /// Its instant.
    pub at: Time,
    /// The generation that all of them rest on, where the admin says so.
    pub rests_on: Option<Time>,
    /// Folders that may be read; the images are below one of them.
    pub folders: &'a [PathBuf],
    /// How much the data was at rest, where the caller knows.
    pub consistency: Option<Consistency>,
    /// Where the bytes came from, where the caller knows.
    pub location: Option<&'a Location>,
    /// Whether it takes the place of the generation of this second.
    pub again: bool,
    /// The disks for whose images it takes that place, if that is why: if none of them can be used, nothing is done.
    pub came: &'a BTreeSet<String>,
    /// Whether the images were written just now.
    pub is_fresh: bool,
    /// Disks of which it is known that the guest has them no more.
    pub removed: &'a BTreeSet<String>,
}

/// What a moment has of one disk.
struct Part<'a> {
    one: &'a DiskImage<'a>,
    layer: Layer,
    parent: Option<Time>,
}

/// Indexes the images of a moment as a generation and publishes it. Returns the generation that it rests on, too.
///
/// # Errors
/// [`Error`]; then the catalog is as before.
pub fn index_moment(
    writer: &mut Writer,
    new: &NewMoment<'_>,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<(Done, Option<Time>), Error> {
    let (mut parts, mut amiss, mut first) = (Vec::new(), BTreeMap::new(), None);
    for one in &new.images {
        match part_of(writer, new, one) {
            Ok(part) => parts.push(part),
            Err(e @ Error::Catalog(_)) => return Err(e),
            Err(e) => {
                amiss.insert(one.disk.to_owned(), chain(&e));
                first = first.or(Some(e));
            }
        }
    }
    let is_vain = !new.came.is_empty() && new.came.iter().all(|disk| amiss.contains_key(disk));
    if let (true, Some(e)) = (is_vain || parts.is_empty(), first) {
        return Err(e);
    }
    parts.sort_by_key(|part| part.one.number);
    let base = parts.iter().filter_map(|part| part.parent).max();
    for part in &mut parts {
        complete(writer, new.source, part, base)?;
    }
    let sizes: Vec<u64> = parts.iter().map(|part| part.layer.size_bytes).collect();
    let layer = combine(&parts)?;
    let main = parts[0].one.image;
    let level = if base.is_some() { Level::Incremental } else { Level::Full };
    let row = DiskRow {
        layer,
        parent: base,
        format: format_word(main.kind).to_owned(),
        acquire: acquire_word(main, level).map(str::to_owned),
        checkpoint: parts.iter().find_map(|part| part.one.image.moment.checkpoint.clone()),
        consistency: new.consistency.or_else(|| told_consistency(main)).map(|how| how.word().to_owned()),
        location: Some(new.location.cloned().unwrap_or_else(|| told_location(main)).as_str().to_owned()),
    };
    let disks = parts.iter().zip(sizes).map(|(part, size_bytes)| GuestDisk {
        name: part.one.disk.to_owned(),
        number: part.one.number,
        size_bytes,
        allocated_bytes: 0,
    });
    let guest = GuestDisks { disks: disks.collect(), amiss, removed: new.removed.clone() };
    // One that is full beside increments is compared byte by byte, as a full generation is.
    let is_compared = parts.iter().any(|part| part.parent.is_none());
    let (store, below) = place_of(&main.path, new.folders);
    let rows = DiskRows {
        source: new.source,
        at: new.at,
        again: new.again,
        place: (store, below.as_os_str().as_bytes()),
        level,
        row: &row,
        guest: Some(guest),
        is_compared,
    };
    Ok((index_rows(writer, rows, clock, monitor)?, base))
}

/// Returns the folder of the source that an image is in, and where in that.
fn place_of<'p>(image: &'p Path, folders: &'p [PathBuf]) -> (&'p Path, &'p Path) {
    let inside = folders.iter().find_map(|folder| Some((folder.as_path(), image.strip_prefix(folder).ok()?)));
    inside.unwrap_or((image, Path::new("")))
}

/// Returns what an image has of its disk, and what that rests on.
fn part_of<'a>(writer: &Writer, new: &NewMoment<'_>, one: &'a DiskImage<'a>) -> Result<Part<'a>, Error> {
    let image = NewImage {
        source: new.source,
        image: one.image,
        disk: Some(one.disk),
        snapshot: None,
        at: new.at,
        rests_on: new.rests_on,
        folders: new.folders,
        acquire: None,
        consistency: None,
        location: None,
        again: new.again,
        is_fresh: new.is_fresh,
    };
    let (mut layer, parent) = rests_on(writer, &image)?;
    let has_map = |other: &DiskImage<'_>| other.image.kind == image::Kind::Pull;
    if one.image.kind == image::Kind::Raw && new.images.iter().any(has_map) {
        return Err(Error::NoMap { image: one.image.path.clone() });
    }
    if layer.size_bytes > 1 << DISK_BITS {
        return Err(Error::TooLarge { image: one.image.path.clone(), size_bytes: layer.size_bytes });
    }
    let mut layers = vec![layer.clone()];
    if let Some(parent) = parent {
        let disks = writer.guest_disks(new.source.id, parent)?;
        let below = disks.into_iter().find(|disk| disk.name == one.disk);
        let below = below.ok_or_else(|| Error::LacksDisk {
            image: one.image.path.clone(),
            disk: one.disk.to_owned(),
            parent,
        })?;
        image::cover_beyond(&mut layer, below.size_bytes);
        layers.extend(writer.disk_layers(new.source.id, parent)?.iter().map(|layer| cut_out(layer, one.number)));
        if layers.len() == 1 {
            return Err(Error::NotWhole { at: parent });
        }
    }
    DiskMap::of(&layers)?.check_files()?;
    Ok(Part { one, layer, parent })
}

/// Has a part say all that the generation `base` would say otherwise, where it does not rest on that.
fn complete(writer: &Writer, source: &SourceRow, part: &mut Part<'_>, base: Option<Time>) -> Result<(), Error> {
    let Some(base) = base.filter(|base| part.parent != Some(*base)) else { return Ok(()) };
    if let Some(parent) = part.parent {
        let below = writer.disk_layers(source.id, parent)?;
        if below.is_empty() {
            return Err(Error::NotWhole { at: base });
        }
        let layers: Vec<Layer> = std::iter::once(part.layer.clone())
            .chain(below.iter().map(|layer| cut_out(layer, part.one.number)))
            .collect();
        part.layer = DiskMap::of(&layers)?.into_layer();
    }
    image::cover_beyond(&mut part.layer, 0);
    Ok(())
}

/// Returns what a layer of all disks says of one of them, with the files that it needs.
pub(super) fn cut_out(layer: &Layer, number: usize) -> Layer {
    let begin = disk_begin(number);
    let first = layer.extents.partition_point(|extent| extent.offset < begin);
    let here = layer.extents[first..].iter().take_while(|extent| extent.offset - begin < 1 << DISK_BITS);
    let mut out = Layer { size_bytes: 1 << DISK_BITS, ..Layer::default() };
    let mut numbers = BTreeMap::new();
    for extent in here {
        let bytes = in_file(extent.bytes, |file| {
            *numbers.entry(file).or_insert_with(|| {
                out.files.push(layer.files[usize::from(file)].clone());
                (out.files.len() - 1) as u16
            })
        });
        out.extents.push(LayerExtent { offset: extent.offset - begin, bytes, ..*extent });
    }
    out
}

/// Puts the disks one behind the other. The first files are their images, in the same order.
fn combine(parts: &[Part<'_>]) -> Result<Layer, Error> {
    let mut all = Layer { size_bytes: GUEST_BYTES, ..Layer::default() };
    all.files = parts.iter().map(|part| part.layer.files[0].clone()).collect();
    for (place, part) in parts.iter().enumerate() {
        let rest = all.files.len();
        all.files.extend_from_slice(&part.layer.files[1..]);
        let renumbered = |file: u16| match file {
            0 => place,
            file => rest + usize::from(file) - 1,
        };
        if u16::try_from(all.files.len() - 1).is_err() {
            return Err(crate::store::Error::TooManyFiles { files: all.files.len() }.into());
        }
        let begin = disk_begin(part.one.number);
        all.extents.extend(part.layer.extents.iter().map(|extent| LayerExtent {
            offset: begin + extent.offset,
            bytes: in_file(extent.bytes, |file| renumbered(file) as u16),
            ..*extent
        }));
    }
    Ok(all)
}

fn in_file(bytes: LayerBytes, mut renumbered: impl FnMut(u16) -> u16) -> LayerBytes {
    match bytes {
        LayerBytes::Zero => LayerBytes::Zero,
        LayerBytes::Plain { file, at } => LayerBytes::Plain { file: renumbered(file), at },
        LayerBytes::Packed { file, at, stored_bytes, unpacked_bytes, skip, packing } => {
            LayerBytes::Packed { file: renumbered(file), at, stored_bytes, unpacked_bytes, skip, packing }
        }
    }
}
