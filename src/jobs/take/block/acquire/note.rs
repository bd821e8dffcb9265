//! The note that a run leaves in the folder of images until it is published.
//!
//! Promises: what it says is on the disk before the moment that it tells of. If it stays, the next run looks at more than it
//! had to.

use super::error::Error;
use super::job::DiskJob;
use crate::jobs::take::block::durable::write_durably;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// A run that is not published yet, in the folder of images: `.asof-pull-NAME.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Note {
    /// The instant of what it takes, once that is known.
    pub(super) at: Option<i64>,
    /// The marks that this run and those before it would have made: bitmaps of these names may count from another moment by
    /// now than from that of a generation. None: any may.
    pub(super) marks: Option<Vec<String>>,
    pub(super) consistency: Option<String>,
    /// By what a backup that libvirt runs is known to be of this run: its socket, or its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backup: Option<PathBuf>,
}

impl DiskJob<'_> {
    pub(super) fn note_path(&self) -> PathBuf {
        self.settings.own_folder().join(format!(".asof-pull-{}.json", self.source.name))
    }

    pub(super) fn write_note(&self, note: &Note) -> Result<(), Error> {
        let path = self.note_path();
        let text = serde_json::to_string(note).expect("numbers and text have a form in JSON");
        write_durably(&path, text.as_bytes()).map_err(|source| Error::Write { path, source })
    }

    /// If the note stays, the next run looks at more than it had to.
    pub(super) fn remove_note(&self) {
        let _ = fs::remove_file(self.note_path());
    }
}
