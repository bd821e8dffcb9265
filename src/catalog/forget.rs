//! Forgetting a published generation: its rows are taken out ([`super::take_out`]), and its manifest gets a tombstone.
//!
//! Promises: the tombstone is on the disk before the rows are gone, and has its name after; where one of the two cannot be done, neither
//! is. A run that was killed between leaves one that the next run names, or removes.

use super::error::Error;
use super::guests::{images_of, remember_images};
use super::listing::hot_directories;
use super::rows::SourceRow;
use super::take_out::{self, Forgotten};
use super::tee;
use super::writer::Writer;
use crate::model::Time;

impl Writer {
    /// Forgets the published generation of `source` at `at`: its rows, never its bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchGeneration`]; [`Error::Spent`]; [`Error::Manifest`] if its tombstone cannot be written; [`Error::Sqlite`]. Then
    /// nothing of it was done.
    pub fn forget(&mut self, source: &SourceRow, at: Time) -> Result<Forgotten, Error> {
        self.check_unspent()?;
        self.undo_unfinished(source.id)?;
        let doing = "forgetting a generation";
        let known = self.sql(doing, |c| {
            c.query_row(
                "SELECT EXISTS(SELECT 1 FROM generation WHERE source = ?1 AND taken_at = ?2 AND status = 'published')",
                [source.id.0, at.0],
                |r| r.get::<_, bool>(0),
            )
        })?;
        if !known {
            return Err(Error::NoSuchGeneration { source_name: source.name.clone(), at });
        }
        self.tidy_manifests(source.id, at)?;
        let subject = self.subject(source.id)?;
        let manifest = self.manifest_header(source, at)?;
        self.sql(doing, |c| c.execute_batch("PRAGMA synchronous = FULL"))?;
        let mut recorder = self.recorder.take();
        // Where its tombstone is, or why it cannot be written.
        let (mut tombstone, mut failed) = (None, None);
        let forgotten = self.change(doing, |c| {
            let hot = hot_directories(c)?;
            let images = images_of(c, source.id, at)?;
            let (mut forgotten, left) = take_out::generation(c, &subject, at, &hot, &self.path)?;
            take_out::tidy(c, &subject, left)?;
            remember_images(c, &mut forgotten, &images)?;
            if let (Some(recorder), Some(header)) = (&mut recorder, &manifest) {
                match tee::record_forgotten(&mut **recorder, c, source.id, header)? {
                    Ok(path) => tombstone = Some(path),
                    Err(cause) => {
                        failed = Some(cause);
                        // Nothing of it is done.
                        return Err(rusqlite::Error::QueryReturnedNoRows);
                    }
                }
            }
            Ok(forgotten)
        });
        if let (Some(path), Some(recorder), Some(header)) = (&tombstone, &mut recorder, &manifest) {
            match forgotten {
                Ok(_) => recorder.forgot(header, path),
                Err(_) => recorder.take_back(path),
            }
        }
        self.recorder = recorder;
        match failed {
            Some(cause) => Err(Error::Manifest { at, cause }),
            None => forgotten,
        }
    }
}
