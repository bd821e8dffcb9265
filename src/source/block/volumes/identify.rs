//! What a volume holds, by its magic bytes.
//!
//! Promises: a name as `blkid` writes it, for messages and to tell a boot sector from a partition table; reading nothing
//! else than fixed places. That a magic is there does not say that what it announces is whole.
//!
//! Source of the places: libblkid of util-linux 2.41, `libblkid/src/superblocks/`.

use crate::source::block::{Device, bytes, fat};

/// Magic bytes at fixed places, in the order in which they are tried: what wraps a file system comes before file systems,
/// since a mirror's member or a cache's backing device shows what it wraps as well.
const MAGICS: &[(&str, u64, &[u8])] = &[
    ("linux_raid_member", 0x1000, &[0xfc, 0x4e, 0x2b, 0xa9]),
    ("linux_raid_member", 0, &[0xfc, 0x4e, 0x2b, 0xa9]),
    ("crypto_LUKS", 0, b"LUKS\xba\xbe"),
    (
        "bcache",
        0x1018,
        &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81],
    ),
    (
        "bcachefs",
        0x1018,
        &[0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef],
    ),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("ntfs", 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("ReFS", 3, b"ReFS\0\0\0\0"),
    ("xfs", 0, b"XFSB"),
    ("apfs", 32, b"NXSB"),
    ("squashfs", 0, b"hsqs"),
    ("btrfs", 0x1_0040, b"_BHRfS_M"),
    ("f2fs", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    ("erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    ("hfsplus", 1024, b"H+"),
    ("hfsplus", 1024, b"HX"),
    ("jfs", 0x8000, b"JFS1"),
    ("reiserfs", 0x1_0034, b"ReIsErFs"),
    ("reiserfs", 0x1_0034, b"ReIsEr2Fs"),
    ("reiserfs", 0x1_0034, b"ReIsEr3Fs"),
    ("ocfs2", 1024, b"OCFSV2"),
    ("ocfs2", 2048, b"OCFSV2"),
    ("ocfs2", 4096, b"OCFSV2"),
    ("ocfs2", 8192, b"OCFSV2"),
    ("gfs2", 0x1_0000, &[0x01, 0x16, 0x19, 0x70]),
    ("VMFS", 0x20_0000, &[0x5e, 0xf1, 0xab, 0x2f]),
    ("VMFS_volume_member", 0x10_0000, &[0x0d, 0xd0, 0x01, 0xc0]),
    ("iso9660", 0x8001, b"CD001"),
    ("ufs", 0x255c, &UFS2),
    ("ufs", 0x1_055c, &UFS2),
    ("ufs", 0x4_055c, &UFS2),
    ("ufs", 0x255c, &UFS1),
    ("ufs", 0x1_055c, &UFS1),
    ("ufs", 0x4_055c, &UFS1),
    ("nilfs2", 1030, &[0x34, 0x34]),
    ("hfs", 1024, b"BD"),
    ("ceph_bluestore", 0, b"bluestore block device"),
    ("vdo", 0, b"dmvdo001"),
    ("ubi", 0, b"UBI#"),
    ("ubifs", 0, &[0x31, 0x18, 0x10, 0x06]),
    ("cramfs", 0, &[0x45, 0x3d, 0xcd, 0x28]),
    ("cramfs", 0, &[0x28, 0xcd, 0x3d, 0x45]),
    ("romfs", 0, b"-rom1fs-"),
    ("bfs", 0, &[0xce, 0xfa, 0xad, 0x1b]),
    ("befs", 32, b"BFS1"),
    ("befs", 32, b"1SFB"),
    ("befs", 544, b"BFS1"),
    ("befs", 544, b"1SFB"),
    ("hpfs", 0x2000, &[0x49, 0xe8, 0x95, 0xf9]),
    ("nss", 0x1000, b"SPB5"),
    ("reiser4", 0x1_0000, b"ReIsEr4"),
    ("mpool", 0, b"mpoolDev"),
    ("zonefs", 0, b"SFOZ"),
    ("drbdmanage_control_volume", 0, b"$DRBDmgr=q"),
    // Tables of partitions inside a partition.
    ("bsd", 512, &[0x57, 0x45, 0x56, 0x82]),
    ("ldm", 0xc00, b"PRIVHEAD"),
];

/// Magic numbers of two bytes, which are often there by chance: they are tried last.
const SHORT_MAGICS: &[(&str, u64, &[u8])] = &[
    ("minix", 0x410, &[0x7f, 0x13]),
    ("minix", 0x410, &[0x8f, 0x13]),
    ("minix", 0x410, &[0x13, 0x7f]),
    ("minix", 0x410, &[0x13, 0x8f]),
    ("minix", 0x410, &[0x68, 0x24]),
    ("minix", 0x410, &[0x78, 0x24]),
];

/// What stands at the end of the first page of swap; its size is that of the machine that made it.
const PAGES: [u64; 5] = [4096, 8192, 16384, 32768, 65536];
const SWAP: [&[u8]; 2] = [b"SWAPSPACE2", b"SWAP-SPACE"];
/// That a machine sleeps in it.
const SLEEP: [&[u8]; 4] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"];
/// The same, at the beginning (TuxOnIce).
const SLEEP_AT_0: [u8; 8] = [0xed, 0xc3, 0x02, 0xe9, 0x98, 0x56, 0xe5, 0x0c];

/// The magic number of UFS as machines of today write it.
const UFS1: [u8; 4] = 0x0001_1954_u32.to_le_bytes();
const UFS2: [u8; 4] = 0x1954_0119_u32.to_le_bytes();

/// What is looked at of a volume in which nothing is known: its beginning, and pieces all over it.
const BEGINNING_BYTES: u64 = 4 << 20;
const SAMPLES: u64 = 256;
const SAMPLE_BYTES: u64 = 64 << 10;

/// Tells whether a volume holds anything but zeros where it was looked at; what cannot be read is something.
///
/// **Cost**: reads up to 20 MiB.
pub fn holds_something(device: &dyn Device) -> bool {
    let size = device.size_bytes();
    let beginning = (0..size.min(BEGINNING_BYTES)).step_by(SAMPLE_BYTES as usize);
    let rest = (0..SAMPLES).map(|number| size / SAMPLES * number);
    let last = size.saturating_sub(SAMPLE_BYTES);
    beginning.chain(rest).chain([last]).any(|at| {
        let bytes = read(device, at, SAMPLE_BYTES.min(size - at));
        bytes.is_none_or(|bytes| bytes.iter().any(|byte| *byte != 0))
    })
}

/// Features that an ext3 file system may have; one with others is ext4 (`fs/ext4/ext4.h`, `EXT3_FEATURE_*_SUPP`).
const EXT3_INCOMPAT: u32 = 0x0002 | 0x0004 | 0x0010;
const EXT3_RO_COMPAT: u32 = 0x0001 | 0x0002 | 0x0004;

/// Returns what `device` holds, or nothing if no magic is known.
///
/// What cannot be read counts as not being there. **Cost**: some thirty small reads.
pub fn identify(device: &dyn Device) -> Option<&'static str> {
    if is_lvm(device) {
        return Some("LVM2_member");
    }
    if is_raid_with_trailer(device) {
        return Some("linux_raid_member");
    }
    let by_magic = |magics: &[(&'static str, u64, &[u8])]| {
        magics.iter().find(|(_, at, magic)| at_is(device, *at, magic)).map(|(name, ..)| *name)
    };
    // A disc may be both UDF and ISO 9660: its bytes are in UDF.
    let named = udf(device).or_else(|| swap(device)).or_else(|| by_magic(MAGICS));
    named.or_else(|| ext(device)).or_else(|| vfat(device)).or_else(|| zfs(device)).or_else(|| by_magic(SHORT_MAGICS))
}

/// Returns the file system whose first sector this is: then the bytes of a partition table in it mean something else.
pub(super) fn boot_sector(sector: &[u8]) -> Option<&'static str> {
    let begins =
        |(_, at, magic): &&(&str, u64, &[u8])| sector.get(*at as usize..).is_some_and(|from| from.starts_with(magic));
    let magic = MAGICS.iter().find(begins).map(|(name, ..)| *name);
    magic.or_else(|| fat::is_boot_sector(sector).then_some("vfat"))
}

fn read(device: &dyn Device, at: u64, length: u64) -> Option<Vec<u8>> {
    bytes::read(device, at, length).ok()
}

fn at_is(device: &dyn Device, at: u64, magic: &[u8]) -> bool {
    read(device, at, magic.len() as u64).is_some_and(|found| found == magic)
}

/// The label is in one of the first four sectors (`lib/label/label.h` of LVM2).
fn is_lvm(device: &dyn Device) -> bool {
    (0..4).any(|sector| {
        let label = read(device, sector * 512, 32);
        label.is_some_and(|label| label.starts_with(b"LABELONE") && label.ends_with(b"LVM2 001"))
    })
}

/// Versions 0.90 and 1.0 of the metadata lie behind the data (`md(4)`).
fn is_raid_with_trailer(device: &dyn Device) -> bool {
    const MAGIC: [u8; 4] = [0xfc, 0x4e, 0x2b, 0xa9];
    let size = device.size_bytes();
    let places =
        [(size & !0xffff).checked_sub(0x1_0000), (size / 512).checked_sub(16).map(|sector| (sector & !7) * 512)];
    places.into_iter().flatten().any(|at| at_is(device, at, &MAGIC))
}

/// Swap, and what machines that sleep leave in it.
fn swap(device: &dyn Device) -> Option<&'static str> {
    if at_is(device, 0, &SLEEP_AT_0) {
        return Some("swsuspend");
    }
    PAGES.iter().find_map(|page| {
        let end = read(device, page - 10, 10)?;
        let is = |magics: &[&[u8]]| magics.iter().any(|magic| end.starts_with(magic));
        if is(&SLEEP) { Some("swsuspend") } else { is(&SWAP).then_some("swap") }
    })
}

/// From byte 32768 on there is one descriptor after the other, those of ISO 9660 first; the one that begins the others, or is of UDF itself,
/// is among them (ECMA 167, part 2). Where sectors are longer than 2 KiB only the first is found.
fn udf(device: &dyn Device) -> Option<&'static str> {
    for sector in 16..80 {
        match read(device, sector * 2048 + 1, 5)?.as_slice() {
            b"BEA01" | b"NSR02" | b"NSR03" => return Some("udf"),
            b"CD001" | b"CDW02" => {}
            _ => return None,
        }
    }
    None
}

fn ext(device: &dyn Device) -> Option<&'static str> {
    let superblock = read(device, 1024, 104)?;
    let fields = bytes::Fields { bytes: &superblock, what: "superblock" };
    if fields.le16(56).ok()? != 0xef53 {
        return None;
    }
    let (compat, incompat, ro_compat) = (fields.le32(92).ok()?, fields.le32(96).ok()?, fields.le32(100).ok()?);
    Some(if incompat & 0x8 != 0 {
        "jbd"
    } else if incompat & !EXT3_INCOMPAT != 0 || ro_compat & !EXT3_RO_COMPAT != 0 {
        "ext4"
    } else if compat & 0x4 != 0 {
        "ext3"
    } else {
        "ext2"
    })
}

fn vfat(device: &dyn Device) -> Option<&'static str> {
    fat::is_boot_sector(&read(device, 0, 512)?).then_some("vfat")
}

/// Uberblocks fill the second half of a label, one every 1 KiB at the least (`sys/uberblock_impl.h` of OpenZFS).
fn zfs(device: &dyn Device) -> Option<&'static str> {
    const MAGIC: u64 = 0x00ba_b10c;
    let ring = read(device, 0x2_0000, 0x2_0000)?;
    let is_uberblock = |slot: &[u8]| slot.starts_with(&MAGIC.to_le_bytes()) || slot.starts_with(&MAGIC.to_be_bytes());
    ring.chunks(1024).any(is_uberblock).then_some("zfs_member")
}
