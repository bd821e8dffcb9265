//! Looks after what a run left that did not end.
//!
//! Promises: what is whole becomes a generation, the rest is removed; what an earlier run left in doubt stays so until a
//! generation is published.

use super::error::Error;
use super::job::{DiskJob, Origin, Unsettled};
use super::note::Note;
use crate::catalog::Writer;
use crate::jobs::take::block::pull;
use crate::model::{Consistency, Time, chain};
use std::{fs, io};

impl DiskJob<'_> {
    /// Looks after what a run left that did not end: what is whole becomes a generation, the rest is removed. Returns what
    /// is to be known of it, if it is of no generation.
    pub(super) fn settle(&self, writer: &mut Writer, origin: &Origin) -> Result<Option<Unsettled>, Error> {
        let path = self.note_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Write { path, source }),
        };
        // A note that is damaged is one all the same.
        let note: Note = serde_json::from_str(&text).unwrap_or_default();
        if let (Origin::Guest { guest, .. }, Some(mark)) = (origin, &note.backup)
            && guest.end_left(mark)?
        {
            self.monitor
                .warn(&format!("ended the backup of domain {:?} that an interrupted run had left", guest.name()));
        }
        if let Some(mark) = &note.backup {
            super::guest::remove_socket(mark);
        }
        let Some(at) = note.at.map(Time) else {
            return Ok(Some(Unsettled { why: "the run before did not come to its end".to_owned(), marks: note.marks }));
        };
        let folder = self.settings.own_folder();
        for removed in pull::remove_left(folder, at).map_err(|source| Error::Write { path: path.clone(), source })? {
            self.monitor.note(&format!("removed {removed:?}, which an interrupted run had left"));
        }
        let images = [pull::names(folder, at).0, pull::pushed_name(folder, at)];
        let mut is_known = writer.instants(self.source.id)?.contains(&at);
        if let Some(image) = images.iter().find(|image| !is_known && image.is_file()) {
            let consistency = note.consistency.as_deref().and_then(Consistency::from_word);
            match self.index(writer, image, at, consistency.unwrap_or(Consistency::Crash), None) {
                Ok((done, ..)) => {
                    is_known = true;
                    self.monitor.warn(&format!(
                        "indexed {} of \"{}\" from {image:?}, which an interrupted run had taken whole",
                        done.at, self.source.name
                    ));
                }
                Err(e) => {
                    let why = chain(&e);
                    self.monitor.warn(&format!("{image:?} of an interrupted run does not become a generation: {why}"));
                }
            }
        }
        if let Origin::Guest { guest, .. } = origin {
            self.drop_checkpoints(writer, guest, &note)?;
            is_known = true;
        }
        if is_known {
            self.remove_note();
            return Ok(None);
        }
        Ok(Some(Unsettled { why: format!("the run of {at} did not come to its end"), marks: note.marks }))
    }
}
