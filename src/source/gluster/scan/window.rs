//! What the records of a window say: for those who know nothing of how the volume was when it began.
//!
//! Promises: what is told of the past is what one brick can prove by the order of its own records: that a name was there
//! before, or was not. All else is the present state, with the directories up to the root, so that paths can be told
//! without a catalog. A hole in the changelogs is told, and what there is, is told too.

use super::error::Error;
use super::records::{Touched, map_shards, slice_name};
use super::tell::{Touch, tell};
use super::writer::Part;
use crate::model::chain;
use crate::source::gluster::Gfid;
use crate::source::gluster::brick::{self, Reader};
use crate::source::gluster::changelog::{self, CreateKind, Record, Spot, What};
use crate::source::gluster::history::{self, Plan};
use crate::source::gluster::part::{End, Gap, Line, NodeName, Recorded, Text, Was};
use std::collections::{BTreeMap, BTreeSet};

/// What the first record of a name does to it.
enum First {
    Takes(Option<Vec<u8>>),
    Gives,
}

#[derive(Default)]
struct Seen {
    made: bool,
    changed: bool,
    directory: bool,
    names: BTreeMap<NodeName, First>,
}

#[derive(Default)]
struct Past(BTreeMap<Gfid, Seen>);

impl Past {
    fn take(&mut self, record: &Record<'_>) {
        let seen = self.0.entry(record.gfid).or_default();
        match &record.what {
            What::Data | What::Metadata { .. } => seen.changed = true,
            What::Create { kind, at, .. } => {
                seen.made = true;
                seen.directory |= *kind == CreateKind::Mkdir;
                seen.name(at, First::Gives);
            }
            What::Symlink { at } => {
                seen.made = true;
                seen.name(at, First::Gives);
            }
            What::Link { at } => seen.name(at, First::Gives),
            What::Rename { from, to } => {
                seen.name(from, First::Takes(None));
                seen.name(to, First::Gives);
            }
            What::Unlink { at, path } => seen.name(at, First::Takes(path.map(<[u8]>::to_vec))),
            What::Rmdir { at, path } => {
                seen.directory = true;
                seen.name(at, First::Takes(path.map(<[u8]>::to_vec)));
            }
        }
    }
}

impl Seen {
    fn name(&mut self, at: &Spot<'_>, first: First) {
        if !brick::is_fixed_internal(at.parent) {
            let name = NodeName { parent: at.parent, name: Text(at.name.to_vec()) };
            self.names.entry(name).or_insert(first);
        }
    }

    fn into_recorded(self, gfid: Gfid) -> Recorded {
        let (mut was, mut came) = (Vec::new(), Vec::new());
        for (name, first) in self.names {
            match first {
                First::Takes(path) => was.push(Was { name, path: path.map(Text) }),
                First::Gives => came.push(name),
            }
        }
        Recorded { gfid, made: self.made, changed: self.changed, directory: self.directory, was, came }
    }
}

/// Tells what was recorded from second `from` until second `until`.
pub(super) fn window(reader: &mut Reader<'_>, from: u64, until: u64, part: &mut Part<'_>) -> Result<End, Error> {
    let plan = history::plan_window(reader.brick().path(), from, until).unwrap_or_else(|error| Plan {
        read: Vec::new(),
        open: None,
        next: None,
        gaps: vec![Gap { why: chain(&error), from: Some(from), until: Some(until) }],
    });
    let mut end = End { gaps: plan.gaps, ..End::default() };
    let (mut touched, mut past) = (Touched::default(), Past::default());
    let mut take = |record: Record<'_>| {
        touched.take(&record);
        past.take(&record);
    };
    let mut broken = |path: &std::path::Path, error: &changelog::Error| {
        let until = slice_name(path).strip_prefix("CHANGELOG.").and_then(|seconds| seconds.parse().ok());
        end.gaps.push(Gap { why: chain(error), from: None, until });
    };
    for path in &plan.read {
        match changelog::read(path, &mut take) {
            Ok(_) => end.slices.push(slice_name(path)),
            Err(error) => broken(path, &error),
        }
    }
    if let Some(open) = &plan.open
        && let Err(error) = changelog::read_open(&open.file, &open.path, &mut take)
    {
        broken(&open.path, &error);
    }
    part.summary.slices = end.slices.len() as u64;
    end.records = touched.records;
    map_shards(reader, &mut touched, part)?;
    for (gfid, touch) in &touched.nodes {
        let mut seen = past.0.remove(gfid).unwrap_or_default();
        seen.changed |= touch.data;
        if seen.made || seen.changed || !seen.names.is_empty() {
            part.line(&Line::Recorded(seen.into_recorded(*gfid)))?;
        }
    }
    tell_with_parents(reader, touched, part)?;
    Ok(end)
}

/// Tells nodes, names, and the directories above them that are not told yet.
fn tell_with_parents(reader: &mut Reader<'_>, touched: Touched, part: &mut Part<'_>) -> Result<(), Error> {
    let mut told: BTreeSet<Gfid> = touched.nodes.keys().copied().collect();
    part.parents = Some(BTreeSet::new());
    tell(reader, touched.names, touched.nodes, part)?;
    loop {
        let parents = part.parents.replace(BTreeSet::new()).unwrap_or_default();
        let above: BTreeMap<Gfid, Touch> =
            parents.into_iter().filter(|gfid| told.insert(*gfid)).map(|gfid| (gfid, Touch::default())).collect();
        if above.is_empty() {
            return Ok(());
        }
        tell(reader, BTreeSet::new(), above, part)?;
    }
}
