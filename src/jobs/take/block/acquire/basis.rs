//! What an increment counts from, or why everything is read.
//!
//! Promises: what cannot be proved to be an increment becomes a full generation, and the reason is told.

use super::error::Error;
use super::job::{Basis, DiskJob, Unsettled};
use crate::catalog::Writer;
use crate::jobs::take::block::pull::Since;
use crate::model::Time;
use std::fs;
use std::os::unix::fs::MetadataExt;

impl DiskJob<'_> {
    /// Tells what is taken with this bitmap, and why.
    pub(super) fn basis(&self, writer: &Writer, bitmap: &str, unsettled: Option<Unsettled>) -> Result<Basis, Error> {
        if self.full {
            return Ok(Basis::All(None));
        }
        let Some(newest) = writer.instants(self.source.id)?.pop() else { return Ok(Basis::All(None)) };
        let checkpoint = writer.checkpoint(self.source.id, newest)?;
        if let Some(since) = self.wish.since.as_ref().filter(|since| checkpoint.as_ref() != Some(*since)) {
            return Err(Error::NotSince { since: since.clone(), newest, found: checkpoint });
        }
        let all = |why: String| Ok(Basis::All(Some(why)));
        let Some(checkpoint) = checkpoint else {
            return all(format!(
                "the generation of {newest} has no checkpoint that bitmap {bitmap:?} could count from"
            ));
        };
        if self.wish.since.is_none() && checkpoint != bitmap {
            return all(format!(
                "nothing tells that bitmap {bitmap:?} counts from the generation of {newest}, whose checkpoint is \
                 {checkpoint:?}; --since {checkpoint} says that it does"
            ));
        }
        let is_mark = |marks: &Option<Vec<String>>| marks.as_ref().is_none_or(|marks| marks.contains(&checkpoint));
        if let Some(Unsettled { why, .. }) = unsettled.filter(|unsettled| is_mark(&unsettled.marks)) {
            return all(format!(
                "{why}, so what bitmap {bitmap:?} counts from is not known; give checkpoints different names"
            ));
        }
        let since = self.since(writer, newest, &checkpoint, bitmap)?;
        Ok(since.map_or_else(|why| Basis::All(Some(why)), Basis::Since))
    }

    /// Returns what an increment on the generation of `at` counts from, or why there can be none: what it would rest on is
    /// not as it was.
    pub(super) fn since(
        &self,
        writer: &Writer,
        at: Time,
        checkpoint: &str,
        bitmap: &str,
    ) -> Result<Result<Since, String>, Error> {
        let layers = writer.disk_layers(self.source.id, at)?;
        for file in layers.iter().flat_map(|layer| &layer.files) {
            let is_there = fs::metadata(&file.path).is_ok_and(|now| {
                let mtime = (now.mtime(), now.mtime_nsec() as u32);
                !now.is_file() || (now.len(), mtime) == (file.size_bytes, (file.mtime.seconds, file.mtime.nanos))
            });
            if !is_there {
                let path = &file.path;
                return Ok(Err(format!("{path:?}, which an increment would be based on, is gone or was written to")));
            }
        }
        let Some(newest) = layers.first() else { return Ok(Err(format!("the disk as of {at} is not whole"))) };
        let (bitmap, checkpoint) = (bitmap.to_owned(), checkpoint.to_owned());
        Ok(Ok(Since { bitmap, at, checkpoint, size_bytes: newest.size_bytes }))
    }
}
