//! Reads a part file line by line, and its two ends without the middle.
//!
//! Promises: the header comes first and once, the end mark last, and the number of lines is the one that the end
//! mark tells; whatever else is an error that names the file and the line. A part without its end mark is
//! never taken for a whole one. Memory: one line, at most [`LINE_BYTES_MAX`].

mod ends;
mod error;
mod line;
mod reader;
#[cfg(test)]
mod tests;

pub use ends::load_ends;
pub use error::{Error, LINE_BYTES_MAX};
pub use reader::PartReader;
