//! The records of a manifest that are JSON: header, end, the layer and the volumes of a disk, tombstones.
//!
//! Promises: what is unknown in a record is passed over, so that a program reads what a later one of the same format added. Names,
//! paths and other bytes are text, escaped as in [`crate::model::escape_bytes`]; digests and UUIDs are hexadecimal.

use super::{Base, CopyAt, End, Header, SourceFacts, Tombstone};
use crate::model::{
    Counts, DiskRow, ImageFile, Key, Layer, Level, NodeId, Rule, SourceKind, Time, Timestamp, VolumeRow, escape_bytes,
    unescape_bytes,
};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

pub(super) fn to_json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

/// Returns the value of a record, if it is one of `T`.
pub(super) fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonHeader {
    source: JsonSource,
    taken_at: i64,
    level: String,
    number: u64,
    sequence: u64,
    after: u64,
    base: Option<JsonBase>,
    replaces: Option<u64>,
    indexed_at: i64,
    copy: Option<JsonCopy>,
}

#[derive(Serialize, Deserialize)]
struct JsonSource {
    uuid: String,
    name: String,
    kind: String,
    settings: String,
    policy: String,
    rule: String,
    by_inode: bool,
    root: i64,
    added_at: i64,
}

#[derive(Serialize, Deserialize)]
struct JsonBase {
    at: i64,
    sequence: u64,
    indexed_at: Option<i64>,
    state_hash: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct JsonCopy {
    store: String,
    path: String,
}

impl JsonHeader {
    pub(super) fn of(header: &Header) -> Self {
        let source = &header.source;
        Self {
            source: JsonSource {
                uuid: hex(&source.uuid.expect("a source of format 2 has a UUID")),
                name: source.name.clone(),
                kind: source.kind.word().to_owned(),
                settings: source.settings.clone(),
                policy: source.policy.clone(),
                rule: source.rule.key.word().to_owned(),
                by_inode: source.rule.by_inode,
                root: source.root.0,
                added_at: source.added_at.0,
            },
            taken_at: header.taken_at.0,
            level: header.level.word().to_owned(),
            number: header.number,
            sequence: header.sequence,
            after: header.after,
            base: header.base.as_ref().map(JsonBase::of),
            replaces: header.replaces,
            indexed_at: header.indexed_at.0,
            copy: header.copy.as_ref().map(|copy| JsonCopy { store: escaped(&copy.store), path: escaped(&copy.path) }),
        }
    }

    /// Returns the header, if all that it says can be.
    pub(super) fn header(self) -> Option<Header> {
        let source = self.source;
        let copy = match self.copy {
            Some(copy) => Some(CopyAt { store: unescape_bytes(&copy.store)?, path: unescape_bytes(&copy.path)? }),
            None => None,
        };
        Some(Header {
            format: super::FORMAT,
            source: SourceFacts {
                uuid: Some(unhex(&source.uuid)?),
                name: source.name,
                kind: SourceKind::from_word(&source.kind)?,
                settings: source.settings,
                policy: source.policy,
                rule: Rule { key: Key::from_word(&source.rule)?, by_inode: source.by_inode },
                root: node(source.root)?,
                added_at: Time(source.added_at),
            },
            taken_at: Time(self.taken_at),
            level: Level::from_word(&self.level)?,
            number: self.number,
            sequence: self.sequence,
            after: self.after,
            base: match self.base {
                Some(base) => Some(base.base()?),
                None => None,
            },
            replaces: self.replaces,
            indexed_at: Time(self.indexed_at),
            copy,
        })
    }
}

impl JsonBase {
    fn of(base: &Base) -> Self {
        Self {
            at: base.at.0,
            sequence: base.sequence,
            indexed_at: base.indexed_at.map(|at| at.0),
            state_hash: base.state_hash.map(|hash| hex(&hash)),
        }
    }

    fn base(self) -> Option<Base> {
        Some(Base {
            at: Time(self.at),
            sequence: self.sequence,
            indexed_at: self.indexed_at.map(Time),
            state_hash: unhex_hash(self.state_hash)?,
        })
    }
}

/// Returns the state hash that a record has, if it has one; none if that is no hash.
fn unhex_hash(text: Option<String>) -> Option<Option<[u8; 32]>> {
    text.map_or(Some(None), |text| unhex(&text).map(Some))
}

fn node(number: i64) -> Option<NodeId> {
    (0..super::columns::NODE_MAX.0).contains(&number).then_some(NodeId(number))
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonEnd {
    edits: u64,
    entries: u64,
    size_bytes: u64,
    losses: u64,
    notices: u64,
    gaps: u64,
    index_ms: u64,
    state_hash: Option<String>,
    checksum: String,
}

impl JsonEnd {
    pub(super) fn of(end: &End) -> Self {
        let counts = end.counts.expect("what is written was counted");
        Self {
            edits: end.edits,
            entries: counts.entries,
            size_bytes: counts.size_bytes,
            losses: counts.losses,
            notices: counts.notices,
            gaps: counts.gaps,
            index_ms: counts.index_ms,
            state_hash: end.state_hash.map(|hash| hex(&hash)),
            checksum: hex(&end.checksum),
        }
    }

    pub(super) fn end(self) -> Option<End> {
        let Self { entries, size_bytes, losses, notices, gaps, index_ms, .. } = self;
        Some(End {
            counts: Some(Counts { entries, size_bytes, losses, notices, gaps, index_ms }),
            state_hash: unhex_hash(self.state_hash)?,
            edits: self.edits,
            checksum: unhex(&self.checksum)?,
        })
    }
}

/// A layer without its extents.
#[derive(Serialize, Deserialize)]
pub(super) struct JsonHold {
    size: u64,
    files: Vec<JsonFile>,
    parent: Option<i64>,
    format: String,
    acquire: Option<String>,
    checkpoint: Option<String>,
    consistency: Option<String>,
    location: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct JsonFile {
    path: String,
    size: u64,
    mtime: (i64, u32),
}

impl JsonHold {
    pub(super) fn of(row: &DiskRow) -> Self {
        let file = |file: &ImageFile| JsonFile {
            path: escaped(file.path.as_os_str().as_bytes()),
            size: file.size_bytes,
            mtime: (file.mtime.seconds, file.mtime.nanos),
        };
        Self {
            size: row.layer.size_bytes,
            files: row.layer.files.iter().map(file).collect(),
            parent: row.parent.map(|parent| parent.0),
            format: row.format.clone(),
            acquire: row.acquire.clone(),
            checkpoint: row.checkpoint.clone(),
            consistency: row.consistency.clone(),
            location: row.location.clone(),
        }
    }

    pub(super) fn row(self) -> Option<DiskRow> {
        let file = |file: JsonFile| {
            let path = OsString::from_vec(unescape_bytes(&file.path)?).into();
            let (seconds, nanos) = file.mtime;
            (nanos < 1_000_000_000).then_some(ImageFile {
                path,
                size_bytes: file.size,
                mtime: Timestamp { seconds, nanos },
            })
        };
        let files: Option<Vec<ImageFile>> = self.files.into_iter().map(file).collect();
        Some(DiskRow {
            layer: Layer { size_bytes: self.size, files: files?, extents: Vec::new() },
            parent: self.parent.map(Time),
            format: self.format,
            acquire: self.acquire,
            checkpoint: self.checkpoint,
            consistency: self.consistency,
            location: self.location,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonVolume {
    name: String,
    size: u64,
    pieces: String,
    kind: Option<String>,
    browsable: bool,
    label: String,
    fs_label: String,
    uuid: String,
    state: String,
    features: String,
    note: String,
}

impl JsonVolume {
    pub(super) fn of(row: &VolumeRow) -> Self {
        let row = row.clone();
        Self {
            name: row.name,
            size: row.size_bytes,
            pieces: row.pieces,
            kind: row.kind,
            browsable: row.browsable,
            label: row.label,
            fs_label: row.fs_label,
            uuid: row.uuid,
            state: row.state,
            features: row.features,
            note: row.note,
        }
    }

    pub(super) fn row(self) -> VolumeRow {
        VolumeRow {
            name: self.name,
            size_bytes: self.size,
            pieces: self.pieces,
            kind: self.kind,
            browsable: self.browsable,
            label: self.label,
            fs_label: self.fs_label,
            uuid: self.uuid,
            state: self.state,
            features: self.features,
            note: self.note,
        }
    }
}

/// What [`Tombstone::encode`] writes: one line of JSON, and the BLAKE3 of its other fields as `source at sequence after forgotten_at`
/// and, where it is there, `indexed_at`.
#[derive(Serialize, Deserialize)]
struct JsonTombstone {
    tombstone: u32,
    source: String,
    at: i64,
    sequence: u64,
    indexed_at: Option<i64>,
    after: u64,
    forgotten_at: i64,
    checksum: String,
}

impl Tombstone {
    /// Returns its file.
    pub fn encode(&self) -> Vec<u8> {
        let json = JsonTombstone {
            tombstone: 1,
            source: hex(&self.source),
            at: self.at.0,
            sequence: self.sequence,
            indexed_at: self.indexed_at.map(|at| at.0),
            after: self.after,
            forgotten_at: self.forgotten_at.0,
            checksum: self.checksum(),
        };
        let mut bytes = serde_json::to_vec(&json).expect("numbers and text are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Returns the tombstone that a file holds.
    ///
    /// # Errors
    /// [`super::Error`].
    pub fn decode(bytes: &[u8]) -> Result<Self, super::Error> {
        let json: JsonTombstone = from_json(bytes).ok_or(super::Error::NotOne)?;
        if json.tombstone != 1 {
            return Err(super::Error::TooNew { found: json.tombstone });
        }
        let source = unhex(&json.source).ok_or(super::Error::NotOne)?;
        let tombstone = Self {
            source,
            at: Time(json.at),
            sequence: json.sequence,
            indexed_at: json.indexed_at.map(Time),
            after: json.after,
            forgotten_at: Time(json.forgotten_at),
        };
        match tombstone.checksum() == json.checksum {
            true => Ok(tombstone),
            false => Err(super::Error::Damaged { edits: 0, what: "its checksum is another one" }),
        }
    }

    fn checksum(&self) -> String {
        let Self { source, at, sequence, indexed_at, after, forgotten_at } = self;
        let mut text = format!("{} {} {sequence} {after} {}", hex(source), at.0, forgotten_at.0);
        if let Some(at) = indexed_at {
            text.push_str(&format!(" {}", at.0));
        }
        hex(blake3::hash(text.as_bytes()).as_bytes())
    }
}

fn escaped(bytes: &[u8]) -> String {
    escape_bytes(bytes).into_owned()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the bytes that `text` spells, if they are as many.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex_all(text)?.try_into().ok()
}

pub(super) fn unhex_all(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
