//! Whether the folder that a generation is written to is the one that it was: where a disk is not mounted there is a folder, too.
//!
//! Promises: a folder that is not known again is refused before anything is held, and nothing is written to it.

use super::error::Error;
use super::job::DiskJob;
use crate::catalog::Writer;
use crate::jobs::index::seen::{SeenStore, see_store};
use crate::jobs::take::block::folder::Folder;
use std::time::Duration;

/// How long the folder may be silent before it counts as one that is not there.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl DiskJob<'_> {
    /// Looks at the folder of images, and at that of new ones.
    ///
    /// # Errors
    /// [`Error::NotThere`].
    pub(super) fn check_store(&self, writer: &mut Writer) -> Result<SeenStore, Error> {
        let seen = see_store(writer, self.source, self.settings.own_folder(), ANSWER_WITHIN)?;
        match &seen.why_not {
            Some(why) => Err(Error::NotThere { folder: self.settings.own_folder().to_owned(), why: why.clone() }),
            None => {
                let path = self.settings.own_folder();
                let folder = Folder::at(path).map_err(|source| Error::Write { path: path.to_owned(), source })?;
                self.folder.get_or_init(|| folder);
                Ok(seen)
            }
        }
    }

    /// Writes down what the folder is known by.
    pub(super) fn note_store(&self, writer: &mut Writer, seen: SeenStore) -> Result<(), Error> {
        Ok(seen.note(writer, self.clock.now())?)
    }
}
