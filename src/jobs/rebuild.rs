//! A catalog is made again from the manifests of its generations: beside it, beside copies, and in second places.
//!
//! Manifests of one source are told in the order of their sequences, which is that in which they were written, not that of their
//! dates; tombstones forget where they stand among them. What a manifest counts from must be there: one whose base is missing or
//! damaged is left out, with all that count from it. One that later ones do not know was not published, or forgotten, and is forgotten
//! when the first of these comes.
//!
//! Promises: sources keep their UUIDs, settings and, where nobody else has them, node numbers; generations keep their numbers and
//! sequences. Every manifest is read to its end before anything is written. The new catalog gets its name when it is whole; what is
//! not in it is in the report, with the reason. Reads no copy, and changes no manifest.

mod tell;

use super::report::{When, path_text};
use crate::catalog::{self, RestoredSource, SourceRow, Writer};
use crate::model::manifest::{self, Base, Edit, End, Header, Reader, Tombstone};
use crate::model::{Counts, NodeId, ObjectId, Policy, SourceKind, Time, chain};
use crate::monitor::Monitor;
use crate::source;
use crate::store::{self, FoundManifests, beside_catalog, copy_manifest, find_manifests, read_tombstone, uuid_text};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use tell::{Trouble, tell};

/// What is asked of a run.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The catalog that is lost; manifests lie beside it.
    pub catalog: &'a Path,
    /// The file to make.
    pub into: &'a Path,
    /// Folders in which manifests lie besides: stores, second places.
    pub folders: &'a [PathBuf],
}

/// Why there is no new catalog.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// A folder that was named.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is a file already.
    #[error("{path:?} exists already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// No manifest that can be read.
    #[error("no manifest was found in {}", listed(.looked_in))]
    Nothing {
        /// The folders.
        looked_in: Vec<PathBuf>,
        /// Files that cannot be read.
        bad: Vec<Bad>,
    },
    /// The file system.
    #[error("{doing} {path:?}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What with.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn listed(folders: &[PathBuf]) -> String {
    let names: Vec<String> = folders.iter().map(|folder| format!("{folder:?}")).collect();
    if names.is_empty() { "any folder".to_owned() } else { names.join(", ") }
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The new catalog.
    #[serde(serialize_with = "path_text")]
    pub catalog: PathBuf,
    /// Folders in which manifests were looked for.
    #[serde(serialize_with = "path_texts")]
    pub looked_in: Vec<PathBuf>,
    /// The sources, by name.
    pub sources: Vec<Rebuilt>,
    /// Files that cannot be read.
    pub bad: Vec<Bad>,
    /// Why manifests could not be copied beside the new catalog.
    pub not_copied: Vec<String>,
}

impl Report {
    /// Tells whether anything is not as it was.
    pub fn is_lacking(&self) -> bool {
        let is_lacking =
            |source: &Rebuilt| !source.left_out.is_empty() || !source.missing.is_empty() || !source.unlike.is_empty();
        !self.bad.is_empty() || !self.not_copied.is_empty() || self.sources.iter().any(is_lacking)
    }
}

/// A source that was made again.
#[derive(Debug, Default, Serialize)]
pub struct Rebuilt {
    /// Its name.
    #[serde(rename = "source")]
    pub name: String,
    /// Its name in the manifests, if that was taken.
    pub was_called: Option<String>,
    /// Its generations that are in the catalog, oldest first.
    pub generations: Vec<When>,
    /// Generations that were forgotten again, as their tombstones say.
    pub forgotten: u64,
    /// Generations that are not there.
    pub left_out: Vec<LeftOut>,
    /// Sequences of manifests that others name and that were not found.
    pub missing: Vec<u64>,
    /// Generations that hold something else than their manifests counted.
    pub unlike: Vec<Unlike>,
}

/// A generation that is not in the new catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its instant.
    #[serde(flatten)]
    pub when: When,
    /// Its manifest.
    #[serde(rename = "manifest", serialize_with = "path_text")]
    pub path: PathBuf,
    /// Why.
    #[serde(serialize_with = "as_text")]
    pub why: Why,
}

/// Why a generation is not in the new catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// What it counts from is not there.
    NoBase(Base),
    /// A later manifest was written as if it had not been: its run was given up, or it was forgotten and the tombstone is lost.
    Unknown {
        /// The later manifest.
        later: u64,
    },
    /// What it says does not go with the generation that it counts from.
    Contradicts(String),
    /// Format 1 does not say where the bytes of a disk lie in its images.
    NoExtents,
    /// It has an old format and more are there than numbers before the new ones.
    NoNumber,
}

/// A generation that holds something else than its manifest counted, or whose state hash is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlike {
    /// Its instant.
    #[serde(flatten)]
    pub when: When,
    /// What its manifest says.
    #[serde(skip)]
    pub said: Counts,
    /// What is there.
    #[serde(skip)]
    pub found: Counts,
}

/// A file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// The file.
    #[serde(rename = "manifest", serialize_with = "path_text")]
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// The same manifest elsewhere, which was used.
    #[serde(serialize_with = "path_texts")]
    pub instead: Option<PathBuf>,
}

/// As a person reads it.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBase(Base { at, sequence: 0 }) => {
                write!(f, "it counts from the generation of {at}, which is not there")
            }
            Self::NoBase(Base { at, sequence }) => {
                write!(f, "it counts from the generation of {at}, manifest {sequence}, which is not there")
            }
            Self::Unknown { later } => write!(
                f,
                "manifest {later}, which came later, does not know it: its run was given up, or it was forgotten"
            ),
            Self::Contradicts(what) => write!(f, "it contradicts what it counts from: {what}"),
            Self::NoExtents => f.write_str("it has the old format, which does not say where bytes lie in the images"),
            Self::NoNumber => {
                f.write_str("it has the old format, and there are more of these than generations before the new ones")
            }
        }
    }
}

fn as_text<S: Serializer>(what: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(what)
}

/// Writes paths as a list of texts.
fn path_texts<S: Serializer>(
    paths: &(impl Clone + IntoIterator<Item = PathBuf>),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.clone().into_iter().map(|path| path.to_string_lossy().into_owned()))
}

/// A manifest that was read to its end.
struct Whole {
    path: PathBuf,
    header: Header,
    end: End,
    /// Blocks of the nodes that it names.
    blocks: BTreeSet<i64>,
}

/// Who a manifest is: its source, and its place among those of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Who {
    /// Of format 2.
    Sequence([u8; 16], u64),
    /// Of format 1: by name and instant.
    Instant(String, Time),
}

impl Who {
    fn of(header: &Header) -> Self {
        match header.source.uuid {
            Some(uuid) => Self::Sequence(uuid, header.sequence),
            None => Self::Instant(header.source.name.clone(), header.taken_at),
        }
    }
}

/// What was found before anything is written.
#[derive(Default)]
struct Found {
    looked_in: BTreeSet<PathBuf>,
    /// Files that were read.
    read: BTreeSet<PathBuf>,
    whole: BTreeMap<Who, Whole>,
    tombstones: BTreeMap<([u8; 16], u64), (PathBuf, Tombstone)>,
    bad: Vec<Bad>,
    /// Which of the bad ones are manifests, and who they are, where their headers can be read.
    hurt: Vec<(usize, Option<Who>)>,
    known_bad: BTreeSet<Who>,
}

/// Makes a catalog again.
///
/// **Cost:** each manifest is read twice; each edit is a write to the catalog.
///
/// # Errors
/// [`Error`]; then there is no file.
pub fn rebuild(wish: &Wish<'_>, monitor: &dyn Monitor) -> Result<Report, Error> {
    let exists = |path: &Path| Error::Exists { path: path.to_owned() };
    if wish.into.try_exists().map_err(io_error("looking for", wish.into))? {
        return Err(exists(wish.into));
    }
    let mut found = find(wish, monitor)?;
    if found.whole.is_empty() {
        let looked_in = found.looked_in.into_iter().collect();
        return Err(Error::Nothing { looked_in, bad: found.bad });
    }
    let sources = group(&mut found);
    let draft = draft_of(wish.into);
    remove_files(&draft);
    let made = write(&draft, &sources, &found, monitor).and_then(|rebuilt| {
        sync(&draft)?;
        // Nobody's file is overwritten, whatever was made meanwhile.
        fs::hard_link(&draft, wish.into).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => exists(wish.into),
            _ => io_error("naming", wish.into)(e),
        })?;
        sync(wish.into.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(rebuilt)
    });
    remove_files(&draft);
    let mut report = Report { catalog: wish.into.to_owned(), sources: made?, ..Report::default() };
    report.looked_in = found.looked_in.iter().cloned().collect();
    report.not_copied = copy_beside(wish.into, &found);
    report.bad = found.bad;
    Ok(report)
}

/// How many levels of folders below one that was named are looked at: a store, the folder of a source.
const NAMED_DEPTH: usize = 2;
/// Below a place of manifests there is a folder for each source.
const PLACE_DEPTH: usize = 1;

/// Finds all manifests, reads them to their ends, and looks where they say that others are.
fn find(wish: &Wish<'_>, monitor: &dyn Monitor) -> Result<Found, Error> {
    let mut found = Found::default();
    let beside = Some(beside_catalog(wish.catalog)).filter(|folder| folder.is_dir());
    let named = wish.folders.iter().map(|folder| (folder.clone(), NAMED_DEPTH));
    let named: Vec<(PathBuf, usize)> = beside.map(|folder| (folder, PLACE_DEPTH)).into_iter().chain(named).collect();
    let (mut todo, mut seen) = (named.clone(), BTreeSet::new());
    monitor.begin("reading manifests", None);
    while !todo.is_empty() {
        let place = todo.remove(0);
        if !seen.insert(place.clone()) {
            continue;
        }
        let files = match find_manifests(&place.0, place.1) {
            Ok(files) => files,
            Err(e) if named.contains(&place) => return Err(e.into()),
            // A manifest says that some lie there, and it is not mounted, or gone.
            Err(_) => continue,
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

/// Keeps a manifest; of two that say to be the same one and are not, the first.
fn add(whole: Whole, found: &mut Found) {
    match found.whole.get(&Who::of(&whole.header)) {
        None => drop(found.whole.insert(Who::of(&whole.header), whole)),
        Some(known) if known.end == whole.end => {}
        Some(known) => {
            let what = "it is another manifest than the one with the same number that was used".to_owned();
            found.bad.push(Bad { path: whole.path, what, instead: Some(known.path.clone()) });
        }
    }
}

/// Reads a manifest to its end; on an error its header is returned too, if that could be read.
fn read_whole(path: &Path) -> Result<Whole, (Option<Box<Header>>, manifest::Error)> {
    let file = File::open(path).map_err(|e| (None, manifest::Error::Io(e)))?;
    let mut reader = Reader::new(file).map_err(|e| (None, e))?;
    let mut blocks = BTreeSet::from([RestoredSource::block_of(reader.header().source.root)]);
    let mut name = |node: NodeId| blocks.extend([RestoredSource::block_of(node)]);
    let end = reader.skip_to_end(|edit| match edit {
        Edit::Link { dir, node, .. } | Edit::Define { dir, node, .. } => [*dir, *node].into_iter().for_each(&mut name),
        Edit::Unlink { dir: node, .. } | Edit::Identify { node, .. } | Edit::Doubt { node, .. } => name(*node),
        Edit::Put(put) | Edit::Amend(put) => name(put.node),
        _ => {}
    });
    let header = reader.header().clone();
    match end {
        Ok(end) => Ok(Whole { path: path.to_owned(), header, end, blocks }),
        Err(e) => Err((Some(Box::new(header)), e)),
    }
}

/// A source with all that is to be told of it.
struct ToTell {
    uuid: [u8; 16],
    /// Its manifests, in the order of their sequences.
    manifests: Vec<Who>,
    /// Those that cannot have a number.
    numberless: Vec<Who>,
}

/// Sorts what was found by source, and numbers manifests of format 1.
fn group(found: &mut Found) -> Vec<ToTell> {
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
fn uuid_of_name(name: &str, kind: &str) -> [u8; 16] {
    let hash = blake3::hash(format!("asof source {kind} {name}").as_bytes());
    hash.as_bytes()[..16].try_into().expect("32 bytes are more than 16")
}

/// Writes all sources into a new catalog.
fn write(draft: &Path, sources: &[ToTell], found: &Found, monitor: &dyn Monitor) -> Result<Vec<Rebuilt>, Error> {
    Writer::create(draft)?;
    let mut writer = Some(Writer::open(draft)?);
    let names = names(sources, found);
    let mut rebuilt = Vec::new();
    for (source, name) in sources.iter().zip(names) {
        let last = newest(source, found);
        monitor.begin(&name, None);
        let one = One::new(draft, source, found, &mut writer, &name)?.run(monitor)?;
        monitor.end();
        let was_called = (last.source.name != name).then(|| last.source.name.clone());
        rebuilt.push(Rebuilt { name, was_called, ..one });
    }
    rebuilt.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rebuilt)
}

/// Returns the header of the manifest of a source that was written last.
fn newest<'f>(source: &ToTell, found: &'f Found) -> &'f Header {
    let who = source.manifests.last().or(source.numberless.last()).expect("a source has manifests");
    &found.whole[who].header
}

/// Returns a name for each source. Of several that were called the same, the one that was indexed last keeps it.
fn names(sources: &[ToTell], found: &Found) -> Vec<String> {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    let moment = |header: &Header| (header.indexed_at, header.taken_at);
    order.sort_by_key(|at| std::cmp::Reverse(moment(newest(&sources[*at], found))));
    let mut taken = BTreeSet::new();
    let mut names = vec![String::new(); sources.len()];
    for plain in [true, false] {
        for at in &order {
            let name = &newest(&sources[*at], found).source.name;
            if !names[*at].is_empty() || (plain && taken.contains(name)) {
                continue;
            }
            let free = |number: &u32| !taken.contains(&format!("{name}-{number}"));
            names[*at] = match plain {
                true => name.clone(),
                false => format!("{name}-{}", (2..).find(free).expect("numbers do not end")),
            };
            taken.insert(names[*at].clone());
        }
    }
    names
}

/// What happened to a source, in order.
enum Step<'f> {
    Manifest(&'f Whole),
    Tombstone(&'f Tombstone),
}

/// One source that is made again.
struct One<'o> {
    draft: &'o Path,
    source: &'o ToTell,
    found: &'o Found,
    /// None only while it is opened anew.
    writer: &'o mut Option<Writer>,
    restored: RestoredSource,
    row: SourceRow,
    /// What is there at each instant: the sequence of its manifest.
    live: BTreeMap<Time, u64>,
    /// What holds the bytes that each manifest brought.
    objects: HashMap<u64, ObjectId>,
    rebuilt: Rebuilt,
}

impl<'o> One<'o> {
    fn new(
        draft: &'o Path,
        source: &'o ToTell,
        found: &'o Found,
        writer: &'o mut Option<Writer>,
        name: &str,
    ) -> Result<Self, Error> {
        let mut blocks = BTreeSet::new();
        for who in source.manifests.iter().chain(&source.numberless) {
            blocks.extend(&found.whole[who].blocks);
        }
        let blocks: Vec<i64> = blocks.into_iter().collect();
        let facts = &newest(source, found).source;
        let opened = writer.as_mut().expect("it is open");
        let restored = opened.restore_source(name, &source.uuid, facts, &blocks)?;
        let row = catalog::Reader::open(draft)?.source(name)?;
        let (live, objects, rebuilt) = (BTreeMap::new(), HashMap::new(), Rebuilt::default());
        Ok(Self { draft, source, found, writer, restored, row, live, objects, rebuilt })
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("it is open")
    }

    fn run(mut self, monitor: &dyn Monitor) -> Result<Rebuilt, Error> {
        let found = self.found;
        for who in &self.source.numberless {
            let whole = &found.whole[who];
            self.leave_out(whole.header.taken_at, whole.path.clone(), Why::NoNumber);
        }
        for step in self.steps() {
            match step {
                Step::Tombstone(tombstone) => {
                    if self.live.get(&tombstone.at) == Some(&tombstone.sequence) {
                        self.forget(tombstone.at)?;
                        self.rebuilt.forgotten += 1;
                    }
                }
                Step::Manifest(whole) => self.manifest(whole)?,
            }
            monitor.advance(1);
        }
        let headers = self.source.manifests.iter().map(|who| &found.whole[who].header);
        let number = headers.clone().map(|header| header.number).max().unwrap_or(0);
        let sequences = headers.map(|header| header.sequence);
        let tombs = found.tombstones.values().filter(|(_, tomb)| tomb.source == self.source.uuid);
        let sequence = sequences.chain(tombs.map(|(_, tomb)| tomb.after)).max().unwrap_or(0);
        let id = self.restored.id;
        self.writer().end_restore(id, number, sequence)?;
        self.rebuilt.missing = self.missing();
        self.rebuilt.generations = self.live.keys().copied().map(When).collect();
        self.rebuilt.left_out.sort_by_key(|left| left.when);
        Ok(self.rebuilt)
    }

    /// Returns manifests and tombstones in the order in which they were written.
    fn steps(&self) -> Vec<Step<'o>> {
        let found = self.found;
        let mut steps = Vec::new();
        for who in &self.source.manifests {
            let whole = &found.whole[who];
            steps.push(((whole.header.sequence, false, Time(0), 0), Step::Manifest(whole)));
        }
        for (_, tomb) in found.tombstones.values().filter(|(_, tomb)| tomb.source == self.source.uuid) {
            steps.push(((tomb.after, true, tomb.forgotten_at, tomb.sequence), Step::Tombstone(tomb)));
        }
        steps.sort_by_key(|(key, _)| *key);
        steps.into_iter().map(|(_, step)| step).collect()
    }

    /// Returns the sequences that manifests name as written before them and that nothing was found of.
    fn missing(&self) -> Vec<u64> {
        let headers = || self.source.manifests.iter().map(|who| &self.found.whole[who].header);
        let known: BTreeSet<u64> = headers().map(|header| header.sequence).collect();
        let uuid = self.source.uuid;
        let is_there = |sequence: u64| {
            self.found.tombstones.contains_key(&(uuid, sequence))
                || self.found.known_bad.contains(&Who::Sequence(uuid, sequence))
        };
        let named = headers().flat_map(|header| [header.after, header.base.map_or(0, |base| base.sequence)]);
        let missing: BTreeSet<u64> =
            named.filter(|sequence| *sequence > 0 && !known.contains(sequence) && !is_there(*sequence)).collect();
        missing.into_iter().collect()
    }

    fn leave_out(&mut self, at: Time, path: PathBuf, why: Why) {
        self.rebuilt.left_out.push(LeftOut { when: When(at), path, why });
    }

    fn forget(&mut self, at: Time) -> Result<(), Error> {
        let row = self.row.clone();
        self.writer().forget(&row, at)?;
        self.live.remove(&at);
        Ok(())
    }

    /// Forgets what a later manifest does not know.
    fn forget_unknown(&mut self, at: Time, later: u64) -> Result<(), Error> {
        let sequence = self.live[&at];
        let of = |who: &&Who| self.found.whole[*who].header.sequence == sequence;
        let path = self.source.manifests.iter().find(of).map(|who| self.found.whole[who].path.clone());
        self.forget(at)?;
        self.leave_out(at, path.unwrap_or_default(), Why::Unknown { later });
        Ok(())
    }

    fn manifest(&mut self, whole: &Whole) -> Result<(), Error> {
        let header = &whole.header;
        let at = header.taken_at;
        if header.format == 1 && header.source.kind == SourceKind::Block {
            self.leave_out(at, whole.path.clone(), Why::NoExtents);
            return Ok(());
        }
        if let Some(base) = header.base {
            let there = self.live.get(&base.at).copied();
            if there.is_none_or(|sequence| header.format != 1 && sequence != base.sequence) {
                self.leave_out(at, whole.path.clone(), Why::NoBase(base));
                return Ok(());
            }
        }
        let again = match (self.live.get(&at).copied(), header.replaces) {
            (Some(there), Some(replaced)) if there == replaced => true,
            (Some(_), _) => {
                self.forget_unknown(at, header.sequence)?;
                false
            }
            (None, _) => false,
        };
        let between: Vec<Time> = match header.base {
            Some(base) => self.live.range(Time(base.at.0 + 1)..at).map(|(at, _)| *at).collect(),
            None => self.live.range(..at).map(|(at, _)| *at).collect(),
        };
        for unknown in between {
            self.forget_unknown(unknown, header.sequence)?;
        }
        let (restored, row, objects) = (self.restored.clone(), self.row.clone(), &self.objects);
        let writer = self.writer.as_mut().expect("it is open");
        match tell(writer, &row, &restored, objects, (&whole.path, header, &whole.end), again) {
            Ok(found) => {
                self.live.insert(at, header.sequence);
                let object = writer.copies(row.id, at)?.first().map(|copy| copy.object);
                self.objects.extend(object.map(|object| (header.sequence, object)));
                // Node numbers go into the state.
                let hash = whole.end.state_hash.filter(|_| self.restored.keeps_numbers());
                let has_another_state = hash.is_some_and(|hash| hash != found.state_hash);
                if let Some(said) = whole.end.counts.filter(|said| *said != found.counts || has_another_state) {
                    self.rebuilt.unlike.push(Unlike { when: When(at), said, found: found.counts });
                }
            }
            Err(Trouble::Contradicts(what)) => {
                // Its writer is spent.
                *self.writer = None;
                *self.writer = Some(Writer::open(self.draft)?);
                self.leave_out(at, whole.path.clone(), Why::Contradicts(what));
            }
            Err(Trouble::Catalog(e)) => return Err(e.into()),
        }
        Ok(())
    }
}

/// Copies manifests that do not lie beside their copies to where those of the new catalog are; returns what could not be copied.
fn copy_beside(into: &Path, found: &Found) -> Vec<String> {
    let folder = beside_catalog(into);
    let manifests = found.whole.iter().filter_map(|(who, whole)| match who {
        Who::Sequence(uuid, sequence) => Some((uuid, sequence, &whole.path, "manifest")),
        Who::Instant(..) => None,
    });
    let tombstones = found.tombstones.iter().map(|((uuid, sequence), (path, _))| (uuid, sequence, path, "tombstone"));
    let mut troubles = Vec::new();
    for (uuid, sequence, path, ending) in manifests.chain(tombstones) {
        let is_apart = path.file_name() == Some(OsStr::new(&format!("{sequence}.{ending}")));
        let folder = folder.join(uuid_text(uuid));
        if is_apart
            && path.parent() != Some(&folder)
            && let Err(e) = copy_manifest(path, &folder)
        {
            troubles.push(chain(&e));
        }
    }
    troubles
}

/// Returns the name under which a catalog is made.
fn draft_of(into: &Path) -> PathBuf {
    let mut name = into.as_os_str().to_owned();
    name.push(".rebuilding");
    name.into()
}

/// Removes the draft of a catalog with all that SQLite and its lock left beside it.
fn remove_files(draft: &Path) {
    for ending in ["", "-wal", "-shm", ".lock", ".new", ".new-wal", ".new-shm"] {
        let mut name = draft.as_os_str().to_owned();
        name.push(ending);
        let _ = fs::remove_file(PathBuf::from(name));
    }
}

fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io_error("syncing", path))
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}
