//! What there is to know of a kind of source before anything of it is opened.
//!
//! Each kind describes itself in its own folder; [`super::kinds`] lists the descriptions. Whoever treats kinds unlike asks the
//! description for what differs, and never which kind it is.

use super::{Error, Source};
use crate::model::SourceKind;
use jiff::tz::TimeZone;
use std::path::PathBuf;

/// Opens the copies that the settings (JSON) name; the zone is the machine's, for settings that name none.
pub type OpenCopies = fn(settings: &str, zone: &TimeZone) -> Result<Box<dyn Source>, Error>;

/// Returns a folder that the settings (JSON) of the source of this name tell of, if they do.
pub type FolderOf = fn(settings: &str, name: &str) -> Result<Option<PathBuf>, Error>;

/// Returns the commands that the settings (JSON) of a source have run by whoever takes it.
pub type CommandsOf = fn(settings: &str) -> Result<Vec<String>, Error>;

/// Returns the settings (JSON) without what has commands run or guests asked by whoever takes the source, and what that was, each as the
/// option that sets it and its value.
pub type WithoutCommands = fn(settings: &str) -> Result<(String, Vec<SetBy>), Error>;

/// An option of `asof source set`, and what it would set.
pub type SetBy = (&'static str, String);

/// A kind of source.
pub struct Description {
    /// Its name.
    pub kind: SourceKind,
    /// What a source of it is, as it is said after "is": "a disk".
    pub noun: &'static str,
    /// What one of its generations is found in: "copy", "image".
    pub copy: &'static str,
    /// What a path is that is given to `asof index`; none: generations of the kind come from no path, but from lists of another tool.
    pub at_path: Option<&'static str>,
    /// How the copies are opened that other tools made, in directories that tell their dates; none: it has no such copies.
    pub open: Option<OpenCopies>,
    /// The folder in which directories lie that are copies, whoever made them.
    pub trees: FolderOf,
    /// The folder that `asof take` writes copies into.
    pub own_folder: FolderOf,
    /// The commands that `asof take` runs.
    pub commands: CommandsOf,
    /// The settings without them.
    pub without_commands: WithoutCommands,
    /// Whether the bytes of its generations stay until this program deletes them; else whoever made them does.
    pub keeps_bytes: bool,
    /// Whether files in it are extents of a disk, which a manifest of format 1 does not tell.
    pub has_extents: bool,
}

/// For kinds that run none.
pub(super) fn no_commands(_settings: &str) -> Result<Vec<String>, Error> {
    Ok(Vec::new())
}

/// For kinds that run none.
pub(super) fn all_without_commands(settings: &str) -> Result<(String, Vec<SetBy>), Error> {
    Ok((settings.to_owned(), Vec::new()))
}

/// For kinds that have no such folder.
pub(super) fn no_folder(_settings: &str, _name: &str) -> Result<Option<PathBuf>, Error> {
    Ok(None)
}
