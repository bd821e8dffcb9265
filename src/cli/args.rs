//! The command line as a whole, as clap reads it; help, man pages and completions come from here too. The arguments of a
//! verb stand beside it, what several verbs have in common in `shared`.
//!
//! Promises: what is parsed is plain text and paths; dates and targets are read by the verbs, which know the clock and
//! the zone.

mod shared;

use super::check::CheckArgs;
use super::forget::ForgetArgs;
use super::generations::GenerationsArgs;
use super::gluster::GlusterVerb;
use super::index::args::IndexArgs;
use super::ls::LsArgs;
use super::mount::{MountArgs, UmountArgs};
use super::pages::{CompletionsArgs, ManArgs};
use super::rebuild::RebuildArgs;
use super::resolve::ResolveArgs;
use super::show::ShowArgs;
use super::source::SourceVerb;
use super::sql::SqlArgs;
use super::take::args::TakeArgs;
use super::units::UnitsArgs;
use clap::{Parser, Subcommand};
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
    /// Make a lost catalog again from the manifests of its generations
    Rebuild(RebuildArgs),
    /// Ask the catalog in SQL (read-only)
    Sql(SqlArgs),
    /// Check the catalog against itself (read-only)
    Check(CheckArgs),
    /// Mount all generations of all sources as one tree
    Mount(MountArgs),
    /// Unmount what `asof mount` has mounted
    Umount(UmountArgs),
    /// Write units for systemd and a file for logrotate
    Units(UnitsArgs),
    /// Lists of what changed in a Gluster volume, for those who copy files themselves
    #[command(subcommand)]
    Gluster(GlusterVerb),
    /// Print the manual page, or write one for each verb
    Man(ManArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

impl Verb {
    /// Tells whether it may change what a mount of the catalog shows.
    pub(super) fn is_writing(&self) -> bool {
        match self {
            Self::Source(_) | Self::Index(_) | Self::Forget(_) | Self::Take(_) | Self::Rebuild(_) => true,
            Self::Init | Self::Migrate | Self::Generations(_) | Self::Show(_) | Self::Ls(_) | Self::Resolve(_) => false,
            Self::Sql(_) | Self::Check(_) | Self::Mount(_) | Self::Umount(_) | Self::Gluster(_) => false,
            Self::Man(_) | Self::Completions(_) | Self::Units(_) => false,
        }
    }
}
