//! `asof gluster`: lists of what changed in a volume, and what runs beside a brick.
//!
//! Promises: lists change nothing in a volume.

mod list;
mod scan_brick;
mod session;
mod stateless;
mod volume;

use super::World;
use super::args::JsonArgs;
use super::report::{Failure, Outcome};
use clap::Subcommand;
use scan_brick::ScanBrickArgs;
use session::{ChangesArgs, ConfirmArgs, RegisterArgs, SessionArgs};
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
        GlusterVerb::Full(args) => stateless::full(args, world),
        GlusterVerb::Inc(args) => stateless::inc(args, world),
        GlusterVerb::ScanBrick(args) => scan_brick::run(&args, world),
    }
}
