//! Where bytes are: those of a file on a disk, and those of a disk in the files that a backup left.
//!
//! Promises: a [`FileMap`] and a [`Layer`] come back from their stored form as they went in; damaged forms are an error,
//! never a guess, and decoding one never takes more memory than a small multiple of its length. All offsets
//! and lengths are bytes. Reads and opens nothing.
//!
//! Stored form: varints (LEB128). What a number counts from is told at each field, so that the common case (one run
//! after the other) has small numbers.

use super::{Time, Timestamp};
use std::path::PathBuf;

/// A run of bytes of a file, on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file.
    pub offset: u64,
    /// Where on the disk (or, while a file system is read, in its volume).
    pub at: u64,
    /// How long.
    pub length: u64,
    /// Allocated and never written: reads as zeros.
    pub unwritten: bool,
}

/// Bits of a place on one of several disks. Where a generation is all disks of a guest, disk number n begins at byte n * 2^56 of what its
/// layer and the maps of its files count in: so each place says which disk it is on.
pub const DISK_BITS: u32 = 56;
/// So many disks a guest has at most.
pub const DISKS_MAX: usize = 127;
/// The size of the layer of all disks of a guest, however many it has.
pub const GUEST_BYTES: u64 = disk_begin(DISKS_MAX);

/// Returns where the disk of this number begins.
pub const fn disk_begin(number: usize) -> u64 {
    (number as u64) << DISK_BITS
}

/// Where all bytes of a file or directory are; what no extent covers is a hole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileMap {
    /// Sorted by `offset`, without overlap. May reach past the size of the file.
    pub extents: Vec<Extent>,
    /// Where the blocks lie that say where the extents are (extent tree, indirect blocks): offset and length, in any order.
    /// If one of them changes, the file may have.
    pub rests_on: Vec<(u64, u64)>,
}

/// A file that holds bytes of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageFile {
    /// Absolute.
    pub path: PathBuf,
    /// Its length when it was indexed; of a device its size.
    pub size_bytes: u64,
    /// Its last change when it was indexed; of a device 0.
    pub mtime: Timestamp,
}

/// How a cluster is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Raw deflate (RFC 1951), as qcow2 calls "zlib".
    Deflate,
    /// A zstd frame.
    Zstd,
    /// An LZ4 frame.
    Lz4,
}

/// What a run of a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerBytes {
    /// Zeros, whatever layers below have.
    Zero,
    /// The bytes of `files[file]` from `at` on.
    Plain {
        /// Index into [`Layer::files`].
        file: u16,
        /// Where in it.
        at: u64,
    },
    /// One compressed cluster of `files[file]`: what is left of it when `skip` bytes are taken from its front.
    Packed {
        /// Index into [`Layer::files`].
        file: u16,
        /// Where the compressed bytes begin.
        at: u64,
        /// Up to how many they are; compressed data may end before.
        stored_bytes: u32,
        /// How long the whole cluster is when unpacked.
        unpacked_bytes: u32,
        /// How much of the unpacked cluster comes before this run.
        skip: u32,
        /// How it is compressed.
        packing: Packing,
    },
}

/// A run of bytes of a disk, as one layer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerExtent {
    /// Where on the disk.
    pub offset: u64,
    /// How long.
    pub length: u64,
    /// What it is.
    pub bytes: LayerBytes,
}

/// What one backup holds of a disk by itself. What it does not tell of is as in the layer below, or zeros where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// The size of the disk.
    pub size_bytes: u64,
    /// The files that its bytes are in.
    pub files: Vec<ImageFile>,
    /// Sorted by `offset`, without overlap, each within the disk.
    pub extents: Vec<LayerExtent>,
}

/// What a generation holds of a disk by itself, and where that came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskRow {
    /// Its bytes.
    pub layer: Layer,
    /// The generation that has what this one has not.
    pub parent: Option<Time>,
    /// The word of the image format.
    pub format: String,
    /// `push`, `pull`, `snapshot`, where it is known.
    pub acquire: Option<String>,
    /// The mark that the next increment counts from.
    pub checkpoint: Option<String>,
    /// The word of how much the data was at rest.
    pub consistency: Option<String>,
    /// Where the bytes came from, as a URI.
    pub location: Option<String>,
}

/// A partition, logical volume or file system of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeRow {
    /// Its directory.
    pub name: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Where it is on the disk: `AT+LENGTH`, with blanks between.
    pub pieces: String,
    /// What it holds, where that is known.
    pub kind: Option<String>,
    /// Whether there is a tree of it.
    pub browsable: bool,
    /// What the partition table calls it.
    pub label: String,
    /// What the file system calls itself.
    pub fs_label: String,
    /// The file system's.
    pub uuid: String,
    /// `clean`, `replayed`, or `lost`: it could not be read.
    pub state: String,
    /// Names with blanks between.
    pub features: String,
    /// Why there is no tree, or what is odd.
    pub note: String,
}

impl LayerBytes {
    /// Returns what is left of a run when `bytes` are taken from its front.
    pub fn skip_bytes(self, bytes: u64) -> Self {
        match self {
            Self::Zero => Self::Zero,
            Self::Plain { file, at } => Self::Plain { file, at: at + bytes },
            Self::Packed { file, at, stored_bytes, unpacked_bytes, skip, packing } => {
                Self::Packed { file, at, stored_bytes, unpacked_bytes, skip: skip + bytes as u32, packing }
            }
        }
    }
}

/// A stored form that no program of ours wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored map ends early or contradicts itself at byte {at}")]
pub struct BadMap {
    /// Where.
    pub at: usize,
}

impl FileMap {
    /// Returns the stored form: the number of extents; of each the hole before it, how far from the end of the one before it
    /// lies on the disk (zigzag), and twice its length plus one if it is unwritten; then offset and length of each block that it
    /// rests on.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.extents.len() as u64);
        let (mut offset, mut at) = (0, 0);
        for extent in &self.extents {
            put(&mut out, extent.offset - offset);
            put(&mut out, zigzag(extent.at.wrapping_sub(at) as i64));
            put(&mut out, extent.length << 1 | u64::from(extent.unwritten));
            (offset, at) = (extent.offset + extent.length, extent.at + extent.length);
        }
        for (at, length) in &self.rests_on {
            put(&mut out, *at);
            put(&mut out, *length);
        }
        out
    }

    /// Returns the map of a stored form.
    ///
    /// # Errors
    /// [`BadMap`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadMap> {
        let mut input = Input { bytes, at: 0 };
        let mut map = Self::default();
        let (mut offset, mut at) = (0_u64, 0_u64);
        for _ in 0..input.take()? {
            offset = input.sum(offset)?;
            at = at.wrapping_add(unzigzag(input.take()?) as u64);
            let length = input.take()?;
            let extent = Extent { offset, at, length: length >> 1, unwritten: length & 1 == 1 };
            map.extents.push(extent);
            offset = offset.checked_add(extent.length).ok_or(input.bad())?;
            at = at.checked_add(extent.length).ok_or(input.bad())?;
        }
        while input.at < bytes.len() {
            map.rests_on.push((input.take()?, input.take()?));
        }
        Ok(map)
    }
}

const ZERO: u64 = 0;
const PLAIN: u64 = 1;
const PACKED: u64 = 2;
const PACKINGS: [Packing; 3] = [Packing::Deflate, Packing::Zstd, Packing::Lz4];

impl Layer {
    /// Returns the stored form of the extents: of each the gap before it, four times its length plus what it is (0 zeros, 1
    /// plain, 2 packed), then for the bytes of a file its number, how far from the end of the run before it lies in it
    /// (zigzag), and for a packed one stored and unpacked length, what is skipped and how it is packed.
    pub fn encode_extents(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let (mut offset, mut last) = (0, 0_u64);
        for extent in &self.extents {
            let what = match extent.bytes {
                LayerBytes::Zero => ZERO,
                LayerBytes::Plain { .. } => PLAIN,
                LayerBytes::Packed { .. } => PACKED,
            };
            put(&mut out, extent.offset - offset);
            put(&mut out, extent.length << 2 | what);
            offset = extent.offset + extent.length;
            match extent.bytes {
                LayerBytes::Zero => {}
                LayerBytes::Plain { file, at } => {
                    put(&mut out, u64::from(file));
                    put(&mut out, zigzag(at.wrapping_sub(last) as i64));
                    last = at + extent.length;
                }
                LayerBytes::Packed { file, at, stored_bytes, unpacked_bytes, skip, packing } => {
                    put(&mut out, u64::from(file));
                    put(&mut out, zigzag(at.wrapping_sub(last) as i64));
                    let packing = PACKINGS.iter().position(|p| *p == packing).expect("every packing is in the table");
                    for number in [u64::from(stored_bytes), u64::from(unpacked_bytes), u64::from(skip), packing as u64]
                    {
                        put(&mut out, number);
                    }
                    last = at + u64::from(stored_bytes);
                }
            }
        }
        out
    }

    /// Sets the extents to those of a stored form; size and files are there.
    ///
    /// # Errors
    /// [`BadMap`], also if a run lies outside of the disk or names no file.
    pub fn decode_extents(&mut self, bytes: &[u8]) -> Result<(), BadMap> {
        let mut input = Input { bytes, at: 0 };
        let (mut offset, mut last) = (0_u64, 0_u64);
        while input.at < bytes.len() {
            offset = input.sum(offset)?;
            let length = input.take()?;
            let (length, what) = (length >> 2, length & 3);
            let bytes = match what {
                ZERO => LayerBytes::Zero,
                PLAIN => {
                    let (file, at) = self.file_and_place(&mut input, last)?;
                    last = at.checked_add(length).ok_or(input.bad())?;
                    LayerBytes::Plain { file, at }
                }
                PACKED => {
                    let (file, at) = self.file_and_place(&mut input, last)?;
                    let (stored_bytes, unpacked_bytes, skip) = (input.small()?, input.small()?, input.small()?);
                    let packing = *PACKINGS.get(input.small::<u32>()? as usize).ok_or(input.bad())?;
                    last = at.checked_add(u64::from(stored_bytes)).ok_or(input.bad())?;
                    LayerBytes::Packed { file, at, stored_bytes, unpacked_bytes, skip, packing }
                }
                _ => return Err(input.bad()),
            };
            self.extents.push(LayerExtent { offset, length, bytes });
            offset = offset.checked_add(length).filter(|end| *end <= self.size_bytes).ok_or(input.bad())?;
        }
        Ok(())
    }

    fn file_and_place(&self, input: &mut Input<'_>, last: u64) -> Result<(u16, u64), BadMap> {
        let file = input.small::<u16>()?;
        let at = last.wrapping_add(unzigzag(input.take()?) as u64);
        if usize::from(file) < self.files.len() { Ok((file, at)) } else { Err(input.bad()) }
    }

    /// Returns how many bytes of files it holds: packed ones as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        let stored = self.extents.iter().map(|extent| match extent.bytes {
            LayerBytes::Zero => 0,
            LayerBytes::Plain { .. } => extent.length,
            LayerBytes::Packed { stored_bytes, .. } => u64::from(stored_bytes),
        });
        stored.sum()
    }
}

/// Appends a number: seven bits a byte, the lowest first, the top bit set on all bytes but the last.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small numbers of either sign as small numbers.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn bad(&self) -> BadMap {
        BadMap { at: self.at }
    }

    fn take(&mut self) -> Result<u64, BadMap> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(self.bad())?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.bad())
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, BadMap> {
        let number = self.take()?;
        T::try_from(number).map_err(|_| self.bad())
    }

    fn sum(&mut self, from: u64) -> Result<u64, BadMap> {
        let by = self.take()?;
        from.checked_add(by).ok_or(self.bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_one_run_is_stored_in_a_few_bytes() {
        let extent = Extent { offset: 0, at: 40_960, length: 4096, unwritten: false };
        let map = FileMap { extents: vec![extent], rests_on: Vec::new() };
        assert_eq!(map.encode(), [1, 0, 0x80, 0x80, 0x05, 0x80, 0x40]);
        assert_eq!(FileMap::decode(&map.encode()), Ok(map));
    }

    #[test]
    fn maps_come_back_as_they_were() {
        let extent = |offset, at, length, unwritten| Extent { offset, at, length, unwritten };
        let map = FileMap {
            extents: vec![extent(4096, 1 << 40, 8192, false), extent(1 << 50, 12_288, 512, true)],
            rests_on: vec![(77_824, 4096), (0, 1)],
        };
        assert_eq!(FileMap::decode(&map.encode()), Ok(map));
        let file =
            |path: &str| ImageFile { path: path.into(), size_bytes: 5, mtime: Timestamp { seconds: 1, nanos: 2 } };
        let packed = LayerBytes::Packed {
            file: 1,
            at: 7,
            stored_bytes: 300,
            unpacked_bytes: 65_536,
            skip: 512,
            packing: Packing::Zstd,
        };
        let run = |offset, length, bytes| LayerExtent { offset, length, bytes };
        let layer = Layer {
            size_bytes: 1 << 44,
            files: vec![file("/a"), file("/b")],
            extents: vec![
                run(0, 512, LayerBytes::Zero),
                run(1024, 4096, LayerBytes::Plain { file: 0, at: 1 << 43 }),
                run(5120, 65_024, packed),
                run((1 << 44) - 1, 1, LayerBytes::Plain { file: 1, at: 0 }),
            ],
        };
        let mut back = Layer { extents: Vec::new(), ..layer.clone() };
        back.decode_extents(&layer.encode_extents()).unwrap();
        assert_eq!(back, layer);
    }

    #[test]
    fn a_damaged_form_is_an_error() {
        assert_eq!(FileMap::decode(&[1, 0, 0x80]), Err(BadMap { at: 3 }));
        assert_eq!(FileMap::decode(&[0xff; 12]), Err(BadMap { at: 10 }));
        let mut layer = Layer { size_bytes: 4096, ..Layer::default() };
        assert_eq!(layer.decode_extents(&[0, 4 << 2 | 1, 0, 0]), Err(BadMap { at: 4 }), "there is no file 0");
        assert_eq!(layer.decode_extents(&[0x80, 0x40, 4]), Err(BadMap { at: 3 }), "past the end of the disk");
    }
}
