//! Disks: what image files hold of them, and what is on them (partitions, volumes, file systems).
//!
//! Promises: every byte that is read here may be hostile. Nothing panics, loops or allocates without a bound that the
//! device's size or a named constant gives; what is wrong is told with the place where it is wrong. Checksums are
//! verified where the format has them. Only files inside the folders that the source names are opened, never for
//! writing. A file system is read for its nodes and where their bytes lie; what the bytes are is nobody's business here.

mod bytes;
mod describe;
pub mod discover;
pub mod ext4;
pub mod fat;
pub mod image;
mod location;
pub mod nbd;
mod settings;
pub mod volumes;
mod which;
pub mod xfs;

pub use describe::DESCRIPTION;
pub use location::{BadLocation, Location};
pub use settings::{AskedGuest, Domain, Method, OWN_BITMAP, Settings};
pub use which::{disk_of_name, disks_of_names, guest_of_name, has_word};

use crate::model::{Attrs, EntryName, FileMap};
use crate::sys::read;
use std::fs::File;
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// Something with bytes at offsets: a disk as of a generation, a partition of it, an image file.
pub trait Device: Send + Sync {
    /// Returns its size in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if that reaches past the end; what reading said.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Says that this will be read soon, so that it may be fetched meanwhile. Never waits for it, and never fails.
    fn read_ahead(&self, _offset: u64, _length: u64) {}
}

/// An image file, or a block device, as it is.
#[derive(Debug)]
pub struct FileDevice {
    /// Open for reading.
    pub file: File,
    /// Its length.
    pub size_bytes: u64,
}

impl Device for FileDevice {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn read_ahead(&self, offset: u64, length: u64) {
        read::read_ahead(self.file.as_fd(), offset, length);
    }
}

/// Why something on a disk cannot be read: what is wrong and where, in one line without a full stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device does not give its bytes.
    #[error("cannot read {length} bytes at byte {at}")]
    Read {
        /// Where.
        at: u64,
        /// How much was wanted.
        length: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An inode that nobody uses.
    #[error("inode {0} is not in use")]
    NotInUse(u64),
    /// It contradicts its own format, or a checksum does not hold.
    #[error("{0}")]
    Damaged(String),
    /// It uses what this version does not read.
    #[error("{0}")]
    Unsupported(String),
}

/// What was in the way of reading a file system as it would be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing: it was unmounted or frozen.
    Clean,
    /// Its log holds what is not in place yet; this many blocks were taken from there.
    Replayed {
        /// Blocks.
        blocks: u64,
    },
    /// It says that it was in use, and it has no log: what was written last may be there in part.
    InUse,
}

/// What a file system says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// `ext2`, `ext3`, `ext4`, `xfs`, `vfat`.
    pub kind: &'static str,
    /// Its UUID, as `blkid` writes it.
    pub uuid: String,
    /// Its label, escaped where it is not plain text.
    pub label: String,
    /// What was in the way.
    pub state: State,
    /// The features it uses, by the names that `dumpe2fs` or `xfs_info` give them; of FAT its width.
    pub features: Vec<String>,
    /// What is odd with it as a whole and loses nothing, in one line, if something is.
    pub odd: Option<String>,
}

/// Where the content of a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// It has none (a device, a symbolic link: its target is among the attributes).
    None,
    /// Here: it lies inside the inode, or is in the log only.
    Bytes(Vec<u8>),
    /// On the volume; offsets count from the start of the volume. Directories too.
    Mapped(FileMap),
    /// Its attributes are known and its bytes cannot be had, for this reason (encrypted; a damaged extent tree).
    Unreadable(String),
}

/// A node of a file system.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Its number.
    pub number: u64,
    /// Which of the nodes that had the number (`i_generation`, `di_gen`).
    pub generation: u32,
    /// Its attributes as the kernel would tell them; POSIX ACLs as `system.posix_acl_*` in the form of `getxattr(2)`, the
    /// target of a symbolic link, `rdev` as `stat(2)` gives it, `allocated_bytes` where less than the size.
    pub attrs: Attrs,
    /// Where its content is.
    pub content: Content,
    /// What of its attributes is not to be had, if something is not: then `attrs.xattrs` or `attrs.target` is empty.
    pub unreadable: Option<String>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: EntryName,
    /// The number of the inode that it points to.
    pub inode: u64,
}

/// A file system that can be read.
pub trait FileSystem {
    /// Returns what it says of itself.
    fn info(&self) -> &Info;

    /// Calls `each` for every run of the volume that the log has other bytes for: offset and length, in order.
    fn logged(&self, each: &mut dyn FnMut(u64, u64));

    /// Returns the number of its top directory.
    fn root(&self) -> u64;

    /// Returns what tells its nodes by where their records lie; none if they have no records of their own.
    fn records(&self) -> Option<&dyn Records>;

    /// Calls `each` for every inode in use, in the order of the disk, each once.
    /// Inodes of the file system's own (journal, quota) are not told; those without a name may be.
    ///
    /// A record that is damaged comes as its number and what is wrong with it, and the scan goes on.
    ///
    /// # Errors
    /// What keeps it from finding records at all.
    fn scan_inodes(&self, each: &mut dyn FnMut(Result<Inode, (u64, Error)>) -> ControlFlow<()>) -> Result<(), Error>;

    /// Returns the inode of this number.
    ///
    /// # Errors
    /// [`Error::NotInUse`]; or if it is damaged.
    fn inode(&self, number: u64) -> Result<Inode, Error>;

    /// Calls `each` for every entry of `directory` but `.` and `..`, in the order of the disk.
    ///
    /// # Errors
    /// At the first thing that is wrong; entries before it were told. A name that cannot be one (`/`, NUL, `..` again) is
    /// [`Error::Damaged`] after all others were told.
    fn list(&self, directory: &Inode, each: &mut dyn FnMut(Entry)) -> Result<(), Error>;
}

/// A file system whose nodes have records at places that their numbers tell: what changed of it is found by what changed there.
pub trait Records {
    /// Returns what the places and the meaning of its records depend on: where two are equal, a record that has the same bytes at
    /// the same place says the same.
    fn layout(&self) -> String;

    /// Returns where on the volume the record of inode `number` lies or would lie, offset and length; none if there can be no such
    /// inode.
    fn record_of(&self, number: u64) -> Option<(u64, u64)>;

    /// Calls `each` for runs of inode numbers, first and last, whose records lie or would lie in `length` bytes of the volume from
    /// `at` on, or partly. Reads nothing: they need not be in use.
    fn numbers_in(&self, at: u64, length: u64, each: &mut dyn FnMut(RangeInclusive<u64>));

    /// Checks what says where inodes are and which are in use, without reading these.
    ///
    /// # Errors
    /// As [`FileSystem::scan_inodes`] has them for the same damage.
    fn check_tables(&self) -> Result<(), Error>;
}
