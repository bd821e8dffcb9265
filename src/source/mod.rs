//! What is backed up, and how its copies are found and walked: one trait, one type per kind of source.
//!
//! Promises: a source reads and never writes; it finds the copies of its generations and tells one of them
//! as a stream of [`crate::model::Listing`]s, breadth first, whatever the kind. After that nobody asks what kind it was.
//! Trouble with one path is a finding inside its listing and does not stop the walk. Never sees the
//! catalog: what is new or known is for the indexer.

pub mod block;
mod copies;
mod error;
pub mod gluster;
mod instant;
pub mod nfs;

use crate::model::SourceKind;
pub use copies::{Discovered, Found, LeftAside, NoCopy, ScanStats, Source};
pub use error::Error;
use std::path::PathBuf;

/// Returns the source of this kind with `settings` as the catalog keeps them (JSON); `zone` is the
/// machine's, for sources that name none.
///
/// Pure: no disk is touched before the first call.
///
/// # Errors
/// [`Error::Settings`], [`Error::Zone`] or [`Error::Pattern`] if the settings do not hold.
pub fn open(kind: SourceKind, settings: &str, zone: &jiff::tz::TimeZone) -> Result<Box<dyn Source>, Error> {
    match kind {
        SourceKind::Gluster | SourceKind::Block => Err(Error::NoCopies(kind)),
        SourceKind::Nfs => Ok(Box::new(nfs::Nfs::new(nfs::Settings::from_json(settings)?, zone)?)),
    }
}

/// Returns the folder that `asof take` writes copies of a source into, if it does; `settings` as the catalog keeps them.
///
/// # Errors
/// [`Error::Settings`].
pub fn own_folder(kind: SourceKind, settings: &str, name: &str) -> Result<Option<PathBuf>, Error> {
    Ok(match kind {
        SourceKind::Nfs => None,
        SourceKind::Gluster => {
            let settings = gluster::Settings::from_json(settings)?;
            (!settings.lists_only).then(|| settings.store.join(name))
        }
        SourceKind::Block => Some(block::Settings::from_json(settings)?.own_folder().to_owned()),
    })
}
