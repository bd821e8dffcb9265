//! A generation of a disk is taken: the guest is held still, the moment is made, its bytes come into the source's folder,
//! the guest goes on, and what came is indexed and published.
//!
//! What an increment counts from is known by the name of a checkpoint, and by the id of the moment: each generation records both, and an
//! increment is taken only where the bitmap is known to count from the newest generation. So each moment gets a name that no other has, and
//! each run leaves a note in the catalog until it is published; where a name is given again that is in such a note, all is read. Then what
//! the bitmap says is held against the disk as it was.
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
mod reach;
mod settle;
mod snapshot;

use super::libvirt::{self, Guest};
use super::still::{self, Release};
use crate::catalog::Writer;
use crate::model::{Level, chain};
use basis::own_name;
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
        let is_all = matches!(&origin, Origin::Guest { domain, .. } if domain.disk.is_none());
        if self.settings.all_disks.is_some() && !is_all {
            return Err(Error::OneDisk(self.source.name.clone()));
        }
        self.end_left(writer, &origin)?;
        let store = self.check_store(writer)?;
        let pending = self.settle(writer, &origin)?;
        libvirt::remove_told(self.settings.own_folder());
        let bitmap = match &origin {
            Origin::Export { .. } => self.wish.bitmap.as_ref().or(self.settings.bitmap.as_ref()),
            Origin::Guest { .. } | Origin::Command(_) => None,
        };
        // What an earlier run left in doubt stays so until a generation is published. A name that is given out to this moment alone is in
        // doubt for no other.
        let is_certain = self.wish.checkpoint.is_none() && pending.0.is_empty();
        let basis = match (&origin, bitmap) {
            (Origin::Guest { guest, .. }, _) => {
                guest.check_idle()?;
                Basis::Guest(self.basis_of_guest(writer, guest)?)
            }
            (_, Some(bitmap)) => self.basis(writer, bitmap, &pending)?,
            (_, None) => Basis::All(None),
        };
        if let Some(why) = basis.why() {
            self.monitor.note(&format!("the whole disk is read: {why}"));
        }
        let checkpoint = match &origin {
            Origin::Export { .. } => Some(self.wish.checkpoint.clone().unwrap_or_else(|| own_name(&self.id))),
            Origin::Guest { .. } | Origin::Command(_) => None,
        };
        let mut claim = self.claim_second(writer)?;
        let mut note = Note {
            id: Some(self.id.clone()),
            folder: Some(self.settings.own_folder().to_owned()),
            disks: match (&origin, &self.settings.all_disks) {
                (Origin::Guest { guest, .. }, Some(_)) => guest.disks().map(str::to_owned).collect(),
                _ => Vec::new(),
            },
            marks: Some(self.wish.checkpoint.iter().cloned().chain(checkpoint.clone()).collect()),
            ..Note::default()
        };
        self.write_note(writer, &mut note)?;
        let guard = Release(self.still);
        let held = self.acquire(writer, &origin, (bitmap, checkpoint.as_ref()), &basis, (&mut note, &mut claim));
        let status = if held.is_ok() { "taken" } else { "failed" };
        let mut not_released = self.still.release(status).err();
        drop(guard);
        let held = match (held, not_released.take()) {
            // Held to the last byte, and let go before that came.
            (Ok(held), Some(e @ still::Error::Late { .. })) => {
                held.discard();
                Err(Error::Still(e))
            }
            (held, e) => {
                not_released = e.filter(|e| !matches!(e, still::Error::Late { .. }));
                held
            }
        };
        let held = match held {
            Ok(mut held) => {
                not_released = not_released.or(held.not_released.take());
                held
            }
            Err(e) => {
                // What lies in the folder that was there is for the next run to find.
                let is_elsewhere = self.check_folder().is_err();
                let is_undone = match &origin {
                    Origin::Guest { guest, .. } => self.undo(writer, guest, &note),
                    Origin::Export { .. } | Origin::Command(_) => is_certain,
                };
                if is_undone && !is_elsewhere {
                    self.remove_notes(writer, "failed");
                }
                if let Some(e) = not_released {
                    self.monitor.warn(&chain(&e));
                }
                return Err(e);
            }
        };
        let Acquired { at, ref images, consistency, ref location, ref pulled, .. } = held;
        self.check_folder()?;
        let (done, parent, checkpoint) = self.index(writer, images, (at, consistency), location.as_ref(), true)?;
        self.remove_notes(writer, "done");
        self.note_store(writer, store)?;
        if let Origin::Guest { guest, .. } = &origin {
            self.trim_checkpoints(writer, guest)?;
        }
        Ok(DiskReport {
            level: if parent.is_some() { Level::Incremental } else { Level::Full },
            done,
            image: images[0].1.clone(),
            parent,
            checkpoint,
            consistency,
            pulled: pulled.as_ref().map(|pulled| (pulled.disk_bytes, pulled.dirty_bytes, pulled.fetched_bytes)),
            full_because: basis.why().cloned().or(held.full_because),
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
            return Ok(Origin::Guest {
                guest: Guest::find(domain, settings.all_disks.is_some())?,
                domain: domain.clone(),
            });
        }
        let command = settings.snapshot.clone().map(Origin::Command);
        command.ok_or_else(|| Error::NoOrigin(self.source.name.clone()))
    }
}
