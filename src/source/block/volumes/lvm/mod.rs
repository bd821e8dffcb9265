//! LVM: physical volumes among the volumes of a disk, and the logical volumes in them.
//!
//! Promises: a logical volume is listed only if all of its bytes lie on this disk, one after the other (`linear`). Every
//! other one that an admin would see in `lvs` is a note with its name and what it is, so that none is missed in silence. A
//! physical volume itself is a member and not a volume.
//! Never trusts a text: a name that cannot be one directory, a range outside of the physical volume, a gap are notes.
//!
//! Source of the format: `lib/format_text/import_vsn1.c` of LVM2 2.03, and `lvmthin(7)`, `lvmraid(7)` for what the types are.

mod label;
mod text;

use super::volume::{Piece, Volume, VolumeDevice, Volumes};
use crate::model::EntryName;
use crate::source::block::{Device, Error};
use label::Label;
#[cfg(test)]
pub(super) use label::crc;
use std::collections::BTreeMap;
use std::sync::Arc;
use text::{Section, Value};

const SECTOR_BYTES: u64 = 512;

/// Where a physical volume lies on the disk.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    length: u64,
}

/// A physical volume as the text of its group says, if it is on this disk.
struct Store {
    place: Place,
    /// Where its first extent begins, and how many it has.
    start: u64,
    extents: u64,
}

/// Why a logical volume is not listed.
enum Refusal {
    /// It is part of another one; `lvs` without `-a` does not show it.
    Hidden,
    /// For this reason.
    Because(String),
}

/// Takes the physical volumes out of `found` and adds the logical volumes that are wholly in them.
pub(super) fn expand(device: &Arc<dyn Device>, found: &mut Volumes) {
    let mut places = BTreeMap::new();
    let mut texts: BTreeMap<String, Section> = BTreeMap::new();
    for volume in std::mem::take(&mut found.volumes) {
        match label::read(&VolumeDevice { device: device.clone(), volume: volume.clone() }) {
            Ok(Some(label)) => {
                let what = take_label(&volume, label, &mut places, &mut texts, &mut found.notes);
                found.members.push((volume, what));
            }
            Err(Error::Damaged(text)) => {
                found.notes.push((volume.name.clone(), text));
                found.volumes.push(volume);
            }
            Ok(None) | Err(_) => found.volumes.push(volume),
        }
    }
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for (id, text) in &texts {
        for (name, value) in text {
            let Some(group) = value.as_section() else { continue };
            let place = format!("lvm/{}", shown(name));
            if EntryName::new(name.as_bytes()).is_err() {
                found.notes.push((place, "is a name that no directory can have; not read".to_owned()));
                continue;
            }
            if let Some(first) = names.insert(name, id) {
                let what =
                    format!("is the name of the group {} too, which is read; {} is not", shown(first), shown(id));
                names.insert(name, first);
                found.notes.push((place, what));
                continue;
            }
            if let Err(error) = add_group(&place, group, &places, found) {
                found.notes.push((place, error.to_string()));
            }
        }
    }
}

/// Takes in what a physical volume says, and returns what it is.
fn take_label(
    volume: &Volume,
    label: Label,
    places: &mut BTreeMap<String, Option<Place>>,
    texts: &mut BTreeMap<String, Section>,
    notes: &mut Vec<(String, String)>,
) -> String {
    let mut note = |text: String| notes.push((volume.name.clone(), text));
    label.trouble.into_iter().for_each(&mut note);
    if let Some(piece) = volume.pieces.first() {
        let place = Place { at: piece.at, length: volume.size_bytes() };
        // Which of two copies is meant nobody can tell, so neither is read.
        if places.insert(label.id.clone(), Some(place)).is_some() {
            note(format!("has the id {} of another physical volume here; neither is read", shown(&label.id)));
            places.insert(label.id.clone(), None);
        }
    }
    let Some(text) = label.text else {
        return "is an LVM physical volume without a volume group".to_owned();
    };
    let Some((name, group)) = text.iter().find(|(_, value)| value.as_section().is_some()) else {
        return "is an LVM physical volume whose text names no volume group".to_owned();
    };
    let what = format!("is an LVM physical volume of group \"{}\"", shown(name));
    let group_id = group.as_section().and_then(|group| group.get("id")?.as_text()).unwrap_or_default().to_owned();
    if label::seqno(Some(&text)) >= label::seqno(texts.get(&group_id)) {
        texts.insert(group_id, text);
    }
    what
}

fn add_group(
    place: &str,
    group: &Section,
    places: &BTreeMap<String, Option<Place>>,
    found: &mut Volumes,
) -> Result<(), Error> {
    let extent_bytes = number(group, "extent_size")?.checked_mul(SECTOR_BYTES).filter(|bytes| *bytes > 0);
    let Some(extent_bytes) = extent_bytes else {
        return Err(Error::Damaged("has extents of no size that a disk can have".to_owned()));
    };
    let stores = stores(group, places)?;
    let absent = stores.values().filter(|store| store.is_none()).count();
    if absent > 0 {
        let text = format!("{absent} of its {} physical volumes are not on this disk", stores.len());
        found.notes.push((place.to_owned(), text));
    }
    let Some(volumes) = group.get("logical_volumes").and_then(Value::as_section) else {
        return Ok(());
    };
    let snapshots = snapshots(volumes);
    for (name, value) in volumes {
        let Some(section) = value.as_section() else { continue };
        let full_name = format!("{place}/{}", shown(name));
        let pieces = match snapshots.get(name.as_str()) {
            Some(text) => Err(Refusal::Because(text.clone())),
            None => pieces(section, extent_bytes, &stores),
        };
        match pieces {
            Err(Refusal::Hidden) => {}
            Err(Refusal::Because(text)) => found.notes.push((full_name, text)),
            Ok(_) if EntryName::new(name.as_bytes()).is_err() => {
                found.notes.push((full_name, "is a name that no directory can have; not read".to_owned()));
            }
            Ok(pieces) => found.volumes.push(Volume { name: full_name, label: "LVM linear".to_owned(), pieces }),
        }
    }
    Ok(())
}

/// Returns the physical volumes by the name that the text has for them; none for one that is not on this disk.
fn stores<'a>(
    group: &'a Section,
    places: &BTreeMap<String, Option<Place>>,
) -> Result<BTreeMap<&'a str, Option<Store>>, Error> {
    let mut stores = BTreeMap::new();
    let listed = group.get("physical_volumes").and_then(Value::as_section);
    for (name, value) in listed.into_iter().flatten() {
        let Some(section) = value.as_section() else { continue };
        let id = section.get("id").and_then(Value::as_text).unwrap_or_default().replace('-', "");
        let start = number(section, "pe_start")?.checked_mul(SECTOR_BYTES);
        let start = start.ok_or_else(|| Error::Damaged(format!("says that {} starts past every end", shown(name))))?;
        let extents = number(section, "pe_count")?;
        stores.insert(name.as_str(), places.get(&id).copied().flatten().map(|place| Store { place, start, extents }));
    }
    Ok(stores)
}

/// Returns what old-style snapshots make unreadable by itself, by name with what it is. What keeps their changed blocks is
/// laid out like an ordinary volume; that it is none is told only by a hidden volume whose segment names it
/// (`lib/snapshot/snapshot.c`). While a snapshot is merged, the origin is a mixture of both.
fn snapshots(volumes: &Section) -> BTreeMap<&str, String> {
    let sections = volumes.values().filter_map(Value::as_section);
    let segments = sections.flat_map(|volume| volume.values().filter_map(Value::as_section));
    let mut found = BTreeMap::new();
    for segment in segments {
        let name = |key: &str| segment.get(key).and_then(Value::as_text);
        let Some(origin) = name("origin") else { continue };
        if let Some(store) = name("cow_store").or_else(|| name("merging_store")) {
            found.insert(store, format!("is a snapshot of \"{}\"; not read", shown(origin)));
        }
        if let Some(store) = name("merging_store") {
            found.insert(origin, format!("is taking back its snapshot \"{}\"; not read", shown(store)));
        }
    }
    found
}

/// Returns where the bytes of a logical volume are.
fn pieces(volume: &Section, extent_bytes: u64, stores: &BTreeMap<&str, Option<Store>>) -> Result<Vec<Piece>, Refusal> {
    let status = volume.get("status").map(Value::as_list).unwrap_or_default();
    if !status.iter().any(|word| word.as_text() == Some("VISIBLE")) {
        return Err(Refusal::Hidden);
    }
    let mut segments: Vec<_> = volume.iter().filter(|(name, _)| name.starts_with("segment")).collect();
    segments.retain(|(_, value)| value.as_section().is_some());
    let mut pieces = Vec::new();
    for (name, value) in segments {
        let Some(segment) = value.as_section() else { continue };
        let piece = piece(segment, extent_bytes, stores);
        pieces.push(piece.map_err(|text| Refusal::Because(format!("{}: {text}", shown(name))))?);
    }
    pieces.sort_by_key(|piece: &Piece| piece.offset);
    joined(pieces)
}

/// Joins neighbours, which must follow each other without gap from offset 0 on.
fn joined(pieces: Vec<Piece>) -> Result<Vec<Piece>, Refusal> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        let end = joined.last().map_or(0, |last| last.offset + last.length);
        if piece.offset != end {
            let text = format!("has a segment at byte {} where byte {end} should follow", piece.offset);
            return Err(Refusal::Because(text));
        }
        match joined.last_mut() {
            Some(last) if last.at + last.length == piece.at => last.length += piece.length,
            _ => joined.push(piece),
        }
    }
    if joined.is_empty() { Err(Refusal::Because("has no segment".to_owned())) } else { Ok(joined) }
}

fn piece(segment: &Section, extent_bytes: u64, stores: &BTreeMap<&str, Option<Store>>) -> Result<Piece, String> {
    let kind = segment.get("type").and_then(Value::as_text).unwrap_or("without a type");
    if kind != "striped" && kind != "linear" {
        return Err(format!("is of type {}; only linear ones are read", shown(kind)));
    }
    let read = |key: &str| number(segment, key).map_err(|error| error.to_string());
    let stripes = read("stripe_count")?;
    if stripes != 1 {
        return Err(format!("has {stripes} stripes; only linear ones are read"));
    }
    let [store, first] = segment.get("stripes").map(Value::as_list).unwrap_or_default() else {
        return Err("does not say one place".to_owned());
    };
    let (store, first) = store.as_text().zip(first.as_number()).ok_or("does not say a place")?;
    let Some(known) = stores.get(store) else {
        return Err(format!("lies on \"{}\", which is not a physical volume", shown(store)));
    };
    let store = known.as_ref().ok_or_else(|| format!("lies on {}, which is not on this disk", shown(store)))?;
    let (offset, count) = (read("start_extent")?, read("extent_count")?);
    place(store, offset, first, count, extent_bytes)
        .ok_or_else(|| format!("{count} extents from {first} on are not on its physical volume"))
}

/// Returns the bytes of `count` extents from `first` of a physical volume on.
fn place(store: &Store, offset: u64, first: u64, count: u64, extent_bytes: u64) -> Option<Piece> {
    let end = first.checked_add(count).filter(|end| count > 0 && *end <= store.extents)?;
    let end = end.checked_mul(extent_bytes)?.checked_add(store.start)?;
    let start = first.checked_mul(extent_bytes)?.checked_add(store.start)?;
    let offset = offset.checked_mul(extent_bytes)?;
    let length = end - start;
    offset.checked_add(length)?;
    (end <= store.place.length).then(|| Piece { offset, at: store.place.at + start, length })
}

fn number(section: &Section, key: &str) -> Result<u64, Error> {
    let value = section.get(key).and_then(Value::as_number);
    value.ok_or_else(|| Error::Damaged(format!("does not say a number as {key}")))
}

fn shown(text: &str) -> std::borrow::Cow<'_, str> {
    crate::model::escape_bytes(text.as_bytes())
}
