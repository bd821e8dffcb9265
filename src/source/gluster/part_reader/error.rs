//! Why a part cannot be read.
//! Each text names the file, and the line where there is one.

use crate::source::gluster::part::FORMAT;
use std::io;
use std::path::PathBuf;

/// The longest line that is read, in bytes. A name has 255 bytes, an extended attribute 64 KiB; only the end mark
/// can be long, by the slices it lists (about 30 bytes each).
pub const LINE_BYTES_MAX: usize = 64 << 20;

fn first_line(found: Option<&str>) -> String {
    found.map_or_else(String::new, |found| format!(": its first line is \"{found}\""))
}

/// Why a part cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("cannot open the part {path:?}")]
    Open {
        /// The part.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused a read.
    #[error("cannot read the part {path:?} at line {line}")]
    Read {
        /// The part.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its first line is no header.
    #[error("{path:?} is not a part{}", first_line(.found.as_deref()))]
    NotAPart {
        /// The file.
        path: PathBuf,
        /// How its first line begins; none where that is not to be told.
        found: Option<String>,
    },
    /// Another version wrote it.
    #[error(
        "the part {path:?} has format {format}, written by asof {asof}: expected format {FORMAT}, as asof {} writes it",
        env!("CARGO_PKG_VERSION")
    )]
    Format {
        /// The part.
        path: PathBuf,
        /// The format that it names.
        format: u32,
        /// The version of the program that wrote it.
        asof: String,
    },
    /// A line that is none of [`crate::source::gluster::part::Line`].
    #[error("line {line} of the part {path:?} is \"{found}\"")]
    Line {
        /// The part.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// How it begins.
        found: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A line without an end.
    #[error("line {line} of the part {path:?} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong {
        /// The part.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// A second header, or something after the end mark.
    #[error("line {line} of the part {path:?} is \"{found}\": expected {expected}")]
    Order {
        /// The part.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// How it begins.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The end mark is missing.
    #[error("the part {path:?} was cut off: no end mark after {lines} lines")]
    Cut {
        /// The part.
        path: PathBuf,
        /// Lines that are there.
        lines: u64,
    },
    /// The end mark tells another number of lines.
    #[error("the part {path:?} has {found} lines before its end mark: expected {expected}, as the end mark tells")]
    Count {
        /// The part.
        path: PathBuf,
        /// Lines before the end mark.
        found: u64,
        /// What the end mark tells.
        expected: u64,
    },
}

impl Error {
    /// Leaves out what a file that is no part begins with: one that somebody brought may be a link to what is not for whoever reads the error.
    pub fn without_quote(self) -> Self {
        match self {
            Self::NotAPart { path, .. } => Self::NotAPart { path, found: None },
            other => other,
        }
    }
}
