//! Tells what changelogs name: the nodes, their directories, and the names themselves, all as they are now.
//!
//! Promises: where the changelogs are not complete, no node of theirs is told, and the end mark says why. A write into a shard
//! is one into its file.

use super::error::Error;
use super::tell::{Touch, tell};
use super::writer::Part;
use crate::model::{chain, escape_bytes};
use crate::source::gluster::Gfid;
use crate::source::gluster::brick::{self, Reader};
use crate::source::gluster::changelog::{self, Record, Spot, What};
use crate::source::gluster::history::Plan;
use crate::source::gluster::part::{End, Gap, Line};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What records tell of.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) nodes: BTreeMap<Gfid, Touch>,
    pub(super) names: BTreeSet<(Gfid, Vec<u8>)>,
    /// Shards by the name that a record gives them.
    shards: HashSet<Gfid>,
    pub(super) records: u64,
}

impl Touched {
    pub(super) fn take(&mut self, record: &Record<'_>) {
        self.records += 1;
        let touch = self.nodes.entry(record.gfid).or_default();
        touch.data |= matches!(record.what, What::Data);
        touch.made |= matches!(record.what, What::Create { .. });
        match &record.what {
            What::Data | What::Metadata { .. } => {}
            What::Create { at, .. }
            | What::Link { at, .. }
            | What::Symlink { at, .. }
            | What::Unlink { at, .. }
            | What::Rmdir { at, .. } => self.take_spot(record.gfid, at),
            What::Rename { from, to } => {
                self.take_spot(record.gfid, from);
                self.take_spot(record.gfid, to);
            }
        }
    }

    fn take_spot(&mut self, gfid: Gfid, at: &Spot<'_>) {
        if at.parent == Gfid::SHARDS {
            if let Some(base) = brick::shard_base(at.name) {
                self.shards.insert(gfid);
                self.take_base(base);
            }
            return;
        }
        if brick::is_fixed_internal(at.parent) {
            return;
        }
        self.nodes.entry(gfid).or_default().outside = true;
        // Its times changed.
        self.nodes.entry(at.parent).or_default();
        self.names.insert((at.parent, at.name.to_vec()));
    }

    /// Takes in that a shard of `base` changed.
    fn take_base(&mut self, base: Gfid) {
        let touch = self.nodes.entry(base).or_default();
        touch.data = true;
        touch.outside = true;
    }
}

/// Tells what the changelogs of `plan` and `also` name.
pub(super) fn since(reader: &mut Reader<'_>, plan: Plan, also: &[Gfid], part: &mut Part<'_>) -> Result<End, Error> {
    let mut end = End { cursor: plan.next, gaps: plan.gaps, ..End::default() };
    if !end.gaps.is_empty() {
        return Ok(end);
    }
    let mut touched = Touched::default();
    for path in &plan.read {
        let read = changelog::read(path, &mut |record| touched.take(&record));
        if let Err(error) = read {
            return Ok(without_records(end, path, &error));
        }
        end.slices.push(slice_name(path));
    }
    // Read as far as it goes; it is not done with, since its nodes may change again without another record.
    if let Some(open) = &plan.open {
        let read = changelog::read_open(&open.file, &open.path, &mut |record| touched.take(&record));
        if let Err(error) = read {
            return Ok(without_records(end, &open.path, &error));
        }
    }
    part.summary.slices = end.slices.len() as u64;
    end.records = touched.records;
    for gfid in also {
        touched.nodes.entry(*gfid).or_default().outside = true;
    }
    map_shards(reader, &mut touched, part)?;
    tell(reader, touched.names, touched.nodes, part)?;
    Ok(end)
}

/// Returns the end mark of a part without records: those before the break are true, but what was after it is unknown.
fn without_records(end: End, path: &Path, error: &changelog::Error) -> End {
    let until = slice_name(path).strip_prefix("CHANGELOG.").and_then(|seconds| seconds.parse().ok());
    let gap = Gap { why: chain(error), from: None, until };
    End { cursor: None, gaps: vec![gap], slices: Vec::new(), ..end }
}

pub(super) fn slice_name(path: &Path) -> String {
    escape_bytes(path.file_name().map_or(&b""[..], OsStr::as_bytes)).into_owned()
}

/// Puts the files in place of their shards: a write into a shard is recorded by the gfid of the shard alone.
pub(super) fn map_shards(reader: &mut Reader<'_>, touched: &mut Touched, part: &mut Part<'_>) -> Result<(), Error> {
    for shard in std::mem::take(&mut touched.shards) {
        touched.nodes.remove(&shard);
    }
    match reader.has_shards() {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(error) => return part.trouble(Gfid::SHARDS.handle().as_bytes(), chain(&error)),
    }
    let mut shards = Vec::new();
    let mut nameless = HashMap::new();
    for gfid in touched.nodes.keys() {
        match reader.base_of_shard(*gfid) {
            Ok((Some(base), _)) => shards.push((*gfid, base)),
            Ok((None, Some(inode))) => drop(nameless.insert(inode, *gfid)),
            Ok((None, None)) => {}
            Err(error) => part.trouble(gfid.handle().as_bytes(), chain(&error))?,
        }
    }
    // Shards of before Gluster 3.12 do not say whose they are.
    if !nameless.is_empty() {
        let listed = reader.list_shards(&mut |inode, name| {
            if let (Some(gfid), Some(base)) = (nameless.get(&inode), brick::shard_base(name)) {
                shards.push((*gfid, base));
            }
        });
        if let Err(error) = listed {
            part.trouble(b".shard", chain(&error))?;
        }
    }
    for (shard, base) in shards {
        touched.nodes.remove(&shard);
        touched.take_base(base);
        match reader.inode_changed(shard) {
            Ok(Some(changed)) => part.line(&Line::Shards { base, changed: changed.into() })?,
            Ok(None) => {}
            Err(error) => part.trouble(shard.handle().as_bytes(), chain(&error))?,
        }
    }
    Ok(())
}
