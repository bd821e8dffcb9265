//! Raw images: the file is the disk.
//!
//! Promises: its holes are left out of the layer, for they read as zeros and a base has nothing below it. Reads no data. Where
//! a file system or a device does not tell its holes, all is data.

use super::error::Error;
use super::gate::Opened;
use super::model::{Image, Kind, Parent};
use super::pieces::{Budget, Pieces};
use crate::model::{Layer, LayerBytes, LayerExtent};
use crate::sys::read::{Seek, is_unknown_seek, seek};
use std::io;
use std::os::fd::AsFd;

/// Reads where a raw image has data.
pub(super) fn open(opened: Opened) -> Result<Image, Error> {
    let size_bytes = opened.device.size_bytes;
    let mut pieces = Pieces::new(size_bytes);
    let mut budget = Budget::of(size_bytes);
    let mut at = 0;
    while at < size_bytes {
        let Some((from, until)) =
            next_data(&opened, at).map_err(|source| opened.unread(at, size_bytes - at, source))?
        else {
            break;
        };
        let run = LayerExtent { offset: from, length: until - from, bytes: LayerBytes::Plain { file: 0, at: from } };
        pieces.add(&mut budget, run).map_err(|_| opened.unsupported("it has too many holes".to_owned()))?;
        at = until;
    }
    let layer = Layer { size_bytes, files: vec![opened.file.clone()], extents: pieces.finish() };
    Ok(Image::new(&opened, Kind::Raw, layer, Parent::None))
}

/// Returns the next run of data at or after `at`. Where holes are not known, that is the rest.
fn next_data(opened: &Opened, at: u64) -> io::Result<Option<(u64, u64)>> {
    let size_bytes = opened.device.size_bytes;
    let file = opened.device.file.as_fd();
    let from = match seek(file, Seek::Data, at) {
        Ok(Some(from)) => from,
        Ok(None) => return Ok(None),
        Err(error) if is_unknown_seek(&error) => return Ok(Some((at, size_bytes))),
        Err(error) => return Err(error),
    };
    let until = seek(file, Seek::Hole, from)?.unwrap_or(size_bytes);
    if from < at || until <= from {
        return Err(io::Error::other("the file changed meanwhile"));
    }
    Ok((from < size_bytes).then_some((from, until.min(size_bytes))))
}
