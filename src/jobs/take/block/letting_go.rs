//! What it takes to let a guest go, by the run or by what outlives it.
//!
//! Promises: file systems are thawed before the command runs, which is run also when thawing fails.

use super::libvirt;
use crate::jobs::hooks::{self, About, Limit};
use crate::source::block::{Domain, Settings};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Why a guest may be held still yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file systems are frozen, as far as is known.
    #[error("the file systems of the guest were not thawed")]
    Thaw(#[source] libvirt::Error),
    /// The admin's command did not do its work.
    #[error(transparent)]
    Post(hooks::Error),
    /// It was held for too long, and then let go: what was read meanwhile is of no moment.
    #[error("the guest had been held for {held_max_s} s and was let go before the moment was made")]
    Late {
        /// How long it may be held.
        held_max_s: u64,
    },
}

/// What it takes to let a guest go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) post: Option<String>,
    /// The guest whose file systems are frozen, if they are.
    pub(super) frozen: Option<Domain>,
    /// What the command may take, in seconds.
    hook_timeout_s: u64,
    /// How long the guest may be held, in seconds; none: as long as the run lives.
    pub(super) held_max_s: Option<u64>,
    /// The note that it is held.
    pub(super) journal: PathBuf,
    /// What the command is told: names, and the bytes of values.
    pub(super) about: Vec<(String, Vec<u8>)>,
}

impl Plan {
    /// Returns how the guest of a source is let go; `journal` is the note that it is held.
    pub(super) fn new(settings: &Settings, journal: PathBuf) -> Self {
        Self {
            post: settings.post.clone(),
            frozen: settings.domain.clone().filter(|domain| domain.freeze),
            hook_timeout_s: settings.hook_timeout().as_secs(),
            held_max_s: settings.freeze_max().map(|time| time.as_secs()),
            journal,
            about: Vec::new(),
        }
    }

    /// Tells whether there is anything to let go.
    pub(super) fn is_empty(&self) -> bool {
        self.post.is_none() && self.frozen.is_none()
    }

    /// Lets the guest go: its file systems first, then the command, also if that fails. `status` is what became of the run.
    pub(super) fn let_go(&self, about: &About) -> Result<(), Error> {
        let thawed = self.frozen.as_ref().map_or(Ok(()), libvirt::thaw).map_err(Error::Thaw);
        let limit = Limit { time: Duration::from_secs(self.hook_timeout_s), is_over: &|| false, may_outlive_us: true };
        let run = |post: &String| hooks::run_within("post", post, about, limit, None);
        let ran = self.post.as_ref().map_or(Ok(()), run).map_err(Error::Post);
        thawed.and(ran)
    }
}
