//! `index`: what other tools made becomes generations, and what was made of it before is looked at.
//!
//! Every run begins with a look at the stores and copies of its source, and writes down what it saw. Then it walks the copies that
//! were young when they were indexed or that were touched since, and indexes anew what is not what it was; then it indexes
//! what is new, oldest first. What is indexed again is read again; a volume, whose bricks have changed since, from its manifest.
//!
//! Promises: running it again finds nothing to do. A copy that cannot be indexed does not stop the others, nor a source the other
//! sources: after a failure what it left is removed before anything else is written. A full disk ends the run. What is
//! gone, and why that is a finding or not, is in the report. Never writes to a copy.

pub(super) mod disk;
mod error;
mod gone;
mod images;
mod list;
mod maps;
mod moments;
mod recognise;
pub(super) mod replay;
mod report;
pub(super) mod seen;
pub(super) mod share;
mod which;
mod wish;
mod work;

pub use error::Error;
pub use list::{ListError, ListReport, ListWish, check_has_lists, index_list};
pub use report::{Event, Gone, Indexed, OneCopy, Outcome, Report, SourceReport};
pub use wish::{DiskWish, Which, Wish};
pub(super) use work::Work;
pub use work::{Inputs, Locked};

use super::kinds::jobs_of;
use crate::catalog::{self, Looked, Reader};
use crate::model::Reach;
use crate::source::own_folder;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

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
                work.is_one_of_all = true;
                let done = run(&mut work);
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
    run(&mut work)?;
    Ok(Report { sources: vec![work.finish()] })
}

fn run(work: &mut Work<'_>) -> Result<(), Error> {
    if let Some((folder, silence)) = silent_folder(work) {
        return leave_silent(work, &folder, silence);
    }
    (jobs_of(work.kind()?).index)(work)
}

/// Returns the folder in which images or own copies of the source lie, if it does not answer.
fn silent_folder(work: &Work<'_>) -> Option<(PathBuf, io::Error)> {
    let source = work.source;
    // Settings that cannot be read are an error of the run.
    let folder = own_folder(work.kind().ok()?, &source.settings, &source.name).ok()??;
    let listed = folder.clone();
    let asked = work.inputs.patience.ask(&folder, move |_| drop(fs::read_dir(listed).map(|mut names| names.next())));
    Some((folder, asked.err()?))
}

/// Leaves a source alone whose folder does not answer.
fn leave_silent(work: &mut Work<'_>, folder: &Path, source: io::Error) -> Result<(), Error> {
    let fail = |source| Err(Error::Io { doing: "looking at", path: folder.to_owned(), source });
    if !matches!(work.wish.which, Which::All) {
        return fail(source);
    }
    work.open()?;
    let row = work.source;
    let mut known = work.writer().known_copies(row)?;
    known.retain(|copy| copy.store_path == folder && !copy.forgotten);
    let stores = work.writer().known_stores(row.id, &[folder])?;
    let silent = stores.into_iter().filter(|store| store.path == folder);
    let stores = silent.map(|store| (store.id, Reach::Unreachable, None)).collect();
    let now = work.now();
    work.writer().write_looked(&Looked { stores, copies: Vec::new() }, now)?;
    if known.is_empty() {
        // Nothing is known of it, so there is nothing else to say.
        return fail(source);
    }
    let (store, why, copies) = (folder.to_owned(), source.to_string(), known.len() as u64);
    work.emit(Event::Unreachable { store, why, copies, hint: None });
    Ok(())
}
