//! The command line as a whole, as clap reads it; help, man pages and completions come from here too. The arguments of a
//! verb stand beside it, what several verbs have in common in `shared`.
//!
//! Promises: what is parsed is plain text and paths; dates and targets are read by the verbs, which know the clock and
//! the zone.

mod shared;

use super::ask::churn::ChurnArgs;
use super::ask::diff::DiffArgs;
use super::ask::du::DuArgs;
use super::ask::find::FindArgs;
use super::ask::growth::GrowthArgs;
use super::ask::history::HistoryArgs;
use super::ask::when::WhenArgs;
use super::catalog::CatalogVerb;
use super::check::CheckArgs;
use super::complete::CompletionsArgs;
use super::forget::ForgetArgs;
use super::generations::GenerationsArgs;
use super::gluster::GlusterVerb;
use super::index::args::IndexArgs;
use super::init::InitArgs;
use super::ls::LsArgs;
use super::mount::{MountArgs, UmountArgs};
use super::pages::ManArgs;
use super::rebuild::RebuildArgs;
use super::resolve::ResolveArgs;
use super::say::Amount;
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

/// Index backups where they are, in one catalog; browse and restore any date as a directory.
#[derive(Debug, Parser)]
#[command(name = "asof", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Dates: 2026-11-20, 2026-11-20T14:30, 2026-11-20T14:30:00Z, 2026-11, 2026-W47, 1763604000, \
    yesterday, -3d, \"2h ago\", latest, oldest. A day, week, month or year means its end.\n\
    Exit codes: 0 done, 1 done with losses or findings, 2 not done.")]
pub(super) struct Cli {
    /// The catalog [default: /var/lib/asof/catalog.db for root, else in the XDG state folder]
    #[arg(long, value_name = "FILE", env = "ASOF_CATALOG", global = true)]
    pub(super) catalog: Option<PathBuf>,
    /// How long to wait for another run that uses the source or writes the catalog: 30s, 10m, 2h; 0: do not wait
    #[arg(long, value_name = "DURATION", global = true, default_value = "10m", value_parser = duration)]
    pub(super) wait: Duration,
    /// Print nothing where all is well (for cron); problems are printed all the same
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more: also copies that were walked again and had not changed, and every finding
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

impl Cli {
    /// Returns how much is to be said.
    pub(super) fn amount(&self) -> Amount {
        match (self.quiet, self.verbose) {
            (true, _) => Amount::Quiet,
            (_, true) => Amount::Verbose,
            _ => Amount::Usual,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a new, empty catalog
    Init(InitArgs),
    /// Bring a catalog of an older format up to date, and keep a copy of it as it was
    Migrate,
    /// Add, list, show, change or remove sources
    #[command(subcommand)]
    Source(SourceVerb),
    /// Index copies that another tool made, in place, as generations
    Index(IndexArgs),
    /// Remove one generation from the catalog; its copy is not touched
    Forget(ForgetArgs),
    /// Take a generation of a volume or a disk, and index it
    Take(TakeArgs),
    /// List the generations of one source or of all
    Generations(GenerationsArgs),
    /// Show everything known about a source, a generation or an entry
    Show(ShowArgs),
    /// List a directory as of a date
    Ls(LsArgs),
    /// Show how a file or directory came to be what it is
    History(HistoryArgs),
    /// Show what differs between two generations
    Diff(DiffArgs),
    /// Find entries by name, size, owner and so on, as of a date or over all time
    Find(FindArgs),
    /// Show how much lies in each directory, as of a date
    Du(DuArgs),
    /// Show how much is in each generation, and how much more than before
    Growth(GrowthArgs),
    /// Show how much each generation changed
    Churn(ChurnArgs),
    /// Show when a path was deleted or changed, or when a content was there
    When(WhenArgs),
    /// Show what a date means for each source
    Resolve(ResolveArgs),
    /// Make a lost catalog again from manifests, or add what an old copy of it lacks
    Rebuild(RebuildArgs),
    /// Query the catalog in SQL (read-only)
    Sql(SqlArgs),
    /// Check the catalog for damage (read-only)
    Check(CheckArgs),
    /// Back the catalog up, or make an index of its names
    #[command(subcommand)]
    Catalog(CatalogVerb),
    /// Mount all generations of all sources as one tree
    Mount(MountArgs),
    /// Unmount what asof mount mounted
    Umount(UmountArgs),
    /// Write units for systemd and a file for logrotate
    Units(UnitsArgs),
    /// List what changed in a GlusterFS volume, for tools that copy files themselves
    #[command(subcommand)]
    Gluster(GlusterVerb),
    /// Let a guest go when the run that holds it ends
    #[command(hide = true)]
    LetGo,
    /// Print the manual page, or write a page for each verb
    Man(ManArgs),
    /// Print the completion script for a shell
    Completions(CompletionsArgs),
}

impl Verb {
    /// Tells whether it may change what a mount of the catalog shows.
    pub(super) fn is_writing(&self) -> bool {
        match self {
            Self::Source(_) | Self::Index(_) | Self::Forget(_) | Self::Take(_) | Self::Rebuild(_) => true,
            Self::Init(_) | Self::Migrate | Self::Generations(_) | Self::Show(_) | Self::Ls(_) | Self::Resolve(_) => {
                false
            }
            Self::History(_) | Self::Diff(_) | Self::Find(_) | Self::Du(_) => false,
            Self::Growth(_) | Self::Churn(_) | Self::When(_) => false,
            Self::Sql(_) | Self::Check(_) | Self::Catalog(_) | Self::Mount(_) | Self::Umount(_) | Self::Gluster(_) => {
                false
            }
            Self::Man(_) | Self::Completions(_) | Self::Units(_) | Self::LetGo => false,
        }
    }
}
