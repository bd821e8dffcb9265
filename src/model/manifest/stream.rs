//! The compressed stream that a manifest of either format is.
//! What goes wrong with it is told as what is wrong with the manifest.

use super::Error;
use std::io::{self, BufReader};

/// A stream that was compressed.
pub(super) type Unpacked<R> = BufReader<zstd::Decoder<'static, BufReader<R>>>;

/// What an error of the stream means later.
pub(super) fn stream_error(e: io::Error, edits: u64) -> Error {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => Error::EndsEarly { edits },
        _ if e.raw_os_error().is_some() => Error::Io(e),
        _ => Error::Damaged { edits, what: "it does not unpack" },
    }
}
