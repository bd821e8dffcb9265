//! What a volume is as a kind of source: its generations are taken into a store, or come from lists of another tool.
//! Nothing is opened here.

use super::Settings;
use crate::model::SourceKind;
use crate::source::{Description, Error};
use std::path::PathBuf;

/// A GlusterFS volume.
pub const DESCRIPTION: Description = Description {
    kind: SourceKind::Gluster,
    noun: "a Gluster volume",
    copy: "copy",
    at_path: None,
    open: None,
    trees: own_folder,
    own_folder,
    commands: |settings| Ok(Settings::from_json(settings)?.commands()),
    without_commands: |settings| {
        let mut settings = Settings::from_json(settings)?;
        let taken = settings.take_commands();
        Ok((settings.to_json()?, taken))
    },
    keeps_bytes: true,
    has_extents: false,
};

fn own_folder(settings: &str, name: &str) -> Result<Option<PathBuf>, Error> {
    let settings = Settings::from_json(settings)?;
    Ok((!settings.lists_only).then(|| settings.store.join(name)))
}
