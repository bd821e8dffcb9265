//! `asof gluster`: lists of what changed in a volume, and what runs beside a brick.
//!
//! Promises: lists change nothing in a volume.

mod list;
mod merge;
mod scan_brick;
mod session;
mod stateless;
mod volume;

use super::World;
use super::args::JsonArgs;
use super::report::{Failure, Outcome};
use clap::Subcommand;
use merge::{MergeArgs, RequestsArgs};
use scan_brick::ScanBrickArgs;
use session::{ChangesArgs, ConfirmArgs, ExportArgs, ImportArgs, RegisterArgs, SessionArgs};
use stateless::{FullArgs, IncArgs};

#[derive(Debug, Subcommand)]
pub(super) enum GlusterVerb {
    /// Register a session: it remembers what was listed, so that the next list has what changed since
    Register(RegisterArgs),
    /// List the sessions
    Sessions(JsonArgs),
    /// List what changed since the last confirmed list of a session; the first list has everything, as new
    Changes(ChangesArgs),
    /// Confirm that the last list of a session was used: the next one begins where it ended
    Confirm(ConfirmArgs),
    /// Forget a session
    #[command(alias = "unregister")]
    ForgetSession(SessionArgs),
    /// Copy a session into a file, for another machine or another catalog
    ExportSession(ExportArgs),
    /// Make a session of a file that export-session wrote: the next list begins where the last confirmed one ended
    ImportSession(ImportArgs),
    /// List everything, without a session: nothing is remembered
    Full(FullArgs),
    /// List what changelogs recorded in a span of time, without a session: nothing is remembered
    ///
    /// A session knows the volume as it was and lists exact differences. Without a session, only the changelogs and the
    /// present state are known. So the list lacks files that were renamed over and changes that no changelog records
    /// (fallocate, rebalance). A file that self-heal brought back is NEW. MODIFY means that something was written, even if
    /// the file is as before. What changed after the end of the time span is listed as it is now. Changelogs are read
    /// whole, so the time span is widened to where they begin and end (changelog.rollover-time).
    Inc(IncArgs),
    /// Write a request for each brick, to be carried to bricks that cannot be reached from here
    ///
    /// Beside each brick `asof gluster scan-brick --request FILE --out PART` answers one; `asof gluster merge PART...` makes a list of all answers.
    /// Without a time span everything is listed, as by `asof gluster full`; with one as by `asof gluster inc`.
    Requests(RequestsArgs),
    /// Merge part files into a list
    ///
    /// They may come by scp or on a disk. A brick of which there is no part counts as one that did not answer. Where a part names nodes of which other
    /// bricks have to tell, too, requests for these are written (--requests), and no list; merge their parts together with the first ones.
    Merge(MergeArgs),
    /// Scan one brick and write one part file (asof runs this itself, beside the brick)
    ScanBrick(ScanBrickArgs),
}

pub(super) fn run(verb: GlusterVerb, world: &World) -> Result<Outcome, Failure> {
    match verb {
        GlusterVerb::Register(args) => session::register(args, world),
        GlusterVerb::Sessions(args) => session::list(&args, world),
        GlusterVerb::Changes(args) => session::changes(&args, world),
        GlusterVerb::Confirm(args) => session::confirm(&args, world),
        GlusterVerb::ForgetSession(args) => session::forget(&args, world),
        GlusterVerb::ExportSession(args) => session::export(&args, world),
        GlusterVerb::ImportSession(args) => session::import(args, world),
        GlusterVerb::Full(args) => stateless::full(args, world),
        GlusterVerb::Inc(args) => stateless::inc(args, world),
        GlusterVerb::Requests(args) => merge::write_requests(args, world),
        GlusterVerb::Merge(args) => merge::merge(&args, world),
        GlusterVerb::ScanBrick(args) => scan_brick::run(&args, world),
    }
}
