//! `asof`: every backup generation of every source in one catalog; any moment of the past as a directory.
//!
//! # Words
//!
//! *source*: what is backed up. *generation*: one backup of one source at one instant. *store*: a
//! directory that holds backup bytes; a *copy* of a generation lies in a store. *node*: a file,
//! directory, symlink or device of a source. *entry*: a name in a directory over a span of time,
//! pointing to a node. *version*: attributes and content of a node over a span of time. *view*: all
//! sources as of one instant.
//!
//! # Floors
//!
//! A floor imports only floors below it; `tests/layers.rs` holds that.
//!
//! ```text
//!  5  cli ── main
//!  4  daemon (the only tokio)
//!  3  fuse (the only fuser)   jobs
//!  2  view   index
//!  1  catalog (the only rusqlite)   store (the only reader of backup bytes)   source      blind to each other
//!  0  model   sys (the only unsafe)   monitor   clock
//! ```
//!
//! # Three trips, each passing every room once
//!
//! 1. **Index a generation.** [`jobs::index`] locks the source, then the catalog, looks at the copies and calls
//!    [`index::index_copy`]; the
//!    [`source`] walks a copy and hands over one [`model::Listing`] per directory; [`index`] merges it
//!    with the directory as of the previous generation; [`catalog::GenerationWriter`] writes what
//!    changed and publishes it in one small transaction.
//!    [`jobs::take`] does the same for a source that is no copy: its bytes go into a copy of their own meanwhile.
//! 2. **`readdirplus` of `/backups/@date/src/dir`.** [`fuse`] turns inode number and offset into a
//!    call of [`view`]; `view` decodes the number to (view, node) without a query and asks
//!    [`catalog`] one range query; the entries carry their attributes, so no look-up follows.
//! 3. **`cp` reads a file.** The first read finds the version and the copies that hold it in the
//!    [`catalog`], opens the file through the [`store`] and checks that it is the file that was indexed;
//!    later reads are a `pread` on the kept descriptor and touch no catalog.

pub mod catalog;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod fuse;
pub mod index;
pub mod jobs;
pub mod model;
pub mod monitor;
pub mod source;
pub mod store;
#[allow(unsafe_code)]
pub mod sys;
pub mod view;
