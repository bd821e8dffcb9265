//! Which changelogs a brick has, which of them are still to be read, and whether any are lacking.
//!
//! Promises: slices are found by listing directories, old flat layout and dated one, so those that a restart of the
//! brick left out of HTIME are found too. All that was recorded before [`plan`] was called is in [`Plan::read`] or in
//! [`Plan::open`]. What cannot be proved to be whole is a [`Gap`], also when clocks of the brick went back.
//! HTIME is only asked what should be there: never what is, and never for counts.
//! Never reads a record, never writes, never asks a clock.
//!
//! # What Gluster does
//!
//! A rollover renames `CHANGELOG` to `YYYY/MM/DD/CHANGELOG.<unix seconds>` (UTC; before 8.0 without the date), or
//! unlinks it if it holds no record; appends that path to the HTIME file, in lower case if there is no such file; and
//! opens a new `CHANGELOG` at once. `<unix seconds>` is the end of the slice. When changelogs are switched off, the
//! last step is left out; when they are switched on, a new `HTIME.<unix seconds>` is made. A brick that stops leaves
//! `CHANGELOG` as it is; when it starts, that is rolled over, mostly without a line in HTIME.
//! (`changelog_rollover_changelog`, `changelog_open_journal`, `reconfigure`, `htime_create` in
//! `xlators/features/changelog/src`, as of 10.3.)
//!
//! Not to be seen on a brick: changelogs that were switched off and on while the brick was stopped each time.
//! The same HTIME goes on then, as after any restart; the options of the volume tell whether they are on.

mod error;
mod htime;
mod slices;
#[cfg(test)]
mod tests;
mod window;

use super::Gfid;
use super::part::{Cursor, Gap};
pub use error::Error;
use htime::{Htime, Listed, current_htime};
pub use slices::Open;
use slices::{OPEN_PAUSE, find_slices, open_slice, slice_end, slice_name};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
pub use window::plan_window;

/// What is to be read of a brick.
#[derive(Debug)]
pub struct Plan {
    /// The closed slices that are to be read, oldest first, as full paths.
    pub read: Vec<PathBuf>,
    /// The slice that is being written. None if changelogs are off.
    pub open: Option<Open>,
    /// Where the next plan begins if all of `read` was processed. The open slice never counts as processed. None
    /// where there are no changelogs to go on with: `gaps` says why.
    pub next: Option<Cursor>,
    /// Why the slices do not tell all that changed since the cursor; empty: they do.
    pub gaps: Vec<Gap>,
}

/// Returns what is to be read of the brick at `brick`, whose root carries `volume_id`, to know what changed after
/// `since`. Without `since` nothing is, and `next` says "from now on": all that is closed counts as done.
///
/// A slice is to be read if it ends after `since` or less than [`Cursor::KEPT_S`] before, and is not among those done.
/// `next.last` is the last line of HTIME, or the number of the HTIME file itself as long as that lists nothing. With a
/// cursor of another volume id all is as without one, and a gap.
///
/// This is to be called before nodes are looked at or walked: what changes meanwhile is read the next time.
///
/// **Cost:** HTIME is read whole (about 70 bytes for each rollover since it was made); of dated directories those
/// from the day before the cursor on are listed. Memory: the slices since the cursor. Where changelogs are off it
/// takes five seconds to be sure of that.
///
/// # Errors
/// [`Error`] if something is there and cannot be read. What is not there is a gap.
pub fn plan(brick: &Path, volume_id: Gfid, since: Option<&Cursor>) -> Result<Plan, Error> {
    plan_with(brick, volume_id, since, &mut || std::thread::sleep(OPEN_PAUSE))
}

/// Does so with the pause before `CHANGELOG` is looked for again.
///
/// The order of the steps matters: a slice that closes meanwhile is in the open file that is held already, and
/// whatever HTIME lists has been renamed before, so it is found by a listing that comes after.
fn plan_with(brick: &Path, volume_id: Gfid, since: Option<&Cursor>, pause: &mut dyn FnMut()) -> Result<Plan, Error> {
    let folder = brick.join(".glusterfs/changelogs");
    let mut plan = Plan { read: Vec::new(), open: None, next: None, gaps: Vec::new() };
    let since = match since {
        Some(cursor) if cursor.volume_id != volume_id => {
            let why =
                format!("the brick is of volume id {volume_id}, its changelogs were read for {}", cursor.volume_id);
            plan.gaps.push(Gap { why, from: None, until: None });
            None
        }
        since => since,
    };
    let Some(htime) = current_htime(&folder.join("htime"))? else {
        plan.gaps.push(Gap { why: "changelogs were never on".to_owned(), from: None, until: None });
        return Ok(plan);
    };
    plan.open = open_slice(&folder, pause)?;
    let from = since.filter(|cursor| cursor.htime == htime.name());
    let Some(listed) = Listed::read(&folder.join("htime"), htime, from)? else {
        let why = format!("{} is noted as the current list of changelogs and is missing", htime.name());
        plan.gaps.push(Gap { why, from: since.map(|cursor| cursor.last), until: None });
        return Ok(plan);
    };
    let begins = since.map_or(listed.last, |cursor| cursor.last.min(listed.last)).saturating_sub(Cursor::KEPT_S);
    let mut found = find_slices(&folder, begins)?;
    found.sort();

    if let Some(cursor) = since {
        plan.gaps.extend(gaps(cursor, htime, &listed, &found));
        let wanted = |end: &u64| is_wanted(cursor, *end);
        plan.read = found.iter().filter(|(end, _)| wanted(end)).map(|(_, path)| path.clone()).collect();
    }
    if plan.open.is_none() {
        let newest = found.last().map_or(listed.last, |(end, _)| listed.last.max(*end));
        plan.gaps.push(Gap { why: "changelogs are off".to_owned(), from: Some(newest), until: None });
        return Ok(plan);
    }
    plan.next = Some(next(volume_id, since, htime, &listed, &found));
    Ok(plan)
}

/// Tells whether the slice that ends at `end` was not processed before `cursor`.
fn is_wanted(cursor: &Cursor, end: u64) -> bool {
    end >= cursor.last.saturating_sub(Cursor::KEPT_S) && !cursor.done.contains(&slice_name(end))
}

/// Returns the cursor after all that was found.
///
/// Not the newest slice but the last line of HTIME is where it stands: a clock that was ahead for a while leaves
/// slices from the future, and nothing that is written after it was set right would be newer than those. They are
/// remembered by name like all others.
fn next(volume_id: Gfid, since: Option<&Cursor>, htime: Htime, listed: &Listed, found: &[(u64, PathBuf)]) -> Cursor {
    let kept_from = listed.last.saturating_sub(Cursor::KEPT_S);
    let is_kept = |end: &u64| *end >= kept_from;
    // Also those that are listed and gone: that was a gap once and is none the next time.
    let ends = found.iter().map(|(end, _)| *end).chain(listed.slices.iter().copied());
    let mut done: BTreeSet<String> = ends.filter(is_kept).map(slice_name).collect();
    let before = since.into_iter().flat_map(|cursor| &cursor.done);
    done.extend(before.filter(|name| slice_end(name.as_bytes()).is_some_and(|end| is_kept(&end))).cloned());
    Cursor { volume_id, htime: htime.name(), last: listed.last, done }
}

/// Returns what the slices since `cursor` lack.
fn gaps(cursor: &Cursor, htime: Htime, listed: &Listed, found: &[(u64, PathBuf)]) -> Vec<Gap> {
    if cursor.htime != htime.name() {
        let why = format!("changelogs were off for a while: {} goes on where {} was", htime.name(), cursor.htime);
        return vec![Gap { why, from: Some(cursor.last), until: Some(htime.0) }];
    }
    let mut gaps = Vec::new();
    let is_found = |end: u64| found.binary_search_by_key(&end, |(end, _)| *end).is_ok();
    if !listed.has_cursor && !is_found(cursor.last) {
        let why = format!(
            "{} was read before and is neither there nor in {}: the brick was replaced or restored",
            slice_name(cursor.last),
            htime.name()
        );
        gaps.push(Gap { why, from: Some(cursor.last), until: None });
    }
    let missing: Vec<u64> =
        listed.slices.iter().copied().filter(|end| is_wanted(cursor, *end) && !is_found(*end)).collect();
    if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
        let why = format!(
            "{} of the changelogs that {} lists are missing, the first is {}",
            missing.len(),
            htime.name(),
            slice_name(*first)
        );
        let before = listed.slices.range(..first).next_back().copied();
        gaps.push(Gap { why, from: Some(before.unwrap_or(cursor.last.min(*first))), until: Some(*last) });
    }
    gaps.extend(listed.faults.iter().map(|why| Gap { why: why.clone(), from: Some(cursor.last), until: None }));
    gaps
}
