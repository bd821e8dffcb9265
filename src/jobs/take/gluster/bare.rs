//! A generation without bytes: names and attributes of a volume, for lists of what changed.
//! Nothing is written but the catalog.

use crate::catalog::GenerationWriter;
use crate::index::{FileToKeep, Keep, KeepError, Kept};
use crate::model::{Attrs, FileKey, RelPath};
use crate::source::gluster::State;

/// Takes names and attributes, and leaves bytes where they are.
///
/// A file whose bytes may be others than before is recorded as copied into this generation, as if it were: by that
/// a list knows that it changed.
pub(super) struct Bare {
    pub(super) next: State,
}

impl Keep for Bare {
    fn file(&mut self, file: FileToKeep<'_>) -> Result<Kept, KeepError> {
        Ok(if file.held.is_some() { Kept::Held } else { Kept::Copied { moved: None } })
    }

    fn may_wait(&self) -> bool {
        false
    }

    fn link(&mut self, _path: &RelPath, _key: FileKey) -> Result<(), KeepError> {
        Ok(())
    }

    fn other(&mut self, _path: &RelPath, _attrs: &Attrs, _is_new: bool) -> Result<(), KeepError> {
        Ok(())
    }

    fn seal(&mut self, _generation: &GenerationWriter<'_>) -> Result<String, KeepError> {
        Ok(self.next.to_json())
    }
}
