//! Parts that somebody brings: from bricks that no agent can be run beside from here.
//!
//! Requests are written for all bricks of a volume at once ([`requests`]), carried to them, answered by `asof gluster scan-brick`, and what comes
//! back is merged. Each says what it belongs to ([`Whole`]), so nobody is asked for it.
//!
//! Promises: parts of another volume, moment or question are refused by name, and so is one that is not whole. A brick of which there is no part did not
//! answer. What a part names and another brick has to tell is a request more; no list is made without its answer. Never asks anybody.

use super::error::Error;
use super::question::{name_of, request};
use crate::model::escape_bytes;
use crate::source::gluster::Gfid;
use crate::source::gluster::exec::{self, Ended};
use crate::source::gluster::part::{Header, Line, Request, Text, Want, Whole, WholeBrick};
use crate::source::gluster::part_reader::{self, PartReader, load_ends};
use crate::source::gluster::volume::{Brick, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Parts that belong together.
#[derive(Debug)]
pub struct Parts {
    volume: Volume,
    whole: Whole,
    answers: BTreeMap<u32, (PathBuf, Ended)>,
    looks: Vec<(u32, PathBuf)>,
}

/// The number of a brick, its part about nodes that others named, and these nodes.
type Looked<'p> = (u32, &'p Path, BTreeSet<Gfid>);

/// Returns a request for each brick of `volume`, with the number of the brick from 1.
pub fn requests(volume: &Volume, span: Option<(u64, u64)>, made_ns: i64) -> Vec<(u32, Request)> {
    let brick_of = |brick: &Brick| WholeBrick {
        host: brick.host.clone(),
        path: Text(brick.path.as_os_str().as_bytes().to_vec()),
        arbiter: brick.arbiter,
    };
    let bricks: Vec<WholeBrick> = volume.bricks.iter().map(brick_of).collect();
    let want = span.map_or(Want::Walk, |(from, until)| Want::Window { from, until });
    let made = volume.bricks.iter().map(|brick| {
        let whole = Whole { made_ns, span, kind: volume.kind, bricks: bricks.clone(), number: brick.number };
        (brick.number + 1, request(volume, brick, want.clone(), Some(whole)))
    });
    made.collect()
}

impl Parts {
    /// Reads the ends of parts. Of a brick that has answered twice the last one that is named counts.
    ///
    /// # Errors
    /// [`Error::Stray`], [`Error::Part`].
    pub fn load(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut parts: Option<Self> = None;
        for path in paths {
            let (header, end) = load_ends(path).map_err(part_reader::Error::without_quote)?;
            let stray = |why: String| Error::Stray { path: path.clone(), why };
            let Some(whole) = header.whole.clone() else {
                return Err(stray(
                    "does not say what it is a part of: its request was not one to be carried".to_owned(),
                ));
            };
            let parts = match &mut parts {
                Some(parts) => parts,
                none => none.insert(Self::begin(&header, &whole).map_err(stray)?),
            };
            parts.expect_like(&header, &whole).map_err(stray)?;
            let expected = whole.span.map_or("walk", |_| "window");
            match header.want.as_str() {
                "look" => parts.looks.push((whole.number, path.clone())),
                want if want == expected => {
                    let (clock_ahead_ms, took) = (0, Duration::ZERO);
                    let ended = Ended { header, end, clock_ahead_ms, took, losses: false, said: String::new() };
                    parts.answers.insert(whole.number, (path.clone(), ended));
                }
                other => return Err(stray(format!("answers the question \"{other}\", not \"{expected}\""))),
            }
        }
        parts.ok_or_else(|| Error::Silent("there are no parts".to_owned()))
    }

    fn begin(header: &Header, whole: &Whole) -> Result<Self, String> {
        let per_set = whole.kind.bricks_per_set();
        let count = u32::try_from(whole.bricks.len()).unwrap_or(0);
        if count == 0 || per_set == 0 || count % per_set != 0 {
            return Err(format!("tells of {} bricks, which are no whole sets", whole.bricks.len()));
        }
        let bricks = (0..).zip(&whole.bricks).map(|(number, brick)| Brick {
            number,
            host: brick.host.clone(),
            path: OsStr::from_bytes(&brick.path.0).into(),
            arbiter: brick.arbiter,
            set: number / per_set,
            online: None,
            host_uuid: None,
        });
        let volume = Volume {
            name: header.volume.clone(),
            id: header.volume_id,
            started: true,
            kind: whole.kind,
            bricks: bricks.collect(),
            options: BTreeMap::new(),
            status_unknown: None,
            thin_arbiter: None,
        };
        Ok(Self { volume, whole: whole.clone(), answers: BTreeMap::new(), looks: Vec::new() })
    }

    /// Refuses a part that does not belong to the others.
    fn expect_like(&self, header: &Header, whole: &Whole) -> Result<(), String> {
        if header.volume_id != self.volume.id {
            return Err(format!(
                "is of volume {} ({:?}), others are of {}",
                header.volume_id, header.volume, self.volume.id
            ));
        }
        if (Whole { number: 0, ..whole.clone() }) != (Whole { number: 0, ..self.whole.clone() }) {
            return Err("answers requests that were written at another time, or ask for something else".to_owned());
        }
        match whole.bricks.get(whole.number as usize) {
            Some(brick) if brick.path == header.brick => Ok(()),
            _ => Err(format!(
                "is of the brick \"{}\", which is not the one that was asked",
                escape_bytes(&header.brick.0)
            )),
        }
    }

    pub(super) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Returns the name of the volume.
    pub fn name(&self) -> &str {
        &self.volume.name
    }

    /// Returns the span that was asked for; none: everything.
    pub fn span(&self) -> Option<(u64, u64)> {
        self.whole.span
    }

    /// Returns the part of a brick.
    pub(super) fn answer_of(&self, brick: &Brick) -> Result<(PathBuf, Ended), exec::Error> {
        self.answers.get(&brick.number).cloned().ok_or_else(|| exec::Error::NoPart { brick: name_of(brick) })
    }

    /// Returns the parts that tell of nodes which others named.
    pub(super) fn looks(&self) -> Result<Vec<Looked<'_>>, Error> {
        let mut looks = Vec::new();
        for (brick, path) in &self.looks {
            let mut told = BTreeSet::new();
            for line in PartReader::open(path)? {
                match line? {
                    Line::Node(node) => drop(told.insert(node.state.gfid)),
                    Line::Gone { gfid } => drop(told.insert(gfid)),
                    // What cannot be told was asked all the same.
                    Line::Trouble { path, .. } => told.extend(gfid_of_handle(&path.0)),
                    _ => {}
                }
            }
            looks.push((*brick, path.as_path(), told));
        }
        Ok(looks)
    }

    /// Returns what bricks have to tell before a list can be made.
    pub(super) fn to_ask(&self, to_ask: &BTreeMap<u32, BTreeSet<Gfid>>) -> Error {
        let of = |brick: &Brick| {
            let gfids = to_ask.get(&brick.number)?.iter().copied().collect();
            let whole = Whole { number: brick.number, ..self.whole.clone() };
            Some((brick.number + 1, request(&self.volume, brick, Want::Look { gfids }, Some(whole))))
        };
        let nodes: BTreeSet<&Gfid> = to_ask.values().flatten().collect();
        Error::ToAsk { nodes: nodes.len(), requests: self.volume.bricks.iter().filter_map(of).collect() }
    }
}

fn gfid_of_handle(path: &[u8]) -> Option<Gfid> {
    std::str::from_utf8(path).ok()?.strip_prefix(".glusterfs/")?.rsplit('/').next()?.parse().ok()
}
