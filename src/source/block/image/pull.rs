//! Increments of pull backups: a raw file `NAME.raw` with the bytes that changed in their places, and beside it a map
//! `NAME.json` that says which they are.
//!
//! Promises: a raw file beside a map is read by the map, and never as a whole disk because the map is damaged. Of a file
//! named `.json` that is no map (an object without `dirty`), nothing is believed.
//!
//! The map is one JSON object: `size` of the disk, `dirty` and `zero` as lists of `[offset, length]`, all in bytes. What is
//! dirty is told by this generation, of that what is also in `zero` as zeros; what `zero` says of the rest is passed over
//! (NBD's `base:allocation` tells of the whole disk). `bitmap` names the bitmap that the changes come from.

use super::error::Error;
use super::gate::{self, Opened, Why};
use super::model::{Image, Kind, Moment, Parent};
use super::pieces::{Budget, Pieces, TooMany};
use crate::model::{Layer, LayerBytes, LayerExtent, Level};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What maps of our own say in `format`.
const FORMAT: &str = "asof-pull";
const VERSION: u32 = 1;
/// 2.5 million ranges or so; at a bitmap grain of 64 KiB, all of 160 GiB in the worst case.
const MAP_BYTES_MAX: u64 = 64 << 20;

/// What a map says. Fields that it does not have here are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullMap {
    /// `asof-pull` for maps of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The version of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The size of the disk in bytes.
    pub size: u64,
    /// The bitmap that the changes come from; none if everything was read.
    #[serde(default)]
    pub bitmap: Option<String>,
    /// What this generation tells: offset and length.
    pub dirty: Vec<(u64, u64)>,
    /// What reads as zeros: offset and length.
    #[serde(default)]
    pub zero: Vec<(u64, u64)>,
    /// What is told of the moment.
    #[serde(flatten)]
    pub moment: Moment,
    /// SHA-256 of the whole disk as of this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_sha256: Option<String>,
}

impl PullMap {
    /// Returns a map of our own of a disk of `size` bytes that tells nothing yet.
    pub fn new(size: u64) -> Self {
        Self { format: Some(FORMAT.to_owned()), version: Some(VERSION), size, ..Self::default() }
    }

    /// Returns what it has bytes of: what is dirty and not zero, sorted, with gaps between.
    pub fn data(&self) -> Vec<(u64, u64)> {
        let mut data: Vec<(u64, u64)> = Vec::new();
        let told = split(&joined(&self.dirty), &joined(&self.zero), |offset, length, is_zero| {
            match data.last_mut() {
                _ if is_zero => {}
                Some(last) if last.0 + last.1 == offset => last.1 += length,
                _ => data.push((offset, length)),
            }
            Ok::<(), std::convert::Infallible>(())
        });
        let Ok(()) = told;
        data
    }

    /// Returns the map as it is stored, one line of JSON.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("numbers and text have a form in JSON");
        text.push('\n');
        text
    }
}

/// Returns the map beside a raw file, none if there is none.
pub(super) fn load_map(opened: &Opened, folders: &[PathBuf]) -> Result<Option<PullMap>, Error> {
    if opened.file.path.extension().is_none_or(|extension| extension != "raw") {
        return Ok(None);
    }
    let path = opened.file.path.with_extension("json");
    match gate::open(&path, folders) {
        Ok(map) => parse_map(&map),
        Err(Why::Missing) => Ok(None),
        Err(why) => {
            let file = format!("its map {:?}", path.file_name().unwrap_or_default());
            Err(Error::File { image: opened.file.path.clone(), file, why })
        }
    }
}

/// What an image is followed by, as far as it is of any kind of ours: that of a map, or the note of an image that QEMU pushed.
#[derive(Deserialize)]
struct Sidecar {
    #[serde(flatten)]
    moment: Moment,
}

/// Returns what the file beside an image tells of its moment; none if there is none that can be read. It is not looked at what it says of
/// bytes.
pub fn sidecar(image: &std::path::Path, folders: &[PathBuf]) -> Option<Moment> {
    let opened = gate::open(&image.with_extension("json"), folders).ok()?;
    let size_bytes = opened.device.size_bytes;
    let text = opened.read(0, size_bytes).ok().filter(|_| size_bytes <= MAP_BYTES_MAX)?;
    Some(serde_json::from_slice::<Sidecar>(&text).ok()?.moment)
}

fn parse_map(file: &Opened) -> Result<Option<PullMap>, Error> {
    let size_bytes = file.device.size_bytes;
    if size_bytes > MAP_BYTES_MAX {
        return Err(file.unsupported(format!("it is a map of {size_bytes} bytes")));
    }
    let text = file.read(0, size_bytes)?;
    let wrong = |error: serde_json::Error| file.damaged(format!("it is beside a raw file and no map: {error}"));
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(wrong)?;
    if value.get("dirty").is_none() && value.get("format").is_none_or(|format| format != FORMAT) {
        return Ok(None);
    }
    let map: PullMap = serde_json::from_value(value).map_err(wrong)?;
    if map.format.as_deref() == Some(FORMAT) && map.version.unwrap_or(VERSION) > VERSION {
        return Err(file.unsupported(format!("it is a map of version {}", map.version.unwrap_or(VERSION))));
    }
    Ok(Some(map))
}

/// Turns a map into a layer.
pub(super) fn open(opened: Opened, map: PullMap) -> Result<Image, Error> {
    opened.check_disk(map.size)?;
    let dirty = sort_ranges(&opened, "dirty", &map.dirty, map.size)?;
    let zero = sort_ranges(&opened, "zero", &map.zero, map.size)?;
    let mut pieces = Pieces::new(map.size);
    // The map's own length limits the ranges; a raw file that holds nothing but zeros may be short.
    let mut budget = Budget::of(map.size);
    split(&dirty, &zero, |offset, length, is_zero| {
        if !is_zero && offset + length > opened.device.size_bytes {
            return Err(opened.cut(format!("its map describes {length} bytes at byte {offset}")));
        }
        let bytes = if is_zero { LayerBytes::Zero } else { LayerBytes::Plain { file: 0, at: offset } };
        let added = pieces.add(&mut budget, LayerExtent { offset, length, bytes });
        added.map_err(|TooMany| opened.unsupported("its map has more ranges than its length can have"))
    })?;

    // Whoever reads an increment as a whole disk shows zeros for what did not change: a map without the name of a bitmap
    // is of a whole disk only if it tells all of it.
    let whole = map.size == 0 || dirty == [(0, map.size)];
    let full = whole && map.bitmap.is_none();
    let layer = Layer { size_bytes: map.size, files: vec![opened.file.clone()], extents: pieces.finish() };
    let parent = if full { Parent::None } else { Parent::Given };
    let mut image = Image::new(&opened, Kind::Pull, layer, parent);
    image.level = Some(if full { Level::Full } else { Level::Incremental });
    image.moment = map.moment;
    Ok(image)
}

/// Returns ranges in order, those that touch as one.
fn sort_ranges(opened: &Opened, name: &str, ranges: &[(u64, u64)], size: u64) -> Result<Vec<(u64, u64)>, Error> {
    for (offset, length) in ranges {
        if offset.checked_add(*length).is_none_or(|end| end > size) {
            return Err(opened
                .damaged(format!("its map calls {length} bytes at byte {offset} {name}, on a disk of {size} bytes")));
        }
    }
    Ok(joined(ranges))
}

/// Returns ranges that do not overflow in order, those that touch as one.
fn joined(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
    for (offset, length) in sorted {
        match out.last_mut() {
            Some((from, so_far)) if offset <= *from + *so_far => *so_far = (*so_far).max(offset + length - *from),
            _ => out.push((offset, length)),
        }
    }
    out
}

/// Calls `each` for the parts of `dirty` that lie in `zero` and for those that do not, in order.
fn split<E>(
    dirty: &[(u64, u64)],
    zero: &[(u64, u64)],
    mut each: impl FnMut(u64, u64, bool) -> Result<(), E>,
) -> Result<(), E> {
    for (offset, length) in dirty {
        let end = offset + length;
        let mut at = *offset;
        let first = zero.partition_point(|(from, length)| from + length <= at);
        for (from, length) in zero.iter().skip(first).take_while(|(from, _)| *from < end) {
            if at < *from {
                each(at, from - at, false)?;
            }
            let until = (from + length).min(end);
            each(at.max(*from), until - at.max(*from), true)?;
            at = until;
        }
        if at < end {
            each(at, end - at, false)?;
        }
    }
    Ok(())
}
