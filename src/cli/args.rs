//! The arguments of every verb, as clap reads them; help, man pages and completions come from here too.
//!
//! Promises: what is parsed here is plain text and paths; dates and targets are read by the verbs, which
//! know the clock and the zone.

mod shared;

use super::check::CheckArgs;
use super::forget::ForgetArgs;
use super::generations::GenerationsArgs;
use super::gluster::GlusterVerb;
use super::index::args::IndexArgs;
use super::ls::LsArgs;
use super::mount::{MountArgs, UmountArgs};
use super::pages::{CompletionsArgs, ManArgs};
use super::resolve::ResolveArgs;
use super::show::ShowArgs;
use super::sql::SqlArgs;
use super::take::args::TakeArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(super) use shared::{
    COPIES, ConsistencyArg, GuestArgs, HOST, JsonArgs, NEW_SOURCE, PRINT_JSON, ProgramArgs, RescanArgs, SOURCE, VOLUME,
    YesNo, duration,
};
use std::path::PathBuf;
use std::time::Duration;

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
    /// How long to wait for another run that uses the source or writes the catalog: 30s, 10m, 2h; 0 refuses at once
    #[arg(long, value_name = "DURATION", global = true, default_value = "10m", value_parser = duration)]
    pub(super) wait: Duration,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a new, empty catalog
    Init,
    /// Bring a catalog of an older format up to date, and keep a copy of it as it was
    Migrate,
    /// Add, list, show, change or remove sources
    #[command(subcommand)]
    Source(SourceVerb),
    /// Index copies that another tool made, in place, as generations
    Index(IndexArgs),
    /// Forget one generation; its copy is not touched, and not indexed again by itself
    Forget(ForgetArgs),
    /// Make a generation of a source and index it
    Take(TakeArgs),
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
    /// Check the catalog against itself (read-only)
    Check(CheckArgs),
    /// Mount all generations of all sources as one tree
    Mount(MountArgs),
    /// Unmount what `asof mount` has mounted
    Umount(UmountArgs),
    /// Lists of what changed in a Gluster volume, for those who copy files themselves
    #[command(subcommand)]
    Gluster(GlusterVerb),
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
    Set(Box<SetArgs>),
    /// Forget a source and its generations; its copies are not touched
    Remove(RemoveArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum SourceKindArgs {
    /// A share whose backups are directories: one full tree per generation
    Nfs(NfsArgs),
    /// A GlusterFS volume: a full generation, then what its changelogs tell; copied into a store
    Gluster(Box<GlusterArgs>),
    /// A disk: images of it (raw, qcow2), full ones and increments
    Block(Box<BlockArgs>),
}

#[derive(Debug, Args)]
pub(super) struct BlockArgs {
    #[arg(help = NEW_SOURCE)]
    pub(super) name: String,
    /// The directory that holds the images; only files in it are opened
    #[arg(long, value_name = "DIR")]
    pub(super) images: PathBuf,
    /// A pattern for names of images that tell their instant, as date(1) writes it; may be given again
    /// [default: common forms, as in db01-2026-11-20T0200.qcow2; else what the image says, else its mtime]
    #[arg(long, value_name = "PATTERN")]
    pub(super) name_pattern: Vec<String>,
    /// The time zone of names that carry none, as in the IANA database [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    pub(super) zone: Option<String>,
    /// The directory that asof take writes to [default: that of the images]
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<PathBuf>,
    /// Run this first: it quiesces the guest. No shell; see ASOF_* in its environment
    #[arg(long, value_name = "COMMAND")]
    pub(super) pre: Option<String>,
    /// Run this in any case as soon as the moment is taken: it thaws the guest
    #[arg(long, value_name = "COMMAND")]
    pub(super) post: Option<String>,
    #[command(flatten)]
    pub(super) how: DiskHowArgs,
}

/// How a disk is read and taken; "" takes back what can be left out.
#[derive(Debug, Args)]
#[command(next_help_heading = "Disks")]
pub(super) struct DiskHowArgs {
    /// The format of the images [default: what each says of itself]. A guest can write the header of a qcow2 image into its raw
    /// disk: say raw where all are
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: Option<FormatArg>,
    /// The NBD export that asof take pulls generations from: nbd://HOST/EXPORT, nbd+unix:///EXPORT?socket=PATH; nbds for TLS
    #[arg(long, value_name = "URI")]
    pub(super) nbd: Option<String>,
    /// The dirty bitmap of that export that tells what changed since the newest generation: a bitmap of this name is begun,
    /// or cleared, at each moment that is taken
    #[arg(long, value_name = "BITMAP")]
    pub(super) bitmap: Option<String>,
    /// The certificate that the server's has to be signed by, a file ca-cert.pem; client-cert.pem and client-key.pem lie
    /// beside it if the server asks for them
    #[arg(long, value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
    /// Run this after --pre: it makes the export, or without --nbd an image, whose path it prints as its last line unless it
    /// wrote it to $ASOF_IMAGE
    #[arg(long, value_name = "COMMAND")]
    pub(super) snapshot: Option<String>,
    #[command(flatten)]
    pub(super) guest: GuestArgs,
    /// The address of libvirt [default: qemu:///system]
    #[arg(long, value_name = "URI")]
    pub(super) connect: Option<String>,
    /// Have the agent in the guest freeze its file systems for the moment
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes")]
    pub(super) freeze: Option<YesNo>,
    /// The directory for the socket of a guest's disk, and for what the guest overwrites while its disk is read
    /// [default: /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub(super) scratch: Option<PathBuf>,
    /// Kill a command that takes longer [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub(super) hook_timeout: Option<u64>,
    /// How much the data is at rest in what is taken [default: app with --pre and --snapshot or --domain, frozen with --freeze,
    /// else crash]
    #[arg(long, value_name = "HOW")]
    pub(super) consistency: Option<ConsistencyArg>,
}

#[derive(Debug, Args)]
pub(super) struct GlusterArgs {
    #[arg(help = NEW_SOURCE)]
    pub(super) name: String,
    #[arg(long, value_name = "HOST", default_value = "localhost", help = HOST)]
    pub(super) host: String,
    #[arg(long, value_name = "VOLUME", required_unless_present = "lists", help = VOLUME)]
    pub(super) volume: Option<String>,
    /// The directory that holds the copies, each in NAME/INSTANT
    #[arg(long, value_name = "DIR", required_unless_present = "lists")]
    pub(super) store: Option<PathBuf>,
    /// There are only lists of another tool (glusterfind) and what it copied: asof index NAME --list ...
    #[arg(long, conflicts_with_all = ["host", "volume", "store", "exec", "program", "gluster", "rescan_every", "client_reads", "pre", "post"])]
    pub(super) lists: bool,
    #[command(flatten)]
    pub(super) how: ScanArgs,
}

/// How a volume is looked at.
#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    /// What runs a program beside the bricks of {host}, which it has to name, as in "ssh -o BatchMode=yes {host}"
    /// [default: all bricks are on this machine]
    #[arg(long, value_name = "COMMAND")]
    pub(super) exec: Option<String>,
    #[command(flatten)]
    pub(super) programs: ProgramArgs,
    /// Read all bytes through a client mount, also where a brick on this machine has them
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes")]
    pub(super) client_reads: Option<YesNo>,
    #[command(flatten)]
    pub(super) rescan: RescanArgs,
    /// Run this before a generation is taken; where it fails none is. No shell; see ASOF_* in its environment; "" for none
    #[arg(long, value_name = "COMMAND")]
    pub(super) pre: Option<String>,
    /// Run this after a generation was taken, or was not (ASOF_STATUS)
    #[arg(long, value_name = "COMMAND")]
    pub(super) post: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct NfsArgs {
    #[arg(help = NEW_SOURCE)]
    pub(super) name: String,
    #[arg(long, value_name = "DIR", help = COPIES)]
    pub(super) copies: PathBuf,
    #[command(flatten)]
    pub(super) how: HowArgs,
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    #[arg(help = SOURCE)]
    pub(super) name: String,
    #[arg(long, value_name = "DIR", help = COPIES)]
    pub(super) copies: Option<PathBuf>,
    #[command(flatten)]
    pub(super) how: HowArgs,
    #[arg(long, value_name = "HOST", help = HOST)]
    pub(super) host: Option<String>,
    /// The directory that holds new copies; those that are there are found where they were
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<PathBuf>,
    #[command(flatten)]
    pub(super) scan: ScanArgs,
    /// The directory that holds the images of a disk; those that are indexed are found where they were
    #[arg(long, value_name = "DIR")]
    pub(super) images: Option<PathBuf>,
    #[command(flatten)]
    pub(super) disk: DiskHowArgs,
}

#[derive(Debug, Args)]
pub(super) struct HowArgs {
    /// How copies are named, as strptime(3) writes it: backup-%Y%m%d; may be given more than once
    /// (default: dates like 2026-11-20, 2026-11-20T0200, 20261120T020000Z, 2026-11-20T02:00-0330)
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
    /// How long nothing in a copy must have changed for it to be whole; a younger one is walked once more by the next run
    /// [default: 15m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) settle: Option<Duration>,
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

#[derive(Debug, Args)]
pub(super) struct SourceNameArgs {
    #[arg(help = SOURCE)]
    pub(super) name: String,
    #[arg(long, help = PRINT_JSON)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    #[arg(help = SOURCE)]
    pub(super) name: String,
    /// Do it even though the source has generations
    #[arg(long)]
    pub(super) force: bool,
}

/// The format of an image.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FormatArg {
    /// The bytes of the disk
    Raw,
    /// QEMU's own
    Qcow2,
}
