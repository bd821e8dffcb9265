//! What an agent is asked, and the part file in which it answers.
//!
//! A part is JSON lines: the first says what it is ([`Header`]), the last one that it is whole ([`End`], with the
//! number of lines). A part without its end mark was cut off and counts as no answer. Bytes (names, link
//! targets) are text in which what is not plain UTF-8 is escaped as in [`crate::model::escape_bytes`]; values
//! of extended attributes are hexadecimal.
//!
//! Promises: a part is read by the version of this program that knows its `format`, any other is refused with both
//! versions named. Never says what changed: only how a node is now.

use super::Gfid;
use super::volume::VolumeKind;
use crate::model::{Timestamp, escape_bytes, unescape_bytes};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;

/// The version of requests and parts that this program writes and reads.
pub const FORMAT: u32 = 2;

/// A regular file of `DHT_LINKFILE_MODE` (`xlators/cluster/dht/src/dht-common.h`).
const BARE_POINTER_MODE: u32 = 0o101_000;

/// Bytes as text: plain UTF-8 stays, the rest is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(pub Vec<u8>);

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&escape_bytes(&self.0))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        unescape_bytes(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} holds a \\ that begins no escape")))
    }
}

/// Bytes as hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex(pub Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => Ok(Self(digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())),
            _ => Err(serde::de::Error::custom(format!("{text:?} is not bytes in hexadecimal"))),
        }
    }
}

/// A question to the agent of one brick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`FORMAT`].
    pub format: u32,
    /// The name of the volume.
    pub volume: String,
    /// The volume's id as a UUID; the brick must carry it.
    pub volume_id: Gfid,
    /// The root directory of the brick, absolute.
    pub brick: Text,
    /// What is wanted.
    pub want: Want,
    /// Whether file contents on this brick are fragments (disperse): sizes come from `trusted.ec.size`.
    pub fragments: bool,
    /// Of a request that somebody carries to its brick: what its part belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Whole>,
}

/// What requests that belong together say, and their parts after them: so parts that somebody brings tell what they are parts of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// When they were made, in ns since the epoch: those of another moment do not belong to them.
    pub made_ns: i64,
    /// The span that is asked for, in unix seconds; none: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<(u64, u64)>,
    /// How bricks share what they hold.
    pub kind: VolumeKind,
    /// The bricks of the volume, in its order.
    pub bricks: Vec<WholeBrick>,
    /// Which of them is asked, from 0.
    pub number: u32,
}

/// A brick of a [`Whole`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WholeBrick {
    /// Its machine.
    pub host: String,
    /// Its root directory.
    pub path: Text,
    /// It has no bytes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub arbiter: bool,
}

/// What is asked of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// Every node.
    Walk,
    /// The nodes and names that changelogs since the cursor tell of, and these nodes besides.
    Since {
        /// Where the last scan of this brick stopped.
        cursor: Cursor,
        /// Nodes to be told whatever the changelogs say.
        also: Vec<Gfid>,
    },
    /// What the records of a span of time say, and how all that they name is now, with the directories above it.
    Window {
        /// Its beginning, in unix seconds of the brick's clock. The changelog that it lies in is read whole.
        from: u64,
        /// Its end; likewise.
        until: u64,
    },
    /// These nodes.
    Look {
        /// The nodes.
        gfids: Vec<Gfid>,
    },
}

impl Want {
    /// Returns the word by which a part tells what was wanted.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Walk => "walk",
            Self::Since { .. } => "since",
            Self::Window { .. } => "window",
            Self::Look { .. } => "look",
        }
    }
}

/// How far the changelogs of one brick were processed, in that brick's own clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// `trusted.glusterfs.volume-id` of the brick's root: another one is another brick.
    pub volume_id: Gfid,
    /// The name of the HTIME file that was current: `HTIME.1795218773`. Another one means that changelogs were off.
    pub htime: String,
    /// The last slice that was processed, in unix seconds: the end of that slice. 0 if there was none.
    pub last: u64,
    /// The processed slices that end less than [`Cursor::KEPT_S`] before `last`, by name. They are known by name and
    /// not only by `last`: a restart may add one out of order.
    pub done: BTreeSet<String>,
}

impl Cursor {
    /// How long slices are known by name, in seconds.
    pub const KEPT_S: u64 = 3600;
}

/// A line of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Part(Header),
    /// A node, of a walk or not. A walk tells the root by it, right after the header.
    Node(Node),
    /// A walk: a directory, whose [`Line::Entry`] lines follow. Breadth first, each depth in the bytewise order of
    /// the names from the root down; so the parts of all bricks can be read in step. The root comes first, with no names.
    Directory {
        /// The names from the root down to it.
        path: Vec<Text>,
    },
    /// A walk: a name in the last directory, in bytewise order. Pointer files of DHT and what is internal are not told.
    Entry {
        /// The name.
        name: Text,
        /// What it points to.
        state: State,
    },
    /// A node that is not on this brick (or has no name any more: its handle may wait for its last user).
    Gone {
        /// The node.
        gfid: Gfid,
    },
    /// What a name that records tell of points to on this brick now. A pointer file of DHT counts, by its gfid.
    Name {
        /// The directory.
        parent: Gfid,
        /// The name.
        name: Text,
        /// The node, none if there is no such name here.
        gfid: Option<Gfid>,
    },
    /// A window: what its records say of a node and its present state does not.
    Recorded(Recorded),
    /// Shards of a file that lie on this brick changed last at this time, by the brick's clock. A write into a shard leaves
    /// size and times of the file itself as they are. A walk tells them before the first directory.
    Shards {
        /// The file.
        base: Gfid,
        /// The newest change of their inodes.
        changed: Stamp,
    },
    /// Something that cannot be told: a loss, unless another brick tells it.
    Trouble {
        /// Where: a path below the brick, or a handle.
        path: Text,
        /// What happened, for a person.
        detail: String,
    },
    /// The last line.
    End(End),
}

/// What the records of a window say of a node. It may be gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The node.
    pub gfid: Gfid,
    /// It was made. What self-heal brings back is recorded as made too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub made: bool,
    /// Its bytes or attributes changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub changed: bool,
    /// It was made or removed as a directory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub directory: bool,
    /// Names that it had when the window began: the first record of them takes them away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<Was>,
    /// Names that it did not have then: the first record of them gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub came: Vec<NodeName>,
}

/// A name that a node had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Was {
    /// The name.
    pub name: NodeName,
    /// The path below the top of the volume when it was removed, where `changelog.capture-del-path` is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Text>,
}

impl Recorded {
    /// Takes in what the records of another brick say. A name that was there for one of them was there.
    pub fn add(&mut self, other: Self) {
        self.made |= other.made;
        self.changed |= other.changed;
        self.directory |= other.directory;
        for was in other.was {
            match self.was.iter_mut().find(|known| known.name == was.name) {
                Some(known) => known.path = known.path.take().or(was.path),
                None => self.was.push(was),
            }
        }
        self.came.extend(other.came);
        self.came.sort();
        self.came.dedup();
        let was = &self.was;
        self.came.retain(|name| !was.iter().any(|was| was.name == *name));
    }
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the program that wrote it.
    pub asof: String,
    /// The name of the volume.
    pub volume: String,
    /// The volume's id.
    pub volume_id: Gfid,
    /// The root directory of the brick.
    pub brick: Text,
    /// `walk`, `since`, `window` or `look`.
    pub want: String,
    /// The agent's clock when it began, in ns since the epoch.
    pub began_ns: i64,
    /// As in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Whole>,
}

/// The end mark of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How many lines came before this one, the header included.
    pub lines: u64,
    /// Where the next scan goes on. None where changelogs are off or cannot be read (`gaps` says why), and for `look`.
    pub cursor: Option<Cursor>,
    /// Why the changelogs are not complete that changed since the request's cursor; empty: they do. For a walk: why
    /// the next scan cannot be incremental.
    pub gaps: Vec<Gap>,
    /// The slices that were read, by name, in the order of reading.
    pub slices: Vec<String>,
    /// Records in them.
    pub records: u64,
    /// Nodes of which this brick knows that copies of them are to be healed.
    #[serde(default)]
    pub unhealed: Unhealed,
}

/// Nodes that a brick has noted for healing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unhealed {
    /// How many.
    pub nodes: u64,
    /// The sum of their gfids: two bricks that have noted the same nodes have the same one.
    pub sum: u64,
    /// The first of them, in their order.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub first: BTreeSet<Gfid>,
}

impl Unhealed {
    /// How many are named, at most.
    pub const FIRST: usize = 1000;

    /// Takes in a node.
    pub fn add(&mut self, gfid: Gfid) {
        self.first.insert(gfid);
        if self.first.len() > Self::FIRST {
            self.first.pop_last();
        }
        let half = |at: usize| u64::from_be_bytes(gfid.0[at..at + 8].try_into().expect("8 of 16 bytes"));
        self.nodes += 1;
        self.sum = self.sum.wrapping_add(half(0)).wrapping_add(half(8).rotate_left(1));
    }
}

/// A hole in the changelogs of a brick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What was found, for a person: `changelogs were off from ... until ...`.
    pub why: String,
    /// Where it begins, in unix seconds of the brick's clock, if that is known.
    pub from: Option<u64>,
    /// Where it ends.
    pub until: Option<u64>,
}

/// A node with its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// How it is.
    pub state: State,
    /// All its names on this brick, in the order of (directory, name); those below internal directories are left out.
    /// Empty for the root of the volume and for a walk.
    pub names: Vec<NodeName>,
    /// A record told that its bytes changed.
    pub data: bool,
    /// A record told that it was made. What is in a directory of which nobody knew is told only if it was made since.
    #[serde(default, skip_serializing_if = "is_false")]
    pub made: bool,
}

/// A name of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeName {
    /// The directory.
    pub parent: Gfid,
    /// The name in it.
    pub name: Text,
}

/// How a node is, as a client of the volume would see it through this brick alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Who it is.
    pub gfid: Gfid,
    /// `st_mode`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Length in bytes; of a sharded or dispersed file the whole of it.
    pub size: u64,
    /// Bytes allocated on this brick.
    pub allocated: u64,
    /// Link count, without the handle.
    pub nlink: u32,
    /// `st_rdev` of a device, else 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rdev: u64,
    /// Last change of the content: `trusted.glusterfs.mdata` where there is one, else the inode's.
    pub mtime: Stamp,
    /// Last change of the attributes, likewise.
    pub ctime: Stamp,
    /// Target of a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Text>,
    /// The extended attributes that a client sees, in name order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<(Text, Hex)>,
    /// Copies of this node that this brick knows to be behind (`trusted.afr.VOLUME-client-N`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<Behind>,
    /// How often an erasure-coded node changed, as this brick knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,
    /// A pointer file of DHT: the node's names are true, all else is on another brick.
    #[serde(default, skip_serializing_if = "is_false")]
    pub linkto: bool,
    /// Why attributes, target or extended attributes are not all there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// A copy of a node that lacks changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The number of the brick in the volume, from 0.
    pub brick: u32,
    /// Bytes differ.
    pub data: bool,
    /// Attributes differ.
    pub metadata: bool,
    /// Names in it differ.
    pub entries: bool,
}

/// How often an erasure-coded node changed (`trusted.ec.version`): a brick that missed a change stays below the others until it is healed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Versions {
    /// Its bytes, or the names in it.
    pub content: u64,
    /// Its attributes.
    pub metadata: u64,
}

impl State {
    /// Tells whether it may be a pointer file that healing has not completed: it is made with its mode, and gets its attributes later.
    pub fn is_bare_pointer(&self) -> bool {
        self.mode == BARE_POINTER_MODE && self.size == 0
    }
}

/// Seconds since the epoch, and nanoseconds after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp(pub i64, pub u32);

impl From<Timestamp> for Stamp {
    fn from(stamp: Timestamp) -> Self {
        Self(stamp.seconds, stamp.nanos)
    }
}

impl From<Stamp> for Timestamp {
    fn from(stamp: Stamp) -> Self {
        Self { seconds: stamp.0, nanos: stamp.1 }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}
