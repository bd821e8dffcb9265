//! Rows of `dirent`, `inode`, `perm`, `change` and `source` as values, and back: nowhere else.
//!
//! Promises: what comes out of a row was checked (a kind number that names no kind is an error, not a
//! guess). Never runs a query.

use super::error::Error;
use crate::model::{
    DISK_BITS, EntryName, FilesystemId, Key, Kind, NodeId, ObjectId, Rule, SeenRoot, SourceId, Time, Timestamp,
};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use std::ops::{BitOr, BitOrAssign};

/// Where the bytes of a version are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has none: a directory, fifo, socket.
    None,
    /// At the entry's own path in the copies of every generation in the version's span.
    OwnPath,
    /// In this object: at the path that is pinned there, or else at the node's path as of the object's generation.
    InObject(ObjectId),
    /// In runs of the disk as of this generation: row of `content` with a map; none: it is a hole from end to end.
    OnDisk(Option<i64>),
    /// In the catalog: row of `content`.
    Inline(i64),
    /// None, but a device number.
    Device(u64),
    /// In one run of the disk, from this byte on and as long as the file.
    Run(u64),
    /// The disk itself.
    WholeDisk,
    /// It could not be read when it was indexed.
    Lost,
}

impl Place {
    pub(super) fn from_columns(place: i64, content: Option<i64>) -> FromSqlResult<Self> {
        match (place, content) {
            (0, _) => Ok(Self::None),
            (1, _) => Ok(Self::OwnPath),
            (2, Some(id)) => Ok(Self::InObject(ObjectId(id))),
            (3, id) => Ok(Self::OnDisk(id)),
            (4, Some(id)) => Ok(Self::Inline(id)),
            (5, Some(number)) => Ok(Self::Device(number as u64)),
            (6, Some(at)) => Ok(Self::Run(at as u64)),
            (7, _) => Ok(Self::WholeDisk),
            (9, _) => Ok(Self::Lost),
            (place, _) => Err(FromSqlError::OutOfRange(place)),
        }
    }

    /// Tells whether it is in a copy, where size and mtime tell whether it is the one.
    pub fn is_in_a_copy(self) -> bool {
        matches!(self, Self::OwnPath | Self::InObject(_))
    }

    /// Tells whether it is in an object that may be another generation's.
    pub fn is_in_an_object(self) -> bool {
        matches!(self, Self::InObject(_))
    }

    /// Returns where the disk begins that it is all of, if it is a whole disk.
    pub fn begin_of_disk(self) -> Option<u64> {
        match self {
            Self::WholeDisk => Some(0),
            // No file begins where a disk does.
            Self::Run(at) if at.trailing_zeros() >= DISK_BITS => Some(at),
            _ => None,
        }
    }

    /// Tells whether it is runs of a disk, where the runs and what was written to them tell whether it is the one.
    pub fn is_on_a_disk(self) -> bool {
        matches!(self, Self::OnDisk(_) | Self::Run(_) | Self::WholeDisk)
    }

    /// Tells whether it is the bytes of a file, whose number ([`NodeRow::bytes`]) tells whether they are the same; a target that is
    /// kept in the catalog is compared itself.
    pub fn holds_a_file(self) -> bool {
        self.is_in_a_copy() || self.is_on_a_disk()
    }

    pub(super) fn columns(self) -> (i64, Option<i64>) {
        match self {
            Self::None => (0, None),
            Self::OwnPath => (1, None),
            Self::InObject(id) => (2, Some(id.0)),
            Self::OnDisk(id) => (3, id),
            Self::Inline(id) => (4, Some(id)),
            Self::Device(number) => (5, Some(number as i64)),
            Self::Run(at) => (6, Some(at as i64)),
            Self::WholeDisk => (7, None),
            Self::Lost => (9, None),
        }
    }
}

/// A row of `perm`: type, rights, owner and attribute set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Perm {
    /// `st_mode`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Row of `xattr_set`; 0: none; [`Perm::XATTRS_LOST`]: could not be read.
    pub xattr: i64,
}

impl Perm {
    /// The extended attributes could not be read when the version was indexed.
    pub const XATTRS_LOST: i64 = -1;
    /// Mode bit: a program runs as its owner (`inode(7)`).
    pub const SET_UID: u32 = 0o4000;
    /// Mode bit: a program runs as its group.
    pub const SET_GID: u32 = 0o2000;
    /// Mode bit: only owners may remove what is in the directory.
    pub const STICKY: u32 = 0o1000;
}

/// A row of `inode`: one version of a node, without its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// First generation that has this version.
    pub born: i64,
    /// Row of `perm`.
    pub perm: i64,
    /// Bytes.
    pub size_bytes: u64,
    /// Bytes allocated where less than `size_bytes`.
    pub allocated_bytes: Option<u64>,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the attributes.
    pub ctime: Timestamp,
    /// Names inside the generation.
    pub nlink: u32,
    /// Where the bytes are.
    pub place: Place,
    /// The sequence of the generation that brought them; 0: there are none.
    pub bytes: i64,
}

/// The columns that [`NodeRow::read`] reads, of a table called `i`.
pub(super) const NODE_COLUMNS: &str =
    "i.born, i.perm, i.size, i.allocated, i.mtime, i.mtime_ns, i.ctime_ns, i.nlink, i.place, i.content, i.bytes";

/// How many they are.
pub(super) const NODE_COLUMN_COUNT: usize = 11;

impl NodeRow {
    /// Reads [`NODE_COLUMNS`], the first of which is column `at`.
    pub(super) fn read(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Self> {
        let mtime = Timestamp { seconds: row.get(at + 4)?, nanos: row.get(at + 5)? };
        let place = Place::from_columns(row.get(at + 8)?, row.get(at + 9)?)?;
        Ok(Self {
            born: row.get(at)?,
            perm: row.get(at + 1)?,
            size_bytes: row.get::<_, i64>(at + 2)? as u64,
            allocated_bytes: row.get::<_, Option<i64>>(at + 3)?.map(|n| n as u64),
            mtime,
            ctime: mtime.plus_ns(row.get(at + 6)?),
            nlink: row.get(at + 7)?,
            place,
            bytes: row.get::<_, Option<i64>>(at + 10)?.unwrap_or(0),
        })
    }
}

/// Returns the name of a row as one that was checked.
pub(super) fn checked_name(bytes: &[u8]) -> rusqlite::Result<EntryName> {
    EntryName::new(bytes).map_err(|_| rusqlite::Error::InvalidQuery)
}

/// Reads the root of a copy from four columns, the first of which is column `at`; none: nobody has looked at it.
pub(super) fn read_root(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<SeenRoot>> {
    let columns: (Option<i64>, Option<i64>, Option<i64>) = (row.get(at)?, row.get(at + 1)?, row.get(at + 2)?);
    Ok(match columns {
        (Some(inode), Some(born_ns), Some(ctime_ns)) => {
            let filesystem = row.get::<_, Option<i64>>(at + 3)?.map(|id| FilesystemId(id as u64));
            Some(SeenRoot { inode: inode as u64, born_ns, ctime_ns, filesystem })
        }
        _ => None,
    })
}

/// A kind as the number in `dirent.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KindNumber(pub(super) Kind);

const KIND_NUMBERS: [Kind; 7] =
    [Kind::File, Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice];

impl FromSql for KindNumber {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        let kind = usize::try_from(number).ok().and_then(|n| KIND_NUMBERS.get(n));
        kind.map(|k| Self(*k)).ok_or(FromSqlError::OutOfRange(number))
    }
}

impl KindNumber {
    pub(super) fn number(self) -> u8 {
        KIND_NUMBERS.iter().position(|k| *k == self.0).expect("every kind is in the table") as u8
    }
}

impl ToSql for KindNumber {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::from(self.number())))
    }
}

/// What a generation did to a node, as the bits of `change.op`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeOps(pub i64);

impl ChangeOps {
    /// The node is new.
    pub const CREATED: Self = Self(1);
    /// Its bytes changed, as far as the rule of its source tells.
    pub const CONTENT: Self = Self(2);
    /// Owner, rights, attributes or link count changed.
    pub const ATTRIBUTES: Self = Self(4);
    /// It got a name.
    pub const LINKED: Self = Self(8);
    /// It lost a name.
    pub const UNLINKED: Self = Self(16);

    /// Tells whether some of `other` is in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Tells whether nothing changed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for ChangeOps {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ChangeOps {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A row of `source`.
#[derive(Clone, Debug)]
pub struct SourceRow {
    /// Its row id.
    pub id: SourceId,
    /// Its name.
    pub name: String,
    /// The word of its kind.
    pub kind: String,
    /// JSON that its kind understands.
    pub settings: String,
    /// JSON that no kind reads.
    pub policy: String,
    /// The same source in manifests and in other catalogs; none: it is damaged.
    pub uuid: Option<[u8; 16]>,
    /// Its top directory.
    pub root: NodeId,
    /// When two of its versions are the same.
    pub rule: Rule,
    /// When it was added.
    pub added_at: Time,
}

/// Refuses a name that no source can have.
pub(super) fn check_source_name(name: &str) -> Result<(), Error> {
    let refuse = |why| Err(Error::SourceName { name: name.to_owned(), why });
    match name.as_bytes() {
        [] => refuse("it is empty"),
        [b'@', ..] => refuse("names with @ are dates"),
        [b'.', ..] => refuse("names with a leading dot are hidden"),
        [b'-', ..] => refuse("names with a leading dash are options"),
        bytes if bytes.len() > 255 => refuse("it is longer than 255 bytes"),
        bytes if bytes.iter().any(|b| !(b.is_ascii_alphanumeric() || b"._-".contains(b))) => {
            refuse("it may hold letters, digits, dots, dashes and underscores")
        }
        _ => Ok(()),
    }
}

/// Reads the columns `rule` and `by_inode` of a source, the first of which is column `at`.
pub(super) fn read_rule(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Rule> {
    let key = Key::from_word(row.get_ref(at)?.as_str()?).ok_or(rusqlite::Error::InvalidQuery)?;
    Ok(Rule { key, by_inode: row.get(at + 1)? })
}
