//! What a client of the volume would see of an inode of a brick, from its `statx` and its extended attributes.
//!
//! Promises: pure; every byte string is taken as hostile: a value of a wrong length is left out and told as unreadable.
//! Never takes the times of the inode where `trusted.glusterfs.mdata` tells others, and never the length of a shard
//! or a fragment for that of the file.

use super::super::Gfid;
use super::super::part::{Behind, Hex, NodeName, Stamp, State, Text, Versions};
use crate::model::{EntryName, Kind};
use crate::sys::walk::Stat;

/// Set-group-id and sticky together: `DHT_STRIP_PHASE1_FLAGS` in `xlators/cluster/dht/src/dht-common.h`.
const MIGRATION_BITS: u32 = 0o3000;
/// `DHT_LINKFILE_MODE`: the whole mode of a pointer file, the type aside.
const POINTER_MODE: u32 = 0o1000;

/// Where extended attributes belong that no client sees. A name that ends with a dot or an underscore stands for all that
/// begin with it.
///
/// `trusted.afr.dirty` and counters of other volumes' names are among them: dirty says that a change was under way
/// on this copy, on every copy alike, and so accuses none; a copy that did miss the change is named by the counters
/// of the others (`afr_selfheal_find_direction`, `xlators/cluster/afr/src/afr-self-heal-common.c`).
const HIDDEN: [&[u8]; 14] = [
    b"trusted.afr.",
    b"trusted.pgfid.",
    b"trusted.glusterfs.", // mdata, layout of directories, quota, shards, geo-replication
    b"trusted.ec.",
    b"trusted.bit-rot.",
    b"trusted.gfs.",        // simple quota
    b"trusted.distribute.", // rebalance
    b"trusted.tier.",
    b"trusted.add-brick",
    b"trusted.replace-brick",
    // XFS lists its ACLs twice: this is the raw form of `system.posix_acl_access`, seen on Linux 6.18.
    b"trusted.SGI_ACL_",
    b"glusterfs.",
    // The label of the brick's own inode. A client's is in `trusted.glusterfs.selinux`
    // (`xlators/features/selinux/src/selinux.h`; `list_xattr_ignore_xattrs` of `posix-helpers.c` hides this one).
    b"security.selinux",
    b"system.sockprotoname",
];

/// What an extended attribute of a brick means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    /// `trusted.gfid`.
    Gfid,
    /// `trusted.gfid2path.*`: one name of the node.
    Path,
    /// `trusted.glusterfs.mdata`.
    Times,
    /// `trusted.glusterfs.dht.linkto`.
    Pointer,
    /// `trusted.glusterfs.shard.file-size`.
    ShardedSize,
    /// `trusted.ec.size`.
    DispersedSize,
    /// `trusted.ec.version`.
    Versions,
    /// `trusted.afr.VOLUME-client-N`.
    Behind(u32),
    /// `trusted.glusterfs.selinux`, which clients see as `security.selinux`.
    Label,
    /// What a client sees as it is.
    Shown,
    /// What no client sees.
    Hidden,
}

impl Attribute {
    /// Returns what `name` means; `accusation` is `trusted.afr.VOLUME-client-`.
    pub(super) fn of(name: &[u8], accusation: &[u8]) -> Self {
        match name {
            b"trusted.gfid" => return Self::Gfid,
            b"trusted.glusterfs.mdata" => return Self::Times,
            b"trusted.glusterfs.dht.linkto" => return Self::Pointer,
            b"trusted.glusterfs.shard.file-size" => return Self::ShardedSize,
            b"trusted.ec.size" => return Self::DispersedSize,
            b"trusted.ec.version" => return Self::Versions,
            b"trusted.glusterfs.selinux" => return Self::Label,
            _ => {}
        }
        if name.starts_with(b"trusted.gfid2path.") {
            return Self::Path;
        }
        if let Some(brick) = name.strip_prefix(accusation)
            && brick.iter().all(u8::is_ascii_digit)
            && let Some(brick) = std::str::from_utf8(brick).ok().and_then(|digits| digits.parse().ok())
        {
            return Self::Behind(brick);
        }
        let is_hidden = HIDDEN.iter().any(|hidden| {
            name == *hidden || (hidden.ends_with(b".") || hidden.ends_with(b"_")) && name.starts_with(hidden)
        });
        if is_hidden { Self::Hidden } else { Self::Shown }
    }
}

/// What the extended attributes of one inode tell.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// Who it is; none for what is not of the volume.
    pub(super) gfid: Option<Gfid>,
    /// The names that it claims to have, as they were found.
    pub(super) names: Vec<NodeName>,
    /// Change time and time of last change of the content.
    times: Option<(Stamp, Stamp)>,
    points_elsewhere: bool,
    sharded_size: Option<u64>,
    dispersed_size: Option<u64>,
    behind: Vec<Behind>,
    versions: Option<Versions>,
    shown: Vec<(Text, Hex)>,
    unreadable: Option<String>,
}

impl Attributes {
    /// Takes in one attribute.
    pub(super) fn take(&mut self, what: Attribute, name: &[u8], value: &[u8]) {
        match what {
            Attribute::Gfid => self.gfid = Gfid::from_bytes(value).filter(|gfid| gfid.0 != [0; 16]),
            // A value that is none is missed when the names are counted.
            Attribute::Path => self.names.extend(parse_name(value)),
            Attribute::Times => match parse_times(value) {
                Some(times) => self.times = Some(times),
                None => self
                    .lacks(format!("trusted.glusterfs.mdata is no 57 bytes with times in them: {} bytes", value.len())),
            },
            Attribute::Pointer => self.points_elsewhere = true,
            Attribute::ShardedSize => match number(value, 0) {
                Some(size) => self.sharded_size = Some(size),
                None => self.lacks(format!("trusted.glusterfs.shard.file-size is {} bytes, expected 32", value.len())),
            },
            Attribute::DispersedSize => match number(value, 0) {
                Some(size) => self.dispersed_size = Some(size),
                None => self.lacks(format!("trusted.ec.size is {} bytes, expected 8", value.len())),
            },
            // One that is none leaves the copy behind all others.
            Attribute::Versions => {
                let versions = number(value, 0).zip(number(value, 8));
                self.versions = versions.map(|(content, metadata)| Versions { content, metadata });
            }
            Attribute::Behind(brick) => {
                let counts = |at: usize| value.chunks(4).nth(at).is_some_and(|count| count.iter().any(|b| *b != 0));
                let behind = Behind { brick, data: counts(0), metadata: counts(1), entries: counts(2) };
                if behind.data || behind.metadata || behind.entries {
                    self.behind.push(behind);
                }
            }
            Attribute::Label => self.shown.push((Text(b"security.selinux".to_vec()), Hex(value.to_vec()))),
            Attribute::Shown => self.shown.push((Text(name.to_vec()), Hex(value.to_vec()))),
            Attribute::Hidden => {}
        }
    }

    /// Notes that something of the state could not be had.
    pub(super) fn lacks(&mut self, what: String) {
        match &mut self.unreadable {
            Some(all) => *all = format!("{all}; {what}"),
            None => self.unreadable = Some(what),
        }
    }

    /// Returns the state of the node `gfid`; `fragments` as in [`super::super::part::Request`].
    pub(super) fn into_state(
        mut self,
        gfid: Gfid,
        kind: Kind,
        stat: &Stat,
        target: Option<Vec<u8>>,
        fragments: bool,
    ) -> State {
        let is_file = kind == Kind::File;
        let mut mode = stat.mode;
        // The size does not count: rebalance makes a pointer file as long as the file that it is about to copy into it.
        let linkto = is_file && self.points_elsewhere && mode & 0o7777 == POINTER_MODE;
        if is_file && self.points_elsewhere && mode & MIGRATION_BITS == MIGRATION_BITS {
            mode &= !MIGRATION_BITS;
        }
        if is_file && fragments && self.dispersed_size.is_none() && stat.size_bytes > 0 {
            self.lacks("trusted.ec.size is missing, so the length is that of a fragment".to_owned());
        }
        let whole = if fragments { self.dispersed_size } else { self.sharded_size }.filter(|_| is_file && !linkto);
        let (ctime, mtime) = self.times.unwrap_or((stat.ctime.into(), stat.mtime.into()));
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        self.shown.sort();
        self.behind.sort_by_key(|behind| behind.brick);
        State {
            gfid,
            mode,
            uid: stat.uid,
            gid: stat.gid,
            size: whole.unwrap_or(match kind {
                Kind::File | Kind::Directory => stat.size_bytes,
                Kind::Symlink => target.as_ref().map_or(stat.size_bytes, |target| target.len() as u64),
                Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => 0,
            }),
            allocated: whole.unwrap_or(stat.allocated_bytes),
            // One link is the handle. A file that has lost its handle has its name alone.
            nlink: if kind == Kind::Directory { stat.nlink } else { stat.nlink.saturating_sub(1).max(1) },
            rdev: if is_device { stat.rdev } else { 0 },
            mtime,
            ctime,
            target: target.map(Text),
            xattrs: self.shown,
            behind: self.behind,
            versions: self.versions,
            linkto,
            unreadable: self.unreadable,
        }
    }
}

/// Returns the name that a value of `trusted.gfid2path.*` tells: `<parent gfid>/<name>`.
pub(super) fn parse_name(value: &[u8]) -> Option<NodeName> {
    let (parent, name) = value.split_at_checked(36)?;
    let parent = std::str::from_utf8(parent).ok()?.parse().ok()?;
    let name = EntryName::new(name.strip_prefix(b"/")?).ok()?;
    Some(NodeName { parent, name: Text(name.as_bytes().to_vec()) })
}

/// Returns the name that the handle of a directory tells: `../../cc/dd/<parent gfid>/<name>`
/// (`posix_handle_relpath`, `xlators/storage/posix/src/posix-handle.c`).
pub(super) fn parse_handle(target: &[u8]) -> Option<NodeName> {
    let (fan, rest) = target.strip_prefix(b"../../")?.split_at_checked(6)?;
    let at = parse_name(rest)?;
    let expected = format!("{:02x}/{:02x}/", at.parent.0[0], at.parent.0[1]);
    (fan == expected.as_bytes()).then_some(at)
}

/// Returns the file whose shard `name` names: `<gfid of the file>.<number>`.
pub(super) fn parse_shard(name: &[u8]) -> Option<Gfid> {
    let (base, number) = name.split_at_checked(36)?;
    let number = number.strip_prefix(b".")?;
    if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(base).ok()?.parse().ok()
}

/// Returns change time and time of last change of `posix_mdata_disk_t` (`xlators/storage/posix/src/posix-metadata-disk.h`):
/// version u8, flags u64, then ctime, mtime and atime in seconds and nanoseconds, u64 each, all big endian.
///
/// A longer one is of a later version, which adds at the end.
fn parse_times(value: &[u8]) -> Option<(Stamp, Stamp)> {
    number(value, 49)?;
    let stamp = |at: usize| {
        let nanos = u32::try_from(number(value, at + 8)?).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        // Seconds before 1970 are stored as their two's complement.
        Some(Stamp(number(value, at)? as i64, nanos))
    };
    Some((stamp(9)?, stamp(25)?))
}

/// Returns the big endian number at byte `at`.
pub(super) fn number(value: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(value.get(at..at + 8)?.try_into().ok()?))
}
