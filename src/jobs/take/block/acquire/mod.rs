//! A generation of a disk is taken: the guest is held still, the moment is made, its bytes come into the source's folder,
//! the guest goes on, and what came is indexed and published.
//!
//! What an increment counts from is known by the name of a checkpoint: each generation records one, and an increment is
//! taken only where the bitmap is known to count from that of the newest generation. A bitmap that keeps its name while
//! it is cleared at each moment has one flaw: after a run that failed nobody knows whether it was cleared. So each run
//! leaves a note in the folder until it is published; where there is one, and the name is the same again, all is read.
//!
//! Promises: a failed run leaves the catalog as it was, and no image that is not whole. What cannot be proved to be an
//! increment becomes a full generation, and that is said. Never decides when: whoever calls does.

mod basis;
mod error;
mod guest;
mod held;
mod index;
mod job;
mod note;
mod settle;
mod snapshot;

use super::libvirt::Guest;
use super::still::Guard;
use crate::catalog::Writer;
use crate::model::{Level, chain};
pub use error::Error;
use job::{Acquired, Basis, Origin};
pub use job::{DiskJob, DiskReport, DiskWish, about};
use note::Note;

impl DiskJob<'_> {
    /// Takes a generation.
    ///
    /// # Errors
    /// [`Error`]; then the catalog is as before, and the guest was let go if that was possible.
    pub fn take(&self, writer: &mut Writer) -> Result<DiskReport, Error> {
        let origin = self.origin()?;
        let unsettled = self.settle(writer, &origin)?;
        let bitmap = match &origin {
            Origin::Export { .. } => self.wish.bitmap.as_ref().or(self.settings.bitmap.as_ref()),
            Origin::Guest { .. } | Origin::Command(_) => None,
        };
        // What an earlier run left in doubt stays so until a generation is published.
        let mark = self.wish.checkpoint.as_ref().or(bitmap);
        let is_certain = mark.is_none() && unsettled.is_none();
        let marks = unsettled.as_ref().map_or_else(|| Some(Vec::new()), |unsettled| unsettled.marks.clone());
        let basis = match (&origin, bitmap) {
            (Origin::Guest { guest, .. }, _) => {
                guest.check_idle()?;
                self.basis_of_guest(writer, guest)?
            }
            (_, Some(bitmap)) => self.basis(writer, bitmap, unsettled)?,
            (_, None) => Basis::All(None),
        };
        if let Basis::All(Some(why)) = &basis {
            self.monitor.note(&format!("the whole disk is read: {why}"));
        }
        let marks = marks.map(|marks| marks.into_iter().chain(mark.cloned()).collect());
        let mut note = Note { marks, ..Note::default() };
        self.write_note(&note)?;
        let guard = Guard(self.still);
        let held = self.acquire(writer, &origin, bitmap, &basis, &mut note);
        let status = if held.is_ok() { "taken" } else { "failed" };
        let mut not_released = self.still.release(status).err();
        drop(guard);
        let held = match held {
            Ok(mut held) => {
                not_released = not_released.or(held.not_released.take());
                held
            }
            Err(e) => {
                let is_undone = match &origin {
                    Origin::Guest { guest, .. } => self.undo(writer, guest, &note),
                    Origin::Export { .. } | Origin::Command(_) => is_certain,
                };
                if is_undone {
                    self.remove_note();
                }
                if let Some(e) = not_released {
                    self.monitor.warn(&chain(&e));
                }
                return Err(e);
            }
        };
        let Acquired { at, image, consistency, location, pulled, .. } = held;
        let (done, parent, checkpoint) = self.index(writer, &image, at, consistency, location.as_ref())?;
        self.remove_note();
        if let Origin::Guest { guest, .. } = &origin {
            self.trim_checkpoints(writer, guest)?;
        }
        Ok(DiskReport {
            level: if parent.is_some() { Level::Incremental } else { Level::Full },
            done,
            image,
            parent,
            checkpoint,
            consistency,
            pulled: pulled.map(|pulled| (pulled.disk_bytes, pulled.dirty_bytes, pulled.fetched_bytes)),
            full_because: match basis {
                Basis::All(why) => why,
                Basis::Since(_) => held.full_because,
            },
            not_released,
        })
    }

    /// Tells where the bytes come from: as is asked, else as the settings say.
    fn origin(&self) -> Result<Origin, Error> {
        let (wish, settings) = (self.wish, self.settings);
        let nbd = wish.nbd.as_ref().or(settings.nbd.as_ref().filter(|_| self.domain.is_none()));
        if let Some(text) = nbd {
            return Ok(Origin::Export { text: text.clone(), uri: settings.uri(text).map_err(Error::Uri)? });
        }
        if let Some(domain) = self.domain.as_ref().or(settings.domain.as_ref()) {
            return Ok(Origin::Guest { guest: Guest::find(domain)?, domain: domain.clone() });
        }
        let command = settings.snapshot.clone().map(Origin::Command);
        command.ok_or_else(|| Error::NoOrigin(self.source.name.clone()))
    }
}
