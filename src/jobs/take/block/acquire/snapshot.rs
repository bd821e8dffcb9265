//! An image that a command of the admin makes.
//!
//! Promises: the guest is let go as soon as the command has ended; the image is on the disk under its name, or there is none.

use super::error::Error;
use super::job::{Acquired, DiskJob};
use super::note::Note;
use crate::catalog::Writer;
use crate::jobs::hooks::{self, About, Limit};
use crate::jobs::take::block::durable::{create_anew, publish};
use crate::jobs::take::block::names;
use crate::jobs::take::block::pull;
use crate::model::{Consistency, Time};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is read of what a snapshot command prints.
const SAID_BYTES_MAX: u64 = 1 << 20;

impl DiskJob<'_> {
    /// Has the command make an image, lets the guest go, and returns the image.
    pub(super) fn snapshot(
        &self,
        writer: &mut Writer,
        command: &str,
        mut about: About,
        (at, consistency): (Time, Consistency),
        (limit, note): (Limit<'_>, &mut Note),
    ) -> Result<Acquired, Error> {
        let folder = self.settings.own_folder();
        let (raw, map) = names::names(folder, at, None);
        pull::check_free(&[&raw, &map])?;
        let part = names::part_of(&raw, &self.id);
        about.push(("ASOF_IMAGE", part.clone().into_os_string()));
        let mut not_released = None;
        let image = self.snapshot_image(command, &about, &part, limit).and_then(|image| {
            // A copy of gigabytes may take long to reach the disk, and the guest waits for nothing of it.
            not_released = self.let_go()?;
            let failed = |source| Error::Write { path: image.clone(), source };
            File::open(&image).and_then(|file| file.sync_all()).map_err(failed)?;
            if image != part {
                return Ok(image);
            }
            if self.stop.is_told() {
                return Err(Error::Stopped);
            }
            let made = fs::metadata(&part).map_err(failed)?;
            note.image = Some((made.dev(), made.ino()));
            self.write_note(writer, note)?;
            publish(&part, &raw).map_err(|source| pull::Error::not_published(&raw, source))?;
            Ok(raw)
        });
        if image.is_err() {
            let _ = fs::remove_file(&part);
        }
        let image = image?;
        match writer.generation_of_image(self.source.id, &image)? {
            Some(at) => Err(Error::Known { image, at }),
            None => {
                let location = self.wish.location.clone();
                let (images, because) = (vec![(None, image)], None);
                Ok(Acquired { at, consistency, images, location, pulled: None, full_because: because, not_released })
            }
        }
    }

    /// Runs the command and returns the file that it left.
    fn snapshot_image(&self, command: &str, about: &About, part: &Path, limit: Limit<'_>) -> Result<PathBuf, Error> {
        let folder = self.settings.own_folder();
        self.check_folder()?;
        let said = folder.join(format!(".asof-said-{}.part", self.source.name));
        let failed = |source| Error::Write { path: said.clone(), source };
        let mut output = create_anew(&said).map_err(failed)?;
        // Without a name it is gone when the last one closes it. A pipe would be open as long as something that the command
        // left in the background has it.
        fs::remove_file(&said).map_err(failed)?;
        let ours = output.try_clone().map_err(failed)?;
        hooks::run_within("snapshot", command, about, limit, Some(ours))?;
        let mut bytes = Vec::new();
        // The path is what it prints last.
        let length = output.seek(SeekFrom::End(0)).map_err(failed)?;
        output.seek(SeekFrom::Start(length.saturating_sub(SAID_BYTES_MAX))).map_err(failed)?;
        output.take(SAID_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        let named = folder.join(last);
        let image = [Some(named).filter(|named| !last.is_empty() && named.is_file()), Some(part.to_owned())];
        let image = image.into_iter().flatten().find(|path| path.is_file());
        let image = image.ok_or_else(|| Error::NoImage { command: command.to_owned(), said: last.to_owned() })?;
        if image == part {
            return Ok(image);
        }
        fs::canonicalize(&image).map_err(|source| Error::Write { path: image, source })
    }
}
