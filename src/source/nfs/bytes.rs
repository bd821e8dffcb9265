//! Digests of the files of a copy.
//!
//! Promises: a file is opened beneath the directory that was opened as its copy, never through a link; its digest is that of the
//! file that was asked for, as it was from the first byte to the last; holes are not read; memory is one buffer.

use super::directory::Copy;
use crate::model::RelPath;
use crate::source::{FileStamp, NoDigest};
use crate::sys::{read, walk};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

const BUFFER: usize = 1 << 18;
/// From this size on the digest is that of the blocks that are not zero: the BLAKE3 of the whole of a disk image with terabytes of
/// holes would take an hour, since zeros have to be hashed like anything else.
const SPARSE_BYTES: u64 = 16 << 30;
/// What is looked at whether it is all zeros.
const BLOCK: usize = 4096;
/// Tells such digests from those of whole files (`blake3::derive_key`).
const SPARSE_CONTEXT: &str = "asof 2026-11-30 blocks of a large file that are not zero";

/// How often a file is read whose ctime moves meanwhile: newer copies may be linked against it.
const READS_MAX: usize = 3;

/// See [`crate::source::OpenCopy::digest`].
pub(super) fn digest(copy: &Copy, path: &RelPath, wanted: &FileStamp) -> Result<[u8; 32], NoDigest> {
    let file = copy.open_file(path)?;
    let mut before = walk::stat_fd(file.as_fd())?;
    for _ in 0..READS_MAX {
        if !copy.is(wanted, &before) {
            return Err(NoDigest::Changed);
        }
        let size = before.size_bytes;
        let digest = if size < SPARSE_BYTES { of_whole(&file)? } else { of_blocks(&file, size)? };
        let after = walk::stat_fd(file.as_fd())?;
        if after.ctime == before.ctime && copy.is(wanted, &after) {
            return Ok(*digest.as_bytes());
        }
        before = after;
    }
    Err(NoDigest::Changed)
}

/// The BLAKE3 of all bytes, as `b3sum` prints it.
fn of_whole(file: &File) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let (mut buffer, mut at) = (vec![0; BUFFER], 0);
    loop {
        let count = fill(file, &mut buffer, at)?;
        hasher.update(&buffer[..count]);
        at += count as u64;
        if count < BUFFER {
            return Ok(hasher.finalize());
        }
    }
}

/// A digest of the size and of every block that is not zero, with its place: the same whether zeros are holes or not.
fn of_blocks(file: &File, size: u64) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new_derive_key(SPARSE_CONTEXT);
    hasher.update(&size.to_le_bytes());
    let (mut buffer, mut at) = (vec![0; BUFFER], 0);
    while let Some(data) = next_data(file, at)? {
        // From the beginning of a block, as the same data without holes would be read.
        at = data - data % BLOCK as u64;
        let count = fill(file, &mut buffer, at)?;
        if count == 0 {
            break;
        }
        for (index, block) in buffer[..count].chunks(BLOCK).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                hasher.update(&(at + (index * BLOCK) as u64).to_le_bytes());
                hasher.update(block);
            }
        }
        at += count as u64;
    }
    Ok(hasher.finalize())
}

/// Returns where the next data from `at` on begins; none if there is none.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match read::seek(file.as_fd(), read::Seek::Data, at) {
        // A file system that does not know holes.
        Err(e) if read::is_unknown_seek(&e) => Ok(Some(at)),
        found => found,
    }
}

/// Reads until `buffer` is full or the file ends; returns how much there was.
fn fill(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
