//! Parts that reports of several jobs have, in the form in which `--json` prints them.
//! Times are there as text (RFC 3339) and as unix seconds.

use crate::model::Time;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::path::PathBuf;

/// The instant of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct When(pub Time);

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("When", 2)?;
        fields.serialize_field("taken_at", &self.0.to_string())?;
        fields.serialize_field("taken_at_unix", &self.0.0)?;
        fields.end()
    }
}

/// A copy that is at another place than it was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MovedCopy {
    /// Of which generation.
    #[serde(flatten)]
    pub when: When,
    /// Where it was.
    #[serde(serialize_with = "path_text")]
    pub from: PathBuf,
    /// Where it is.
    #[serde(serialize_with = "path_text")]
    pub to: PathBuf,
}

/// Writes paths as text; what is not UTF-8 in them is replaced.
pub(super) fn paths_text<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// Writes a path as text; what is not UTF-8 in it is replaced.
pub(super) fn path_text<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}
