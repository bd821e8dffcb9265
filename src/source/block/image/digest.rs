//! The digest of the data of an image, by which it is known to be what was taken.
//!
//! Promises: reads the file and nothing else. A run that became a hole has another digest, though the length is right.

use super::error::Error;
use super::gate;
use super::model::{Image, Kind};
use crate::model::LayerBytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Read at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// Returns the digest of the runs `data` of a raw file: of each its offset and length, and its bytes.
///
/// # Errors
/// Those of reading.
pub fn of_runs(file: &File, data: impl Iterator<Item = (u64, u64)>) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::new();
    for (offset, length) in data {
        hasher.update(&offset.to_le_bytes());
        hasher.update(&length.to_le_bytes());
        update(&mut hasher, file, (offset, length), &mut buffer)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Returns the digest of a whole file, as `b3sum` prints it.
///
/// # Errors
/// Those of reading.
pub fn of_file(file: &File) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    update(&mut hasher, file, (0, file.metadata()?.len()), &mut Vec::new())?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn update(
    hasher: &mut blake3::Hasher,
    file: &File,
    (offset, length): (u64, u64),
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    for from in (offset..offset + length).step_by(CHUNK_BYTES as usize) {
        buffer.resize((offset + length - from).min(CHUNK_BYTES) as usize, 0);
        file.read_exact_at(buffer, from)?;
        hasher.update(buffer);
    }
    Ok(())
}

/// Checks that the data of an image is what its sidecar has the digest of, where it has one.
///
/// **Cost:** all of its data is read.
///
/// # Errors
/// [`Error::Damaged`] if it is not; [`Error::Open`], [`Error::Read`].
pub fn check(image: &Image, folders: &[PathBuf]) -> Result<(), Error> {
    let Some(expected) = &image.moment.digest else { return Ok(()) };
    let opened = gate::open(&image.path, folders).map_err(|why| Error::Open { image: image.path.clone(), why })?;
    let file = &opened.device.file;
    let found = match image.kind {
        Kind::Pull => {
            let data = image.layer.extents.iter().filter(|run| matches!(run.bytes, LayerBytes::Plain { .. }));
            of_runs(file, data.map(|run| (run.offset, run.length)))
        }
        _ => of_file(file),
    };
    let size_bytes = opened.device.size_bytes;
    let found = found.map_err(|source| opened.unread(0, size_bytes, source))?;
    if found == *expected {
        return Ok(());
    }
    Err(opened.damaged(format!("its data has the digest {found}, and the file beside it says {expected}")))
}
