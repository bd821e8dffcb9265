//! What a brick is asked, and what it is called.
//! Pure.

use crate::source::gluster::part::{FORMAT, Request, Text, Want, Whole};
use crate::source::gluster::volume::{Brick, Volume};
use std::os::unix::ffi::OsStrExt;

/// The name of a brick, in messages and in the state: `host:path`.
pub(super) fn name_of(brick: &Brick) -> String {
    format!("{}:{}", brick.host, brick.path.display())
}

/// Returns what a brick of `volume` is asked.
pub(super) fn request(volume: &Volume, brick: &Brick, want: Want, whole: Option<Whole>) -> Request {
    Request {
        format: FORMAT,
        volume: volume.name.clone(),
        volume_id: volume.id,
        brick: Text(brick.path.as_os_str().as_bytes().to_vec()),
        want,
        fragments: volume.is_dispersed(),
        whole,
    }
}
