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

mod gate;
mod moment;
mod pieces;
mod pull;
mod qcow2;
mod raw;
mod stream;
#[cfg(test)]
mod tests;

pub use gate::Why;
pub use moment::{Moment, PushNote};
pub use pieces::cover_beyond;
pub use pull::PullMap;

use self::gate::Opened;
use crate::model::{Layer, Level};
use crate::source::block;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// The most images that rest on each other; QEMU itself becomes slow far below.
pub const CHAIN_MAX: usize = 1024;
/// The largest disk: places in files are signed (`off_t`), and no sum of two of them overflows.
const DISK_BYTES_MAX: u64 = i64::MAX as u64;
/// So many bytes at the start tell the format of a file: VDI has its magic number at byte 64.
const HEAD_BYTES: u64 = 68;

/// What kind of file an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The bytes of the disk, one after the other.
    Raw,
    /// QEMU's own format, version 2 or 3.
    Qcow2,
    /// A stream of virtnbdbackup.
    Stream,
    /// A raw file with the map of what in it is of this generation.
    Pull,
}

/// What an image says that it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nothing. A qcow2 increment whose backing link was never set says so too: then the order of the source tells.
    None,
    /// Another image.
    Image {
        /// Where it is, resolved.
        path: PathBuf,
        /// Its format where that is named; never look for a format where one is named.
        kind: Option<Kind>,
    },
    /// Another image that is not to be had.
    Missing {
        /// As it is named.
        named: String,
        /// What is in the way.
        why: Why,
    },
    /// It is an increment and names no file: the order of the source tells, or the checkpoints.
    Given,
}

/// A state of the disk that was saved inside a qcow2 image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number, as text.
    pub id: String,
    /// Its name, escaped where it is not plain text.
    pub name: String,
    /// When it was taken, unix seconds.
    pub taken_at: i64,
    /// All that the image has of it; it has the same parent as the image.
    pub layer: Layer,
}

/// A bitmap of changes that is stored in a qcow2 image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Its name, escaped where it is not plain text.
    pub name: String,
    /// It was not saved: what it says is not to be trusted.
    pub in_use: bool,
    /// It records changes whenever the image is written.
    pub records: bool,
}

/// An image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it is, resolved.
    pub path: PathBuf,
    /// Its device and inode number.
    pub key: (u64, u64),
    /// What kind it is.
    pub kind: Kind,
    /// What it holds by itself.
    pub layer: Layer,
    /// What it rests on.
    pub parent: Parent,
    /// States of the disk saved inside it, in the order of its table.
    pub snapshots: Vec<Snapshot>,
    /// Bitmaps of changes stored inside it.
    pub bitmaps: Vec<Bitmap>,
    /// How much of the disk it holds, if the file says so itself.
    pub level: Option<Level>,
    /// What is told of the moment that it is of.
    pub moment: Moment,
    /// What a person should know of it, in one line each.
    pub notes: Vec<String>,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image itself is not opened.
    #[error("image {image:?} {why}")]
    Open {
        /// The image.
        image: PathBuf,
        /// What is in the way.
        why: Why,
    },
    /// A file that it cannot be read without is not opened.
    #[error("image {image:?}: {file} {why}")]
    File {
        /// The image.
        image: PathBuf,
        /// What the file is to it, and its name: `backing file "base.qcow2"`.
        file: String,
        /// What is in the way.
        why: Why,
    },
    /// It does not give its bytes.
    #[error("image {image:?}: cannot read {length} bytes at byte {at}")]
    Read {
        /// The image.
        image: PathBuf,
        /// Where.
        at: u64,
        /// How much was wanted.
        length: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is of a format that is not read.
    #[error(
        "image {image:?} is a {format} file, expected raw, qcow2 or a stream of virtnbdbackup; \
         convert it with qemu-img convert -O qcow2"
    )]
    Foreign {
        /// The image.
        image: PathBuf,
        /// What it is.
        format: &'static str,
    },
    /// Its data is encrypted.
    #[error("image {image:?} is encrypted ({method}), and no key is known")]
    Encrypted {
        /// The image.
        image: PathBuf,
        /// How.
        method: String,
    },
    /// It uses what this version does not read.
    #[error("image {image:?}: {what}, which this version does not read")]
    Unsupported {
        /// The image.
        image: PathBuf,
        /// What.
        what: String,
    },
    /// It contradicts its own format.
    #[error("image {image:?} is damaged: {what}")]
    Damaged {
        /// The image.
        image: PathBuf,
        /// What and where.
        what: String,
    },
    /// Its end is missing.
    #[error("image {image:?} is cut: {what}, and the file has {size_bytes} bytes")]
    Cut {
        /// The image.
        image: PathBuf,
        /// What should be there.
        what: String,
        /// The length of the file.
        size_bytes: u64,
    },
    /// It rests on itself.
    #[error("image {image:?} rests on {parent:?}, which rests on it")]
    Loop {
        /// The image.
        image: PathBuf,
        /// Its parent.
        parent: PathBuf,
    },
    /// Too many images rest on each other.
    #[error("image {image:?} rests on more than {CHAIN_MAX} others")]
    Deep {
        /// The first one.
        image: PathBuf,
    },
}

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
    if let Some(format) = foreign(&head) {
        return Err(Error::Foreign { image: opened.file.path, format });
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
    open_ambiguous(opened, folders)
}

/// A file with the name of a raw image and the beginning of a qcow2 image.
fn open_ambiguous(opened: Opened, folders: &[PathBuf]) -> Result<Image, Error> {
    let (mut image, note) = match qcow2::check_header(&opened) {
        Ok(()) => (qcow2::open(opened, folders)?, "it is named as a raw image, and read as the qcow2 image that it is"),
        Err(Error::Damaged { .. }) => (
            raw::open(opened)?,
            "it begins as a qcow2 image does and has no header of one: read as the raw image it is named",
        ),
        Err(error) => return Err(error),
    };
    image.notes.push(note.to_owned());
    Ok(image)
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

/// Formats that others read: what a file begins with, or has at byte 64.
///
/// Sources: QEMU `block/vmdk.c`, `vdi.c`, `vhdx.c`, `vpc.c`, `qed.c`, `parallels.c`; the rest are forms in which disks
/// lie on backup servers, compressed as a whole. LUKS is not among them: a raw disk may be encrypted by its guest.
const FOREIGN: [(&str, usize, &[u8]); 14] = [
    ("VMDK", 0, b"KDMV"),
    ("VMDK", 0, b"COWD"),
    ("VMDK descriptor", 0, b"# Disk DescriptorFile"),
    ("VDI", 64, &[0x7f, 0x10, 0xda, 0xbe]),
    ("VHDX", 0, b"vhdxfile"),
    ("VHD", 0, b"conectix"),
    ("QED", 0, b"QED\0"),
    ("qcow (version 1)", 0, b"QFI\xfb\0\0\0\x01"),
    ("Parallels", 0, b"WithoutFreeSpace"),
    ("Parallels", 0, b"WithouFreSpacExt"),
    ("VMA", 0, b"VMA\0"),
    ("zstd", 0, &[0x28, 0xb5, 0x2f, 0xfd]),
    ("gzip", 0, &[0x1f, 0x8b, 0x08]),
    ("xz", 0, b"\xfd7zXZ\0"),
];

fn foreign(head: &[u8]) -> Option<&'static str> {
    let is = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    FOREIGN.iter().find(|(_, at, magic)| is(*at, magic)).map(|(format, ..)| *format)
}

impl Image {
    fn new(opened: &Opened, kind: Kind, layer: Layer, parent: Parent) -> Self {
        Self {
            path: opened.file.path.clone(),
            key: opened.key,
            kind,
            layer,
            parent,
            snapshots: Vec::new(),
            bitmaps: Vec::new(),
            level: None,
            moment: Moment::default(),
            notes: Vec::new(),
        }
    }
}

/// What is wrong with the file that is being read, with its name.
impl Opened {
    fn image(&self) -> PathBuf {
        self.file.path.clone()
    }

    fn read(&self, at: u64, length: u64) -> Result<Vec<u8>, Error> {
        let size_bytes = self.device.size_bytes;
        if at.checked_add(length).is_none_or(|end| end > size_bytes) {
            return Err(self.cut(format!("{length} bytes at byte {at} are needed")));
        }
        block::bytes::read(&self.device, at, length).map_err(|error| self.trouble(error))
    }

    fn check_disk(&self, size_bytes: u64) -> Result<(), Error> {
        if size_bytes > DISK_BYTES_MAX {
            return Err(self.damaged(format!("it tells of a disk of {size_bytes} bytes")));
        }
        Ok(())
    }

    fn trouble(&self, error: block::Error) -> Error {
        match error {
            block::Error::Read { at, length, source } => self.unread(at, length, source),
            block::Error::NotInUse(_) => self.damaged(error.to_string()),
            block::Error::Damaged(what) => self.damaged(what),
            block::Error::Unsupported(what) => self.unsupported(what),
        }
    }

    fn unread(&self, at: u64, length: u64, source: io::Error) -> Error {
        Error::Read { image: self.image(), at, length, source }
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged { image: self.image(), what: what.into() }
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { image: self.image(), what: what.into() }
    }

    fn cut(&self, what: impl Into<String>) -> Error {
        Error::Cut { image: self.image(), what: what.into(), size_bytes: self.device.size_bytes }
    }
}
