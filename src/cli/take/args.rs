//! What `asof take` is asked: how much is copied, and for disks from where.
//! Plain text and paths: what it means is decided by the verb, which knows the settings of the source.

use crate::cli::args::{ConsistencyArg, GuestArgs, PRINT_JSON, SOURCE};
use crate::cli::complete;
use clap::Args;
use clap_complete::ArgValueCompleter;

#[derive(Debug, Args)]
pub(in crate::cli) struct TakeArgs {
    #[arg(help = SOURCE, add = ArgValueCompleter::new(complete::sources))]
    pub(super) name: String,
    /// Copy everything, not only what changed
    #[arg(long, conflicts_with = "differential")]
    pub(super) full: bool,
    /// Copy what changed since the last full generation, not only since the last one
    #[arg(long)]
    pub(super) differential: bool,
    /// Make a full scan even where the changelogs name what changed
    #[arg(long)]
    pub(super) rescan: bool,
    #[command(flatten)]
    pub(super) disk: TakeDiskArgs,
    #[arg(long, help = PRINT_JSON)]
    pub(super) json: bool,
}

/// How a disk is taken, in place of what its settings say.
#[derive(Debug, Args)]
pub(in crate::cli) struct TakeDiskArgs {
    /// The NBD export of a disk
    #[arg(long, value_name = "URI")]
    pub(super) nbd: Option<String>,
    /// The dirty bitmap of that export that records what changed since the newest generation
    #[arg(long, value_name = "BITMAP")]
    pub(super) bitmap: Option<String>,
    /// The name of this checkpoint: the next increment counts from it [default: a name that no other has]
    #[arg(long, value_name = "NAME")]
    pub(super) checkpoint: Option<String>,
    /// The checkpoint that the bitmap counts from, which nothing else tells if it has another name; it must be that of the newest generation
    #[arg(long, value_name = "NAME", conflicts_with = "full")]
    pub(super) since: Option<String>,
    /// How consistent the data is
    #[arg(long, value_name = "HOW")]
    pub(super) consistency: Option<ConsistencyArg>,
    /// Record where the bytes come from: cinder://ID, nbd://HOST/EXPORT, file:///PATH
    #[arg(long, value_name = "URI")]
    pub(super) location: Option<String>,
    #[command(flatten)]
    pub(super) guest: GuestArgs,
}
