//! The catalog: one SQLite file that knows every entry, node and version of every generation.
//!
//! Promises: a generation is invisible until [`GenerationWriter::publish`] has committed; a run that was
//! killed leaves nothing that a reader can see, and [`Writer::open`] cleans up after it. Readers ask only
//! at instants of published generations. Statements are prepared once a connection (QPSG is on, so a
//! bound parameter never makes SQLite plan again) and reads happen inside a read transaction that the
//! owner renews ([`Reader::rest`]). A reader never changes the file; writers wait for each other ([`LockWait`]).
//! The only room that speaks SQL to base tables; never opens a file of a backup.
//!
//! The schema, table by table, is in `catalog-schema/`.

mod ask;
mod begin;
mod check;
mod connect;
mod copies;
mod disks;
mod doubt;
mod draft;
mod edit;
mod error;
mod files;
mod forget;
mod functions;
mod generation;
mod generation_rows;
mod guests;
mod history;
mod holder;
mod insert;
mod intern;
mod interval;
mod kept;
mod ledger;
mod listing;
mod lists;
mod lock;
mod manifest;
mod migrate;
mod name_index;
mod notes;
pub mod numbers;
mod objects;
mod older;
mod parts;
mod past;
mod paths;
mod pending;
mod proof;
mod publish;
mod query;
mod reader;
mod registry;
mod restore;
mod rows;
mod running;
mod runs;
mod schema;
mod seen;
mod settle;
mod sources;
mod state;
mod tables;
mod take_out;
mod tee;
mod timeline;
mod unknown;
mod unseen;
mod versions;
mod writer;

pub use crate::model::manifest::Written;
pub use crate::model::{Counts, DiskRow, SeenCopy, SeenRoot, VolumeRow};
pub use ask::{
    Began, Churn, Difference, Differing, End, Fields, Found, Growth, Named, Scope, Side, Stay, Together, Version, What,
    Within,
};
pub use begin::NewGeneration;
pub use check::{Checked, Checking, PAGES, TOLD_MAX, Violation};
pub use connect::refuse_old_log;
pub use copies::{KnownCopy, KnownStore, Looked};
pub use disks::{DiskRecord, PreviousVolume};
pub use error::{Error, Words, damaged};
pub use files::{beside, remove};
pub use functions::Dates;
pub use generation::GenerationWriter;
pub use generation_rows::Published;
pub use guests::{DisksOf, KnownDisk};
pub use holder::{Busy, Held, Holder, Locked};
pub use listing::DirEntry;
pub use lists::GenerationRow;
pub use lock::{CatalogLock, CatalogLockFile, LockWait, SourceLock};
pub use migrate::{Migrated, back_up, copy_catalog, migrate};
pub use objects::{CopyRow, ObjectRow};
pub use pending::OpenRun;
pub use query::{Column, QUERY_BYTES_MAX, Query, QueryLimits};
pub use reader::Reader;
pub use registry::{Registry, RegistrySource};
pub use restore::{Known, KnownGeneration, RestoredSource};
pub use rows::{ChangeOps, NodeRow, Perm, Place, SourceRow};
pub use sources::{NewSource, Resume};
pub use take_out::Forgotten;
pub use writer::Writer;

/// The `user_version` that this program writes and reads.
pub const FORMAT: i64 = schema::FORMAT;

#[cfg(test)]
mod tests;
