//! The tree itself: what it is made of, and what an inode number leads to.
//!
//! Promises: opening it reads the registry and no file row; all threads share it. The answers stand in files above it
//! (`top`, `listing`, `content`, `xattr`, `notes`), and what a publication changes in `refresh`. None of them is needed here.

use super::answer::Usage;
use super::copies::Copies;
use super::dates::Dates;
use super::error::Error;
use super::ino::{Decoded, Ino};
use super::list_ahead::ListAhead;
use super::made::{Made, MadeDir};
use super::past::FEW_DIFFERING;
use super::place::{Place, Spot};
use super::readers::Readers;
use super::replaced::CatalogFiles;
use super::retired::Retired;
use super::snapshot::{Snapshot, ViewKey};
use super::windows::Listings;
use super::xattr_cache;
use crate::catalog::Reader;
use crate::catalog::numbers::{Numbered, Numbers, numbered, view_of};
use crate::clock::Clock;
use crate::model::{NodeId, Timestamp, ViewId};
use crate::store::{self, Store};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A file of a copy is closed when nobody has read it between so many calls of [`Tree::rest`], so that a store
/// can be unmounted a minute after its last reader.
const RESTS_OPEN: u64 = 60;

/// The tree of everything. Shared by all threads.
pub struct Tree {
    pub(super) catalog: PathBuf,
    pub(super) files: CatalogFiles,
    pub(super) readers: Readers,
    pub(super) watcher: Mutex<(Reader, i64)>,
    pub(super) now: RwLock<Arc<Snapshot>>,
    pub(super) numbers: Numbers,
    /// Views of all sources that the snapshot of now no longer has, though it has all their generations.
    pub(super) retired: RwLock<HashMap<ViewId, Retired>>,
    pub(super) dates: Dates,
    pub(super) made: Made,
    pub(super) few_differing: usize,
    pub(super) listings: Arc<Listings>,
    pub(super) list_ahead: ListAhead,
    /// Readers of its own: what it asks is no trip's cost.
    pub(super) ahead_readers: Arc<Readers>,
    pub(super) xattrs: xattr_cache::Cache,
    pub(super) copies: Copies,
    /// Files whose bytes another generation's copy stands in for, which has the same size and mtime, each with its key in the store.
    pub(super) stand_ins: Mutex<HashMap<Ino, (i64, i64)>>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) zone: jiff::tz::TimeZone,
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
        let mut files = CatalogFiles::before_opening(path);
        let watcher = Reader::open(path)?;
        let version = watcher.data_version()?;
        let registry = watcher.registry()?;
        files.read();
        watcher.rest()?;
        let read_at = Timestamp { seconds: clock.now().0, nanos: 0 };
        let numbers = Numbers::of(path, registry.catalog);
        Ok(Self {
            catalog: path.to_owned(),
            files,
            readers: Readers::new(path.to_owned()),
            watcher: Mutex::new((watcher, version)),
            now: RwLock::new(Arc::new(Snapshot::new(registry, read_at))),
            numbers,
            retired: RwLock::default(),
            dates: Dates::default(),
            made: Made::default(),
            few_differing: FEW_DIFFERING,
            listings: Arc::default(),
            list_ahead: ListAhead::default(),
            ahead_readers: Arc::new(Readers::new(path.to_owned())),
            xattrs: xattr_cache::Cache::default(),
            copies: Copies::default(),
            stand_ins: Mutex::default(),
            store: Store::new(max_open_files),
            clock,
            zone,
        })
    }

    /// Returns the tree with another limit from which on names that differ between two generations are not kept one by one.
    pub fn keeping_few_differing(self, few: usize) -> Self {
        Self { few_differing: few, ..self }
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

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what `view` shows and the snapshot in which it does.
    pub(super) fn view(&self, ino: Ino, view: ViewId) -> Result<(Arc<Snapshot>, ViewKey), Error> {
        let snapshot = self.snapshot();
        let target = match numbered(view) {
            Numbered::Passing => self.dates.target(view, self.clock.now()),
            Numbered::Generation(_) | Numbered::Vector => Some(view),
            Numbered::Made => None,
        };
        let key = target.and_then(|target| match numbered(target) {
            Numbered::Generation(id) => snapshot.generation(id),
            Numbered::Vector => {
                let at = self.numbers.vector(target).and_then(|vector| snapshot.instant_of(vector));
                at.map(|at| ViewKey { source: None, at })
            }
            Numbered::Passing | Numbered::Made => None,
        });
        if let Some(key) = key {
            return Ok((snapshot, key));
        }
        let retired = self.retired.read().unwrap_or_else(PoisonError::into_inner);
        let kept = target.and_then(|target| retired.get(&target));
        let kept = kept.map(|kept| (Arc::clone(&kept.snapshot), ViewKey { source: None, at: kept.at }));
        kept.ok_or(Error::NoSuchView { ino: ino.0, view })
    }

    pub(super) fn spot(&self, ino: Ino) -> Result<Spot, Error> {
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
            Decoded::Made => self.made_spot(ino)?,
            Decoded::Nothing => return Err(Error::Nothing(ino.0)),
        })
    }

    /// Returns what a made up directory shows, as long as all is there of which it is.
    fn made_spot(&self, ino: Ino) -> Result<Spot, Error> {
        let snapshot = self.snapshot();
        match self.made.get(ino) {
            Some(MadeDir::History(dir)) if snapshot.source(dir.source).is_some() => Ok(Spot::History(ino, dir)),
            Some(MadeDir::Between(dir))
                if [dir.before, dir.after].iter().all(|id| snapshot.generation(*id).is_some()) =>
            {
                Ok(Spot::Between(ino, dir))
            }
            _ => Err(Error::NoSuchView { ino: ino.0, view: ViewId(0) }),
        }
    }

    fn place(&self, ino: Ino, view: ViewId, node: NodeId) -> Result<Place, Error> {
        let (snapshot, key) = self.view(ino, view)?;
        let missing = || Error::NoSuchNode { ino: ino.0, at: key.at };
        let source = snapshot.owner(node).ok_or_else(missing)?;
        let place = snapshot.resolve(key, source).ok_or_else(missing)?;
        let (generation, at) = (source.generations[place], source.instants[place]);
        let has_losses = source.losses[place] > 0;
        let (source, root, is_among_all) = (source.id, source.root, key.source.is_none());
        Ok(Place { view, source, root, node, generation, at, is_among_all, has_losses })
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
            Ok(Spot::History(_, dir)) => match self.snapshot().source(dir.source) {
                Some(source) => format!("the history of \"{}:{}\"", source.name, dir.path),
                None => format!("the history of source {}", dir.source),
            },
            Ok(Spot::Between(_, dir)) => {
                let at = |id| self.snapshot().generation(id).map_or_else(String::new, |key| key.at.to_string());
                let node = Ino::of_node(view_of(dir.generation()), dir.node);
                format!("what differs from {} to {} in {}", at(dir.before), at(dir.after), self.describe(node))
            }
            Ok(Spot::Notes(_) | Spot::Note(..)) => "a file of .asof".to_owned(),
            Err(_) => format!("inode {:#x}", ino.0),
        }
    }

    /// Returns the name of the source that a place is of.
    pub(super) fn name_of(&self, place: &Place) -> String {
        self.snapshot().source(place.source).map_or_else(String::new, |s| s.name.clone())
    }

    pub(super) fn describe_place(&self, place: &Place) -> String {
        let path = self.readers.with(|reader| reader.path_of(place.root, place.node, place.at));
        let name = self.name_of(place);
        match path {
            Ok(Some(path)) if path.is_root() => format!("\"{name}\" as of {}", place.at),
            Ok(Some(path)) => format!("\"{name}/{path}\" as of {}", place.at),
            _ => format!("node {} of \"{name}\" as of {}", place.node, place.at),
        }
    }
}
