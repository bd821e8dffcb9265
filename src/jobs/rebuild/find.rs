//! Which manifests there are, and of which sources.
//!
//! Promises: all are read to their ends before anything is written; one that cannot be read is named, with the same one elsewhere if
//! that is whole. Never writes.

use super::report::{Bad, Error, Wish, io_error};
use crate::catalog::RestoredSource;
use crate::model::manifest::{self, Edit, End, Header, Reader, Tombstone};
use crate::model::{NodeId, Policy, Time, chain};
use crate::monitor::Monitor;
use crate::source;
use crate::store::{
    FoundManifests, beside_catalog, find_manifests, newest_at, open_manifest, read_tombstone, uuid_text,
};
use crate::sys::process::effective_ids;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A manifest that was read to its end.
pub(super) struct Whole {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    pub(super) end: End,
    /// Blocks of the nodes that it names.
    pub(super) blocks: BTreeSet<i64>,
    /// The highest node that it names.
    pub(super) highest: NodeId,
    /// Who wrote it, if that is neither root nor whoever runs this, or who else could have: what it says of commands is not obeyed.
    pub(super) stranger: Option<u32>,
}

/// Who a manifest is: its source, and its place among those of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Who {
    /// Of format 2.
    Sequence([u8; 16], u64),
    /// Of format 1: by name and instant.
    Instant(String, Time),
}

impl Who {
    pub(super) fn of(header: &Header) -> Self {
        match header.source.uuid {
            Some(uuid) => Self::Sequence(uuid, header.sequence),
            None => Self::Instant(header.source.name.clone(), header.taken_at),
        }
    }
}

/// When and under which number a generation was made: who it is among those of its source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) sequence: u64,
    pub(super) indexed_at: Time,
}

impl Made {
    pub(super) fn of(header: &Header) -> Self {
        Self { sequence: header.sequence, indexed_at: header.indexed_at }
    }

    /// Tells whether it is the one that a manifest or a tombstone names; older ones do not say when that was indexed.
    pub(super) fn is(&self, sequence: u64, indexed_at: Option<Time>) -> bool {
        self.sequence == sequence && indexed_at.is_none_or(|at| at == self.indexed_at)
    }
}

/// What was found before anything is written.
#[derive(Default)]
pub(super) struct Found {
    pub(super) looked_in: BTreeSet<PathBuf>,
    /// The folder beside the catalog, if there is one.
    pub(super) beside: Option<PathBuf>,
    /// Files that were read.
    pub(super) read: BTreeSet<PathBuf>,
    pub(super) whole: BTreeMap<Who, Whole>,
    pub(super) tombstones: BTreeMap<([u8; 16], u64), (PathBuf, Tombstone)>,
    /// Those that were prepared: whether their generations were forgotten, the lost catalog knew alone.
    pub(super) prepared: Vec<(PathBuf, Tombstone)>,
    /// The highest sequence that was noted for a source as that of its newest manifest.
    pub(super) newest: BTreeMap<[u8; 16], u64>,
    pub(super) bad: Vec<Bad>,
    /// Which of the bad ones are manifests, and who they are, where their headers can be read.
    pub(super) hurt: Vec<(usize, Option<Who>)>,
    pub(super) known_bad: BTreeSet<Who>,
}

impl Found {
    /// Tells whether manifests of a source lie beside the catalog.
    pub(super) fn is_beside(&self, source: &ToTell) -> bool {
        let Some(beside) = &self.beside else { return false };
        source.manifests.iter().any(|who| self.whole[who].path.starts_with(beside))
    }

    /// Returns the tombstone of a manifest of the source with this UUID, if it has one.
    pub(super) fn tombstone_of(&self, uuid: &[u8; 16], header: &Header) -> Option<&Tombstone> {
        let (_, tombstone) = self.tombstones.get(&(*uuid, header.sequence))?;
        Some(tombstone).filter(|tomb| Made::of(header).is(tomb.sequence, tomb.indexed_at))
    }
}

/// How many levels of folders below one that was named are looked at: a store, the folder of a source.
const NAMED_DEPTH: usize = 2;
/// Below a place of manifests there is a folder for each source.
const PLACE_DEPTH: usize = 1;

/// Finds all manifests, reads them to their ends, and looks where they say that others are.
pub(super) fn find(wish: &Wish<'_>, monitor: &dyn Monitor) -> Result<Found, Error> {
    let beside = Some(beside_catalog(wish.catalog)).filter(|folder| folder.is_dir());
    let mut found = Found { beside: beside.clone(), ..Found::default() };
    let named = wish.folders.iter().map(|folder| (folder.clone(), NAMED_DEPTH));
    let named: Vec<(PathBuf, usize)> = beside.map(|folder| (folder, PLACE_DEPTH)).into_iter().chain(named).collect();
    let (mut todo, mut seen) = (named.clone(), BTreeSet::new());
    monitor.begin("reading manifests", None);
    while !todo.is_empty() {
        let place = todo.remove(0);
        if !seen.insert(place.clone()) {
            continue;
        }
        let (folder, depth) = place.clone();
        let files = match wish.patience.ask(&place.0, move |_| find_manifests(&folder, depth)) {
            Ok(Ok(files)) => files,
            Ok(Err(e)) if named.contains(&place) => return Err(e.into()),
            Err(e) if named.contains(&place) => return Err(io_error("looking for manifests in", &place.0)(e)),
            // A manifest says that some lie there, and it is not mounted, or gone.
            Ok(Err(_)) => continue,
            Err(e) => {
                found.bad.push(Bad { path: place.0, what: e.to_string(), instead: None });
                continue;
            }
        };
        found.looked_in.insert(place.0);
        todo.extend(read_all(files, &mut found, monitor));
    }
    monitor.end();
    for (at, who) in std::mem::take(&mut found.hurt) {
        let instead = who.as_ref().and_then(|who| found.whole.get(who));
        let instead = instead.or_else(|| found.whole.values().find(|whole| is_named_alike(whole, &found.bad[at].path)));
        found.bad[at].instead = instead.map(|whole| whole.path.clone());
        found.known_bad.extend(who);
    }
    Ok(found)
}

/// Tells whether a file, of which nothing can be read, has the name of a manifest that is whole, and is of the same source: it lies in the
/// folder of that, or its name is a copy's.
fn is_named_alike(whole: &Whole, path: &Path) -> bool {
    let Some(uuid) = whole.header.source.uuid else { return false };
    let folder = path.parent().and_then(Path::file_name);
    let is_apart = path.file_name() == Some(OsStr::new(&format!("{}.manifest", whole.header.sequence)));
    whole.path.file_name() == path.file_name() && (folder == Some(OsStr::new(&uuid_text(&uuid))) || !is_apart)
}

/// Reads what was found in one folder; returns the folders in which others may lie, and how many levels of them.
fn read_all(files: FoundManifests, found: &mut Found, monitor: &dyn Monitor) -> Vec<(PathBuf, usize)> {
    let mut more = Vec::new();
    for path in files.manifests {
        if !found.read.insert(path.clone()) {
            continue;
        }
        monitor.advance(1);
        match read_whole(&path) {
            Ok(whole) => {
                let facts = &whole.header.source;
                more.extend(Policy::parse(&facts.policy).manifests().map(|folder| (folder, PLACE_DEPTH)));
                // Settings that cannot be read name no folder.
                let own = source::own_folder(facts.kind, &facts.settings, &facts.name).ok().flatten();
                more.extend(own.map(|folder| (folder, 0)));
                add(whole, found);
            }
            Err((header, e)) => {
                found.hurt.push((found.bad.len(), header.map(|header| Who::of(&header))));
                found.bad.push(Bad { path, what: chain(&e), instead: None });
            }
        }
    }
    for path in files.foreign {
        let what = "it belongs to another user, or everybody can write to it, so that it may say anything; \
                    if it is yours, chown it to root and chmod it to 600";
        found.bad.push(Bad { path, what: what.to_owned(), instead: None });
    }
    for (uuid, sequence) in files.newest.iter().filter_map(|path| newest_at(path)) {
        let noted = found.newest.entry(uuid).or_default();
        *noted = sequence.max(*noted);
    }
    for path in files.prepared {
        // Nobody obeys one, so one that cannot be read says nothing.
        if found.read.insert(path.clone())
            && let Ok(tombstone) = read_tombstone(&path)
        {
            found.prepared.push((path, tombstone));
        }
    }
    for path in files.tombstones {
        if !found.read.insert(path.clone()) {
            continue;
        }
        match read_tombstone(&path) {
            Ok(tombstone) => {
                found.tombstones.entry((tombstone.source, tombstone.sequence)).or_insert((path, tombstone));
            }
            Err(e) => found.bad.push(Bad { path, what: chain(&e), instead: None }),
        }
    }
    more
}

/// Keeps a manifest; of two with one number, which a catalog gave out again that was put back from a backup, the one that was written later.
fn add(whole: Whole, found: &mut Found) {
    let other = match found.whole.entry(Who::of(&whole.header)) {
        Entry::Vacant(free) => {
            free.insert(whole);
            return;
        }
        Entry::Occupied(known) if known.get().end == whole.end => return,
        Entry::Occupied(mut known) => match known.get().header.indexed_at < whole.header.indexed_at {
            true => known.insert(whole),
            false => whole,
        },
    };
    let used = &found.whole[&Who::of(&other.header)];
    let what = "it is another manifest than the one with the same number that was written last".to_owned();
    found.bad.push(Bad { path: other.path, what, instead: Some(used.path.clone()) });
}

/// Reads a manifest to its end; on an error its header is returned too, if that could be read.
fn read_whole(path: &Path) -> Result<Whole, (Option<Box<Header>>, manifest::Error)> {
    let io = |e| (None, manifest::Error::Io(e));
    let file = open_manifest(path).map_err(io)?;
    let stat = file.metadata().map_err(io)?;
    let is_ours = [0, effective_ids().0].contains(&stat.uid()) && stat.mode() & 0o022 == 0;
    let stranger = Some(stat.uid()).filter(|_| !is_ours);
    let mut reader = Reader::new(file).map_err(|e| (None, e))?;
    let mut highest = reader.header().source.root;
    let mut blocks = BTreeSet::from([RestoredSource::block_of(highest)]);
    let mut name = |node: NodeId| {
        highest = highest.max(node);
        blocks.extend([RestoredSource::block_of(node)]);
    };
    let end = reader.skip_to_end(|edit| match edit {
        Edit::Link { dir, node, .. } | Edit::Define { dir, node, .. } => [*dir, *node].into_iter().for_each(&mut name),
        Edit::Unlink { dir: node, .. } | Edit::Saw { dir: node, .. } => name(*node),
        Edit::Identify { node, .. } | Edit::Doubt { node, .. } => name(*node),
        Edit::Put(put) | Edit::Amend(put) => name(put.node),
        _ => {}
    });
    let header = reader.header().clone();
    match end {
        Ok(end) => Ok(Whole { path: path.to_owned(), header, end, blocks, highest, stranger }),
        Err(e) => Err((Some(Box::new(header)), e)),
    }
}

/// Returns the header of the manifest of a source that was written last.
pub(super) fn newest<'f>(source: &ToTell, found: &'f Found) -> &'f Header {
    &newest_whole(source, found).header
}

/// Returns that manifest.
pub(super) fn newest_whole<'f>(source: &ToTell, found: &'f Found) -> &'f Whole {
    let who = source.manifests.last().or(source.numberless.last()).expect("a source has manifests");
    &found.whole[who]
}

/// A source with all that is to be told of it.
pub(super) struct ToTell {
    pub(super) uuid: [u8; 16],
    /// Its manifests, in the order of their sequences.
    pub(super) manifests: Vec<Who>,
    /// Those that cannot have a number.
    pub(super) numberless: Vec<Who>,
}

/// Sorts what was found by source, and numbers manifests of format 1.
pub(super) fn group(found: &mut Found) -> Vec<ToTell> {
    let mut sources: BTreeMap<[u8; 16], ToTell> = BTreeMap::new();
    let mut named: BTreeMap<(String, &str), Vec<[u8; 16]>> = BTreeMap::new();
    let mut old: BTreeMap<(String, &str), Vec<Who>> = BTreeMap::new();
    for (who, whole) in &found.whole {
        let key = (whole.header.source.name.clone(), whole.header.source.kind.word());
        match who {
            Who::Sequence(uuid, _) => {
                let new = || ToTell { uuid: *uuid, manifests: Vec::new(), numberless: Vec::new() };
                sources.entry(*uuid).or_insert_with(new).manifests.push(who.clone());
                let known = named.entry(key).or_default();
                if !known.contains(uuid) {
                    known.push(*uuid);
                }
            }
            Who::Instant(..) => old.entry(key).or_default().push(who.clone()),
        }
    }
    for (key, manifests) in old {
        // The same source in both formats has one name, unless there are two of it.
        let uuid = match named.get(&key).map(Vec::as_slice) {
            Some([uuid]) => *uuid,
            _ => uuid_of_name(&key.0, key.1),
        };
        let source =
            sources.entry(uuid).or_insert_with(|| ToTell { uuid, manifests: Vec::new(), numberless: Vec::new() });
        let first = source.manifests.first().map(|who| match who {
            Who::Sequence(_, sequence) => *sequence,
            Who::Instant(..) => 0,
        });
        let count = manifests.len() as u64;
        // The newest of them is the one before the first of format 2.
        let from = first.map_or(1, |first| first.saturating_sub(count));
        if from == 0 {
            source.numberless = manifests;
            continue;
        }
        for (number, who) in (from..).zip(&manifests) {
            let header = &mut found.whole.get_mut(who).expect("it was found").header;
            (header.sequence, header.number) = (number, number);
        }
        source.manifests.splice(0..0, manifests);
    }
    sources.into_values().collect()
}

/// Returns the UUID of a source that has none: the same whenever it is made again.
pub(super) fn uuid_of_name(name: &str, kind: &str) -> [u8; 16] {
    let hash = blake3::hash(format!("asof source {kind} {name}").as_bytes());
    hash.as_bytes()[..16].try_into().expect("32 bytes are more than 16")
}
