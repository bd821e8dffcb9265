//! `index`: what other tools made becomes generations, and what was made of it before is looked at.
//!
//! Every run begins with a look at the stores and copies of its source, and writes down what it saw. Then it walks the copies that
//! were young when they were indexed or that were touched since, and indexes anew what is not what it was; then it indexes
//! what is new, oldest first. What is indexed again is read again; a volume, whose bricks have changed since, from its manifest.
//!
//! Promises: running it again finds nothing to do. A copy that cannot be indexed does not stop the others, nor a source the other
//! sources: after a failure what it left is removed before anything else is written. A full disk ends the run. What is
//! gone, and why that is a finding or not, is in the report. Never writes to a copy.

mod disk;
mod error;
mod gone;
mod recognise;
mod replay;
mod report;
mod seen;
mod share;
mod wish;
mod work;

pub use error::Error;
pub use report::{Event, Gone, Indexed, OneCopy, Outcome, Report, SourceReport};
pub use wish::{DiskWish, Which, Wish};
pub use work::{Inputs, Locked};

use crate::catalog::{self, Reader};
use crate::model::SourceKind;
use std::time::Duration;
use work::Work;

/// How long a store may be silent before it counts as one that cannot be reached.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Indexes all sources, each in turn; `each` hears of everything as it happens, with the name of the source.
///
/// # Errors
/// [`Error::Catalog`] if the sources cannot be listed. What goes wrong with one of them is in the report.
pub fn index_all(inputs: &Inputs<'_>, wish: &Wish, each: &mut dyn FnMut(&str, &Event)) -> Result<Report, Error> {
    let mut report = Report::default();
    let sources = Reader::open(inputs.catalog)?.sources()?;
    for source in sources {
        let (one, is_full) = match (inputs.lock)(&source.name) {
            Ok((source, _lock)) => {
                let mut work = Work::new(inputs, wish, &source, each);
                let done = match SourceKind::from_word(&source.kind) {
                    // It has no copies of others; its own are looked at.
                    Some(SourceKind::Gluster) => work.look_only(),
                    _ => work.run(),
                };
                work.end(done)
            }
            // It was removed meanwhile.
            Err(catalog::Error::NoSuchSource { .. }) => continue,
            Err(e) => Work::new(inputs, wish, &source, each).end(Err(e.into())),
        };
        report.sources.push(one);
        if is_full {
            break;
        }
    }
    Ok(report)
}

/// Indexes one source.
///
/// # Errors
/// [`Error`] if nothing was done. What goes wrong with one copy of several is in the report.
pub fn index_source(
    inputs: &Inputs<'_>,
    wish: &Wish,
    name: &str,
    each: &mut dyn FnMut(&str, &Event),
) -> Result<Report, Error> {
    let (source, _lock) = (inputs.lock)(name)?;
    let mut work = Work::new(inputs, wish, &source, each);
    work.run()?;
    Ok(Report { sources: vec![work.finish()] })
}

impl Work<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let kind = SourceKind::from_word(&self.source.kind).ok_or_else(|| self.unknown_kind())?;
        match (kind, &self.wish.which) {
            (SourceKind::Gluster, Which::Generation(_)) | (SourceKind::Nfs | SourceKind::Block, _) => self.open()?,
            (SourceKind::Gluster, _) => return Err(Error::IsTaken { name: self.source.name.clone() }),
        }
        match (kind, &self.wish.which) {
            (SourceKind::Nfs, _) => share::run(self),
            (SourceKind::Gluster | SourceKind::Block, Which::Generation(at)) if !self.wish.again => {
                Err(Error::IndexedAlready { name: self.source.name.clone(), at: *at })
            }
            (SourceKind::Block, _) => disk::run(self),
            (SourceKind::Gluster, Which::Generation(at)) => replay::run(self, *at),
            (SourceKind::Gluster, _) => self.look_only(),
        }
    }

    fn unknown_kind(&self) -> Error {
        Error::UnknownKind { name: self.source.name.clone(), kind: self.source.kind.clone() }
    }
}
