//! What came becomes a generation.
//! An image that carries its own account of the moment is believed, and what it notes is told.

use super::error::Error;
use super::job::DiskJob;
use crate::catalog::{SourceRow, Writer};
use crate::index::Done;
use crate::jobs::take::block::disk::{NewImage, index_image};
use crate::jobs::take::block::moment::{DiskImage, NewMoment, index_moment};
use crate::model::{Consistency, Time};
use crate::source::block::{Location, image};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What was indexed: also the generation that it rests on, and its mark.
type Indexed = (Done, Option<Time>, Option<String>);

impl DiskJob<'_> {
    /// Indexes the image of a moment, or those of all disks. Of those that this run has just written it is known that they have the
    /// bytes that their sidecars say.
    pub(super) fn index(
        &self,
        writer: &mut Writer,
        images: &[(Option<String>, PathBuf)],
        moment: (Time, Consistency),
        location: Option<&Location>,
        is_fresh: bool,
    ) -> Result<Indexed, Error> {
        match images {
            [(None, path)] => self.index_one(writer, path, moment, location, is_fresh),
            images => self.index_all(writer, images, moment, location, is_fresh),
        }
    }

    fn opened(&self, path: &Path) -> Result<image::Image, Error> {
        let image = self.settings.open(path, &self.settings.folders())?;
        for note in &image.notes {
            self.monitor.warn(&format!("{path:?}: {note}"));
        }
        Ok(image)
    }

    fn index_one(
        &self,
        writer: &mut Writer,
        path: &Path,
        (at, consistency): (Time, Consistency),
        location: Option<&Location>,
        is_fresh: bool,
    ) -> Result<Indexed, Error> {
        let image = self.opened(path)?;
        let new = NewImage {
            source: self.source,
            image: &image,
            disk: None,
            snapshot: None,
            at,
            rests_on: None,
            folders: &self.settings.folders(),
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

    fn index_all(
        &self,
        writer: &mut Writer,
        images: &[(Option<String>, PathBuf)],
        (at, consistency): (Time, Consistency),
        location: Option<&Location>,
        is_fresh: bool,
    ) -> Result<Indexed, Error> {
        let names: Vec<&str> = images.iter().filter_map(|(disk, _)| disk.as_deref()).collect();
        let mut settings = self.settings.clone();
        let known = settings.number_disks(names.iter().copied());
        let known = known.map_err(|disks| Error::ManyDisks { domain: self.source.name.clone(), disks })?;
        let source = SourceRow { settings: settings.to_json()?, ..self.source.clone() };
        if source.settings != self.source.settings {
            writer.set_settings(source.id, &source.settings)?;
        }
        // What the guest has now is what there is.
        let removed: BTreeSet<String> = known.iter().filter(|disk| !names.contains(&disk.as_str())).cloned().collect();
        let opened = images.iter().map(|(_, path)| self.opened(path)).collect::<Result<Vec<_>, _>>()?;
        let disks = names.iter().zip(&opened).map(|(disk, image)| {
            let number = known.iter().position(|known| known == disk).expect("each was given one");
            DiskImage { disk, number, image }
        });
        let new = NewMoment {
            source: &source,
            images: disks.collect(),
            at,
            rests_on: None,
            folders: &self.settings.folders(),
            consistency: Some(consistency),
            location,
            again: false,
            came: &BTreeSet::new(),
            is_fresh,
            removed: &removed,
        };
        self.monitor.begin(&format!("{} {at}", self.source.name), None);
        let indexed = index_moment(writer, &new, self.clock, self.monitor);
        self.monitor.end();
        let (done, parent) = indexed?;
        let checkpoint = opened.iter().find_map(|image| image.moment.checkpoint.clone());
        Ok((done, parent, checkpoint))
    }
}
