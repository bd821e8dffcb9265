//! The note that a run leaves until it is published: in the catalog, and in the folder of images.
//!
//! The one in the catalog is there whatever becomes of the folder, of the settings and of the source; the one in the folder is there
//! where the catalog was put back from an older copy.
//!
//! Promises: what it says is on the disk before the moment that it tells of. If it stays, the next run looks at more than it
//! had to.

use super::error::Error;
use super::job::DiskJob;
use crate::catalog::Writer;
use crate::jobs::take::block::durable::write_durably;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// What notes of these runs are found by in the catalog.
pub(super) const VERB: &str = "take";

/// A run that is not published yet: in the catalog, and as `.asof-pull-NAME.json` in the folder of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The id of the moment that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    /// Its row in the catalog.
    #[serde(skip)]
    pub(super) run: Option<i64>,
    /// The folder that it writes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) folder: Option<PathBuf>,
    /// The instant of what it takes, once that is known.
    pub(super) at: Option<i64>,
    /// The marks that this run and those before it would have made: bitmaps of these names may count from another moment by
    /// now than from that of a generation. None: any may.
    pub(super) marks: Option<Vec<String>>,
    pub(super) consistency: Option<String>,
    /// By what a backup that libvirt runs is known to be of this run: its socket, or its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backup: Option<PathBuf>,
    /// The disks of the guest that it takes, where it takes all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) disks: Vec<String>,
    /// Device and inode number of the image that a command made, before it gets its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<(u64, u64)>,
}

impl DiskJob<'_> {
    pub(super) fn note_path(&self) -> PathBuf {
        self.settings.own_folder().join(format!(".asof-pull-{}.json", self.source.name))
    }

    pub(super) fn write_note(&self, writer: &mut Writer, note: &mut Note) -> Result<(), Error> {
        let text = serde_json::to_string(note).expect("numbers and text have a form in JSON");
        match note.run {
            Some(run) => writer.note_run(run, &text)?,
            None => note.run = Some(writer.begin_run(VERB, self.source.id, &text, self.clock.now())?),
        }
        self.check_folder()?;
        let path = self.note_path();
        write_durably(&path, text.as_bytes()).map_err(|source| Error::Write { path, source })
    }

    /// Says that nothing of the runs of this source is left to look after. If it stays, the next run looks at more than it had to.
    pub(super) fn remove_notes(&self, writer: &mut Writer, result: &str) {
        let open = writer.open_runs(VERB).unwrap_or_default();
        let ours: Vec<i64> = open.iter().filter(|run| run.source == Some(self.source.id)).map(|run| run.id).collect();
        let _ = writer.end_runs(&ours, result, self.clock.now());
        let _ = fs::remove_file(self.note_path());
    }
}
