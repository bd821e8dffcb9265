//! What `asof index` is asked: the copies, images or lists that are to become generations.
//! Plain text and paths: dates are read by the verb, which knows the clock and the zone.

use crate::cli::args::{ConsistencyArg, PRINT_JSON, duration};
use crate::cli::complete;
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct IndexArgs {
    /// The source, or one generation of it: SOURCE@DATE [default: all sources, each in turn]
    #[arg(value_name = "SOURCE", add = ArgValueCompleter::new(complete::generations))]
    pub(super) target: Option<String>,
    /// Copies to index [default: every copy that is new, or that may have changed since it was indexed]
    pub(super) paths: Vec<PathBuf>,
    /// When the copy was taken; a day means its beginning
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    pub(super) at: Option<String>,
    /// Index again what is indexed already: the copies that are named, or those that may have changed or
    /// could not be read as a whole
    #[arg(long)]
    pub(super) again: bool,
    /// The next run walks a copy once more if something in it changed less than this ago: 15m, 2h, 0 for never
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
    /// The named images are increments that do not say what they are based on: the first one is based on this image, which must
    /// be indexed, and each other one on the image before it
    #[arg(long, value_name = "IMAGE", requires = "paths")]
    pub(super) base: Option<PathBuf>,
    /// How consistent the data was when the images were taken [default: what the file beside the image says]
    #[arg(long, value_name = "HOW")]
    pub(super) consistency: Option<ConsistencyArg>,
    /// Record where the bytes of the image came from: cinder://ID, nbd://HOST/EXPORT [default: its file]
    #[arg(long, value_name = "URI")]
    pub(super) location: Option<String>,
}

/// A list of changes of another tool.
#[derive(Debug, Args)]
pub(in crate::cli) struct ForeignArgs {
    /// A list of changes in glusterfind's format, for a source of kind gluster; --data has the files that were copied for it.
    /// Where the two disagree, the files count, and asof show NAME@DATE shows the lines
    #[arg(long, value_name = "LIST", requires = "data", requires = "at", conflicts_with = "paths")]
    pub(super) list: Option<PathBuf>,
    /// The directory with the files that were copied for the list, at their paths; it must stay there, files are read from it
    #[arg(long, value_name = "DIR", requires = "list")]
    pub(super) data: Option<PathBuf>,
    /// The format of the list
    #[arg(long, value_name = "FORMAT", requires = "list", default_value = "encoded")]
    pub(super) list_format: ListFormatArg,
    /// The text between the fields of a line (glusterfind --field-separator)
    #[arg(long, value_name = "TEXT", requires = "list", default_value = " ", allow_hyphen_values = true)]
    pub(super) field_separator: std::ffi::OsString,
    /// The text before every path (glusterfind --output-prefix) [default: none]
    #[arg(long, value_name = "TEXT", requires = "list", allow_hyphen_values = true)]
    pub(super) output_prefix: Option<std::ffi::OsString>,
    /// --data holds everything, not only what changed (as it always does for a first generation)
    #[arg(long, requires = "list")]
    pub(super) full: bool,
    /// Accept an empty list and no files (glusterfind leaves an empty list when it fails)
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
