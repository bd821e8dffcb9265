//! Plain data that every floor shares: ids, names, times, attributes, and what a source says of a tree.
//!
//! Promises: values are checked at the door (a [`EntryName`] has no slash, a [`Time`] lies in the
//! catalog's range), so inner rooms never check again. Never touches a disk, a clock or the
//! environment.

mod cause;
mod date;
mod disk;
mod generation;
mod id;
mod listing;
pub mod manifest;
mod name;
mod node;
mod policy;
mod rule;
mod time;

pub use cause::{Hinted, chain};
pub use date::{AsOf, DateError, Fold, nameable_instant, parse_copy_name, parse_date, parse_instant};
pub use disk::{
    BadMap, DISK_BITS, DISKS_MAX, DiskRow, Extent, FileMap, GUEST_BYTES, ImageFile, Layer, LayerBytes, LayerExtent,
    Packing, VolumeRow, disk_begin,
};
pub use generation::{
    Consistency, CopyState, Counts, FilesystemId, Finding, FindingKind, Level, Reach, Scan, SeenCopy, SeenRoot,
    SourceKind, Status,
};
pub use id::{CopyId, GenerationId, NodeId, ObjectId, SourceId, StoreId, ViewId};
pub use listing::{Changes, FileKey, ListedEntry, Listing, NodeState, UNPROVEN_ORIGIN, Walked};
pub use name::{EntryName, NameError, RelPath, escape_bytes, folded, printable, printable_json, unescape_bytes};
pub use node::{Attrs, Kind, XattrSet, mode_text};
pub use policy::{Policy, Visibility};
pub use rule::{Key, Rule};
pub use time::{FOREVER, Time, Timestamp};
