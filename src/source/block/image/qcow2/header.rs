//! The header of a qcow2 image and its extensions (QEMU `docs/interop/qcow2.rst`, Header, Header extensions).
//!
//! Promises: what a [`Header`] says lies in the limits that QEMU has (`block/qcow2.c`), and needs no feature that is not
//! read here. Tables are not looked at.

use super::super::error::Error;
use super::super::gate::Opened;
use super::super::model::Kind;
use crate::model::{Packing, escape_bytes};
use crate::source::block::bytes::Fields;

/// `QFI\xfb`.
pub(super) const MAGIC: &[u8] = b"QFI\xfb";
const HEADER_BYTES_V2: u64 = 72;
const HEADER_BYTES_V3: u64 = 104;
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Fewer cannot be parted into 32 subclusters of 512 bytes.
const CLUSTER_BITS_EXTENDED_MIN: u32 = 14;
const NAME_BYTES_MAX: u64 = 1023;
/// `QCOW_MAX_L1_SIZE`: 32 MiB.
pub(super) const L1_ENTRIES_MAX: u32 = (32 << 20) / 8;
/// `QCOW_MAX_SNAPSHOTS`.
const SNAPSHOTS_MAX: u32 = 65536;
const SECTOR_BYTES: u64 = 512;

const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED: u64 = 1 << 4;
const KNOWN: u64 = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED;

/// What the header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    pub(super) size_bytes: u64,
    pub(super) l1: (u64, u32),
    pub(super) snapshots: (u64, u32),
    pub(super) extended: bool,
    pub(super) packing: Packing,
    pub(super) backing: Option<Vec<u8>>,
    pub(super) backing_kind: Option<Kind>,
    /// Whether clusters lie in another file, and its name if it is told.
    pub(super) data_file: Option<Option<Vec<u8>>>,
    pub(super) bitmaps: Option<Directory>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// Where the bitmaps are told.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) count: u32,
    pub(super) at: u64,
    pub(super) length: u64,
}

/// What the extensions say.
#[derive(Debug, Default)]
struct Extensions {
    backing_format: Option<Vec<u8>>,
    features: Vec<u8>,
    bitmaps: Option<Directory>,
    data_file: Option<Vec<u8>>,
}

impl Header {
    pub(super) fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }
}

/// Reads the header.
pub(super) fn read(opened: &Opened) -> Result<Header, Error> {
    let start = opened.read(0, HEADER_BYTES_V2)?;
    let fields = Fields { bytes: &start, what: "the qcow2 header" };
    let trouble = |error| opened.trouble(error);
    if !start.starts_with(MAGIC) {
        return Err(opened.damaged("it has no qcow2 header"));
    }
    let version = fields.be32(4).map_err(trouble)?;
    let cluster_bits = fields.be32(20).map_err(trouble)?;
    if !matches!(version, 2 | 3) {
        return Err(opened.unsupported(format!("it is of version {version} of qcow2")));
    }
    if !CLUSTER_BITS.contains(&cluster_bits) {
        return Err(opened.damaged(format!("its clusters have 2^{cluster_bits} bytes, expected 2^9 to 2^21")));
    }
    let cluster = opened.read(0, (1 << cluster_bits).min(opened.device.size_bytes))?;
    read_cluster(opened, &cluster, version, cluster_bits)
}

/// Reads what the first cluster says.
fn read_cluster(opened: &Opened, cluster: &[u8], version: u32, cluster_bits: u32) -> Result<Header, Error> {
    let fields = Fields { bytes: cluster, what: "the qcow2 header" };
    let trouble = |error| opened.trouble(error);
    let be32 = |at| fields.be32(at).map_err(trouble);
    let be64 = |at| fields.be64(at).map_err(trouble);

    let (incompatible, autoclear, header_bytes) =
        if version == 2 { (0, 0, HEADER_BYTES_V2) } else { (be64(72)?, be64(88)?, u64::from(be32(100)?)) };
    if version == 3 && !(HEADER_BYTES_V3..=1 << cluster_bits).contains(&header_bytes) {
        return Err(opened.damaged(format!("its header has {header_bytes} bytes, expected 104 to a cluster")));
    }
    let backing_at = be64(8)?;
    let backing = if backing_at == 0 { None } else { Some(backing_name(opened, fields, backing_at, be32(16)?)?) };
    let end = if backing_at == 0 { cluster.len() as u64 } else { backing_at };
    let extensions = read_extensions(opened, fields, header_bytes, end)?;

    check_features(opened, incompatible, &extensions.features)?;
    check_encryption(opened, be32(32)?)?;
    let kind_byte = if header_bytes > HEADER_BYTES_V3 { fields.byte(104).map_err(trouble)? } else { 0 };
    let extended = incompatible & EXTENDED != 0;
    if extended && cluster_bits < CLUSTER_BITS_EXTENDED_MIN {
        return Err(opened.damaged(format!("it has subclusters in clusters of 2^{cluster_bits} bytes, expected 2^14")));
    }
    let l1 = (be64(40)?, be32(36)?);
    let snapshots = (be64(64)?, be32(60)?);
    check_table(opened, "its L1 table", l1.0, l1.1, L1_ENTRIES_MAX, cluster_bits)?;
    check_table(opened, "its table of snapshots", snapshots.0, snapshots.1, SNAPSHOTS_MAX, cluster_bits)?;

    let mut notes = notes_of(incompatible);
    let backing_kind = backing_kind(opened, extensions.backing_format.as_deref())?;
    if backing.is_some() && backing_kind.is_none() {
        notes.push("it does not name the format of its backing file: found out from that file".to_owned());
    }
    if extensions.bitmaps.is_some() && autoclear & 1 == 0 {
        notes.push("its bitmaps are outdated: it was written by a program that does not know them".to_owned());
    }
    Ok(Header {
        version,
        cluster_bits,
        // As QEMU does: a disk has whole sectors.
        size_bytes: be64(24)? / SECTOR_BYTES * SECTOR_BYTES,
        l1,
        snapshots,
        extended,
        packing: packing(opened, incompatible & COMPRESSION != 0, kind_byte)?,
        backing,
        backing_kind,
        data_file: (incompatible & DATA_FILE != 0).then_some(extensions.data_file),
        bitmaps: extensions.bitmaps.filter(|_| autoclear & 1 != 0),
        notes,
    })
}

fn backing_name(opened: &Opened, fields: Fields<'_>, at: u64, length: u32) -> Result<Vec<u8>, Error> {
    if u64::from(length) > NAME_BYTES_MAX || at > fields.bytes.len() as u64 {
        return Err(opened.damaged(format!("the name of its backing file has {length} bytes at byte {at}")));
    }
    let name = fields.slice(at as usize, length as usize).map_err(|error| opened.trouble(error))?;
    if name.is_empty() || name.contains(&0) {
        return Err(opened.damaged(format!("the name of its backing file is {:?}", escape_bytes(name))));
    }
    Ok(name.to_owned())
}

fn read_extensions(opened: &Opened, fields: Fields<'_>, from: u64, end: u64) -> Result<Extensions, Error> {
    let trouble = |error| opened.trouble(error);
    let mut extensions = Extensions::default();
    let mut at = from as usize;
    while (at as u64).saturating_add(8) <= end {
        let (kind, length) = (fields.be32(at).map_err(trouble)?, fields.be32(at + 4).map_err(trouble)? as usize);
        if kind == 0 {
            break;
        }
        if length as u64 > end.saturating_sub(at as u64 + 8) {
            return Err(opened.damaged(format!("header extension {kind:#010x} has {length} bytes at byte {at}")));
        }
        let data = fields.slice(at + 8, length).map_err(trouble)?;
        match kind {
            0xe279_2aca => extensions.backing_format = Some(data.to_owned()),
            0x6803_f857 => extensions.features = data.to_owned(),
            0x4441_5441 => extensions.data_file = Some(data.to_owned()),
            0x2385_2875 => {
                let fields = Fields { bytes: data, what: "the bitmaps extension" };
                let count = fields.be32(0).map_err(trouble)?;
                let (length, at) = (fields.be64(8).map_err(trouble)?, fields.be64(16).map_err(trouble)?);
                extensions.bitmaps = Some(Directory { count, at, length });
            }
            _ => {}
        }
        at += 8 + length.next_multiple_of(8);
    }
    Ok(extensions)
}

fn check_features(opened: &Opened, incompatible: u64, names: &[u8]) -> Result<(), Error> {
    let unknown = incompatible & !KNOWN;
    if unknown == 0 {
        return Ok(());
    }
    let bits = (0..64).filter(|bit| unknown >> bit & 1 == 1);
    let named: Vec<String> = bits.map(|bit| feature_name(names, bit)).collect();
    Err(opened.unsupported(format!("it needs {}", named.join(", "))))
}

/// Returns what the image itself calls an incompatible feature (Feature name table).
fn feature_name(names: &[u8], bit: u8) -> String {
    let entry = names.chunks_exact(48).find(|entry| entry.starts_with(&[0, bit]));
    match entry.and_then(|entry| entry.get(2..)) {
        Some(name) => {
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            format!("the feature \"{}\"", escape_bytes(name))
        }
        None => format!("incompatible feature {bit}"),
    }
}

fn check_encryption(opened: &Opened, method: u32) -> Result<(), Error> {
    let method = match method {
        0 => return Ok(()),
        1 => "AES".to_owned(),
        2 => "LUKS".to_owned(),
        other => format!("method {other}"),
    };
    Err(Error::Encrypted { image: opened.file.path.clone(), method })
}

/// Checks the place of a table of `entries` entries.
pub(super) fn check_table(
    opened: &Opened,
    what: &str,
    at: u64,
    entries: u32,
    entries_max: u32,
    cluster_bits: u32,
) -> Result<(), Error> {
    if entries > entries_max {
        return Err(opened.damaged(format!("{what} has {entries} entries, expected at most {entries_max}")));
    }
    if entries > 0 && at & ((1 << cluster_bits) - 1) != 0 {
        return Err(opened.damaged(format!("{what} begins at byte {at}, inside a cluster")));
    }
    Ok(())
}

fn packing(opened: &Opened, flagged: bool, kind: u8) -> Result<Packing, Error> {
    match (flagged, kind) {
        (false, 0) => Ok(Packing::Deflate),
        (true, 1) => Ok(Packing::Zstd),
        (true, 2..) => Err(opened.unsupported(format!("its clusters are compressed by method {kind}"))),
        _ => Err(opened.damaged(format!("its compression method {kind} contradicts its features"))),
    }
}

fn backing_kind(opened: &Opened, format: Option<&[u8]>) -> Result<Option<Kind>, Error> {
    match format {
        None | Some(b"") => Ok(None),
        // Files and block devices as they are (QEMU `block/file-posix.c`): raw by other names.
        Some(b"raw" | b"file" | b"host_device") => Ok(Some(Kind::Raw)),
        Some(b"qcow2") => Ok(Some(Kind::Qcow2)),
        Some(other) => {
            let format = escape_bytes(other);
            Err(opened.unsupported(format!("its backing file is of format \"{format}\"")))
        }
    }
}

fn notes_of(incompatible: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if incompatible & DIRTY != 0 {
        notes.push("it was not closed: its reference counts are outdated, which reading does not need".to_owned());
    }
    if incompatible & CORRUPT != 0 {
        notes.push(
            "it is marked as corrupt: QEMU found it to contradict itself; check it with qemu-img check".to_owned(),
        );
    }
    notes
}
