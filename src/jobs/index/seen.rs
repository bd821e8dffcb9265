//! What a look at the stores and copies of a source means.
//!
//! Promises: copies in a store that is not the one that was known are neither there nor gone. Never looks below a root.

use super::super::look::{Answer, Mark, Root, Task, look};
use super::recognise::Sight;
use crate::catalog::{self, KnownCopy, KnownStore, Looked, SourceRow, Writer};
use crate::model::{Reach, StoreId, Time};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was seen.
pub(super) struct Seen {
    pub(super) stores: Vec<SeenStore>,
    /// In the order of the copies that were asked for.
    pub(super) copies: Vec<SeenCopy>,
}

/// A store as it was seen.
pub(in crate::jobs) struct SeenStore {
    /// Its row; none: it is new.
    pub(super) id: Option<StoreId>,
    pub(super) path: PathBuf,
    /// Why nothing is known of what is in it; none: it can be reached.
    pub(in crate::jobs) why_not: Option<String>,
    /// What it is known by from now on, where that is new.
    pub(super) mark: Option<Vec<u8>>,
}

impl SeenStore {
    /// Writes down that it was there, and what it is known by.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(in crate::jobs) fn note(self, writer: &mut Writer, now: Time) -> Result<(), catalog::Error> {
        let id = match self.id {
            Some(id) => id,
            None => writer.store_at(&self.path)?,
        };
        writer.write_looked(&Looked { stores: vec![(id, Reach::Reachable, self.mark)], copies: Vec::new() }, now)
    }
}

/// Looks at one folder that `source` has images in, or is to have. `within` is how long it may be silent.
///
/// # Errors
/// Those of the catalog.
pub(in crate::jobs) fn see_store(
    writer: &Writer,
    source: &SourceRow,
    folder: &Path,
    within: Duration,
) -> Result<SeenStore, catalog::Error> {
    let mut known = writer.known_copies(source)?;
    known.retain(|copy| copy.store_path == folder && !copy.forgotten);
    let mut stores = writer.known_stores(source.id, &[folder])?;
    stores.retain(|store| store.path == folder);
    let seen = see(&known, &stores, &[folder], within);
    Ok(seen.stores.into_iter().next().expect("it was looked at"))
}

/// A copy as it was seen.
pub(super) struct SeenCopy {
    pub(super) sight: Sight,
    pub(super) root: Option<Root>,
    /// Why it could not be looked at, though its store could.
    pub(super) why_not: Option<String>,
}

impl Seen {
    /// Returns the store at `path`, which was looked at.
    pub(super) fn store(&self, path: &Path) -> &SeenStore {
        self.stores.iter().find(|store| store.path == path).expect("it was looked at")
    }
}

/// Looks at `folders`, at all stores that `known` lie in, and at the roots of these copies.
pub(super) fn see(known: &[KnownCopy], stores: &[KnownStore], folders: &[&Path], within: Duration) -> Seen {
    let mut tasks: Vec<Task> = Vec::with_capacity(stores.len() + folders.len());
    for store in stores.iter().map(|store| store.path.as_path()).chain(folders.iter().copied()) {
        if !tasks.iter().any(|task| task.store == store) {
            tasks.push(Task { store: store.to_owned(), copies: Vec::new() });
        }
    }
    let mut task_of = Vec::with_capacity(known.len());
    for copy in known {
        let number = tasks.iter().position(|task| task.store == copy.store_path).expect("the store of a copy is known");
        task_of.push(number);
        tasks[number].copies.push(copy.below().to_owned());
    }
    let mut roots = Vec::with_capacity(tasks.len());
    let mut seen_stores = Vec::with_capacity(tasks.len());
    for ((number, task), answer) in tasks.iter().enumerate().zip(look(&tasks, within)) {
        let store = stores.get(number);
        let (why_not, mark, copies) = match answer {
            Answer::None(why) => (Some(why), None, None),
            Answer::Store { mark, is_empty, copies } => {
                let is_any_there = copies.iter().any(|root| matches!(root, Ok(Some(_))));
                let recorded = store.and_then(|store| Mark::from_bytes(store.mark.as_deref()?));
                match judge(recorded.as_ref(), &mark, copies.len(), is_any_there, is_empty) {
                    Ok(is_new) => (None, is_new.then(|| mark.to_bytes()), Some(copies)),
                    Err(why) => (Some(why), None, None),
                }
            }
        };
        roots.push(copies.map(Vec::into_iter));
        seen_stores.push(SeenStore { id: store.map(|store| store.id), path: task.store.clone(), why_not, mark });
    }
    // The answers of a store are in the order of its copies.
    let copies = task_of.into_iter().map(|task| {
        let root = roots[task].as_mut().map(|roots| roots.next().expect("there is one for each copy"));
        let (sight, root, why_not) = match root {
            Some(Ok(Some(root))) => (Sight::There, Some(root), None),
            Some(Ok(None)) => (Sight::Missing, None, None),
            Some(Err(e)) => (Sight::Unknown, None, Some(e.to_string())),
            None => (Sight::Unknown, None, None),
        };
        SeenCopy { sight, root, why_not }
    });
    Seen { copies: copies.collect(), stores: seen_stores }
}

/// Tells whether a directory is the store that was known at its path, and whether its mark is to be written down.
///
/// # Errors
/// Why it is not.
fn judge(
    recorded: Option<&Mark>,
    mark: &Mark,
    copies: usize,
    is_any_there: bool,
    is_empty: bool,
) -> Result<bool, String> {
    match recorded {
        Some(recorded) if recorded.is_same(mark) => Ok(recorded.lacks_what(mark)),
        // Where nothing is for life (many FUSE file systems give out inode numbers at each mount) the copies speak for it.
        Some(recorded) if !recorded.is_lasting() && !mark.is_lasting() && is_any_there => Ok(true),
        Some(_) => {
            Err("another directory is there than the one that was known: is its file system mounted? (asof source set NAME --copies DIR, of a disk --images DIR, takes it for the store)".to_owned())
        }
        None if copies > 0 && is_empty => Err("it is empty: is its file system mounted?".to_owned()),
        None => Ok(true),
    }
}
