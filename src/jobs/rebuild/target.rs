//! The catalog that manifests are applied to: a draft that nobody knows, or one that is there.
//! One that is there is shared with others, in turns.

use super::report::{Error, Wish};
use crate::catalog::{Reader, SourceLock, SourceRow, Writer};
use std::path::{Path, PathBuf};

/// The catalog that is written.
pub(super) struct Target<'t> {
    path: PathBuf,
    pub(super) wish: &'t Wish<'t>,
    /// Whether others may write it meanwhile.
    is_shared: bool,
    /// None only while it is opened anew.
    pub(super) writer: Option<Writer>,
}

impl<'t> Target<'t> {
    pub(super) fn draft(path: &Path, wish: &'t Wish<'t>) -> Result<Self, Error> {
        let mut target = Self { path: path.to_owned(), wish, is_shared: false, writer: None };
        target.open()?;
        Ok(target)
    }

    pub(super) fn there(wish: &'t Wish<'t>) -> Result<Self, Error> {
        let mut target = Self { path: wish.into.to_owned(), wish, is_shared: true, writer: None };
        target.open()?;
        Ok(target)
    }

    /// Opens it, anew after an error.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        self.writer = None;
        self.writer = Some(match self.is_shared {
            true => Writer::open_by_turns(&self.path, self.wish.wait, self.wish.busy)?,
            false => Writer::open(&self.path)?,
        });
        Ok(())
    }

    pub(super) fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("it is open")
    }

    pub(super) fn sources(&self) -> Result<Vec<SourceRow>, Error> {
        Ok(Reader::open(&self.path)?.sources()?)
    }

    /// Locks a source, where others may write it.
    pub(super) fn lock(&self, source: &SourceRow) -> Result<Option<SourceLock>, Error> {
        let lock = || SourceLock::acquire(&self.path, source, self.wish.wait);
        Ok(if self.is_shared { Some(lock()?) } else { None })
    }
}
