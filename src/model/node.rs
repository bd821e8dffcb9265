//! What a name points to: its type and its attributes at one time.
//!
//! Promises: [`Attrs`] holds all that `rsync -aHAXS --numeric-ids` carries except the bytes.
//! Never holds a device number of the file system or an inode number of a copy; those do not
//! survive in backups.

use super::Timestamp;

/// The type of a node, as `st_mode` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// Every kind with its `S_IFMT` bits (`inode(7)`) and the letter that `ls -l` shows.
const KINDS: [(Kind, u32, char); 7] = [
    (Kind::File, 0o100000, '-'),
    (Kind::Directory, 0o040000, 'd'),
    (Kind::Symlink, 0o120000, 'l'),
    (Kind::Fifo, 0o010000, 'p'),
    (Kind::Socket, 0o140000, 's'),
    (Kind::CharDevice, 0o020000, 'c'),
    (Kind::BlockDevice, 0o060000, 'b'),
];

impl Kind {
    /// Returns the kind that `st_mode` names, or none if its `S_IFMT` bits name no kind.
    pub fn from_mode(mode: u32) -> Option<Self> {
        KINDS.iter().find(|k| k.1 == mode & 0o170000).map(|k| k.0)
    }

    /// Returns the `S_IFMT` bits.
    pub fn mode_bits(self) -> u32 {
        KINDS.iter().find(|k| k.0 == self).expect("every kind is in the table").1
    }

    /// Returns the word for it, as SQL has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
        }
    }

    /// Returns the letter that `ls -l` and `find -printf %y` know (`-` for a file).
    pub fn letter(self) -> char {
        KINDS.iter().find(|k| k.0 == self).expect("every kind is in the table").2
    }
}

/// Returns a mode as `ls -l` writes it.
pub fn mode_text(mode: u32) -> String {
    let mut text = String::new();
    text.push(Kind::from_mode(mode).map_or('?', Kind::letter));
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The extended attributes of a version, POSIX ACLs (`system.posix_acl_*`) among them, sorted by name.
///
/// Values are the bytes that `getxattr(2)` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct XattrSet(Vec<(Vec<u8>, Vec<u8>)>);

impl XattrSet {
    /// Returns the set of `items`, sorted by name.
    pub fn new(mut items: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        items.sort();
        Self(items)
    }

    /// Tells whether there is no attribute.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns names and values in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Tells whether a POSIX ACL is among them.
    pub fn has_acl(&self) -> bool {
        self.iter().any(|(name, _)| name.starts_with(b"system.posix_acl_"))
    }

    /// Returns the value of `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.0.binary_search_by(|item| item.0.as_slice().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }
}

/// The attributes of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attrs {
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Length in bytes: of the content, or of a symlink's target; 0 for the other kinds but directories.
    pub size_bytes: u64,
    /// Bytes allocated, where that is less than `size_bytes` (a sparse or compressed file).
    pub allocated_bytes: Option<u64>,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the attributes, as the copy that was seen first had it.
    pub ctime: Timestamp,
    /// Names of this node inside the generation; for a directory what the copy's file system said.
    pub nlink: u32,
    /// Device number (`st_rdev`) of a device node, 0 otherwise.
    pub rdev: u64,
    /// Extended attributes and ACLs.
    pub xattrs: XattrSet,
    /// Target of a symbolic link, empty otherwise.
    pub target: Vec<u8>,
}

impl Attrs {
    /// Returns the type that `mode` names.
    ///
    /// # Panics
    /// If `mode` names none; sources refuse such entries.
    pub fn kind(&self) -> Kind {
        Kind::from_mode(self.mode).expect("attributes carry a known type")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_does() {
        assert_eq!(mode_text(0o100644), "-rw-r--r--");
        assert_eq!(mode_text(0o104755), "-rwsr-xr-x");
        assert_eq!(mode_text(0o102644), "-rw-r-Sr--");
        assert_eq!(mode_text(0o041777), "drwxrwxrwt");
        assert_eq!(mode_text(0o120777), "lrwxrwxrwx");
    }
}
