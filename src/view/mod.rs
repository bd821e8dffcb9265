//! All sources as of any instant, as one tree, without FUSE: names to nodes, nodes to attributes and bytes.
//!
//! Promises: what is below a generation never changes ([`Ttl::Forever`]); only the top does, when
//! something is published. Look-ups and listings ask the local catalog and memory, never a store. A listing
//! that was not complete when it was indexed fails; a file whose bytes are not to be had as they were
//! indexed fails; nothing is ever shortened or made up. Numbers mean the same after a restart and in every mount
//! ([`catalog::numbers`]), those of dates that are not listed apart; offsets mean the same after a restart.
//!
//! ```text
//! /                  one directory per instant of any source, one per source, `.asof`; any date can be looked up
//! /@INSTANT/SOURCE   the tree of the newest generation at or before the instant
//! /SOURCE/@INSTANT   the tree of that generation
//! ```
//!
//! Writes nothing but numbers of views; never knows which kind a source is of.

mod content;
mod dates;
mod ino;
mod list_ahead;
mod listing;
mod notes;
mod readers;
mod snapshot;
mod stat;
mod top;
mod xattr;

pub use ino::Ino;
pub use listing::EachEntry;
pub use stat::Stat;
pub use xattr::XattrNeed;

use crate::catalog::numbers::{Numbered, Numbers, numbered};
use crate::catalog::{self, Reader};
use crate::clock::Clock;
use crate::model::{GenerationId, Hinted, NodeId, SourceId, Time, Timestamp, ViewId};
use crate::store::{self, Store};
use ino::Decoded;
use readers::Readers;
use snapshot::{Snapshot, ViewKey};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// A file of a copy is closed when nobody has read it between so many calls of [`Tree::rest`], so that a store
/// can be unmounted a minute after its last reader.
const RESTS_OPEN: u64 = 60;

/// How long a view of all sources is served on after a publication gave its instant another one, in seconds. Nobody can
/// know who is inside: the kernel opens and closes by itself.
const GRACE_S: i64 = 3600;

/// How long an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// For ever: it is about a generation.
    Forever,
    /// About a second: it is about what is published.
    Short,
}

/// The answer to a look-up.
#[derive(Clone, Copy, Debug)]
pub enum Looked {
    /// The name is there.
    Found(Stat, Ttl),
    /// It is not, for as long as this says.
    Missing(Ttl),
}

/// Where the bytes of a file come from.
#[derive(Clone, Debug)]
pub enum Content {
    /// From memory.
    Bytes(Arc<[u8]>),
    /// From a store: open the file, which may take as long as the store likes.
    Stored {
        /// The store of the first copy that is tried.
        store: crate::model::StoreId,
    },
}

/// What a publication made stale in the caches of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Attributes, listing or content changed.
    pub inodes: Vec<Ino>,
    /// This name in this directory means something else now.
    pub names: Vec<(Ino, Vec<u8>)>,
}

/// The size of the newest generations together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of regular files.
    pub bytes: u64,
    /// Names.
    pub entries: u64,
}

/// What an error means to the one who asked, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// There is no such thing.
    NotFound,
    /// It was there once.
    Stale,
    /// A directory is needed.
    NotADirectory,
    /// A directory cannot be read as a file.
    IsADirectory,
    /// The call does not fit this type.
    Invalid,
    /// It is there and cannot be had.
    Io,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The view is gone, or never was.
    #[error("inode {ino:#x} belongs to view {view}, which is not there any more")]
    NoSuchView {
        /// The number asked for.
        ino: u64,
        /// Its view.
        view: ViewId,
    },
    /// The node is not in the view.
    #[error("inode {ino:#x} is not there as of {at}")]
    NoSuchNode {
        /// The number asked for.
        ino: u64,
        /// The instant.
        at: Time,
    },
    /// A number that was never given out.
    #[error("inode {0:#x} is none of a view")]
    Nothing(u64),
    /// A directory is needed.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// A symbolic link is needed.
    #[error("{0} is not a symbolic link")]
    NotASymlink(String),
    /// A regular file is needed.
    #[error("{0} is not a regular file")]
    NotAFile(String),
    /// The directory could not be listed when it was indexed.
    #[error("{0} cannot be listed: it could not be read when it was indexed")]
    Unlisted(String),
    /// The symbolic link or attributes could not be read when they were indexed.
    #[error("{0} has no {1}: they could not be read when it was indexed")]
    Unread(String, &'static str),
    /// No copy has the bytes.
    #[error("{what} has no bytes: {tried}")]
    NoBytes {
        /// The file and its date.
        what: String,
        /// What was tried, each with what was found.
        tried: String,
    },
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// A store.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::NoSuchView { .. }
            | Self::NoSuchNode { .. }
            | Self::Nothing(_)
            | Self::NotADirectory(_)
            | Self::NotASymlink(_)
            | Self::NotAFile(_)
            | Self::Unlisted(_)
            | Self::Unread(..)
            | Self::NoBytes { .. } => None,
        }
    }
}

impl Error {
    /// Returns what the error means to the one who asked.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoSuchView { .. } | Self::NoSuchNode { .. } => ErrorClass::Stale,
            Self::Nothing(_) => ErrorClass::NotFound,
            Self::NotADirectory(_) => ErrorClass::NotADirectory,
            Self::NotASymlink(_) => ErrorClass::Invalid,
            Self::NotAFile(_) => ErrorClass::IsADirectory,
            Self::Unlisted(_) | Self::Unread(..) | Self::NoBytes { .. } | Self::Catalog(_) | Self::Store(_) => {
                ErrorClass::Io
            }
        }
    }
}

/// A node of a backup, with all that is needed to ask the catalog about it.
#[derive(Clone, Debug)]
struct Place {
    view: ViewId,
    source: SourceId,
    root: NodeId,
    node: NodeId,
    /// The generation of the source that the view shows. What is kept in memory goes by it: another one may take its
    /// second.
    generation: GenerationId,
    /// When that was taken.
    at: Time,
    /// Whether something could not be read when that generation was indexed.
    has_losses: bool,
}

/// What an inode number leads to, in the snapshot in which it means something.
enum Spot {
    Root,
    Source(SourceId),
    View(ViewId, ViewKey),
    Notes(ViewId),
    Note(ViewId, usize),
    Node(Place),
}

/// A view that is not there any more.
struct Retired {
    /// The last one that had it.
    snapshot: Arc<Snapshot>,
    /// As of when.
    at: Time,
    /// From then on it is stale.
    until: Time,
}

/// The tree of everything. Shared by all threads.
pub struct Tree {
    catalog: PathBuf,
    readers: Readers,
    watcher: Mutex<(Reader, i64)>,
    now: RwLock<Arc<Snapshot>>,
    numbers: Numbers,
    /// Views of all sources that the snapshot of now no longer has, though it has all their generations.
    retired: RwLock<HashMap<ViewId, Retired>>,
    dates: dates::Dates,
    listings: Arc<listing::Listings>,
    list_ahead: list_ahead::ListAhead,
    /// Readers of its own: what it asks is no trip's cost.
    ahead_readers: Arc<Readers>,
    xattrs: xattr::Cache,
    copies: content::Copies,
    store: Store,
    clock: Arc<dyn Clock>,
    zone: jiff::tz::TimeZone,
}

impl Tree {
    /// Returns the tree over the catalog at `path`; up to `max_open_files` files of copies stay open.
    ///
    /// `zone` is the one of dates without an offset. Cost: the registry, whose size is the number of
    /// generations; no file row is read.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn over(
        path: &Path,
        max_open_files: usize,
        clock: Arc<dyn Clock>,
        zone: jiff::tz::TimeZone,
    ) -> Result<Self, Error> {
        let watcher = Reader::open(path)?;
        let version = watcher.data_version()?;
        let registry = watcher.registry()?;
        watcher.rest()?;
        let read_at = Timestamp { seconds: clock.now().0, nanos: 0 };
        let numbers = Numbers::of(path, registry.catalog);
        Ok(Self {
            catalog: path.to_owned(),
            readers: Readers::new(path.to_owned()),
            watcher: Mutex::new((watcher, version)),
            now: RwLock::new(Arc::new(Snapshot::new(registry, read_at))),
            numbers,
            retired: RwLock::default(),
            dates: dates::Dates::default(),
            listings: Arc::default(),
            list_ahead: list_ahead::ListAhead::default(),
            ahead_readers: Arc::new(Readers::new(path.to_owned())),
            xattrs: xattr::Cache::default(),
            copies: content::Copies::default(),
            store: Store::new(max_open_files),
            clock,
            zone,
        })
    }

    /// Lets a thread read the next directories of a walk ahead, until the tree is dropped.
    pub fn start_list_ahead(&self) {
        self.list_ahead.start(Arc::clone(&self.ahead_readers), Arc::clone(&self.listings));
    }

    /// Returns how many queries the tree has run, for counting costs.
    pub fn query_count(&self) -> u64 {
        self.readers.query_count()
    }

    /// Returns how often stores were asked, for counting costs.
    pub fn store_cost(&self) -> store::StoreCost {
        self.store.cost()
    }

    /// Returns the size of the newest generations together.
    pub fn usage(&self) -> Usage {
        let snapshot = self.snapshot();
        Usage { bytes: snapshot.registry.size_bytes, entries: snapshot.registry.entries }
    }

    /// Ends read transactions that are older than the last call, and views that were dropped long ago; to be called each
    /// second.
    ///
    /// A reader whose transaction cannot be ended says so in the log; it is tried again when it is next used.
    pub fn rest(&self) {
        if let Err(e) = self.readers.turn().and_then(|()| self.ahead_readers.turn()) {
            tracing::error!("{}", crate::model::chain(&e));
        }
        self.store.rest(RESTS_OPEN);
        let now = self.clock.now();
        self.retired.write().unwrap_or_else(PoisonError::into_inner).retain(|_, retired| now < retired.until);
    }

    /// Sees what was published since the last call. Cheap when nothing was: one pragma.
    ///
    /// # Errors
    /// [`Error::Catalog`]; then the tree is as it was.
    pub fn refresh(&self) -> Result<Option<Refreshed>, Error> {
        let mut watcher = lock(&self.watcher);
        let version = watcher.0.data_version()?;
        if version == watcher.1 {
            return Ok(None);
        }
        let registry = watcher.0.registry()?;
        watcher.0.rest()?;
        let old = self.snapshot();
        if registry.same_views(&old.registry) {
            watcher.1 = version;
            return Ok(None);
        }
        let read_at = Timestamp { seconds: self.clock.now().0, nanos: 0 };
        let new = Arc::new(Snapshot::new(registry, read_at));
        // From here on no reader asks inside a transaction that is older than what `new` shows.
        self.readers.turn()?;
        self.ahead_readers.turn()?;
        // Not earlier: after an error it is looked for again.
        watcher.1 = version;
        self.xattrs.clear();
        self.listings.clear();
        self.copies.clear();
        self.numbers.go_on_with(new.registry.catalog);
        let refreshed = self.stale(&old, &new);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(Some(refreshed))
    }

    /// Keeps what `new` no longer has and can still be shown, and tells what a kernel must forget.
    fn stale(&self, old: &Arc<Snapshot>, new: &Snapshot) -> Refreshed {
        let mut refreshed = Refreshed { inodes: vec![Ino::ROOT], names: Vec::new() };
        let is_other_catalog = old.registry.catalog != new.registry.catalog;
        let gone = old.generations().filter(|(id, _)| is_other_catalog || new.generation(*id).is_none());
        for key in gone.map(|(_, key)| key) {
            refreshed.names.extend(key.source.map(|id| (Ino::of_source(id), top::instant_name(key.at))));
        }
        self.retire(old, new, &mut refreshed);
        for source in old.sources().iter().chain(new.sources()) {
            refreshed.inodes.push(Ino::of_source(source.id));
        }
        refreshed.inodes.extend(notes::all_inodes());
        refreshed.inodes.sort_unstable();
        refreshed.inodes.dedup();
        refreshed.names.extend(self.moved_dates(new));
        refreshed
    }

    /// Keeps the views of all sources that `new` no longer has, for a time, and forgets the numbers that nobody needs.
    ///
    /// One of which a generation is gone is stale at once: its rows are gone as well, and what is left would be
    /// another tree.
    fn retire(&self, old: &Arc<Snapshot>, new: &Snapshot, refreshed: &mut Refreshed) {
        let until = Time(self.clock.now().0.saturating_add(GRACE_S));
        let mut retired = self.retired.write().unwrap_or_else(PoisonError::into_inner);
        for (view, vector) in self.numbers.all_known() {
            match old.instant_of(vector) {
                _ if new.instant_of(vector).is_some() => drop(retired.remove(&view)),
                Some(at) => {
                    refreshed.names.push((Ino::ROOT, top::instant_name(at)));
                    retired.insert(view, Retired { snapshot: Arc::clone(old), at, until });
                }
                None => {}
            }
        }
        retired.retain(|_, retired| retired.snapshot.is_kept_by(retired.at, new));
        self.numbers.keep(|view, vector| new.instant_of(vector).is_some() || retired.contains_key(&view));
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what `view` shows and the snapshot in which it does.
    fn view(&self, ino: Ino, view: ViewId) -> Result<(Arc<Snapshot>, ViewKey), Error> {
        let snapshot = self.snapshot();
        let target = match numbered(view) {
            Numbered::Passing => self.dates.target(view, self.clock.now()),
            Numbered::Generation(_) | Numbered::Vector => Some(view),
        };
        let key = target.and_then(|target| match numbered(target) {
            Numbered::Generation(id) => snapshot.generation(id),
            Numbered::Vector => {
                let at = self.numbers.vector(target).and_then(|vector| snapshot.instant_of(vector));
                at.map(|at| ViewKey { source: None, at })
            }
            Numbered::Passing => None,
        });
        if let Some(key) = key {
            return Ok((snapshot, key));
        }
        let retired = self.retired.read().unwrap_or_else(PoisonError::into_inner);
        let kept = target.and_then(|target| retired.get(&target));
        let kept = kept.map(|kept| (Arc::clone(&kept.snapshot), ViewKey { source: None, at: kept.at }));
        kept.ok_or(Error::NoSuchView { ino: ino.0, view })
    }

    fn spot(&self, ino: Ino) -> Result<Spot, Error> {
        Ok(match ino.decode() {
            Decoded::Root => Spot::Root,
            Decoded::Source(id) => match self.snapshot().source(id) {
                Some(_) => Spot::Source(id),
                None => return Err(Error::NoSuchView { ino: ino.0, view: ViewId(0) }),
            },
            Decoded::View(view) => Spot::View(view, self.view(ino, view)?.1),
            Decoded::Notes(view) => Spot::Notes(view),
            Decoded::Note(view, index) => Spot::Note(view, index),
            Decoded::Node(view, node) => Spot::Node(self.place(ino, view, node)?),
            Decoded::Nothing => return Err(Error::Nothing(ino.0)),
        })
    }

    fn place(&self, ino: Ino, view: ViewId, node: NodeId) -> Result<Place, Error> {
        let (snapshot, key) = self.view(ino, view)?;
        let missing = || Error::NoSuchNode { ino: ino.0, at: key.at };
        let source = snapshot.owner(node).ok_or_else(missing)?;
        let place = snapshot.resolve(key, source).ok_or_else(missing)?;
        let (generation, at) = (source.generations[place], source.instants[place]);
        let has_losses = source.losses[place] > 0;
        Ok(Place { view, source: source.id, root: source.root, node, generation, at, has_losses })
    }

    /// Returns what a person calls `ino`: `"homes/alice/x" as of 2026-11-20T02:00:00Z`.
    pub fn describe(&self, ino: Ino) -> String {
        match self.spot(ino) {
            Ok(Spot::Node(place)) => self.describe_place(&place),
            Ok(Spot::View(_, key)) => format!("the sources as of {}", key.at),
            Ok(Spot::Root) => "the top".to_owned(),
            Ok(Spot::Source(id)) => match self.snapshot().source(id) {
                Some(source) => format!("the generations of {:?}", source.name),
                None => format!("source {id}"),
            },
            Ok(Spot::Notes(_) | Spot::Note(..)) => "a file of .asof".to_owned(),
            Err(_) => format!("inode {:#x}", ino.0),
        }
    }

    fn describe_place(&self, place: &Place) -> String {
        let path = self.readers.with(|reader| reader.path_of(place.root, place.node, place.at));
        let name = self.snapshot().source(place.source).map_or_else(String::new, |s| s.name.clone());
        match path {
            Ok(Some(path)) if path.is_root() => format!("\"{name}\" as of {}", place.at),
            Ok(Some(path)) => format!("\"{name}/{path}\" as of {}", place.at),
            _ => format!("node {} of \"{name}\" as of {}", place.node, place.at),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
