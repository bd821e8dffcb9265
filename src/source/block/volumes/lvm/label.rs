//! What a physical volume says of itself: its label, where its areas are, and the newest text in them.
//!
//! Promises: label, header of the area and text hold their checksums, or the area is passed over and that is told.
//!
//! Source of the format: `lib/label/label.h`, `lib/format_text/layout.h` and `lib/misc/crc.c` of LVM2 2.03.

use super::text::{self, Section};
use crate::source::block::bytes::{self, Fields};
use crate::source::block::{Device, Error};

const SECTOR_BYTES: u64 = 512;

/// The label is in one of these sectors.
const LABEL_SECTORS: u64 = 4;

/// Entries of a list of areas that are read; LVM writes two areas at the most.
const AREAS_MAX: usize = 16;

/// The longest text that is read; LVM's own areas have 1 MiB unless asked for more.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// The header of an area comes in its first 512 bytes; the ring of texts is what follows.
const AREA_HEADER_BYTES: u64 = 512;

/// The area is kept but not written to, so what it holds is old (`RAW_LOCN_IGNORED`).
const IGNORED: u32 = 1;

/// A physical volume.
pub(super) struct Label {
    /// Its id, 32 characters without dashes.
    pub(super) id: String,
    /// The newest text of its areas; none if no area of it has one.
    pub(super) text: Option<Section>,
    /// What is wrong with areas of it.
    pub(super) trouble: Vec<String>,
}

/// Returns the CRC that LVM uses: the usual polynomial, a start value of its own, and no inversion.
pub(in crate::source::block::volumes) fn crc(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    hasher.update(bytes);
    !hasher.finalize()
}

/// Returns the label of `device`; nothing if it has none.
///
/// # Errors
/// If there is one and it is damaged.
pub(super) fn read(device: &dyn Device) -> Result<Option<Label>, Error> {
    for number in 0..LABEL_SECTORS.min(device.size_bytes() / SECTOR_BYTES) {
        let sector = bytes::read(device, number * SECTOR_BYTES, SECTOR_BYTES)?;
        if sector.starts_with(b"LABELONE") && sector[24..32] == *b"LVM2 001" {
            return read_label(device, number, &sector).map(Some);
        }
    }
    Ok(None)
}

fn read_label(device: &dyn Device, number: u64, sector: &[u8]) -> Result<Label, Error> {
    let fields = Fields { bytes: sector, what: "label of the physical volume" };
    if fields.le64(8)? != number || fields.le32(16)? != crc(&sector[20..]) {
        let at = number * SECTOR_BYTES;
        return Err(Error::Damaged(format!(
            "the label at byte {at} does not have the place and checksum that it says"
        )));
    }
    let header = fields.le32(20)? as usize;
    let id = String::from_utf8_lossy(fields.slice(header, 32)?).into_owned();
    let data = areas(fields, header.saturating_add(40))?;
    let metadata = areas(fields, header.saturating_add(40 + 16 * (data.len() + 1)))?;
    let mut label = Label { id, text: None, trouble: Vec::new() };
    for (at, length) in metadata {
        match read_area(device, at, length) {
            Ok(Some(text)) if seqno(Some(&text)) >= seqno(label.text.as_ref()) => label.text = Some(text),
            Ok(_) => {}
            Err(error) => label.trouble.push(error.to_string()),
        }
    }
    Ok(label)
}

/// Returns the number that tells which of two texts is the newer; 0 for none.
pub(super) fn seqno(text: Option<&Section>) -> u64 {
    let group = text.and_then(|text| text.values().find_map(|value| value.as_section()));
    group.and_then(|group| group.get("seqno")?.as_number()).unwrap_or(0)
}

/// Returns a list of places and lengths that ends with a place of 0.
fn areas(fields: Fields<'_>, start: usize) -> Result<Vec<(u64, u64)>, Error> {
    let mut areas = Vec::new();
    for index in 0..AREAS_MAX {
        let entry = start.saturating_add(16 * index);
        match (fields.le64(entry)?, fields.le64(entry.saturating_add(8))?) {
            (0, _) => return Ok(areas),
            area => areas.push(area),
        }
    }
    Err(Error::Damaged(format!("the {} lists more than {AREAS_MAX} areas", fields.what)))
}

/// Returns the text that the area says is in force; nothing if the area is empty or ignored.
fn read_area(device: &dyn Device, at: u64, length: u64) -> Result<Option<Section>, Error> {
    let header = bytes::read(device, at, AREA_HEADER_BYTES)?;
    let what = format!("metadata area at byte {at}");
    let fields = Fields { bytes: &header, what: &what };
    let damaged = |text: String| Err(Error::Damaged(format!("the {what} {text}")));
    if fields.le32(0)? != crc(&header[4..]) || fields.slice(4, 16)? != b" LVM2 x[5A%r0N*>" {
        return damaged("does not have the mark and checksum of one".to_owned());
    }
    let (version, start, ring_end) = (fields.le32(20)?, fields.le64(24)?, fields.le64(32)?);
    if version != 1 || start != at || ring_end != length {
        return damaged(format!("says version {version}, byte {start}, {ring_end} bytes, and has {length} bytes"));
    }
    let (offset, size) = (fields.le64(40)?, fields.le64(48)?);
    let (checksum, flags) = (fields.le32(56)?, fields.le32(60)?);
    if offset == 0 || size == 0 || flags & IGNORED != 0 {
        return Ok(None);
    }
    let ring_bytes = ring_end.saturating_sub(AREA_HEADER_BYTES);
    if !(AREA_HEADER_BYTES..ring_end).contains(&offset) || size > ring_bytes || size > TEXT_BYTES_MAX {
        return damaged(format!("says that its text is {size} bytes at byte {offset} of it"));
    }
    let text = read_wrapped(device, at, ring_end, offset, size)?;
    if crc(&text) != checksum {
        return damaged("has a text without the checksum that it says".to_owned());
    }
    text::parse(&text).map(Some)
}

/// Reads `size` bytes of the ring from `offset` of the area on; behind its end it goes on after the header.
fn read_wrapped(device: &dyn Device, at: u64, ring_end: u64, offset: u64, size: u64) -> Result<Vec<u8>, Error> {
    let until_end = size.min(ring_end - offset);
    let mut text = bytes::read(device, at.saturating_add(offset), until_end)?;
    text.extend(bytes::read(device, at.saturating_add(AREA_HEADER_BYTES), size - until_end)?);
    Ok(text)
}
