//! A list of another tool, and a directory with the files that the tool copied for it, as a generation.
//!
//! Lists of glusterfind are wrong in known ways, so the directory decides: what is in it is so, whatever the list says;
//! only of what is not in it is the list believed, and only that a name moved or is gone. So a wrong line costs a finding
//! of kind `anomaly`, and never a file that was copied.
//!
//! A full generation is what the directory holds. For another one:
//!
//! - `NEW`, `MODIFY`: what is there has these attributes and bytes; a name that is not there stays as it was.
//! - `RENAME p q`: the node moves, with all that is below it, unless `p` is in the directory.
//! - `DELETE p`: the name goes, unless `p` is in the directory; a directory goes with all that is left below it.
//! - What is in the directory and in no line is taken too. A directory that the catalog knows, and that is there only for
//!   what is in it, stays as it was: the tool may have made it up.
//!
//! Promises: the directory is indexed in place, nothing of it is copied or changed. Files with one inode number in it are
//! one file; of a file with several names of which some were copied apart, those that look alike stay one. Nodes are
//! found again by their paths. Never older than the newest generation; nothing is published on an error.

mod findings;
mod names;
mod reading;

use super::Error;
use super::keep::{FileToKeep, Keep, KeepError, Kept};
use super::run::{Done, Taken, Told, index_taken};
use crate::catalog::{GenerationWriter, Reader, Resume, SourceRow, Writer};
use crate::clock::Clock;
use crate::model::{Attrs, Changes, FileKey, Finding, Level, Listing, RelPath, Scan, Time};
use crate::monitor::Monitor;
use crate::source::gluster::State;
use crate::source::gluster::list::{Change, Format, Item};
use crate::source::gluster::lists::{Hint, Tree, hints, load_items};
use crate::source::{self, nfs};
use findings::{anomaly, not_copied, still_there};
use names::Names;
use reading::Reading;
use std::collections::HashSet;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Why the next generation that looks at the source itself has to look at everything.
const WALK_NEXT: &str = "the generation before came from a list";

/// A list and a directory that are to become a generation.
#[derive(Clone, Copy, Debug)]
pub struct NewList<'a> {
    /// The source.
    pub source: &'a SourceRow,
    /// The list.
    pub list: &'a Path,
    /// What it looks like.
    pub format: &'a Format,
    /// The directory with the copied files, absolute; it is recorded as the copy.
    pub data: &'a Path,
    /// The instant of the generation.
    pub at: Time,
    /// Whether the directory holds everything. The first generation of a source always is so.
    pub full: bool,
    /// Whether the directory, and the list, may be empty.
    pub may_be_empty: bool,
}

/// What a run did.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// What was indexed.
    pub done: Done,
    /// How much of the source the directory holds.
    pub level: Level,
    /// Records of the list.
    pub lines: u64,
}

/// Indexes a list and a directory as the newest generation of a source.
///
/// **Cost:** one walk of the directory, and a few queries for each name in it and each line. Memory: the list, and for
/// other than full generations the names in the directory.
///
/// # Errors
/// [`Error`]; then the catalog is as before.
pub fn index_list(
    writer: &mut Writer,
    reader: &Reader,
    new: &NewList<'_>,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Listed, Error> {
    let before = writer.resume(new.source.id)?;
    if let Some(newest) = before.as_ref().filter(|newest| newest.at >= new.at) {
        return Err(Error::NotNewer { at: new.at, newest: newest.at });
    }
    let items = load(new)?;
    refuse_nonsense(new, &items, before.is_none())?;
    let level = if new.full || before.is_none() { Level::Full } else { Level::Incremental };
    let mut keep = InPlace { next: next_state(before.as_ref(), level, new.at)?.to_json() };
    let data = new.data.as_os_str().as_bytes();
    let store = new.data.parent().unwrap_or(new.data);
    let below = new.data.strip_prefix(store).map_or(data, |below| below.as_os_str().as_bytes());
    let taken = Taken { source: new.source, at: new.at, level, store, below };
    let done = match &before {
        Some(before) if level == Level::Incremental => {
            let changes = changes(reader, new, &items, before)?;
            // What was asked is not asked again; a reader that stays would keep the log from being folded back.
            reader.rest()?;
            let root = FileKey::of_node(new.source.root);
            let told = Told::Changes { changes, root, scan: Scan::List };
            index_taken(writer, &taken, told, &mut keep, clock, monitor)?
        }
        _ => {
            let mut findings = compare_full(new, &items);
            let mut walk = |each: &mut dyn FnMut(Listing) -> ControlFlow<()>| -> Result<(), source::Error> {
                let tell = &mut |mut listing: Listing| {
                    // With the root, which comes first.
                    listing.findings.splice(0..0, std::mem::take(&mut findings));
                    each(listing)
                };
                nfs::scan_tree(new.data, tell).map(drop)
            };
            index_taken(writer, &taken, Told::Copy(&mut walk), &mut keep, clock, monitor)?
        }
    };
    Ok(Listed { done, level, lines: items.len() as u64 })
}

fn load(new: &NewList<'_>) -> Result<Vec<Item>, Error> {
    let path = || new.list.to_owned();
    let file = std::fs::File::open(new.list).map_err(|source| Error::OpenList { path: path(), source })?;
    load_items(BufReader::new(file), new.format).map_err(|source| Error::List { path: path(), source })
}

/// Refuses what looks like a run of the other tool that failed.
fn refuse_nonsense(new: &NewList<'_>, items: &[Item], is_first: bool) -> Result<(), Error> {
    if let Some(Item::Anomaly(first)) = items.first()
        && items.iter().all(|item| matches!(item, Item::Anomaly(_)))
    {
        let (path, lines, why) = (new.list.to_owned(), items.len() as u64, first.why);
        return Err(Error::NotUnderstood { path, lines, why });
    }
    let copy = |source| source::Error::Copy { path: new.data.to_owned(), source };
    let is_empty = std::fs::read_dir(new.data).map_err(copy)?.next().is_none();
    let names_files =
        items.iter().any(|item| matches!(item, Item::Change { change: Change::New(_) | Change::Modify(_), .. }));
    if is_empty && !new.may_be_empty && (items.is_empty() || names_files || new.full || is_first) {
        return Err(Error::Empty { list: new.list.to_owned(), lines: items.len() as u64, data: new.data.to_owned() });
    }
    Ok(())
}

fn next_state(before: Option<&Resume>, level: Level, at: Time) -> Result<State, Error> {
    let mut state = match before {
        Some(Resume { at, state: Some(text), .. }) => {
            State::from_json(text).map_err(|source| Error::State { at: *at, source })?
        }
        _ => State::default(),
    };
    state.walk_next = Some(WALK_NEXT.to_owned());
    if level == Level::Full {
        state.full_at = at.0;
    }
    Ok(state)
}

/// Returns what lines say of a full generation that its directory does not.
fn compare_full(new: &NewList<'_>, items: &[Item]) -> Vec<Finding> {
    let has = |path: &RelPath| {
        let path = new.data.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
        std::fs::symlink_metadata(path).is_ok()
    };
    let mut is_there = |path: &RelPath, gone: bool| Ok::<_, std::convert::Infallible>(!gone && has(path));
    let Ok(hints) = hints(items, new.format, &mut is_there);
    let made = made_paths(&hints);
    let mut findings = Vec::new();
    for hint in &hints {
        match hint {
            Hint::There { line, path, unsure, .. } if !has(path) => findings.push(not_copied(path, *line, *unsure)),
            Hint::Moved { line, to, .. } if !has(to) => findings.push(not_copied(to, *line, false)),
            Hint::Gone { line, path } if !made.contains(path) && has(path) => findings.push(still_there(path, *line)),
            Hint::There { .. } | Hint::Moved { .. } | Hint::Gone { .. } => {}
            Hint::Amiss { path, detail } => findings.push(anomaly(path, detail.clone())),
        }
    }
    findings
}

/// Returns the paths at which lines say that there is something new.
fn made_paths(hints: &[Hint]) -> HashSet<RelPath> {
    let made = hints.iter().filter_map(|hint| match hint {
        Hint::There { path, new: true, .. } | Hint::Moved { to: path, .. } => Some(path.clone()),
        Hint::There { .. } | Hint::Gone { .. } | Hint::Amiss { .. } => None,
    });
    made.collect()
}

/// Returns what a list and its directory change of the generation before.
fn changes(reader: &Reader, new: &NewList<'_>, items: &[Item], before: &Resume) -> Result<Changes, Error> {
    let mut tree = Tree::load(new.data)?;
    let names = Names::new(reader, before.at, new.source.root);
    let mut is_there = |path: &RelPath, gone: bool| -> Result<bool, Error> {
        if !gone {
            return Ok(tree.has(path));
        }
        let Some(slot) = names.slot_of(path)? else { return Ok(false) };
        Ok(!tree.has(path) && names.before(&slot)?.is_some())
    };
    let hints = hints(items, new.format, &mut is_there)?;
    let entries = std::mem::take(&mut tree.entries);
    let findings = std::mem::take(&mut tree.findings);
    let mut reading = Reading::new(tree, names, made_paths(&hints), findings);
    reading.move_names(&hints)?;
    for hint in &hints {
        reading.believe(hint)?;
    }
    reading.look(entries)
}

/// The bytes are where they are: the walk that told of them has seen them in this run.
struct InPlace {
    next: String,
}

impl Keep for InPlace {
    fn file(&mut self, file: FileToKeep<'_>) -> Result<Kept, KeepError> {
        Ok(match file.held {
            Some(_) => Kept::Held,
            None => Kept::Copied { moved: None },
        })
    }

    fn link(&mut self, _path: &RelPath, _key: FileKey) -> Result<(), KeepError> {
        Ok(())
    }

    fn other(&mut self, _path: &RelPath, _attrs: &Attrs, _is_new: bool) -> Result<(), KeepError> {
        Ok(())
    }

    fn seal(&mut self, _generation: &GenerationWriter<'_>) -> Result<String, KeepError> {
        Ok(std::mem::take(&mut self.next))
    }
}
