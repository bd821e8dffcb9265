//! Lists of changes in the form of `glusterfind`, to be read by what users already run, and read from what they already have.
//!
//! Promises: everything is bytes, no name is lost or joined with another; a record that is not understood is handed
//! over as an [`Anomaly`] and never dropped. What is written encoded, NUL-terminated or as JSON is read back as it was.
//! Never takes a list for the truth: glusterfind's own are wrong in known ways (a name with a comma comes as
//! several lines, of which some look whole), so a path that was read is a place to look at. A prefix helps: only
//! the first of such lines begins with it.
//!
//! # Forms
//!
//! | form | record | unambiguous |
//! | --- | --- | --- |
//! | [`Form::Encoded`] | `NEW p`, `MODIFY p`, `RENAME p q`, `DELETE p`, and a line feed | yes, with the separator " " |
//! | [`Form::Plain`] (`--no-encode`) | the same | no: blanks and line feeds in names |
//! | [`Form::Nul`] | `NEW`, NUL, `p`, NUL; `RENAME`, NUL, `p`, NUL, `q`, NUL | yes |
//! | [`Form::Json`] | `{"what":"rename","path":"q","old_path":"p"}` and a line feed | yes |
//!
//! The encoding is that of `tools/glusterfind/src/utils.py`: `%` is `%25`, blank `%20`, line feed `%0A`, every other
//! byte stands for itself. In JSON, what is not plain UTF-8 is escaped as in [`crate::model::escape_bytes`].

mod encoding;
mod format;
mod read;
#[cfg(test)]
mod tests;

pub use encoding::{decode, encode};
pub use format::{Change, Form, Format, FormatError};
pub use read::{Anomaly, Error, Item, RECORD_BYTES_MAX, Reader, Why};
