//! The partition table of the PC's master boot record, with logical partitions.
//!
//! Promises: numbers as Linux gives them: 1 to 4 by slot, logical ones from 5 on in the order of their chain. The boot sector
//! of a file system is not taken for a table. A chain of logical partitions that does not end is cut, and that is told.
//!
//! Source of the format and its numbering: `block/partitions/msdos.c` of Linux 6.12. Sectors have 512 bytes here.

use super::identify;
use super::volume::{Piece, Volume, Volumes};
use crate::source::block::bytes::{self, Fields};
use crate::source::block::{Device, Error};
use std::collections::HashSet;

const SECTOR_BYTES: u64 = 512;

/// Links of the chain that are followed; Linux stops after 100 without a partition, `fdisk` writes 56 at the most.
const LINKS_MAX: usize = 256;

/// Types by name; what `sfdisk --list-types` calls them.
const TYPES: [(u8, &str); 18] = [
    (0x01, "FAT12"),
    (0x04, "FAT16 <32M"),
    (0x06, "FAT16"),
    (0x07, "HPFS/NTFS/exFAT"),
    (0x0b, "W95 FAT32"),
    (0x0c, "W95 FAT32 (LBA)"),
    (0x0e, "W95 FAT16 (LBA)"),
    (0x27, "Hidden NTFS WinRE"),
    (0x42, "SFS / MS LDM"),
    (0x82, "Linux swap / Solaris"),
    (0x83, "Linux"),
    (0x8e, "Linux LVM"),
    (0xa5, "FreeBSD"),
    (0xa6, "OpenBSD"),
    (0xa9, "NetBSD"),
    (0xaf, "HFS / HFS+"),
    (0xef, "EFI (FAT-12/16/32)"),
    (0xfd, "Linux raid autodetect"),
];

/// One of the four slots of a sector, in sectors.
#[derive(Clone, Copy)]
struct Slot {
    status: u8,
    kind: u8,
    first: u64,
    count: u64,
}

impl Slot {
    fn is_extended(self) -> bool {
        self.count > 0 && [0x05, 0x0f, 0x85].contains(&self.kind)
    }

    fn is_data(self) -> bool {
        self.count > 0 && ![0, 0xee].contains(&self.kind) && !self.is_extended()
    }

    fn lies_on(self, device: &dyn Device) -> bool {
        self.first > 0 && (self.first + self.count) * SECTOR_BYTES <= device.size_bytes()
    }
}

/// Returns the partitions of `device`; nothing if its first sector is not a table with a partition that lies on the disk.
pub(super) fn find(device: &dyn Device, first_sector: &[u8]) -> Option<Volumes> {
    let slots = slots(first_sector)?;
    let used = |slot: &&Slot| slot.is_data() || slot.is_extended();
    let plausible = slots.iter().all(|slot| slot.status & 0x7f == 0)
        && slots.iter().filter(used).any(|slot| slot.lies_on(device))
        && identify::boot_sector(first_sector).is_none();
    if !plausible {
        return None;
    }
    let mut found = Volumes::default();
    for (slot, number) in slots.iter().zip(1..) {
        if slot.is_data() {
            add(device, *slot, number, &mut found);
        }
    }
    let mut number = 5;
    for slot in slots.iter().filter(|slot| slot.is_extended()) {
        if let Err(error) = add_logical(device, *slot, &mut number, &mut found) {
            found.notes.push(("mbr".to_owned(), error.to_string()));
        }
    }
    Some(found)
}

fn slots(sector: &[u8]) -> Option<[Slot; 4]> {
    let fields = Fields { bytes: sector, what: "partition table" };
    if fields.le16(510).ok()? != 0xaa55 {
        return None;
    }
    let slot = |index: usize| {
        let at = 446 + 16 * index;
        let (status, kind) = (fields.byte(at)?, fields.byte(at + 4)?);
        let (first, count) = (u64::from(fields.le32(at + 8)?), u64::from(fields.le32(at + 12)?));
        Ok::<_, Error>(Slot { status, kind, first, count })
    };
    Some([slot(0).ok()?, slot(1).ok()?, slot(2).ok()?, slot(3).ok()?])
}

fn add(device: &dyn Device, slot: Slot, number: u32, found: &mut Volumes) {
    let name = format!("p{number}");
    if !slot.lies_on(device) {
        let (size, first, count) = (device.size_bytes(), slot.first, slot.count);
        let text = format!(
            "{count} sectors of 512 bytes from sector {first} on do not lie on the disk of {size} bytes; not read"
        );
        found.notes.push((name, text));
        return;
    }
    let known = TYPES.iter().find(|(kind, _)| *kind == slot.kind);
    let label = known.map_or_else(|| format!("type {:02x}", slot.kind), |(_, name)| (*name).to_owned());
    let piece = Piece { offset: 0, at: slot.first * SECTOR_BYTES, length: slot.count * SECTOR_BYTES };
    found.volumes.push(Volume { name, label, pieces: vec![piece] });
}

/// Follows the chain of sectors in `extended`, each with a partition and the place of the next such sector.
///
/// A data slot counts from its own sector, a link from the start of the extended partition. A third or fourth data slot is
/// one only if it lies inside, since some tools left rubbish there.
fn add_logical(device: &dyn Device, extended: Slot, number: &mut u32, found: &mut Volumes) -> Result<(), Error> {
    let mut table = extended;
    let mut seen = HashSet::new();
    for _ in 0..LINKS_MAX {
        if !seen.insert(table.first) {
            let at = table.first * SECTOR_BYTES;
            return Err(Error::Damaged(format!("the chain of logical partitions leads back to byte {at}")));
        }
        let sector = bytes::read(device, table.first * SECTOR_BYTES, SECTOR_BYTES)?;
        let Some(slots) = slots(&sector) else {
            let at = table.first * SECTOR_BYTES;
            return Err(Error::Damaged(format!(
                "the chain of logical partitions breaks off at byte {at}, which holds no partition table"
            )));
        };
        for (index, slot) in slots.into_iter().enumerate().filter(|(_, slot)| slot.is_data()) {
            let absolute = Slot { first: table.first + slot.first, ..slot };
            if index < 2 || (slot.first + slot.count <= table.count && is_inside(absolute, extended)) {
                add(device, absolute, *number, found);
                *number += 1;
            }
        }
        let Some(link) = slots.into_iter().find(|slot| slot.is_extended()) else {
            return Ok(());
        };
        table = Slot { first: extended.first + link.first, ..link };
    }
    Err(Error::Damaged(format!("the chain of logical partitions has more than {LINKS_MAX} links and was cut")))
}

fn is_inside(slot: Slot, extended: Slot) -> bool {
    slot.first >= extended.first && slot.first + slot.count <= extended.first + extended.count
}
