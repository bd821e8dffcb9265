//! The arguments of every verb, as clap reads them; help, man pages and completions come from here too.
//!
//! Promises: what is parsed here is plain text and paths; dates and targets are read by the verbs, which
//! know the clock and the zone.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Every backup generation of every source in one catalog; any moment of the past as a directory.
#[derive(Debug, Parser)]
#[command(name = "asof", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Dates: 2026-11-20, 2026-11-20T14:30, 2026-11-20T14:30:00Z, 2026-11, 2026-W47, 1763604000, \
    yesterday, -3d, \"2h ago\", latest, oldest. A day or longer means its end.\n\
    Exit codes: 0 done, 1 done with losses or findings, 2 not done.")]
pub(super) struct Cli {
    /// The catalog [default: /var/lib/asof/catalog.db for root, else in the XDG state folder]
    #[arg(long, value_name = "FILE", env = "ASOF_CATALOG", global = true)]
    pub(super) catalog: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a new, empty catalog
    Init,
    /// Add, list, show, change or remove sources
    #[command(subcommand)]
    Source(SourceVerb),
    /// Index copies that another tool made, in place, as generations
    Index(IndexArgs),
    /// List the generations of one source or of all
    Generations(GenerationsArgs),
    /// Show all that is known of a source, a generation or an entry
    Show(ShowArgs),
    /// List a directory as of a date
    Ls(LsArgs),
    /// Tell what a date means, for each source
    Resolve(ResolveArgs),
    /// Ask the catalog in SQL (read-only)
    Sql(SqlArgs),
    /// Mount all generations of all sources as one tree
    Mount(MountArgs),
    /// Unmount what `asof mount` has mounted
    Umount(UmountArgs),
    /// Print the manual page, or write one for each verb
    Man(ManArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum SourceVerb {
    /// Add a source
    #[command(subcommand)]
    Add(SourceKindArgs),
    /// List the sources
    List(JsonArgs),
    /// Show a source and its settings
    Show(SourceNameArgs),
    /// Change how the copies of a source are found
    Set(SetArgs),
    /// Forget a source and its generations; its copies are not touched
    Remove(RemoveArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum SourceKindArgs {
    /// A share whose backups are directories: one full tree per generation
    Nfs(NfsArgs),
}

#[derive(Debug, Args)]
pub(super) struct NfsArgs {
    /// Its name; a directory of that name appears in every view
    pub(super) name: String,
    /// The directory that holds one directory for each copy
    #[arg(long, value_name = "DIR")]
    pub(super) copies: PathBuf,
    #[command(flatten)]
    pub(super) how: HowArgs,
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The source
    pub(super) name: String,
    /// The directory that holds one directory for each copy
    #[arg(long, value_name = "DIR")]
    pub(super) copies: Option<PathBuf>,
    #[command(flatten)]
    pub(super) how: HowArgs,
}

#[derive(Debug, Args)]
pub(super) struct HowArgs {
    /// How copies are named, as strptime(3) writes it: backup-%Y%m%d; may be given more than once
    /// (default: dates like 2026-11-20, 2026-11-20T0200, @GMT-2026.11.20-02.00.00)
    #[arg(long, value_name = "PATTERN")]
    pub(super) name_pattern: Vec<String>,
    /// Where the instant of a copy comes from, in order of preference [default: name]
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(super) instant_from: Vec<InstantArg>,
    /// The time zone of names that carry none, as in the IANA database [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    pub(super) zone: Option<String>,
    /// How a file is found again in the next copy [default: path]
    #[arg(long, value_name = "RULE")]
    pub(super) identity: Option<IdentityArg>,
    /// Compare bytes where size and mtime say that a file is unchanged
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes")]
    pub(super) checksum: Option<YesNo>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum InstantArg {
    /// The name of its directory
    Name,
    /// The time of last change of its directory (rsync -a sets that to the source's!)
    Mtime,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum IdentityArg {
    /// By its path: copies made by copying, link farms
    Path,
    /// By inode number and birth time: snapshots of one file system
    Inode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum YesNo {
    Yes,
    No,
}

#[derive(Debug, Args)]
pub(super) struct SourceNameArgs {
    /// The source
    pub(super) name: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The source
    pub(super) name: String,
    /// Do it even though the source has generations
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct IndexArgs {
    /// The source
    pub(super) name: String,
    /// Copies to index [default: every copy not yet indexed, oldest first]
    pub(super) paths: Vec<PathBuf>,
    /// When the copy was taken; a day means its beginning
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    pub(super) at: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct GenerationsArgs {
    /// The source [default: all]
    pub(super) name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// SOURCE, SOURCE@DATE (a generation) or SOURCE:PATH (an entry)
    pub(super) target: std::ffi::OsString,
    /// As of when, for an entry [default: latest]
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    pub(super) at: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// SOURCE or SOURCE:PATH [default: the sources]
    pub(super) target: Option<std::ffi::OsString>,
    /// As of when [default: latest]
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    pub(super) at: Option<String>,
    /// Long listing: mode, links, owner, group, size, mtime, name
    #[arg(short, long)]
    pub(super) long: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResolveArgs {
    /// The date
    #[arg(allow_hyphen_values = true)]
    pub(super) date: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    /// The query; - reads it from standard input
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(super) query: Option<String>,
    /// Read the query from a file
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Print JSON, one object a row
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,
    /// Print CSV with a header line
    #[arg(long)]
    pub(super) csv: bool,
    /// The longest time that the query may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(super) timeout: u64,
}

#[derive(Debug, Args)]
pub(super) struct MountArgs {
    /// Where to mount: an empty directory
    pub(super) dir: PathBuf,
    /// Do not go to the background
    #[arg(long)]
    pub(super) foreground: bool,
    /// Options: passthrough, noxattr, store_timeout=SECONDS; those of mount(8) are understood
    #[arg(short = 'o', value_name = "OPTIONS", value_delimiter = ',')]
    pub(super) options: Vec<String>,
    /// Where the daemon writes what goes wrong [default: FILE.log beside the catalog; standard error with --foreground]
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct UmountArgs {
    /// Where it is mounted
    pub(super) dir: PathBuf,
    /// Take it out of the tree even if it is in use
    #[arg(short, long)]
    pub(super) lazy: bool,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write asof.1 and a page for each verb into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}
