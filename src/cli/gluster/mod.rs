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
use session::{ChangesArgs, RegisterArgs, SessionArgs};
use stateless::{FullArgs, IncArgs};

#[derive(Debug, Subcommand)]
pub(super) enum GlusterVerb {
    /// Make a session: it remembers what was listed, so that the next list tells what changed since
    Register(RegisterArgs),
    /// List the sessions
    Sessions(JsonArgs),
    /// Forget a session
    Unregister(SessionArgs),
    /// List what changed since the last list of a session; everything, as new, the first time
    Changes(ChangesArgs),
    /// List everything, without a session: nothing is remembered
    Full(FullArgs),
    /// List what changelogs recorded in a span of time, without a session: nothing is remembered
    ///
    /// A session knows the volume as it was and tells exact differences. Without one only records and the present are
    /// known: what was renamed over and what no record tells (fallocate, rebalance) is missing; a file that self-heal
    /// brought back comes as NEW; MODIFY is what was written or set, also if it is as before; what changed after the
    /// end of the span is told as it is now. Changelogs are read whole, so the span is widened to where they begin and
    /// end (changelog.rollover-time).
    Inc(IncArgs),
    /// Look at one brick and write one part file (run by asof itself, beside the brick)
    ScanBrick(ScanBrickArgs),
}

pub(super) fn run(verb: GlusterVerb, world: &World) -> Result<Outcome, Failure> {
    match verb {
        GlusterVerb::Register(args) => session::register(args, world),
        GlusterVerb::Sessions(args) => session::list(&args, world),
        GlusterVerb::Unregister(args) => session::unregister(&args, world),
        GlusterVerb::Changes(args) => session::changes(&args, world),
        GlusterVerb::Full(args) => stateless::full(args, world),
        GlusterVerb::Inc(args) => stateless::inc(args, world),
        GlusterVerb::ScanBrick(args) => scan_brick::run(&args, world),
    }
}
