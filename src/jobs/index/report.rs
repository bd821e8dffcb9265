//! What an index run did, source by source, in the order in which it happened.
//!
//! Promises: the form that `--json` prints. Whether something is a finding is decided here and nowhere else.

use super::super::report::{MovedCopy, When, path_text};
use super::Error;
use crate::model::{Time, chain};
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The sources, in the order in which they were looked at.
    pub sources: Vec<SourceReport>,
}

/// What a run did with one source.
#[derive(Debug, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub source: String,
    /// The word of its kind.
    pub kind: String,
    /// How it ended.
    pub result: Outcome,
    /// Copies whose generations are there, before the run.
    pub known: u64,
    /// Copies that are there and were forgotten.
    pub forgotten: u64,
    /// What was done and found.
    pub events: Vec<Event>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All was done, and is as it should be.
    Done,
    /// All that could be done was, and something is not as it should be.
    Findings,
    /// Nothing was done.
    Failed,
}

/// One thing that was done or found.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Event {
    /// A copy became a generation, or takes its place anew.
    Indexed(Indexed),
    /// A copy was walked again and is what was indexed.
    Same(OneCopy),
    /// A copy that was asked for is indexed already.
    Known(OneCopy),
    /// Copies are at other places than they were.
    Moved {
        /// They.
        copies: Vec<MovedCopy>,
    },
    /// A copy that was gone is there again.
    Back(OneCopy),
    /// Copies are gone.
    Gone(Gone),
    /// A copy is not what was indexed, and cannot be indexed as it.
    Changed {
        /// The copy.
        #[serde(flatten)]
        copy: OneCopy,
        /// What differs.
        why: String,
        /// Whether it can be indexed once more as it is now.
        #[serde(skip)]
        can_be_again: bool,
    },
    /// Copies are there and cannot be read, because they have bytes in a file that is not as it was.
    CutOff {
        /// The file.
        #[serde(serialize_with = "path_text")]
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The copies, oldest first.
        copies: Vec<OneCopy>,
    },
    /// Something among the copies is none.
    LeftAside {
        /// What.
        #[serde(serialize_with = "path_text")]
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A store cannot be looked at, so nothing is known of the copies in it.
    Unreachable {
        /// The store.
        #[serde(serialize_with = "path_text")]
        store: PathBuf,
        /// Why.
        why: String,
        /// How many copies of the source are in it.
        copies: u64,
        /// One of them, where another store of the source is there: that may have taken the place of this one.
        #[serde(skip)]
        hint: Option<Time>,
    },
    /// A copy, or all that was to be done, failed.
    Failed {
        /// Which copy; none: the source.
        #[serde(flatten)]
        copy: Option<OneCopy>,
        /// Why.
        #[serde(serialize_with = "chain_text")]
        error: Error,
    },
    /// Something that is worth knowing and no fault.
    Note {
        /// What.
        text: String,
    },
    /// Something that is not as it should be.
    Warning {
        /// What.
        text: String,
    },
}

/// One copy of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OneCopy {
    /// The generation.
    #[serde(flatten)]
    pub when: When,
    /// Where it is.
    #[serde(serialize_with = "path_text")]
    pub path: PathBuf,
}

/// A copy that was indexed.
#[derive(Clone, Debug, Serialize)]
pub struct Indexed {
    /// The copy.
    #[serde(flatten)]
    pub copy: OneCopy,
    /// What had changed in it since it was indexed before; none: it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
    /// The snapshot inside the image that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The generation that an increment counts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<When>,
    /// Names in it.
    pub entries: u64,
    /// Bytes of its regular files.
    pub size_bytes: u64,
    /// Nodes that differ from the generation before.
    pub changed: u64,
    /// What could not be read.
    pub losses: u64,
    /// Other findings.
    pub notices: u64,
    /// Whether it changed meanwhile.
    pub changed_while_indexed: bool,
    /// Whether it stands still; else it is walked once more by the next run.
    pub settled: bool,
    /// Whether it is empty, and the generation before is not.
    pub suddenly_empty: bool,
    /// Whether its date is later than now.
    pub in_future: bool,
    /// How long it took.
    pub index_ms: u64,
}

/// Copies that are gone.
#[derive(Clone, Debug, Serialize)]
pub struct Gone {
    /// Whether they were the oldest: whoever makes them keeps so many only.
    pub pruned: bool,
    /// The copies, oldest first.
    pub copies: Vec<OneCopy>,
}

impl Event {
    /// Tells whether it is something that a person has to look at.
    pub fn is_finding(&self) -> bool {
        match self {
            Self::Indexed(done) => {
                done.losses + done.notices > 0 || done.changed_while_indexed || done.suddenly_empty || done.in_future
            }
            Self::Gone(gone) => !gone.pruned,
            Self::Changed { .. }
            | Self::CutOff { .. }
            | Self::LeftAside { .. }
            | Self::Unreachable { .. }
            | Self::Failed { .. }
            | Self::Warning { .. } => true,
            Self::Same(_) | Self::Known(_) | Self::Moved { .. } | Self::Back(_) | Self::Note { .. } => false,
        }
    }
}

impl SourceReport {
    /// Tells whether nothing was done and nothing found.
    pub fn is_quiet(&self) -> bool {
        self.result == Outcome::Done
            && self.events.iter().all(|event| matches!(event, Event::Same(_) | Event::Known(_)))
    }
}

impl Report {
    /// Returns how the run ended: done, with findings if any source has some or was not done, failed if none was done.
    pub fn outcome(&self) -> Outcome {
        let all = |outcome| self.sources.iter().all(|source| source.result == outcome);
        match () {
            () if all(Outcome::Done) => Outcome::Done,
            () if all(Outcome::Failed) => Outcome::Failed,
            () => Outcome::Findings,
        }
    }
}

/// Writes an error with its causes on one line.
fn chain_text<S: Serializer>(error: &Error, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&chain(error))
}
