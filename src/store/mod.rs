//! Backup bytes: opens files of copies and reads them, and writes copies; the only reader of backup bytes.
//!
//! Promises: a file is read only if it is the file that was indexed (in the directory that was, regular, same owner, group and mode, same
//! size, same mtime to the nanosecond; the last two are checked after each read, too); a read inside the recorded size gives all its
//! bytes or an error, never fewer and never zeros in their place. Nothing outside the copy's directory, and nothing that is mounted
//! over a part of it, is ever opened; links are never followed below a store. No lock is held while a disk or a network is
//! asked, so one hung store delays only those who ask it.
//!
//! Writes only copies of its own ([`CopyWriter`]) and manifests ([`ManifestDraft`]), and never knows the catalog: the caller says where the bytes are and
//! what they should be.

mod copy_root;
mod cost;
mod disk;
mod disk_file;
mod error;
mod manifest;
mod moved;
mod newest;
mod open;
mod open_file;
mod place;
mod plain;
mod tombstone;
mod writer;

pub use cost::StoreCost;
pub use disk::{Disk, DiskMap, is_image_there};
pub use disk_file::Runs;
pub use error::Error;
pub use manifest::{
    FoundManifests, ManifestDraft, ManifestFolder, SecondPlace, Trusted, beside_catalog, copy_all_to_second,
    copy_manifest, copy_to_second, expect_beside_catalog, find_manifests, has_tombstone, is_manifest_name,
    is_tombstone, let_group_read_manifests, manifests_with, mark_removed, numbered, open_manifest, remove_manifest,
    removed_marker, tombstones_in, uuid_text,
};
pub use newest::{SEQUENCE_MAX, newest_at, newest_of, note_newest, noted_newest};
pub use open::Store;
pub use open_file::{OpenFile, Origin};
pub use place::{Identity, Owner, Place};
pub use tombstone::{name_tombstone, prepare_tombstone, prepared_tombstones, read_tombstone};
pub use writer::{CopyWriter, WriterCounts, Written};
