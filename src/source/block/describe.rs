//! What a disk is as a kind of source: images of it that other tools made are indexed, and others are taken beside them.
//! Nothing is opened here.

use super::Settings;
use crate::model::SourceKind;
use crate::source::{Description, describe};

/// A disk.
pub const DESCRIPTION: Description = Description {
    kind: SourceKind::Block,
    noun: "a disk",
    copy: "image",
    at_path: Some("an image"),
    open: None,
    trees: describe::no_folder,
    own_folder: |settings, _| Ok(Some(Settings::from_json(settings)?.own_folder().to_owned())),
    commands: |settings| Ok(Settings::from_json(settings)?.commands()),
    without_commands: |settings| {
        let mut settings = Settings::from_json(settings)?;
        let taken = settings.take_commands();
        Ok((settings.to_json()?, taken))
    },
    keeps_bytes: false,
    has_extents: true,
};
