//! One index run: a copy walked, merged and published, or nothing of it kept.
//!
//! Promises: on any error the generation is removed again (or, where the disk is too full even for that, by
//! the next run); the error that is told is the first one. Never decides which copies there are.

use super::Error;
use super::changes::Apply;
use super::keep::{FileToKeep, Keep, UNKNOWN_ORIGIN};
use super::merge::{Digests, Merge};
use super::watch::{self, ExpectedRoot, Watch};
use crate::catalog::{CopyRow, Counts, GenerationWriter, NewGeneration, NodeRow, Place, SourceRow, Writer};
use crate::clock::Clock;
use crate::model::{Changes, FileKey, Level, ListedEntry, Listing, RelPath, Scan, Time, Walked};
use crate::monitor::Monitor;
use crate::source::{FileStamp, Found, NoDigest, OpenCopy, Source};
use std::cell::{Cell, OnceCell};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A copy that is to become a generation.
#[derive(Clone, Debug)]
pub struct NewCopy<'a> {
    /// The source that it is a copy of.
    pub source: &'a SourceRow,
    /// Where it is and when it was taken.
    pub found: &'a Found,
    /// The directory that is recorded as its store: one of its parents, or itself.
    pub store: &'a Path,
    /// Whether it takes the place of the generation of this second.
    pub again: bool,
    /// How long nothing in it must have changed for it to be whole.
    pub settle: Duration,
    /// The directory that it was found to be; none: whatever is at its path.
    pub root: Option<ExpectedRoot>,
}

/// What a run did.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// The generation.
    pub at: Time,
    /// What was counted.
    pub counts: Counts,
    /// Nodes that differ from the generation before; all, for a first one.
    pub changed_nodes: u64,
    /// Whether the copy changed while it was walked.
    pub unstable: bool,
    /// Whether the copy stands still; else it is to be walked once more.
    pub settled: bool,
}

/// Indexes one copy as a generation of its source and publishes it.
///
/// # Errors
/// [`Error`]; then the catalog is as before.
pub fn index_copy(
    writer: &mut Writer,
    copy: &NewCopy<'_>,
    reader: &dyn Source,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Done, Error> {
    let path = &copy.found.path;
    let below = path.strip_prefix(copy.store).map_err(|_| Error::NotACopy { path: path.clone() })?;
    let opened = watch::open(reader, copy.found, copy.root.as_ref())?;
    let store = writer.store_at(copy.store)?;
    let at = copy.found.taken_at;
    let started = Instant::now();
    let new = NewGeneration {
        source: copy.source,
        at,
        level: Level::Full,
        copy: (store, below.as_os_str().as_bytes()),
        now: clock.now(),
        again: copy.again,
    };
    let mut generation = writer.begin(&new)?;
    let moved = Cell::new(false);
    let now = |path: &RelPath, entry: &ListedEntry| {
        let digest = opened.digest(path, &FileStamp::of(entry));
        moved.set(moved.get() || matches!(digest, Err(NoDigest::Changed)));
        digest
    };
    let copy_before = if generation.needs_digests() { generation.previous_copy()? } else { None };
    let before = Before { reader, copy: copy_before, opened: OnceCell::new() };
    let before = |path: &RelPath, version: &NodeRow| before.digest(path, version);
    let digests = generation.needs_digests().then_some(Digests { now: &now, before: &before });
    // What is written while it is walked may be where the walk has been.
    let began = clock.now();
    let mut watch = Watch::of(opened.top());
    let merge = Merge::new(&mut generation, copy.source.rule.by_inode, digests, None, monitor);
    let merged = merge_all(merge, |each| {
        opened.scan(&mut |walked| {
            if let Walked::Listing(listing) = &walked {
                watch.see(listing);
            }
            each(walked)
        })
    });
    let (walked, unstable) = match merged {
        Ok((walked, stats)) => (Ok(Some(walked)), stats.changed || moved.get()),
        Err(e) => (Err(e), false),
    };
    let seen = watch.seen(began, copy.settle, unstable);
    generation.walked(seen);
    Ok(Done { unstable, settled: seen.settled, ..end(generation, walked, started)? })
}

/// The copy of the generation before, opened when it is first asked for.
struct Before<'r> {
    reader: &'r dyn Source,
    /// With the instant of its generation.
    copy: Option<(Time, CopyRow)>,
    opened: OnceCell<Option<Box<dyn OpenCopy + 'r>>>,
}

impl Before<'_> {
    /// Returns the digest of what `path` holds in it, if that has the size and mtime of `version`.
    fn digest(&self, path: &RelPath, version: &NodeRow) -> Option<[u8; 32]> {
        let opened = self.opened.get_or_init(|| {
            let (taken_at, copy) = self.copy.as_ref()?;
            let found = Found { taken_at: *taken_at, path: copy.path.clone() };
            // Under its name there may be another one by now.
            let expected = ExpectedRoot { seen: copy.root?, mtime_s: None };
            watch::open(self.reader, &found, Some(&expected)).ok()
        });
        let file = FileStamp { key: None, size_bytes: version.size_bytes, mtime: version.mtime, ctime: None };
        opened.as_ref()?.digest(path, &file).ok()
    }
}

/// Publishes what was written, or removes it. `written`: the entries that a full walk saw.
pub(super) fn end(
    generation: GenerationWriter<'_>,
    written: Result<Option<u64>, Error>,
    started: Instant,
) -> Result<Done, Error> {
    let at = generation.at();
    let walked = match written {
        Ok(walked) => walked,
        Err(e) => {
            // The first error is the one that matters; what this one leaves, the next writer removes.
            let _ = generation.abandon();
            return Err(e);
        }
    };
    let index_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let published = generation.publish(walked, index_ms)?;
    Ok(Done { at, counts: published.counts, changed_nodes: published.changed_nodes, unstable: false, settled: true })
}

/// A generation that is taken now: its bytes go to a copy of its own.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// The source.
    pub source: &'a SourceRow,
    /// Its instant; newer than every generation of the source.
    pub at: Time,
    /// Whether the copy will hold everything.
    pub level: Level,
    /// The store.
    pub store: &'a Path,
    /// The directory of the copy, below the store.
    pub below: &'a [u8],
}

/// Calls its argument for every directory of a source, breadth first (see [`Listing`]), until that says to break.
pub type Walk<'a> = dyn FnMut(&mut dyn FnMut(Listing) -> ControlFlow<()>) -> Result<(), crate::source::Error> + 'a;

/// What a source tells of a generation that is taken now.
pub enum Told<'a> {
    /// Everything that it has; keys are identities for life.
    All(&'a mut Walk<'a>),
    /// Everything that a copy made by another tool has; a name keeps its node while its type stays the same.
    Copy(&'a mut Walk<'a>),
    /// What changed since its newest generation, which left `before`; `root` is the top directory's key.
    Changes {
        /// What changed.
        changes: Changes,
        /// The key of the top directory.
        root: FileKey,
        /// How it was found out.
        scan: Scan,
    },
}

/// Indexes what a source tells as a generation, while `keep` takes the bytes, and publishes it with what the next one
/// goes on from ([`Keep::seal`]).
///
/// # Errors
/// [`Error`]; then the catalog is as before. [`Error::UnknownDirectory`] asks for a walk.
pub fn index_taken(
    writer: &mut Writer,
    taken: &Taken<'_>,
    told: Told<'_>,
    keep: &mut dyn Keep,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Done, Error> {
    let store = writer.store_at(taken.store)?;
    let started = Instant::now();
    let copy = (store, taken.below);
    let (source, at, level) = (taken.source, taken.at, taken.level);
    let new = NewGeneration { source, at, level, copy, now: clock.now(), again: false };
    let mut generation = writer.begin(&new)?;
    assert!(generation.is_newest(), "what is taken now is the newest");
    let written = write_taken(&mut generation, told, keep, monitor);
    end(generation, written, started)
}

fn write_taken(
    generation: &mut GenerationWriter<'_>,
    told: Told<'_>,
    keep: &mut dyn Keep,
    monitor: &dyn Monitor,
) -> Result<Option<u64>, Error> {
    let (walked, scan) = match told {
        Told::All(walk) => (Some(merge_walk(generation, walk, true, keep, monitor)?), Scan::Walk),
        Told::Copy(walk) => {
            generation.leave_ctimes();
            (Some(merge_walk(generation, walk, false, keep, monitor)?), Scan::Walk)
        }
        Told::Changes { changes, root, scan } => {
            Apply::new(generation, &mut *keep, root, monitor).run(changes)?;
            (None, scan)
        }
    };
    if let Some(since) = keep.wants_again_since() {
        keep_again(generation, keep, since)?;
    }
    generation.let_go()?;
    let resume = keep.seal(generation).map_err(Error::Keep)?;
    generation.resume(scan, &resume)?;
    Ok(walked)
}

/// Offers files to `keep` whose bytes changed after `since` and before this generation.
fn keep_again(generation: &mut GenerationWriter<'_>, keep: &mut dyn Keep, since: Time) -> Result<(), Error> {
    for (node, key) in generation.changed_since(since)? {
        let Some(row) = generation.current_version(node)? else { continue };
        let Place::InObject(held) = row.place else { continue };
        let Some(held) = generation.object_at(held)? else { continue };
        if held <= since || held == generation.at() {
            continue;
        }
        let Some(path) = generation.current_path(node)? else { continue };
        let mut attrs = generation.decode(&row)?;
        let (origin, attrs) = (UNKNOWN_ORIGIN, &mut attrs);
        let file = FileToKeep { path: &path, key, origin, attrs, held: Some(held), held_at: None };
        generation.let_go()?;
        // It is recorded already: what could not be taken again is where it was.
        keep.file(file).map_err(Error::Keep)?;
    }
    Ok(())
}

fn merge_walk(
    generation: &mut GenerationWriter<'_>,
    walk: &mut Walk<'_>,
    by_inode: bool,
    keep: &mut dyn Keep,
    monitor: &dyn Monitor,
) -> Result<u64, Error> {
    let merge = Merge::new(generation, by_inode, None, Some(keep), monitor);
    Ok(merge_all(merge, |each| walk(&mut |listing| each(Walked::Listing(Box::new(listing)))))?.0)
}

/// Merges all that `walk` hands over, and returns the entries that were seen and what the walk says at its end.
fn merge_all<T>(
    mut merge: Merge<'_, '_>,
    walk: impl FnOnce(&mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<T, crate::source::Error>,
) -> Result<(u64, T), Error> {
    let mut trouble = None;
    let told = walk(&mut |walked| {
        let merged = match walked {
            Walked::Listing(listing) => merge.listing(*listing),
            // Whoever waits for the catalog comes in while the disk is waited for.
            Walked::Waiting => merge.let_go(),
        };
        match merged {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                trouble = Some(e);
                ControlFlow::Break(())
            }
        }
    })?;
    match trouble {
        Some(e) => Err(e),
        None => Ok((merge.finish()?, told)),
    }
}
