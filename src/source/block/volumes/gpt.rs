//! The GUID partition table.
//!
//! Promises: both checksums hold for what is taken from a table; the backup is taken when the primary one is bad, and that
//! is told. Sectors of 512 and 4096 bytes, whichever has a table: an image does not say what its disk had. Whether the
//! protective MBR is there is not asked of a good table.
//!
//! Source of the format: UEFI specification 2.10, section 5.3.

use super::identify;
use super::volume::{Piece, Volume, Volumes};
use crate::model::escape_bytes;
use crate::source::block::bytes::{self, Fields};
use crate::source::block::{Device, Error};

/// The most that all entries take together; 16 KiB is what every tool writes.
const ENTRIES_BYTES_MAX: u64 = 4 << 20;

/// Types by name; what `gdisk` and the Discoverable Partitions Specification call them.
const TYPES: [(&str, &str); 27] = [
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system"),
    ("21686148-6449-6e6f-744e-656564454649", "BIOS boot"),
    ("024dee41-33e7-11d3-9d69-0008c781f39f", "MBR scheme"),
    ("9e1a2d38-c612-4316-aa26-8b49521e5a8b", "PowerPC PReP boot"),
    ("0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux filesystem"),
    ("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap"),
    ("e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM"),
    ("a19d880f-05fc-4d3b-a006-743f0f84911e", "Linux RAID"),
    ("ca7d7ccb-63ed-4c53-861c-1742536059cc", "Linux LUKS"),
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", "Linux home"),
    ("3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "Linux srv"),
    ("4d21b016-b534-45c2-a9fb-5c16e091fd2d", "Linux var"),
    ("7ec6f557-3bc5-4aca-b293-16ef5df639d1", "Linux tmp"),
    ("8da63339-0007-60c0-c436-083ac8230908", "Linux reserved"),
    ("bc13c2ff-59e6-4262-a352-b275fd6f7172", "Linux extended boot"),
    ("44479540-f297-41b2-9af7-d131d5f0458a", "Linux root x86"),
    ("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "Linux root x86-64"),
    ("b921b045-1df0-41c3-af44-4c6f280d3fae", "Linux root arm64"),
    ("8484680c-9521-48c6-9c11-b0720656f69e", "Linux usr x86-64"),
    ("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data"),
    ("e3c9e316-0b5c-4db8-817d-f92df00215ae", "Microsoft reserved"),
    ("de94bba4-06d1-4d40-a16a-bfd50179d6ac", "Windows recovery"),
    ("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "Microsoft LDM metadata"),
    ("af9b60a0-1431-4f62-bc68-3311714a69ad", "Microsoft LDM data"),
    ("516e7cb6-6ecf-11d6-8ff8-00022d09712b", "FreeBSD UFS"),
    ("516e7cba-6ecf-11d6-8ff8-00022d09712b", "FreeBSD ZFS"),
    ("7c3457ef-0000-11aa-aa11-00306543ecac", "Apple APFS"),
];

/// A header whose checksum holds.
struct Header {
    sector_bytes: u64,
    entries_at: u64,
    entry_count: u32,
    entry_bytes: u32,
    entries_crc: u32,
}

/// Returns the partitions of `device`; nothing if it has no such table.
///
/// A protective MBR without a table that can be read gives a note and no volume.
pub(super) fn find(device: &dyn Device, first_sector: &[u8]) -> Option<Volumes> {
    let mut trouble = Vec::new();
    for (backup, sector_bytes) in [(false, 512), (false, 4096), (true, 512), (true, 4096)] {
        match read_table(device, sector_bytes, backup) {
            Ok(None) => {}
            Err(error) => trouble.push(error.to_string()),
            Ok(Some(_)) if backup && is_stale(device, first_sector) => {
                return None;
            }
            Ok(Some((header, entries))) => {
                let mut found = Volumes::default();
                if backup {
                    trouble.push(
                        "the primary table is not usable, the backup at the end of the disk was taken".to_owned(),
                    );
                }
                found.notes.extend(trouble.into_iter().map(|text| ("gpt".to_owned(), text)));
                list(device, &header, &entries, &mut found);
                return Some(found);
            }
        }
    }
    let lost = is_protective(first_sector) && !has_file_system(device, first_sector);
    lost.then(|| {
        trouble.push("a protective MBR announces a table, and there is none that can be read".to_owned());
        let notes = trouble.into_iter().map(|text| ("gpt".to_owned(), text)).collect();
        Volumes { notes, ..Volumes::default() }
    })
}

/// Tells whether only the end of the disk still has a table: `mkfs` on the whole disk clears its beginning and no more.
fn is_stale(device: &dyn Device, first_sector: &[u8]) -> bool {
    !is_protective(first_sector) && has_file_system(device, first_sector)
}

fn has_file_system(device: &dyn Device, first_sector: &[u8]) -> bool {
    identify::boot_sector(first_sector).is_some() || identify::identify(device).is_some()
}

/// Tells whether the only partition of the MBR is the one that stands for a GPT.
fn is_protective(first_sector: &[u8]) -> bool {
    let types = [450, 466, 482, 498].map(|at| first_sector.get(at).copied().unwrap_or(0));
    first_sector.ends_with(&[0x55, 0xaa]) && types.contains(&0xee) && types.iter().all(|kind| [0, 0xee].contains(kind))
}

fn read_table(device: &dyn Device, sector_bytes: u64, backup: bool) -> Result<Option<(Header, Vec<u8>)>, Error> {
    let last = (device.size_bytes() / sector_bytes).saturating_sub(1);
    let lba = if backup { last } else { 1 };
    if lba == 0 || lba > last {
        return Ok(None);
    }
    let sector = bytes::read(device, lba * sector_bytes, sector_bytes)?;
    if !sector.starts_with(b"EFI PART") {
        return Ok(None);
    }
    let which = if backup { "backup" } else { "primary" };
    let what = format!("{which} GPT header at byte {}", lba * sector_bytes);
    let header = read_table_header(Fields { bytes: &sector, what: &what }, lba, sector_bytes)?;
    let length = u64::from(header.entry_count) * u64::from(header.entry_bytes);
    let entries = bytes::read(device, header.entries_at, length)?;
    if crc32fast::hash(&entries) != header.entries_crc {
        return Err(Error::Damaged(format!("the entries of the {what} do not have the checksum that it says")));
    }
    Ok(Some((header, entries)))
}

fn read_table_header(fields: Fields<'_>, lba: u64, sector_bytes: u64) -> Result<Header, Error> {
    let what = fields.what;
    let damaged = |text: &str| Err(Error::Damaged(format!("{what} {text}")));
    let header_bytes = fields.le32(12)? as usize;
    if !(92..=sector_bytes as usize).contains(&header_bytes) {
        return damaged(&format!("says that it has {header_bytes} bytes"));
    }
    let mut summed = fields.slice(0, header_bytes)?.to_vec();
    summed[16..20].fill(0);
    if crc32fast::hash(&summed) != fields.le32(16)? {
        return damaged("does not have the checksum that it says");
    }
    if fields.le64(24)? != lba {
        return damaged(&format!("says that it is sector {} and is {lba}", fields.le64(24)?));
    }
    let (entry_count, entry_bytes) = (fields.le32(80)?, fields.le32(84)?);
    let too_long = u64::from(entry_count) * u64::from(entry_bytes) > ENTRIES_BYTES_MAX;
    if entry_bytes < 128 || !entry_bytes.is_power_of_two() || too_long {
        return damaged(&format!("says {entry_count} entries of {entry_bytes} bytes"));
    }
    let Some(entries_at) = fields.le64(72)?.checked_mul(sector_bytes) else {
        return damaged("says that its entries are past the end of every disk");
    };
    Ok(Header { sector_bytes, entries_at, entry_count, entry_bytes, entries_crc: fields.le32(88)? })
}

fn list(device: &dyn Device, header: &Header, entries: &[u8], found: &mut Volumes) {
    for (index, entry) in entries.chunks_exact(header.entry_bytes as usize).enumerate() {
        let name = format!("p{}", index + 1);
        let fields = Fields { bytes: entry, what: &name };
        match volume(device, header, fields) {
            Ok(None) => {}
            Ok(Some(volume)) => found.volumes.push(volume),
            Err(error) => found.notes.push((name, error.to_string())),
        }
    }
}

fn volume(device: &dyn Device, header: &Header, entry: Fields<'_>) -> Result<Option<Volume>, Error> {
    let kind = entry.slice(0, 16)?;
    if kind.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let (first, last) = (entry.le64(32)?, entry.le64(40)?);
    let range = || {
        let at = first.checked_mul(header.sector_bytes)?;
        let end = last.checked_add(1)?.checked_mul(header.sector_bytes)?;
        (first <= last && end <= device.size_bytes()).then(|| Piece { offset: 0, at, length: end - at })
    };
    let Some(piece) = range() else {
        let size = device.size_bytes();
        return Err(Error::Damaged(format!(
            "sectors {first} to {last} of {} bytes do not lie on the disk of {size} bytes; not read",
            header.sector_bytes
        )));
    };
    let label = label(&type_name(entry)?, entry.slice(56, 72)?);
    Ok(Some(Volume { name: entry.what.to_owned(), label, pieces: vec![piece] }))
}

fn type_name(entry: Fields<'_>) -> Result<String, Error> {
    let node = entry.slice(8, 8)?;
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (start, end) = node.split_at(2);
    let (low, middle, high) = (entry.le32(0)?, entry.le16(4)?, entry.le16(6)?);
    let guid = format!("{low:08x}-{middle:04x}-{high:04x}-{}-{}", digits(start), digits(end));
    let known = TYPES.iter().find(|(known, _)| *known == guid);
    Ok(known.map_or(guid, |(_, name)| (*name).to_owned()))
}

/// Returns the type and, if the partition has a name, that in quotes.
fn label(kind: &str, name: &[u8]) -> String {
    let units = name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).take_while(|unit| *unit != 0);
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    match text.as_str() {
        "" => kind.to_owned(),
        text => format!("{kind} \"{}\"", escape_bytes(text.as_bytes())),
    }
}
