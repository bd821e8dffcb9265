//! Raw files of increments whose maps are gone.
//!
//! Promises: reads manifests that lie beside a file, and nothing else.

use crate::model::manifest::{Edit, Reader};
use crate::source::block::image::is_file;
use crate::store::open_manifest;
use std::fs;
use std::path::{Path, PathBuf};

/// What a manifest calls an image that has a map.
const WITH_MAP: &str = "pull";

/// Returns the manifest beside a raw file that says that there was a map, which tells what of the file is of the disk; none if there is none,
/// or if the map is there.
pub(super) fn lost_map(image: &Path) -> Option<PathBuf> {
    if is_file(&image.with_extension("json")) {
        return None;
    }
    let (folder, name) = (image.parent()?, image.file_name()?.to_str()?);
    let is_its_own = |path: &PathBuf| {
        let rest = path.file_name().and_then(|found| found.to_str()?.strip_prefix(name)?.strip_prefix('.'));
        rest.is_some_and(|rest| rest.ends_with(".manifest"))
    };
    fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(is_its_own)
        .find(|path| is_file(path) && says_so(path))
}

fn says_so(manifest: &Path) -> bool {
    let Some(mut reader) = open_manifest(manifest).ok().and_then(|file| Reader::new(file).ok()) else { return false };
    let mut has_map = false;
    let _ = reader.skip_to_end(|edit| {
        if let Edit::Hold { row, .. } = edit {
            has_map = row.format == WITH_MAP;
        }
    });
    has_map
}
