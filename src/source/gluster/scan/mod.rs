//! What the agent beside a brick does: answers one request with one part.
//!
//! Promises: the history is asked before the brick is looked at, so what changes during a scan is told again by the next.
//! Trouble with one node is a line and does not stop the scan; where the changelogs are not complete, no node of theirs is
//! told at all, and the end mark says why. Memory: a walk holds the directories of one depth and one directory's names;
//! the rest holds the gfids and names that changelogs tell, and one changelog. Never writes below the brick.

mod error;
mod records;
mod tell;
#[cfg(test)]
mod tests;
mod walk;
mod window;
mod writer;

use super::brick::Brick;
use super::history::{self, Plan};
use super::part::{Cursor, End, FORMAT, Gap, Header, Line, Request, Want};
use crate::clock::Clock;
use crate::model::chain;
use crate::sys::walk as sys;
pub use error::Error;
use records::since;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tell::{Touch, tell};
use walk::walk;
pub use writer::Summary;
use writer::{Part, path_text};

/// Answers `request` and returns what it told.
///
/// `version` is that of the program, `clock` tells when it began. Writes in pieces of 256 KiB and flushes `out` at the end.
///
/// # Errors
/// [`Error`]; all that concerns single nodes or changelogs is in the part.
pub fn scan(request: &Request, version: &str, clock: &dyn Clock, out: &mut dyn Write) -> Result<Summary, Error> {
    if request.format != FORMAT {
        return Err(Error::Format { found: request.format });
    }
    // A file that is stamped before this, by the clock that file systems use, was made before the scan began.
    let began = sys::stamp_clock();
    let fail = |source| Error::Brick { volume: request.volume.clone(), source };
    let path = Path::new(OsStr::from_bytes(&request.brick.0));
    let brick = Brick::open(path, &request.volume, request.fragments).map_err(fail)?;
    if brick.volume_id() != request.volume_id {
        return Err(Error::OtherVolume {
            brick: path_text(path),
            found: brick.volume_id(),
            expected: request.volume_id,
        });
    }
    let mut reader = brick.reader().map_err(fail)?;
    let mut part = Part::new(path, out);
    part.line(&Line::Part(Header {
        format: FORMAT,
        asof: version.to_owned(),
        volume: request.volume.clone(),
        volume_id: request.volume_id,
        brick: request.brick.clone(),
        want: request.want.word().to_owned(),
        began_ns: clock.now().0.saturating_mul(1_000_000_000),
        whole: request.whole.clone(),
    }))?;
    let mut end = match &request.want {
        Want::Walk => {
            let plan = plan(&brick, None);
            walk(&mut reader, began, &mut part)?;
            End { cursor: plan.next, gaps: plan.gaps, ..End::default() }
        }
        Want::Since { cursor, also } => since(&mut reader, plan(&brick, Some(cursor)), also, &mut part)?,
        Want::Window { from, until } => window::window(&mut reader, *from, *until, &mut part)?,
        Want::Look { gfids } => {
            let asked = Touch { data: false, made: false, outside: true };
            let nodes = gfids.iter().map(|gfid| (*gfid, asked)).collect();
            tell(&mut reader, BTreeSet::new(), nodes, &mut part)?;
            End::default()
        }
    };
    match brick.unhealed() {
        Ok(unhealed) => end.unhealed = unhealed,
        Err(e) => part.trouble(b".glusterfs/indices/xattrop", format!("listing: {e}"))?,
    }
    part.finish(end)
}

/// Asks the history; what keeps it from answering is a gap.
fn plan(brick: &Brick, since: Option<&Cursor>) -> Plan {
    history::plan(brick.path(), brick.volume_id(), since).unwrap_or_else(|error| Plan {
        read: Vec::new(),
        open: None,
        next: None,
        gaps: vec![Gap { why: chain(&error), from: since.map(|cursor| cursor.last), until: None }],
    })
}
