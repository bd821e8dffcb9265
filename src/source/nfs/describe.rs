//! What a share is as a kind of source: another tool makes its copies, each a directory that tells its date.
//! Nothing is opened here.

use super::{Nfs, Settings};
use crate::model::SourceKind;
use crate::source::{Description, describe};

/// A share.
pub const DESCRIPTION: Description = Description {
    kind: SourceKind::Nfs,
    noun: "a share",
    copy: "copy",
    at_path: Some("a full copy"),
    open: Some(|settings, zone| Ok(Box::new(Nfs::new(Settings::from_json(settings)?, zone)?))),
    trees: |settings, _| Ok(Some(Settings::from_json(settings)?.copies)),
    own_folder: describe::no_folder,
    commands: describe::no_commands,
    without_commands: describe::all_without_commands,
    keeps_bytes: false,
    has_extents: false,
};
