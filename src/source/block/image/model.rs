//! What an image is: which bytes of the disk it has by itself, what it rests on, and what is told of its moment.
//! Nothing is opened here.

use super::gate::{Opened, Why};
use crate::model::{Layer, Level};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What kind of file an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What is told of a moment. Names and texts are as whoever wrote them chose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Its name: the next increment counts from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The name of the moment that the changes count from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// How the guest was held still: `app`, `frozen`, `crash`, `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// When it was: RFC 3339; virtnbdbackup writes it without a time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<String>,
    /// Where the bytes came from, as a URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The guest, as libvirt calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The disk of the guest: `vda`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// 32 hexadecimal digits at random, of this moment alone; none: whoever took it gave it none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The UUID of the source that it was taken for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// That of the moment that the changes count from: an increment is put on no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// When that one was: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_at: Option<String>,
    /// The UUID of the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_uuid: Option<String>,
    /// How it is known what the changes count from: `own` (a bitmap of the name of that checkpoint, which nobody else gives), `libvirt`
    /// (which checked that its bitmaps are whole and recorded), `said` (by the admin).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_by: Option<String>,
    /// BLAKE3 of the data, 64 hexadecimal digits: of a map that of each run that is dirty and not zero, its offset and length (64 bits,
    /// the lowest byte first) and its bytes; of a qcow2 image that of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What libvirt knows of the checkpoint (`virsh checkpoint-dumpxml`), for when it has forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_xml: Option<String>,
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

impl Image {
    pub(super) fn new(opened: &Opened, kind: Kind, layer: Layer, parent: Parent) -> Self {
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
