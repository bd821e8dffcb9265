//! What came becomes a generation.
//! An image that carries its own account of the moment is believed, and what it notes is told.

use super::error::Error;
use super::job::DiskJob;
use crate::catalog::Writer;
use crate::index::Done;
use crate::jobs::take::block::disk::{NewImage, index_image};
use crate::model::{Consistency, Time};
use crate::source::block::{Location, image};
use std::path::Path;

impl DiskJob<'_> {
    /// Indexes an image and returns its generation's parent and mark, too. Of one that this run has just written it is known that it has the
    /// bytes that its sidecar says.
    pub(super) fn index(
        &self,
        writer: &mut Writer,
        path: &Path,
        at: Time,
        consistency: Consistency,
        location: Option<&Location>,
        is_fresh: bool,
    ) -> Result<(Done, Option<Time>, Option<String>), Error> {
        let folders = self.settings.folders();
        let image = self.settings.open(path, &folders)?;
        for note in &image.notes {
            self.monitor.warn(&format!("{path:?}: {note}"));
        }
        let new = NewImage {
            source: self.source,
            image: &image,
            disk: None,
            snapshot: None,
            at,
            rests_on: None,
            folders: &folders,
            acquire: (image.kind != image::Kind::Pull && image.moment.domain.is_none()).then_some("snapshot"),
            consistency: Some(consistency),
            location,
            again: false,
            is_fresh,
        };
        self.monitor.begin(&format!("{} {at}", self.source.name), None);
        let indexed = index_image(writer, &new, self.clock, self.monitor);
        self.monitor.end();
        let (done, parent) = indexed?;
        Ok((done, parent, image.moment.checkpoint))
    }
}
