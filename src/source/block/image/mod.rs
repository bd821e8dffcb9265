//! What image files hold of a disk: raw images, qcow2, streams of virtnbdbackup, and the increments of pull backups.
//!
//! Promises: tells where bytes lie and never looks at them; an [`Image`] is what one file (with its external data file)
//! has by itself, what it leaves out is for the layer below. Only files in the folders of the source are opened. What a
//! file names beyond them (a network, another folder) is told and left alone. What is read is bounded by the file's length
//! and by named limits. The format of a file is what its first bytes say, unless another image names it: a guest can
//! write a qcow2 header to the start of its raw disk, and that must not lead out of the disk.
//!
//! An overlay that is larger than its parent reads as zeros past the parent's end. [`chain`] sees to that; who puts
//! layers together by an order of its own calls [`cover_beyond`].

pub mod digest;
mod error;
mod gate;
mod model;
mod moment;
mod pieces;
mod pull;
mod qcow2;
mod raw;
mod reading;
mod stream;
#[cfg(test)]
mod tests;

use self::gate::Opened;
pub use error::{CHAIN_MAX, Error};
pub use gate::{Why, is_file};
pub use model::{Bitmap, Image, Kind, Moment, Parent, Snapshot};
pub use moment::PushNote;
pub use pieces::cover_beyond;
pub use pull::{PullMap, sidecar};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// So many bytes at the start tell the format of a file: tar has its magic number at byte 257.
const HEAD_BYTES: u64 = 512;
/// So many bytes at the end of a DMG image say what it is.
const KOLY_BYTES: u64 = 512;

/// Opens the image at `path`, which must lie in one of `folders` (canonical), and reads where it has which bytes.
///
/// A parent that is not to be had is no error here ([`Parent::Missing`]).
///
/// **Cost:** reads the tables of a qcow2 image, the headers in a stream, and the holes of a raw file; no data.
///
/// # Errors
/// What keeps it from being read as it was written.
pub fn open(path: &Path, folders: &[PathBuf]) -> Result<Image, Error> {
    open_as(path, None, folders)
}

/// As [`open`], for an image whose format is known.
///
/// # Errors
/// As [`open`]; [`Error::Damaged`] if it is not of that format.
pub fn open_as(path: &Path, kind: Option<Kind>, folders: &[PathBuf]) -> Result<Image, Error> {
    let opened = gate::open(path, folders).map_err(|why| Error::Open { image: path.to_owned(), why })?;
    match kind {
        Some(Kind::Raw) => raw::open(opened),
        Some(Kind::Qcow2) => qcow2::open(opened, folders),
        Some(Kind::Stream) => stream::open(opened),
        Some(Kind::Pull) => {
            let map = pull::load_map(&opened, folders)?.ok_or_else(|| opened.damaged("it has no map beside it"))?;
            pull::open(opened, map)
        }
        None => open_unknown(opened, folders),
    }
}

/// The map beside a raw file comes first: who wrote it knew that the file is raw, whatever the guest put into it.
fn open_unknown(opened: Opened, folders: &[PathBuf]) -> Result<Image, Error> {
    if let Some(map) = pull::load_map(&opened, folders)? {
        return pull::open(opened, map);
    }
    let head = opened.read(0, HEAD_BYTES.min(opened.device.size_bytes))?;
    let size_bytes = opened.device.size_bytes;
    let is_dmg = size_bytes >= KOLY_BYTES && opened.read(size_bytes - KOLY_BYTES, 4)? == b"koly";
    if let Some((format, command)) = foreign(&head).or(is_dmg.then_some(DMG)) {
        return Err(Error::Foreign { image: opened.file.path, format, command });
    }
    if stream::is_stream(&head) {
        return stream::open(opened);
    }
    if !qcow2::is_qcow2(&head) {
        return raw::open(opened);
    }
    if opened.file.path.extension().is_none_or(|extension| extension != "raw") {
        return qcow2::open(opened, folders);
    }
    open_ambiguous(opened)
}

/// A file with the name of a raw image and the beginning of a qcow2 image.
fn open_ambiguous(opened: Opened) -> Result<Image, Error> {
    match qcow2::check_header(&opened) {
        Ok(()) => Err(Error::Ambiguous { image: opened.file.path }),
        Err(Error::Damaged { .. }) => {
            let mut image = raw::open(opened)?;
            let note = "it begins as a qcow2 image does and has no header of one: read as the raw image it is named";
            image.notes.push(note.to_owned());
            Ok(image)
        }
        Err(error) => Err(error),
    }
}

/// Returns `image` and what it rests on, each followed by its parent, until one that names none.
///
/// The layers are as they read in this chain: past the end of a shorter parent a larger image has zeros. Whether the last
/// one needs another below it, its [`Parent`] tells ([`Parent::Given`]).
///
/// # Errors
/// [`Error::File`] for a parent that is not to be had, [`Error::Loop`], [`Error::Deep`], and all that [`open`] has.
pub fn chain(image: Image, folders: &[PathBuf]) -> Result<Vec<Image>, Error> {
    let mut seen = HashSet::from([image.key]);
    let mut images = vec![image];
    while let Some(parent) = images.last().map(|last| chain_parent(last, folders)).transpose()?.flatten() {
        if let Some(child) = images.last_mut() {
            if !seen.insert(parent.key) {
                return Err(Error::Loop { image: child.path.clone(), parent: parent.path });
            }
            cover_beyond(&mut child.layer, parent.layer.size_bytes);
            for snapshot in &mut child.snapshots {
                cover_beyond(&mut snapshot.layer, parent.layer.size_bytes);
            }
        }
        images.push(parent);
        if images.len() > CHAIN_MAX {
            return Err(Error::Deep { image: images.swap_remove(0).path });
        }
    }
    Ok(images)
}

fn chain_parent(child: &Image, folders: &[PathBuf]) -> Result<Option<Image>, Error> {
    match &child.parent {
        Parent::None | Parent::Given => Ok(None),
        Parent::Image { path, kind } => open_as(path, *kind, folders).map(Some),
        Parent::Missing { named, why } => {
            let (image, file) = (child.path.clone(), format!("backing file {named:?}"));
            Err(Error::File { image, file, why: why.clone() })
        }
    }
}

/// What QEMU reads and this does not.
const BY_QEMU: &str = "qemu-img convert -O qcow2 IMAGE NEW.qcow2";
const DMG: (&str, &str) = ("DMG", "qemu-img convert -f dmg -O qcow2 IMAGE NEW.qcow2");

/// Formats that others read: their names, where in a file they have which bytes, and what makes an image of such a file.
///
/// Sources: QEMU `block/vmdk.c`, `vdi.c`, `vhdx.c`, `vpc.c`, `qed.c`, `parallels.c`; the rest are forms in which disks
/// lie on backup servers, packed or compressed as a whole (`magic(5)`). LUKS is not among them: a raw disk may be encrypted by its guest.
const FOREIGN: &[(&str, usize, &[u8], &str)] = &[
    ("VMDK", 0, b"KDMV", BY_QEMU),
    ("VMDK", 0, b"COWD", BY_QEMU),
    ("VMDK descriptor", 0, b"# Disk DescriptorFile", BY_QEMU),
    ("VDI", 64, &[0x7f, 0x10, 0xda, 0xbe], BY_QEMU),
    ("VHDX", 0, b"vhdxfile", BY_QEMU),
    ("VHD", 0, b"conectix", BY_QEMU),
    ("QED", 0, b"QED\0", BY_QEMU),
    ("qcow (version 1)", 0, b"QFI\xfb\0\0\0\x01", BY_QEMU),
    ("Parallels", 0, b"WithoutFreeSpace", BY_QEMU),
    ("Parallels", 0, b"WithouFreSpacExt", BY_QEMU),
    ("VMA", 0, b"VMA\0", "vma extract IMAGE DIR"),
    ("zstd", 0, &[0x28, 0xb5, 0x2f, 0xfd], "zstd -dc IMAGE >NEW.raw"),
    ("gzip", 0, &[0x1f, 0x8b, 0x08], "gzip -dc IMAGE >NEW.raw"),
    ("xz", 0, b"\xfd7zXZ\0", "xz -dc IMAGE >NEW.raw"),
    ("bzip2", 0, b"BZh", "bzip2 -dc IMAGE >NEW.raw"),
    ("lz4", 0, &[0x04, 0x22, 0x4d, 0x18], "lz4 -dc IMAGE >NEW.raw"),
    ("lzop", 0, b"\x89LZO\0\r\n\x1a\n", "lzop -dc IMAGE >NEW.raw"),
    ("tar (an OVA is one)", 257, b"ustar", "tar -xf IMAGE -C DIR"),
    ("zip", 0, b"PK\x03\x04", "unzip IMAGE -d DIR"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c", "7z x IMAGE"),
    ("EWF (E01)", 0, b"EVF\x09\x0d\x0a\xff\0", "ewfexport -f raw -t NEW IMAGE"),
    ("EWF (Ex01)", 0, b"EVF2\x0d\x0a\x81\0", "ewfexport -f raw -t NEW IMAGE"),
    ("Android sparse", 0, &[0x3a, 0xff, 0x26, 0xed], "simg2img IMAGE NEW.raw"),
    ("partclone", 0, b"partclone-image", "partclone.restore -C -s IMAGE -O NEW.raw"),
];

fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let is = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    FOREIGN.iter().find(|(_, at, magic, _)| is(*at, magic)).map(|(format, _, _, command)| (*format, *command))
}
