//! What can go wrong with a catalog, in the words that the admin reads, and what may help.
//!
//! Promises: an error names the catalog and what was being done with it; a full disk and a read-only file system go by their names,
//! whether SQLite met them or the system did. Knows no table and opens nothing.

use super::files::{MANIFESTS, beside};
use super::holder::{Busy, Held, Holder};
use crate::model::{Hinted, NodeId, Time};
use crate::sys::mount::absent_above;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What can go wrong with a catalog.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no file.
    #[error("there is no catalog {path:?}")]
    Missing {
        /// The catalog.
        path: PathBuf,
    },
    /// `init` found a file.
    #[error("catalog {path:?} exists already")]
    Exists {
        /// The catalog.
        path: PathBuf,
    },
    /// A file, but not a catalog of ours.
    #[error("{path:?} is not a catalog of asof: {found}")]
    NotACatalog {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// Written by a newer program.
    #[error("catalog {path:?} has format {found}, and this asof reads formats up to {supported}")]
    TooNew {
        /// The catalog.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest that can be read.
        supported: i64,
    },
    /// Written by an older program.
    #[error("catalog {path:?} has format {found}, and this asof reads format {wanted}")]
    TooOld {
        /// The catalog.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The one that is read.
        wanted: i64,
    },
    /// SQLite cannot make what it needs beside it.
    #[error("catalog {path:?} cannot be read where it is: {why}")]
    Unreadable {
        /// The catalog.
        path: PathBuf,
        /// What hinders.
        why: &'static str,
    },
    /// On a read-only file system.
    #[error("catalog {path:?} cannot be written: its file system is read-only")]
    ReadOnly {
        /// The catalog.
        path: PathBuf,
    },
    /// On a file system where SQLite's shared memory does not work.
    #[error("catalog {path:?} would lie on {filesystem}, where its lock and shared memory do not work")]
    NetworkFilesystem {
        /// The catalog.
        path: PathBuf,
        /// The kind of file system.
        filesystem: String,
    },
    /// Another process writes the catalog, or uses the source.
    #[error("{busy}{}", after(*.waited))]
    Busy {
        /// What is locked, and by whom.
        busy: Busy,
        /// How long it was waited for.
        waited: Duration,
    },
    /// No such source.
    #[error("there is no source {name:?}{}", there_are(.known))]
    NoSuchSource {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// `source add` of a name that is taken.
    #[error("there is a source {name:?} already")]
    SourceExists {
        /// The name.
        name: String,
    },
    /// A name that cannot be a directory of the mount.
    #[error("{name:?} cannot name a source: {why}")]
    SourceName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A source has a generation at this second already.
    #[error("source {source_name:?} has a generation of {at} already")]
    GenerationExists {
        /// The source.
        source_name: String,
        /// The instant.
        at: Time,
    },
    /// A source has no generation at this second.
    #[error("source {source_name:?} has no generation of {at}")]
    NoSuchGeneration {
        /// The source.
        source_name: String,
        /// The instant.
        at: Time,
    },
    /// What was told of a generation contradicts itself; it was not published.
    #[error("the generation of {at} was not published: \"{path}\": {what}")]
    Unproved {
        /// Its instant.
        at: Time,
        /// Where it contradicts itself.
        path: String,
        /// How.
        what: String,
    },
    /// Something went wrong before, and what that left is removed by whoever opens the catalog next.
    #[error("catalog {path:?} is not written to any more after an error; open it again")]
    Spent {
        /// The catalog.
        path: PathBuf,
    },
    /// A number that does not fit into an inode number would be needed.
    #[error("catalog {path:?} has used up the numbers of {of}, of which there are 2^{bits}")]
    NumbersUsedUp {
        /// The catalog.
        path: PathBuf,
        /// What they are numbers of.
        of: &'static str,
        /// How many bits they have.
        bits: u32,
    },
    /// An older catalog has rows that would be lost where it is brought up to date.
    #[error("catalog {path:?} cannot be brought up to date: {what}: {detail}")]
    Torn {
        /// The catalog.
        path: PathBuf,
        /// What is wrong with the rows.
        what: &'static str,
        /// The first of them.
        detail: String,
    },
    /// The disk is full.
    #[error("{doing} in catalog {path:?}: the disk is full")]
    Full {
        /// What was being done.
        doing: &'static str,
        /// The catalog.
        path: PathBuf,
    },
    /// The file system or directory forbids it.
    #[error("{doing} catalog {path:?}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The manifest of a generation cannot be written.
    #[error("cannot keep the manifest of the generation of {at}")]
    Manifest {
        /// The generation.
        at: Time,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A row contradicts another one.
    #[error("catalog {path:?} contradicts itself: {what} of node {node} as of {at}")]
    Contradiction {
        /// The catalog.
        path: PathBuf,
        /// What is missing or wrong.
        what: &'static str,
        /// The node.
        node: NodeId,
        /// The instant asked for.
        at: Time,
    },
    /// A name without a version.
    #[error("catalog {path:?} is damaged: \"{name}\" (node {node}) has no version as of {at}")]
    NoVersion {
        /// The catalog.
        path: PathBuf,
        /// The name, escaped.
        name: String,
        /// What it points to.
        node: NodeId,
        /// The instant asked for.
        at: Time,
    },
    /// A query of the admin was refused or stopped.
    #[error("{0}")]
    Refused(String),
    /// SQLite says no.
    #[error("{doing} in catalog {path:?}")]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// The catalog.
        path: PathBuf,
        /// SQLite's words.
        source: Words,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Missing { path } if beside(path, MANIFESTS).is_dir() => {
                "asof rebuild makes a lost catalog again from its manifests; --catalog FILE or ASOF_CATALOG names another"
            }
            Self::Missing { path } => return Some(format!("{}{MAKE_IT}", away(path))),
            Self::Exists { .. } => "asof source add goes on with it; nothing was changed",
            Self::NotACatalog { path, .. } if beside(path, MANIFESTS).is_dir() => return Some(damaged(path)),
            Self::NotACatalog { .. } => "nothing was changed; --catalog FILE or ASOF_CATALOG names another",
            Self::TooNew { .. } => "use the asof that wrote it, or a newer one; nothing was changed",
            Self::TooOld { path, .. } => {
                return Some(format!(
                    "asof --catalog {path:?} migrate brings it up to date, and keeps a copy of it as it is"
                ));
            }
            Self::Unreadable { .. } => {
                "copy it, and its log if there is one, to where files can be made; --catalog FILE names the copy"
            }
            Self::ReadOnly { .. } => "reading and mounting work; mount the file system writable to change anything",
            Self::NetworkFilesystem { .. } => "keep the catalog on a local disk; the copies may lie anywhere",
            Self::Busy { waited, .. } if waited.is_zero() => {
                "--wait 10m waits until it ends; reading and mounting go on meanwhile"
            }
            Self::Busy { busy, .. } => {
                let longer = "--wait DURATION waits longer; reading and mounting go on meanwhile";
                return Some(match &busy.holder {
                    Holder::Process(Held { pid, .. }) => {
                        format!("ps -fp {pid} shows what holds it, kill {pid} ends that if it hangs; {longer}")
                    }
                    Holder::Elsewhere(Held { pid, .. }) => {
                        format!(
                            "look in the other container what its process {pid} does, and end it if it hangs; {longer}"
                        )
                    }
                    Holder::Ended(_) | Holder::Unknown => longer.to_owned(),
                });
            }
            Self::NoSuchSource { name, known } if name.contains('/') => {
                return Some(match name.split_once('/') {
                    Some((source, path)) if known.iter().any(|known| known == source) => {
                        format!("a path stands behind a colon: {source}:{path}")
                    }
                    _ => {
                        "an entry is SOURCE:PATH, its path the one in the source; --at DATE says as of when".to_owned()
                    }
                });
            }
            Self::NoSuchSource { .. } => "asof source list shows them, asof source add makes one",
            Self::SourceExists { .. } => "asof source show prints its settings, asof source set changes them",
            Self::GenerationExists { .. } => "give it another second: asof index NAME PATH --at DATE",
            Self::NoSuchGeneration { .. } => "asof generations NAME lists them",
            Self::Unproved { .. } => "nothing of it was kept; the copy is untouched: please report this",
            Self::NumbersUsedUp { .. } => "nothing was changed; a new catalog over the same copies begins anew",
            Self::Torn { .. } => {
                "nothing was changed; put back a backup of it, or begin a new catalog over the same copies"
            }
            Self::NoVersion { .. } | Self::Contradiction { .. } => {
                "asof check lists everything that is wrong in the catalog"
            }
            Self::Manifest { cause, .. } if is_full(cause) => NO_ROOM,
            Self::Manifest { .. } => "nothing of the generation was kept; make the folder writable and run it again",
            Self::Full { .. } => NO_ROOM,
            Self::Sqlite { path, source, .. }
                if source.0.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) =>
            {
                return Some(damaged(path));
            }
            Self::Io { .. } | Self::SourceName { .. } | Self::Spent { .. } | Self::Refused(_) | Self::Sqlite { .. } => {
                return None;
            }
        };
        Some(text.to_owned())
    }
}

const MAKE_IT: &str = "asof init makes it, asof rebuild DIR makes a lost one again from its manifests; --catalog FILE or ASOF_CATALOG names another";

/// Says that the disk of a catalog that is not there may not be mounted, where it looks so.
fn away(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Some(dir) = absent_above(&path) {
        return format!("mount {dir:?} first, which /etc/fstab has and which is not mounted; or ");
    }
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
    match folder.map(|folder| (folder, std::fs::read_dir(folder).map(|mut names| names.next().is_none()))) {
        Some((folder, Ok(true))) => format!("{folder:?} is empty: is its disk mounted? If so, "),
        _ => String::new(),
    }
}

/// Says what to do with a catalog that is damaged.
pub fn damaged(path: &Path) -> String {
    format!(
        "move {path:?} away, and what is there of its -wal, -shm and -journal with it; then asof --catalog {path:?} rebuild makes it \
         again from its manifests (docs/troubleshooting.md)"
    )
}

/// What to do where the disk of the catalog is full.
const NO_ROOM: &str = "nothing that was published is lost; make room and run it again: CATALOG.format* and CATALOG.log may be \
    deleted, CATALOG-wal never";

fn is_full(cause: &std::io::Error) -> bool {
    matches!(cause.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// What SQLite said, once: the error of `rusqlite` has the same words again as its cause.
#[derive(Debug)]
pub struct Words(pub(super) rusqlite::Error);

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Words {}

fn there_are(names: &[String]) -> String {
    match names {
        [] => "; there is none yet".to_owned(),
        names => format!("; known are {}", names.join(", ")),
    }
}

fn after(waited: Duration) -> String {
    match (waited.as_secs(), waited.subsec_millis()) {
        (0, 0) => String::new(),
        (0, ms) => format!(", also after a wait of {ms} ms"),
        (seconds, _) => format!(", also after a wait of {seconds} s"),
    }
}

/// Something that is done with a whole catalog, in the words of errors.
#[derive(Clone, Copy)]
pub(super) struct Doing {
    /// Before "catalog".
    pub(super) with: &'static str,
    /// Before "in catalog".
    pub(super) inside: &'static str,
}

pub(super) const OPENING: Doing = Doing { with: "opening", inside: "reading the format" };

impl Doing {
    /// Returns the error of a file as ours: a full disk and a read-only one by their names.
    pub(super) fn io(self, path: &Path, source: std::io::Error) -> Error {
        let path = path.to_owned();
        match source.kind() {
            _ if is_full(&source) => Error::Full { doing: self.inside, path },
            std::io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { path },
            _ => Error::Io { doing: self.with, path, source },
        }
    }

    pub(super) fn sqlite(self, path: &Path, source: rusqlite::Error) -> Error {
        Error::sqlite(self.inside, path, source)
    }
}

impl Error {
    /// Returns the error of SQLite as ours: a full disk and a busy file by their names.
    pub(super) fn sqlite(doing: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        // The index of the log, 32 KiB of shared memory beside the catalog, is made by whoever opens it first.
        if source.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) {
            return Self::Full { doing, path };
        }
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full { doing, path },
            Some(rusqlite::ErrorCode::NotADatabase) => {
                Self::NotACatalog { path, found: "not an SQLite database".to_owned() }
            }
            _ => Self::Sqlite { doing, path, source: Words(source) },
        }
    }
}
