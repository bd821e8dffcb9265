//! What a run that took a generation did, of whatever kind of source.
//!
//! Promises: the form that `--json` prints. Whether something is a finding is decided here.

use super::block::still;
use super::error::NOT_RELEASED;
use crate::index::Done;
use crate::jobs::hooks;
use crate::jobs::report::{When, path_text};
use crate::model::{Consistency, Hinted, Level, Time, chain};
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// What a run did.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The source.
    pub source: String,
    /// The generation.
    #[serde(flatten)]
    pub when: When,
    /// How much of the source its copy holds.
    #[serde(serialize_with = "level_word")]
    pub level: Level,
    /// The copy, a directory; or the image.
    #[serde(serialize_with = "path_text")]
    pub path: PathBuf,
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
    /// Those of them that are gaps.
    pub gaps: u64,
    /// How long indexing took.
    pub index_ms: u64,
    /// What there is to say of this kind of source alone.
    #[serde(flatten)]
    pub taken: Taken,
    /// What went wrong when the generation was there.
    #[serde(serialize_with = "chain_text")]
    pub trouble: Option<Trouble>,
}

/// What there is to say of one kind of source alone.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Taken {
    /// A volume.
    Volume(TakenVolume),
    /// A disk.
    Disk(TakenDisk),
}

/// How a volume was taken.
#[derive(Debug, Serialize)]
pub struct TakenVolume {
    /// Files that were copied.
    pub copied_files: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Files that a run which was interrupted had copied.
    pub taken_over_files: u64,
    /// Why everything was looked at; none: what changelogs name was.
    pub looked_at_everything: Option<String>,
    /// Why the next run has to look at everything, if it has to.
    pub next_looks_at_everything: Option<String>,
}

/// How a disk was taken.
#[derive(Debug, Serialize)]
pub struct TakenDisk {
    /// The generation that it rests on.
    #[serde(serialize_with = "time_text")]
    pub parent: Option<Time>,
    /// Its mark: the next increment counts from it.
    pub checkpoint: Option<String>,
    /// How much the data was at rest.
    #[serde(serialize_with = "consistency_word")]
    pub consistency: Consistency,
    /// Why everything was read, where there is a bitmap.
    pub full_because: Option<String>,
    /// Size of the disk; none: a command made the image.
    pub disk_bytes: Option<u64>,
    /// What of it was dirty.
    pub dirty_bytes: Option<u64>,
    /// What was read from the server.
    pub fetched_bytes: Option<u64>,
}

/// What can go wrong when the generation is there.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The command that runs at last.
    #[error(transparent)]
    Post(hooks::Error),
    /// The guest was not let go.
    #[error(transparent)]
    NotReleased(still::Error),
}

impl Hinted for Trouble {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Post(_) => "the generation is there".to_owned(),
            Self::NotReleased(_) => NOT_RELEASED.to_owned(),
        })
    }
}

impl Report {
    pub(super) fn new(source: &str, done: &Done, level: Level, path: PathBuf, taken: Taken) -> Self {
        let counts = &done.counts;
        Self {
            source: source.to_owned(),
            when: When(done.at),
            level,
            path,
            entries: counts.entries,
            size_bytes: counts.size_bytes,
            changed: done.changed_nodes,
            losses: counts.losses,
            notices: counts.notices,
            gaps: counts.gaps,
            index_ms: counts.index_ms,
            taken,
            trouble: None,
        }
    }

    /// Tells whether there is something that a person has to look at.
    pub fn has_findings(&self) -> bool {
        self.losses + self.notices > 0 || self.trouble.is_some()
    }
}

fn level_word<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level.word())
}

fn consistency_word<S: Serializer>(consistency: &Consistency, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(consistency.word())
}

fn time_text<S: Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(serializer)
}

/// Writes an error with its causes on one line.
fn chain_text<S: Serializer>(trouble: &Option<Trouble>, serializer: S) -> Result<S::Ok, S::Error> {
    trouble.as_ref().map(|trouble| chain(trouble)).serialize(serializer)
}
