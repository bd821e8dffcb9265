//! One changelog of a brick: a header line, then the records of a slice of time.
//!
//! Promises: every byte is understood or the slice is refused with the place and what was found there; nothing is
//! skipped. Names are raw bytes and are told only if they can be names. Memory is that of the slice.
//! Never judges a record: what was done, by whom and in what order is told as it is written, and
//! only the present state of the brick says what it means.
//!
//! # The format
//!
//! ```text
//!  GlusterFS Changelog | version: v1.2 | encoding : 2\n                          '|' below: a zero byte
//!  D gfid |                                                data
//!  M gfid | fop |                                          attributes or extended attributes
//!  E gfid | 23,3,4 | mode | uid | gid | parent/name |      create, mknod, mkdir
//!  E gfid | 9,7 | parent/name |                            link, symlink
//!  E gfid | 8 | parent/name | parent/name |                rename, from and to
//!  E gfid | 5,6 | parent/name | path |                     unlink, rmdir; without a path three zero bytes follow
//!                                                          the name; v1.1 has no path field
//! ```
//!
//! In encoding 2 (ascii, the default) gfids are UUIDs as text and numbers are decimal; in encoding 1 (binary) gfids
//! are 16 raw bytes and numbers are 4 bytes in the byte order of the brick's machine, all else is the same.
//! A zero byte after a binary value is still written, so a value's length tells where it ends, never its bytes.
//!
//! Source: `changelog-encoders.c`, `changelog-misc.h`, `changelog.c` and `gf-changelog-journal-handler.c`
//! of the GlusterFS sources, tags v3.6.0 (v1.1) to v10.3; encoding 1 was read there and not seen on a real brick.
//! `libgfchangelog` expects line ends in encoding 1, which the encoder has not written since v1.1.

mod parse;
mod record;
#[cfg(test)]
mod tests;

pub use parse::{Broken, Parsed, parse};
pub use record::{CreateKind, Record, Spot, What};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A slice larger than this is refused: slices of a busy brick are megabytes (about 90 bytes a record).
const SLICE_BYTES_MAX: u64 = 1 << 30;

/// Why a slice cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, or the slice vanished.
    #[error("cannot read the changelog {path:?}")]
    Read {
        /// The slice.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not one.
    #[error("cannot understand the changelog {path:?}")]
    Broken {
        /// The slice.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Broken,
    },
    /// Nobody has ever seen a slice like that.
    #[error("the changelog {path:?} is larger than {SLICE_BYTES_MAX} bytes, the most that is read")]
    TooLarge {
        /// The slice.
        path: PathBuf,
    },
}

/// Calls `each` for every record of the closed slice `path`, in the order of the file.
///
/// **Cost:** one open and the bytes of the file, in memory while it runs.
///
/// # Errors
/// [`Error`]; records before the broken place have been told by then.
pub fn read(path: &Path, each: &mut dyn FnMut(Record<'_>)) -> Result<Parsed, Error> {
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    read_from(&file, path, false, each)
}

/// Does the same with the slice that is still written: open as `file`, named `path`. It may end inside a record.
///
/// All that it tells must be looked at again when the slice is closed: a node that was told once in a slice may change
/// again without another record.
///
/// # Errors
/// [`Error`], but not for an end inside a record.
pub fn read_open(file: &File, path: &Path, each: &mut dyn FnMut(Record<'_>)) -> Result<Parsed, Error> {
    read_from(file, path, true, each)
}

fn read_from(file: &File, path: &Path, open: bool, each: &mut dyn FnMut(Record<'_>)) -> Result<Parsed, Error> {
    let mut bytes = Vec::new();
    let length = file
        .take(SLICE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if length as u64 > SLICE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    parse(&bytes, open, each).map_err(|source| Error::Broken { path: path.to_owned(), source })
}
