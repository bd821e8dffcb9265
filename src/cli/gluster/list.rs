//! Where a list of changes goes, what of it, and how it looks.
//!
//! Promises: the options mean what they mean in glusterfind. A list is whole or not there; what was counted is what was
//! written.

use crate::cli::report::Failure;
use crate::jobs::gluster::list_file::ListFile;
use crate::model::{Kind, chain};
use crate::source::gluster::list::{Change, Form, Format};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::io::{BufWriter, StdoutLock, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

/// What is listed, where to and how: names and meaning as in glusterfind.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// The file to write; - is standard output. An existing file is not overwritten unless it is called output.txt
    #[arg(long, value_name = "FILE", default_value = "output.txt")]
    pub(super) out_file: PathBuf,
    /// Overwrite an existing file, whatever it is called
    #[arg(long)]
    force: bool,
    /// Write names as they are: lines whose names have %, spaces or line feeds are ambiguous then
    #[arg(long)]
    no_encode: bool,
    /// The text between the fields of a line [default: a space]
    #[arg(long, value_name = "TEXT", default_value = " ", hide_default_value = true)]
    field_separator: std::ffi::OsString,
    /// The text before every path, with a slash in between
    #[arg(long, value_name = "PATH")]
    output_prefix: Option<std::ffi::OsString>,
    /// Leave out MODIFY lines
    #[arg(short = 'N', long)]
    only_namespace_changes: bool,
    /// List files (everything but directories), directories or both
    #[arg(long = "type", value_name = "WHAT", default_value = "both")]
    kinds: KindsArg,
    /// End every field with a zero byte: no name is ambiguous
    #[arg(short = '0', long, conflicts_with_all = ["no_encode", "json", "field_separator"])]
    null: bool,
    /// Write JSON, one object a line
    #[arg(long, conflicts_with_all = ["no_encode", "field_separator"])]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum KindsArg {
    #[value(name = "f")]
    Files,
    #[value(name = "d")]
    Directories,
    Both,
}

/// A list that is being written.
pub(super) struct List {
    out: Out,
    format: Format,
    kinds: KindsArg,
    only_names: bool,
    counts: Counts,
}

enum Out {
    File(ListFile),
    Standard(BufWriter<StdoutLock<'static>>),
}

/// Lines that were written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    new: u64,
    modify: u64,
    rename: u64,
    delete: u64,
}

impl List {
    /// Begins the list that `args` ask for; nothing is in its place yet.
    pub(super) fn begin(args: &ListArgs) -> Result<Self, Failure> {
        let form = match (args.null, args.json, args.no_encode) {
            (true, ..) => Form::Nul,
            (_, true, _) => Form::Json,
            (_, _, true) => Form::Plain,
            _ => Form::Encoded,
        };
        let prefix = args.output_prefix.as_deref().map(OsStrExt::as_bytes);
        let format = Format::new(form, args.field_separator.as_bytes(), prefix).map_err(|e| Failure::new(chain(&e)))?;
        let out = match is_standard(&args.out_file) {
            true => Out::Standard(BufWriter::new(std::io::stdout().lock())),
            false => Out::File(ListFile::begin(&args.out_file, args.force)?),
        };
        Ok(Self { out, format, kinds: args.kinds, only_names: args.only_namespace_changes, counts: Counts::default() })
    }

    /// Writes one line, if it is asked for.
    pub(super) fn line(&mut self, change: &Change, kind: Kind) -> Result<(), Failure> {
        let is_wanted = match self.kinds {
            KindsArg::Files => kind != Kind::Directory,
            KindsArg::Directories => kind == Kind::Directory,
            KindsArg::Both => true,
        };
        if !is_wanted || (self.only_names && matches!(change, Change::Modify(_))) {
            return Ok(());
        }
        let written = match &mut self.out {
            Out::File(file) => self.format.write(file, change).map_err(|e| Failure::because("writing the list", &e)),
            Out::Standard(out) => self.format.write(out, change).map_err(Failure::from),
        };
        written?;
        *match change {
            Change::New(_) => &mut self.counts.new,
            Change::Modify(_) => &mut self.counts.modify,
            Change::Rename { .. } => &mut self.counts.rename,
            Change::Delete(_) => &mut self.counts.delete,
        } += 1;
        Ok(())
    }

    /// Brings the list to the disk and into its place.
    pub(super) fn finish(self) -> Result<Counts, Failure> {
        match self.out {
            Out::File(file) => file.finish()?,
            Out::Standard(mut out) => out.flush()?,
        }
        Ok(self.counts)
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { new, modify, rename, delete } = self;
        write!(f, "{new} NEW, {modify} MODIFY, {rename} RENAME, {delete} DELETE")
    }
}

/// Returns where the list goes, for commands that read it: a full path, or `-`.
pub(super) fn place(out_file: &Path) -> OsString {
    match is_standard(out_file) {
        true => "-".into(),
        false => std::path::absolute(out_file).unwrap_or_else(|_| out_file.to_owned()).into_os_string(),
    }
}

fn is_standard(out_file: &Path) -> bool {
    out_file == Path::new("-")
}
