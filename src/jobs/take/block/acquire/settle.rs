//! Looks after what runs left that did not end.
//!
//! Promises: what is whole and of the run that says so becomes a generation, the rest is removed; what an earlier run left in doubt stays
//! so until a generation is published.

use super::error::Error;
use super::job::{DiskJob, Origin, Pending, Unsettled};
use super::note::{Note, VERB};
use crate::catalog::Writer;
use crate::jobs::take::block::{claim, names};
use crate::model::{Consistency, EntryName, Time, chain};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

impl DiskJob<'_> {
    /// Ends what libvirt runs for a run of this source that did not end, wherever that wrote to.
    pub(super) fn end_left(&self, writer: &Writer, origin: &Origin) -> Result<(), Error> {
        for note in self.notes(writer)? {
            if let (Origin::Guest { guest, .. }, Some(mark)) = (origin, &note.backup)
                && guest.end_left(mark)?
            {
                self.monitor
                    .warn(&format!("ended the backup of domain {:?} that an interrupted run had left", guest.name()));
            }
            if let Some(mark) = &note.backup {
                super::guest::remove_socket(mark);
            }
        }
        Ok(())
    }

    /// Looks after what runs left that did not end: what is whole becomes a generation, the rest is removed. Returns what
    /// is to be known of those that are of no generation.
    pub(super) fn settle(&self, writer: &mut Writer, origin: &Origin) -> Result<Pending, Error> {
        let mut pending = Pending::default();
        let notes = self.notes(writer)?;
        let ids: Vec<&str> = notes.iter().filter_map(|note| note.id.as_deref()).collect();
        claim::remove_left(self.settings.own_folder(), &ids, self.clock.now());
        for note in &notes {
            pending.0.extend(self.settle_one(writer, origin, note)?);
        }
        if !notes.is_empty() && pending.0.is_empty() {
            self.remove_notes(writer, "failed");
        }
        // Those of sources that were removed among them: the same disk may have another name by now.
        for run in writer.open_runs(VERB)?.into_iter().filter(|run| run.source != Some(self.source.id)) {
            let marks = serde_json::from_str::<Note>(&run.note).ok().and_then(|note| note.marks);
            if let Some(marks) = marks {
                let why = "a run of another source did not come to its end".to_owned();
                pending.0.push(Unsettled { why, marks: Some(marks) });
            }
        }
        Ok(pending)
    }

    /// Returns the notes of runs of this source that did not end, the oldest first.
    fn notes(&self, writer: &Writer) -> Result<Vec<Note>, Error> {
        let mut notes = Vec::new();
        for run in writer.open_runs(VERB)?.into_iter().filter(|run| run.source == Some(self.source.id)) {
            // A note that is damaged is one all the same.
            let note: Note = serde_json::from_str(&run.note).unwrap_or_default();
            notes.push(Note { run: Some(run.id), ..note });
        }
        for note in &mut notes {
            note.disks.retain(|disk| EntryName::new(disk.as_bytes()).is_ok());
        }
        let path = self.note_path();
        match fs::read_to_string(&path) {
            Ok(text) => {
                let mut note: Note = serde_json::from_str(&text).unwrap_or_default();
                note.disks.retain(|disk| EntryName::new(disk.as_bytes()).is_ok());
                if note.id.is_none() || notes.iter().all(|known| known.id != note.id) {
                    notes.push(note);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Write { path, source }),
        }
        Ok(notes)
    }

    fn settle_one(&self, writer: &mut Writer, origin: &Origin, note: &Note) -> Result<Option<Unsettled>, Error> {
        let Some(at) = note.at.map(Time) else {
            return Ok(Some(Unsettled {
                why: "the run before did not come to its end".to_owned(),
                marks: note.marks.clone(),
            }));
        };
        let folder = note.folder.as_deref().unwrap_or(self.settings.own_folder());
        let id = note.id.as_deref();
        let failed = |source| Error::Write { path: folder.to_owned(), source };
        let disks: Vec<Option<&str>> = match note.disks.as_slice() {
            [] => vec![None],
            disks => disks.iter().map(|disk| Some(disk.as_str())).collect(),
        };
        let mut is_known = writer.instants(self.source.id)?.contains(&at);
        let mut images = Vec::new();
        for disk in &disks {
            for removed in names::remove_left(folder, (at, *disk), id).map_err(failed)? {
                self.monitor.note(&format!("removed {removed:?}, which an interrupted run had left"));
            }
            let whole = [names::names(folder, at, *disk).0, names::pushed_name(folder, at, *disk)];
            let own = whole.into_iter().find(|image| !is_known && is_its_own(image, note));
            images.extend(own.map(|image| (disk.map(str::to_owned), image)));
        }
        if !images.is_empty() && images.len() < disks.len() {
            // Of a moment that is not whole nothing becomes a generation.
            for (_, image) in std::mem::take(&mut images) {
                for path in [image.with_extension("json"), image] {
                    match fs::remove_file(&path) {
                        Ok(()) => {
                            self.monitor.note(&format!("removed {path:?}, which an interrupted run had left"));
                        }
                        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                        Err(source) => return Err(failed(source)),
                    }
                }
            }
        }
        if let Some((_, image)) = images.first() {
            let consistency = note.consistency.as_deref().and_then(Consistency::from_word);
            match self.index(writer, &images, (at, consistency.unwrap_or(Consistency::Crash)), None, false) {
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
            self.drop_checkpoints(writer, guest, note)?;
            is_known = true;
        }
        if is_known {
            return Ok(None);
        }
        Ok(Some(Unsettled { why: format!("the run of {at} did not come to its end"), marks: note.marks.clone() }))
    }
}

/// Tells whether an image that is whole is the one that the run of `note` took: another source may write to the same folder.
fn is_its_own(image: &Path, note: &Note) -> bool {
    match (&note.id, note.image) {
        (_, Some(key)) => fs::metadata(image).is_ok_and(|found| (found.dev(), found.ino()) == key),
        (Some(id), None) => names::is_of(image, id),
        // A program that gave no ids.
        (None, None) => image.is_file(),
    }
}
