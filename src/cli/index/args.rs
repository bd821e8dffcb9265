//! What `asof index` is asked: the copies, images or lists that are to become generations.
//! Plain text and paths: dates are read by the verb, which knows the clock and the zone.

use crate::cli::args::{ConsistencyArg, PRINT_JSON, duration};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct IndexArgs {
    /// The source, or one generation of it: SOURCE@DATE [default: all sources, each in turn]
    #[arg(value_name = "SOURCE")]
    pub(super) target: Option<String>,
    /// Copies to index [default: every copy that is new, or that may have changed since it was indexed]
    pub(super) paths: Vec<PathBuf>,
    /// When the copy was taken; a day means its beginning
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    pub(super) at: Option<String>,
    /// Index again what is indexed already: the copies that are named, or those that may have changed or
    /// could not be read as a whole
    #[arg(long, requires = "target")]
    pub(super) again: bool,
    /// A copy in which something changed less than this ago is walked once more by the next run: 15m, 2h, 0 for never
    /// [default: as the source says, or 15m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) settle: Option<Duration>,
    #[command(flatten)]
    pub(super) disk: DiskArgs,
    #[command(flatten)]
    pub(super) foreign: ForeignArgs,
    #[arg(long, help = PRINT_JSON)]
    pub(super) json: bool,
}

/// How images of a disk follow each other.
#[derive(Debug, Args)]
pub(in crate::cli) struct DiskArgs {
    /// The images named are increments without a link to what they rest on: the first one rests on this image, which is
    /// indexed, and each other on the one before it
    #[arg(long, value_name = "IMAGE", requires = "paths")]
    pub(super) base: Option<PathBuf>,
    /// How much the data was at rest when the images were taken [default: what is told beside the image]
    #[arg(long, value_name = "HOW")]
    pub(super) consistency: Option<ConsistencyArg>,
    /// Where the bytes of the one image came from, to be recorded: cinder://ID, nbd://HOST/EXPORT [default: its file]
    #[arg(long, value_name = "URI")]
    pub(super) location: Option<String>,
}

/// A list of changes of another tool.
#[derive(Debug, Args)]
pub(in crate::cli) struct ForeignArgs {
    /// A list of changes as glusterfind writes it, for a source of kind gluster; --data has what was copied for it.
    /// Where the two disagree, what was copied counts, and asof show NAME@DATE tells the lines
    #[arg(long, value_name = "LIST", requires = "data", requires = "at", conflicts_with = "paths")]
    pub(super) list: Option<PathBuf>,
    /// The directory with the files that were copied for the list, at their paths; it stays where it is and is read from
    /// there
    #[arg(long, value_name = "DIR", requires = "list")]
    pub(super) data: Option<PathBuf>,
    /// What the list looks like
    #[arg(long, value_name = "FORMAT", requires = "list", default_value = "encoded")]
    pub(super) list_format: ListFormatArg,
    /// What stands between the fields of a line (glusterfind --field-separator)
    #[arg(long, value_name = "TEXT", requires = "list", default_value = " ", allow_hyphen_values = true)]
    pub(super) field_separator: std::ffi::OsString,
    /// What stands before every path (glusterfind --output-prefix) [default: nothing]
    #[arg(long, value_name = "TEXT", requires = "list", allow_hyphen_values = true)]
    pub(super) output_prefix: Option<std::ffi::OsString>,
    /// --data has everything, not only what changed; so has that of a first generation
    #[arg(long, requires = "list")]
    pub(super) full: bool,
    /// It is so that nothing was copied (glusterfind leaves an empty list when it fails)
    #[arg(long, requires = "list")]
    pub(super) empty: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum ListFormatArg {
    /// Lines; %, blanks and line feeds in names as %25, %20, %0A: what glusterfind writes
    Encoded,
    /// Lines, names as they are: glusterfind --no-encode
    Plain,
    /// Fields that end with a zero byte
    Nul,
    /// One JSON object a line: {"what":"rename","path":"new","old_path":"old"}
    Json,
}
