//! The part while it is written, line by line, and the counts of what it tells.
//! Without its end mark it is no part.

use super::error::Error;
use crate::model::escape_bytes;
use crate::source::gluster::Gfid;
use crate::source::gluster::part::{End, Line, Text};
use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of a part that are written at once.
const PART_BYTES: usize = 256 * 1024;

/// What a scan told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines of the part, the first and the last among them.
    pub lines: u64,
    /// [`Line::Node`] lines.
    pub nodes: u64,
    /// [`Line::Directory`] lines.
    pub directories: u64,
    /// [`Line::Entry`] lines.
    pub entries: u64,
    /// [`Line::Gone`] lines.
    pub gone: u64,
    /// [`Line::Name`] lines.
    pub names: u64,
    /// [`Line::Trouble`] lines.
    pub troubles: u64,
    /// Closed changelogs that were read.
    pub slices: u64,
    /// Records in them and in the open one.
    pub records: u64,
    /// Holes in the changelogs.
    pub gaps: u64,
}

pub(super) fn path_text(path: &Path) -> String {
    escape_bytes(path.as_os_str().as_bytes()).into_owned()
}

/// The part while it is written.
pub(super) struct Part<'o> {
    brick: &'o Path,
    out: BufWriter<&'o mut dyn Write>,
    pub(super) summary: Summary,
    /// The directories of the nodes that were told, where they are wanted.
    pub(super) parents: Option<BTreeSet<Gfid>>,
}

impl<'o> Part<'o> {
    pub(super) fn new(brick: &'o Path, out: &'o mut dyn Write) -> Self {
        Self { brick, out: BufWriter::with_capacity(PART_BYTES, out), summary: Summary::default(), parents: None }
    }

    pub(super) fn line(&mut self, line: &Line) -> Result<(), Error> {
        let summary = &mut self.summary;
        summary.lines += 1;
        match line {
            Line::Part(_) | Line::Recorded(_) | Line::Shards { .. } => {}
            Line::Node(node) => {
                summary.nodes += 1;
                if let Some(parents) = &mut self.parents {
                    parents.extend(node.names.iter().map(|name| name.parent));
                }
            }
            Line::Directory { .. } => summary.directories += 1,
            Line::Entry { .. } => summary.entries += 1,
            Line::Gone { .. } => summary.gone += 1,
            Line::Name { .. } => summary.names += 1,
            Line::Trouble { .. } => summary.troubles += 1,
            Line::End(end) => {
                summary.gaps = end.gaps.len() as u64;
                summary.records = end.records;
            }
        }
        let written = serde_json::to_writer(&mut self.out, line)
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|source| Error::Write { brick: path_text(self.brick), source })
    }

    pub(super) fn trouble(&mut self, path: &[u8], detail: String) -> Result<(), Error> {
        self.line(&Line::Trouble { path: Text(path.to_vec()), detail })
    }

    pub(super) fn finish(mut self, mut end: End) -> Result<Summary, Error> {
        end.lines = self.summary.lines;
        self.line(&Line::End(end))?;
        self.out.flush().map_err(|source| Error::Write { brick: path_text(self.brick), source })?;
        Ok(self.summary)
    }
}
