//! What the files of a generation that is taken are called, while they come and when they are whole.
//!
//! Promises: two runs never write to one file, also where two sources share a folder: what is not whole has the id of its moment in its
//! name, and nothing gets a name that is somebody's. Of what a run left only that is removed which is known to be its own.

use crate::model::Time;
use crate::source::block::image::{PullMap, PushNote, sidecar};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Digits of an id that are part of names.
const ID_DIGITS: usize = 8;

/// Returns what names of an instant begin with: of one of several disks, with that behind.
fn stem(at: Time, disk: Option<&str>) -> String {
    disk.map_or_else(|| at.view_name(), |disk| format!("{}-{disk}", at.view_name()))
}

/// Returns the names of the raw file of an instant and of its map; `disk`: one of several.
pub(super) fn names(folder: &Path, at: Time, disk: Option<&str>) -> (PathBuf, PathBuf) {
    let stem = stem(at, disk);
    (folder.join(format!("{stem}.raw")), folder.join(format!("{stem}.json")))
}

/// Returns the name of the qcow2 image of an instant that QEMU pushes; the note beside it is called as a map is.
pub(super) fn pushed_name(folder: &Path, at: Time, disk: Option<&str>) -> PathBuf {
    folder.join(format!("{}.qcow2", stem(at, disk)))
}

/// Returns a file in `folder` that has one of the names of this instant, of whatever disk.
pub(super) fn taken(folder: &Path, at: Time) -> Option<PathBuf> {
    let is_whole = |path: &Path| path.extension().is_some_and(|end| end == "raw" || end == "json" || end == "qcow2");
    let stem = at.view_name();
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let its = files.filter(|file| file.file_name().as_encoded_bytes().starts_with(stem.as_bytes()));
    its.map(|file| file.path()).find(|path| is_whole(path))
}

/// Returns the name of a file of the moment `id` that is not whole.
pub(super) fn part_of(path: &Path, id: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{}.{extension}.part", &id[..ID_DIGITS.min(id.len())]))
}

/// Removes what a run that was killed left of its moment `id` of `at`; what is whole stays. A run of an older program had no id. Returns
/// what was removed.
pub(super) fn remove_left(
    folder: &Path,
    (at, disk): (Time, Option<&str>),
    id: Option<&str>,
) -> io::Result<Vec<PathBuf>> {
    let (raw, map) = names(folder, at, disk);
    let pushed = pushed_name(folder, at, disk);
    let mut left = match id {
        Some(id) => vec![part_of(&raw, id), part_of(&pushed, id), part_of(&map, id)],
        None => {
            let old = |path: &Path, end: &str| path.with_extension(end);
            vec![old(&raw, "raw.part"), old(&pushed, "qcow2.part"), old(&map, "json.part")]
        }
    };
    if !raw.exists() && !pushed.exists() {
        // A map without its image is of no use; a file of that name that is no map of this run is somebody's.
        let is_its_own = match id {
            Some(id) => is_of(&raw, id),
            None => is_own_map(&map),
        };
        left.extend(Some(map).filter(|_| is_its_own));
    }
    let mut removed = Vec::new();
    for path in left {
        match fs::remove_file(&path) {
            Ok(()) => removed.push(path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(removed)
}

/// Tells whether the file beside `image` says that it is of the moment `id`.
pub(super) fn is_of(image: &Path, id: &str) -> bool {
    let folder = image.parent().map(Path::to_owned).unwrap_or_default();
    sidecar(image, &[folder]).is_some_and(|moment| moment.id.as_deref() == Some(id))
}

/// Tells whether there is a map, or a note, of our own at `path`.
fn is_own_map(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str::<PullMap>(&text).is_ok_and(|map| map.format == PullMap::new(0).format)
        || serde_json::from_str::<PushNote>(&text).is_ok_and(|note| note.is_own())
}
