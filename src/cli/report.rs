//! How a run ends: the error with its causes on one line, at most one hint, the exit code.
//!
//! Promises: `asof: ` before an error, causes joined by `: `, then at most one line `hint: `. A reader that
//! closed the pipe is no error.

use crate::model::chain;
use crate::source::block::image;
use crate::{catalog, daemon, fuse, index, model, source, store, take, view};
use std::process::ExitCode;

/// How a run that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it.
    Done,
    /// With losses or findings.
    WithFindings,
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

    pub(super) fn because(text: impl Into<String>, cause: &dyn std::error::Error) -> Self {
        Self::new(format!("{}: {}", text.into(), chain(cause)))
    }
}

/// Tells how the run ended and returns the exit code.
pub(super) fn end(result: Result<Outcome, Failure>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::WithFindings) => ExitCode::from(1),
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
        use catalog::Error::{
            Busy, Contradiction, Exists, Full, GenerationExists, Io, Missing, NetworkFilesystem, NoSuchGeneration,
            NoSuchSource, NoVersion, NotACatalog, NumbersUsedUp, ReadOnly, Refused, SourceExists, SourceName, Spent,
            Sqlite, TooNew, TooOld, Unproved, Unreadable,
        };
        let migrate;
        let hint = match &e {
            Missing { .. } => Some("asof init makes it; --catalog FILE or ASOF_CATALOG names another"),
            Exists { .. } => Some("asof source add goes on with it; nothing was changed"),
            NotACatalog { .. } => Some("nothing was changed; --catalog FILE or ASOF_CATALOG names another"),
            TooNew { .. } => Some("use the asof that wrote it, or a newer one; nothing was changed"),
            TooOld { path, .. } => {
                migrate =
                    format!("asof --catalog {path:?} migrate brings it up to date, and keeps a copy of it as it is");
                Some(migrate.as_str())
            }
            Unreadable { .. } => {
                Some("copy it, and its log if there is one, to where files can be made; --catalog FILE names the copy")
            }
            ReadOnly { .. } => Some("reading and mounting work; mount the file system writable to change anything"),
            NetworkFilesystem { .. } => Some("keep the catalog on a local disk; the copies may lie anywhere"),
            Busy { waited, .. } if waited.is_zero() => {
                Some("--wait 10m waits until it ends; reading and mounting go on meanwhile")
            }
            Busy { .. } => Some("--wait DURATION waits longer; reading and mounting go on meanwhile"),
            NoSuchSource { .. } => Some("asof source list shows them, asof source add makes one"),
            SourceExists { .. } => Some("asof source show tells its settings, asof source set changes them"),
            GenerationExists { .. } => Some("give it another second: asof index NAME PATH --at DATE"),
            NoSuchGeneration { .. } => Some("asof generations NAME lists them"),
            Unproved { .. } => Some("nothing of it was kept; the copy is untouched: please report this"),
            NumbersUsedUp { .. } => Some("nothing was changed; a new catalog over the same copies begins anew"),
            NoVersion { .. } | Contradiction { .. } => Some("asof check finds all that is wrong in the catalog"),
            Full { .. } => Some("nothing that was published is lost; make room and run it again"),
            Io { .. } | SourceName { .. } | Spent { .. } | Refused(_) | Sqlite { .. } => None,
        };
        let failure = Self::new(chain(&e));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<source::Error> for Failure {
    fn from(e: source::Error) -> Self {
        let failure = Self::new(chain(&e));
        match e {
            source::Error::NoInstant { .. } => failure.hint("asof index NAME PATH --at DATE gives it one"),
            _ => failure,
        }
    }
}

impl From<index::Error> for Failure {
    fn from(e: index::Error) -> Self {
        match e {
            index::Error::Catalog(e) => e.into(),
            index::Error::Source(e) => e.into(),
            e => {
                let hint = match &e {
                    index::Error::NotUnderstood { .. } => {
                        Some("--list-format, --field-separator and --output-prefix tell what it looks like")
                    }
                    index::Error::Empty { .. } => {
                        Some("glusterfind leaves an empty list when it fails; --empty, if it is so")
                    }
                    index::Error::NotNewer { .. } => {
                        Some("give it a later --at; asof source remove forgets a source, to index it anew")
                    }
                    index::Error::State { .. } => Some("asof take --full begins anew"),
                    _ => None,
                };
                let failure = Self::new(chain(&e));
                match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
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
        use take::disk::Error::{Catalog, Empty, Image, Index, NoCheckpoint, NotNewer, NotWhole, NothingBefore, Store};
        let hint = match &e {
            Catalog(_) | Index(_) => None,
            Image(image::Error::File { why: image::Why::Outside, .. }) => {
                Some("an increment that QEMU pushed names the live disk: --base IMAGE says what it rests on")
            }
            Image(_) => None,
            Store(_) => {
                Some("every image that it rests on has to be there as it was when it was indexed; nothing was recorded")
            }
            Empty { .. } => Some("was it copied to its end?"),
            NothingBefore { .. } => Some("index the full image first; --base IMAGE names what increments rest on"),
            NoCheckpoint { .. } => {
                Some("index the image of that checkpoint first; --base IMAGE says that it rests on another")
            }
            NotNewer { .. } => Some("asof index NAME IMAGE --at DATE gives it another instant"),
            NotWhole { .. } => Some("the image that it rests on has to be indexed first"),
        };
        let failure = match e {
            Catalog(e) => return e.into(),
            Index(e) => return e.into(),
            e => Self::new(chain(&e)),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
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
