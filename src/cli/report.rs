//! How a run ends: the error with its causes on one line, at most one hint, the exit code.
//!
//! Promises: `asof: ` before an error, causes joined by `: `, then at most one line `hint: `. A reader that
//! closed the pipe is no error.

use crate::model::chain;
use crate::source::block::image;
use crate::{catalog, daemon, fuse, index, jobs, model, source, store, take, view};
use std::process::ExitCode;

/// How a run that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it.
    Done,
    /// With losses or findings.
    WithFindings,
    /// None of it; why is said already.
    NotDone,
}

/// Why a run did not do its work.
#[derive(Debug)]
pub(super) struct Failure {
    text: String,
    hint: Option<String>,
    /// The reader of standard output went away; it has what it wanted.
    is_closed_pipe: bool,
}

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None, is_closed_pipe: false }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Says first what was being done.
    pub(super) fn about(self, deed: &str) -> Self {
        Self { text: format!("{deed}: {}", self.text), ..self }
    }

    /// Returns the failure that `cause` is, with its causes.
    fn with_hint(cause: &dyn std::error::Error, hint: Option<String>) -> Self {
        Self { hint, ..Self::new(chain(cause)) }
    }

    pub(super) fn because(text: impl Into<String>, cause: &dyn std::error::Error) -> Self {
        Self::new(format!("{}: {}", text.into(), chain(cause)))
    }
}

/// Tells how the run ended and returns the exit code.
pub(super) fn end(result: Result<Outcome, Failure>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::WithFindings) => ExitCode::from(1),
        Ok(Outcome::NotDone) => ExitCode::from(2),
        Err(failure) if failure.is_closed_pipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("asof: {}", failure.text);
            if let Some(hint) = failure.hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}

impl From<std::io::Error> for Failure {
    /// For errors of standard output; others say what was being done.
    fn from(e: std::io::Error) -> Self {
        let is_closed_pipe = e.kind() == std::io::ErrorKind::BrokenPipe;
        Self { is_closed_pipe, ..Self::because("writing the answer", &e) }
    }
}

impl From<catalog::Error> for Failure {
    fn from(e: catalog::Error) -> Self {
        Self::with_hint(&e, catalog_hint(&e))
    }
}

fn catalog_hint(e: &catalog::Error) -> Option<String> {
    use catalog::Error::{
        Busy, Contradiction, Exists, Full, GenerationExists, Io, Missing, NetworkFilesystem, NoSuchGeneration,
        NoSuchSource, NoVersion, NotACatalog, NumbersUsedUp, ReadOnly, Refused, SourceExists, SourceName, Spent,
        Sqlite, TooNew, TooOld, Unproved, Unreadable,
    };
    let hint = match e {
        Missing { .. } => "asof init makes it; --catalog FILE or ASOF_CATALOG names another",
        Exists { .. } => "asof source add goes on with it; nothing was changed",
        NotACatalog { .. } => "nothing was changed; --catalog FILE or ASOF_CATALOG names another",
        TooNew { .. } => "use the asof that wrote it, or a newer one; nothing was changed",
        TooOld { path, .. } => {
            return Some(format!(
                "asof --catalog {path:?} migrate brings it up to date, and keeps a copy of it as it is"
            ));
        }
        Unreadable { .. } => {
            "copy it, and its log if there is one, to where files can be made; --catalog FILE names the copy"
        }
        ReadOnly { .. } => "reading and mounting work; mount the file system writable to change anything",
        NetworkFilesystem { .. } => "keep the catalog on a local disk; the copies may lie anywhere",
        Busy { waited, .. } if waited.is_zero() => {
            "--wait 10m waits until it ends; reading and mounting go on meanwhile"
        }
        Busy { .. } => "--wait DURATION waits longer; reading and mounting go on meanwhile",
        NoSuchSource { .. } => "asof source list shows them, asof source add makes one",
        SourceExists { .. } => "asof source show tells its settings, asof source set changes them",
        GenerationExists { .. } => "give it another second: asof index NAME PATH --at DATE",
        NoSuchGeneration { .. } => "asof generations NAME lists them",
        Unproved { .. } => "nothing of it was kept; the copy is untouched: please report this",
        NumbersUsedUp { .. } => "nothing was changed; a new catalog over the same copies begins anew",
        NoVersion { .. } | Contradiction { .. } => "asof check finds all that is wrong in the catalog",
        Full { .. } => "nothing that was published is lost; make room and run it again",
        Io { .. } | SourceName { .. } | Spent { .. } | Refused(_) | Sqlite { .. } => {
            return None;
        }
    };
    Some(hint.to_owned())
}

impl From<source::Error> for Failure {
    fn from(e: source::Error) -> Self {
        Self::with_hint(&e, source_hint(&e))
    }
}

fn source_hint(e: &source::Error) -> Option<String> {
    let hint = "asof index NAME PATH --at DATE gives it one";
    matches!(e, source::Error::NoInstant { .. }).then(|| hint.to_owned())
}

impl From<index::Error> for Failure {
    fn from(e: index::Error) -> Self {
        Self::with_hint(&e, index_hint(&e))
    }
}

fn index_hint(e: &index::Error) -> Option<String> {
    let hint = match e {
        index::Error::Catalog(e) => return catalog_hint(e),
        index::Error::Source(e) => return source_hint(e),
        index::Error::NotUnderstood { .. } => {
            "--list-format, --field-separator and --output-prefix tell what it looks like"
        }
        index::Error::Empty { .. } => "glusterfind leaves an empty list when it fails; --empty, if it is so",
        index::Error::NotNewer { .. } => "give it a later --at; asof source remove forgets a source, to index it anew",
        index::Error::State { .. } => "asof take --full begins anew",
        _ => return None,
    };
    Some(hint.to_owned())
}

impl From<jobs::index::Error> for Failure {
    fn from(e: jobs::index::Error) -> Self {
        Self::from(&e)
    }
}

impl From<&jobs::index::Error> for Failure {
    fn from(e: &jobs::index::Error) -> Self {
        use jobs::index::Error::{Catalog, Disk, Index, Source};
        match e {
            Catalog(below) => Self::with_hint(e, catalog_hint(below)),
            Source(below) => Self::with_hint(e, source_hint(below)),
            Index(below) => Self::with_hint(e, index_hint(below)),
            Disk(below) => Self::with_hint(e, disk_hint(below)),
            e => Self::with_hint(e, e.hint()),
        }
    }
}

impl From<take::Error> for Failure {
    fn from(e: take::Error) -> Self {
        use take::Error::{
            Catalog, Client, ClockBehind, Collect, Index, ListsOnly, NoStore, NotStarted, Source, State, Store,
            StoreIsAnother, Volume,
        };
        let hint = match e {
            Catalog(e) => return e.into(),
            Index(e) => return e.into(),
            Source(e) => return e.into(),
            Store(e) => return e.into(),
            Volume(ref e) => e.hint(),
            Collect(ref e) => e.hint(),
            NoStore { .. } => Some("is it mounted? asof source show tells where it has to be".to_owned()),
            ListsOnly(ref name) => {
                Some(format!("asof index {name} --list LIST --data DIR --at DATE indexes what another tool copied"))
            }
            NotStarted(ref volume) => Some(format!("gluster volume start {volume}")),
            ClockBehind { .. } => {
                Some("set the clock, or wait: a generation is never older than one that is there".to_owned())
            }
            Client(_) => {
                Some("packages glusterfs-client and fuse are needed where a brick has no whole files".to_owned())
            }
            StoreIsAnother { .. } => {
                Some("is the store mounted? asof take --full begins anew where it is gone for good".to_owned())
            }
            State { .. } => Some("asof take --full begins anew".to_owned()),
        };
        let failure = Self::new(chain(&e));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<take::disk::Error> for Failure {
    fn from(e: take::disk::Error) -> Self {
        Self::with_hint(&e, disk_hint(&e))
    }
}

fn disk_hint(e: &take::disk::Error) -> Option<String> {
    use take::disk::Error::{Catalog, Empty, Image, Index, NoCheckpoint, NotNewer, NotWhole, NothingBefore, Store};
    let hint = match e {
        Catalog(e) => return catalog_hint(e),
        Index(e) => return index_hint(e),
        Image(image::Error::File { why: image::Why::Outside, .. }) => {
            "an increment that QEMU pushed names the live disk: --base IMAGE says what it rests on"
        }
        Image(_) => return None,
        Store(_) => "every image that it rests on has to be there as it was when it was indexed; nothing was recorded",
        Empty { .. } => "was it copied to its end?",
        NothingBefore { .. } => "index the full image first; --base IMAGE names what increments rest on",
        NoCheckpoint { .. } => "index the image of that checkpoint first; --base IMAGE says that it rests on another",
        NotNewer { .. } => "asof index NAME IMAGE --at DATE gives it another instant",
        NotWhole { .. } => "the image that it rests on has to be indexed first",
    };
    Some(hint.to_owned())
}

impl From<take::acquire::Error> for Failure {
    fn from(e: take::acquire::Error) -> Self {
        use take::acquire::Error::{Catalog, Disk};
        let hint = e.hint();
        let failure = match e {
            Catalog(e) => return e.into(),
            Disk(e) => return e.into(),
            e => Self::new(chain(&e)),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<view::Error> for Failure {
    fn from(e: view::Error) -> Self {
        match e {
            view::Error::Catalog(e) => e.into(),
            e => Self::new(chain(&e)),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(e: store::Error) -> Self {
        Self::new(chain(&e))
    }
}

impl From<fuse::Error> for Failure {
    fn from(e: fuse::Error) -> Self {
        let failure = Self::new(chain(&e));
        match e.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<daemon::Error> for Failure {
    fn from(e: daemon::Error) -> Self {
        match e {
            daemon::Error::Fuse(e) => e.into(),
            e @ daemon::Error::Log { .. } => Self::new(chain(&e)).hint("--log-file FILE has it written elsewhere"),
            // The background process has made the text already, hint and all.
            daemon::Error::Refused { text } => match text.split_once("\thint: ") {
                Some((text, hint)) => Self::new(text).hint(hint),
                None => Self::new(text),
            },
            e => Self::new(chain(&e)),
        }
    }
}

impl From<model::DateError> for Failure {
    fn from(e: model::DateError) -> Self {
        Self::new(chain(&e))
    }
}

/// Returns the failure as the line that a background process hands to its starter.
pub(super) fn as_line(failure: &Failure) -> String {
    match &failure.hint {
        Some(hint) => format!("{}\thint: {hint}", failure.text),
        None => failure.text.clone(),
    }
}
