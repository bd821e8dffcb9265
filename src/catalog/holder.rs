//! Who holds a lock, as far as the lock tells, and what that is called in messages.
//!
//! Promises: whoever could not be seen, or has ended, is not named as one who runs. Takes no lock and reads none.

use crate::model::Time;
use std::fmt;
use std::path::PathBuf;

/// A lock that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// What is locked.
    pub what: Locked,
    /// Who holds it.
    pub holder: Holder,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Locked::Catalog(path) => write!(f, "catalog {path:?} is being written by {}", self.holder),
            Locked::Source(name) => write!(f, "source {name:?} is in use by {}", self.holder),
        }
    }
}

/// What a lock is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// The catalog at this path.
    Catalog(PathBuf),
    /// The source of this name.
    Source(String),
}

/// Who holds a lock, as far as the lock tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process that runs.
    Process(Held),
    /// A process of another container, which cannot be seen from here.
    Elsewhere(Held),
    /// Who wrote this has ended, and whoever holds the lock has not written.
    Ended(Held),
    /// The lock does not tell.
    Unknown,
}

/// What the holder of a lock wrote into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The number of the process.
    pub pid: u32,
    /// What it runs; may be empty.
    pub verb: String,
    /// Since when it holds the lock.
    pub since: Option<Time>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = match self {
            Self::Process(held) => write!(f, "process {}", held.pid).map(|()| held),
            Self::Elsewhere(held) => write!(f, "process {} of another container", held.pid).map(|()| held),
            Self::Ended(held) => f.write_str("a process that ended").map(|()| held),
            Self::Unknown => return f.write_str("a process that the lock does not name"),
        }?;
        match (held.verb.as_str(), held.since) {
            ("", None) => Ok(()),
            ("", Some(since)) => write!(f, " (since {since})"),
            (verb, None) => write!(f, " (asof {verb})"),
            (verb, Some(since)) => write!(f, " (asof {verb}, since {since})"),
        }
    }
}
