//! What is to be read to know what was recorded in a span of time, without a cursor.
//! Nothing is remembered, and nothing goes on from here.

use super::Plan;
use super::error::Error;
use super::htime::{Htime, current_htime, each_line};
use super::slices::{OPEN_PAUSE, each_name, find_slices, number, open_slice, slice_end, slice_name};
use crate::source::gluster::part::Gap;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Returns what is to be read of a brick to know what was recorded from second `from` until second `until`: every slice
/// that overlaps that span, oldest first, and the open one if it does. There is no cursor to go on with.
///
/// What is lacking is a gap, and what is there is still to be read. That changelogs were off for a while shows in an HTIME
/// file that begins in the span; whoever asks for a time before the first one is told the same.
///
/// **Cost:** every HTIME file is read whole. Memory: a number for each rollover since `from`.
///
/// # Errors
/// As [`super::plan`].
pub fn plan_window(brick: &Path, from: u64, until: u64) -> Result<Plan, Error> {
    plan_window_with(brick, from, until, &mut || std::thread::sleep(OPEN_PAUSE))
}

pub(super) fn plan_window_with(brick: &Path, from: u64, until: u64, pause: &mut dyn FnMut()) -> Result<Plan, Error> {
    let folder = brick.join(".glusterfs/changelogs");
    let mut plan = Plan { read: Vec::new(), open: None, next: None, gaps: Vec::new() };
    if current_htime(&folder.join("htime"))?.is_none() {
        plan.gaps.push(Gap { why: "changelogs were never on".to_owned(), from: None, until: None });
        return Ok(plan);
    }
    let open = open_slice(&folder, pause)?;
    // All that ended since the span began, and what of it should be on the disk.
    let (mut ends, mut listed, mut lists) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    each_name(&folder.join("htime"), &mut |name| lists.extend(Htime::of_name(name)))?;
    lists.sort();
    for htime in &lists {
        let path = folder.join("htime").join(htime.name());
        let error = |source| Error::Read { path: path.clone(), source };
        let file = BufReader::with_capacity(1 << 18, File::open(&path).map_err(error)?);
        each_line(file, &mut |line| {
            let name = line.and_then(|line| line.rsplit(|byte| *byte == b'/').next()).unwrap_or_default();
            let slice = slice_end(name);
            listed.extend(slice.filter(|end| *end >= from));
            ends.extend(slice.or_else(|| name.strip_prefix(b"changelog.").and_then(number)).filter(|end| *end >= from));
        })
        .map_err(error)?;
        ends.extend((htime.0 >= from).then_some(htime.0));
    }
    let mut found = find_slices(&folder, from)?;
    found.sort();
    ends.extend(found.iter().map(|(end, _)| *end));
    // A slice begins where the one before it ends; one of which that is not known began before the span.
    let overlaps = |end: u64| ends.range(..end).next_back().is_none_or(|begin| *begin <= until);
    for htime in lists.iter().filter(|htime| htime.0 > from && htime.0 <= until) {
        let why = format!("nothing is known of the time before {}: changelogs were off", htime.name());
        let begin = ends.range(..htime.0).next_back().copied().unwrap_or(from);
        plan.gaps.push(Gap { why, from: Some(begin), until: Some(htime.0) });
    }
    let is_found = |end: u64| found.binary_search_by_key(&end, |(end, _)| *end).is_ok();
    let missing: Vec<u64> = listed.iter().copied().filter(|end| overlaps(*end) && !is_found(*end)).collect();
    if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
        let why = format!("{} listed changelogs are missing, the first is {}", missing.len(), slice_name(*first));
        let begin = ends.range(..first).next_back().copied().unwrap_or(from);
        plan.gaps.push(Gap { why, from: Some(begin), until: Some(*last) });
    }
    let last = ends.last().copied();
    if open.is_none() && last.is_none_or(|last| last < until) {
        plan.gaps.push(Gap { why: "changelogs are off".to_owned(), from: Some(last.unwrap_or(from)), until: None });
    }
    plan.open = open.filter(|_| last.is_none_or(|last| last <= until));
    plan.read = found.iter().filter(|(end, _)| overlaps(*end)).map(|(_, path)| path.clone()).collect();
    Ok(plan)
}
