//! What is asked of a run that makes a catalog again, and what it says that it did.
//! Values only, in the form in which `--json` prints them.

use crate::catalog::{self, Busy, LockWait};
use crate::jobs::patience::Patience;
use crate::jobs::report::{When, path_text};
use crate::model::manifest::Base;
use crate::model::{Counts, Time};
use crate::store;
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// What is asked of a run.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// How long folders may be silent.
    pub patience: &'a Patience,
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
    /// Sources that were removed, and stay so.
    pub removed: Vec<Removed>,
    /// Why manifests could not be copied beside the new catalog.
    pub not_copied: Vec<String>,
}

/// A source that was removed.
#[derive(Debug, Serialize)]
pub struct Removed {
    /// Its name.
    #[serde(rename = "source")]
    pub name: String,
    /// The file that says so; without it the source is made again.
    #[serde(serialize_with = "path_text")]
    pub marker: PathBuf,
}

impl Report {
    /// Tells whether anything is not as it was.
    pub fn is_lacking(&self) -> bool {
        let is_lacking = |source: &Rebuilt| {
            let is_empty = source.left_out.is_empty() && source.missing.is_empty() && source.unlike.is_empty();
            !is_empty || !source.undecided.is_empty() || source.older > 0 || source.not_taken.is_some()
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
    /// The commands that `asof take` runs, where this run brought the source into the catalog with its settings.
    pub commands: Vec<String>,
    /// What was not taken over of its settings, if anything: another user wrote them.
    pub not_taken: Option<NotTaken>,
    /// Its generations that this run brought into the catalog, oldest first.
    pub generations: Vec<When>,
    /// Generations that are not there because they were forgotten, as their tombstones say; in the order in which they were.
    pub forgotten: Vec<When>,
    /// Generations that are there though they may have been forgotten.
    pub undecided: Vec<Undecided>,
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

/// Settings that would have commands run as ours, and that somebody else wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotTaken {
    /// Who wrote them, or could have.
    pub user: u32,
    /// The options of `asof source set`, and what they would set.
    pub options: Vec<(String, String)>,
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
    /// Whether it is the newest one, so that others before it may be missing, too.
    pub newest: bool,
}

/// A generation that is there though it may have been forgotten: the run that was to do it was killed right before or after that, and only the
/// lost catalog knew which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// Its instant.
    #[serde(flatten)]
    pub when: When,
    /// The tombstone that was prepared.
    #[serde(rename = "tombstone", serialize_with = "path_text")]
    pub path: PathBuf,
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
    /// What it counts from is another one than the generation that is there.
    OtherBase(Base),
    /// A later manifest was written as if it had not been: its run was given up, or it was forgotten and the tombstone is lost.
    Unknown {
        /// The later manifest.
        later: u64,
    },
    /// A later manifest has the generation of its instant.
    Replaced {
        /// The later manifest.
        by: u64,
    },
    /// The catalog was there and has a generation of this instant, of another manifest.
    Same,
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

/// A generation that holds something else than its manifest counted.
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
            Self::NoBase(Base { at, sequence: 0, .. }) => {
                write!(f, "it counts from the generation of {at}, which is not there")
            }
            Self::NoBase(Base { at, sequence, .. }) => {
                write!(f, "it counts from the generation of {at}, manifest {sequence}, which is not there")
            }
            Self::OtherBase(Base { at, .. }) => write!(
                f,
                "it counts from another generation of {at} than the one that is there: a catalog wrote it that was replaced by an older copy"
            ),
            Self::Unknown { later } => write!(
                f,
                "manifest {later}, which came later, does not know it: its run was given up, or it was forgotten"
            ),
            Self::Replaced { by } => write!(
                f,
                "manifest {by}, which came later, has the generation of that time: it was used, and may have been written without this one \
                 being known"
            ),
            Self::Same => f.write_str("the catalog has a generation of that time already, of another manifest"),
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

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}
