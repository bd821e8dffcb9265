//! Comparing the bytes of a file in two copies.
//!
//! Promises: both files are opened inside their copies, never through a link; memory is two buffers. Stops at
//! the first difference.

use crate::model::RelPath;
use crate::sys::{read, walk};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

const BUFFER: usize = 1 << 18;

/// See [`crate::source::Source::same_bytes`].
pub(super) fn same(one: &Path, other: &Path, path: &RelPath) -> io::Result<bool> {
    let (mut one, mut other) = (open(one, path)?, open(other, path)?);
    let (mut ours, mut theirs) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let (n, m) = (fill(&mut one, &mut ours)?, fill(&mut other, &mut theirs)?);
        if ours[..n] != theirs[..m] {
            return Ok(false);
        }
        if n < BUFFER {
            return Ok(true);
        }
    }
}

fn open(copy: &Path, path: &RelPath) -> io::Result<File> {
    let root = walk::open_root(copy)?;
    let file = read::open_beneath(root.as_fd(), path.as_bytes())?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// Reads until `buffer` is full or the file ends; returns how much there was.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
