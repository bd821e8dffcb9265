//! A catalog is made again from the manifests of its generations: beside it, beside copies, and in second places.
//!
//! Manifests of one source are applied in the order of their sequences, which is that in which they were written, not that of their
//! dates; tombstones forget where they stand among them. What a manifest counts from must be there: one whose base is missing or
//! damaged is left out, with all that count from it. One that later ones do not know was not published, or forgotten, and is forgotten
//! when the first of these comes.
//!
//! A catalog that is there gets what it lacks: sources that it has not, and of those that it has what was written after all that it
//! knows. Nothing that it has is taken away but by a tombstone that is newer than it.
//!
//! Promises: sources keep their UUIDs, settings and node numbers; generations keep their numbers and sequences. A source whose node
//! numbers another one has comes in as another source, with manifests of its own. Every manifest is read to its end before anything is
//! written. A new catalog gets its name when it is whole; one that is there has whole generations at any moment, and a run that was killed
//! is gone on with by the next. What is not in it is in the report, with the reason. Reads no copy, and changes no manifest.

mod find;
mod one;

use super::report::{When, path_text};
use crate::catalog::{self, Busy, LockWait, Reader, SourceLock, SourceRow, Writer};
use crate::model::manifest::Base;
use crate::model::{Counts, Time};
use crate::monitor::Monitor;
use crate::store::{self, beside_catalog, copy_manifest, uuid_text};
use find::{Found, ToTell, Who, find, group, newest};
use one::One;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What is asked of a run.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// The catalog that is lost; manifests lie beside it.
    pub catalog: &'a Path,
    /// The file to make, or the catalog that gets what it lacks.
    pub into: &'a Path,
    /// Folders in which manifests lie besides: stores, second places.
    pub folders: &'a [PathBuf],
    /// How others are waited for who write a catalog that is there.
    pub wait: &'a LockWait<'a>,
    /// Hears for whom a turn is waited for.
    pub busy: fn(&Busy),
    /// Now.
    pub now: Time,
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
    /// Somebody made a file of this name meanwhile.
    #[error("{path:?} was made meanwhile")]
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
    /// The catalog.
    #[serde(serialize_with = "path_text")]
    pub catalog: PathBuf,
    /// Whether it was there before, and got what it lacked.
    pub was_there: bool,
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
        let is_lacking = |source: &Rebuilt| {
            let is_empty = source.left_out.is_empty() && source.missing.is_empty() && source.unlike.is_empty();
            !is_empty || source.older > 0
        };
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
    /// Whether it is another source here, with other node numbers: those that it had belong to another one.
    pub renumbered: bool,
    /// Its generations that this run brought into the catalog, oldest first.
    pub generations: Vec<When>,
    /// Generations that were forgotten again, as their tombstones say.
    pub forgotten: u64,
    /// Generations that are not there.
    pub left_out: Vec<LeftOut>,
    /// Manifests that others name and that were not found.
    pub missing: Vec<Missing>,
    /// The highest number before that of the oldest manifest, where there were generations before it: a program made them that kept no
    /// manifests, or these are lost. A run that was given up used a number, too.
    pub older: u64,
    /// Generations that hold something else than their manifests counted.
    pub unlike: Vec<Unlike>,
}

/// A manifest that is named by others and was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    /// Its sequence.
    #[serde(rename = "manifest")]
    pub sequence: u64,
    /// The instant of its generation, where others say it.
    #[serde(flatten)]
    pub when: Option<When>,
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
    /// The catalog was there and has a generation of this instant that it does not know.
    Diverged {
        /// The instant.
        at: Time,
    },
    /// The catalog was there and knows later ones.
    Passed,
    /// Node numbers of its source belong to another source in the catalog that was there.
    NumbersTaken,
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
            Self::Diverged { at } => write!(f, "it does not know the generation of {at}, which the catalog has"),
            Self::Passed => f.write_str("the catalog knows later ones of its source: only a new catalog can have it"),
            Self::NumbersTaken => {
                f.write_str("another source of the catalog has its node numbers: only a new catalog can have it")
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

/// Makes a catalog again, or gives one that is there what it lacks.
///
/// **Cost:** each manifest is read twice; each edit is a write to the catalog.
///
/// # Errors
/// [`Error`]; then there is no new file. One that was there may have got whole generations.
pub fn rebuild(wish: &Wish<'_>, monitor: &dyn Monitor) -> Result<Report, Error> {
    let was_there = wish.into.try_exists().map_err(io_error("looking for", wish.into))?;
    let mut found = find(wish, monitor)?;
    if found.whole.is_empty() {
        let looked_in = found.looked_in.into_iter().collect();
        return Err(Error::Nothing { looked_in, bad: found.bad });
    }
    let sources = group(&mut found);
    let made = match was_there {
        true => write(&mut Target::there(wish)?, &sources, &found, monitor)?,
        false => make(wish, &sources, &found, monitor)?,
    };
    let renumbered = made.iter().filter(|(_, one)| one.renumbered).map(|(uuid, _)| *uuid).collect();
    let mut report = Report { catalog: wish.into.to_owned(), was_there, ..Report::default() };
    report.not_copied = copy_beside(wish.into, &found, &renumbered);
    report.sources = made.into_iter().map(|(_, one)| one).collect();
    report.looked_in = found.looked_in.into_iter().collect();
    report.bad = found.bad;
    Ok(report)
}

/// Makes a new catalog, under another name until it is whole.
fn make(wish: &Wish<'_>, sources: &[ToTell], found: &Found, monitor: &dyn Monitor) -> Result<Written, Error> {
    let draft = draft_of(wish.into);
    remove_files(&draft);
    let made = Writer::create(&draft).map_err(Error::from).and_then(|()| {
        let written = write(&mut Target::draft(&draft, wish)?, sources, found, monitor)?;
        sync(&draft)?;
        // Nobody's file is overwritten, whatever was made meanwhile.
        fs::hard_link(&draft, wish.into).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: wish.into.to_owned() },
            _ => io_error("naming", wish.into)(e),
        })?;
        sync(wish.into.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(written)
    });
    remove_files(&draft);
    made
}

/// The sources that were written, by the UUIDs that their manifests say.
type Written = Vec<([u8; 16], Rebuilt)>;

/// The catalog that is written.
struct Target<'t> {
    path: PathBuf,
    wish: &'t Wish<'t>,
    /// Whether others may write it meanwhile.
    is_shared: bool,
    /// None only while it is opened anew.
    writer: Option<Writer>,
}

impl<'t> Target<'t> {
    fn draft(path: &Path, wish: &'t Wish<'t>) -> Result<Self, Error> {
        let mut target = Self { path: path.to_owned(), wish, is_shared: false, writer: None };
        target.open()?;
        Ok(target)
    }

    fn there(wish: &'t Wish<'t>) -> Result<Self, Error> {
        let mut target = Self { path: wish.into.to_owned(), wish, is_shared: true, writer: None };
        target.open()?;
        Ok(target)
    }

    /// Opens it, anew after an error.
    fn open(&mut self) -> Result<(), Error> {
        self.writer = None;
        self.writer = Some(match self.is_shared {
            true => Writer::open_by_turns(&self.path, self.wish.wait, self.wish.busy)?,
            false => Writer::open(&self.path)?,
        });
        Ok(())
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("it is open")
    }

    fn sources(&self) -> Result<Vec<SourceRow>, Error> {
        Ok(Reader::open(&self.path)?.sources()?)
    }

    /// Locks a source, where others may write it.
    fn lock(&self, source: &SourceRow) -> Result<Option<SourceLock>, Error> {
        let lock = || SourceLock::acquire(&self.path, source, self.wish.wait);
        Ok(if self.is_shared { Some(lock()?) } else { None })
    }
}

/// Writes all sources.
fn write(target: &mut Target<'_>, sources: &[ToTell], found: &Found, monitor: &dyn Monitor) -> Result<Written, Error> {
    let there = target.sources()?;
    let names = names(sources, found, &there);
    let mut written = Vec::new();
    for (source, name) in sources.iter().zip(names) {
        let last = newest(source, found);
        monitor.begin(&name, None);
        let one = One::new(target, source, found, &name).and_then(|one| one.run(monitor));
        monitor.end();
        let one = one?;
        let was_called = (last.source.name != name).then(|| last.source.name.clone());
        written.push((source.uuid, Rebuilt { name, was_called, ..one }));
    }
    written.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    Ok(written)
}

/// Returns a name for each source: that which it has in the catalog. Of several others that were called the same, the one that was indexed
/// last keeps it.
fn names(sources: &[ToTell], found: &Found, there: &[SourceRow]) -> Vec<String> {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|at| {
        let header = newest(&sources[*at], found);
        std::cmp::Reverse((header.indexed_at, header.taken_at))
    });
    let mut taken: BTreeSet<String> = there.iter().map(|source| source.name.clone()).collect();
    let known = |source: &ToTell| there.iter().find(|row| one::is_same(row, source));
    let mut names: Vec<String> =
        sources.iter().map(|source| known(source).map_or_else(String::new, |row| row.name.clone())).collect();
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

/// Copies manifests that do not lie beside their copies to where those of the new catalog are, but not those of sources that have others
/// now; returns what could not be copied.
fn copy_beside(into: &Path, found: &Found, renumbered: &BTreeSet<[u8; 16]>) -> Vec<String> {
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
            && !renumbered.contains(uuid)
            && path.parent() != Some(&folder)
            && let Err(e) = copy_manifest(path, &folder)
        {
            troubles.push(crate::model::chain(&e));
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
