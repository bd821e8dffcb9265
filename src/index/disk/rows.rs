//! The rows of a disk's generation: nodes, versions, names and findings, whatever they are of.
//!
//! Promises: what is as it was before is not written again. A directory has one name and no loop when all names are
//! written, whatever the disk says. What is wrong with a node is recorded at its path, which is known when its names are.

use super::new::NewDisk;
use super::part::Part;
use crate::catalog::{GenerationWriter, NodeRow, Written};
use crate::index::Error;
use crate::model::{Attrs, EntryName, FileKey, Finding, FindingKind, Kind, NodeId, RelPath, Timestamp, XattrSet};
use crate::monitor::Monitor;
use std::collections::BTreeMap;

/// The names that a directory has now, with what each points to.
pub(super) type Names = BTreeMap<EntryName, (NodeId, Kind)>;

/// One run.
pub(super) struct DiskIndex<'a, 'w> {
    pub(super) writer: &'a mut GenerationWriter<'w>,
    pub(super) new: &'a NewDisk<'a>,
    pub(super) monitor: &'a dyn Monitor,
    /// The disk that is being written.
    pub(super) part: Part,
    /// What is wrong with nodes, to be told when they have their names.
    pub(super) troubles: Vec<Trouble>,
    /// Directories that got a name, with it.
    named: Vec<(NodeId, EntryName, NodeId)>,
}

impl<'a, 'w> DiskIndex<'a, 'w> {
    pub(super) fn new(writer: &'a mut GenerationWriter<'w>, new: &'a NewDisk<'a>, monitor: &'a dyn Monitor) -> Self {
        assert_eq!(writer.previous().is_some(), new.before.is_some(), "the generation before is told, if there is one");
        let part = Part::only(new.row.layer.size_bytes, new.allocated_bytes);
        Self { writer, new, monitor, part, troubles: Vec::new(), named: Vec::new() }
    }

    /// Returns the node of `key`, a new one if none had it, and its version before.
    pub(super) fn node_of(&mut self, key: FileKey) -> Result<(NodeId, Option<NodeRow>), Error> {
        if let Some(node) = self.writer.identified(key)? {
            return Ok((node, self.writer.living(node)?));
        }
        let node = self.writer.new_node()?;
        self.writer.identify(key, node)?;
        Ok((node, None))
    }

    /// Says what `node` is; `other_bytes`: its bytes are others than those of `base`, whatever the rest says.
    pub(super) fn version(
        &mut self,
        node: NodeId,
        row: NodeRow,
        base: Option<&NodeRow>,
        other_bytes: bool,
    ) -> Result<(), Error> {
        let written = if other_bytes { Written::Yes } else { Written::No };
        self.writer.put(node, base, row, written)?;
        Ok(())
    }

    /// Makes the names of `dir` these; `all`: what is not among them is not there.
    pub(super) fn names(&mut self, dir: NodeId, names: &Names, all: bool) -> Result<(), Error> {
        let mut before = Vec::new();
        self.writer.list_previous(dir, |entry| before.push(entry))?;
        for entry in &before {
            match names.get(&entry.name) {
                Some((node, _)) if *node == entry.node => {}
                None if !all => {}
                _ => drop(self.writer.unlink(dir, &entry.name)?),
            }
        }
        for (name, (node, kind)) in names {
            let known = before.binary_search_by(|entry| entry.name.cmp(name));
            if known.is_ok_and(|at| before[at].node == *node) {
                self.writer.saw(dir, name)?;
                continue;
            }
            if !all && known.is_ok() {
                // What was there is not told, and something else is.
                self.writer.unlink(dir, name)?;
            }
            self.writer.link(dir, name, *node, *kind)?;
            if *kind == Kind::Directory {
                self.named.push((dir, name.clone(), *node));
            }
        }
        Ok(())
    }

    /// Closes what is below directories that are gone, and names of directories that have two or hang in a loop.
    pub(super) fn end_names(&mut self) -> Result<(), Error> {
        self.writer.bury()?;
        if self.writer.previous().is_none() {
            // All came down from the top, each directory once.
            return Ok(());
        }
        for (dir, name, node) in std::mem::take(&mut self.named) {
            let why = if self.writer.current_names(node)?.len() > 1 {
                "the directory has another name"
            } else if self.writer.hangs_in_a_loop(node)? {
                "the directory lies below itself"
            } else {
                continue;
            };
            self.writer.unlink(dir, &name)?;
            self.finding(FindingKind::Unreadable, &String::from_utf8_lossy(name.as_bytes()), why)?;
        }
        Ok(())
    }

    /// Records what is wrong with nodes, by their paths.
    pub(super) fn tell_troubles(&mut self) -> Result<(), Error> {
        for trouble in std::mem::take(&mut self.troubles) {
            let path = match trouble.node {
                Some(node) if self.writer.hangs_in_a_loop(node)? => trouble.place,
                // What no name leads to is missed by nobody.
                Some(node) => match self.writer.current_path(node)? {
                    Some(path) => path,
                    None => continue,
                },
                None => trouble.place,
            };
            self.finding_at(FindingKind::Unreadable, path, &trouble.detail)?;
        }
        Ok(())
    }

    /// Records something odd that loses nothing.
    pub(super) fn note(&mut self, place: &str, what: &str) -> Result<(), Error> {
        self.finding(FindingKind::Unsupported, place, what)
    }

    pub(super) fn finding(&mut self, kind: FindingKind, path: &str, detail: &str) -> Result<(), Error> {
        let mut at = RelPath::root();
        path.split('/').filter_map(|name| EntryName::new(name.as_bytes()).ok()).for_each(|name| at.push(&name));
        self.finding_at(kind, at, detail)
    }

    fn finding_at(&mut self, kind: FindingKind, path: RelPath, detail: &str) -> Result<(), Error> {
        let finding = Finding { kind, path, detail: detail.to_owned() };
        self.monitor.finding(&finding);
        Ok(self.writer.report(&finding)?)
    }
}

/// What is wrong with a node.
pub(super) struct Trouble {
    pub(super) node: Option<NodeId>,
    /// The volume, where the node has no path.
    pub(super) place: RelPath,
    pub(super) detail: String,
}

pub(super) fn made_attrs(kind: Kind, mode: u32, time: Timestamp) -> Attrs {
    Attrs {
        mode: kind.mode_bits() | mode,
        uid: 0,
        gid: 0,
        size_bytes: 0,
        allocated_bytes: None,
        mtime: time,
        ctime: time,
        nlink: 1,
        rdev: 0,
        xattrs: XattrSet::default(),
        target: Vec::new(),
    }
}
